package fakecluster_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

// TestVersions has the user versions that OSDs of 16.2, 18.2 and 20.2 gave in a
// fresh pool of one placement group; TestInteropVersions asks them.
func TestVersions(t *testing.T) {
	want := []string{
		"write a: 1", "write a: 2", "write a: 3", "write b: 4", "stat a: 3", "stat none: 0, errno 2",
		"stat the watched a: 3", "stat the notified a: 3", "write b: 6", "write to the watched a: 7", "stat after unwatching a: 7", "write b: 9",
		"copy b c: 9", "stat c: 9", "copy old b d: 0, errno 34", "copy new b d: 0, errno 75", "copy b over a: 9", "write to the copy c: 12",
		"write with a clone a: 14", "stat the clone a: 9", "write b: 15", "roll back a: 16", "remove c: 17", "stat c: 0, errno 2",
		"write again c: 18", "remove none: 0, errno 2", "create there c: 0, errno 17", "remove with a clone a: 21", "write b: 22",
		"attribute b: 23", "keys b: 24", "read b: 24", "truncate b: 25", "two b: 26", "assert b: 0, errno 34", "assert and write b: 0, errno 75", "stat b: 26",
	}
	for _, release := range []int{16, 18, 20} {
		c := fakecluster.New(t, fakecluster.Release(release))
		cl := connect(t, c, "client.admin")
		if _, status, err := cl.MonCommand(t.Context(), map[string]any{"prefix": "osd pool create", "pool": "p", "pg_num": 1}, nil); err != nil {
			t.Fatal(status, err)
		}
		if got := versions(t, open(t, cl, "p")); !slices.Equal(got, want) {
			t.Errorf("%d:\n%q\nwant\n%q", release, got, want)
		}
	}
}

// versions makes requests of all kinds that matter for versions.
func versions(t *testing.T, io *rados.IoCtx) (out []string) {
	ctx := t.Context()
	do := func(what string, io *rados.IoCtx, object string, add func(*rados.Op)) uint64 {
		op := rados.NewOp()
		add(op)
		err := io.Operate(ctx, object, op)
		var e rados.Errno
		line := fmt.Sprintf("%s %s: %d", what, object, op.Version())
		switch {
		case errors.As(err, &e):
			line += fmt.Sprint(", errno ", int32(e))
		case err != nil:
			t.Fatal(what, err)
		}
		out = append(out, line)
		return op.Version()
	}
	abc := msgr2.NewData([]byte("abc"))
	write := func(op *rados.Op) { op.Write(0, abc) }
	stat := func(op *rados.Op) { op.Stat() }
	remove := func(op *rados.Op) { op.Remove() }
	for range 3 {
		do("write", io, "a", write)
	}
	do("write", io, "b", write)
	do("stat", io, "a", stat)
	do("stat", io, "none", stat)
	w, err := io.Watch(ctx, "a", func(n *rados.Notification) { n.Ack(nil) })
	must(t, err)
	do("stat the watched", io, "a", stat)
	_, _ = io.Notify(ctx, "a", nil, time.Second) // whether it is answered in time does not matter
	do("stat the notified", io, "a", stat)
	do("write", io, "b", write)
	do("write to the watched", io, "a", write)
	must(t, w.Close(ctx))
	do("stat after unwatching", io, "a", stat)
	v := do("write", io, "b", write)
	copyOf := func(version uint64) func(*rados.Op) {
		return func(op *rados.Op) { op.CopyFrom(rados.CopySource{Pool: io.Pool(), Object: "b", Version: version}) }
	}
	do("copy b", io, "c", copyOf(v))
	do("stat", io, "c", stat)
	do("copy old b", io, "d", copyOf(v-1))
	do("copy new b", io, "d", copyOf(v+1))
	do("copy b over", io, "a", copyOf(0))
	do("write to the copy", io, "c", write)
	id, err := io.CreateSnapID(ctx)
	must(t, err)
	s := io.WithSnapContext(id, []uint64{id})
	do("write with a clone", s, "a", write)
	do("stat the clone", s.AtSnap(id), "a", stat)
	do("write", io, "b", write)
	do("roll back", s, "a", func(op *rados.Op) { op.Rollback(id) })
	do("remove", io, "c", remove)
	do("stat", io, "c", stat)
	do("write again", io, "c", write)
	do("remove", io, "none", remove)
	do("create there", io, "c", func(op *rados.Op) { op.Create(true) })
	do("remove with a clone", s, "a", remove)
	do("write", io, "b", write)
	do("attribute", io, "b", func(op *rados.Op) { op.SetXattr("k", []byte("v")) })
	do("keys", io, "b", func(op *rados.Op) { op.OmapSet(map[string][]byte{"k": []byte("v")}) })
	do("read", io, "b", func(op *rados.Op) { op.Read(0, 1) })
	do("truncate", io, "b", func(op *rados.Op) { op.Truncate(1) })
	do("two", io, "b", func(op *rados.Op) { op.Write(0, abc); op.SetXattr("k", []byte("w")) })
	do("assert", io, "b", func(op *rados.Op) { op.AssertVersion(1) })
	do("assert and write", io, "b", func(op *rados.Op) { op.AssertVersion(1000); op.Write(0, abc) })
	do("stat", io, "b", stat)
	return out
}

// TestSnapshotNumbers has the numbers that monitors gave: until 18.2 a removal takes one.
func TestSnapshotNumbers(t *testing.T) {
	for release, want := range map[int][]uint64{16: {2, 3, 4, 6, 7, 10, 11}, 18: {2, 3, 4, 6, 7, 10, 11}, 20: {2, 3, 4, 5, 6, 7, 8}} {
		c := fakecluster.New(t, fakecluster.Release(release), fakecluster.Pools("p"))
		io := open(t, connect(t, c, "client.admin"), "p")
		var got []uint64
		take := func(n int) {
			for range n {
				id, err := io.CreateSnapID(t.Context())
				must(t, err)
				got = append(got, id)
			}
		}
		remove := func(i int) { must(t, io.RemoveSnapID(t.Context(), got[i])) }
		take(3)
		remove(1)
		take(2)
		remove(0)
		remove(2)
		take(1)
		remove(0)
		take(1)
		if !slices.Equal(got, want) {
			t.Errorf("%d: %d, want %d", release, got, want)
		}
	}
}
