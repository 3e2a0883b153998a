package fakecluster

import (
	"net/netip"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// poolOp answers MPoolOp.
func (s *monSession) poolOp(f *wire.PoolOp, tid uint64, v verdict) {
	c := s.mon.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &wire.PoolOpReply{FSID: c.fsid}
	if v.errno != 0 {
		r.Result = v.errno.Result()
	} else {
		r.Result, r.Data = s.doPoolOp(f)
	}
	r.Epoch = c.osdmap.Epoch
	r.Version = uint64(c.osdmap.Epoch)
	s.send(r, tid)
}

// permitsPoolOp reports whether the client may change pools or, when unmanaged,
// make and remove snapshots of images: who may write there may.
func (s *monSession) permitsPoolOp(unmanaged bool, pool string) bool {
	if !unmanaged {
		return s.caps.permits("osd", accessW, "", nil)
	}
	return s.caps.permits("osd", accessW, "osd pool op unmanaged-snap", cmdArgs{"poolname": pool}) ||
		parseOSDCaps(s.auth.Caps(entity.TypeOSD), netip.Addr{}).writes(pool, s.mon.c.opt.release) // wherever it is
}

func (s *monSession) doPoolOp(f *wire.PoolOp) (int32, []byte) {
	c := s.mon.c
	id := int64(f.Pool)
	unmanaged := f.Op == wire.PoolOpCreateUnmanagedSnap || f.Op == wire.PoolOpDeleteUnmanagedSnap
	if !s.permitsPoolOp(unmanaged, c.osdmap.PoolNames[id]) {
		return errno.ErrPermission.Result(), nil
	}
	if f.Op == wire.PoolOpCreate {
		if _, ok := c.osdmap.PoolByName(f.Name); ok {
			return 0, nil // the client has looked whether it is there
		}
		if f.Name == "" {
			return errno.ErrInvalid.Result(), nil
		}
		c.createPool(newPool{name: f.Name})
		return 0, nil
	}
	p := c.osdmap.Pools[id]
	if p == nil {
		return errno.ErrNotFound.Result(), nil
	}
	switch f.Op {
	case wire.PoolOpDelete:
		c.removePool(id)
		return 0, nil
	case wire.PoolOpCreateUnmanagedSnap:
		if p.HasFlag(osdmap.PoolPoolSnaps) {
			return errno.ErrInvalid.Result(), nil
		}
		return 0, denc.AppendU64(nil, c.newUnmanagedSnap(id))
	case wire.PoolOpDeleteUnmanagedSnap:
		if p.HasFlag(osdmap.PoolPoolSnaps) {
			return errno.ErrInvalid.Result(), nil
		}
		if f.SnapID == 0 || f.SnapID > p.SnapSeq {
			return errno.ErrNotFound.Result(), nil
		}
		if c.osdmap.OSDOnly.RemovedSnapsQueue[id].Contains(f.SnapID) {
			return 0, nil
		}
		c.removeUnmanagedSnap(id, f.SnapID)
		return 0, nil
	case wire.PoolOpCreateSnap:
		return c.makePoolSnap(id, f.Name).Result(), nil
	case wire.PoolOpDeleteSnap:
		return c.removePoolSnap(id, f.Name, true).Result(), nil
	}
	return errno.ErrInvalid.Result(), nil
}

// newUnmanagedSnap takes a snapshot id from a pool.
func (c *Cluster) newUnmanagedSnap(id int64) (snap uint64) {
	c.updatePool(id, func(p *osdmap.Pool) {
		p.Flags |= osdmap.PoolSelfManagedSnaps
		p.SnapSeq = max(p.SnapSeq, 1) + 1 // 1 is what pools of old may have removed
		p.SnapEpoch = c.osdmap.Epoch + 1
		snap = p.SnapSeq
	})
	return snap
}

func (c *Cluster) makePoolSnap(id int64, name string) errno.Errno {
	p := c.osdmap.Pools[id]
	if p.HasFlag(osdmap.PoolSelfManagedSnaps) {
		return errno.ErrInvalid
	}
	for _, s := range p.Snaps {
		if s.Name == name {
			return errno.ErrExists
		}
	}
	c.updatePool(id, func(p *osdmap.Pool) {
		p.Flags |= osdmap.PoolPoolSnaps
		p.SnapSeq++
		p.SnapEpoch = c.osdmap.Epoch + 1
		snaps := map[uint64]osdmap.PoolSnap{p.SnapSeq: {ID: p.SnapSeq, Stamp: denc.TimeOf(c.clock.Now()), Name: name}}
		for k, v := range p.Snaps {
			snaps[k] = v
		}
		p.Snaps = snaps
	})
	return 0
}

// removePoolSnap removes a snapshot of a pool; trim says that the OSDs get to know.
func (c *Cluster) removePoolSnap(id int64, name string, trim bool) errno.Errno {
	p := c.osdmap.Pools[id]
	if p.HasFlag(osdmap.PoolSelfManagedSnaps) {
		return errno.ErrInvalid
	}
	for snap, s := range p.Snaps {
		if s.Name != name {
			continue
		}
		remove := func(p *osdmap.Pool) {
			snaps := map[uint64]osdmap.PoolSnap{}
			for k, v := range p.Snaps {
				if k != snap {
					snaps[k] = v
				}
			}
			p.Snaps = snaps
			if c.opt.release < 20 {
				p.SnapSeq++
			}
			p.SnapEpoch = c.osdmap.Epoch + 1
		}
		if trim {
			c.removeSnap(id, snap, remove)
		} else {
			c.updatePool(id, remove)
		}
		return 0
	}
	return errno.ErrNotFound
}

// osdBytes is the size that every OSD claims to have.
const osdBytes = 100 << 30

// poolStat sums up a pool.
func (c *Cluster) poolStat(id int64) pg.Stats {
	var s pg.Stats
	for _, g := range c.groups[id] {
		s.Add(g.Stats())
	}
	return s
}

// StoredBytes returns how many bytes of data the cluster keeps, each once,
// without holes, keys and attributes.
func (c *Cluster) StoredBytes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, _ := c.total()
	return s.Stored
}

