package osdmap

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Apply returns the map that inc makes of m. It changes neither and shares with
// m what stays the same. It fails with ErrEpoch when inc is not for the epoch
// after m's, and on an incremental that speaks of OSDs that the map has no room
// for.
func (m *Map) Apply(inc *Incremental) (*Map, error) {
	if inc.Epoch != m.Epoch+1 || inc.Epoch != 1 && inc.FSID != m.FSID {
		return nil, fmt.Errorf("%w: %s epoch %d on %s epoch %d", ErrEpoch, inc.FSID, inc.Epoch, m.FSID, m.Epoch)
	}
	if len(inc.FullMap) > 0 {
		return Decode(inc.FullMap)
	}
	n := *m
	n.FSID, n.Epoch, n.Modified = inc.FSID, inc.Epoch, inc.Modified
	if inc.NewFlags >= 0 {
		n.Flags = uint32(inc.NewFlags)
	}
	if err := n.applyOSDs(inc); err != nil {
		return nil, fmt.Errorf("incremental OSD map of epoch %d: %w", inc.Epoch, err)
	}
	n.applyPools(inc)
	n.applySnaps(inc)
	if !inc.LastUpChange.IsZero() {
		n.LastUpChange = inc.LastUpChange
	}
	if !inc.LastInChange.IsZero() {
		n.LastInChange = inc.LastInChange
	}
	n.ErasureCodes = merged(merged(n.ErasureCodes, nil, inc.OldErasureCodes, nil), inc.NewErasureCodes, nil, nil)
	empty := func(osds []int32) bool { return len(osds) == 0 }
	n.PGTemp = merged(n.PGTemp, inc.NewPGTemp, nil, empty)
	n.PrimaryTemp = merged(n.PrimaryTemp, inc.NewPrimaryTemp, nil, func(osd int32) bool { return osd == -1 })
	n.Upmap = merged(n.Upmap, inc.NewUpmap, inc.OldUpmap, nil)
	n.UpmapItems = merged(n.UpmapItems, inc.NewUpmapItems, inc.OldUpmapItems, nil)
	n.UpmapPrimary = merged(n.UpmapPrimary, inc.NewUpmapPrimary, inc.OldUpmapPrimary, nil)
	n.OSDOnly.apply(&inc.OSDOnly, inc.Epoch)
	if ru := inc.OSDOnly.RequireRelease; ru != 0 && ru != 0xff {
		n.Flags = n.Flags&^(FlagRequireJewel|FlagRequireKraken|FlagRequireLuminous) | FlagRecoveryDeletes
	}
	if len(inc.Crush) > 0 {
		r := denc.NewReader(inc.Crush)
		if n.Crush = readCrush(r, inc.Crush); n.Crush == nil {
			return nil, fmt.Errorf("incremental OSD map of epoch %d: %w", inc.Epoch, r.Err())
		}
		n.CrushVersion++
	}
	return &n, n.index()
}

func (m *Map) applyPools(inc *Incremental) {
	if inc.NewPoolMax != -1 {
		m.PoolMax = int32(inc.NewPoolMax)
	}
	m.Pools = merged(m.Pools, inc.NewPools, inc.OldPools, nil)
	for id := range inc.NewPools {
		if p := m.Pools[id]; p != nil {
			changed := *p
			changed.LastChange = m.Epoch
			m.Pools[id] = &changed
		}
	}
	m.PoolNames = merged(m.PoolNames, inc.NewPoolNames, inc.OldPools, nil)
}

func (m *Map) applySnaps(inc *Incremental) {
	m.NewRemoved, m.NewPurged = inc.NewRemoved, inc.NewPurged
	if len(inc.NewRemoved)+len(inc.NewPurged) == 0 {
		return
	}
	q := maps.Clone(m.OSDOnly.RemovedSnapsQueue)
	if q == nil {
		q = map[int64]IntervalSet{}
	}
	for pool, s := range inc.NewRemoved {
		q[pool] = q[pool].Union(s)
	}
	for pool, s := range inc.NewPurged {
		if q[pool] = q[pool].Subtract(s); len(q[pool]) == 0 {
			delete(q, pool)
		}
	}
	m.OSDOnly.RemovedSnapsQueue = q
}

