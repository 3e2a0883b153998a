package rados

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/osdmap"
)

func TestCancelledWritesMayHaveBeenApplied(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(context.Background())
		write := func(op *Op) { op.WriteFull(msgr2.NewData([]byte("x"))) }
		sent := b.goCtx(ctx, b.io(), "o", write)
		read := b.goCtx(ctx, b.io(), "o", func(op *Op) { op.Read(0, 1) })
		s := b.take(0)
		b.setMap(mapSpec{epoch: 2, flags: osdmap.FlagPauseWrite, acting: everywhere(0, 1)})
		unsent := b.goCtx(ctx, b.io(), "o", write)
		unsent.wantPending()
		cancel()
		synctest.Wait()
		if !errors.Is(sent.err, context.Canceled) || !MaybeApplied(sent.err) {
			t.Errorf("sent: %v", sent.err)
		}
		if !errors.Is(unsent.err, context.Canceled) || MaybeApplied(unsent.err) {
			t.Errorf("unsent: %v", unsent.err)
		}
		if !errors.Is(read.err, context.Canceled) || MaybeApplied(read.err) {
			t.Errorf("read: %v", read.err)
		}
		s[0].reply(0) // too late, and harmless
		b.setMap(mapSpec{epoch: 3})
		b.none(0)
		p := b.goCtx(ctx, b.io(), "o", write)
		if synctest.Wait(); !errors.Is(p.err, context.Canceled) {
			t.Errorf("%v", p.err)
		}
		b.none(0)
	})
}

func TestDeadlinesEndWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start := time.Now()
		err := b.io().WriteFull(ctx, "o", []byte("x"))
		if !errors.Is(err, context.DeadlineExceeded) || !MaybeApplied(err) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestBlocklistedIsFinal(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		b.one(0).reply(-108)
		p.wantDone(ErrBlocklisted)
		select {
		case <-b.c.Blocklisted():
		default:
			t.Error("was not told")
		}
		b.read("o").wantDone(ErrBlocklisted)
		b.none(0)
	})
}

func TestBlocklistedByTheMap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		us := entity.Addr{Nonce: 5, IP: netip.MustParseAddrPort("10.0.0.9:0")}
		b.o.barred = func(m *osdmap.Map) bool { return m.IsBlocklisted(us) }
		b.setMap(mapSpec{epoch: 2})
		if b.o.isBlocklisted() {
			t.Error("too early")
		}
		b.setMap(mapSpec{epoch: 3, barred: []entity.Addr{us.WithType(entity.AddrAny)}})
		if !b.o.isBlocklisted() {
			t.Error("was not noticed")
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1<<30, 2)
		b.setMap(mapSpec{epoch: 1, acting: map[uint32][]int32{1: {}}})
		var ps []*pending
		for i := range 30 {
			ps = append(ps, b.write(fmt.Sprintf("o%d", i)))
		}
		synctest.Wait()
		b.o.close()
		maybe := 0
		for _, p := range ps {
			if synctest.Wait(); !errors.Is(p.err, ErrClosed) {
				t.Fatalf("%v", p.err)
			}
			if MaybeApplied(p.err) {
				maybe++
			}
		}
		if maybe == 0 || maybe > 2 {
			t.Errorf("%d of 2 that were sent may have been applied", maybe)
		}
		if err := b.io().WriteFull(context.Background(), "o", nil); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestTheThrottleKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10, 3)
		b.setMap(mapSpec{epoch: 1})
		ctx, cancel := context.WithCancel(context.Background())
		size := func(n int) func(*Op) { return func(op *Op) { op.Write(0, msgr2.NewData(make([]byte, n))) } }
		for _, o := range []struct {
			name string
			n    int
			ctx  context.Context
		}{{"a", 4, context.Background()}, {"b", 5, context.Background()}, {"c", 4, context.Background()},
			{"gone", 1, ctx}, {"d", 1, context.Background()}, {"big", 100, context.Background()}, {"e", 1, context.Background()}} {
			b.goCtx(o.ctx, b.io(), o.name, size(o.n))
		}
		names := func() string {
			out := ""
			for _, s := range b.take(0) {
				out += s.Object + " "
				defer s.reply(0)
			}
			return out
		}
		synctest.Wait()
		cancel()
		for _, want := range []string{"a b ", "c d ", "big ", "e ", ""} {
			if got := names(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if bytes, ops, waiting := b.o.throttle.load(); bytes != 0 || ops != 0 || waiting != 0 {
			t.Errorf("%d bytes, %d operations, %d waiting", bytes, ops, waiting)
		}
	})
}