// total sums up all pools: logical figures, and the bytes with all copies.
func (c *Cluster) total() (s pg.Stats, raw uint64) {
	for id := range c.groups {
		p := c.poolStat(id)
		s.Add(p)
		raw += rawBytes(c.osdmap, id, p.Stored)
	}
	return s, raw
}

// rawBytes returns how much so many bytes of a pool take with all copies.
func rawBytes(m *osdmap.Map, id int64, n uint64) uint64 {
	p := m.Pools[id]
	if p == nil {
		return 0
	}
	if p.IsErasure() {
		k, coding := profileSizes(m.ErasureCodes[p.ErasureProfile])
		return n * uint64(k+coding) / uint64(k)
	}
	return n * uint64(p.Size)
}

// statfs answers MStatfs.
func (c *Cluster) statfs(f *wire.Statfs) *wire.StatfsReply {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := uint64(len(c.osds)) * osdBytes
	s, raw := c.total()
	r := &wire.StatfsReply{FSID: c.fsid, Version: uint64(c.osdmap.Epoch)}
	if f.Pool != nil {
		s = c.poolStat(*f.Pool)
		raw = s.Stored
		if p := c.osdmap.Pools[*f.Pool]; p != nil {
			size /= uint64(max(p.Size, 1))
		}
	}
	r.KB, r.KBUsed, r.Objects = size>>10, raw>>10, s.Objects
	r.KBAvail = r.KB - min(r.KB, r.KBUsed)
	return r
}

// appendPoolStat appends a pool_stat_t, version 7.
func (c *Cluster) appendPoolStat(b []byte, id int64) []byte {
	s := c.poolStat(id)
	b, at := denc.Begin(b, 7, 5)
	b, coll := denc.Begin(b, 2, 2)
	b, sum := denc.Begin(b, 20, 14)
	copies := uint64(0)
	if p := c.osdmap.Pools[id]; p != nil {
		copies = s.Objects * uint64(p.Size)
	}
	// Bytes, objects, clones, copies; then 24 counters of degraded objects, of
	// traffic and of scrubs and cache tiers, which stay at 0 here.
	for _, v := range append([]uint64{s.Bytes, s.Objects, s.Clones, copies}, make([]uint64, 24)...) {
		b = denc.AppendU64(b, v)
	}
	b = append(b, make([]byte, 4*4)...)                                     // cache tier agents
	for _, v := range []uint64{0, 0, 0, 0, 0, s.OmapBytes, s.OmapKeys, 0} { // pinned, missing, … repaired
		b = denc.AppendU64(b, v)
	}
	b = denc.End(b, sum)
	b = denc.AppendU32(b, 0)
	b = denc.End(b, coll)
	b = denc.AppendU64(b, 0) // log sizes
	b = denc.AppendU64(b, 0)
	n := uint32(len(c.groups[id]))
	b = denc.AppendU32(b, n)
	b = denc.AppendU32(b, n)
	b, st := denc.Begin(b, 1, 1)
	raw := rawBytes(c.osdmap, id, s.Stored)
	for _, v := range []uint64{0, 0, 0, raw, raw, 0, 0, 0, s.OmapBytes, 0} {
		b = denc.AppendU64(b, v)
	}
	b = denc.End(b, st)
	b = denc.AppendU32(b, uint32(len(c.osds)))
	return denc.End(b, at)
}

// poolsByID returns the ids of all pools, ascending.
func poolsByID(m *osdmap.Map) []int64 {
	ids := make([]int64, 0, len(m.Pools))
	for id := range m.Pools {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
