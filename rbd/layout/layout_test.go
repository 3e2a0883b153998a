package layout

import (
	"math/rand/v2"
	"testing"
)

func TestMapAndImageAreInverse(t *testing.T) {
	for _, c := range []struct {
		order    uint8
		su, sc   uint64
		fromSeed uint64
	}{{22, 0, 0, 1}, {12, 4096, 1, 2}, {14, 4096, 3, 3}, {13, 4096, 16, 4}, {12, 512, 5, 5}, {12, 4096, 7, 6}, {22, 65536, 1, 7}} {
		l, err := New(c.order, c.su, c.sc)
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(c.fromSeed, 0))
		for range 200 {
			off := rnd.Uint64N(10 * l.period())
			n := rnd.Uint64N(3*l.ObjectSize()) + 1
			var sum uint64
			for e := range l.Map(off, n) {
				if e.Buf != sum {
					t.Fatalf("%+v: buffer at %d, want %d", c, e.Buf, sum)
				}
				at := off + e.Buf
				for r := range l.Image(e.Object, e.Off, e.Len) {
					if r.Off != at {
						t.Fatalf("%+v: object %d+%d is image %d, want %d", c, e.Object, e.Off, r.Off, at)
					}
					at += r.Len
				}
				if e.Off+e.Len > l.ObjectSize() {
					t.Fatalf("%+v: past the object", e)
				}
				sum += e.Len
			}
			if sum != n {
				t.Fatalf("%+v: mapped %d of %d", c, sum, n)
			}
			// The number of objects is the highest object touched, plus one, but
			// never fewer than any byte below needs.
			size := off + n
			var high uint64
			for p := uint64(0); p < size; p += min(l.stripeUnit, size-p) {
				o, _ := l.Object(p)
				high = max(high, o)
			}
			if got := l.Objects(size); got != high+1 {
				t.Fatalf("%+v size %d: %d objects, want %d", c, size, got, high+1)
			}
		}
	}
}

func TestObjectEnd(t *testing.T) {
	l, _ := New(13, 4096, 2) // two units an object, sets of two objects
	for _, c := range []struct{ size, obj, want uint64 }{
		{0, 0, 0}, {100, 0, 100}, {100, 1, 0}, {4096, 0, 4096}, {5000, 1, 904},
		{8192 + 1, 0, 4097}, {16384, 1, 8192}, {16384 + 1, 2, 1},
	} {
		if got := l.ObjectEnd(c.obj, c.size); got != c.want {
			t.Errorf("size %d object %d: %d, want %d", c.size, c.obj, got, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		order  uint8
		su, sc uint64
	}{{0, 0, 0}, {63, 0, 0}, {12, 8192, 1}, {12, 1000, 2}} {
		if _, err := New(c.order, c.su, c.sc); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	l, _ := New(22, 0, 0)
	b.ReportAllocs()
	var n uint64
	for b.Loop() {
		for e := range l.Map(123456789, 1<<20) {
			n += e.Len
		}
	}
}
