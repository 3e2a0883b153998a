package rbd_test

import (
	"context"
	"math/rand/v2"
	"testing"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"

	"github.com/stretchr/testify/require"
)

// BenchmarkEventReplay applies queued random writes of 4 and 64 KiB, and writes of 4 KiB
// one behind the other, to an image of 1 GiB.
func BenchmarkEventReplay(b *testing.B) {
	const size = 1 << 30
	random := func(n uint64) func(i int) uint64 {
		rnd := rand.New(rand.NewPCG(1, 2))
		return func(int) uint64 { return rnd.Uint64N(size/n) * n }
	}
	for _, c := range []struct {
		name string
		n    uint64
		at   func(i int) uint64
	}{
		{"random4K", 4 << 10, random(4 << 10)},
		{"random64K", 64 << 10, random(64 << 10)},
		{"sequential4K", 4 << 10, func(i int) uint64 { return uint64(i) * 4096 % size }},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := newReplayTarget(b, func(ctx context.Context, io *rados.IoCtx) string {
				id, err := rbd.Create(ctx, io, "i", size, rbd.CreateOptions{})
				require.NoError(b, err)
				return id
			})
			x.start(nil)
			data := make([]byte, c.n)
			b.SetBytes(int64(c.n))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				x.apply(jwire.Event{Type: jwire.EventWrite, Offset: c.at(i), Length: c.n, Data: data})
			}
			require.NoError(b, x.events.Wait(x.ctx))
			b.StopTimer()
			x.close()
		})
	}
}
