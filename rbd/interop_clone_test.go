//go:build interop

package rbd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/rados"
)

func TestInteropClones(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		pool, io := s.pool(t)
		for _, format := range []uint8{1, 2} {
			for _, c := range []struct {
				name string
				o    CreateOptions
			}{{"same", CreateOptions{}}, {"smaller", CreateOptions{Order: 16}}, {"striped", CreateOptions{Order: 18, StripeUnit: 64 << 10, StripeCount: 3}}} {
				t.Run(fmt.Sprintf("v%d-%s", format, c.name), func(t *testing.T) { testClone(t, s, pool, io, format, c.name, c.o) })
			}
		}
	})
}

func testClone(t *testing.T, s *site, pool string, io *rados.IoCtx, format uint8, name string, o CreateOptions) {
	ctx := t.Context()
	parent := newModel(t, s, pool, io, fmt.Sprintf("parent-%d-%s", format, name), 6<<20+4097, CreateOptions{Order: 20}, 7)
	parent.change(20)
	sid := parent.takeSnap("base")
	if err := parent.img.ProtectSnapshot(ctx, sid); err != nil {
		t.Fatal(err)
	}
	parent.change(5)
	child := fmt.Sprintf("child-%d-%s", format, name)
	o.CloneFormat = format
	if _, err := Clone(ctx, io, parent.img.ID(), sid, io, child, o); err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, s: s, pool: pool, name: child, data: bytes.Clone(parent.snap["base"]), rnd: rand.New(rand.NewPCG(8, 0)), snap: map[string][]byte{}}
	m.open(io)
	m.check()
	if err := m.img.Resize(ctx, 8<<20, false, nil); err != nil {
		t.Fatal(err)
	}
	m.data = append(m.data, make([]byte, 8<<20-len(m.data))...)
	m.takeSnap("one")
	m.change(4)
	m.check()
	m.takeSnap("two")
	m.change(4)
	m.check()
	if err := m.img.Resize(ctx, 5<<20+5000, true, nil); err != nil {
		t.Fatal(err)
	}
	m.data = m.data[:5<<20+5000]
	m.check()
	if err := m.img.Resize(ctx, 6<<20, false, nil); err != nil {
		t.Fatal(err)
	}
	m.data = append(m.data, make([]byte, 6<<20-len(m.data))...)
	m.check()
	m.change(3)
	if got := s.rbd(t, "children", pool+"/"+parent.name+"@base"); !strings.Contains(got, child) {
		t.Fatalf("rbd children does not show it: %q", got)
	}
	cs, err := parent.img.Children(ctx, sid)
	if err != nil || len(cs) != 1 || cs[0].ImageName != child {
		t.Fatalf("children: %+v, %v", cs, err)
	}
	if format == 2 {
		if err := parent.img.UnprotectSnapshot(ctx, sid); err != nil {
			t.Fatal(err)
		}
		if err := parent.img.RemoveSnapshot(ctx, sid); err != nil {
			t.Fatal(err)
		}
		if got := s.rbd(t, "snap", "ls", "--all", pool+"/"+parent.name); !strings.Contains(got, "trash") {
			t.Fatalf("the snapshot is not in the trash:\n%s", got)
		}
		m.check()
	} else if err := parent.img.UnprotectSnapshot(ctx, sid); err == nil {
		t.Fatal("unprotected a snapshot with a clone")
	}
	if err := m.img.Flatten(ctx, nil); err != nil {
		t.Fatal(err)
	}
	m.check()
	if info := s.rbd(t, "info", pool+"/"+child); strings.Contains(info, "parent") {
		t.Fatalf("still a clone:\n%s", info)
	}
	if format == 2 {
		if got := s.rbd(t, "snap", "ls", "--all", pool+"/"+parent.name); strings.Contains(got, "base") {
			t.Fatalf("the snapshot stays in the trash:\n%s", got)
		}
	} else if err := parent.img.UnprotectSnapshot(ctx, sid); err != nil {
		t.Fatal(err)
	}
}

