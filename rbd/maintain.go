package rbd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// maintenance is an operation on the image's metadata that only the holder of
// the exclusive lock may carry out.
type maintenance struct {
	// local carries it out.
	local func(ctx context.Context) error
	// remote makes the message that asks the lock's owner to; nil if there is
	// none, then the lock is requested.
	remote func(r wire.RequestID) []byte
	// done is the error that a repeated request gets when the first one was
	// carried out after all; nil if repeating is harmless.
	done     error
	progress Progress
	// free says that one operation on the header is all of it: as in librbd, it
	// needs no lock if there is no journal to tell of it.
	free bool
}

// needsLock reports whether only the owner of the image's lock may carry m out.
func (img *Image) needsLock(m maintenance) bool {
	h := img.header()
	return h.has(FeatureExclusiveLock) && (!m.free || h.has(FeatureJournaling))
}

// maintain carries out an operation: here if the image has no exclusive lock,
// or it is ours or free; by its owner otherwise.
func (img *Image) maintain(ctx context.Context, m maintenance) error {
	sent := false
	var id wire.RequestID
	for {
		if err := img.writable(); err != nil {
			return err
		}
		if img.replaying(ctx) {
			return img.local(ctx, m)
		}
		if err := img.recoverJournal(ctx); err != nil {
			return err
		}
		if img.stale.Load() != img.fresh.Load() {
			if err := img.refresh(ctx); err != nil {
				return err
			}
		}
		if !img.needsLock(m) {
			return img.local(ctx, m)
		}
		err := img.lock.acquire(ctx, m.remote == nil)
		if err == nil {
			err = img.local(ctx, m)
			if errors.Is(err, errNotOwner) {
				continue
			}
			if sent && m.done != nil && errors.Is(err, m.done) {
				return nil // the former owner did it
			}
			return err
		}
		if m.remote == nil || !errors.Is(err, errLockHeld) {
			return err
		}
		if !sent {
			id = img.requests.next(img)
		}
		err = img.delegate(ctx, id, m)
		switch {
		case err == nil:
			return img.Refresh(ctx)
		case errors.Is(err, errNotOwner):
			// Nobody felt responsible, or the owner gave the lock up: again.
		case sent && m.done != nil && errors.Is(err, m.done):
			return img.Refresh(ctx)
		default:
			return err
		}
		sent = true
		if err := pause(ctx, lockPause); err != nil {
			return err
		}
	}
}

// errNotOwner says that an operation has to be tried again because the lock
// changed hands.
var errNotOwner = errors.New("the exclusive lock changed hands")

// local carries an operation out here, one at a time, keeping the lock.
func (img *Image) local(ctx context.Context, m maintenance) error {
	if err := img.users.Enter(ctx); err != nil {
		return err
	}
	defer img.users.Leave()
	if img.needsLock(m) && !img.replaying(ctx) && (!img.LockOwned() || img.journalSpoiled()) {
		return errNotOwner
	}
	unlock, err := img.oneOp.Lock(ctx, 0)
	if err != nil {
		return err
	}
	defer unlock()
	owner := img.needsLock(m) || img.LockOwned()
	err = m.local(ctx)
	if errors.Is(err, errSpoiled) {
		return errNotOwner
	}
	if errors.Is(err, rados.ErrBusy) && owner && img.header().has(FeatureExclusiveLock) && !img.LockOwned() {
		return fmt.Errorf("%w: %w", ErrLockLost, err)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// requestTable holds the operations that this Image has delegated and waits for.
type requestTable struct {
	mu     sync.Mutex
	last   uint64
	waits  map[wire.RequestID]*delegated
	served map[wire.RequestID]bool // operations of others that run here
}

// delegated is one operation that somebody else carries out for us.
type delegated struct {
	result chan error
	alive  chan struct{} // progress arrived
	tell   Progress
}

func (t *requestTable) init() {
	t.waits = map[wire.RequestID]*delegated{}
	t.served = map[wire.RequestID]bool{}
}

// next makes a new request id.
func (t *requestTable) next(img *Image) wire.RequestID {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	return wire.RequestID{Client: img.watch.client(), ID: t.last}
}

// progressed is told of the progress of a delegated operation.
func (t *requestTable) progressed(id wire.RequestID, done, total uint64) {
	t.mu.Lock()
	d := t.waits[id]
	t.mu.Unlock()
	if d == nil {
		return
	}
	select {
	case d.alive <- struct{}{}:
	default:
	}
	if d.tell != nil {
		d.tell(done, total)
	}
}

// completed is told of the end of a delegated operation.
func (t *requestTable) completed(id wire.RequestID, err error) {
	t.mu.Lock()
	d := t.waits[id]
	delete(t.waits, id)
	t.mu.Unlock()
	if d != nil {
		d.result <- err
	}
}

// begin reports whether an operation of somebody else is new here.
func (t *requestTable) begin(id wire.RequestID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.served[id] {
		return false
	}
	t.served[id] = true
	return true
}

func (t *requestTable) end(id wire.RequestID) {
	t.mu.Lock()
	delete(t.served, id)
	t.mu.Unlock()
}

// delegate asks the lock's owner to carry an operation out and waits for the
// end. errNotOwner means that nobody took it.
func (img *Image) delegate(ctx context.Context, id wire.RequestID, m maintenance) error {
	d := &delegated{result: make(chan error, 1), alive: make(chan struct{}, 1), tell: m.progress}
	img.requests.mu.Lock()
	img.requests.waits[id] = d
	img.requests.mu.Unlock()
	defer func() {
		img.requests.mu.Lock()
		delete(img.requests.waits, id)
		img.requests.mu.Unlock()
	}()
	limit := time.Duration(max(1, img.settings.uint("rbd_request_timed_out_seconds"))) * time.Second
	answered, err := img.watch.ask(ctx, m.remote(id), limit)
	if err != nil {
		if errors.Is(err, rados.ErrRestart) || errors.Is(err, rados.ErrTimedOut) {
			return errNotOwner
		}
		return err
	}
	if !answered {
		return errNotOwner
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		select {
		case err := <-d.result:
			if errors.Is(err, rados.ErrRestart) {
				return errNotOwner
			}
			return err
		case <-d.alive:
			t.Reset(limit)
		case <-t.C:
			return errNotOwner
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
