package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// monManageCommands change the set of monitors, or tell whether that could be done. The
// monitors of this cluster are those it began with.
func monManageCommands() []command {
	t := []command{
		{words: "mon ok-to-rm", run: (*call).monOKToRemove},
		{words: "mon ok-to-add-offline", run: (*call).monOKToAdd},
		{words: "mon getmap", run: (*call).monGetMap},
		{words: "mon feature ls", run: (*call).monFeatures},
		{words: "mon feature set", run: (*call).monFeatureSet},
		{words: "mon enable-msgr2", run: func(k *call) errno.Errno {
			if k.c.opt.release < 18 {
				return 0
			}
			return k.say(0, "all monitors have already enabled msrg2")
		}},
		{words: "mon set-weight", run: (*call).monWeight},
		{words: "mon set-rank", run: (*call).monRank},
		{words: "mon set election_strategy", run: (*call).monStrategy},
		{words: "mon_status", run: func(k *call) errno.Errno { return k.say(errno.ErrInvalid, "unrecognized command") }},
	}
	for _, words := range []string{"mon rm", "mon remove"} {
		t = append(t, command{words: words, run: (*call).monRemove})
	}
	return t
}

func (k *call) cannot() errno.Errno {
	return k.say(errno.ErrNotSupported, "this fake cluster cannot do '%s'", k.args.str("prefix"))
}

func (k *call) monRemove() errno.Errno {
	name := k.args.str("name")
	switch _, ok := k.c.monmap.Mons[name]; {
	case !ok:
		return k.say(0, "mon.%s does not exist or has already been removed", name)
	case len(k.c.mons) == 1:
		return k.say(errno.ErrInvalid, "error: refusing removal of last monitor %s", name)
	}
	return k.cannot()
}

func (k *call) monOKToRemove() errno.Errno {
	id := k.args.str("id")
	if _, ok := k.c.monmap.Mons[id]; !ok {
		return k.say(0, "mon.%s does not exist", id)
	}
	left := slices.DeleteFunc(k.c.quorumNames(), func(name string) bool { return name == id })
	if len(left) == 0 || 2*len(left) <= len(k.c.mons)-1 {
		return k.say(errno.ErrBusy, "removing mon.%s would break quorum", id)
	}
	return k.say(0, "safe to remove mon.%s", id)
}

func (k *call) monOKToAdd() errno.Errno {
	if 2*len(k.c.quorum()) <= len(k.c.mons)+1 {
		return k.say(errno.ErrBusy, "adding a monitor may break quorum (until that monitor starts)")
	}
	return k.say(0, "adding another mon that is not yet online will not break quorum")
}

// monGetMap gives the map of the monitors. Those before it are gone.
func (k *call) monGetMap() errno.Errno {
	if n := uint32(k.args.number("epoch", 0)); n > k.c.monmap.Epoch {
		return k.say(errno.ErrNotFound, "there is no map for epoch %d", n)
	} else if n != 0 && n != k.c.monmap.Epoch {
		return k.say(errno.ErrNotSupported, "this fake cluster cannot do 'mon getmap' of the past")
	}
	k.out = k.c.monmap.Append(nil)
	return k.say(0, "got monmap epoch %d", k.c.monmap.Epoch)
}

// monFeatureBits are the numbers of monitors' features. read-only.
var monFeatureBits = map[string]uint64{
	"kraken": 1 << 0, "luminous": 1 << 1, "mimic": 1 << 2, "osdmap-prune": 1 << 3, "nautilus": 1 << 4, "octopus": 1 << 5, "pacific": 1 << 6,
	"elector-pinging": 1 << 7, "quincy": 1 << 8, "reef": 1 << 9, "squid": 1 << 10, "tentacle": 1 << 11, "cephx_auth_aes256k": 1 << 31,
	"nvmeof_beacon_diff": 1 << 32,
}

func (k *call) monFeatures() errno.Errno {
	names := k.c.monFeatureNames()
	if v := k.args.str("with_value"); v != "" && v != "false" {
		for i, name := range names {
			names[i] = fmt.Sprintf("%s(%d)", name, monFeatureBits[name])
		}
	}
	if !k.plain() {
		all := object{{"supported", names}, {"persistent", names}}
		return k.json(object{{"all", all}, {"monmap", object{{"persistent", names}, {"optional", []string{}}, {"required", names}}}})
	}
	list := "[" + strings.Join(names, ",") + "]"
	return k.print("all features\n\tsupported: %s\n\tpersistent: %s\non current monmap (epoch %d)\n\tpersistent: %s\n\trequired: %s\n",
		list, list, k.c.monmap.Epoch, list, list)
}

// monFeatureSet sets a feature that the map has already: it has all.
func (k *call) monFeatureSet() errno.Errno {
	name := k.args.str("feature_name")
	said := "[" + name + "]"
	if k.c.opt.release < 18 {
		said = "mon_feature_t(" + said + ")"
	}
	switch {
	case !slices.Contains(k.c.monFeatureNames(), name):
		return k.say(errno.ErrNotFound, "unknown feature '%s'", name)
	case !k.args.flag("yes_i_really_mean_it"):
		return k.say(errno.ErrPermission, "please specify '--yes-i-really-mean-it' if you really, **really** want to set feature '%s' in the monmap.", said)
	case k.c.opt.release < 18:
		return k.say(0, "setting feature '%s'", said)
	}
	return k.say(0, "setting feature '%s' feature '%s' already set on monmap", said, said)
}

// monWeight changes how often clients choose a monitor among others.
func (k *call) monWeight() errno.Errno {
	name := k.args.str("name")
	info, ok := k.c.monmap.Mons[name]
	if !ok {
		return k.say(errno.ErrNotFound, "mon.%s does not exist", name)
	}
	info.Weight = uint16(k.args.number("weight", 0))
	mons := maps.Clone(k.c.monmap.Mons)
	mons[name] = info
	k.c.setMons(mons)
	return 0
}

// setMons publishes the monitors. The mutex is held.
func (c *Cluster) setMons(mons map[string]wire.MonInfo) {
	c.monmap.Mons = mons
	c.monmap.Epoch++
	c.pushAll("monmap")
}

// monStrategy: monitors elect by rank.
func (k *call) monStrategy() errno.Errno {
	name := k.args.str("strategy")
	known := slices.Contains([]string{"classic", "disallow", "connectivity"}, name)
	switch {
	case !known && k.c.opt.release < 18:
		return errno.ErrInvalid
	case !known:
		return k.say(errno.ErrInvalid, "(22) Invalid argument")
	case name != "classic":
		return k.cannot()
	case k.c.opt.release < 18:
		return 0
	}
	return k.say(0, "You are already in classic election strategy")
}

func (k *call) monRank() errno.Errno {
	name := k.args.str("name")
	if _, ok := k.c.monmap.Mons[name]; !ok {
		return k.say(errno.ErrNotFound, "mon.%s does not exist in monmap", name)
	}
	return k.cannot()
}
