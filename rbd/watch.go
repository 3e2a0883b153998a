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

// notifyTimeout is how long a notification waits for the other watchers'
// answers; librbd's default is as long.
const notifyTimeout = 30 * time.Second

// headerWatch is the Image's watch on its header, through which openers of one
// image talk to each other.
type headerWatch struct {
	img *Image

	mu     sync.Mutex
	w      *rados.Watch
	ended  bool
	events chan *rados.Notification
	redo   chan error
	stop   chan struct{}
	wg     sync.WaitGroup
}

// newHeaderWatch registers the watch and starts what serves it.
func newHeaderWatch(ctx context.Context, img *Image) (*headerWatch, error) {
	hw := &headerWatch{img: img, events: make(chan *rados.Notification, 256), redo: make(chan error, 1), stop: make(chan struct{})}
	if err := hw.register(ctx); err != nil {
		return nil, fmt.Errorf("watch the header: %w", err)
	}
	hw.wg.Go(hw.serve)
	return hw, nil
}

func (hw *headerWatch) register(ctx context.Context) error {
	w, err := hw.img.io.Watch(ctx, hw.img.oid, hw.heard, rados.OnError(hw.lost))
	if err != nil {
		return err
	}
	hw.mu.Lock()
	hw.w = w
	hw.mu.Unlock()
	return nil
}

// cookie returns the current watch's cookie, 0 without one.
func (hw *headerWatch) cookie() uint64 {
	hw.mu.Lock()
	defer hw.mu.Unlock()
	if hw.w == nil {
		return 0
	}
	return hw.w.Cookie()
}

// heard takes a notification from the client's goroutine. Staleness is noted
// here, before the answer: the notifier may rely on it.
func (hw *headerWatch) heard(n *rados.Notification) {
	if isHeaderUpdate(n.Payload) {
		hw.img.stale.Add(1)
	}
	select {
	case hw.events <- n:
	default:
		// Nobody waits for us longer than for the notification's timeout.
		n.Ack(nil)
	}
}

// lost is told that the watch broke.
func (hw *headerWatch) lost(err error) {
	select {
	case hw.redo <- err:
	default:
	}
}

// serve handles notifications in order and renews the watch.
func (hw *headerWatch) serve() {
	for {
		select {
		case n := <-hw.events:
			hw.handle(n)
		case err := <-hw.redo:
			hw.img.log.Warn("the watch on the header was lost", "error", err)
			hw.renew()
		case <-hw.stop:
			return
		}
	}
}

