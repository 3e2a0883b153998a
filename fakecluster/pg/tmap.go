package pg

import (
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Steps of a TMAP's update (CEPH_OSD_TMAP_*).
const (
	tmapHeader       = 'h'
	tmapSet          = 's'
	tmapCreate       = 'c'
	tmapRemove       = 'r'
	tmapRemoveIfThat = 'R'
)

// tmapUpdate changes a TMAP, a sorted map that is the data of an object: a
// header, and keys with values. It is older than omap, and the directory of
// images of format 1 is one.
func (t *txn) tmapUpdate(op *wire.Op) int32 {
	if t.req.Pool.Erasure {
		return notsup
	}
	in := denc.NewReader(op.Data.Bytes())
	if in.Len() == 0 {
		return 0
	}
	old := t.readData(0, t.size())
	header, m, ok := parseTmap(old.Bytes())
	if !ok {
		return inval
	}
	for in.Len() > 0 && in.Err() == nil {
		step := in.U8()
		if step == tmapHeader {
			header = in.Bytes()
			continue
		}
		key := in.String()
		_, there := m[key]
		switch {
		case step == tmapSet:
			m[key] = in.Bytes()
		case step == tmapCreate && there:
			return errno.ErrExists.Result()
		case step == tmapCreate:
			m[key] = in.Bytes()
		case step == tmapRemove && !there:
			return noent
		case step == tmapRemove, step == tmapRemoveIfThat:
			delete(m, key)
		default:
			return inval
		}
	}
	if in.Err() != nil {
		return inval
	}
	b := denc.AppendU32(denc.AppendBytes(nil, header), uint32(len(m)))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		b = denc.AppendBytes(denc.AppendString(b, key), m[key])
	}
	t.create()
	t.truncate(0)
	t.write(0, msgr2.NewData(b))
	return 0
}

// parseTmap reads a TMAP. An object without data is one without keys.
func parseTmap(p []byte) (header []byte, m map[string][]byte, ok bool) {
	m = map[string][]byte{}
	if len(p) == 0 {
		return nil, m, true
	}
	r := denc.NewReader(p)
	header = r.Bytes()
	for n := r.U32(); n > 0 && r.Err() == nil; n-- {
		key := r.String()
		m[key] = r.Bytes()
	}
	return header, m, r.Err() == nil
}
