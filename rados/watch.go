package rados

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

const (
	// watchPing is how often the OSD is asked whether a watch still stands.
	watchPing = 5 * time.Second
	// rememberedNotifies is how many notifications a watch recognises when an
	// OSD repeats them.
	rememberedNotifies = 128
)

// Notification is one event on a watched object.
type Notification struct {
	NotifyID    uint64
	NotifierGID uint64 // global id of the client that notified; may be our own
	Cookie      uint64 // of the watch
	Payload     []byte

	w *Watch
}

// Ack answers the notification; reply may be nil and is retained. Every
// notification must be acknowledged once, else the notifier waits for its whole
// timeout; a second call does nothing. Ack does not block.
func (n *Notification) Ack(reply []byte) { n.w.ack(n.key(), reply) }

func (n *Notification) key() notifyKey { return notifyKey{n.NotifyID, n.NotifierGID} }

// WatchOption changes how Watch works.
type WatchOption func(*watchOptions)

type watchOptions struct {
	onError func(error)
	timeout time.Duration
}

// OnError sets what is called, once, when the watch is lost for good:
// ErrNotConnected when the OSD forgot it, ErrNotFound when the object is gone,
// ErrBlocklisted, ErrGarbage. Notifications may have been missed; the caller registers
// anew. It runs on the goroutine that notifications are handed over on and must
// not call Close on the watch.
func OnError(f func(error)) WatchOption { return func(o *watchOptions) { o.onError = f } }

// WatchTimeout sets after which silence the OSD drops the watch; the default is
// the cluster's (osd_client_watch_timeout, 30 s). Seconds on the wire.
func WatchTimeout(d time.Duration) WatchOption { return func(o *watchOptions) { o.timeout = d } }

// Watch is a registration for an object's notifications. It survives lost
// connections and moved objects by itself.
type Watch struct {
	o       *objecter
	io      *IoCtx
	oid     string
	linger  *linger
	f       func(*Notification)
	onError func(error)
	timeout uint32 // seconds

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	events *workQueue
	wg     sync.WaitGroup
	gen    uint32 // of the keeper goroutine

	mu       sync.Mutex
	err      error
	lastSeen time.Time
	known    map[notifyKey]*notifyState
	order    []notifyKey // of known, oldest first
}

type notifyKey struct{ id, gid uint64 }

type notifyState struct {
	acked bool
	reply []byte
}

// Watch registers for notifications of an existing object. f is called for one
// notification after the other, on a goroutine of the watch; it may block, which
// delays the following ones, but must not call Close on the watch.
func (io *IoCtx) Watch(ctx context.Context, oid string, f func(*Notification), opts ...WatchOption) (*Watch, error) {
	var wo watchOptions
	for _, opt := range opts {
		opt(&wo)
	}
	w := &Watch{
		o: io.c.osds, io: io, oid: oid, f: f, onError: wo.onError, timeout: seconds(wo.timeout),
		events: newWorkQueue(), known: map[notifyKey]*notifyState{},
	}
	w.ctx, w.cancel = context.WithCancel(w.o.ctx)
	w.linger = w.o.addLinger(io, oid, w.gotEvent)
	w.wg.Go(func() { w.events.run(w.ctx) })
	moved, err := w.register(ctx)
	if err != nil {
		w.stop()
		if MaybeApplied(err) {
			w.o.spawn(func() { w.unwatch(w.o.ctx) })
		}
		return nil, err
	}
	w.wg.Go(func() { w.keep(moved) })
	return w, nil
}

// seconds rounds up to what goes on the wire.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// request makes a watch operation that is never sent twice: whether it is still
// the right one is for the watch to say.
func (w *Watch) request(sub wire.WatchOp, gen uint32) *request {
	op := NewOp()
	s := op.add(wire.OpWatch, nil)
	s.SetWatch(wire.WatchArg{Cookie: w.linger.cookie, Op: sub, Gen: gen, Timeout: w.timeout})
	if sub == wire.WatchOpPing {
		op.flags = wire.FlagRead
	}
	r := w.io.prepare(w.oid, op, nil)
	r.once, r.linger = true, w.linger
	return r
}

// register makes the watch known. It returns how often the binding had broken
// when it was sent.
func (w *Watch) register(ctx context.Context) (moved uint64, err error) {
	for {
		moved = w.linger.moved.Load()
		err = w.io.operate(ctx, w.request(wire.WatchOpWatch, 0))
		if err == nil {
			w.sawOSD(time.Now())
			return moved, nil
		}
		if again, err := w.linger.repeat(err); !again {
			return 0, err
		}
	}
}

// keep is the goroutine that pings, and reconnects when the binding broke.
func (w *Watch) keep(moved uint64) {
	tick := time.NewTicker(watchPing)
	defer tick.Stop()
	pong := make(chan error, 1)
	var pinged time.Time
	var pingMoved uint64
	busy := false
	for {
		if err := w.linger.failed.Load(); err != nil {
			w.lose(*err)
			return
		}
		if w.linger.moved.Load() != moved {
			var err error
			if moved, err = w.reconnect(); err != nil {
				w.lose(err)
				return
			}
		}
		select {
		case <-w.ctx.Done():
			return
		case <-w.linger.wake:
		case <-tick.C:
			if !busy {
				busy, pinged, pingMoved = true, time.Now(), w.linger.moved.Load()
				r := w.request(wire.WatchOpPing, w.gen)
				r.done = func(err error) { pong <- err }
				w.o.start(r)
			}
		case err := <-pong:
			busy = false
			switch {
			case err == nil:
				w.sawOSD(pinged)
			case errors.Is(err, errDropped) || w.linger.moved.Load() != pingMoved:
			case w.ctx.Err() != nil:
				return
			default:
				w.lose(err)
				return
			}
		}
	}
}

