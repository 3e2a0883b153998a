package fakecluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// mgr gives the manager a command and returns its output.
func mgr(t *testing.T, cl *rados.Client, prefix string, args ...string) (string, error) {
	t.Helper()
	m := map[string]string{"prefix": prefix}
	for i := 0; i+1 < len(args); i += 2 {
		m[args[i]] = args[i+1]
	}
	out, status, err := cl.MgrCommand(t.Context(), m, nil)
	if err != nil {
		return status, err
	}
	return string(out), nil
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 2000 {
		if f() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// mirroring calls a method of the pool's mirroring object.
func mirroring(t *testing.T, io *rados.IoCtx, method string, in []byte) {
	t.Helper()
	if err := io.ExecWrite(t.Context(), "rbd_mirroring", "rbd", method, in); err != nil {
		t.Fatal(method, err)
	}
}

func TestSnapshotSchedulesRun(t *testing.T) {
	clock := fakecluster.NewManualClock(time.Date(2026, 1, 2, 3, 4, 58, 0, time.UTC))
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.WithClock(clock))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	ctx := t.Context()
	mirroring(t, io, wire.MethodMirrorUUIDSet, denc.AppendString(nil, "here"))
	mirroring(t, io, wire.MethodMirrorModeSet, denc.AppendU32(nil, wire.MirrorModeImage))
	peer := wire.MirrorPeer{UUID: "peer-uuid", SiteName: "b", ClientName: "client.b", Direction: wire.MirrorPeerRXTX}
	mirroring(t, io, wire.MethodMirrorPeerAdd, peer.Append(nil))
	ids := map[string]string{}
	for _, name := range []string{"closed", "busy"} {
		id, err := rbd.Create(ctx, io, name, 32<<20, rbd.CreateOptions{})
		must(t, err)
		image := wire.MirrorImage{GlobalID: "global-" + name, State: wire.MirrorImageEnabled, Mode: wire.MirrorImageSnapshot}
		mirroring(t, io, wire.MethodMirrorImageSet, image.Append(denc.AppendString(nil, id)))
		ids[name] = id
	}
	// One image is written to by a client that holds its lock.
	busy, err := rbd.Open(ctx, io, "busy", rbd.OpenOptions{})
	must(t, err)
	if _, err := busy.WriteAt(ctx, bytes.Repeat([]byte("x"), 4096), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := mgr(t, cl, "rbd mirror snapshot schedule add", "level_spec", "rbd/", "interval", "2m", "start_time", "00:01:00"); err != nil {
		t.Fatal(err)
	}
	status, err := mgr(t, cl, "rbd mirror snapshot schedule status")
	if err != nil || strings.Count(status, "2026-01-02 03:05:00") != 2 {
		t.Fatal(status, err)
	}
	count := func(name string) (n int) {
		img, err := rbd.OpenByID(ctx, io, ids[name], rbd.OpenOptions{ReadOnly: true})
		must(t, err)
		defer func() { must(t, img.Close(ctx)) }()
		for _, s := range img.Snapshots() {
			if s.Namespace.Type == wire.SnapMirror && s.Namespace.Complete {
				n++
			}
		}
		return n
	}
	for round := 1; round <= 7; round++ {
		if round == 1 {
			clock.Advance(3 * time.Second) // less than the busy image's watch lasts
		} else {
			clock.Advance(2 * time.Minute)
		}
		must(t, c.WaitForSchedules(ctx))
		// More than five are not kept.
		for name := range ids {
			if n := count(name); n != min(round, 5) {
				t.Fatalf("%s has %d snapshots in round %d", name, n, round)
			}
		}
		if round == 1 {
			bad, err := busy.CheckObjectMap(ctx, nil)
			if err != nil || bad != 0 {
				t.Fatal(bad, err)
			}
			must(t, busy.Close(ctx))
		}
	}
}

func TestTrashPurgeSchedulesRun(t *testing.T) {
	clock := fakecluster.NewManualClock(time.Now().Truncate(time.Minute).Add(30 * time.Second))
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.WithClock(clock))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	for _, name := range []string{"now", "later"} {
		if _, err := rbd.Create(t.Context(), io, name, 8<<20, rbd.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := rbd.TrashMove(t.Context(), io, "now", rbd.MoveOptions{})
	must(t, err)
	_, err = rbd.TrashMove(t.Context(), io, "later", rbd.MoveOptions{Delay: time.Hour})
	must(t, err)
	if _, err := mgr(t, cl, "rbd trash purge schedule add", "level_spec", "rbd/", "interval", "1m"); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	must(t, c.WaitForSchedules(t.Context()))
	l, err := rbd.TrashList(t.Context(), io)
	if err != nil || len(l) != 1 || l[0].Name != "later" {
		t.Fatal("not one image is left", l, err)
	}
}

func TestTasksRun(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	ctx := t.Context()
	id, err := rbd.Create(ctx, io, "parent", 16<<20, rbd.CreateOptions{})
	must(t, err)
	parent, err := rbd.Open(ctx, io, "parent", rbd.OpenOptions{})
	must(t, err)
	data := bytes.Repeat([]byte("parent's data"), 1000)
	if _, err := parent.WriteAt(ctx, data, 5<<20); err != nil {
		t.Fatal(err)
	}
	snap, err := parent.CreateSnapshot(ctx, "s", wire.SnapshotNamespace{}, rbd.SnapshotOptions{})
	must(t, err)
	must(t, parent.Close(ctx))
	_, err = rbd.Clone(ctx, io, id, snap, io, "child", rbd.CreateOptions{CloneFormat: 2})
	must(t, err)
	out, err := mgr(t, cl, "rbd task add flatten", "image_spec", "rbd/child")
	must(t, err)
	var task struct{ ID, Message string }
	if err := json.Unmarshal([]byte(out), &task); err != nil || task.Message != "Flattening image rbd/child" {
		t.Fatal(out, err)
	}
	idle := func() bool {
		out, err := mgr(t, cl, "rbd task list")
		return err == nil && out == "[]\n"
	}
	eventually(t, "the flattening ends", idle)
	child, err := rbd.Open(ctx, io, "child", rbd.OpenOptions{})
	must(t, err)
	got := make([]byte, len(data))
	if _, err := child.ReadAt(ctx, got, 5<<20); err != nil || !bytes.Equal(got, data) || child.Parent() != nil {
		t.Fatal("the child is not what its parent was", err, child.Parent())
	}
	bad, err := child.CheckObjectMap(ctx, nil)
	if err != nil || bad != 0 {
		t.Fatal(bad, err)
	}
	// What is open is not removed, but tried again.
	if _, err := mgr(t, cl, "rbd task add remove", "image_spec", "rbd/child"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removal failed", func() bool {
		out, err := mgr(t, cl, "rbd task list")
		return err == nil && strings.Contains(out, `"retry_message": "[errno 16] RBD image is busy`)
	})
	must(t, child.Close(ctx))
	for _, bad := range []struct{ action, arg, spec, want string }{
		{"flatten", "image_spec", "rbd/parent", "Image rbd/parent does not have a parent"},
		{"flatten", "image_spec", "rbd/none", "Image rbd/none does not exist"},
		{"trash remove", "image_id_spec", "rbd/none", "error retrieving image from trash"},
		{"migration execute", "image_spec", "rbd/parent", "Image rbd/parent is not migrating"},
	} {
		if status, err := mgr(t, cl, "rbd task add "+bad.action, bad.arg, bad.spec); err == nil || !strings.Contains(status+err.Error(), bad.want) {
			t.Error(status, err)
		}
	}
	if _, err := mgr(t, cl, "rbd task cancel", "task_id", "none"); !errors.Is(err, rados.ErrNotFound) {
		t.Error(err)
	}
}
