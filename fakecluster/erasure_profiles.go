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

// profileSizes returns the data and coding chunks of a profile.
func profileSizes(p map[string]string) (data, coding int) {
	data, _ = strconv.Atoi(p["k"])
	coding, _ = strconv.Atoi(p["m"])
	return max(data, 1), max(coding, 1)
}

func (k *call) profileGet() errno.Errno {
	name := k.args.str("name")
	p, ok := k.c.osdmap.ErasureCodes[name]
	if !ok {
		return k.say(errno.ErrNotFound, "unknown erasure code profile '%s'", name)
	}
	if !k.plain() {
		return k.json(stringObject(p))
	}
	for _, key := range slices.Sorted(maps.Keys(p)) {
		k.print("%s=%s\n", key, p[key])
	}
	return 0
}

// profileProblem tells why a profile cannot be: as the plugin does that would use it.
func (k *call) profileProblem(given map[string]string) (errno.Errno, string) {
	whole := k.c.defaultProfile()
	plugin := whole["plugin"]
	if p, ok := given["plugin"]; ok {
		plugin = p
	}
	techniques := map[string]string{
		"jerasure": "reed_sol_van, reed_sol_r6_op, cauchy_orig, cauchy_good, liberation, blaum_roth, liber8tion", "isa": "reed_sol_van,cauchy",
	}
	list, known := techniques[plugin]
	switch plugin {
	case "lrc", "shec", "clay": // whose chunks are not those that k and m tell of
		return errno.ErrNotSupported, "this fake cluster cannot do the plugin '" + plugin + "'"
	}
	if !known {
		file := "/usr/lib/x86_64-linux-gnu/ceph/erasure-code/libec_" + plugin + ".so"
		return errno.ErrIO, "load dlopen(" + file + "): " + file + ": cannot open shared object file: No such file or directory"
	}
	if t, ok := given["technique"]; ok && !slices.Contains(strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }), t) {
		return errno.ErrNotFound, "technique=" + t + " is not a valid coding technique.  Choose one of the following: " + list
	}
	for _, x := range []struct {
		key             string
		least, standard int
	}{{"k", 2, 7}, {"m", 1, 3}, {"w", 0, 8}} {
		v, ok := given[x.key]
		if !ok || x.key == "w" && plugin != "jerasure" {
			continue
		}
		n, err := strconv.Atoi(v)
		switch {
		case err != nil:
			return errno.ErrInvalid, fmt.Sprintf("could not convert %s=%s to int because Expected option value to be integer, got '%s', set to default %d", x.key, v, v, x.standard)
		case n < x.least:
			return errno.ErrInvalid, fmt.Sprintf("%s=%d must be >= %d", x.key, n, x.least)
		}
	}
	if d, ok := given["crush-failure-domain"]; ok {
		if _, ok := typeNamed(k.c.osdmap.Crush, d); !ok {
			shown := maps.Clone(given)
			for _, key := range []string{"plugin", "technique"} {
				if _, ok := shown[key]; !ok {
					shown[key] = whole[key]
				}
			}
			return errno.ErrInvalid, "erasure-code-profile " + profileText(shown) + " contains an invalid failure-domain \"" + d + "\""
		}
	}
	return 0, ""
}

func (k *call) profileSet() errno.Errno {
	name := k.args.str("name")
	given := map[string]string{}
	for _, kv := range k.args.list("profile") {
		key, v, _ := strings.Cut(kv, "=")
		given[key] = v
	}
	if e, problem := k.profileProblem(given); e != 0 {
		return k.say(e, "%s", problem)
	}
	p := k.c.newProfile(given)
	if old, ok := k.c.osdmap.ErasureCodes[name]; ok {
		switch {
		case maps.Equal(old, p):
			return 0
		case !k.args.flag("force"):
			return k.say(errno.ErrPermission, "will not override erasure code profile %s because the existing profile %s is different from the proposed profile %s", name, profileText(old), profileText(p))
		case k.c.opt.release >= 18 && !k.args.flag("yes_i_really_mean_it"):
			return k.say(errno.ErrPermission, "overriding erasure code profile can be DANGEROUS; add --yes-i-really-mean-it to do it anyway")
		}
	}
	k.c.change(func(inc *osdmap.Incremental) { inc.NewErasureCodes = map[string]map[string]string{name: p} })
	return 0
}

func profileText(p map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, key+"="+p[key])
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (k *call) profileRemove() errno.Errno {
	name := k.args.str("name")
	if _, ok := k.c.osdmap.ErasureCodes[name]; !ok {
		return k.say(0, "erasure-code-profile %s does not exist", name)
	}
	for id, p := range k.c.osdmap.Pools {
		if p.ErasureProfile == name {
			return k.say(errno.ErrBusy, "%s pool(s) are using the erasure code profile '%s'", k.c.osdmap.PoolNames[id], name)
		}
	}
	k.c.change(func(inc *osdmap.Incremental) { inc.OldErasureCodes = []string{name} })
	return 0
}
