package rbd

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
	rwire "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd/wire"
)

// unlocks reports whether a request gives a lock back.
func unlocks(e *fakecluster.Event) bool {
	return e.Op != nil && !e.Out && slices.ContainsFunc(e.Op.Ops, func(op rwire.Op) bool {
		class, method, _, ok := op.CallParts()
		return op.Code == rwire.OpCall && ok && class == "lock" && method == "unlock"
	})
}

// TestLockThatThisClientLeftBehind: an Image that could not give its lock back does
// not keep the next one of the same client from it for ever.
func TestLockThatThisClientLeftBehind(t *testing.T) {
	ctx := t.Context()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	pool := fakePool(t, c)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := Create(ctx, pool, "i", 1<<20, CreateOptions{Order: 16})
	check(err)
	img, err := Open(ctx, pool, "i", OpenOptions{})
	check(err)
	check(img.AcquireLock(ctx))
	remove := c.Inject(fakecluster.Fault{Object: img.HeaderOID(), Match: unlocks, Errno: rados.ErrTimedOut})
	_ = img.Close(ctx)
	remove()

	img, err = Open(ctx, pool, "i", OpenOptions{})
	check(err)
	owner, err := img.LockOwner(ctx)
	check(err)
	if owner == nil || owner.Alive || !owner.Addr.SameInstance(pool.Client().Addr()) {
		t.Fatalf("not a lock that was left behind: %+v", owner)
	}
	_, err = img.WriteAt(ctx, []byte("x"), 0)
	check(err)
	check(img.Close(ctx))
	if err := pool.Client().LatestOSDMap(ctx); err != nil {
		t.Fatal(err) // it was not shut out
	}
	other, err := Open(context.WithoutCancel(ctx), fakePool(t, c), "i", OpenOptions{})
	check(err)
	check(other.AcquireLock(ctx))
	check(other.Close(ctx))
}

// openTwice makes image i and opens it by two clients.
func openTwice(t *testing.T) (a, b *Image) {
	t.Helper()
	ctx := t.Context()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	_, err := Create(ctx, fakePool(t, c), "i", 1<<20, CreateOptions{Order: 16})
	require.NoError(t, err)
	open := func() *Image {
		img, err := Open(ctx, fakePool(t, c), "i", OpenOptions{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = img.Close(context.WithoutCancel(ctx)) })
		return img
	}
	return open(), open()
}

// TestOwnerRefusesWhatItDoesNotKnow: without an answer librbd asks the owner of the lock
// again for ever.
func TestOwnerRefusesWhatItDoesNotKnow(t *testing.T) {
	ctx := t.Context()
	owner, other := openTwice(t)
	migrate := wire.NotifyMessage{Op: wire.NotifyMigrate, Request: wire.RequestID{Client: other.watch.client(), ID: 1}}.Append(nil)
	newer := wire.NotifyMessage{Op: wire.NotifyHeaderUpdate}.Append(nil)
	newer[6] = 99 // an operation that is to come
	for _, payload := range [][]byte{migrate, newer} {
		answered, err := other.watch.ask(ctx, payload, notifyTimeout)
		require.NoError(t, err)
		require.False(t, answered, "nobody has the lock")
	}
	require.NoError(t, owner.AcquireLock(ctx))
	for _, payload := range [][]byte{migrate, newer} {
		_, err := other.watch.ask(ctx, payload, notifyTimeout)
		require.ErrorIs(t, err, rados.ErrNotSupported)
	}
}
