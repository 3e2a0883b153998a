package rbd

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rbd/layout"
)

func TestDiscardExtents(t *testing.T) {
	l, _ := layout.New(20, 0, 0)
	const k = 1 << 10
	for _, c := range []struct {
		off, n, g uint64
		want      []layout.Extent
	}{
		{0, 1024 * k, 64 * k, []layout.Extent{{Object: 0, Off: 0, Len: 1024 * k}}},
		{10, 63 * k, 64 * k, nil},
		{10, 200 * k, 64 * k, []layout.Extent{{Object: 0, Off: 64 * k, Len: 128 * k}}},
		{10, 200 * k, 0, []layout.Extent{{Object: 0, Off: 10, Len: 200 * k}}},
		{1000 * k, 100 * k, 64 * k, []layout.Extent{{Object: 1, Off: 0, Len: 64 * k}}},
	} {
		got := discardExtents(l, c.off, c.n, c.g)
		if len(got) != len(c.want) {
			t.Errorf("%+v: %+v", c, got)
			continue
		}
		for i := range got {
			got[i].Buf = 0
			if got[i] != c.want[i] {
				t.Errorf("%+v: %+v", c, got)
			}
		}
	}
}

func TestSparseOf(t *testing.T) {
	p := make([]byte, 40960)
	p[5000], p[20000], p[24576] = 1, 2, 3
	ext, data := sparseOf(msgr2.NewData(p[:7000], p[7000:]), false)
	back := make([]byte, len(p))
	at := 0
	all := data.Bytes()
	for _, e := range ext {
		copy(back[e.Off:e.Off+e.Len], all[at:])
		at += int(e.Len)
	}
	if !bytes.Equal(p, back) || len(ext) != 3 || data.Len() != 2904+2*4096 {
		t.Fatalf("%v, %d bytes", ext, data.Len())
	}
}

func TestGate(t *testing.T) {
	ctx := t.Context()
	var g gate
	var inside atomic.Int32
	if err := g.Enter(ctx); err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error)
	go func() {
		err := g.Block(ctx)
		inside.Add(1)
		blocked <- err
	}()
	late, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	for g.Enter(late) == nil { // until the block is in place
		g.Leave()
	}
	if inside.Load() != 0 {
		t.Fatal("blocked while somebody was inside")
	}
	g.Leave()
	if err := <-blocked; err != nil {
		t.Fatal(err)
	}
	g.Unblock()
	if err := g.Enter(ctx); err != nil {
		t.Fatal(err)
	}
}
