package fakecluster

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// monCommands is the monitors' command table.
func monCommands() []command {
	var t []command
	t = append(t, clusterCommands()...)
	t = append(t, reportCommands()...)
	t = append(t, authCommands()...)
	t = append(t, configCommands()...)
	t = append(t, osdCommands()...)
	t = append(t, tierCommands()...)
	return append(t, poolCommands()...)
}

func clusterCommands() []command {
	return []command{
		{sig: "status", module: "mon", perm: "r", run: (*call).clusterStatus},
		{sig: "health detail:CephChoices,?,detail", module: "mon", perm: "r", run: (*call).health},
		{sig: "df detail:CephChoices,?,detail", module: "mon", perm: "r", run: (*call).df},
		{sig: "fsid", module: "mon", perm: "r", run: func(k *call) errno.Errno {
			if !k.plain() {
				return k.json(object{{"fsid", k.c.fsid.String()}})
			}
			return k.print("%s\n", k.c.fsid)
		}},
		{sig: "version", module: "mon", perm: "r", run: func(k *call) errno.Errno {
			if k.plain() {
				return k.print("%s\n", k.c.release().version)
			}
			return k.json(object{{"version", k.c.release().version}})
		}},
		{sig: "versions", module: "mon", perm: "r", run: (*call).versions},
		{sig: "features", module: "mon", perm: "r", run: (*call).featureList},
		{sig: "mon dump epoch:CephInt,?", module: "mon", perm: "r", run: (*call).monDump},
		{sig: "mon stat", module: "mon", perm: "r", run: (*call).monStat},
		{sig: "mon getmap epoch:CephInt,?", module: "mon", perm: "r", run: func(k *call) errno.Errno {
			k.out = k.c.monmap.Append(nil)
			return k.say(0, "got monmap epoch %d", k.c.monmap.Epoch)
		}},
		{sig: "quorum_status", module: "mon", perm: "r", run: (*call).quorumStatus},
		{sig: "mgr dump epoch:CephInt,?", module: "mgr", perm: "r", run: (*call).mgrDump},
		{sig: "mgr stat", module: "mgr", perm: "r", run: func(k *call) errno.Errno {
			m := &k.c.mgrmap
			return k.json(object{{"epoch", m.Epoch}, {"available", m.Available}, {"active_name", m.ActiveName}, {"num_standby", len(m.Standbys)}})
		}},
		{sig: "mgr fail who:CephString,?", module: "mgr", perm: "rw", run: (*call).mgrFail},
		{sig: "mgr services", module: "mgr", perm: "r", run: func(k *call) errno.Errno { return k.json(stringObject(k.c.mgrmap.Services)) }},
		{sig: "mgr module ls", module: "mgr", perm: "r", run: func(k *call) errno.Errno {
			o := object{{"always_on_modules", k.c.mgrmap.AlwaysOn[uint32(k.c.release().number)]}}
			if k.c.opt.release >= 20 {
				o = append(o, field{"force_disabled_modules", []string{}})
			}
			return k.json(append(o, field{"enabled_modules", k.c.mgrmap.Modules}, field{"disabled_modules", []string{}}))
		}},
		{sig: "service dump", module: "service", perm: "r", mgr: true, run: (*call).serviceDump},
		{sig: "service status", module: "service", perm: "r", mgr: true, run: (*call).serviceStatus},
		{sig: "fs ls", module: "fs", perm: "r", run: func(k *call) errno.Errno {
			if k.plain() {
				return k.print("No filesystems enabled\n")
			}
			return k.json([]string{})
		}},
		{sig: "log logtext:CephString,n", module: "mon", perm: "rw", run: func(k *call) errno.Errno {
			now := k.c.clock.Now()
			k.c.appendLog(wire.LogEntry{
				Name: k.user, Rank: entity.Name{Type: entity.TypeMon}, Addrs: k.c.mons[0].addrs(), Stamp: denc.TimeOf(now),
				Seq: uint64(len(k.c.clusterLog) + 1), Prio: wire.LogInfo, Message: strings.Join(k.args.list("logtext"), " "), Channel: "cluster",
			})
			return 0
		}},
	}
}

// serviceDump and serviceStatus answer at the monitor as well as at the
// manager: clients of different releases ask either.
func (k *call) serviceDump() errno.Errno {
	k.c.services.expire(k.c.clock.Now())
	return k.json(k.c.services.dump())
}

func (k *call) serviceStatus() errno.Errno {
	k.c.services.expire(k.c.clock.Now())
	return k.json(k.c.services.statuses())
}

