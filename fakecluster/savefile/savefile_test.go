package savefile

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func file(t testing.TB, frames ...[]byte) []byte {
	var b bytes.Buffer
	w := NewWriter(&b)
	for i, f := range frames {
		w.Frame(uint32(i+1), f)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll returns the frames of a file, as far as they are sound.
func readAll(p []byte) (frames [][]byte, err error) {
	r, err := NewReader(bytes.NewReader(p))
	if err != nil {
		return nil, err
	}
	for {
		_, f, err := r.Next()
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

func TestFramesComeBack(t *testing.T) {
	want := [][]byte{[]byte("one"), nil, bytes.Repeat([]byte("x"), 3<<20)}
	got, err := readAll(file(t, want...))
	if err != nil || len(got) != len(want) {
		t.Fatal(len(got), err)
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatal(i)
		}
	}
}

func TestEveryDamageIsNoticed(t *testing.T) {
	good := file(t, []byte("one"), []byte("two"))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := readAll(bad); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrVersion) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := readAll(good[:i]); !errors.Is(err, ErrFormat) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := readAll(append(bytes.Clone(good), 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte more: %v", err)
	}
	// A frame left out, each checksum of a frame being right.
	n := len(magic) + 4
	if _, err := readAll(append(bytes.Clone(good[:n]), good[n+headSize+3+4:]...)); !errors.Is(err, ErrFormat) {
		t.Errorf("a frame left out: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(file(f))
	f.Add(file(f, []byte("one"), []byte("two")))
	f.Fuzz(func(t *testing.T, p []byte) {
		frames, err := readAll(p)
		if err != nil {
			return
		}
		n := 0
		for _, f := range frames {
			n += len(f)
		}
		if n > len(p) {
			t.Fatalf("%d bytes of frames in a file of %d", n, len(p))
		}
	})
}
