package rados

import (
	"context"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// IoCtx is an immutable view of a pool: a namespace in it, the snapshot that is
// read, the snapshot context that is written under. The With methods return
// changed copies. An IoCtx is safe for concurrent use and need not be closed.
type IoCtx struct {
	c     *Client
	pool  int64
	ns    string
	key   string
	snap  uint64
	snapc wire.SnapContext
}

// IoCtx returns the view of a pool by its id: default namespace, no snapshots.
// Whether the pool exists shows when it is used.
func (c *Client) IoCtx(pool int64) *IoCtx {
	return &IoCtx{c: c, pool: pool, snap: wire.SnapHead}
}

// OpenPool returns the view of a pool by its name; ErrNotFound when the newest
// OSD map has no such pool.
func (c *Client) OpenPool(ctx context.Context, name string) (*IoCtx, error) {
	id, err := c.LookupPool(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.IoCtx(id), nil
}

// Client returns the Client that the view belongs to.
func (io *IoCtx) Client() *Client { return io.c }

// Pool returns the pool's id.
func (io *IoCtx) Pool() int64 { return io.pool }

// Namespace returns the namespace, "" for the default one.
func (io *IoCtx) Namespace() string { return io.ns }

// WithNamespace returns a view of another namespace.
func (io *IoCtx) WithNamespace(ns string) *IoCtx {
	v := *io
	v.ns = ns
	return &v
}

// WithPool returns a view of another pool with the same namespace and
// snapshots.
func (io *IoCtx) WithPool(pool int64) *IoCtx {
	v := *io
	v.pool = pool
	return &v
}

// WithLocator returns a view whose objects are placed by key instead of by
// their own names; "" undoes it.
func (io *IoCtx) WithLocator(key string) *IoCtx {
	v := *io
	v.key = key
	return &v
}

// AtSnap returns a view that reads objects as they were at a snapshot;
// wire.SnapHead reads them as they are.
func (io *IoCtx) AtSnap(id uint64) *IoCtx {
	v := *io
	v.snap = id
	return &v
}

// Snap returns the snapshot that is read, wire.SnapHead for none.
func (io *IoCtx) Snap() uint64 { return io.snap }

// WithSnapContext returns a view that writes under a snapshot context: the
// newest id ever given out and the ids that exist, descending.
func (io *IoCtx) WithSnapContext(seq uint64, ids []uint64) *IoCtx {
	v := *io
	v.snapc = wire.SnapContext{Seq: seq, Snaps: slices.Clone(ids)}
	return &v
}

// SnapContext returns the snapshot context.
func (io *IoCtx) SnapContext() (seq uint64, ids []uint64) {
	return io.snapc.Seq, slices.Clone(io.snapc.Snaps)
}

// OpOption changes how one vector is sent.
type OpOption func(*opOptions)

type opOptions struct {
	flags wire.ReqFlag
	mtime time.Time
}

// FullTry sends a write even when the pool or cluster is full, as removals must
// be; it may fail with ErrNoSpace or ErrQuota. Other writes wait until there is
// room.
func FullTry() OpOption { return func(o *opOptions) { o.flags |= wire.FlagFullTry } }

// ReturnVec asks the OSD for the results of the single operations of a write.
func ReturnVec() OpOption { return func(o *opOptions) { o.flags |= wire.FlagReturnVec } }

// OrderReads orders reads of an object behind the writes sent before them.
func OrderReads() OpOption { return func(o *opOptions) { o.flags |= wire.FlagRWOrdered } }

// WithMtime sets the time of modification that a write leaves, instead of now.
func WithMtime(t time.Time) OpOption { return func(o *opOptions) { o.mtime = t } }

// Read reads up to n bytes from off. The result aliases a receive buffer that
// is the caller's alone.
func (io *IoCtx) Read(ctx context.Context, oid string, off, n uint64) ([]byte, error) {
	op := NewOp()
	out := op.Read(off, n)
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Write writes p at off.
func (io *IoCtx) Write(ctx context.Context, oid string, off uint64, p []byte) error {
	op := NewOp()
	op.Write(off, msgr2.NewData(p))
	return io.Operate(ctx, oid, op)
}

// WriteFull replaces the object's data by p.
func (io *IoCtx) WriteFull(ctx context.Context, oid string, p []byte) error {
	op := NewOp()
	op.WriteFull(msgr2.NewData(p))
	return io.Operate(ctx, oid, op)
}

// Append writes p at the object's end.
func (io *IoCtx) Append(ctx context.Context, oid string, p []byte) error {
	op := NewOp()
	op.Append(msgr2.NewData(p))
	return io.Operate(ctx, oid, op)
}

// Truncate makes the object size bytes long.
func (io *IoCtx) Truncate(ctx context.Context, oid string, size uint64) error {
	op := NewOp()
	op.Truncate(size)
	return io.Operate(ctx, oid, op)
}

// Remove deletes the object, also in a full pool.
func (io *IoCtx) Remove(ctx context.Context, oid string) error {
	op := NewOp()
	op.Remove()
	return io.Operate(ctx, oid, op, FullTry())
}

// Stat returns the object's size in bytes and time of modification.
func (io *IoCtx) Stat(ctx context.Context, oid string) (*StatResult, error) {
	op := NewOp()
	out := op.Stat()
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	return out, nil
}

// Exec runs a method of an object class that only reads and returns its output.
func (io *IoCtx) Exec(ctx context.Context, oid, class, method string, in []byte) ([]byte, error) {
	op := NewOp()
	out := op.Call(class, method, in)
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ExecWrite runs a method of an object class that writes. OSDs return no output
// from those.
func (io *IoCtx) ExecWrite(ctx context.Context, oid, class, method string, in []byte) error {
	op := NewOp()
	op.CallWrite(class, method, in)
	return io.Operate(ctx, oid, op)
}

// GetXattr reads an attribute; ErrNoData when it is missing.
func (io *IoCtx) GetXattr(ctx context.Context, oid, name string) ([]byte, error) {
	op := NewOp()
	out := op.GetXattr(name)
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// SetXattr sets an attribute.
func (io *IoCtx) SetXattr(ctx context.Context, oid, name string, value []byte) error {
	op := NewOp()
	op.SetXattr(name, value)
	return io.Operate(ctx, oid, op)
}

// OmapGetAll reads all pairs whose keys start with prefix, in as many requests
// as it takes. It is no snapshot: pairs that change meanwhile may be seen old
// or new.
func (io *IoCtx) OmapGetAll(ctx context.Context, oid, prefix string) (map[string][]byte, error) {
	all := map[string][]byte{}
	after := ""
	for {
		op := NewOp()
		page := op.OmapGet(after, prefix, omapPageSize)
		if err := io.Operate(ctx, oid, op); err != nil {
			return nil, err
		}
		for k, v := range page.Values {
			all[k] = v
		}
		if !page.More || len(page.Keys) == 0 {
			return all, nil
		}
		after = page.Keys[len(page.Keys)-1]
	}
}

// omapPageSize is what an OSD returns at most by default.
const omapPageSize = 1024

// OmapSet sets pairs.
func (io *IoCtx) OmapSet(ctx context.Context, oid string, pairs map[string][]byte) error {
	op := NewOp()
	op.OmapSet(pairs)
	return io.Operate(ctx, oid, op)
}

// OmapRemove removes keys.
func (io *IoCtx) OmapRemove(ctx context.Context, oid string, keys ...string) error {
	op := NewOp()
	op.OmapRemove(keys...)
	return io.Operate(ctx, oid, op)
}

// ListSnaps returns the clones of an object.
func (io *IoCtx) ListSnaps(ctx context.Context, oid string) (*SnapSet, error) {
	op := NewOp()
	out := op.ListSnaps()
	if err := io.AtSnap(wire.SnapDir).Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	return out, nil
}

// ListWatchers returns who watches an object.
func (io *IoCtx) ListWatchers(ctx context.Context, oid string) ([]Watcher, error) {
	op := NewOp()
	out := op.ListWatchers()
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	return out.Watchers, nil
}
