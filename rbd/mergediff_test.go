package rbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

// diffStream builds a diff of version 1.
func diffStream(from, to string, size uint64, records ...record) []byte {
	var b bytes.Buffer
	s := newStreamWriter(&b, 1)
	s.raw([]byte(bannerDiff1))
	if from != "" {
		s.textRecord(tagFrom, from)
	}
	if to != "" {
		s.textRecord(tagTo, to)
	}
	s.tag(tagSize, 8)
	s.u64(size)
	for _, r := range records {
		s.tag(r.tag, 0)
		s.u64(r.off)
		s.u64(r.len)
		if r.tag == tagWrite {
			s.raw(bytes.Repeat([]byte{r.fill}, int(r.len)))
		}
	}
	s.raw([]byte{tagEnd})
	s.flush()
	return b.Bytes()
}

type record struct {
	tag      byte
	off, len uint64
	fill     byte
}

// apply does what a diff says to an image.
func apply(t *testing.T, image, stream []byte) []byte {
	t.Helper()
	s := newStreamReader(bytes.NewReader(stream), 1)
	if err := s.banner(bannerDiff1); err != nil {
		t.Fatal(err)
	}
	for {
		tag, _, err := s.tag(tagEnd)
		if err != nil {
			t.Fatal(err)
		}
		switch tag {
		case tagEnd:
			return image
		case tagFrom, tagTo:
			_, err = s.text(maxName)
		case tagSize:
			var n uint64
			n, err = s.u64()
			image = append(image, make([]byte, max(int(n)-len(image), 0))...)[:n]
		case tagWrite, tagZero:
			off, n, bad := s.extent()
			if err = bad; err == nil && tag == tagWrite {
				err = s.full(image[off : off+n])
			} else {
				clear(image[off : off+n])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func randomDiff(rng *rand.Rand, from, to string, size uint64) []byte {
	var rs []record
	for off := rng.Uint64N(20); off < size; {
		n := min(1+rng.Uint64N(30), size-off)
		rs = append(rs, record{[]byte{tagWrite, tagZero}[rng.IntN(2)], off, n, byte(rng.Uint32())})
		off += n + rng.Uint64N(20)
	}
	return diffStream(from, to, size, rs...)
}

// TestMergeDiffIsBothInTurn applies merged diffs and their parts to images of
// random content and compares the outcome, also when the image grows or shrinks.
func TestMergeDiffIsBothInTurn(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		image := make([]byte, 100+rng.IntN(100))
		for i := range image {
			image[i] = byte(rng.Uint32())
		}
		a := randomDiff(rng, "s0", "s1", 50+rng.Uint64N(200))
		b := randomDiff(rng, "s1", "s2", 50+rng.Uint64N(200))
		var merged bytes.Buffer
		if err := MergeDiff(&merged, bytes.NewReader(a), bytes.NewReader(b), nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want := apply(t, apply(t, bytes.Clone(image), a), b)
		if got := apply(t, bytes.Clone(image), merged.Bytes()); !bytes.Equal(got, want) {
			t.Fatalf("seed %d:\n%x\nis not\n%x", seed, got, want)
		}
	}
}

func TestMergeDiffRefuses(t *testing.T) {
	good := diffStream("", "s1", 100, record{tagWrite, 10, 10, 1})
	next := diffStream("s1", "s2", 100, record{tagWrite, 15, 10, 2})
	for name, tc := range map[string]struct {
		a, b []byte
		text string
		code rados.Errno
	}{
		"order":     {next, good, "The first TO snapshot must be equal with the second FROM snapshot, aborting", 22},
		"no diff":   {[]byte("hello world this is no diff"), next, "invalid banner 'hello world ', expected 'rbd diff v1\n'\nrbd: failed to parse first diff header", 22},
		"cut head":  {good, next[:5], "rbd: failed to parse second diff header", ErrTruncated},
		"cut data":  {good[:len(good)-7], next, "rbd: failed to merge diff chunk", ErrTruncated},
		"backwards": {diffStream("", "s1", 100, record{tagZero, 50, 5, 0}, record{tagZero, 40, 5, 0}), next, "rbd: out-of-order offset from first diff (55 > 40)", rados.ErrNotSupported},
		"empty":     {good, diffStream("s1", "", 100, record{tagZero, 50, 0, 0}), "rbd: failed to read second diff data chunk header", rados.ErrNotSupported},
		"overflow":  {good, diffStream("s1", "", 100, record{tagZero, 1 << 63, 1 << 63, 0}), "rbd: failed to read second diff data chunk header", rados.ErrInvalid},
	} {
		err := MergeDiff(io.Discard, bytes.NewReader(tc.a), bytes.NewReader(tc.b), nil)
		var bad *StreamError
		if !errors.As(err, &bad) || bad.Text != tc.text || !errors.Is(err, tc.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMergeDiff looks for streams that make it panic or never end.
func FuzzMergeDiff(f *testing.F) {
	f.Add(diffStream("", "s1", 100, record{tagWrite, 10, 10, 1}), diffStream("s1", "", 90, record{tagZero, 15, 10, 0}))
	f.Add(diffStream("", "", 10), []byte(bannerDiff1+"e"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var out bytes.Buffer
		if MergeDiff(&out, bytes.NewReader(a), bytes.NewReader(b), nil) == nil && !bytes.HasPrefix(out.Bytes(), []byte(bannerDiff1)) {
			t.Fatalf("%x", out.Bytes())
		}
	})
}

// FuzzStreamProperties reads the head of an image's export.
func FuzzStreamProperties(f *testing.F) {
	b := append([]byte(bannerImage2), tagOrder)
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, 8), 22)
	f.Add(append(b, tagImageEnd))
	f.Fuzz(func(t *testing.T, p []byte) {
		var o CreateOptions
		s := newStreamReader(bytes.NewReader(p), 2)
		if s.head(&o, map[string][]byte{}) == nil && s.n > uint64(len(p)) {
			t.Fatal("more read than there is")
		}
	})
}

func TestRuns(t *testing.T) {
	p := make([]byte, 10000)
	p[5000] = 1
	for _, tc := range []struct {
		grain uint64
		want  []DiffExtent
	}{
		{0, []DiffExtent{{0, 10000, true}}},
		{4096, []DiffExtent{{0, 4096, false}, {4096, 4096, true}, {8192, 1808, false}}},
		{1 << 20, []DiffExtent{{0, 10000, true}}},
	} {
		for _, d := range []msgr2.Data{msgr2.NewData(p), msgr2.NewData(p[:1], p[1:4095], nil, p[4095:5001], p[5001:])} {
			if got := runsOf(d, tc.grain); !slices.Equal(got, tc.want) {
				t.Errorf("%d: %v", tc.grain, got)
			}
		}
	}
}
