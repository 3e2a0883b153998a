package store

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
)

// model is the plain form of Bytes: every byte, and whether it was written.
type model struct {
	p       []byte
	written []bool
}

func (m *model) resize(n int) {
	for len(m.p) < n {
		m.p, m.written = append(m.p, 0), append(m.written, false)
	}
	m.p, m.written = m.p[:n], m.written[:n]
}

func (m *model) clone() model {
	return model{bytes.Clone(m.p), append([]bool(nil), m.written...)}
}

func (m *model) check(t *testing.T, b *Bytes) {
	t.Helper()
	if b.Size() != uint64(len(m.p)) {
		t.Fatalf("size %d, want %d", b.Size(), len(m.p))
	}
	m.checkRead(t, b, 0, len(m.p))
	got := make([]bool, len(m.p))
	for _, r := range b.Extents(0, b.Size()) {
		for i := r.Off; i < r.End(); i++ {
			got[i] = true
		}
	}
	for i := range got {
		if got[i] != m.written[i] {
			t.Fatalf("byte %d: written %v, want %v", i, got[i], m.written[i])
		}
	}
}

// checkRead compares bytes, and the checksum that may have been kept with them.
func (m *model) checkRead(t *testing.T, b *Bytes, off, n int) {
	t.Helper()
	got := b.Read(uint64(off), uint64(n))
	want := m.p[min(off, len(m.p)):min(off+n, len(m.p))]
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("contents of [%d, +%d) differ", off, n)
	}
	if sum := msgr2.NewData(want).CRC(); got.CRC() != sum {
		t.Fatalf("checksum of [%d, +%d) is %#x, want %#x", off, n, got.CRC(), sum)
	}
}

func TestBytesAgainstAPlainModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var b Bytes
	var m model
	type pair struct {
		b Bytes
		m model
	}
	var clones []pair
	for range 3000 {
		off, n := rng.IntN(60000), rng.IntN(300)
		if rng.IntN(20) == 0 {
			n = rng.IntN(40000)
		}
		switch rng.IntN(8) {
		case 0:
			b.Zero(uint64(off), uint64(n))
			for i := off; i < min(off+n, len(m.p)); i++ {
				m.p[i], m.written[i] = 0, false
			}
		case 1:
			if rng.IntN(5) == 0 {
				b.Truncate(uint64(off))
				m.resize(off)
			}
		case 2:
			if rng.IntN(20) == 0 {
				clones = append(clones, pair{b.Clone(), m.clone()})
			}
		case 3:
			off = len(m.p)
			fallthrough
		default:
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			d := msgr2.NewData(p[:n/2], p[n/2:])
			if rng.IntN(4) != 0 { // as from a connection with checksums
				d = d.Checked()
			}
			b.Write(uint64(off), d)
			if n > 0 {
				m.resize(max(len(m.p), off+n))
			}
			for i := range p {
				m.p[off+i], m.written[off+i] = p[i], true
			}
		}
	}
	m.check(t, &b)
	for range 1000 {
		off, n := rng.IntN(len(m.p)+1), rng.IntN(40000)
		if e := rng.IntN(3); e < 2 && len(b.ext) > 0 { // one extent, or its end
			x := b.ext[rng.IntN(len(b.ext))]
			cut := e * rng.IntN(len(x.p))
			off, n = int(x.off)+cut, len(x.p)-cut
		}
		m.checkRead(t, &b, off, n)
	}
	for i := range clones {
		clones[i].m.check(t, &clones[i].b)
	}
}

func TestRanges(t *testing.T) {
	var s Ranges
	s = s.Add(0, 10).Add(20, 10).Add(10, 5)
	if len(s) != 2 || s[0] != (Range{0, 15}) {
		t.Fatal(s)
	}
	if d := s.Subtract(Ranges{{5, 20}}); len(d) != 2 || d[0] != (Range{0, 5}) || d[1] != (Range{25, 5}) {
		t.Fatal(d)
	}
	if d := s.Intersect(Ranges{{5, 20}}); len(d) != 2 || d[0] != (Range{5, 10}) || d[1] != (Range{20, 5}) {
		t.Fatal(d)
	}
}

func TestOmapClonesAreApart(t *testing.T) {
	var o Omap
	for _, k := range []string{"b", "a", "c", "d"} {
		o.Set(k, []byte(k))
	}
	c := o.Clone()
	o.RemoveRange("b", "d")
	c.Set("e", nil)
	if o.Len() != 2 || c.Len() != 5 {
		t.Fatal(o.Len(), c.Len())
	}
	var got string
	for k := range c.After("b") {
		got += k
	}
	if got != "cde" {
		t.Fatal(got)
	}
}

// What was written in one piece is read without its bytes being looked at, also from
// a clone; what was cut loses that.
func TestChecksumsAreKept(t *testing.T) {
	var b Bytes
	b.Write(0, msgr2.NewData(bytes.Repeat([]byte("ab"), keepWhole)).Checked())
	known := func(b *Bytes, off, n uint64) bool {
		_, ok := b.Read(off, n).KnownCRC()
		return ok
	}
	if c := b.Clone(); !known(&b, 0, 2*keepWhole) || !known(&c, 0, b.Size()) {
		t.Error("the checksum of a whole piece is not kept")
	}
	if known(&b, 0, keepWhole) {
		t.Error("half a piece claims to have the checksum of the whole")
	}
	b.WriteBytes(keepWhole, []byte("x"))
	if known(&b, 0, keepWhole) {
		t.Error("what was cut claims to have the checksum of the whole")
	}
}

// BenchmarkRead is a read of one piece with the checksum that is sent with it.
func BenchmarkRead(b *testing.B) {
	var o Bytes
	o.Write(0, msgr2.NewData(make([]byte, 4<<20)).Checked())
	b.SetBytes(4 << 20)
	for b.Loop() {
		d := o.Read(0, 4<<20)
		_ = d.CRC()
	}
}
