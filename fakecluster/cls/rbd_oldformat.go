package cls

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Images of format 1 have a header that clients read by themselves, in the data
// of an object; the class only changes its snapshots and marks its migration.
// The layout is rbd_obj_header_ondisk's of Ceph's rbd_types.h.
const (
	oldHeaderSize   = 112
	oldSnapSize     = 16
	oldOffImageSize = 80
	oldOffSeq       = 88
	oldOffCount     = 96
	oldOffNamesLen  = 104

	oldText          = "<<< Rados Block Device Image >>>\n\x00"
	oldTextMigrating = "<<< Migrating RBD Image      >>>\n\x00"
)

func oldFormatMethods() map[string]method {
	return map[string]method{
		"snap_list":   read(oldSnapList),
		"snap_add":    write(oldSnapAdd),
		"snap_remove": write(oldSnapRemove),
		"snap_rename": write(oldSnapRename),
	}
}

type oldSnap struct {
	id, size uint64
	name     string
}

// oldHeader is a header of format 1: what stands before the snapshots, and the
// snapshots, newest first.
type oldHeader struct {
	fixed []byte
	seq   uint64
	count uint64 // of snapshots, as it says
	snaps []oldSnap
}

// readOldBytes reads the first n bytes of a header of format 1; n 0 or less reads all.
func readOldBytes(o Object, n int32) ([]byte, error) {
	p, err := o.Read(0, uint64(max(n, 0)))
	if err == nil && len(p) < oldHeaderSize {
		err = errno.ErrInvalid
	}
	return p, err
}

// errLies says that a header of format 1 does not have the snapshots of which it
// says how many there are. An OSD reads on behind it.
var errLies = fmt.Errorf("snapshots are not there: %w", errno.ErrInvalid)

// readOldHeader reads a header of format 1. To a method that writes, an object that
// does not exist is an empty one.
func readOldHeader(o Object) (h oldHeader, err error) {
	p, err := readOldBytes(o, oldHeaderSize)
	if err != nil {
		return h, err
	}
	le := binary.LittleEndian
	h.fixed, h.seq = bytes.Clone(p[:oldHeaderSize]), le.Uint64(p[oldOffSeq:])
	count, namesLen := uint64(le.Uint32(p[oldOffCount:])), le.Uint64(p[oldOffNamesLen:])
	if count > 0 || namesLen > 0 {
		// An OSD has 32 bits with a sign for the length: nonsense may come to any.
		if p, err = readOldBytes(o, int32(uint32(oldHeaderSize+count*oldSnapSize+namesLen))); err != nil {
			return h, err
		}
	}
	h.count = count
	rest := uint64(len(p) - oldHeaderSize)
	if count*oldSnapSize > rest || namesLen > rest-count*oldSnapSize {
		return h, errLies
	}
	table := p[oldHeaderSize:]
	names := table[count*oldSnapSize:][:namesLen]
	for i := range count {
		name, after, ok := bytes.Cut(names, []byte{0})
		if !ok {
			return h, errno.ErrIO
		}
		names = after
		at := table[i*oldSnapSize:]
		h.snaps = append(h.snaps, oldSnap{le.Uint64(at), le.Uint64(at[8:]), string(name)})
	}
	return h, nil
}

func (h *oldHeader) store(o Object) {
	var names []byte
	p := h.fixed
	for _, s := range h.snaps {
		p = denc.AppendU64(denc.AppendU64(p, s.id), s.size)
		names = append(append(names, s.name...), 0)
	}
	binary.LittleEndian.PutUint64(p[oldOffSeq:], h.seq)
	binary.LittleEndian.PutUint32(p[oldOffCount:], uint32(len(h.snaps)))
	binary.LittleEndian.PutUint64(p[oldOffNamesLen:], uint64(len(names)))
	o.WriteFull(append(p, names...))
}

// named returns the index of a snapshot, or -1.
func (h *oldHeader) named(name string) int {
	for i := range h.snaps {
		if h.snaps[i].name == name {
			return i
		}
	}
	return -1
}

func oldSnapList(o Object, _ *denc.Reader) ([]byte, error) {
	h, err := readOldHeader(o)
	if err != nil {
		return nil, err
	}
	b := denc.AppendU32(denc.AppendU64(nil, h.seq), uint32(len(h.snaps)))
	for _, s := range h.snaps {
		b = denc.AppendString(denc.AppendU64(denc.AppendU64(b, s.id), s.size), s.name)
	}
	return b, nil
}

func oldSnapAdd(o Object, in *denc.Reader) ([]byte, error) {
	h, err := readOldHeader(o)
	if err != nil {
		return nil, err
	}
	name, id := in.String(), in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	limit, err := readLimit(o)
	if err != nil {
		return nil, err
	}
	switch {
	case h.seq > id:
		return nil, errno.ErrStale
	case uint64(len(h.snaps)) >= limit:
		return nil, errno.ErrQuota
	case h.named(name) >= 0:
		return nil, errno.ErrExists
	}
	h.seq = id
	h.snaps = append([]oldSnap{{id, binary.LittleEndian.Uint64(h.fixed[oldOffImageSize:]), name}}, h.snaps...)
	h.store(o)
	return nil, nil
}

func oldSnapRemove(o Object, in *denc.Reader) ([]byte, error) {
	h, err := readOldHeader(o)
	if err != nil {
		return nil, err
	}
	name := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	i := h.named(name)
	if i < 0 {
		return nil, errno.ErrNotFound
	}
	h.snaps = append(h.snaps[:i], h.snaps[i+1:]...)
	h.store(o)
	return nil, nil
}

func oldSnapRename(o Object, in *denc.Reader) ([]byte, error) {
	h, err := readOldHeader(o)
	if err != nil {
		return nil, err
	}
	id, name := in.U64(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if h.named(name) >= 0 {
		return nil, errno.ErrExists
	}
	for i := range h.snaps {
		if h.snaps[i].id == id {
			h.snaps[i].name = name
			h.store(o)
			return nil, nil
		}
	}
	return nil, errno.ErrNotFound
}

// oldMigrating reports whether a header of format 1, an object without features,
// is marked as a migration's source; ErrNoDevice when it is no such header.
func oldMigrating(o Object) (bool, error) {
	p, err := o.Read(0, uint64(len(oldText)))
	if err != nil {
		return false, err
	}
	switch string(p) {
	case oldText:
		return false, nil
	case oldTextMigrating:
		return true, nil
	}
	return false, errno.ErrNoDevice
}

// oldMigrationSet marks a header of format 1 as a migration's source.
func oldMigrationSet(o Object, m wire.MigrationSpec) error {
	migrating, err := oldMigrating(o)
	switch {
	case err != nil:
		return err
	case migrating:
		return errno.ErrExists
	case m.Header != wire.MigrationSource:
		return errno.ErrInvalid
	}
	o.Write(0, []byte(oldTextMigrating))
	o.SetOmap(wire.KeyMigration, m.Append(nil))
	return nil
}
