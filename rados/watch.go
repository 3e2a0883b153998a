package rados

import (
	"context"
	"time"

	"github.com/rbdm/rbdm/rados/wire"
)

// Notification is one event on a watched object.
type Notification struct {
	NotifyID    uint64
	NotifierGID uint64 // global id of the client that notified; may be our own
	Cookie      uint64 // of the watch
	Payload     []byte

	w *Watch
}

// Ack answers the notification; reply may be nil. Every notification must be
// acknowledged once, else the notifier waits for its whole timeout; a second
// call does nothing. Ack does not block.
func (n *Notification) Ack(reply []byte) {}

// WatchOption changes how Watch works.
type WatchOption func(*watchOptions)

type watchOptions struct {
	onError func(error)
	timeout time.Duration
}

// OnError sets what is called, once, when the watch is lost for good:
// ErrNotConnected when the OSD forgot it, ErrNotFound when the object is gone,
// ErrBlocklisted. Notifications may have been missed; the caller registers
// anew. It runs on the watch's goroutine.
func OnError(f func(error)) WatchOption { return func(o *watchOptions) { o.onError = f } }

// WatchTimeout sets after which silence the OSD drops the watch; the default is
// the cluster's (osd_client_watch_timeout, 30 s). Seconds on the wire.
func WatchTimeout(d time.Duration) WatchOption { return func(o *watchOptions) { o.timeout = d } }

// Watch is a registration for an object's notifications. It survives lost
// connections and moved objects by itself.
type Watch struct{}

// Watch registers for notifications of an existing object. f is called for one
// notification after the other, on a goroutine of the watch; it may block, which
// delays the following ones, but must not call Close on the watch.
func (io *IoCtx) Watch(ctx context.Context, oid string, f func(*Notification), opts ...WatchOption) (*Watch, error) {
	return nil, ErrClosed
}

// Cookie returns the number that names the watch on this client.
func (w *Watch) Cookie() uint64 { return 0 }

// Err returns why the watch was lost, nil while it stands.
func (w *Watch) Err() error { return nil }

// LastSeen returns when the OSD last confirmed the watch.
func (w *Watch) LastSeen() time.Time { return time.Time{} }

// Flush waits until all notifications that arrived before the call were handed
// to the function.
func (w *Watch) Flush(ctx context.Context) error { return ErrClosed }

// Close ends the watch. After it returned f is not called any more.
func (w *Watch) Close(ctx context.Context) error { return nil }

// NotifyAck is one watcher's answer to a notification.
type NotifyAck = wire.NotifyAck

// NotifyResult is what a notification brought.
type NotifyResult struct {
	Acks     []NotifyAck // the watchers that answered
	Timeouts []NotifyAck // those that did not, without payload
}

// Notify sends a payload to all watchers of an object and waits for their
// answers, at most for the timeout (0: 10 s, as librados). When some did not
// answer it returns the result together with ErrTimedOut.
func (io *IoCtx) Notify(ctx context.Context, oid string, payload []byte, timeout time.Duration) (*NotifyResult, error) {
	return nil, ErrClosed
}
