//go:build interop

package rbd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// groupOf makes a group of ours with images a, b, … of 8 MiB in it; the third has
// a journal.
func groupOf(t *testing.T, io *rados.IoCtx, name string, images int) (*Group, []string) {
	t.Helper()
	ctx := t.Context()
	must(CreateGroup(ctx, io, name))(t)
	g := must(OpenGroup(ctx, io, name))(t)
	var names []string
	for i := range images {
		names = append(names, fmt.Sprintf("%s-%c", name, 'a'+i))
		o := CreateOptions{}
		if i == 2 {
			o.FeaturesSet = FeatureJournaling
		}
		must(Create(ctx, io, names[i], 8<<20, o))(t)
		noError(t, g.AddImage(ctx, io, names[i]))
	}
	return g, names
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestInteropGroups: what ours and rbd make of groups, the other reads, uses and
// removes.
func TestInteropGroups(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		has := func(want bool, what string, args ...string) {
			t.Helper()
			if out := s.rbd(t, args...); strings.Contains(out, what) != want {
				t.Fatalf("rbd %s: %q is there: %v\n%s", strings.Join(args, " "), what, !want, out)
			}
		}
		fill := func(spec, pattern string) {
			t.Helper()
			s.rbd(t, "bench", "--io-type", "write", "--io-pattern", pattern, "--io-size", "64K", "--io-total", "2M", spec)
		}
		g, names := groupOf(t, io, "ours", 3)
		has(true, "ours", "group", "ls", pool)
		for _, n := range names {
			has(true, n, "group", "image", "ls", pool+"/ours")
			has(true, "group: "+pool+"/ours", "info", pool+"/"+n)
			fill(pool+"/"+n, "rand")
		}
		var before [][32]byte
		for _, n := range names {
			before = append(before, s.sum(t, pool+"/"+n))
		}
		must(g.CreateSnapshot(ctx, "s1", SnapshotOptions{}))(t)
		has(true, "s1", "group", "snap", "ls", pool+"/ours")
		has(false, "incomplete", "group", "snap", "ls", pool+"/ours")
		for _, n := range names {
			has(true, "("+pool+"/ours@s1)", "snap", "ls", "--all", pool+"/"+n)
			fill(pool+"/"+n, "seq")
		}
		same := func(want [][32]byte) {
			t.Helper()
			for i, n := range names {
				if s.sum(t, pool+"/"+n) != want[i] {
					t.Fatalf("%s is not what it was", n)
				}
				s.rbd(t, "object-map", "check", pool+"/"+n)
				if out := s.rbd(t, "info", pool+"/"+n); strings.Contains(out, "object map invalid") {
					t.Fatal(out)
				}
			}
		}
		s.rbd(t, "group", "snap", "rollback", pool+"/ours@s1", "--no-progress")
		same(before)
		// Theirs, rolled back by ours.
		s.rbd(t, "group", "snap", "create", pool+"/ours@s2")
		for _, n := range names {
			fill(pool+"/"+n, "seq")
		}
		told := uint64(0)
		noError(t, g.RollbackSnapshot(ctx, "s2", RollbackOptions{Progress: func(done, total uint64) { told = done * 100 / total }}))
		if told != 100 {
			t.Fatalf("told of %d%%", told)
		}
		same(before)
		snaps := must(g.Snapshots(ctx))(t)
		if len(snaps) != 2 || !snaps[0].Complete || !snaps[1].Complete || len(snaps[0].Images) != 3 || snaps[0].Name != "s1" && s.c.OSDMap().OSDOnly.RequireRelease >= 20 {
			t.Fatalf("%+v", snaps)
		}
		noError(t, g.RenameSnapshot(ctx, "s2", "s3"))
		has(true, "s3", "group", "snap", "ls", pool+"/ours")
		s.rbd(t, "group", "snap", "rename", pool+"/ours@s3", "s4")
		if err := g.RenameSnapshot(ctx, "s4", "s1"); !errors.Is(err, rados.ErrExists) {
			t.Fatal(err)
		}
		s.rbd(t, "group", "snap", "rm", pool+"/ours@s1")
		noError(t, g.RemoveSnapshot(ctx, "s4"))
		for _, n := range names {
			if out := s.rbd(t, "snap", "ls", "--all", pool+"/"+n); out != "" {
				t.Fatalf("left: %s", out)
			}
		}
		// A group of theirs.
		s.rbd(t, "group", "create", pool+"/theirs")
		s.rbd(t, "group", "image", "rm", pool+"/ours", pool+"/"+names[0])
		s.rbd(t, "group", "image", "add", pool+"/theirs", pool+"/"+names[0])
		if err := g.AddImage(ctx, io, names[0]); !errors.Is(err, rados.ErrExists) {
			t.Fatalf("an image in two groups: %v", err)
		}
		if images := must(g.Images(ctx))(t); len(images) != 2 {
			t.Fatalf("%+v", images)
		}
		noError(t, RenameGroup(ctx, io, "theirs", "there"))
		th := must(OpenGroup(ctx, io, "there"))(t)
		images := must(th.Images(ctx))(t)
		if len(images) != 1 || images[0].Name != names[0] || !images[0].Attached || images[0].Pool != io.Pool() {
			t.Fatalf("%+v", images)
		}
		s.rbd(t, "group", "snap", "create", pool+"/there@x")
		noError(t, th.RemoveImage(ctx, io, images[0].ID))
		if err := th.RollbackSnapshot(ctx, "x", RollbackOptions{}); !errors.Is(err, rados.ErrInvalid) {
			t.Fatalf("rolled back a group of other images: %v", err)
		}
		noError(t, RemoveGroup(ctx, io, "there"))
		s.rbd(t, "group", "rm", pool+"/ours")
		if left := must(Groups(ctx, io))(t); len(left) != 0 {
			t.Fatalf("%+v", left)
		}
		for _, n := range names {
			noError(t, Remove(ctx, io, n, nil))
		}
		var left []string
		for o, err := range io.Objects(ctx) {
			noError(t, err)
			if _, err := io.Stat(ctx, o.Name); err == nil { // else its snapshots are not trimmed yet
				left = append(left, o.Name)
			}
		}
		slices.Sort(left)
		if want := []string{"rbd_directory", "rbd_group_directory", "rbd_info", "rbd_trash"}; !within(left, want) {
			t.Fatalf("left: %v", left)
		}
	})
}

