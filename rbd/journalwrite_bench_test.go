package rbd

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
)

// BenchmarkJournaledWrite shows what the journal costs: writes at depth 16 to an image
// without one and with one, on a cluster in memory whose share is in the figures.
func BenchmarkJournaledWrite(b *testing.B) {
	for _, journaled := range []bool{false, true} {
		for _, n := range []int{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("journal=%v/%dK", journaled, n>>10), func(b *testing.B) { benchWrites(b, journaled, n) })
		}
	}
}

func benchWrites(b *testing.B, journaled bool, n int) {
	ctx := context.Background()
	pool := fakePool(b, fakecluster.New(b, fakecluster.Pools("rbd")))
	features := journaledFeatures
	if !journaled {
		features &^= FeatureJournaling
	}
	const size = 64 << 20
	if _, err := Create(ctx, pool, "i", size, CreateOptions{Features: features, HasFeatures: true}); err != nil {
		b.Fatal(err)
	}
	img := openImage(b, pool, "i")
	if err := img.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	if err := img.AcquireLock(ctx); err != nil {
		b.Fatal(err)
	}
	if err := img.Flush(ctx); err != nil { // entries may be collected from here on
		b.Fatal(err)
	}
	var next atomic.Uint64
	b.SetBytes(int64(n))
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, n)
		for pb.Next() {
			off := next.Add(1) * uint64(n) % size
			if _, err := img.WriteAt(ctx, p, off); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
