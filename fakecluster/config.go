package fakecluster

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// configDB is the monitors' central configuration: options by who they are for.
type configDB struct {
	version uint64
	options map[string]map[string]string
}

func newConfigDB() configDB { return configDB{version: 1, options: map[string]map[string]string{}} }

func (d *configDB) set(who, name, value string) {
	if d.options[who] == nil {
		d.options[who] = map[string]string{}
	}
	d.options[who][name] = value
	d.version++
}

func (d *configDB) remove(who, name string) {
	delete(d.options[who], name)
	if len(d.options[who]) == 0 {
		delete(d.options, who)
	}
	d.version++
}

// rbdFeatures reports whether a value names features of images, or is their number.
func rbdFeatures(value string) bool {
	if _, err := strconv.ParseUint(value, 0, 64); err == nil {
		return true
	}
	for name := range strings.SplitSeq(value, ",") {
		if !slices.Contains([]string{
			"layering", "striping", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling", "data-pool", "operations", "migrating", "non-primary",
		}, strings.TrimSpace(name)) {
			return false
		}
	}
	return true
}

// effective returns what is in force for an entity: global, its kind, then
// ever longer parts of its name. What is for a class of disks is for all OSDs of it.
func (d *configDB) effective(n entity.AuthName) map[string]string {
	out := map[string]string{}
	maps.Copy(out, d.options["global"])
	maps.Copy(out, d.options[n.Type.String()])
	if n.Type == entity.TypeOSD {
		maps.Copy(out, d.options["osd/class:"+deviceClass])
	}
	parts := strings.Split(n.ID, ".")
	for i := range parts {
		maps.Copy(out, d.options[n.Type.String()+"."+strings.Join(parts[:i+1], ".")])
	}
	return out
}

// normalOption returns the form in which Ceph stores an option's name.
func normalOption(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, " ", "_"), "-", "_")
}

// keyDB is the config-key store.
type keyDB struct {
	version uint64
	keys    map[string]string
}

func (d *keyDB) data(prefix string) *wire.KVData {
	m := &wire.KVData{Version: d.version, Prefix: prefix, Data: map[string][]byte{}}
	for k, v := range d.keys {
		if strings.HasPrefix(k, prefix) {
			m.Data[k] = []byte(v)
		}
	}
	return m
}

func (d *keyDB) sorted() []string { return slices.Sorted(maps.Keys(d.keys)) }