// TestInteropRbdWritesWeRead reads what the real rbd wrote, clones included.
func TestInteropRbdWritesWeRead(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		data, _ := s.pool(t)
		for i, c := range []struct {
			name string
			args []string
		}{
			{"plain", nil},
			{"data-pool", []string{"--data-pool", data}},
			{"striped", []string{"--object-size", "1M", "--stripe-unit", "65536", "--stripe-count", "4"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				spec := pool + "/" + c.name
				s.rbd(t, append([]string{"create", "--size", "24M", spec}, c.args...)...)
				bench := func(spec string, kib int) {
					s.rbd(t, "bench", "--io-type", "write", "--io-size", "24K", "--io-total", fmt.Sprintf("%dK", kib), "--io-pattern", "rand", spec)
				}
				bench(spec, 480)
				s.rbd(t, "snap", "create", "--no-progress", spec+"@one")
				bench(spec, 240)
				s.rbd(t, "snap", "create", "--no-progress", spec+"@two")
				s.rbd(t, "snap", "protect", spec+"@two")
				s.rbd(t, append([]string{"clone", spec + "@two", spec + "-clone"}, c.args...)...)
				bench(spec+"-clone", 96)
				s.rbd(t, "snap", "create", "--no-progress", spec+"-clone@three")
				bench(spec+"-clone", 48)
				for _, at := range []string{"", "@one", "@two", "-clone", "-clone@three"} {
					name, snap, _ := strings.Cut(c.name+at, "@")
					img, err := Open(ctx, io, name, OpenOptions{ReadOnly: true, Snapshot: snap})
					if err != nil {
						t.Fatal(err)
					}
					p := make([]byte, img.Size())
					if _, err := img.ReadAt(ctx, p, 0); err != nil {
						t.Fatal(err)
					}
					if s.sum(t, spec+at) != sha256.Sum256(p) {
						t.Errorf("%s%s differs", c.name, at)
					}
					if err := img.Close(ctx); err != nil {
						t.Error(err)
					}
				}
				s.compareDiffs(t, io, pool, c.name, "one", "two")
				s.compareDiffs(t, io, pool, c.name+"-clone", "", "three")
				_ = i
			})
		}
	})
}

