package fakecluster

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// loose and tight turn a file into what can be changed without making checksums
// wrong, and back.
func loose(t testing.TB, p []byte) (b []byte) {
	t.Helper()
	r, err := savefile.NewReader(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	for {
		kind, payload, err := r.Next()
		if err != nil {
			return b
		}
		b = denc.AppendBytes(denc.AppendU32(b, kind), payload)
	}
}

func tight(p []byte) []byte {
	var b bytes.Buffer
	w := savefile.NewWriter(&b)
	for r := denc.NewReader(p); r.Len() > 0; {
		kind, payload := r.U32(), r.Bytes()
		if r.Err() != nil {
			break
		}
		w.Frame(kind, payload)
	}
	_ = w.Close()
	return b.Bytes()
}

// small returns a small saved cluster, loose.
func small(t testing.TB) []byte {
	t.Helper()
	c := New(t, Pools("rbd"), OSDs(1), InProcess())
	h := c.support.h
	for id := range c.OSDMap().Pools {
		at := where{pool: id}
		if e := h.writeFull(at, "o", []byte("some bytes"), wire.SnapContext{}); e != 0 {
			t.Fatal(e)
		}
		if e := h.writeFull(at, "o", []byte("others"), wire.SnapContext{Seq: 1, Snaps: []uint64{1}}); e != 0 {
			t.Fatal(e)
		}
		g, hash := c.place(id, pg.Name{Object: "o"})
		g.OmapPut(pg.Name{Object: "o"}, hash, "key", []byte("value"))
	}
	var b bytes.Buffer
	if err := c.Save(&b); err != nil {
		t.Fatal(err)
	}
	return loose(t, b.Bytes())
}

// TestWhatWasLoadedRuns loads files in which bytes were changed and lets those
// run that are taken for sound.
func TestWhatWasLoadedRuns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	good := small(t)
	ran := 0
	for range 300 {
		p := bytes.Clone(good)
		p[r.IntN(len(p))] = byte(r.Uint32())
		c, err := Load(t.Context(), bytes.NewReader(tight(p)), InProcess())
		if errors.Is(err, savefile.ErrFormat) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ran++
		c.StoredBytes()
		c.AdvanceMap(1)
		var b bytes.Buffer
		if err := c.Save(&b); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	t.Logf("%d of 300 ran", ran)
}

func FuzzReadSaved(f *testing.F) {
	f.Add(small(f))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := readSaved(bytes.NewReader(tight(p))); err != nil && !errors.Is(err, savefile.ErrFormat) {
			t.Fatal(err)
		}
	})
}
