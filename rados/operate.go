package rados

import "context"

// Operate sends a vector to an object and waits for the answer. The error is an
// *OpError around an Errno, the context's error or ErrClosed. When ctx ends
// first the vector may have been applied nevertheless: see MaybeApplied; data
// given to it must then stay unchanged until Close.
func (io *IoCtx) Operate(ctx context.Context, oid string, op *Op, opts ...OpOption) error {
	return io.operate(ctx, io.prepare(oid, op, opts))
}

// waiter is where a request that somebody waits for reports to.
type waiter struct {
	ch   chan error
	done func(error)
}

func newWaiter() any {
	w := &waiter{ch: make(chan error, 1)}
	w.done = func(err error) { w.ch <- err }
	return w
}

// operate starts r and waits for its end, which the end of ctx brings about.
func (io *IoCtx) operate(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		r.failResults(err)
		return r.wrap(err)
	}
	o := io.c.osds
	w := o.waiters.Get().(*waiter)
	defer o.waiters.Put(w)
	r.done = w.done
	o.start(r)
	select {
	case err := <-w.ch:
		return err
	case <-ctx.Done():
		o.cancel(r, ctx.Err())
		return <-w.ch
	}
}

// Go is Operate without the wait: done is called with the result on a goroutine
// of the client and must not block. Vectors for one object go out in the order
// of the calls. Go itself never blocks and never calls done.
func (io *IoCtx) Go(ctx context.Context, oid string, op *Op, done func(error), opts ...OpOption) {
	r := io.prepare(oid, op, opts)
	r.done = done
	o := io.c.osds
	if err := ctx.Err(); err != nil {
		o.failLater(r, err)
		return
	}
	if ctx.Done() == nil {
		o.start(r)
		return
	}
	// The function may run before cleanup is set: it must not look at it.
	r.cleanup = context.AfterFunc(ctx, func() {
		if r.claim() {
			o.abandon(r, ctx.Err())
		}
	})
	o.start(r)
}