// compareDiffs compares our streams of differences with the real rbd's.
func (s *site) compareDiffs(t *testing.T, io *rados.IoCtx, pool, name, from, to string) {
	t.Helper()
	ctx := t.Context()
	for _, end := range []string{to, ""} {
		img, err := Open(ctx, io, name, OpenOptions{ReadOnly: true, Snapshot: end})
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close(ctx)
		var ours bytes.Buffer
		if err := ExportDiff(ctx, img, &ours, from, false, nil); err != nil {
			t.Fatal(err)
		}
		spec := pool + "/" + name
		if end != "" {
			spec += "@" + end
		}
		args := []string{"export-diff", "--no-progress", spec, "-"}
		if from != "" {
			args = append(args, "--from-snap", from)
		}
		theirs := s.rbd(t, args...)
		if ours.String() != theirs {
			t.Logf("export-diff of %s from %q: %d bytes, rbd writes %d", spec, from, ours.Len(), len(theirs))
		}
		// What counts: applied to the start, it gives the end.
		s.applyDiff(t, pool, name, from, end, ours.String())
	}
	img, err := Open(ctx, io, name, OpenOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close(ctx)
	var ours bytes.Buffer
	if err := Export(ctx, img, &ours, 2, nil); err != nil {
		t.Fatal(err)
	}
	cmd := s.cmd("rbd", "import", "--no-progress", "--export-format", "2", "-", pool+"/imported-"+name)
	cmd.Stdin = &ours
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rbd import of our export: %v\n%s", err, out)
	}
	if s.sum(t, pool+"/imported-"+name) != s.sum(t, pool+"/"+name) || s.sum(t, pool+"/imported-"+name+"@"+to) != s.sum(t, pool+"/"+name+"@"+to) {
		t.Error("rbd import of our export differs")
	}
	theirs := s.rbd(t, "export", "--no-progress", "--export-format", "2", pool+"/"+name, "-")
	if err := Import(ctx, io, "ours-"+name, strings.NewReader(theirs), 2, CreateOptions{}, StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.sum(t, pool+"/ours-"+name) != s.sum(t, pool+"/"+name) || s.sum(t, pool+"/ours-"+name+"@"+to) != s.sum(t, pool+"/"+name+"@"+to) {
		t.Error("our import of rbd's export differs")
	}
}

// applyDiff lets the real rbd apply a stream to the start and compares.
func (s *site) applyDiff(t *testing.T, pool, name, from, to, stream string) {
	t.Helper()
	target := fmt.Sprintf("%s/applied-%s-%x", pool, name, rand.Uint32())
	start := ""
	if from != "" {
		start = s.rbd(t, "export", "--no-progress", pool+"/"+name+"@"+from, "-")
	}
	cmd := s.cmd("rbd", "import", "--no-progress", "-", target)
	cmd.Stdin = strings.NewReader(start)
	if start == "" {
		cmd = s.cmd("rbd", "create", "--size", "1M", target)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if from != "" {
		s.rbd(t, "snap", "create", "--no-progress", target+"@"+from)
	}
	cmd = s.cmd("rbd", "import-diff", "--no-progress", "-", target)
	cmd.Stdin = strings.NewReader(stream)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rbd import-diff: %v\n%s", err, out)
	}
	want := pool + "/" + name
	if to != "" {
		want += "@" + to
	}
	if s.sum(t, target) != s.sum(t, want) {
		t.Errorf("the difference %s..%s of %s does not lead to the end", from, to, name)
	}
}

// TestInteropDeepCopy copies images with their snapshots, in full and by steps,
// and compares every point.
func TestInteropDeepCopy(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		pool, io := s.pool(t)
		for _, c := range []struct {
			name   string
			clone  bool
			flat   bool
			dst    CreateOptions
			noFast bool
		}{
			{name: "plain"},
			{name: "no-fast-diff", noFast: true},
			{name: "other-layout", dst: CreateOptions{Order: 17}},
			{name: "clone", clone: true},
			{name: "clone-flattened", clone: true, flat: true},
			{name: "clone-other-layout", clone: true, dst: CreateOptions{Order: 18}},
		} {
			t.Run(c.name, func(t *testing.T) {
				ctx := t.Context()
				o := CreateOptions{Order: 20}
				if c.noFast {
					o.FeaturesClear = FeatureFastDiff | FeatureObjectMap
				}
				m := newModel(t, s, pool, io, "src-"+c.name, 6<<20+99, o, 77)
				m.change(15)
				if c.clone {
					id := m.takeSnap("base")
					if _, err := Clone(ctx, io, m.img.ID(), id, io, "cl-"+c.name, CreateOptions{CloneFormat: 2}); err != nil {
						t.Fatal(err)
					}
					m = &model{t: t, s: s, pool: pool, name: "cl-" + c.name, data: bytes.Clone(m.data), rnd: m.rnd, snap: map[string][]byte{}}
					m.open(io)
				}
				for i := range 3 {
					m.change(3)
					m.takeSnap(fmt.Sprint("s", i))
				}
				if err := m.img.Resize(ctx, 4<<20+5, true, nil); err != nil {
					t.Fatal(err)
				}
				m.data = m.data[:4<<20+5]
				m.takeSnap("small")
				if err := m.img.Resize(ctx, 7<<20, false, nil); err != nil {
					t.Fatal(err)
				}
				m.data = append(m.data, make([]byte, 7<<20-len(m.data))...)
				m.change(3)
				m.takeSnap("last")
				m.change(2)
				if err := DeepCopy(ctx, m.img, io, "dst-"+c.name, c.dst, c.flat, nil); err != nil {
					t.Fatal(err)
				}
				d := *m
				d.name = "dst-" + c.name
				d.open(io)
				d.check()
			})
		}
	})
}

