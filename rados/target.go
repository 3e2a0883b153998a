package rados

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// noOSD is the acting primary of a placement group that has none.
const noOSD = -1

// placement is where one epoch's map puts a placement group, with everything
// that begins a new interval of it.
type placement struct {
	up, acting         []int32
	upPrimary, primary int32
	size, minSize      uint8
	pgNum, pgPending   uint32
	mapFlags           uint32
	shard              int8 // of the primary in an erasure coded pool, else wire.NoShard
}

// intervalFlags are the map's flags whose change begins a new interval.
const intervalFlags = osdmap.FlagSortBitwise | osdmap.FlagRecoveryDeletes

// sameInterval reports whether no peering lies between two placements.
func (p *placement) sameInterval(q *placement) bool {
	return p == q || p.primary == q.primary && p.upPrimary == q.upPrimary &&
		p.size == q.size && p.minSize == q.minSize &&
		p.pgNum == q.pgNum && p.pgPending == q.pgPending && p.mapFlags == q.mapFlags &&
		slices.Equal(p.acting, q.acting) && slices.Equal(p.up, q.up)
}

// mapView is one epoch's map with a cache of placements. It is immutable but
// for the cache.
type mapView struct {
	m     *osdmap.Map
	pools sync.Map // int64 → *poolView
}

type poolView struct {
	pool *osdmap.Pool
	pgs  []atomic.Pointer[placement]
}

func newMapView(m *osdmap.Map) *mapView { return &mapView{m: m} }

func (v *mapView) epoch() uint32 {
	if v.m == nil {
		return 0
	}
	return v.m.Epoch
}

// pool returns nil when the map has no such pool.
func (v *mapView) pool(id int64) *poolView {
	if p, ok := v.pools.Load(id); ok {
		return p.(*poolView)
	}
	if v.m == nil {
		return nil
	}
	pool := v.m.Pool(id)
	if pool == nil {
		return nil
	}
	p, _ := v.pools.LoadOrStore(id, &poolView{pool: pool, pgs: make([]atomic.Pointer[placement], min(pool.PGNum, maxCachedPGs))})
	return p.(*poolView)
}

// place returns the placement of an actual placement group.
func (v *mapView) place(p *poolView, pg wire.PG) *placement {
	var slot *atomic.Pointer[placement]
	if int64(pg.Seed) < int64(len(p.pgs)) {
		slot = &p.pgs[pg.Seed]
		if pl := slot.Load(); pl != nil {
			return pl
		}
	}
	up, upPrimary, acting, primary := v.m.PGToUpActing(pg)
	if primary == osdmap.NoOSD {
		primary = noOSD
	}
	pl := &placement{
		up: up, acting: acting, upPrimary: upPrimary, primary: primary,
		size: p.pool.Size, minSize: p.pool.MinSize, pgNum: p.pool.PGNum, pgPending: p.pool.PGNumPending,
		mapFlags: v.m.Flags & intervalFlags, shard: v.m.PrimaryShard(pg, acting, primary),
	}
	if slot != nil {
		slot.Store(pl)
	}
	return pl
}

// maxCachedPGs bounds the cache of one pool's placements. No pool comes near.
const maxCachedPGs = 1 << 18

// full reports whether respectful writes to the pool must wait.
func (v *mapView) full(p *poolView) bool {
	return v.m.Flags&osdmap.FlagFull != 0 || p.pool.Flags&(osdmap.PoolFull|osdmap.PoolFullQuota) != 0
}

// paused reports whether a request with these flags must wait.
func (v *mapView) paused(p *poolView, f wire.ReqFlag) bool {
	if f&wire.FlagRead != 0 && v.m.Flags&osdmap.FlagPauseRead != 0 {
		return true
	}
	if f&wire.FlagWrite == 0 {
		return false
	}
	return v.m.Flags&osdmap.FlagPauseWrite != 0 ||
		f&(wire.FlagFullTry|wire.FlagFullForce) == 0 && v.full(p)
}

// target is where a request goes and why.
type target struct {
	// base is what the caller addressed, or where the OSD redirected it.
	base    wire.ObjectLocator
	baseOID string
	flags   wire.ReqFlag // of redirection
	isPG    bool

	// What the map of the epoch made of it.
	epoch       uint32
	locator     wire.ObjectLocator // base with the cache tier's pool, if any
	oid         string
	hash        uint32
	pg          wire.PG
	place       *placement
	osd         int32 // noOSD: homeless
	paused      bool
	forceResend uint32 // the pool's mark that was last obeyed
}

// verdict is what a new map means for a request.
type verdict int

const (
	keep     verdict = iota // nothing changes
	resend                  // send it, it may have been lost
	poolGone                // the map has no such pool
	poolEIO                 // the pool was marked to fail everything
)

// aim computes t by the map. skipped says that epochs between the last map and
// this one were not seen.
func (t *target) aim(v *mapView, flags wire.ReqFlag, skipped bool) verdict {
	first := t.place == nil
	was := t.paused
	t.epoch = v.epoch()
	base := v.pool(t.base.Pool)
	if base == nil {
		t.osd, t.place = noOSD, nil
		return poolGone
	}
	if base.pool.Flags&osdmap.PoolEIO != 0 {
		return poolEIO
	}
	force := skipped
	if mark := base.pool.LastForceResend; mark == t.epoch && t.forceResend < mark {
		t.forceResend, force = mark, true
	}
	t.locator, t.oid = t.base, t.baseOID
	p := base
	if t.flags&wire.FlagIgnoreOverlay == 0 && !t.isPG {
		if over := overlay(base.pool, flags); over >= 0 && over != t.base.Pool {
			if tier := v.pool(over); tier != nil {
				p, t.locator.Pool = tier, over
			}
		}
	}
	oldPG, oldPlace := t.pg, t.place
	if !t.isPG {
		// It cannot fail: the pool is there.
		t.pg, t.hash, _ = v.m.ObjectToPG(t.locator.Pool, t.locator.Namespace, t.locator.Key, t.oid)
	} else {
		t.hash = t.pg.Seed
	}
	t.place = v.place(p, t.pg)
	t.osd = t.place.primary
	t.paused = v.paused(p, flags)
	switch {
	case first, force, oldPG != t.pg, !oldPlace.sameInterval(t.place):
		return resend
	case was && !t.paused:
		return resend
	}
	return keep
}

// overlay returns the cache tier that requests to the pool go to, -1 for none.
func overlay(p *osdmap.Pool, f wire.ReqFlag) int64 {
	if f&wire.FlagWrite != 0 {
		return p.WriteTier
	}
	return p.ReadTier
}
