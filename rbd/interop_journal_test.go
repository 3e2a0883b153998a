//go:build interop

package rbd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// exported is what the real rbd reads of an image.
func (s *site) exported(t testing.TB, spec string) []byte {
	t.Helper()
	file := filepath.Join(filepath.Dir(s.conf), "export-"+strings.NewReplacer("/", "-", "@", "-").Replace(spec))
	defer os.Remove(filepath.Join(s.root, file))
	s.rbd(t, "export", "--no-progress", spec, file)
	// The chroot sees the same folder under the same name.
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestInteropJournaledWriter writes to a journaled image, alone and in turn with
// the real rbd, and has the real rbd inspect the journal and replay it.
func TestInteropJournaledWriter(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		pool, pio := s.pool(t)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 1))
		const size = 8 << 20
		s.rbd(t, "create", "--size", "8M", "--object-size", "64K", "--journal-object-size", "64K", "--image-feature", "exclusive-lock,object-map,fast-diff,layering,journaling", pool+"/i")
		img, err := Open(ctx, pio, "i", OpenOptions{})
		check(err)
		model := make([]byte, size)
		write := func(img *Image) {
			t.Helper()
			n := 1 + rng.IntN(100000)
			off := rng.IntN(len(model) - n)
			for i := range n {
				model[off+i] = byte(rng.Uint32())
			}
			_, err := img.WriteAt(ctx, model[off:off+n], uint64(off))
			check(err)
		}
		for range 60 {
			write(img)
		}
		_, err = img.CreateSnapshot(ctx, "s", user(), SnapshotOptions{})
		check(err)
		atSnap := bytes.Clone(model)
		write(img)
		check(img.WriteZeroes(ctx, 65536, 200000))
		clear(model[65536:265536])
		check(img.Flush(ctx))
		check(img.Resize(ctx, 9<<20, false, nil))
		model = append(model, make([]byte, 1<<20)...)
		write(img)
		// The real rbd takes the lock from us while we have the image open.
		s.rbd(t, "image-meta", "set", pool+"/i", "k", "v")
		write(img)
		s.rbd(t, "snap", "create", "--no-progress", pool+"/i@t") // by us
		atT := bytes.Clone(model)
		write(img)
		check(img.Close(ctx))
		if !bytes.Equal(s.exported(t, pool+"/i"), model) || !bytes.Equal(s.exported(t, pool+"/i@s"), atSnap) || !bytes.Equal(s.exported(t, pool+"/i@t"), atT) {
			t.Fatal("the real rbd reads something else")
		}
		if out := s.rbd(t, "journal", "inspect", "--pool", pool, "--image", "i"); !strings.Contains(out, "0 errors") {
			t.Fatalf("journal inspect:\n%s", out)
		}
		// We die with an event that was recorded and not carried out.
		img, err = Open(ctx, pio, "i", OpenOptions{})
		check(err)
		write(img)
		o := img.journal.Load()
		c := o.newRecording()
		copy(model[4000:], "recorded by a dead owner")
		check(o.record(ctx, c, &jwire.Event{Type: jwire.EventWrite, Offset: 4000, Length: 24, Data: model[4000:4024]}))
		check(o.record(ctx, c, &jwire.Event{Type: jwire.EventSnapCreate, OpTID: 99, Name: "late", Namespace: user().Append(nil)}))
		check(c.last().Wait(ctx))
		crash(t, img)
		s.rbd(t, "image-meta", "set", pool+"/i", "k2", "v")
		if !bytes.Equal(s.exported(t, pool+"/i"), model) || !bytes.Equal(s.exported(t, pool+"/i@late"), model) {
			t.Fatal("the real rbd did not replay what we recorded")
		}
		_ = img.Close(ctx)
		s.rbd(t, "feature", "disable", pool+"/i", "journaling")
		img, err = Open(ctx, pio, "i", OpenOptions{})
		check(err)
		check(img.EnableFeatures(ctx, FeatureJournaling))
		write(img)
		check(img.Close(ctx))
		s.rbd(t, "snap", "rollback", "--no-progress", pool+"/i@s")
		if !bytes.Equal(s.exported(t, pool+"/i"), atSnap) {
			t.Fatal("rollback")
		}
		img, err = Open(ctx, pio, "i", OpenOptions{})
		check(err)
		check(img.DisableFeatures(ctx, FeatureJournaling))
		check(img.Close(ctx))
		if out := s.rbd(t, "info", pool+"/i"); strings.Contains(out, "journal") {
			t.Fatal(out)
		}
	})
}