func within(names, all []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(all, n) })
}

// TestInteropGroupInstant: while clients write a counter to one image after the
// other, the snapshots of the group that ours and rbd make show one instant.
func TestInteropGroupInstant(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		g, names := groupOf(t, io, "g", 3)
		// The writer is a client of its own, with the locks of all images.
		mine := must(s.connect(t).OpenPool(ctx, pool))(t)
		var images []*Image
		for _, n := range names {
			img := must(Open(ctx, mine, n, OpenOptions{}))(t)
			defer img.Close(context.WithoutCancel(ctx))
			images = append(images, img)
		}
		var count atomic.Uint64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		var bad error
		wg.Go(func() {
			for n := uint64(1); bad == nil; n++ {
				select {
				case <-stop:
					return
				default:
				}
				for _, img := range images {
					if _, err := img.WriteAt(ctx, binary.LittleEndian.AppendUint64(nil, n), 4096); err != nil {
						bad = err
						return
					}
				}
				count.Store(n)
			}
		})
		const rounds = 12
		for i := range rounds {
			for was := count.Load(); count.Load() < was+3 && bad == nil; {
			}
			name := fmt.Sprintf("s%d", i)
			if i%2 == 0 {
				must(g.CreateSnapshot(ctx, name, SnapshotOptions{}))(t)
			} else {
				s.rbd(t, "group", "snap", "create", pool+"/g@"+name)
			}
		}
		close(stop)
		wg.Wait()
		noError(t, bad)
		last := uint64(0)
		for i := range rounds {
			snap := must(g.Snapshot(ctx, fmt.Sprintf("s%d", i)))(t)
			counts := make(map[string]uint64)
			for _, m := range snap.Images {
				img := must(OpenByID(ctx, io, m.ImageID, OpenOptions{SnapshotID: m.SnapID}))(t)
				p := make([]byte, 8)
				must(img.ReadAt(ctx, p, 4096))(t)
				counts[img.Name()] = binary.LittleEndian.Uint64(p)
				noError(t, img.Close(ctx))
			}
			first, end := counts[names[0]], counts[names[2]]
			if first < end || first > end+1 || counts[names[1]] < end || counts[names[1]] > first || end < last {
				t.Errorf("snapshot %d shows %v after %d", i, counts, last)
			}
			last = end
			t.Log(counts)
		}
		if last == 0 {
			t.Fatal("the snapshots show nothing")
		}
	})
}