// renew registers a new watch, until it works or the Image is closed.
func (hw *headerWatch) renew() {
	ctx, cancel := context.WithCancel(hw.img.ctx)
	defer cancel()
	go func() {
		select {
		case <-hw.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	hw.mu.Lock()
	old := hw.w
	hw.mu.Unlock()
	if old != nil {
		old.Close(ctx)
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := hw.register(ctx)
		if err == nil {
			break
		}
		if errors.Is(err, rados.ErrBlocklisted) {
			hw.img.lock.lost()
		}
		hw.img.log.Warn("the header cannot be watched", "error", err)
		if pause(ctx, wait) != nil {
			return
		}
	}
	if err := hw.img.lock.rewatched(ctx, hw.cookie()); err != nil {
		hw.img.log.Warn("the exclusive lock was lost", "error", err)
	}
	hw.img.stale.Add(1)
	hw.refreshLater()
}

// close ends the watch.
func (hw *headerWatch) close(ctx context.Context) error {
	hw.mu.Lock()
	if hw.ended {
		hw.mu.Unlock()
		return nil
	}
	hw.ended = true
	w := hw.w
	hw.mu.Unlock()
	close(hw.stop)
	hw.wg.Wait()
	if w == nil {
		return nil
	}
	if err := ignoreNotFound(w.Close(ctx)); err != nil {
		return fmt.Errorf("end the watch on image %s: %w", hw.img.id, err)
	}
	return nil
}

// background runs f while the Image lives; Close waits for it.
func (img *Image) background(f func(ctx context.Context)) {
	img.wg.run(func() { f(img.ctx) })
}

// refreshLater brings the header up to date in the background.
func (hw *headerWatch) refreshLater() {
	hw.img.background(func(ctx context.Context) {
		if err := hw.img.refresh(ctx); err != nil {
			if ctx.Err() == nil {
				hw.img.log.Warn("refresh failed", "error", err)
			}
			return
		}
		if hw.img.opts.OnUpdate != nil {
			hw.img.opts.OnUpdate()
		}
	})
}

// ours reports whether a request comes from this very Image.
func (hw *headerWatch) ours(id wire.ClientID) bool {
	return id.GID == hw.img.io.Client().GlobalID() && id.Handle == hw.cookie()
}

// handle answers one notification.
func (hw *headerWatch) handle(n *rados.Notification) {
	m, err := decodeMessage(n.Payload)
	if err != nil {
		hw.img.log.Debug("notification not understood", "error", err)
		hw.refuse(n)
		return
	}
	img := hw.img
	switch m.Op {
	case wire.NotifyHeaderUpdate:
		n.Ack(nil)
		hw.refreshLater()
	case wire.NotifyAcquiredLock:
		n.Ack(nil)
		if !hw.ours(m.Client) {
			img.lock.heardAcquire()
		}
	case wire.NotifyReleasedLock:
		n.Ack(nil)
		if !hw.ours(m.Client) {
			img.lock.heardRelease()
		}
	case wire.NotifyRequestLock:
		hw.handleRequest(n, m)
	case wire.NotifyAsyncProgress:
		n.Ack(nil)
		img.requests.progressed(m.Request, m.Offset, m.Total)
	case wire.NotifyAsyncComplete:
		n.Ack(nil)
		img.requests.completed(m.Request, resultError(m.Result))
	case wire.NotifyQuiesce, wire.NotifyUnquiesce:
		// There is no file system above us that would have to be frozen.
		n.Ack(responseMessage(nil))
	default:
		hw.handleOperation(n, m)
	}
}

// refuse answers what nothing is known of, such as a newer client's request: whoever
// has the lock says that it will not be done, as without an answer the client asks for
// ever. An empty answer says "not for me".
func (hw *headerWatch) refuse(n *rados.Notification) {
	if !hw.img.LockOwned() {
		n.Ack(nil)
		return
	}
	n.Ack(responseMessage(rados.ErrNotSupported))
}

// handleRequest answers somebody who wants the lock.
func (hw *headerWatch) handleRequest(n *rados.Notification, m wire.NotifyMessage) {
	img := hw.img
	if hw.ours(m.Client) || !img.LockOwned() {
		n.Ack(nil)
		return
	}
	if img.opts.LockRequest != nil {
		if err := img.opts.LockRequest(m.Force); err != nil {
			n.Ack(responseMessage(err))
			return
		}
	}
	n.Ack(responseMessage(nil))
	img.lock.requested()
	img.background(func(ctx context.Context) {
		if err := img.lock.release(ctx); err != nil && ctx.Err() == nil {
			img.log.Warn("the exclusive lock could not be given away", "error", err)
		}
	})
}

// handleOperation carries out what somebody without the lock asks for.
func (hw *headerWatch) handleOperation(n *rados.Notification, m wire.NotifyMessage) {
	img := hw.img
	run := img.operationOf(m)
	switch {
	case run == nil:
		hw.refuse(n)
		return
	case !img.LockOwned(), hw.ours(m.Request.Client):
		n.Ack(nil)
		return
	}
	// A forced promotion announces itself to the replayer by a mirror snapshot.
	promotes := m.Op == wire.NotifySnapCreate && m.Namespace.Type == wire.SnapMirror
	// The last clone of a snapshot in the trash takes it along.
	tidies := m.Op == wire.NotifySnapRemove && m.Namespace.Type == wire.SnapTrash
	if img.opts.LockRequest != nil && !promotes && !tidies {
		// Who keeps the lock from others also keeps them from changing the image.
		if err := img.opts.LockRequest(false); err != nil {
			n.Ack(responseMessage(err))
			return
		}
	}
	n.Ack(responseMessage(nil))
	if !img.requests.begin(m.Request) {
		return
	}
	img.background(func(ctx context.Context) {
		defer img.requests.end(m.Request)
		var last time.Time
		err := img.local(ctx, maintenance{local: func(ctx context.Context) error {
			return run(ctx, func(done, total uint64) {
				if time.Since(last) < time.Second {
					return
				}
				last = time.Now()
				hw.announce(progressMessage(m.Request, done, total))
			})
		}})
		if errors.Is(err, errNotOwner) || ctx.Err() != nil {
			err = rados.ErrRestart
		}
		hw.send(context.WithoutCancel(ctx), completeMessage(m.Request, err))
	})
}

// send tells all watchers and waits for them, but not for the dead.
func (hw *headerWatch) send(ctx context.Context, payload []byte) error {
	_, err := hw.img.io.Notify(ctx, hw.img.oid, payload, notifyTimeout)
	if errors.Is(err, rados.ErrTimedOut) {
		return nil
	}
	return err
}

// announce tells all watchers in the background.
func (hw *headerWatch) announce(payload []byte) {
	hw.img.background(func(ctx context.Context) {
		if err := hw.send(ctx, payload); err != nil && ctx.Err() == nil {
			hw.img.log.Warn("notification failed", "error", err)
		}
	})
}

// ask sends a request that the lock's owner answers. answered is false when
// nobody felt responsible.
func (hw *headerWatch) ask(ctx context.Context, payload []byte, timeout time.Duration) (answered bool, err error) {
	res, err := hw.img.io.Notify(ctx, hw.img.oid, payload, timeout)
	if res != nil {
		for _, a := range res.Acks {
			if len(a.Payload) == 0 {
				continue
			}
			result, derr := decodeResponse(a.Payload)
			if derr != nil {
				return false, derr
			}
			return true, resultError(result)
		}
	}
	if errors.Is(err, rados.ErrTimedOut) {
		return false, nil
	}
	return false, err
}

// requestLock asks the owner for the lock. An error is the owner's refusal.
func (hw *headerWatch) requestLock(ctx context.Context) (answered bool, err error) {
	return hw.ask(ctx, requestLockMessage(hw.client(), false), notifyTimeout)
}

// client returns how this Image calls itself in messages.
func (hw *headerWatch) client() wire.ClientID {
	return wire.ClientID{GID: hw.img.io.Client().GlobalID(), Handle: hw.cookie()}
}

func (hw *headerWatch) acquired() []byte { return acquiredMessage(hw.client()) }
func (hw *headerWatch) released() []byte { return releasedMessage(hw.client()) }

// quiesceTimeout is how long one request to hold writes back waits for the answers:
// freezing a file system may take several.
const quiesceTimeout = 5 * time.Second

// quiesce asks the other openers to hold their writes back until the returned
// function is called, which it must be after an error, too: some may do so by then.
func (hw *headerWatch) quiesce(ctx context.Context) (unquiesce func(), err error) {
	ws, err := hw.img.Watchers(ctx)
	if err != nil || len(ws) <= 1 {
		return func() {}, err
	}
	id := hw.img.requests.next(hw.img)
	unquiesce = func() { hw.announce(unquiesceMessage(id)) }
	for left := hw.img.settings.uint("rbd_quiesce_notification_attempts"); ; left-- {
		res, err := hw.img.io.Notify(ctx, hw.img.oid, quiesceMessage(id), quiesceTimeout)
		if err == nil {
			return unquiesce, refusalOf(res)
		}
		if !errors.Is(err, rados.ErrTimedOut) || left <= 1 {
			return unquiesce, err
		}
	}
}

// refusalOf returns the error of an opener that cannot hold its writes back. Those
// that know no such request have none.
func refusalOf(res *rados.NotifyResult) error {
	for _, a := range res.Acks {
		if len(a.Payload) == 0 {
			continue
		}
		result, err := decodeResponse(a.Payload)
		if err == nil {
			err = resultError(result)
		}
		if err != nil && !errors.Is(err, rados.ErrNotSupported) {
			return err
		}
	}
	return nil
}

// NotifyUpdate tells everybody who has the image open that its header changed.
func (img *Image) NotifyUpdate(ctx context.Context) error {
	return notifyHeader(ctx, img.io, img.oid)
}

// notifyHeader tells everybody who watches a header that it changed.
func notifyHeader(ctx context.Context, io *rados.IoCtx, oid string) error {
	_, err := io.Notify(ctx, oid, headerUpdateMessage(), notifyTimeout)
	if err = ignoreNotFound(err); err != nil && !errors.Is(err, rados.ErrTimedOut) {
		return fmt.Errorf("tell of the changed header %s: %w", oid, err)
	}
	return nil
}

// resultError turns a result in a message into an error.
func resultError(r int32) error {
	if r >= 0 {
		return nil
	}
	return rados.Errno(-r)
}