func authCommands() []command {
	return []command{
		{sig: "auth get-or-create entity:CephString caps:CephString,n,? key_type:CephString,named,?", module: "auth", perm: "rwx", run: func(k *call) errno.Errno { return k.authCreate(true) }},
		{sig: "auth get-or-create-key entity:CephString caps:CephString,n,? key_type:CephString,named,?", module: "auth", perm: "rwx", run: func(k *call) errno.Errno { return k.authCreate(false) }},
		{sig: "auth add entity:CephString caps:CephString,n,? key_type:CephString,named,?", module: "auth", perm: "rwx", run: (*call).authAdd},
		{sig: "auth get entity:CephString", module: "auth", perm: "rx", run: (*call).authGet},
		{sig: "auth export entity:CephString,?", module: "auth", perm: "rx", run: (*call).authExport},
		{sig: "auth get-key entity:CephString", module: "auth", perm: "rx", run: (*call).authKey},
		{sig: "auth print-key entity:CephString", module: "auth", perm: "rx", run: (*call).authKey},
		{sig: "auth print_key entity:CephString", module: "auth", perm: "rx", run: (*call).authKey},
		{sig: "auth ls", module: "auth", perm: "rx", run: (*call).authList},
		{sig: "auth list", module: "auth", perm: "rx", run: (*call).authList},
		{sig: "auth import", module: "auth", perm: "rwx", run: (*call).authImport},
		{sig: "auth caps entity:CephString caps:CephString,n", module: "auth", perm: "rwx", run: (*call).authCaps},
		{sig: "auth rm entity:CephString", module: "auth", perm: "rwx", run: (*call).authRemove},
		{sig: "auth del entity:CephString", module: "auth", perm: "rwx", run: (*call).authRemove},
	}
}

// entity returns the entity that a command is about.
func (k *call) entity() (entity.AuthName, errno.Errno) {
	n, err := entity.ParseAuthName(k.args.str("entity"))
	if err != nil {
		return n, k.say(errno.ErrInvalid, "bad entity name")
	}
	return n, 0
}

// caps returns the capabilities of a command: services and grants in turn.
func (k *call) caps() (map[string]string, errno.Errno) {
	l := k.args.list("caps")
	if len(l)%2 != 0 {
		return nil, k.say(errno.ErrInvalid, "bad capabilities request; odd number of arguments")
	}
	m := map[string]string{}
	for i := 0; i < len(l); i += 2 {
		switch l[i] {
		case "mon", "osd", "mds", "mgr":
		default:
			return nil, k.say(errno.ErrInvalid, "unknown cap type '%s'", l[i])
		}
		if bad := badCaps(l[i], l[i+1]); bad != "" {
			return nil, k.say(errno.ErrInvalid, "%s", bad)
		}
		m[l[i]] = l[i+1]
	}
	return m, 0
}

// badCaps tells why a capability cannot be, or "".
func badCaps(service, text string) string {
	anywhere := netip.IPv4Unspecified()
	switch service {
	case "mon":
		return (&monCaps{}).parse(text, anywhere)
	case "mgr":
		return (&monCaps{mgr: true}).parse(text, anywhere)
	case "osd":
		return (&osdCaps{}).parse(text, anywhere)
	}
	return ""
}

// keyType returns the type of a key that a command makes.
func (k *call) keyType() (cephx.KeyType, errno.Errno) {
	switch k.args.str("key_type") {
	case "":
		return k.c.opt.keyType, 0
	case "aes":
		return cephx.KeyAES, 0
	case "aes256k":
		if k.c.opt.release >= 20 {
			return cephx.KeyAES256K, 0
		}
	}
	return 0, k.say(errno.ErrInvalid, "unknown key type '%s'", k.args.str("key_type"))
}

func (k *call) authCreate(full bool) errno.Errno {
	n, e := k.entity()
	if e != 0 {
		return e
	}
	caps, e := k.caps()
	if e != 0 {
		return e
	}
	entry, ok := k.c.keys.Keyring()[n]
	if ok {
		if len(caps) > 0 && !maps.Equal(caps, entry.Caps) {
			for _, s := range slices.Sorted(maps.Keys(caps)) {
				if entry.Caps[s] != caps[s] {
					return k.say(errno.ErrInvalid, "key for %s exists but cap %s does not match", n, s)
				}
			}
		}
	} else {
		kt, e := k.keyType()
		if e != 0 {
			return e
		}
		entry = cephx.Entry{Key: cephx.NewKey(kt), Caps: caps}
		k.c.keys.Set(n, entry)
	}
	if !full {
		if !k.plain() {
			return k.json(object{{"key", entry.Key.Base64()}})
		}
		return k.print("%s", entry.Key.Base64())
	}
	if !k.plain() {
		return k.json([]object{authObject(n, entry)})
	}
	return k.print("[%s]\n\tkey = %s\n", n, entry.Key.Base64())
}

func authObject(n entity.AuthName, e cephx.Entry) object {
	return object{{"entity", n.String()}, {"key", e.Key.Base64()}, {"caps", stringObject(e.Caps)}}
}

