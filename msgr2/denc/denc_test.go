package denc

import (
	"errors"
	"testing"
)

func TestCRC32CKnownAnswers(t *testing.T) {
	p := []byte("foo bar baz")
	if got := CRC32C(0, p); got != 0xf58c78ac {
		t.Errorf("seed 0: %#x", got)
	}
	if got := CRC32C(0xffffffff, p); got != 0xa0a231ab {
		t.Errorf("seed -1: %#x", got)
	}
}

func TestSectionSkipsWhatANewerWriterAppended(t *testing.T) {
	b, at := Begin(nil, 9, 2)
	b = AppendString(b, "known")
	b = AppendU64(b, 77) // a field that the reader does not know
	b = End(b, at)
	b = AppendU8(b, 0x5a)

	r := NewReader(b)
	s := r.Enter("thing", 2)
	if got := r.String(); got != "known" || s.V != 9 {
		t.Fatalf("got %q, version %d", got, s.V)
	}
	r.Leave(s)
	if got := r.U8(); got != 0x5a {
		t.Errorf("after the section: %#x", got)
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}

func TestSectionRefusesANewerCompat(t *testing.T) {
	b, at := Begin(nil, 9, 3)
	r := NewReader(End(b, at))
	r.Leave(r.Enter("thing", 2))
	if !errors.Is(r.Err(), ErrCompat) {
		t.Errorf("got %v", r.Err())
	}
}

func TestReadsStopAtTheSectionsEnd(t *testing.T) {
	b, at := Begin(nil, 1, 1)
	b = AppendU8(b, 1)
	b = End(b, at)
	b = AppendU64(b, 2)
	r := NewReader(b)
	s := r.Enter("thing", 1)
	r.U64()
	r.Leave(s)
	if !errors.Is(r.Err(), ErrShort) {
		t.Errorf("got %v", r.Err())
	}
}

func TestCountIsBoundedByWhatIsLeft(t *testing.T) {
	b := AppendU32(nil, 1<<30)
	if n := NewReader(append(b, 1, 2, 3)).Count(4); n != 0 {
		t.Errorf("got %d", n)
	}
	r := NewReader(AppendU32(nil, 0xffffffff))
	if r.Bytes(); !errors.Is(r.Err(), ErrShort) {
		t.Errorf("got %v", r.Err())
	}
}

func FuzzReader(f *testing.F) {
	b, at := Begin(nil, 2, 1)
	b = AppendSlice(b, []string{"a", "bc"}, AppendString)
	b = AppendMap(b, map[string]uint64{"k": 1}, AppendString, AppendU64)
	f.Add(End(b, at))
	f.Fuzz(func(t *testing.T, p []byte) {
		r := NewReader(p)
		s := r.Enter("fuzz", 2)
		Slice(r, 4, (*Reader).String)
		Map(r, 12, (*Reader).String, (*Reader).U64)
		r.Time()
		r.UUID()
		r.Leave(s)
		if r.Err() == nil && r.Offset() > len(p) {
			t.Fatal("read past the end")
		}
	})
}

func TestCombineCRC32CEqualsTheCRCOfTheWhole(t *testing.T) {
	p := make([]byte, 5000)
	for i := range p {
		p[i] = byte(i * i >> 3)
	}
	for _, seed := range []uint32{0, ^uint32(0), 12345} {
		for _, cut := range []int{0, 1, 7, 8, 63, 64, 2500, 4999, 5000} {
			a, b := CRC32C(^uint32(0), p[:cut]), CRC32C(seed, p[cut:])
			if got, want := CombineCRC32C(a, b, seed, len(p)-cut), CRC32C(^uint32(0), p); got != want {
				t.Errorf("seed %#x, cut at %d: %#x, want %#x", seed, cut, got, want)
			}
		}
	}
	for _, n := range []int{0, 1, 15, 16, 17, 1000, 4096, 65535, 0x123456} {
		if got, want := ExtendCRC32C(77, n), CRC32C(77, make([]byte, n)); got != want {
			t.Errorf("%d zeros: %#x, want %#x", n, got, want)
		}
	}
}
