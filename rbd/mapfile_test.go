package rbd

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
)

// TestSnapshotWithoutItsMap: the owner of an image dies when a snapshot is in the
// header and its object map is not written. Whoever removes that snapshot leaves the
// head's map as it is: it still says what changed since the snapshot before.
func TestSnapshotWithoutItsMap(t *testing.T) {
	ctx := t.Context()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	dying, pool := fakePool(t, c), fakePool(t, c)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	id, err := Create(ctx, dying, "i", 1<<20, CreateOptions{Order: 16})
	check(err)
	img, err := Open(ctx, dying, "i", OpenOptions{})
	check(err)
	write := func(img *Image, object uint64) {
		t.Helper()
		_, err := img.WriteAt(ctx, []byte("x"), object<<16)
		check(err)
	}
	write(img, 1)
	first, err := img.CreateSnapshot(ctx, "first", SnapshotNamespace{}, SnapshotOptions{})
	check(err)
	write(img, 2)
	// The next snapshot's map is the only object of a name that is not there yet.
	heads := objectMapName(id, NoSnap)
	defer c.Inject(fakecluster.Fault{Prefix: heads + ".", Times: 1, Do: func(*fakecluster.Event) {
		c.Blocklist(dying.Client().Addr(), time.Hour)
	}})()
	if _, err := img.CreateSnapshot(ctx, "second", SnapshotNamespace{}, SnapshotOptions{}); !errors.Is(err, rados.ErrBlocklisted) {
		t.Fatalf("%v, want that the client is on the blocklist", err)
	}
	bye, cancel := context.WithTimeout(ctx, time.Millisecond)
	_ = img.Close(bye)
	cancel()

	img, err = Open(ctx, pool, "i", OpenOptions{})
	check(err)
	write(img, 3)
	second, ok := img.UserSnapshot("second")
	if !ok {
		t.Fatal("the snapshot is not in the header")
	}
	if _, err := loadObjectMap(ctx, pool, objectMapName(id, second.ID)); !errors.Is(err, rados.ErrNotFound) {
		t.Fatalf("map of the snapshot: %v", err)
	}
	check(img.RemoveSnapshot(ctx, second.ID))
	if flags, err := img.Flags(NoSnap); err != nil || flags != 0 {
		t.Fatalf("flags %#x, %v", flags, err)
	}
	var changed []uint64
	check(img.Diff(ctx, DiffOptions{From: first, WholeObject: true}, func(e DiffExtent) error {
		changed = append(changed, e.Off>>16)
		return nil
	}))
	if want := []uint64{2, 3}; !slices.Equal(changed, want) {
		t.Fatalf("%d changed since the first snapshot, want %d", changed, want)
	}
	check(img.Close(ctx))
}
