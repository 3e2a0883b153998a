package rbd_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
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
			x := newFakeReplayTarget(b, func(ctx context.Context, io *rados.IoCtx) string {
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

// BenchmarkJournalReplay reads queued random writes of 4 KiB from a journal, applies and
// commits them, as a mirroring daemon does.
func BenchmarkJournalReplay(b *testing.B) {
	const size, n = 1 << 30, 4096
	x := newFakeReplayTarget(b, func(ctx context.Context, io *rados.IoCtx) string {
		id, err := rbd.Create(ctx, io, "i", size, rbd.CreateOptions{})
		require.NoError(b, err)
		return id
	})
	x.start(nil)
	io := x.img.IoCtx()
	require.NoError(b, journal.Create(x.ctx, io, "bench", journal.Layout{Order: 24, SplayWidth: 4, Pool: -1}))
	o := journal.DefaultOptions()
	o.NoTrim = true
	writer, err := journal.Open(x.ctx, io, "bench", "", o)
	require.NoError(b, err)
	require.NoError(b, writer.Register(x.ctx, nil))
	tag, err := writer.AllocateTag(x.ctx, jwire.NewTagClass, nil)
	require.NoError(b, err)
	reader, err := journal.Open(x.ctx, io, "bench", "peer", o)
	require.NoError(b, err)
	require.NoError(b, reader.Register(x.ctx, nil))
	rec, err := writer.NewRecorder(x.ctx)
	require.NoError(b, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for range b.N {
		ev := jwire.Event{Type: jwire.EventWrite, Offset: rnd.Uint64N(size/n) * n, Length: n, Data: data}
		_, err := rec.Append(x.ctx, tag.TID, ev.Append(nil))
		require.NoError(b, err)
	}
	require.NoError(b, rec.Close(x.ctx))
	x.events.CommitWith(reader.FlushCommitPosition)
	player, err := reader.NewPlayer(x.ctx, journal.PlayerOptions{})
	require.NoError(b, err)
	b.SetBytes(n)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		e, err := player.Next(x.ctx)
		require.NoError(b, err)
		var ev jwire.Event
		r := denc.NewReader(e.Data)
		ev.Decode(r)
		require.NoError(b, r.Err())
		require.NoError(b, x.events.Apply(x.running, ev, func(err error) {
			if err == nil {
				e.Committed()
			}
		}))
	}
	require.NoError(b, x.events.Wait(x.ctx))
	b.StopTimer()
	require.NoError(b, player.Close())
	require.NoError(b, reader.Close(x.ctx))
	require.NoError(b, writer.Close(x.ctx))
	x.close()
}
