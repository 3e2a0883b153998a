package cls

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func dataMethods() map[string]method {
	return map[string]method{
		wire.MethodCopyup:         write(copyup),
		wire.MethodSparseCopyup:   write(sparseCopyup),
		wire.MethodAssertSnapcSeq: write(assertSnapContext),
		wire.MethodSparsify:       write(sparsify),
	}
}

// maxObjectSize is the OSD's default limit, osd_max_object_size. Class methods'
// inputs are shorter.
const maxObjectSize = 128 << 20

// copyup writes the parent's data unless the object is there already.
func copyup(o Object, in *denc.Reader) ([]byte, error) {
	if !o.Exists() {
		o.Write(0, in.Rest())
	}
	return nil, nil
}

func sparseCopyup(o Object, in *denc.Reader) ([]byte, error) {
	type extent struct{ off, length uint64 }
	extents := denc.Slice(in, 16, func(r *denc.Reader) extent { return extent{r.U64(), r.U64()} })
	data := in.Bytes()
	if err := bad(in); err != nil {
		return nil, err
	}
	if o.Exists() {
		return nil, nil
	}
	if len(extents) == 0 {
		o.Create()
	}
	for _, e := range extents {
		if e.length > uint64(len(data)) {
			return nil, errno.ErrInvalid
		}
		if e.off > maxObjectSize-e.length {
			return nil, errno.ErrFileTooBig
		}
		o.Write(e.off, data[:e.length])
		data = data[e.length:]
	}
	return nil, nil
}

// assertSnapContext compares a snap context's sequence with the newest snapshot
// that the object has seen.
func assertSnapContext(o Object, in *denc.Reader) ([]byte, error) {
	seq, state := in.U64(), in.U8()
	if err := bad(in); err != nil {
		return nil, err
	}
	seen, there := o.SnapSeq()
	newer := !there || seq > seen
	switch {
	case state > wire.SnapContextNotNewer:
		return nil, errno.ErrNotSupported
	case newer != (state == wire.SnapContextNewer):
		return nil, errno.ErrRange
	}
	return nil, nil
}

// sparsify frees the blocks of size grain that hold only zeros; an object of
// nothing else is removed or emptied.
func sparsify(o Object, in *denc.Reader) ([]byte, error) {
	grain, remove := in.U64(), in.Bool()
	if in.Err() != nil || grain == 0 {
		return nil, errno.ErrInvalid
	}
	if err := exists(o); err != nil {
		return nil, err
	}
	data, err := o.Read(0, 0)
	if err != nil {
		return nil, err
	}
	if isZero(data) {
		switch {
		case remove:
			o.Remove()
		case len(data) > 0:
			o.Truncate(0)
		}
		return nil, nil
	}
	n := uint64(len(data))
	end := uint64(0)
	for off := uint64(0); off < n; off += min(grain, n-off) {
		block := data[off:min(off+grain, n)]
		if isZero(block) {
			o.Zero(off, uint64(len(block)))
		} else {
			end = off + uint64(len(block))
		}
	}
	if end < n {
		o.Truncate(end)
	}
	return nil, nil
}