func (k *call) authAdd() errno.Errno {
	n, e := k.entity()
	if e != 0 {
		return e
	}
	caps, e := k.caps()
	if e != 0 {
		return e
	}
	kt, e := k.keyType()
	if e != 0 {
		return e
	}
	entry := cephx.Entry{Key: cephx.NewKey(kt), Caps: caps}
	if len(k.in) > 0 {
		ring, err := cephx.ParseKeyring(strings.NewReader(string(k.in)))
		if err != nil {
			return k.say(errno.ErrInvalid, "error decoding keyring")
		}
		if got, err := ring.Lookup(n); err == nil {
			entry.Key = got.Key
		}
	}
	if old, ok := k.c.keys.Keyring()[n]; ok && !maps.Equal(old.Caps, caps) {
		return k.say(errno.ErrInvalid, "entity %s exists but caps do not match", n)
	}
	k.c.keys.Set(n, entry)
	return k.say(0, "added key for %s", n)
}

func (k *call) authLookup() (entity.AuthName, cephx.Entry, errno.Errno) {
	n, e := k.entity()
	if e != 0 {
		return n, cephx.Entry{}, e
	}
	entry, ok := k.c.keys.Keyring()[n]
	if !ok {
		return n, entry, k.say(errno.ErrNotFound, "failed to find %s in keyring", n)
	}
	return n, entry, 0
}

func (k *call) authGet() errno.Errno {
	n, entry, e := k.authLookup()
	if e != 0 {
		return e
	}
	if k.c.opt.release < 18 {
		k.status = "exported keyring for " + n.String()
	}
	if !k.plain() {
		return k.json([]object{authObject(n, entry)})
	}
	k.out = []byte(cephx.Keyring{n: entry}.String())
	return 0
}

func (k *call) authExport() errno.Errno {
	if k.args.has("entity") {
		return k.authGet()
	}
	k.out = []byte(k.c.keys.Keyring().String())
	return 0
}

func (k *call) authKey() errno.Errno {
	n, entry, e := k.authLookup()
	if e != 0 {
		return k.say(e, "don't have %s", n)
	}
	if !k.plain() {
		return k.json(object{{"key", entry.Key.Base64()}})
	}
	return k.print("%s", entry.Key.Base64())
}

func (k *call) authList() errno.Errno {
	ring := k.c.keys.Keyring()
	names := slices.SortedFunc(maps.Keys(ring), func(a, b entity.AuthName) int { return strings.Compare(a.String(), b.String()) })
	dump := []object{}
	for _, n := range names {
		if k.plain() {
			k.print("%s\n\tkey: %s\n", n, ring[n].Key.Base64())
			for _, s := range slices.Sorted(maps.Keys(ring[n].Caps)) {
				k.print("\tcaps: [%s] %s\n", s, ring[n].Caps[s])
			}
		}
		dump = append(dump, authObject(n, ring[n]))
	}
	if k.plain() {
		return 0
	}
	return k.json(object{{"auth_dump", dump}})
}

func (k *call) authImport() errno.Errno {
	ring, err := cephx.ParseKeyring(strings.NewReader(string(k.in)))
	if err != nil || len(ring) == 0 {
		return k.say(errno.ErrInvalid, "auth import: no data supplied")
	}
	for n, e := range ring {
		k.c.keys.Set(n, e)
	}
	return k.say(0, "imported keyring")
}

func (k *call) authCaps() errno.Errno {
	n, e := k.entity()
	if e != 0 {
		return e
	}
	caps, e := k.caps()
	if e != 0 {
		return e
	}
	entry, ok := k.c.keys.Keyring()[n]
	if !ok {
		return k.say(errno.ErrNotFound, "couldn't find entry %s", n)
	}
	entry.Caps = caps
	k.c.keys.Set(n, entry)
	if k.c.opt.release >= 20 {
		k.authGet()
	}
	return k.say(0, "updated caps for %s", n)
}

func (k *call) authRemove() errno.Errno {
	n, e := k.entity()
	if e != 0 {
		return e
	}
	if _, ok := k.c.keys.Keyring()[n]; !ok {
		if k.c.opt.release < 20 {
			return k.say(0, "entity %s does not exist", n)
		}
		return 0
	}
	k.c.keys.Remove(n)
	if k.c.opt.release < 20 {
		k.status = "updated"
	}
	return 0
}

// defaultOption returns the defaults of options that clients ask monitors for.
// pushKeys tells everybody who follows config-keys.
// age prints how long something has lasted, as Ceph's status does.
func (c *Cluster) age(since time.Time) string {
	d := c.clock.Now().Sub(since)
	switch {
	case d < 2*time.Minute:
		return d.Truncate(time.Second).String()
	case d < 2*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return strings.TrimSuffix(d.Truncate(time.Hour).String(), "0m0s")
}
