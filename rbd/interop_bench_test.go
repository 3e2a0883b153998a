//go:build interop

package rbd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
)

// TestInteropLatencies prints how long single operations take, and fails when
// one takes so long that it must have waited for a timeout.
func TestInteropLatencies(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		_, io := s.pool(t)
		timed := func(what string, f func() error) {
			t.Helper()
			begin := time.Now()
			if err := f(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			d := time.Since(begin)
			t.Logf("%-18s %v", what, d.Round(10*time.Microsecond))
			if d > 2*time.Second {
				t.Errorf("%s took %v", what, d)
			}
		}
		var img *Image
		var id uint64
		timed("create", func() error { _, err := Create(ctx, io, "img", 256<<20, CreateOptions{}); return err })
		timed("open", func() (err error) { img, err = Open(ctx, io, "img", OpenOptions{}); return err })
		timed("acquire lock", func() error { return img.AcquireLock(ctx) })
		timed("first write", func() error { _, err := img.WriteAt(ctx, make([]byte, 4096), 0); return err })
		timed("second write", func() error { _, err := img.WriteAt(ctx, make([]byte, 4096), 0); return err })
		timed("read", func() error { _, err := img.Read(ctx, 0, 4096); return err })
		timed("create snapshot", func() (err error) {
			id, err = img.CreateSnapshot(ctx, "s", userNamespace(), SnapshotOptions{})
			return err
		})
		timed("write 4 MiB", func() error { _, err := img.WriteAt(ctx, make([]byte, 4<<20), 4<<20); return err })
		timed("delta", func() error { _, err := img.ObjectDelta(ctx, id, NoSnap); return err })
		timed("resize", func() error { return img.Resize(ctx, 512<<20, false, nil) })
		timed("remove snapshot", func() error { return img.RemoveSnapshot(ctx, id) })
		timed("metadata set", func() error { return img.MetadataSet(ctx, "k", []byte("v")) })
		timed("close", func() error { return img.Close(ctx) })
		timed("remove", func() error { return Remove(ctx, io, "img", nil) })
	})
}

// BenchmarkInterop measures the data path against the first cluster.
func BenchmarkInterop(b *testing.B) {
	sitesB(b, func(b *testing.B, s *site) {
		ctx := b.Context()
		_, io := s.pool(b)
		if _, err := Create(ctx, io, "img", 1<<30, CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		img, err := Open(ctx, io, "img", OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		defer img.Close(ctx)
		for _, size := range []int{4 << 10, 64 << 10, 4 << 20} {
			p := make([]byte, size)
			for i := range p {
				p[i] = byte(i) | 1
			}
			slots := uint64((256 << 20) / size)
			var n uint64
			run := func(b *testing.B, f func(off uint64) error) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				err := forEach(ctx, 0, uint64(b.N), 16, nil, func(_ context.Context, i uint64) error { return f((n + i) % slots * uint64(size)) })
				if err != nil {
					b.Fatal(err)
				}
			}
			b.Run(fmt.Sprintf("write-%d", size), func(b *testing.B) {
				run(b, func(off uint64) error { return img.WriteData(ctx, off, msgr2.NewData(p)) })
			})
			b.Run(fmt.Sprintf("read-%d", size), func(b *testing.B) {
				run(b, func(off uint64) error { _, err := img.Read(ctx, off, uint64(size)); return err })
			})
		}
	})
}
