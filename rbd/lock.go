package rbd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
)

// The exclusive lock as librbd takes it (librbd/ManagedLock.cc).
const (
	lockName         = "rbd_lock"
	lockCookiePrefix = "auto "
	lockTag          = "internal"
	// lockRetry is after how long an answered request for the lock is repeated.
	lockRetry = 5 * time.Second
	// lockYield is how long whoever gave the lock away leaves it to who asked for it.
	lockYield = 250 * time.Millisecond
	// lockPause is the wait before the next try when nobody answered.
	lockPause = 200 * time.Millisecond
	// strayPause is how long a lock of this very client is left to whoever may still
	// have it.
	strayPause = time.Second
)

// errLockHeld says that a living client holds the lock and was not asked for it.
var errLockHeld = fmt.Errorf("the exclusive lock is held by another client: %w", rados.ErrBusy)

// LockOwner is who holds an image's exclusive lock.
type LockOwner struct {
	// Name is the client that holds it, Cookie the lock's cookie there.
	Name   entity.Name
	Cookie string
	Addr   entity.Addr
	// Alive says that the owner watches the header: it has not died.
	Alive bool
	// Managed says that the lock is one of librbd's kind, not one that a tool
	// took by hand with `rbd lock add`.
	Managed bool
}

// exclusiveLock is this Image's part in the exclusive lock.
type exclusiveLock struct {
	img *Image
	// turn is held by whoever acquires or releases.
	turn  chan struct{}
	owned atomic.Bool
	// opening says that the lock is ours, but not yet what belongs to it.
	opening atomic.Bool

	mu     sync.Mutex
	cookie string
	// news is closed when another client said that it released the lock.
	news chan struct{}
	// given is set when the lock was given away on request, and closed when another
	// client said that it took it.
	given chan struct{}
}

func (l *exclusiveLock) init(img *Image) {
	l.img = img
	l.turn = make(chan struct{}, 1)
	l.news = make(chan struct{})
}

// takeTurn waits until no other acquisition or release is under way.
func (l *exclusiveLock) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *exclusiveLock) endTurn() { <-l.turn }

// AcquireLock takes the exclusive lock, asking its owner for it if need be and
// removing a dead owner by blocklisting it. Images without the feature need none.
func (img *Image) AcquireLock(ctx context.Context) error {
	if err := img.writable(); err != nil {
		return err
	}
	return img.ensureLock(ctx)
}

// ReleaseLock gives the exclusive lock back if it is ours. The next write takes
// it again.
func (img *Image) ReleaseLock(ctx context.Context) error { return img.lock.release(ctx) }

// LockOwned reports whether this Image holds the exclusive lock.
func (img *Image) LockOwned() bool { return img.lock.owned.Load() }

// ensureLock makes sure that the lock is ours, if the image has one.
func (img *Image) ensureLock(ctx context.Context) error {
	if img.replaying(ctx) {
		return nil
	}
	if img.stale.Load() != img.fresh.Load() {
		if err := img.refresh(ctx); err != nil {
			return err
		}
	}
	if img.lock.owned.Load() || !img.header().has(FeatureExclusiveLock) {
		return nil
	}
	return img.lock.acquire(ctx, true)
}

// acquire takes the lock. Without request it fails with errLockHeld when a
// living client has it.
func (l *exclusiveLock) acquire(ctx context.Context, request bool) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.endTurn()
	if err := l.giveWay(ctx); err != nil {
		return err
	}
	for {
		if l.owned.Load() {
			return nil
		}
		if err := l.img.alive(); err != nil {
			return err
		}
		l.mu.Lock()
		news := l.news
		l.mu.Unlock()
		err := l.try(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, rados.ErrBusy) {
			return fmt.Errorf("exclusive lock of image %s: %w", l.img.Name(), err)
		}
		owner, err := l.img.LockOwner(ctx)
		switch {
		case err != nil:
			return err
		case owner == nil:
			continue
		case !owner.Managed:
			return fmt.Errorf("image %s is locked by hand by %v (%s): %w", l.img.Name(), owner.Name, owner.Addr, rados.ErrReadOnly)
		case !owner.Alive:
			dead := l.img.BreakLock
			if owner.Addr.SameInstance(l.img.io.Client().Addr()) {
				dead = l.takeStray
			}
			if err := dead(ctx, *owner); err != nil {
				return err
			}
			continue
		case !request:
			return errLockHeld
		}
		if err := l.ask(ctx, news); err != nil {
			return err
		}
	}
}