// TestInteropReplayOfAKilledWriter kills the real rbd while it writes, and replays
// what it left. The image then is what all its entries make of it.
func TestInteropReplayOfAKilledWriter(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		pool, pio := s.pool(t)
		const size = 16 << 20
		s.rbd(t, "create", "--size", "16M", "--image-feature", "exclusive-lock,object-map,fast-diff,layering,journaling", pool+"/i")
		id, err := LookupID(ctx, pio, "i")
		check(err)
		keeper, err := journal.Open(ctx, pio, id, "reader", journal.Options{})
		check(err)
		check(keeper.Register(ctx, nil))
		defer keeper.Close(ctx)
		left := 0
		for round := range 3 {
			bench := s.cmd("rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-size", "4K", "--io-threads", "16", "--io-total", "1G", pool+"/i")
			check(bench.Start())
			time.Sleep(time.Duration(800+rand.IntN(900)) * time.Millisecond)
			check(bench.Process.Kill())
			_ = bench.Wait()
			before, err := journal.ReadState(ctx, pio, id)
			check(err)
			img, err := Open(ctx, pio, "i", OpenOptions{})
			check(err)
			check(img.AcquireLock(ctx))
			check(img.Close(ctx))
			after, err := journal.ReadState(ctx, pio, id)
			check(err)
			if c := after.Client("").Commit; len(c) > 0 && len(before.Client("").Commit) > 0 && c[0] != before.Client("").Commit[0] {
				left++
			}
			model := make([]byte, size)
			j, err := journal.Open(ctx, pio, id, "reader", journal.Options{NoTrim: true})
			check(err)
			p, err := j.NewPlayer(ctx, journal.PlayerOptions{All: true})
			check(err)
			n := 0
			for {
				e, err := p.Next(ctx)
				if errors.Is(err, io.EOF) {
					break
				}
				check(err)
				var ev jwire.Event
				r := denc.NewReader(e.Data)
				ev.Decode(r)
				check(r.Err())
				if ev.Type == jwire.EventWrite {
					copy(model[ev.Offset:], ev.Data)
					n++
				}
			}
			check(p.Close())
			check(j.Close(ctx))
			if !bytes.Equal(s.exported(t, pool+"/i"), model) {
				t.Fatalf("round %d: the image is not what %d entries make of it", round, n)
			}
			t.Logf("round %d: %d writes", round, n)
		}
		if left == 0 {
			t.Fatal("nothing was ever left to be replayed")
		}
	})
}

// TestInteropJournalOfAReplica writes where the real rbd-mirror would be the writer.
func TestInteropJournalOfAReplica(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, pio := s.pool(t)
		s.rbd(t, "mirror", "pool", "enable", pool, "pool")
		s.rbd(t, "create", "--size", "8M", "--image-feature", "exclusive-lock,journaling", pool+"/i")
		s.rbd(t, "mirror", "image", "demote", pool+"/i")
		img, err := Open(ctx, pio, "i", OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := img.WriteAt(ctx, []byte("x"), 0); !errors.Is(err, rados.ErrReadOnly) {
			t.Errorf("wrote to a demoted image: %v", err)
		}
		if err := img.Close(ctx); err != nil {
			t.Error(err)
		}
		s.rbd(t, "mirror", "image", "promote", pool+"/i")
		if img, err = Open(ctx, pio, "i", OpenOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := img.WriteAt(ctx, []byte("x"), 0); err != nil {
			t.Error(err)
		}
		if err := img.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}
