package fakecluster

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// view is what OSDs know of one epoch. It never changes.
type view struct {
	epoch uint32
	m     *osdmap.Map
	pools map[int64]*poolView
}

// poolView is a pool in a view. The slices are indexed by the seed of the
// placement group.
type poolView struct {
	id       int64
	name     string
	pool     *osdmap.Pool
	settings pg.Pool
	groups   []*pg.Group
	primary  []int32 // -1 when the group does not serve
	inactive []int32 // who tells clients to wait for a group that has too few OSDs; else -1
	acting   [][]int32
	since    []uint32 // epoch since when the primary is the same
}

// remap reports whether an incremental may move placement groups.
func remaps(inc *osdmap.Incremental) bool {
	return len(inc.NewPools)+len(inc.OldPools)+len(inc.NewUp)+len(inc.NewState)+len(inc.NewWeight)+len(inc.NewAffinity)+
		len(inc.NewPGTemp)+len(inc.NewPrimaryTemp)+len(inc.NewUpmap)+len(inc.NewUpmapItems)+len(inc.NewUpmapPrimary)+
		len(inc.OldUpmap)+len(inc.OldUpmapItems)+len(inc.OldUpmapPrimary)+len(inc.Crush)+len(inc.FullMap) > 0 || inc.NewMaxOSD >= 0
}

// newView makes the view of m. Cluster.mu is held.
func (c *Cluster) newView(m *osdmap.Map, moved bool) *view {
	v := &view{epoch: m.Epoch, m: m, pools: make(map[int64]*poolView, len(m.Pools))}
	old := c.view.Load()
	for id, p := range m.Pools {
		pv := &poolView{id: id, name: m.PoolNames[id], pool: p, groups: c.groups[id]}
		pv.settings = settings(m, id, p)
		var before *poolView
		if old != nil {
			before = old.pools[id]
		}
		if before != nil && !moved {
			pv.primary, pv.inactive, pv.acting, pv.since = before.primary, before.inactive, before.acting, before.since
		} else {
			pv.place(m, before)
		}
		v.pools[id] = pv
	}
	return v
}

func settings(m *osdmap.Map, id int64, p *osdmap.Pool) pg.Pool {
	s := pg.Pool{
		ID: id, Erasure: p.IsErasure(), Overwrites: p.HasFlag(osdmap.PoolECOverwrites), PGNum: p.PGNum,
	}
	if s.Erasure {
		s.Align = uint64(p.StripeWidth)
	}
	switch {
	case p.HasFlag(osdmap.PoolFullQuota):
		s.Full = errno.ErrQuota
	case p.HasFlag(osdmap.PoolFull), m.HasFlag(osdmap.FlagFull):
		s.Full = errno.ErrNoSpace
	}
	if queue := m.OSDOnly.RemovedSnapsQueue[id]; len(queue) > 0 {
		s.Removed = queue.Contains
	}
	if p.HasFlag(osdmap.PoolPoolSnaps) {
		sc := &wire.SnapContext{Seq: p.SnapSeq}
		for snap := range p.Snaps {
			sc.Snaps = append(sc.Snaps, snap)
		}
		slices.Sort(sc.Snaps)
		slices.Reverse(sc.Snaps)
		s.PoolSnaps = sc
	}
	return s
}

// place finds every group's OSDs.
func (p *poolView) place(m *osdmap.Map, before *poolView) {
	n := len(p.groups)
	p.primary, p.inactive, p.acting, p.since = make([]int32, n), make([]int32, n), make([][]int32, n), make([]uint32, n)
	var at osdmap.Placement
	for i := range n {
		p.primary[i], p.inactive[i] = -1, -1
		if err := m.MapPG(osdmap.PG{Pool: p.id, Seed: uint32(i)}, &at); err == nil {
			p.acting[i] = slices.Clone(at.Acting)
			live := 0
			for _, o := range at.Acting {
				if o != osdmap.NoOSD {
					live++
				}
			}
			if live >= int(p.pool.MinSize) {
				p.primary[i] = at.ActingPrimary
			} else {
				p.inactive[i] = at.ActingPrimary
			}
		}
		p.since[i] = m.Epoch
		if before != nil && i < len(before.primary) && before.head(i) == p.head(i) && len(before.groups) == n {
			p.since[i] = before.since[i]
		}
	}
}

// head returns the first OSD of a group, whether it serves or has too few others.
func (p *poolView) head(i int) int32 { return max(p.primary[i], p.inactive[i]) }
