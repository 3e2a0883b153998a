// Package interim stands in for the OSD map until package osdmap is complete:
// it reads pools, addresses and the blocklist and places everything on osd.0,
// which is right for clusters of one OSD only.
package interim

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	real "github.com/rbdm/rbdm/rados/osdmap"
)

type Map struct {
	Epoch, Flags uint32
	pools        map[int64]*Pool
	names        map[int64]string
	addrs        []entity.AddrVec
	state        []uint32
	bl           []entity.Addr

	PGTemp map[PG][]int32
}
type Pool struct {
	PGNum, PGNumPending       uint32
	Size, MinSize, ObjectHash uint8
	Flags                     uint64
	LastForceOpResend         uint32
	ReadTier, WriteTier       int64
	typ                       uint8
}

func (p *Pool) IsErasure() bool { return p.typ == 3 }

const (
	FlagSortBitwise     uint32 = 0x8000
	FlagRecoveryDeletes uint32 = 0x80000
	FlagFull            uint32 = 2
	FlagPauseRead       uint32 = 4
	FlagPauseWrite      uint32 = 8
	PoolFull            uint64 = 2
	PoolFullQuota       uint64 = 0x400
	PoolEIO             uint64 = 0x10000
)

func readPool(r *denc.Reader) *Pool {
	s := r.Enter("pool", 255)
	p := &Pool{ReadTier: -1, WriteTier: -1}
	p.typ = r.U8()
	p.Size = r.U8()
	r.U8()
	p.ObjectHash = r.U8()
	p.PGNum = r.U32()
	p.PGNumPending = p.PGNum
	r.Leave(s)
	return p
}
func Decode(b []byte) (*Map, error) {
	r := denc.NewReader(b)
	o := r.Enter("m", 255)
	s := r.Enter("c", 255)
	r.UUID()
	m := &Map{Epoch: r.U32()}
	r.Time()
	r.Time()
	m.pools = denc.Map(r, 8, (*denc.Reader).S64, readPool)
	m.names = denc.Map(r, 8, (*denc.Reader).S64, (*denc.Reader).String)
	r.S32()
	m.Flags = r.U32()
	r.S32()
	m.state = denc.Slice(r, 4, (*denc.Reader).U32)
	denc.Slice(r, 4, (*denc.Reader).U32)
	m.addrs = denc.Slice(r, 1, func(r *denc.Reader) (v entity.AddrVec) { v.Decode(r); return })
	r.Leave(s)
	s = r.Enter("osd", 255)
	denc.Slice(r, 1, func(r *denc.Reader) (v entity.AddrVec) { v.Decode(r); return })
	denc.Slice(r, 25, func(r *denc.Reader) int { r.Skip(25); return 0 })
	n := r.Count(1)
	for range n {
		var a entity.Addr
		a.Decode(r)
		r.Time()
		m.bl = append(m.bl, a)
	}
	r.Leave(s)
	r.Leave(o)
	return m, r.Err()
}
func (m *Map) Apply(b []byte) (*Map, error) {
	r := denc.NewReader(b)
	n := *m
	n.pools, n.names = map[int64]*Pool{}, map[int64]string{}
	for k, v := range m.pools {
		n.pools[k] = v
	}
	for k, v := range m.names {
		n.names[k] = v
	}
	o := r.Enter("m", 255)
	s := r.Enter("c", 255)
	r.UUID()
	n.Epoch = r.U32()
	if n.Epoch != m.Epoch+1 {
		return nil, fmt.Errorf("epoch %d after %d", n.Epoch, m.Epoch)
	}
	r.Time()
	r.S64()
	if f := r.S32(); f != -1 {
		n.Flags = uint32(f)
	}
	if p := r.Bytes(); len(p) > 0 {
		return Decode(p)
	}
	r.Bytes()
	r.S32()
	for k, v := range denc.Map(r, 8, (*denc.Reader).S64, readPool) {
		n.pools[k] = v
	}
	for k, v := range denc.Map(r, 8, (*denc.Reader).S64, (*denc.Reader).String) {
		n.names[k] = v
	}
	for _, k := range denc.Slice(r, 8, (*denc.Reader).S64) {
		delete(n.pools, k)
		delete(n.names, k)
	}
	r.Leave(s)
	s = r.Enter("osd", 255)
	denc.Map(r, 4, (*denc.Reader).S32, func(r *denc.Reader) (v entity.AddrVec) { v.Decode(r); return })
	denc.Map(r, 4, (*denc.Reader).S32, (*denc.Reader).U32)
	r.Leave(s)
	r.Leave(o)
	return &n, r.Err()
}
func (m *Map) Pool(id int64) *Pool { return m.pools[id] }
func (m *Map) Place(pg PG) (up []int32, upp int32, acting []int32, p int32) {
	if t := m.PGTemp[pg]; len(t) > 0 {
		return t, t[0], t, t[0]
	} else if t != nil {
		return nil, -1, nil, -1
	}
	return []int32{0}, 0, []int32{0}, 0
}
func (m *Map) OSDAddrs(o int32) entity.AddrVec { return m.addrs[o] }
func (m *Map) IsUp(o int) bool                 { return o < len(m.state) && m.state[o]&2 != 0 }
func (m *Map) IsBlocklisted(a entity.Addr) bool {
	return entity.AddrVec(m.bl).Contains(a)
}
func (m *Map) PoolID(n string) (int64, bool) {
	for id, x := range m.names {
		if x == n {
			return id, true
		}
	}
	return 0, false
}
func (m *Map) PoolName(n int64) (string, bool) { x, ok := m.names[n]; return x, ok }
func (m *Map) PoolNames() map[int64]string     { return m.names }

type (
	PG            = real.PG
	ObjectLocator = real.ObjectLocator
)

var HashName = real.HashName
var MinHObject = real.MinHObject

func StableMod(x, n uint32) uint32 {
	mask := uint32(1)
	for mask < n {
		mask <<= 1
	}
	if x&(mask-1) < n {
		return x & (mask - 1)
	}
	return x & ((mask - 1) >> 1)
}

// Build makes a map for tests.
func Build(epoch, flags uint32, pools map[int64]*Pool, addrs []entity.AddrVec, up []bool, temp map[PG][]int32, bl []entity.Addr) *Map {
	m := &Map{Epoch: epoch, Flags: flags, pools: pools, addrs: addrs, PGTemp: temp, bl: bl}
	for _, u := range up {
		st := uint32(1)
		if u {
			st = 3
		}
		m.state = append(m.state, st)
	}
	return m
}