// TestInteropLockHandOver passes the lock between us and a running rbd bench.
func TestInteropLockHandOver(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		m := newModel(t, s, pool, io, "img", 16<<20, CreateOptions{}, 5)
		m.change(3)
		if !m.img.LockOwned() {
			t.Fatal("we wrote without the lock")
		}
		bench := s.cmd("rbd", "bench", "--io-type", "write", "--io-size", "4K", "--io-threads", "4", "--io-total", "40M", pool+"/img")
		var out bytes.Buffer
		bench.Stdout, bench.Stderr = &out, &out
		if err := bench.Start(); err != nil {
			t.Fatal(err)
		}
		taken := 0
		for range 6 {
			wctx, cancel := context.WithTimeout(ctx, 40*time.Second)
			if _, err := m.img.WriteAt(wctx, []byte("hello"), 8<<20); err != nil {
				cancel()
				t.Fatalf("%v\n%s", err, out.String())
			}
			cancel()
			taken++
			time.Sleep(150 * time.Millisecond)
		}
		// Operations of the real rbd while we hold the lock run here.
		if err := m.img.AcquireLock(ctx); err != nil {
			t.Fatal(err)
		}
		if err := bench.Wait(); err != nil {
			t.Fatalf("rbd bench: %v\n%s", err, out.String())
		}
		if err := m.img.AcquireLock(ctx); err != nil {
			t.Fatal(err)
		}
		s.rbd(t, "snap", "create", "--no-progress", pool+"/img@theirs")
		if err := m.img.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		if _, ok := m.img.UserSnapshot("theirs"); !ok {
			t.Fatal("the snapshot is not there")
		}
		s.rbd(t, "resize", "--no-progress", "--size", "20M", pool+"/img")
		s.rbd(t, "snap", "protect", pool+"/img@theirs")
		s.rbd(t, "snap", "unprotect", pool+"/img@theirs")
		s.rbd(t, "snap", "rename", pool+"/img@theirs", pool+"/img@renamed")
		s.rbd(t, "rename", pool+"/img", pool+"/other")
		if !m.img.LockOwned() {
			t.Error("the operations took the lock from us instead of asking us")
		}
		s.rbd(t, "snap", "rm", "--no-progress", pool+"/other@renamed")
		s.checkMaps(t, pool+"/other", m.img)
		t.Logf("the lock was taken %d times from rbd bench", taken)
	})
}

// TestInteropOwnerMakesMirrorSnapshots: rbd asks for snapshots of the primary while we
// have the lock, as the daemon has it that removes an older one.
func TestInteropOwnerMakesMirrorSnapshots(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		s.rbd(t, "create", "--size", "8M", pool+"/img")
		s.rbd(t, "mirror", "pool", "enable", pool, "image")
		s.rbd(t, "mirror", "pool", "peer", "add", pool, "client.there@there")
		s.rbd(t, "mirror", "image", "enable", pool+"/img", "snapshot")
		img, err := Open(ctx, io, "img", OpenOptions{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close(ctx)
		if err := img.AcquireLock(ctx); err != nil {
			t.Fatal(err)
		}
		for range 7 { // of which 16.2 to 20.2 keep five or fewer
			s.rbd(t, "mirror", "image", "snapshot", pool+"/img")
		}
		if !img.LockOwned() {
			t.Error("rbd took the lock instead of asking us")
		}
		if err := img.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, snap := range img.Snapshots() {
			if _, err := img.ReadImageState(ctx, snap.ID); err != nil {
				t.Error(err)
			}
			if n := snap.Namespace; !n.Complete || len(n.PeerUUIDs) != 1 {
				t.Errorf("snapshot %d was left as %+v", snap.ID, n)
			}
			kept++
		}
		if kept < 3 || kept > 6 {
			t.Errorf("there are %d mirror snapshots", kept)
		}
	})
}

// TestInteropDelegation lets a real rbd that holds the lock work for us.
func TestInteropDelegation(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		s.rbd(t, "create", "--size", "64M", pool+"/img")
		bench := s.cmd("rbd", "bench", "--io-type", "write", "--io-size", "4K", "--io-threads", "1", "--io-total", "200M", pool+"/img")
		if err := bench.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			bench.Process.Kill()
			bench.Wait()
		}()
		img, err := Open(ctx, io, "img", OpenOptions{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close(ctx)
		for { // until the bench holds the lock
			o, err := img.LockOwner(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if o != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		id, err := img.CreateSnapshot(ctx, "ours", userNamespace(), SnapshotOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := img.ProtectSnapshot(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := img.UnprotectSnapshot(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := img.RenameSnapshot(ctx, id, "renamed"); err != nil {
			t.Fatal(err)
		}
		if err := img.Resize(ctx, 80<<20, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := img.RemoveSnapshot(ctx, id); err != nil {
			t.Fatal(err)
		}
		if img.LockOwned() {
			t.Error("we took the lock for what the owner should do")
		}
		// Now it dies: its lock must be broken, and its client blocklisted.
		bench.Process.Kill()
		bench.Wait()
		wctx, cancel := context.WithTimeout(ctx, 100*time.Second)
		defer cancel()
		if _, err := img.WriteAt(wctx, []byte("after"), 0); err != nil {
			t.Fatal(err)
		}
		if got := s.run(t, "ceph", "osd", "blocklist", "ls"); !strings.Contains(got, "127.0.0.1") {
			t.Errorf("nobody is blocklisted: %s", got)
		}
		s.checkMaps(t, pool+"/img", img)
	})
}
