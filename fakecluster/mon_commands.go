package fakecluster

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/cephx"
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
	t = append(t, crushCommands()...)
	t = append(t, adminCommands()...)
	t = append(t, monManageCommands()...)
	return append(t, poolCommands()...)
}

func clusterCommands() []command {
	return []command{
		{words: "status", run: (*call).clusterStatus},
		{words: "health", run: (*call).health},
		{words: "df", run: (*call).df},
		{words: "fsid", run: func(k *call) errno.Errno {
			if !k.plain() {
				return k.json(object{{"fsid", k.c.fsid.String()}})
			}
			return k.print("%s\n", k.c.fsid)
		}},
		{words: "version", run: func(k *call) errno.Errno {
			if k.plain() {
				return k.print("%s\n", k.c.release().version)
			}
			return k.json(object{{"version", k.c.release().version}})
		}},
		{words: "versions", run: (*call).versions},
		{words: "features", run: (*call).featureList},
		{words: "mon dump", run: (*call).monDump},
		{words: "mon stat", run: (*call).monStat},
		{words: "quorum_status", run: (*call).quorumStatus},
		{words: "mgr dump", run: (*call).mgrDump},
		{words: "mgr stat", run: func(k *call) errno.Errno {
			m := &k.c.mgrmap
			return k.json(object{{"epoch", m.Epoch}, {"available", m.Available}, {"active_name", m.ActiveName}, {"num_standby", len(m.Standbys)}})
		}},
		{words: "mgr fail", run: (*call).mgrFail},
		{words: "mgr services", run: func(k *call) errno.Errno { return k.json(stringObject(k.c.mgrmap.Services)) }},
		{words: "mgr module ls", run: (*call).moduleList},
		{words: "service dump", run: (*call).serviceDump},
		{words: "service status", run: (*call).serviceStatus},
		{words: "fs ls", run: func(k *call) errno.Errno {
			if k.plain() {
				return k.print("No filesystems enabled\n")
			}
			return k.json([]string{})
		}},
		{words: "log", run: func(k *call) errno.Errno {
			k.c.logAs(k.user, entity.Name{Type: entity.TypeClient, Num: -1}, 0, wire.LogInfo, strings.Join(k.args.list("logtext"), " "))
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
		{words: "auth get-or-create", run: func(k *call) errno.Errno { return k.authCreate(true) }},
		{words: "auth get-or-create-key", run: func(k *call) errno.Errno { return k.authCreate(false) }},
		{words: "auth add", run: (*call).authAdd},
		{words: "auth get", run: (*call).authGet},
		{words: "auth export", run: (*call).authExport},
		{words: "auth get-key", run: (*call).authKey},
		{words: "auth print-key", run: (*call).authKey},
		{words: "auth print_key", run: (*call).authKey},
		{words: "auth ls", run: (*call).authList},
		{words: "auth list", run: (*call).authList},
		{words: "auth import", run: (*call).authImport},
		{words: "auth caps", run: (*call).authCaps},
		{words: "auth rm", run: (*call).authRemove},
		{words: "auth del", run: (*call).authRemove},
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
		return k.print("%s\n", entry.Key.Base64())
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
		got, err := ring.Lookup(n)
		if err != nil {
			return k.say(errno.ErrInvalid, "key for %s not found in provided keyring", n)
		}
		entry.Key = got.Key
	}
	if old, ok := k.c.keys.Keyring()[n]; ok {
		for _, s := range slices.Sorted(maps.Keys(caps)) {
			if old.Caps[s] != caps[s] {
				return k.say(errno.ErrInvalid, "entity %s exists but cap %s does not match", n, s)
			}
		}
		return 0
	}
	k.c.keys.Set(n, entry)
	return k.say(0, "added key for %s", n)
}

func (k *call) authLookup() (entity.AuthName, cephx.Entry, errno.Errno) {
	n, e := k.entity()
	if e != 0 {
		return n, cephx.Entry{}, k.say(e, "invalid entity_auth %s", k.args.str("entity"))
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
		if n, e := k.entity(); e == 0 {
			entry, ok := k.c.keys.Keyring()[n]
			if !ok {
				return k.say(errno.ErrNotFound, "no key for auth(key=AAAAAAAAAAAAAAAA)")
			}
			defer func() {
				if k.c.opt.release < 18 {
					k.status = "export auth(key=" + entry.Key.Base64() + ")"
				}
			}()
		}
		return k.authGet()
	}
	k.out = []byte(k.c.keys.Keyring().String())
	return 0
}

func (k *call) authKey() errno.Errno {
	n, entry, e := k.authLookup()
	switch e {
	case 0:
	case errno.ErrNotFound:
		return k.say(e, "don't have %s", n)
	default:
		return e
	}
	if !k.plain() {
		return k.json(object{{"key", entry.Key.Base64()}})
	}
	return k.print("%s", entry.Key.Base64())
}

func (k *call) authList() errno.Errno {
	ring := k.c.keys.Keyring()
	names := slices.SortedFunc(maps.Keys(ring), func(a, b entity.AuthName) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.ID, b.ID))
	})
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
	switch {
	case !k.plain():
		return k.json(object{{"auth_dump", dump}})
	case k.c.opt.release < 18:
		return k.say(0, "installed auth entries:\n")
	}
	return 0
}

func (k *call) authImport() errno.Errno {
	ring, err := cephx.ParseKeyring(strings.NewReader(string(k.in)))
	if err != nil || len(ring) == 0 {
		return k.say(errno.ErrInvalid, "auth import: no data supplied")
	}
	for n, e := range ring {
		k.c.keys.Set(n, e)
	}
	if k.c.opt.release < 18 {
		k.status = "imported keyring"
	}
	return 0
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
		if k.c.opt.release < 18 {
			return k.say(0, "entity %s does not exist", n)
		}
		return 0
	}
	k.c.keys.Remove(n)
	if k.c.opt.release < 18 {
		k.status = "updated"
	}
	return 0
}

// age prints how long something has lasted, as Ceph's status does.
func (c *Cluster) age(since time.Time) string {
	d := c.clock.Now().Sub(since)
	const day = 24 * time.Hour
	for _, u := range []struct {
		unit, below time.Duration
		sign        string
	}{{time.Second, 2 * time.Minute, "s"}, {time.Minute, 2 * time.Hour, "m"}, {time.Hour, 2 * day, "h"}, {day, 14 * day, "d"}, {7 * day, 84 * day, "w"}, {30 * day, 720 * day, "M"}} {
		if d < u.below {
			return fmt.Sprintf("%d%s", d/u.unit, u.sign)
		}
	}
	return fmt.Sprintf("%dy", d/(365*day))
}