// TestInteropGroupUnfinished: a snapshot that cannot be made leaves nothing, and
// what an interruption left is removed by both.
func TestInteropGroupUnfinished(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		g, names := groupOf(t, io, "g", 3)
		s.rbd(t, "snap", "create", pool+"/"+names[1]+"@user")
		s.rbd(t, "snap", "limit", "set", "--limit", "1", pool+"/"+names[1])
		if _, err := g.CreateSnapshot(ctx, "s", SnapshotOptions{}); !errors.Is(err, rados.ErrQuota) {
			t.Fatalf("beyond the limit: %v", err)
		}
		s.rbd(t, "snap", "rm", pool+"/"+names[1]+"@user")
		clean := func() {
			t.Helper()
			if out := s.rbd(t, "group", "snap", "ls", pool+"/g"); out != "" {
				t.Fatalf("left: %s", out)
			}
			for _, n := range names {
				if out := s.rbd(t, "snap", "ls", "--all", pool+"/"+n); out != "" {
					t.Fatalf("left in %s: %s", n, out)
				}
			}
		}
		clean()
		s.rbd(t, "snap", "limit", "clear", pool+"/"+names[1])
		// Given up at any moment.
		for i := range 30 {
			short, cancel := context.WithCancel(ctx)
			at := make(chan struct{})
			go func() {
				defer close(at)
				for range i * 40000 {
					if short.Err() != nil {
						return
					}
				}
				cancel()
			}()
			_, err := g.CreateSnapshot(short, "s", SnapshotOptions{})
			cancel()
			<-at
			if err == nil {
				noError(t, g.RemoveSnapshot(ctx, "s"))
			}
			clean()
		}
		// As a killed client leaves it: a record without and with one of the snapshots.
		members := must(g.members(ctx))(t)
		for _, remove := range []func() error{
			func() error { s.rbd(t, "group", "snap", "rm", pool+"/g@half"); return nil },
			func() error { return g.RemoveSnapshot(ctx, "half") },
		} {
			r := wire.GroupSnapshot{ID: NewImageID(s.c), Name: "half"}
			for _, m := range members {
				r.Snaps = append(r.Snaps, wire.ImageSnapshotSpec{Pool: m.Spec.Pool, ImageID: m.Spec.ImageID})
			}
			noError(t, g.setRecord(ctx, r))
			img := must(OpenByID(ctx, io, r.Snaps[1].ImageID, OpenOptions{}))(t)
			must(img.CreateSnapshot(ctx, g.imageSnapName(r.ID), g.namespace(r.ID), SnapshotOptions{}))(t)
			noError(t, img.Close(ctx))
			if out := s.rbd(t, "group", "snap", "ls", pool+"/g", "--format", "json"); !strings.Contains(out, `"incomplete"`) {
				t.Fatal(out)
			}
			if snap := must(g.Snapshot(ctx, "half"))(t); snap.Complete {
				t.Fatalf("%+v", snap)
			}
			if err := g.RollbackSnapshot(ctx, "half", RollbackOptions{}); !errors.Is(err, rados.ErrInvalid) {
				t.Fatalf("rolled back to half a snapshot: %v", err)
			}
			noError(t, remove())
			clean()
		}
		// A clone keeps the snapshot in the trash, from 20.2 on.
		if s.c.OSDMap().OSDOnly.RequireRelease >= 20 {
			g.cloned(t, s, pool, names[0])
		}
		noError(t, RemoveGroup(ctx, io, "g"))
	})
}

// cloned: a snapshot of the group that has a clone is kept in the trash until the
// clone is gone.
func (g *Group) cloned(t *testing.T, s *site, pool, name string) {
	t.Helper()
	ctx := t.Context()
	must(g.CreateSnapshot(ctx, "c", SnapshotOptions{}))(t)
	snap := must(g.Snapshot(ctx, "c"))(t)
	id := must(LookupID(ctx, g.io, name))(t)
	i := slices.IndexFunc(snap.Images, func(m GroupImageSnapshot) bool { return m.ImageID == id })
	s.rbd(t, "clone", "--snap-id", fmt.Sprint(snap.Images[i].SnapID), pool+"/"+name, pool+"/clone", "--rbd-default-clone-format", "2")
	noError(t, g.RemoveSnapshot(ctx, "c"))
	var rows []struct {
		Namespace struct{ Type string }
	}
	noError(t, json.Unmarshal([]byte(s.rbd(t, "snap", "ls", "--all", pool+"/"+name, "--format", "json")), &rows))
	if len(rows) != 1 || rows[0].Namespace.Type != "trash" {
		t.Fatalf("%+v", rows)
	}
	noError(t, Remove(ctx, g.io, "clone", nil))
	if out := s.rbd(t, "snap", "ls", "--all", pool+"/"+name); out != "" {
		t.Fatalf("left: %s", out)
	}
}

