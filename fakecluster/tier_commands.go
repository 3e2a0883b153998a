package fakecluster

import (
	"slices"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// cacheModes are the modes of cache tiers by their number in a pool.
var cacheModes = []string{"none", "writeback", "forward", "readonly", "readforward", "readproxy", "proxy"}

// tierCommands set up cache tiers. The map then sends clients to the overlay,
// which is an ordinary pool: nothing is promoted or flushed.
func tierCommands() []command {
	return []command{
		{words: "osd tier add", run: (*call).tierAdd},
		{words: "osd tier rm", run: (*call).tierRemove},
		{words: "osd tier remove", run: (*call).tierRemove},
		{words: "osd tier cache-mode", run: (*call).tierMode},
		{words: "osd tier set-overlay", run: (*call).tierOverlay},
		{words: "osd tier rm-overlay", run: (*call).tierNoOverlay},
		{words: "osd tier remove-overlay", run: (*call).tierNoOverlay},
	}
}

// second returns the other pool that a command is about.
func (k *call) second(arg string) (int64, *osdmap.Pool, errno.Errno) {
	id, ok := k.c.osdmap.PoolByName(k.args.str(arg))
	if !ok {
		return 0, nil, k.say(errno.ErrNotFound, "unrecognized pool '%s'", k.args.str(arg))
	}
	return id, k.c.osdmap.Pools[id], 0
}

func (k *call) tierAdd() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	tid, tp, e := k.second("tierpool")
	if e != 0 {
		return e
	}
	base, tier := k.args.str("pool"), k.args.str("tierpool")
	if slices.Contains(p.Tiers, uint64(tid)) {
		return k.say(0, "pool '%s' is now (or already was) a tier of '%s'", tier, base)
	}
	switch {
	case tp.TierOf >= 0:
		return k.say(errno.ErrInvalid, "tier pool '%s' is already a tier of '%s'", tier, k.c.osdmap.PoolNames[tp.TierOf])
	case tp.IsErasure():
		return k.say(errno.ErrNotSupported, "tier pool '%s' is an ec pool, which cannot be a tier", tier)
	case len(tp.Tiers) > 0:
		return k.say(errno.ErrBusy, "tier pool '%s' has tiers itself", tier)
	case k.c.poolStat(tid).Objects > 0 && k.args.str("force_nonempty") == "":
		return k.say(errno.ErrNotEmpty, "tier pool '%s' is not empty; --force-nonempty to force", tier)
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { p.Tiers = append(slices.Clone(p.Tiers), uint64(tid)) })
	k.c.updatePool(tid, func(p *osdmap.Pool) { p.TierOf = id })
	return k.say(0, "pool '%s' is now (or already was) a tier of '%s'", tier, base)
}

func (k *call) tierRemove() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	tid, _, e := k.second("tierpool")
	if e != 0 {
		return e
	}
	base, tier := k.args.str("pool"), k.args.str("tierpool")
	if p.ReadTier == tid || p.WriteTier == tid {
		return k.say(errno.ErrBusy, "tier pool '%s' is the overlay for '%s'; please remove-overlay first", tier, base)
	}
	if slices.Contains(p.Tiers, uint64(tid)) {
		k.c.updatePool(id, func(p *osdmap.Pool) {
			p.Tiers = slices.DeleteFunc(slices.Clone(p.Tiers), func(t uint64) bool { return t == uint64(tid) })
		})
		k.c.updatePool(tid, func(p *osdmap.Pool) { p.TierOf, p.CacheMode = -1, 0 })
	}
	return k.say(0, "pool '%s' is now (or already was) not a tier of '%s'", tier, base)
}

func (k *call) tierMode() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	if p.TierOf < 0 {
		return k.say(errno.ErrInvalid, "pool '%s' is not a tier", k.args.str("pool"))
	}
	mode := slices.Index(cacheModes, k.args.str("mode"))
	if mode < 0 {
		return k.say(errno.ErrInvalid, "'%s' is not a valid cache mode", k.args.str("mode"))
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { p.CacheMode = uint8(mode) })
	return k.say(0, "set cache-mode for pool '%s' to %s", k.args.str("pool"), cacheModes[mode])
}

func (k *call) tierOverlay() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	tid, _, e := k.second("overlaypool")
	if e != 0 {
		return e
	}
	base, tier := k.args.str("pool"), k.args.str("overlaypool")
	if !slices.Contains(p.Tiers, uint64(tid)) {
		return k.say(errno.ErrInvalid, "tier pool '%s' is not a tier of '%s'", tier, base)
	}
	if p.ReadTier >= 0 && p.ReadTier != tid {
		return k.say(errno.ErrInvalid, "pool '%s' has overlay '%s'; please remove-overlay first", base, k.c.osdmap.PoolNames[p.ReadTier])
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { p.ReadTier, p.WriteTier = tid, tid })
	return k.say(0, "overlay for '%s' is now (or already was) '%s'", base, tier)
}

func (k *call) tierNoOverlay() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	if p.ReadTier >= 0 || p.WriteTier >= 0 {
		k.c.updatePool(id, func(p *osdmap.Pool) { p.ReadTier, p.WriteTier = -1, -1 })
	}
	return k.say(0, "there is now (or already was) no overlay for '%s'", k.args.str("pool"))
}
