package diff

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func bits(s Set, n int) []bool {
	b := make([]bool, n)
	for _, r := range s {
		for i := r.Off; i < r.End(); i++ {
			b[i] = true
		}
	}
	return b
}

func TestSetOperationsAgainstBits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() Set {
		var rs []Range
		for range rnd.IntN(6) {
			o := rnd.Uint64N(50)
			rs = append(rs, Range{o, rnd.Uint64N(64 - o)})
		}
		return Of(rs...)
	}
	for i := range 5000 {
		a, b := random(), random()
		x, y := bits(a, 64), bits(b, 64)
		check := func(op string, got Set, f func(p, q bool) bool) {
			g := bits(got, 64)
			for k := range g {
				if g[k] != f(x[k], y[k]) {
					t.Fatalf("round %d: %v %s %v = %v", i, a, op, b, got)
				}
			}
			for k := 1; k < len(got); k++ {
				if got[k].Off <= got[k-1].End() && op == "union" {
					t.Fatalf("not normal: %v", got)
				}
			}
		}
		check("union", a.Union(b), func(p, q bool) bool { return p || q })
		check("intersect", a.Intersect(b), func(p, q bool) bool { return p && q })
		check("minus", a.Minus(b), func(p, q bool) bool { return p && !q })
	}
}

// object is a model of a RADOS object with snapshots: it keeps whole contents
// and derives the SnapSet that an OSD would report.
type object struct {
	exists bool
	head   []byte
	seq    uint64
	set    SnapSet // clones only
	at     map[uint64][]byte
	saw    map[uint64]bool
	snaps  []uint64
}

func (o *object) snapshot(id uint64) {
	o.snaps = append(o.snaps, id)
	o.saw[id] = o.exists
	o.at[id] = slices.Clone(o.head)
}

// modify applies f after making the clone that pending snapshots need.
func (o *object) modify(f func(old []byte) (next []byte, exists bool)) {
	var pending []uint64
	for _, s := range o.snaps {
		if s > o.seq {
			pending = append(pending, s)
		}
	}
	if len(pending) > 0 {
		if o.exists {
			o.set.Clones = append(o.set.Clones, Clone{ID: pending[len(pending)-1], Snaps: pending,
				Size: uint64(len(o.head)), Overlap: Upto(uint64(len(o.head)))})
		}
		o.seq = pending[len(pending)-1]
	}
	next, exists := f(slices.Clone(o.head))
	if n := len(o.set.Clones); n > 0 {
		var touched []Range
		for i := range max(len(next), len(o.head)) {
			if i >= len(next) || i >= len(o.head) || next[i] != o.head[i] || !exists {
				touched = append(touched, Range{uint64(i), 1})
			}
		}
		if !exists {
			touched = append(touched, Range{0, 1 << 20})
		}
		c := &o.set.Clones[n-1]
		c.Overlap = c.Overlap.Minus(Of(touched...))
	}
	o.head, o.exists = next, exists
}

func (o *object) list() SnapSet {
	s := SnapSet{Clones: slices.Clone(o.set.Clones), Seq: o.seq}
	if o.exists {
		s.Clones = append(s.Clones, Clone{ID: NoSnap, Size: uint64(len(o.head))})
	}
	s.Normalize()
	return s
}

// TestBetweenIsEnoughToRebuildEverySnapshot copies a random history step by step
// by what Between says and compares each step.
func TestBetweenIsEnoughToRebuildEverySnapshot(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		o := &object{at: map[uint64][]byte{}, saw: map[uint64]bool{}}
		id := uint64(0)
		for range 12 {
			switch rnd.IntN(5) {
			case 0:
				id += 1 + rnd.Uint64N(3)
				o.snapshot(id)
			case 1:
				o.modify(func([]byte) ([]byte, bool) { return nil, false })
			case 2:
				n := rnd.IntN(12)
				o.modify(func(p []byte) ([]byte, bool) { return append(p, make([]byte, 12)...)[:n], true })
			default:
				at, v := rnd.IntN(10), byte(1+rnd.IntN(200))
				o.modify(func(p []byte) ([]byte, bool) {
					for len(p) < at+2 {
						p = append(p, 0)
					}
					p[at], p[at+1] = v, v
					return p, true
				})
			}
		}
		id++
		o.snapshot(id)
		s := o.list()
		var from uint64
		var copyOf []byte
		exists := false
		for _, to := range append(slices.Clone(o.snaps), NoSnap) {
			want, there := o.at[to], o.saw[to]
			if to == NoSnap {
				want, there = o.head, o.exists
			}
			c := s.Between(from, to)
			if c.Existed != exists || c.Exists != there || c.Size != uint64(len(want)) || c.OldSize != uint64(len(copyOf)) {
				t.Fatalf("seed %d %d..%d: %+v", seed, from, to, c)
			}
			next := make([]byte, len(want))
			copy(next, copyOf)
			for _, r := range c.Changed {
				if r.Off < c.Size {
					copy(next[r.Off:min(r.End(), c.Size)], want[r.Off:])
				}
			}
			if !slices.Equal(next, want) {
				t.Fatalf("seed %d %d..%d: %v, want %v; set %+v", seed, from, to, next, want, s)
			}
			copyOf, exists, from = next, there, to
		}
	}
}
