package cls

import (
	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// States of objects in an object map.
const (
	mapExists = 1
	mapClean  = 3

	mapBlock      = 4096
	maxMapObjects = 256000000
)

// bitMap is an object map: two bits an object, the first in the high bits.
type bitMap struct {
	n    uint64
	bits []byte
}

func (m *bitMap) get(i uint64) uint8 { return m.bits[i/4] >> (6 - 2*(i%4)) & 3 }

func (m *bitMap) set(i uint64, v uint8) {
	shift := 6 - 2*(i%4)
	m.bits[i/4] = m.bits[i/4]&^(3<<shift) | v<<shift
}

func (m *bitMap) resize(n uint64, v uint8) {
	old := m.n
	bits := make([]byte, (n+3)/4)
	copy(bits, m.bits)
	m.n, m.bits = n, bits
	for i := old; i < n; i++ {
		m.set(i, v)
	}
	for i := n; i < uint64(len(bits))*4; i++ {
		m.set(i, 0)
	}
}

// append appends the form of ceph's BitVector: header with a length, data,
// checksums with a length.
func (m *bitMap) append(b []byte) []byte {
	head, at := denc.Begin(nil, 1, 1)
	head = denc.End(denc.AppendU64(head, m.n), at)
	b = denc.AppendBytes(b, head)
	b = append(b, m.bits...)
	foot := denc.AppendU32(nil, denc.CRC32C(0, head))
	blocks := (len(m.bits) + mapBlock - 1) / mapBlock
	foot = denc.AppendU32(foot, uint32(blocks))
	for i := range blocks {
		foot = denc.AppendU32(foot, denc.CRC32C(0, m.bits[i*mapBlock:min((i+1)*mapBlock, len(m.bits))]))
	}
	return denc.AppendBytes(b, foot)
}

// decode reads what append wrote, and checks the checksums.
func (m *bitMap) decode(r *denc.Reader) {
	head := r.Bytes()
	h := denc.NewReader(head)
	s := h.Enter("BitVector", 1)
	m.n = h.U64()
	h.Leave(s)
	if h.Err() != nil || m.n > maxMapObjects {
		r.Failf("bit vector of %d", m.n)
		return
	}
	m.bits = append([]byte(nil), r.Raw(int((m.n+3)/4))...)
	footer := r.Bytes()
	if r.Err() == nil && len(footer) == 0 {
		return // clients send maps without checksums
	}
	foot := denc.NewReader(footer)
	ok := foot.U32() == denc.CRC32C(0, head)
	n := foot.Count(4)
	for i := range n {
		if i*mapBlock < len(m.bits) {
			ok = foot.U32() == denc.CRC32C(0, m.bits[i*mapBlock:min((i+1)*mapBlock, len(m.bits))]) && ok
		}
	}
	if r.Err() == nil && (!ok || foot.Err() != nil || n != (len(m.bits)+mapBlock-1)/mapBlock) {
		r.Failf("bit vector with a wrong checksum")
	}
}

func loadMap(o *pg.Object) (*bitMap, error) {
	if !o.Exists() {
		return nil, errno.ErrNotFound
	}
	m := &bitMap{}
	if size, _ := o.Stat(); size == 0 {
		return m, nil
	}
	r := denc.NewReader(o.Read(0, 0))
	m.decode(r)
	return m, ioErr(r)
}

func (m *bitMap) write(o *pg.Object) { o.WriteFull(m.append(nil)) }

func objectMapMethods() class {
	return class{
		"object_map_load": rd(mapLoad), "object_map_save": wr(mapSave), "object_map_resize": wr(mapResize),
		"object_map_update": wr(mapUpdate), "object_map_snap_add": wr(mapSnapAdd), "object_map_snap_remove": wr(mapSnapRemove),
	}
}

func mapLoad(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	m, err := loadMap(o)
	if err != nil {
		return nil, err
	}
	return m.append(nil), nil
}

func mapSave(o *pg.Object, r *denc.Reader) ([]byte, error) {
	m := &bitMap{}
	if m.decode(r); r.Err() != nil {
		return nil, r.Err()
	}
	m.write(o)
	return nil, nil
}

func mapResize(o *pg.Object, r *denc.Reader) ([]byte, error) {
	n, state := r.U64(), r.U8()
	if r.Err() != nil || n > maxMapObjects || state > mapClean {
		return nil, errno.ErrInvalid
	}
	m, err := loadMap(o)
	if err != nil {
		if err != errno.ErrNotFound {
			return nil, err
		}
		m = &bitMap{}
	}
	for i := n; i < m.n; i++ {
		if m.get(i) != state {
			return nil, errno.ErrStale
		}
	}
	m.resize(n, state)
	m.write(o)
	return nil, nil
}

func mapUpdate(o *pg.Object, r *denc.Reader) ([]byte, error) {
	start, end, fresh := r.U64(), r.U64(), r.U8()
	var current *uint8
	if r.Bool() {
		v := r.U8()
		current = &v
	}
	if r.Err() != nil || fresh > mapClean {
		return nil, errno.ErrInvalid
	}
	m, err := loadMap(o)
	if err != nil {
		return nil, err
	}
	if start >= end {
		return nil, errno.ErrInvalid
	}
	if end > m.n {
		return nil, errno.ErrRange
	}
	changed := false
	for i := start; i < end; i++ {
		old := m.get(i)
		matches := current == nil || old == *current || *current == mapExists && old == mapClean
		if matches && old != fresh {
			m.set(i, fresh)
			changed = true
		}
	}
	if changed {
		m.write(o)
	}
	return nil, nil
}

func mapSnapAdd(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	m, err := loadMap(o)
	if err != nil {
		return nil, err
	}
	changed := false
	for i := range m.n {
		if m.get(i) == mapExists {
			m.set(i, mapClean)
			changed = true
		}
	}
	if changed {
		m.write(o)
	}
	return nil, nil
}

func mapSnapRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	snap := &bitMap{}
	if snap.decode(r); r.Err() != nil {
		return nil, r.Err()
	}
	m, err := loadMap(o)
	if err != nil {
		return nil, err
	}
	changed := false
	for i := range m.n {
		if m.get(i) == mapClean && (i >= snap.n || snap.get(i) == mapExists) {
			m.set(i, mapExists)
			changed = true
		}
	}
	if changed {
		m.write(o)
	}
	return nil, nil
}
