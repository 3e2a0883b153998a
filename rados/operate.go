package rados

import (
	"context"
	"iter"
)

// Operate sends a vector to an object and waits for the answer. The error is an
// *OpError around an Errno, the context's error or ErrClosed. When ctx ends
// first the vector may have been applied nevertheless: see MaybeApplied; data
// given to it must then stay unchanged until Close.
func (io *IoCtx) Operate(ctx context.Context, oid string, op *Op, opts ...OpOption) error {
	return ErrClosed
}

// Go is Operate without the wait: done is called with the result on a goroutine
// of the client and must not block. Vectors for one object go out in the order
// of the calls. Go itself never blocks and never calls done.
func (io *IoCtx) Go(ctx context.Context, oid string, op *Op, done func(error), opts ...OpOption) {
	go done(ErrClosed)
}

// ObjectInfo names an object of a pool.
type ObjectInfo struct {
	Namespace, Name, Locator string
}

// ListOption changes what Objects lists.
type ListOption func(*listOptions)

type listOptions struct{ allNamespaces bool }

// AllNamespaces lists the objects of every namespace.
func AllNamespaces() ListOption { return func(o *listOptions) { o.allNamespaces = true } }

// Objects lists the objects of the view's namespace in no particular order. An
// error ends the listing.
func (io *IoCtx) Objects(ctx context.Context, opts ...ListOption) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) { yield(ObjectInfo{}, ErrClosed) }
}

// CreateSnapID makes a new self-managed snapshot id in the pool.
func (io *IoCtx) CreateSnapID(ctx context.Context) (uint64, error) { return 0, ErrClosed }

// RemoveSnapID gives a snapshot id back; the OSDs trim its clones.
func (io *IoCtx) RemoveSnapID(ctx context.Context, id uint64) error { return ErrClosed }
