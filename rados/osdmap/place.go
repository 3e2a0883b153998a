package osdmap

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/rados/crush"
)

// ErrNoPool says that the map has no such pool.
var ErrNoPool = errors.New("no such pool")

// Placement is where a PG lives. An OSD set has NoOSD at the holes of an
// erasure coded pool; a primary is -1 when there is none.
type Placement struct {
	// Up is what CRUSH and the upmaps say, Acting who serves the PG now.
	Up, Acting               []int32
	UpPrimary, ActingPrimary int32

	raw []int32
}

// ObjectToPG returns the PG of an object and the object's full placement hash,
// which requests carry. key is the locator key, empty as a rule.
func (m *Map) ObjectToPG(pool int64, ns, key, oid string) (pg PG, hash uint32, err error) {
	p := m.Pools[pool]
	if p == nil {
		return PG{}, 0, fmt.Errorf("pool %d: %w", pool, ErrNoPool)
	}
	if key == "" {
		key = oid
	}
	hash = p.Hash(ns, key)
	return p.Fold(PG{Pool: pool, Seed: hash}), hash, nil
}

// PGToUpActing returns the OSDs of a PG. A pool that does not exist has none;
// so has a rule that cannot be run (see MapPG for the reason).
func (m *Map) PGToUpActing(pg PG) (up []int32, upPrimary int32, acting []int32, actingPrimary int32) {
	var p Placement
	_ = m.MapPG(pg, &p) // a PG that cannot be mapped is one without OSDs
	return p.Up, p.UpPrimary, p.Acting, p.ActingPrimary
}

// MapPG fills p with the OSDs of a PG, reusing its slices. It fails with
// ErrNoPool, or with crush.ErrNoRule when the pool's rule is missing; then p holds only what pg_temp says.
func (m *Map) MapPG(pg PG, p *Placement) error {
	p.Up, p.Acting, p.UpPrimary, p.ActingPrimary = p.Up[:0], p.Acting[:0], -1, -1
	pool := m.Pools[pg.Pool]
	if pool == nil {
		return fmt.Errorf("pool %d: %w", pg.Pool, ErrNoPool)
	}
	actual := pool.Fold(pg)
	seed := pool.placementSeed(pg)
	var err error
	p.raw, err = m.Crush.Do(p.raw[:0], int(pool.CrushRule), seed, int(pool.Size), m.Weight, m.Crush.ChooseArgsFor(pg.Pool))
	if err == nil {
		m.dropMissing(pool, p)
		m.applyUpmap(actual, p)
		p.Up = m.keepUp(pool, p.Up, p.raw)
		p.UpPrimary = firstOSD(p.Up)
		m.applyAffinity(pool, seed, p)
	}
	m.applyTemp(pool, actual, p)
	if len(p.Acting) == 0 {
		p.Acting = append(p.Acting, p.Up...)
		if p.ActingPrimary == -1 {
			p.ActingPrimary = p.UpPrimary
		}
	}
	return err
}

// placementSeed is CRUSH's input for a PG: with HASHPSPOOL pools do not lie on
// top of each other.
func (p *Pool) placementSeed(pg PG) uint32 {
	s := stableMod(pg.Seed, p.PGPNum, foldMask(p.PGPNum))
	if p.HasFlag(PoolHashPSPool) {
		return crush.Hash2(s, uint32(pg.Pool))
	}
	return s + uint32(pg.Pool)
}

func (m *Map) dropMissing(pool *Pool, p *Placement) {
	kept := p.raw[:0]
	for _, osd := range p.raw {
		switch {
		case m.Exists(osd):
			kept = append(kept, osd)
		case !pool.canShift():
			kept = append(kept, NoOSD)
		}
	}
	p.raw = kept
}

// isOut reports whether an upmap's target is an OSD that was marked out. What
// is no OSD number at all does not count as out.
func (m *Map) isOut(osd int32) bool {
	return osd >= 0 && int(osd) < len(m.Weight) && m.Weight[osd] == 0
}

// applyUpmap changes p.raw by the exceptions that the balancer or an operator
// made for this PG.
func (m *Map) applyUpmap(pg PG, p *Placement) {
	if osds, ok := m.Upmap[pg]; ok {
		if slices.ContainsFunc(osds, m.isOut) {
			return // and nothing else applies either
		}
		p.raw = append(p.raw[:0], osds...)
	}
	for _, item := range m.UpmapItems[pg] {
		from := slices.Index(p.raw, item.From)
		if from >= 0 && !m.isOut(item.To) && !slices.Contains(p.raw, item.To) {
			p.raw[from] = item.To
		}
	}
	if osd, ok := m.UpmapPrimary[pg]; ok && osd >= 0 && int(osd) < len(m.Weight) && m.Weight[osd] != 0 {
		if i := slices.Index(p.raw, osd); i > 0 {
			p.raw[0], p.raw[i] = p.raw[i], p.raw[0]
		}
	}
}

