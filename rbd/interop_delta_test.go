//go:build interop

package rbd

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/rados"
)

// replica is a copy that follows a model by steps, as the mirroring engine does.
type replica struct {
	m        *model
	dst      *Image
	name     string
	seqs     map[uint64]uint64
	lastSrc  uint64
	lastDst  uint64
	noFast   bool
	crash    bool // stop the first attempt of every step half way
	flatten  bool
	atDst    map[uint64][]byte
	overfast int
}

func newReplica(t *testing.T, m *model, io *rados.IoCtx, name string, dst *Image) *replica {
	t.Helper()
	return &replica{m: m, dst: dst, name: name, atDst: map[uint64][]byte{}}
}

// step takes a mirror snapshot at the source and brings the copy to it.
func (r *replica) step(n int) {
	t, ctx := r.m.t, r.m.t.Context()
	t.Helper()
	ns := SnapshotNamespace{Type: SnapMirror, State: 0, PrimarySnapID: NoSnap}
	end, err := r.m.img.CreateSnapshot(ctx, fmt.Sprintf(".mirror.primary.x.%d", n), ns, SnapshotOptions{SkipQuiesce: true})
	if err != nil {
		t.Fatal(err)
	}
	rg := CopyRange{SrcStart: r.lastSrc, SrcEnd: end, Flatten: r.flatten}
	if r.seqs, err = CopySnapshots(ctx, r.m.img, r.dst, rg, r.seqs); err != nil {
		t.Fatal(err)
	}
	ns = SnapshotNamespace{Type: SnapMirror, State: 2, PrimarySnapID: end}
	rg.DstEnd, err = r.dst.CreateSnapshot(ctx, fmt.Sprintf(".mirror.non_primary.x.%d", n), ns, SnapshotOptions{SkipQuiesce: true, SkipObjectMap: true})
	if err != nil {
		t.Fatal(err)
	}
	attempts := 1
	if r.crash {
		attempts = 2
	}
	var moved uint64
	for a := range attempts {
		c, err := NewObjectCopier(r.m.img, r.dst, rg, r.seqs)
		if err != nil {
			t.Fatal(err)
		}
		var delta *Delta
		if !r.flatten {
			if delta, err = r.m.img.ObjectDelta(ctx, rg.SrcStart, rg.SrcEnd); err != nil {
				t.Fatal(err)
			}
			if delta.FastDiff == r.noFast {
				t.Fatalf("fast-diff %v: %s", delta.FastDiff, delta.Reason)
			}
		}
		if err := c.Prepare(ctx, delta); err != nil {
			t.Fatal(err)
		}
		stop := c.Objects()
		if a+1 < attempts {
			stop /= 2
		}
		for obj := range stop {
			if delta != nil && (delta.At(obj) == ObjectHole || delta.At(obj) == ObjectSame) {
				continue
			}
			cost, err := c.Copy(ctx, obj)
			if err != nil {
				t.Fatal(err)
			}
			moved += cost.Written
		}
		if a+1 < attempts {
			continue
		}
		if err := r.m.img.SnapshotsExist(ctx, rg.SrcStart, rg.SrcEnd); err != nil {
			t.Fatal(err)
		}
		if err := c.Finish(ctx, delta); err != nil {
			t.Fatal(err)
		}
	}
	r.lastSrc, r.lastDst = end, rg.DstEnd
	r.atDst[rg.DstEnd] = bytes.Clone(r.m.data)
	t.Logf("step %d: %d bytes written", n, moved)
	r.check()
}

// check compares the copy at every point.
func (r *replica) check() {
	t, ctx := r.m.t, r.m.t.Context()
	t.Helper()
	for id, want := range r.atDst {
		d, err := r.dst.ReadSnap(ctx, id, 0, uint64(len(want)))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("the copy at its snapshot %d differs from byte %d", id, firstDifference(got, want))
		}
	}
	// The real rbd sees it the same way, at the head and at the user's snapshots.
	d := *r.m
	d.name, d.img = r.name, r.dst
	d.check()
}

func TestInteropDeltas(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		pool, io := s.pool(t)
		for _, c := range []struct {
			name          string
			noFast, crash bool
			striped       bool
		}{{name: "fast"}, {name: "listsnaps", noFast: true}, {name: "crashes", crash: true}, {name: "striped", striped: true}} {
			t.Run(c.name, func(t *testing.T) {
				ctx := t.Context()
				o := CreateOptions{Order: 20}
				if c.noFast {
					o.FeaturesClear = FeatureFastDiff | FeatureObjectMap
				}
				if c.striped {
					o.StripeUnit, o.StripeCount = 64<<10, 2
				}
				m := newModel(t, s, pool, io, "src-"+c.name, 5<<20+3, o, 99)
				m.change(10)
				o.FeaturesClear = 0
				dst := openReplica(t, io, "dst-"+c.name, m.img.Size(), o)
				r := newReplica(t, m, io, "dst-"+c.name, dst)
				r.noFast, r.crash = c.noFast, c.crash
				r.step(0)
				for n := 1; n < 5; n++ {
					m.change(2)
					m.takeSnap(fmt.Sprint("u", n))
					m.change(2)
					switch n {
					case 2:
						if err := m.img.Resize(ctx, 3<<20+1, true, nil); err != nil {
							t.Fatal(err)
						}
						m.data = m.data[:3<<20+1]
					case 3:
						if err := m.img.Resize(ctx, 6<<20, false, nil); err != nil {
							t.Fatal(err)
						}
						m.data = append(m.data, make([]byte, 6<<20-len(m.data))...)
						u, _ := m.img.UserSnapshot("u1")
						if err := m.img.RemoveSnapshot(ctx, u.ID); err != nil {
							t.Fatal(err)
						}
						delete(m.snap, "u1")
						u, _ = m.img.UserSnapshot("u2")
						if err := m.img.RenameSnapshot(ctx, u.ID, "renamed"); err != nil {
							t.Fatal(err)
						}
						m.snap["renamed"] = m.snap["u2"]
						delete(m.snap, "u2")
					}
					r.step(n)
				}
				if m.img.Features()&FeatureFastDiff != 0 {
					compareDeltas(t, m.img)
				}
			})
		}
	})
}

