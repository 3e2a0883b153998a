package rados

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// NotifyAck is one watcher's answer to a notification.
type NotifyAck = wire.NotifyAck

// NotifyResult is what a notification brought.
type NotifyResult struct {
	Acks     []NotifyAck // the watchers that answered
	Timeouts []NotifyAck // those that did not, without payload
}

// Notify sends a payload to all watchers of an object and waits for their
// answers, at most for the timeout (0: the option client_notify_timeout, 10 s). When some did not
// answer it returns the result together with ErrTimedOut. When a connection is
// lost meanwhile watchers may be notified twice.
func (io *IoCtx) Notify(ctx context.Context, oid string, payload []byte, timeout time.Duration) (*NotifyResult, error) {
	if timeout <= 0 {
		timeout = io.c.cfg.Duration("client_notify_timeout")
	}
	n := &notify{completed: map[uint64]*notifyEnd{}, wake: make(chan struct{}, 1)}
	o := io.c.osds
	l := o.addLinger(io, oid, n.gotEvent)
	defer o.removeLinger(l)
	input := wire.NotifyInput{Timeout: seconds(timeout), Payload: payload}.Append(nil)
	for {
		moved := l.moved.Load()
		id, err := io.sendNotify(ctx, oid, l, input)
		again, err := l.repeat(err)
		if again {
			continue
		}
		if err != nil {
			return nil, err
		}
		end, err := n.wait(ctx, o, l, id, moved)
		if err != nil {
			return nil, &OpError{Op: "notify", Pool: io.pool, Namespace: io.ns, Object: oid, Epoch: o.current().epoch(), Err: err}
		}
		if end == nil {
			continue // the OSD that had it is gone
		}
		if end.err != nil {
			end.err = &OpError{Op: "notify", Pool: io.pool, Namespace: io.ns, Object: oid, Epoch: o.current().epoch(), Err: end.err}
		}
		return end.result, end.err
	}
}

// sendNotify sends the operation once and returns the notification's id.
func (io *IoCtx) sendNotify(ctx context.Context, oid string, l *linger, input []byte) (uint64, error) {
	op := NewOp()
	out := &Bytes{}
	op.addBytes(wire.OpNotify, out, input).SetNotifyCookie(l.cookie)
	r := io.prepare(oid, op, nil)
	r.once, r.linger = true, l
	if err := io.operate(ctx, r); err != nil {
		return 0, err
	}
	rd := denc.NewReader(out.Bytes())
	id := rd.U64()
	if err := rd.Err(); err != nil {
		return 0, r.wrap(fmt.Errorf("output of notify: %w", err))
	}
	return id, nil
}

// notify collects the completions of one notification, by the ids that its
// attempts got. A completion may come before its id is known.
type notify struct {
	mu        sync.Mutex
	completed map[uint64]*notifyEnd
	wake      chan struct{}
}

type notifyEnd struct {
	result *NotifyResult
	err    error
}

func (n *notify) gotEvent(ev *wire.WatchNotify, m *msgr2.Message) error {
	if ev.Event != wire.WatchEventComplete {
		return nil
	}
	end := &notifyEnd{err: resultError(ev.ReturnCode)}
	var rep wire.NotifyReply
	rd := denc.NewReader(m.Data.Bytes())
	rep.Decode(rd)
	if err := rd.Err(); err != nil {
		return fmt.Errorf("result of notify: %w", err)
	}
	end.result = &NotifyResult{Acks: rep.Acks, Timeouts: rep.Timeouts}
	n.mu.Lock()
	n.completed[ev.NotifyID] = end
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return nil
}

// wait returns the completion of an attempt, or nil when the binding broke
// before it came.
func (n *notify) wait(ctx context.Context, o *objecter, l *linger, id, moved uint64) (*notifyEnd, error) {
	for {
		n.mu.Lock()
		end := n.completed[id]
		n.mu.Unlock()
		if end != nil {
			return end, nil
		}
		if err := l.failed.Load(); err != nil {
			return nil, *err
		}
		if l.moved.Load() != moved {
			return nil, nil
		}
		select {
		case <-n.wake:
		case <-l.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-o.ctx.Done():
			return nil, ErrClosed
		}
	}
}
