package cls

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

// newOldImage makes a header of format 1 without snapshots.
// content returns what an object holds.
func content(o *memory, off, n uint64) []byte {
	p, _ := o.Read(off, n)
	return p
}

func newOldImage(size uint64) *memory {
	o := newMemory()
	p := make([]byte, oldHeaderSize)
	copy(p, oldText)
	binary.LittleEndian.PutUint64(p[oldOffImageSize:], size)
	o.Create()
	o.WriteFull(p)
	return o
}

func TestSnapshotsOfFormat1(t *testing.T) {
	c, o := caller{t, Standard(20), wire.Class}, newOldImage(4096)
	before := bytes.Clone(content(o, 0, 0))
	c.ok(o, "snap_add", "one", uint64(1))
	c.ok(o, "snap_add", "three", uint64(3))
	c.fails(errno.ErrStale, o, "snap_add", "two", uint64(2))
	c.fails(errno.ErrExists, o, "snap_add", "one", uint64(4))
	c.fails(errno.ErrRange, o, wire.MethodSnapshotSetLimit, uint64(1))
	c.ok(o, wire.MethodSnapshotSetLimit, uint64(2))
	c.fails(errno.ErrQuota, o, "snap_add", "four", uint64(4))
	c.fails(errno.ErrExists, o, "snap_rename", uint64(1), "three")
	c.fails(errno.ErrNotFound, o, "snap_rename", uint64(2), "two")
	c.ok(o, "snap_rename", uint64(1), "first")
	r := c.ok(o, "snap_list")
	if seq, n := r.U64(), r.U32(); seq != 3 || n != 2 {
		t.Fatal(seq, n)
	}
	for _, want := range []oldSnap{{3, 4096, "three"}, {1, 4096, "first"}} {
		if got := (oldSnap{r.U64(), r.U64(), r.String()}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	c.fails(errno.ErrNotFound, o, "snap_remove", "one")
	c.ok(o, "snap_remove", "first")
	c.ok(o, "snap_remove", "three")
	before[oldOffSeq] = 3
	if !bytes.Equal(content(o, 0, 0), before) {
		t.Errorf("% x\n% x", content(o, 0, 0), before)
	}
}

// TestLengthsOfFormat1Overflow compares with an OSD of 16.2: what a header of letters says
// of its snapshots comes to 105 bytes, which are too few for a header of format 1.
func TestLengthsOfFormat1Overflow(t *testing.T) {
	c, o := caller{t, Standard(16), wire.Class}, newMemory()
	o.Create()
	o.Write(28, bytes.Repeat([]byte{'i'}, 253))
	c.ok(o, wire.MethodSnapshotSetLimit, uint64(2))
}

func TestHeadersOfFormat1ThatAreNone(t *testing.T) {
	c := caller{t, Standard(20), wire.Class}
	c.fails(errno.ErrInvalid, newMemory(), "snap_list")
	short := newOldImage(0)
	short.Truncate(oldHeaderSize - 1)
	c.fails(errno.ErrInvalid, short, "snap_list")
	for off := oldOffCount; off < oldHeaderSize; off += 4 {
		o := newOldImage(0)
		o.Write(uint64(off), []byte{255, 255, 255, 255})
		if _, r := c.g.Call(o, wire.Class, "snap_list", nil); r >= 0 && off != oldOffCount+4 {
			t.Errorf("offset %d: %d", off, r)
		}
	}
}

func TestMigrationOfFormat1(t *testing.T) {
	c, o := caller{t, Standard(20), wire.Class}, newOldImage(4096)
	m := wire.MigrationSpec{Header: wire.MigrationDestination, Pool: 1, ImageName: "a", ImageID: "b"}
	c.fails(errno.ErrInvalid, o, wire.MethodMigrationGet)
	c.fails(errno.ErrInvalid, o, wire.MethodMigrationSet, m)
	m.Header = wire.MigrationSource
	c.ok(o, wire.MethodMigrationSet, m)
	c.fails(errno.ErrExists, o, wire.MethodMigrationSet, m)
	var got wire.MigrationSpec
	got.Decode(c.ok(o, wire.MethodMigrationGet))
	if got.ImageID != "b" || string(content(o, 0, 13)) != "<<< Migrating" {
		t.Fatalf("%+v, %q", got, content(o, 0, 33))
	}
	c.ok(o, wire.MethodMigrationRemove)
	if string(content(o, 0, 9)) != "<<< Rados" {
		t.Fatalf("%q", content(o, 0, 33))
	}
	c.fails(errno.ErrNoDevice, newImageless(), wire.MethodMigrationGet)
}

// newImageless makes an object that is no header.
func newImageless() *memory {
	o := newMemory()
	o.Create()
	o.WriteFull([]byte("nothing"))
	return o
}