// keepUp appends to dst those of osds that are up, holes for the others where
// positions matter.
func (m *Map) keepUp(pool *Pool, dst, osds []int32) []int32 {
	for _, osd := range osds {
		switch {
		case m.IsUp(osd):
			dst = append(dst, osd)
		case !pool.canShift():
			dst = append(dst, NoOSD)
		}
	}
	return dst
}

func firstOSD(osds []int32) int32 {
	for _, osd := range osds {
		if osd != NoOSD {
			return osd
		}
	}
	return -1
}

// applyAffinity lets OSDs with a low primary affinity pass the job on.
func (m *Map) applyAffinity(pool *Pool, seed uint32, p *Placement) {
	if !m.lowAffinity {
		return
	}
	if !slices.ContainsFunc(p.Up, func(o int32) bool { return o != NoOSD && m.Affinity[o] != DefaultAffinity }) {
		return
	}
	pos := -1
	for i, osd := range p.Up {
		if osd == NoOSD {
			continue
		}
		a := m.Affinity[osd]
		if a >= DefaultAffinity || crush.Hash2(seed, uint32(osd))>>16 < a {
			pos = i
			break
		}
		if pos < 0 {
			pos = i
		}
	}
	if pos < 0 {
		return
	}
	p.UpPrimary = p.Up[pos]
	if pool.canShift() && pos > 0 {
		copy(p.Up[1:pos+1], p.Up[:pos])
		p.Up[0] = p.UpPrimary
	}
}

// applyTemp fills Acting by the PG's temporary OSDs and primary, if any.
func (m *Map) applyTemp(pool *Pool, pg PG, p *Placement) {
	temp, has := m.PGTemp[pg]
	if has {
		p.Acting = m.keepUp(pool, p.Acting, temp)
	}
	if primary, ok := m.PrimaryTemp[pg]; ok {
		p.ActingPrimary = primary
	} else {
		p.ActingPrimary = firstOSD(p.Acting)
	}
	if has && pool.HasFlag(PoolECOptimizations) && len(p.Acting) == int(pool.Size) {
		p.raw = pool.unpermute(p.raw[:0], p.Acting)
		p.Acting = append(p.Acting[:0], p.raw...)
	}
}

// numPrimary returns how many shards may be the primary.
func (p *Pool) numPrimary() int {
	n := 0
	for i := range int(p.Size) {
		if !p.isNonPrimary(i) {
			n++
		}
	}
	return n
}

// unpermute undoes PrimaryFirst, appending to dst.
func (p *Pool) unpermute(dst, osds []int32) []int32 {
	front, back := 0, p.numPrimary()
	for i := range osds {
		if p.isNonPrimary(i) {
			dst = append(dst, osds[back])
			back++
		} else {
			dst = append(dst, osds[front])
			front++
		}
	}
	return dst
}

// PrimaryFirst returns osds in the order in which a pg_temp entry of a pool
// with EC_OPTIMIZATIONS is stored: the shards that may be the primary first.
// For other pools it returns a copy.
func (p *Pool) PrimaryFirst(osds []int32) []int32 {
	if !p.HasFlag(PoolECOptimizations) {
		return slices.Clone(osds)
	}
	var front, back []int32
	for i, osd := range osds {
		if p.isNonPrimary(i) {
			back = append(back, osd)
		} else {
			front = append(front, osd)
		}
	}
	return append(front, back...)
}

// PrimaryShard returns which shard of pg the acting primary serves: its place
// in acting, or NoShard for replicated pools and when there is no primary. With
// optimised erasure coding an OSD may hold several shards of a PG; then the
// first one that may be the primary counts.
func (m *Map) PrimaryShard(pg PG, acting []int32, primary int32) int8 {
	pool := m.Pools[pg.Pool]
	if pool == nil || !pool.IsErasure() {
		return NoShard
	}
	_, temp := m.PGTemp[pool.Fold(pg)]
	found := -1
	for i, osd := range acting {
		if osd != primary {
			continue
		}
		if !temp || !pool.HasFlag(PoolECOptimizations) || !pool.isNonPrimary(i) {
			found = i
			break
		}
		if found < 0 {
			found = i
		}
	}
	return int8(found)
}