// reconnect binds the watch to the connection that its object is reached by now.
func (w *Watch) reconnect() (moved uint64, err error) {
	for {
		moved = w.linger.moved.Load()
		w.gen++
		start := time.Now()
		err = w.io.operate(w.ctx, w.request(wire.WatchOpReconnect, w.gen))
		if err == nil {
			w.sawOSD(start)
			w.o.log.Debug("watch reconnected", "object", w.oid, "cookie", w.linger.cookie, "gen", w.gen)
			return moved, nil
		}
		if again, err := w.linger.repeat(err); !again {
			return 0, err
		}
	}
}

func (w *Watch) sawOSD(t time.Time) {
	w.mu.Lock()
	w.lastSeen = t
	w.mu.Unlock()
}

// lose ends a watch that the OSD does not have any more.
func (w *Watch) lose(err error) {
	if w.ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	first := w.err == nil
	if first {
		w.err = err
	}
	w.mu.Unlock()
	if !first {
		return
	}
	w.o.log.Warn("watch lost", "object", w.oid, "cookie", w.linger.cookie, "error", err)
	w.o.removeLinger(w.linger)
	if w.onError != nil {
		w.events.add(func() { w.onError(err) })
	}
}

// gotEvent takes an event on a reading goroutine.
func (w *Watch) gotEvent(n *wire.WatchNotify, _ *msgr2.Message) error {
	switch n.Event {
	case wire.WatchEventNotify:
		note := &Notification{NotifyID: n.NotifyID, NotifierGID: n.NotifierGID, Cookie: n.Cookie, Payload: n.Payload, w: w}
		if w.isNew(note.key()) {
			w.events.add(func() {
				if w.ctx.Err() == nil {
					w.f(note)
				}
			})
		}
	case wire.WatchEventDisconnect:
		w.lose(&OpError{Op: "watch", Pool: w.io.pool, Namespace: w.io.ns, Object: w.oid, Err: ErrNotConnected})
	}
	return nil
}

// isNew reports whether a notification was not seen before. An OSD repeats what
// was not acknowledged when a watch reconnects; an acknowledgement that may
// have been lost is repeated too.
func (w *Watch) isNew(k notifyKey) bool {
	w.mu.Lock()
	st := w.known[k]
	if st == nil {
		w.known[k] = &notifyState{}
		if w.order = append(w.order, k); len(w.order) > rememberedNotifies {
			delete(w.known, w.order[0])
			w.order = w.order[1:]
		}
		w.mu.Unlock()
		return true
	}
	acked, reply := st.acked, st.reply
	w.mu.Unlock()
	if acked {
		w.sendAck(k, reply)
	}
	return false
}

func (w *Watch) ack(k notifyKey, reply []byte) {
	w.mu.Lock()
	st := w.known[k]
	if st != nil && st.acked {
		w.mu.Unlock()
		return
	}
	if st != nil {
		st.acked, st.reply = true, reply
	}
	w.mu.Unlock()
	w.sendAck(k, reply)
}

func (w *Watch) sendAck(k notifyKey, reply []byte) {
	op := NewOp()
	in := wire.NotifyAckInput{NotifyID: k.id, Cookie: w.linger.cookie, Reply: reply}
	op.addBytes(wire.OpNotifyAck, nil, in.Append(nil))
	w.io.Go(w.o.ctx, w.oid, op, func(err error) {
		if err != nil {
			w.o.log.Debug("acknowledgement failed", "object", w.oid, "error", err)
		}
	})
}

// Cookie returns the number that names the watch on this client.
func (w *Watch) Cookie() uint64 { return w.linger.cookie }

// Err returns why the watch was lost, nil while it stands.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// LastSeen returns when the OSD last confirmed the watch.
func (w *Watch) LastSeen() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastSeen
}

// Flush waits until all notifications that arrived before the call were handed
// to the function.
func (w *Watch) Flush(ctx context.Context) error {
	passed := make(chan struct{})
	w.events.add(func() { close(passed) })
	select {
	case <-passed:
		return nil
	case <-w.ctx.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the goroutines.
func (w *Watch) stop() {
	w.cancel()
	w.o.removeLinger(w.linger)
	w.wg.Wait()
}

func (w *Watch) unwatch(ctx context.Context) error {
	for {
		err := w.io.operate(ctx, w.request(wire.WatchOpUnwatch, 0))
		if again, err := w.linger.repeat(err); !again {
			return err
		}
	}
}

// Close ends the watch. After it returned the function is not called any more.
// It is safe to call after the watch was lost, and twice. When ctx ends before, the
// watch is ended later: every notification would wait for its answer otherwise.
func (w *Watch) Close(ctx context.Context) error {
	closed := w.ctx.Err() != nil
	w.stop()
	if closed || w.Err() != nil {
		return nil
	}
	err := w.unwatch(ctx)
	if err != nil && ctx.Err() != nil {
		w.o.spawn(func() { _ = w.unwatch(w.o.ctx) })
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNotConnected) {
		return err
	}
	return nil
}
