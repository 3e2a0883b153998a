package objectmap

import (
	"math/rand/v2"
	"testing"
)

func TestPackedOrder(t *testing.T) {
	b := New(5, Nonexistent)
	b.Set(0, ExistsClean)
	if p := b.Packed(); p[0] != 0xc0 || p[1] != 0 {
		t.Fatalf("%x", p) // the example of a real cluster: five objects, first clean
	}
}

func TestBitsAgainstASlice(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var b Bits
	var want []uint8
	for range 2000 {
		switch rnd.IntN(3) {
		case 0:
			n, s := rnd.IntN(40), uint8(rnd.IntN(4))
			for len(want) < n {
				want = append(want, s)
			}
			want = want[:n]
			b.Resize(uint64(n), s)
		case 1:
			if len(want) > 0 {
				i, s := rnd.IntN(len(want)), uint8(rnd.IntN(4))
				want[i] = s
				b.Set(uint64(i), s)
			}
		default:
			lo := rnd.IntN(len(want) + 1)
			hi, s := lo+rnd.IntN(len(want)-lo+1), uint8(rnd.IntN(4))
			for i := lo; i < hi; i++ {
				want[i] = s
			}
			b.Fill(uint64(lo), uint64(hi), s)
		}
		for i, s := range want {
			if b.Get(uint64(i)) != s {
				t.Fatalf("object %d: %d, want %d", i, b.Get(uint64(i)), s)
			}
		}
		if b.Len() != uint64(len(want)) || len(b.Packed()) != (len(want)+3)/4 {
			t.Fatal("length")
		}
	}
}

func vec(states ...uint8) Bits {
	b := New(uint64(len(states)), 0)
	for i, s := range states {
		b.Set(uint64(i), s)
	}
	return b
}

func TestHistory(t *testing.T) {
	h := &History{}
	h.Add(vec(Exists, Nonexistent, ExistsClean, Exists))
	for i, want := range []Step{Data, Hole, Data, Data} {
		if h.At(uint64(i)) != want {
			t.Errorf("start, object %d: %d", i, h.At(uint64(i)))
		}
	}
	h.Add(vec(ExistsClean, Exists, Nonexistent, ExistsClean, ExistsClean))
	h.Add(vec(ExistsClean, ExistsClean, ExistsClean)) // shrunk to three
	for i, want := range []Step{Data, DataUpdated, DataUpdated, HoleUpdated, HoleUpdated} {
		if h.At(uint64(i)) != want {
			t.Errorf("end, object %d: %d, want %d", i, h.At(uint64(i)), want)
		}
	}
	h = FromEmpty()
	h.Add(vec(ExistsClean, Nonexistent, Pending))
	for i, want := range []Step{DataUpdated, Hole, DataUpdated} {
		if h.At(uint64(i)) != want {
			t.Errorf("from empty, object %d: %d", i, h.At(uint64(i)))
		}
	}
}

func BenchmarkHistoryAdd(b *testing.B) {
	m := New(1<<20, ExistsClean)
	b.SetBytes(1 << 18)
	for b.Loop() {
		h := FromEmpty()
		h.Add(m)
	}
}