// TestInteropGroupOfBusyImages: while rbd writes to all images, ours makes
// snapshots of the group; the writers go on, and the snapshots do not change.
func TestInteropGroupOfBusyImages(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		g, names := groupOf(t, io, "g", 3)
		var benches []*exec.Cmd
		for _, n := range names {
			cmd := s.cmd("rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-size", "16K", "--io-threads", "2", "--io-total", "48M", pool+"/"+n)
			noError(t, cmd.Start())
			benches = append(benches, cmd)
		}
		sums := map[string][32]byte{}
		for i := range 5 {
			name := fmt.Sprintf("s%d", i)
			must(g.CreateSnapshot(ctx, name, SnapshotOptions{}))(t)
			for _, m := range must(g.Snapshot(ctx, name))(t).Images {
				sums[fmt.Sprintf("%s %d", m.ImageID, m.SnapID)] = sumAt(t, io, m)
			}
		}
		for _, b := range benches {
			noError(t, b.Wait())
		}
		for _, snap := range must(g.Snapshots(ctx))(t) {
			for _, m := range snap.Images {
				if sumAt(t, io, m) != sums[fmt.Sprintf("%s %d", m.ImageID, m.SnapID)] {
					t.Errorf("snapshot %s of %s has changed", snap.Name, m.ImageID)
				}
			}
		}
		s.rbd(t, "group", "snap", "rollback", pool+"/g@s3", "--no-progress")
		for _, m := range must(g.Snapshot(ctx, "s3"))(t).Images {
			if s.sum(t, pool+"/"+must(LookupName(ctx, io, m.ImageID))(t)) != sums[fmt.Sprintf("%s %d", m.ImageID, m.SnapID)] {
				t.Errorf("%s was not taken back", m.ImageID)
			}
		}
		s.rbd(t, "group", "rm", pool+"/g")
	})
}

// sumAt is the hash of what an image's snapshot shows.
func sumAt(t *testing.T, io *rados.IoCtx, m GroupImageSnapshot) [32]byte {
	t.Helper()
	ctx := t.Context()
	img := must(OpenByID(ctx, io.WithPool(m.Pool), m.ImageID, OpenOptions{SnapshotID: m.SnapID}))(t)
	defer func() { noError(t, img.Close(ctx)) }()
	p := make([]byte, img.Size())
	must(img.ReadAt(ctx, p, 0))(t)
	return sha256.Sum256(p)
}

// TestInteropGroupOfTwoPools: a group may have images of other pools.
func TestInteropGroupOfTwoPools(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		second, io2 := s.pool(t)
		g, names := groupOf(t, io, "g", 1)
		must(Create(ctx, io2, "far", 8<<20, CreateOptions{}))(t)
		noError(t, g.AddImage(ctx, io2, "far"))
		out := s.rbd(t, "group", "image", "ls", pool+"/g")
		if !strings.Contains(out, pool+"/"+names[0]+" ") || !strings.Contains(out, second+"/far ") {
			t.Fatal(out)
		}
		if out := s.rbd(t, "info", second+"/far"); !strings.Contains(out, "group: "+pool+"/g") {
			t.Fatal(out)
		}
		must(g.CreateSnapshot(ctx, "s", SnapshotOptions{}))(t)
		before := s.sum(t, second+"/far")
		s.rbd(t, "bench", "--io-type", "write", "--io-size", "64K", "--io-total", "1M", second+"/far")
		noError(t, g.RollbackSnapshot(ctx, "s", RollbackOptions{}))
		if s.sum(t, second+"/far") != before {
			t.Fatal("the image of the other pool was not taken back")
		}
		s.rbd(t, "group", "snap", "create", pool+"/g@theirs")
		noError(t, g.RollbackSnapshot(ctx, "theirs", RollbackOptions{}))
		s.rbd(t, "group", "snap", "rm", pool+"/g@s")
		s.rbd(t, "group", "image", "rm", pool+"/g", second+"/far")
		noError(t, g.RemoveSnapshot(ctx, "theirs"))
		if images := must(g.Images(ctx))(t); len(images) != 1 {
			t.Fatalf("%+v", images)
		}
	})
}