// takeStray breaks the lock that an Image of this very client did not give back when
// it was closed, because the cluster did not answer in time. Nobody is shut out: what
// that Image sent goes to each object before what this one will send.
func (l *exclusiveLock) takeStray(ctx context.Context, o LockOwner) error {
	// One that has lost its watch and is about to make a new one has time for it.
	if err := pause(ctx, strayPause); err != nil {
		return err
	}
	img := l.img
	still, err := img.LockOwner(ctx)
	if err != nil || still == nil || still.Alive || still.Cookie != o.Cookie || !still.Addr.SameInstance(o.Addr) {
		return err
	}
	if err := img.io.Client().Settle(ctx); err != nil {
		return fmt.Errorf("exclusive lock of image %s, which this client left behind: %w", img.Name(), err)
	}
	op := rados.NewOp()
	callBreakLock(op, o.Name, o.Cookie)
	if err := ignoreNotFound(img.io.Operate(ctx, img.oid, op)); err != nil {
		return fmt.Errorf("break the lock of image %s, which this client left behind: %w", img.Name(), err)
	}
	img.log.Warn("broke an exclusive lock that this client had left behind", "cookie", o.Cookie)
	return nil
}

// giveWay waits for the client that the lock was given to on its request to take it.
// Who goes on writing would be faster than the other every time.
func (l *exclusiveLock) giveWay(ctx context.Context) error {
	l.mu.Lock()
	given := l.given
	l.mu.Unlock()
	if given == nil || l.owned.Load() {
		return nil
	}
	t := time.NewTimer(lockYield)
	defer t.Stop()
	select {
	case <-given:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.given == given {
		l.given = nil
	}
	return nil
}

// requested is told that the lock will be given away on request.
func (l *exclusiveLock) requested() {
	l.mu.Lock()
	l.given = make(chan struct{})
	l.mu.Unlock()
}

// heardAcquire is told that another client took the lock.
func (l *exclusiveLock) heardAcquire() {
	l.mu.Lock()
	if l.given != nil {
		close(l.given)
		l.given = nil
	}
	l.mu.Unlock()
}

// ask sends a request for the lock and waits until it is worth another try. An
// owner that refuses for good says so by ErrReadOnly; one that says ErrBusy has to
// finish something first, as while a snapshot is made of the image's group.
func (l *exclusiveLock) ask(ctx context.Context, news <-chan struct{}) error {
	answered, err := l.img.watch.requestLock(ctx)
	if err != nil && !(answered && errors.Is(err, rados.ErrBusy)) {
		return fmt.Errorf("exclusive lock of image %s: the owner keeps it: %w", l.img.Name(), err)
	}
	wait := lockPause
	if answered {
		wait = lockRetry
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-news:
		return nil
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.img.ctx.Done():
		return context.Cause(l.img.ctx)
	}
}

// try makes one attempt to take the lock and what belongs to it.
func (l *exclusiveLock) try(ctx context.Context) error {
	img := l.img
	cookie := lockCookiePrefix + strconv.FormatUint(img.watch.cookie(), 10)
	op := rados.NewOp()
	callLock(op, cookie, lockTag)
	err := img.io.Operate(ctx, img.oid, op)
	if err != nil && !errors.Is(err, rados.ErrExists) {
		if rados.MaybeApplied(err) {
			l.giveBack(ctx, cookie)
		}
		return err
	}
	l.mu.Lock()
	l.cookie = cookie
	l.mu.Unlock()
	// What the last owner did may not have reached us as a notification.
	img.stale.Add(1)
	if err = img.refresh(ctx); err == nil {
		err = img.writable()
	}
	if err == nil {
		err = img.openHeadMap(ctx)
	}
	if err == nil {
		l.opening.Store(true)
		err = img.openJournal(ctx, true)
		l.opening.Store(false)
	}
	if err != nil {
		l.giveBack(ctx, cookie)
		return err
	}
	l.owned.Store(true)
	img.watch.announce(img.watch.acquired())
	return nil
}

// giveBack ends an acquisition that failed, or was given up: the lock may be ours
// all the same, and what was done under it may yet be applied.
func (l *exclusiveLock) giveBack(ctx context.Context, cookie string) {
	img := l.img
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := img.io.Client().Settle(ctx)
	if err == nil {
		img.closeHeadMap(ctx)
		op := rados.NewOp()
		callUnlock(op, cookie)
		err = ignoreNotFound(img.io.Operate(ctx, img.oid, op))
	}
	if err != nil {
		img.log.Warn("the exclusive lock could not be given back", "error", err)
	}
}

// release gives the lock back: no more writes, those under way finished, the
// object map closed, then the lock itself, then everybody told.
func (l *exclusiveLock) release(ctx context.Context) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.endTurn()
	if !l.owned.Load() {
		return nil
	}
	img := l.img
	if err := img.users.Block(ctx); err != nil {
		return err
	}
	defer img.users.Unblock()
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	// A write that its caller gave up must not come after those of the next owner.
	if err := img.io.Client().Settle(ctx); err != nil {
		return fmt.Errorf("release exclusive lock of image %s: %w", img.Name(), err)
	}
	l.mu.Lock()
	cookie := l.cookie
	l.mu.Unlock()
	if err := img.closeJournal(ctx); err != nil {
		// The next owner replays what has not been committed.
		img.log.Warn("the journal was not closed cleanly", "error", err)
	}
	img.closeHeadMap(ctx)
	op := rados.NewOp()
	callUnlock(op, cookie)
	err := img.io.Operate(ctx, img.oid, op)
	if err != nil && !errors.Is(err, rados.ErrNotFound) {
		// Still ours, but the object map is closed: take it up again.
		oerr := img.openHeadMap(ctx)
		if oerr == nil {
			oerr = img.openJournal(ctx, false)
		}
		if oerr != nil {
			l.owned.Store(false)
		}
		return fmt.Errorf("release exclusive lock of image %s: %w", img.Name(), err)
	}
	l.owned.Store(false)
	img.watch.announce(img.watch.released())
	return nil
}

