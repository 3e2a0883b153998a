package rbd

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// recordedWrites returns what the writes in an image's journal make of n zeros.
func recordedWrites(t *testing.T, img *Image, n uint64) []byte {
	t.Helper()
	j, err := journal.Open(t.Context(), img.io, img.ID(), "reader", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(t.Context())
	p, err := j.NewPlayer(t.Context(), journal.PlayerOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out := make([]byte, n)
	for {
		e, err := p.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var ev jwire.Event
		r := denc.NewReader(e.Data)
		if ev.Decode(r); r.Done() != nil {
			t.Fatal(r.Err())
		}
		if ev.Type == jwire.EventWrite {
			copy(out[ev.Offset:], ev.Data)
		}
	}
}

// TestCallersWhoChangeWhatTheyWrite breaks the rule that they must not, between the
// journal and the data: the two have to agree nevertheless.
func TestCallersWhoChangeWhatTheyWrite(t *testing.T) {
	const size, at = 1 << 20, 100000
	ctx, pool := t.Context(), anycluster.Pool(t)
	img := journaledImage(t, pool, "i", size)
	if err := img.AcquireLock(ctx); err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte("before"), 15000)
	want := bytes.Clone(p)
	err := img.journal.Load().write(ctx, at, msgr2.NewData(p), func(own msgr2.Data) error {
		copy(p, bytes.Repeat([]byte("behind"), 15000))
		return img.writeObjects(ctx, img.header(), at, own)
	})
	if err != nil {
		t.Fatal(err)
	}
	got := content(t, img, NoSnap)
	if !bytes.Equal(got[at:][:len(want)], want) || !bytes.Equal(got, recordedWrites(t, img, size)) {
		t.Error("the journal has other bytes than the image")
	}
}

// TestEventsOfAWriteGoTogether also when the image's user has never flushed.
func TestEventsOfAWriteGoTogether(t *testing.T) {
	const size = 4 << 20
	cluster := fakecluster.New(t, fakecluster.Pools("rbd"))
	pool := fakePool(t, cluster)
	_, err := Create(t.Context(), pool, "i", size, CreateOptions{Features: journaledFeatures, HasFeatures: true})
	if err != nil {
		t.Fatal(err)
	}
	img := openImage(t, pool, "i")
	if err := img.AcquireLock(t.Context()); err != nil {
		t.Fatal(err)
	}
	var appends, writes atomic.Int32
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Op: wire.OpCall, Prefix: "journal_data.", Do: func(*fakecluster.Event) { appends.Add(1) }})()
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Op: wire.OpWrite, Prefix: "rbd_data.", Do: func(*fakecluster.Event) { writes.Add(1) }})()
	p := bytes.Repeat([]byte("some data of a write "), 8<<20/21)[:3<<20]
	if _, err := img.WriteAt(t.Context(), p, 1<<20-5); err != nil {
		t.Fatal(err)
	}
	// 193 events in four data objects: a MiB of them goes at once, the rest with it.
	if n := appends.Load(); n > 8 || writes.Load() != 1 {
		t.Errorf("%d appends, %d writes", n, writes.Load())
	}
	if !bytes.Equal(recordedWrites(t, img, size), content(t, img, NoSnap)) || !bytes.Equal(content(t, img, NoSnap)[1<<20-5:][:len(p)], p) {
		t.Error("wrong content")
	}
}