// applyOSDs changes copies of the per-OSD tables, in the order that Ceph
// applies things.
func (m *Map) applyOSDs(inc *Incremental) error {
	o := &inc.OSDOnly
	changes := len(inc.NewWeight) + len(inc.NewAffinity) + len(inc.NewState) + len(inc.NewUp) +
		len(o.ClusterUp) + len(o.UpThru) + len(o.LastClean) + len(o.Lost) + len(o.XInfo) + len(o.UUIDs)
	if changes == 0 && inc.NewMaxOSD < 0 {
		return nil
	}
	if inc.NewMaxOSD > maxOSDs {
		return fmt.Errorf("%w: max_osd %d", denc.ErrValue, inc.NewMaxOSD)
	}
	n := len(m.State)
	if inc.NewMaxOSD >= 0 {
		n = int(inc.NewMaxOSD)
	}
	m.State, m.Weight, m.Addrs = resized(m.State, n), resized(m.Weight, n), resized(m.Addrs, n)
	had := len(m.Affinity)
	if had > 0 {
		m.Affinity = resized(m.Affinity, n)
		for i := had; i < n; i++ {
			m.Affinity[i] = DefaultAffinity
		}
	}
	m.OSDOnly.OSDs = resized(m.OSDOnly.OSDs, n)
	for _, err := range []error{
		inRange(n, inc.NewWeight), inRange(n, inc.NewAffinity), inRange(n, inc.NewState), inRange(n, inc.NewUp),
		inRange(n, o.ClusterUp), inRange(n, o.UpThru), inRange(n, o.LastClean), inRange(n, o.Lost),
		inRange(n, o.XInfo), inRange(n, o.UUIDs),
	} {
		if err != nil {
			return err
		}
	}
	for osd, w := range inc.NewWeight {
		if m.Weight[osd] = w; w != 0 {
			m.State[osd] |= StateExists
			m.State[osd] &^= StateAutoOut | StateNew
			m.OSDOnly.OSDs[osd].XInfo.OldWeight = 0
		}
	}
	for osd, a := range inc.NewAffinity {
		m.setAffinity(osd, a)
	}
	for osd, bits := range inc.NewState {
		m.flip(osd, bits)
	}
	m.applyDetails(inc)
	return nil
}

// applyDetails handles OSDs that came up and the OSD-only tables.
func (m *Map) applyDetails(inc *Incremental) {
	o, osds := &inc.OSDOnly, m.OSDOnly.OSDs
	for osd, addrs := range inc.NewUp {
		m.State[osd] |= StateExists | StateUp
		m.State[osd] &^= StateStop
		m.Addrs[osd] = addrs
		osds[osd].HBBack, osds[osd].HBFront = o.HBBackUp[osd], o.HBFrontUp[osd]
		osds[osd].Info.UpFrom = m.Epoch
	}
	for osd, addrs := range o.ClusterUp {
		osds[osd].Cluster = addrs
	}
	for osd, e := range o.UpThru {
		osds[osd].Info.UpThru = e
	}
	for osd, e := range o.LastClean {
		osds[osd].Info.LastCleanBegin, osds[osd].Info.LastCleanEnd = e[0], e[1]
	}
	for osd, e := range o.Lost {
		osds[osd].Info.LostAt = e
	}
	for osd, x := range o.XInfo {
		osds[osd].XInfo = x
	}
	for osd, u := range o.UUIDs {
		osds[osd].UUID = u
	}
}

// flip flips state bits. An OSD that stops existing loses all it had.
func (m *Map) flip(osd int32, bits uint32) {
	if bits == 0 {
		bits = StateUp
	}
	was, d := m.State[osd], &m.OSDOnly.OSDs[osd]
	if was&bits&StateUp != 0 {
		d.Info.DownAt = m.Epoch
		d.XInfo.DownStamp = m.Modified
	}
	if was&bits&StateExists == 0 {
		m.State[osd] ^= bits
		return
	}
	*d = OSDDetail{}
	m.setAffinity(osd, DefaultAffinity)
	m.Addrs[osd] = entity.AddrVec{}
	m.State[osd] = 0
}

func (m *Map) setAffinity(osd int32, a uint32) {
	if len(m.Affinity) == 0 {
		m.Affinity = slices.Repeat([]uint32{DefaultAffinity}, len(m.State))
	}
	m.Affinity[osd] = a
}

// apply changes what is not per OSD. The tables it changes are copied.
func (o *OSDOnly) apply(inc *IncOSDOnly, epoch uint32) {
	o.Blocklist = merged(o.Blocklist, inc.NewBlocklist, inc.OldBlocklist, nil)
	o.RangeBlocklist = merged(o.RangeBlocklist, inc.NewRangeBlocklist, inc.OldRangeBlocklist, nil)
	zero := func(v uint32) bool { return v == 0 }
	o.NodeFlags = merged(o.NodeFlags, inc.NodeFlags, nil, zero)
	o.ClassFlags = merged(o.ClassFlags, inc.ClassFlags, nil, zero)
	o.Snapshot, o.SnapshotEpoch = inc.Snapshot, 0
	if inc.Snapshot != "" {
		o.SnapshotEpoch = epoch
	}
	for _, r := range []struct {
		to   *float32
		from float32
	}{{&o.NearFull, inc.NearFull}, {&o.Full, inc.Full}, {&o.BackfillFull, inc.BackfillFull}} {
		if r.from >= 0 {
			*r.to = r.from
		}
	}
	if v := inc.MinCompatClient; v != 0 && v != 0xff {
		o.MinCompatClient = v
	}
	if v := inc.RequireRelease; v != 0 && v != 0xff {
		o.RequireRelease = v
	}
	if inc.ChangeStretch {
		o.Stretch = inc.Stretch
	}
	if inc.MutateCrimson != 0 {
		o.AllowCrimson = inc.MutateCrimson == 1
	}
}

// resized returns a copy of s with n entries.
func resized[T any](s []T, n int) []T {
	out := make([]T, n)
	copy(out, s)
	return out
}

func inRange[V any](n int, m map[int32]V) error {
	for osd := range m {
		if osd < 0 || int(osd) >= n {
			return fmt.Errorf("%w: OSD %d, max_osd is %d", denc.ErrValue, osd, n)
		}
	}
	return nil
}
