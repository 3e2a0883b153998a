package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// daemonFlags are the flags that single OSDs and parts of the CRUSH map may have, as bits of an OSD's state, in Ceph's order. read-only.
var daemonFlags = []struct {
	name string
	bit  uint32
}{{"noup", 1 << 8}, {"nodown", 1 << 9}, {"noin", 1 << 10}, {"noout", 1 << 11}}

// daemonFlagNames returns the names of flags, in Ceph's order.
func daemonFlagNames(bits uint32) []string {
	names := []string{}
	for _, f := range daemonFlags {
		if bits&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// daemonFlagBits reads the flags that a command is about: those of its argument, or the
// one in its name ("osd add-noout").
func (k *call) daemonFlagBits() (bits uint32, e errno.Errno) {
	list := k.args.str("flags")
	if _, word, ok := strings.Cut(k.args.str("prefix"), "-no"); ok {
		list = "no" + word
	}
	for name := range strings.SplitSeq(list, ",") {
		if name == "" {
			continue
		}
		was := bits
		for _, f := range daemonFlags {
			if f.name == name {
				bits |= f.bit
			}
		}
		if bits == was && !slices.Contains(daemonFlagNames(bits), name) {
			return 0, k.say(errno.ErrInvalid, "unrecognized flag '%s', must be one of {noup,nodown,noin,noout}", name)
		}
	}
	return bits, 0
}

// daemonFlag sets or takes back flags of OSDs and of parts of the CRUSH map.
func (k *call) daemonFlag() errno.Errno {
	bits, e := k.daemonFlagBits()
	if e != 0 {
		return e
	}
	prefix := k.args.str("prefix")
	on := strings.HasPrefix(prefix, "osd add-") || prefix == "osd set-group"
	m := k.c.osdmap
	flip, nodes := map[int32]uint32{}, map[int32]uint32{}
	change := func(now uint32) uint32 {
		if on {
			return now | bits
		}
		return now &^ bits
	}
	one := func(id int32) {
		if d := m.State[id] ^ change(m.State[id]); d != 0 {
			flip[id] = d
		}
	}
	var said strings.Builder
	for _, s := range append(k.args.list("ids"), k.args.list("who")...) {
		if s == "all" || s == "any" || s == "*" {
			for id := range m.State {
				if m.Exists(int32(id)) {
					one(int32(id))
				}
			}
		} else if id, ok := k.osdID(s); ok {
			one(id)
		} else if id, ok := keyOf(m.Crush.ItemNames, s); ok {
			nodes[id] = change(m.OSDOnly.NodeFlags[id])
		} else if s == deviceClass { // of which the CRUSH map has no number
			return k.say(errno.ErrNotSupported, "this fake cluster cannot do '%s' of a class of devices", prefix)
		} else if n, err := strconv.ParseInt(strings.TrimPrefix(s, "osd."), 10, 32); err == nil {
			fmt.Fprintf(&said, "osd.%d does not exist. ", n)
		} else {
			return k.say(errno.ErrInvalid, "unable to parse osd id or crush node or device class: \"%s\". ", s)
		}
	}
	if len(flip)+len(nodes) > 0 {
		k.c.change(func(inc *osdmap.Incremental) { inc.NewState, inc.OSDOnly.NodeFlags = flip, nodes })
		k.c.bootWaiting()
	}
	return k.say(0, "%s", said.String())
}

// flagsOf returns the flags that an OSD has by itself and by where it is.
func (c *Cluster) flagsOf(id int32) uint32 {
	m := c.osdmap
	bits := m.State[id]
	for node, flags := range m.OSDOnly.NodeFlags {
		if _, osds, _ := c.below(m.Crush.ItemNames[node]); slices.Contains(osds, id) {
			bits |= flags
		}
	}
	return bits
}

// mayBoot reports whether an OSD may come up.
func (c *Cluster) mayBoot(id int32) bool {
	return !c.osdmap.HasFlag(osdmap.FlagNoUp) && !slices.Contains(daemonFlagNames(c.flagsOf(id)), "noup")
}

// bootWaiting takes up the OSDs that run and are down, as far as they may be.
func (c *Cluster) bootWaiting() {
	var waiting []*osd
	for _, o := range c.osds {
		if o.running() && !c.osdmap.IsUp(o.id) && c.mayBoot(o.id) {
			waiting = append(waiting, o)
		}
	}
	if len(waiting) > 0 {
		c.boot(waiting...)
	}
}

// flagChecks is the health check of these flags.
func (c *Cluster) flagChecks() []check {
	m := c.osdmap
	var detail []string
	for i, s := range m.State {
		if names := daemonFlagNames(s); len(names) > 0 {
			detail = append(detail, fmt.Sprintf("osd.%d has flags %s", i, strings.Join(names, ",")))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.OSDOnly.NodeFlags)) {
		if names := daemonFlagNames(m.OSDOnly.NodeFlags[id]); len(names) > 0 {
			kind := "osd"
			if b := m.Crush.Bucket(id); b != nil {
				kind = m.Crush.TypeNames[int32(b.Type)]
			}
			detail = append(detail, fmt.Sprintf("%s %s has flags %s", kind, m.Crush.ItemNames[id], strings.Join(names, ",")))
		}
	}
	return warning("OSD_FLAGS", "%d OSDs or CRUSH {nodes, device-classes} have {NOUP,NODOWN,NOIN,NOOUT} flags set", detail)
}

// flagObject is how a map tells flags of parts of the CRUSH map by name.
func flagObject(flags map[int32]uint32, names map[int32]string) object {
	o := object{}
	for _, id := range slices.SortedFunc(maps.Keys(flags), func(a, b int32) int { return strings.Compare(names[a], names[b]) }) {
		if list := daemonFlagNames(flags[id]); len(list) > 0 {
			o = append(o, field{names[id], list})
		}
	}
	return o
}
