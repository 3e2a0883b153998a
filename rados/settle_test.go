package rados

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2"
)

func TestSettleWaitsForWritesThatWereGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		settle := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return b.c.Settle(ctx)
		}
		if err := settle(); err != nil {
			t.Errorf("nothing was sent: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		b.goCtx(ctx, b.io(), "o", func(op *Op) { op.WriteFull(msgr2.NewData([]byte("x"))) })
		b.goCtx(ctx, b.io(), "o", func(op *Op) { op.Read(0, 1) })
		if err := settle(); err != nil {
			t.Errorf("somebody waits for the write: %v", err)
		}
		sent := b.take(0)
		cancel()
		synctest.Wait()
		if err := settle(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the write may still be applied: %v", err)
		}
		sent[0].reply(0)
		synctest.Wait()
		if err := settle(); err != nil {
			t.Errorf("the write was answered: %v", err)
		}
	})
}

func TestSettleEndsWithTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(context.Background())
		b.goCtx(ctx, b.io(), "o", func(op *Op) { op.WriteFull(msgr2.NewData([]byte("x"))) })
		b.one(0)
		cancel()
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- b.c.Settle(context.Background()) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("settled while the write was on its way: %v", err)
		default:
		}
		b.cut(0)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