// compareDeltas makes sure that fast-diff never misses what list-snaps finds.
func compareDeltas(t *testing.T, img *Image) {
	t.Helper()
	ctx := t.Context()
	h := img.header()
	points := []uint64{0}
	for _, s := range h.snaps {
		points = append(points, s.ID)
	}
	points = append(points, NoSnap)
	for i, from := range points {
		for _, to := range points[i+1:] {
			d, err := img.ObjectDelta(ctx, from, to)
			if err != nil || !d.FastDiff {
				t.Fatalf("%v %+v", err, d)
			}
			for n := range d.Objects {
				set, err := listSnaps(ctx, h.dataIO, h.objectName(n))
				if err != nil {
					t.Fatal(err)
				}
				if set == nil {
					continue
				}
				c := set.Between(from, to)
				if st := d.At(n); !c.Same() && (st == ObjectSame || st == ObjectHole) {
					t.Errorf("object %d between %d and %d: fast-diff says %d, list-snaps %+v", n, from, to, st, c)
				}
			}
		}
	}
}

func openReplica(t *testing.T, io *rados.IoCtx, name string, size uint64, o CreateOptions) *Image {
	t.Helper()
	if _, err := Create(t.Context(), io, name, size, o); err != nil {
		t.Fatal(err)
	}
	return openLocked(t, io, name)
}

func openLocked(t *testing.T, io *rados.IoCtx, name string) *Image {
	t.Helper()
	dst, err := Open(t.Context(), io, name, OpenOptions{SkipMirrorReadOnlyCheck: true, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dst.Close(t.Context()) })
	if err := dst.AcquireLock(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dst
}

// TestInteropDeltaAfterCopyup is the case in which Ceph's own mirroring lost the
// parent's data: the base of a delta holds nothing of an object, the source has
// it by a copy-up.
func TestInteropDeltaAfterCopyup(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		for _, flat := range []bool{false, true} {
			name := map[bool]string{false: "-kept", true: "-flat"}[flat]
			// Two parents with the same content: the mirrored one and its copy.
			pm := newModel(t, s, pool, io, "parent"+name, 6<<20, CreateOptions{Order: 20}, 3)
			pm.change(25)
			base := pm.takeSnap("base")
			if err := DeepCopy(ctx, pm.img, io, "parent-copy"+name, CreateOptions{}, false, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := Clone(ctx, io, pm.img.ID(), base, io, "child"+name, CreateOptions{CloneFormat: 2}); err != nil {
				t.Fatal(err)
			}
			m := &model{t: t, s: s, pool: pool, name: "child" + name, data: bytes.Clone(pm.data), rnd: rand.New(rand.NewPCG(4, 4)), snap: map[string][]byte{}}
			m.open(io)
			if flat {
				if _, err := Create(ctx, io, "copy"+name, m.img.Size(), CreateOptions{Order: 20}); err != nil {
					t.Fatal(err)
				}
			} else {
				pc, err := Open(ctx, io, "parent-copy"+name, OpenOptions{ReadOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				b, _ := pc.UserSnapshot("base")
				if _, err := Clone(ctx, io, pc.ID(), b.ID, io, "copy"+name, CreateOptions{CloneFormat: 2}); err != nil {
					t.Fatal(err)
				}
				if err := pc.Close(ctx); err != nil {
					t.Fatal(err)
				}
			}
			r := newReplica(t, m, io, "copy"+name, openLocked(t, io, "copy"+name))
			r.flatten = flat
			m.change(2)
			r.step(0)
			for n := 1; n < 5; n++ {
				// A few bytes in the middle of each object: the rest is the parent's.
				for obj := range uint64(6) {
					if m.rnd.IntN(3) == 0 {
						continue
					}
					off := obj<<20 + 300000 + m.rnd.Uint64N(1000)
					if _, err := m.img.WriteAt(ctx, []byte("new bytes"), off); err != nil {
						t.Fatal(err)
					}
					copy(m.data[off:], "new bytes")
				}
				if n == 3 {
					m.takeSnap("user")
				}
				m.change(1)
				r.step(n)
			}
		}
	})
}