// close releases the lock at the Image's end.
func (l *exclusiveLock) close(ctx context.Context) error { return l.release(ctx) }

// lost forgets the lock without giving it back: it was broken, or the feature
// went away.
func (l *exclusiveLock) lost() {
	if l.owned.Swap(false) {
		l.img.omap.Store(nil)
		l.img.background(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			if err := l.img.closeJournal(ctx); err != nil {
				l.img.log.Debug("journal of a lost lock", "error", err)
			}
		})
	}
}

// heardRelease is told that some owner released the lock.
func (l *exclusiveLock) heardRelease() {
	l.mu.Lock()
	close(l.news)
	l.news = make(chan struct{})
	l.mu.Unlock()
}

// rewatched moves the lock to the cookie of a new watch; others would think the
// owner dead otherwise. When somebody has broken it, it is lost.
func (l *exclusiveLock) rewatched(ctx context.Context, watchCookie uint64) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.endTurn()
	if !l.owned.Load() {
		return nil
	}
	l.mu.Lock()
	old := l.cookie
	l.mu.Unlock()
	cookie := lockCookiePrefix + strconv.FormatUint(watchCookie, 10)
	op := rados.NewOp()
	callSetCookie(op, old, lockTag, cookie)
	if err := l.img.io.Operate(ctx, l.img.oid, op); err != nil {
		l.lost()
		return fmt.Errorf("exclusive lock of image %s after a new watch: %w", l.img.Name(), err)
	}
	l.mu.Lock()
	l.cookie = cookie
	l.mu.Unlock()
	return nil
}

// LockOwner returns who holds the exclusive lock, nil when nobody does.
func (img *Image) LockOwner(ctx context.Context) (*LockOwner, error) {
	op := rados.NewOp()
	info := callLockInfo(op)
	ws := op.ListWatchers()
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return nil, fmt.Errorf("exclusive lock of image %s: %w", img.Name(), err)
	}
	owner, err := decodeLockInfo(info)
	if err != nil || owner == nil {
		return nil, err
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(owner.Cookie, lockCookiePrefix), 10, 64)
	if err != nil || !strings.HasPrefix(owner.Cookie, lockCookiePrefix) {
		owner.Managed = false
	}
	for _, w := range ws.Watchers {
		if w.Cookie == n && w.Addr.SameInstance(owner.Addr) {
			owner.Alive = true
		}
	}
	return owner, nil
}

// BreakLock takes the lock away from an owner that LockOwner returned: the owner
// is blocklisted first (unless rbd_blocklist_on_break_lock is off), so that it
// cannot write any more even if it still lives. What this very client holds is
// ErrInvalid.
func (img *Image) BreakLock(ctx context.Context, o LockOwner) error {
	c := img.io.Client()
	if o.Addr.SameInstance(c.Addr()) {
		return fmt.Errorf("the lock of image %s is held by this very client, which does not watch the image: %w", img.Name(), rados.ErrInvalid)
	}
	if img.settings.bool("rbd_blocklist_on_break_lock") {
		expire := time.Duration(img.settings.uint("rbd_blocklist_expire_seconds")) * time.Second
		if err := c.Blocklist(ctx, o.Addr.WithType(entity.AddrAny), expire); err != nil {
			return fmt.Errorf("blocklist %v (%s), which holds the lock of image %s: %w", o.Name, o.Addr, img.Name(), err)
		}
		if err := c.LatestOSDMap(ctx); err != nil {
			return err
		}
	}
	op := rados.NewOp()
	callBreakLock(op, o.Name, o.Cookie)
	if err := ignoreNotFound(img.io.Operate(ctx, img.oid, op)); err != nil {
		return fmt.Errorf("break the lock of image %s held by %v (%s): %w", img.Name(), o.Name, o.Addr, err)
	}
	img.log.Info("broke the exclusive lock of a dead client", "client", o.Name.String(), "address", o.Addr.String())
	return nil
}
