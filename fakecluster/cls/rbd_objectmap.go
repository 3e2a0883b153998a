package cls

import (
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func objectMapMethods() map[string]method {
	return map[string]method{
		wire.MethodObjectMapLoad:       read(mapLoad),
		wire.MethodObjectMapSave:       write(mapSave),
		wire.MethodObjectMapResize:     write(mapResize),
		wire.MethodObjectMapUpdate:     write(mapUpdate),
		wire.MethodObjectMapSnapAdd:    write(mapSnapAdd),
		wire.MethodObjectMapSnapRemove: write(mapSnapRemove),
	}
}

// readMap returns the object map that the object holds, for changing.
func readMap(o Object) (m wire.ObjectMap, err error) {
	if size, _ := o.Stat(); !o.Exists() || size == 0 {
		return m, errno.ErrNotFound
	}
	p, err := o.Read(0, 0)
	if err != nil {
		return m, err
	}
	r := denc.NewReader(p)
	m.Decode(r)
	if r.Err() != nil {
		return m, errno.ErrInvalid
	}
	m.Packed = slices.Clone(m.Packed)
	return m, nil
}

func writeMap(o Object, m wire.ObjectMap) {
	m.NoChecksums = false
	o.WriteFull(m.Append(nil))
}

func mapLoad(o Object, _ *denc.Reader) ([]byte, error) {
	m, err := readMap(o)
	if err != nil {
		return nil, err
	}
	m.NoChecksums = true
	return m.Append(nil), nil
}

func mapSave(o Object, in *denc.Reader) ([]byte, error) {
	m := one[wire.ObjectMap](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	writeMap(o, m)
	return nil, nil
}

func mapResize(o Object, in *denc.Reader) ([]byte, error) {
	n, state := in.U64(), in.U8()
	if in.Err() != nil || n > wire.MaxObjectMapObjects {
		return nil, errno.ErrInvalid
	}
	m, err := readMap(o)
	if notFoundIsNone(err) != nil {
		return nil, err
	}
	for i := n; i < m.Objects; i++ {
		if m.Get(i) != state {
			return nil, errno.ErrStale
		}
	}
	m.Resize(n, state)
	writeMap(o, m)
	return nil, nil
}

func mapUpdate(o Object, in *denc.Reader) ([]byte, error) {
	first, end, state, expect := in.U64(), in.U64(), in.U8(), -1
	if in.Bool() {
		expect = int(in.U8())
	}
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := exists(o); err != nil {
		return nil, err
	}
	m, err := readMap(o)
	if size, _ := o.Stat(); size == 0 {
		err = errno.ErrInvalid // there is not even a header
	}
	if err != nil {
		return nil, err
	}
	if first >= end || end > m.Objects {
		return nil, errno.ErrRange
	}
	changed := false
	for i := first; i < end; i++ {
		old := m.Get(i)
		matches := expect < 0 || int(old) == expect || expect == int(wire.ObjectExists) && old == wire.ObjectExistsClean
		if matches && old != state {
			m.Set(i, state)
			changed = true
		}
	}
	if changed {
		writeBlocks(o, m, first, end)
	}
	return nil, nil
}

// writeBlocks writes the blocks in which some objects are, and their checksums.
func writeBlocks(o Object, m wire.ObjectMap, first, end uint64) {
	m.NoChecksums = false
	p, n := m.Append(nil), uint64(len(m.Packed))
	blocks := (n + wire.ObjectMapBlock - 1) / wire.ObjectMapBlock
	sums := uint64(len(p)) - 4*blocks
	data := sums - 12 - n // the footer begins with its length, the header's checksum and their number
	from, to := first/4/wire.ObjectMapBlock, (end-1)/4/wire.ObjectMapBlock+1
	o.Write(data+from*wire.ObjectMapBlock, p[data+from*wire.ObjectMapBlock:data+min(n, to*wire.ObjectMapBlock)])
	o.Write(sums+4*from, p[sums+4*from:sums+4*to])
}

func mapSnapAdd(o Object, _ *denc.Reader) ([]byte, error) {
	m, err := readMap(o)
	if err != nil {
		return nil, err
	}
	changed := false
	for i := range m.Objects {
		if m.Get(i) == wire.ObjectExists {
			m.Set(i, wire.ObjectExistsClean)
			changed = true
		}
	}
	if changed {
		writeMap(o, m)
	}
	return nil, nil
}

func mapSnapRemove(o Object, in *denc.Reader) ([]byte, error) {
	snap := one[wire.ObjectMap](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	m, err := readMap(o)
	if err != nil {
		return nil, err
	}
	changed := false
	for i := range m.Objects {
		if m.Get(i) == wire.ObjectExistsClean && (i >= snap.Objects || snap.Get(i) == wire.ObjectExists) {
			m.Set(i, wire.ObjectExists)
			changed = true
		}
	}
	if changed {
		writeMap(o, m)
	}
	return nil, nil
}
