package rados

import (
	"context"
	"iter"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// listPage is how many objects one request asks for.
const listPage = 1000

// ObjectInfo names an object of a pool.
type ObjectInfo struct {
	Namespace, Name, Locator string
}

// ListOption changes what Objects lists.
type ListOption func(*listOptions)

type listOptions struct{ allNamespaces bool }

// AllNamespaces lists the objects of every namespace.
func AllNamespaces() ListOption { return func(o *listOptions) { o.allNamespaces = true } }

// pageResult is the output of pgnls.
type pageResult struct {
	Result
	page wire.PgnlsReply
}

// listEnd is the result of a listing's last page.
const listEnd = 1

func (p *pageResult) complete(rval int32, data msgr2.Data) {
	p.decode("pgnls", rval, data, func(r *denc.Reader) { p.page.Decode(r) })
}

// Objects lists the objects of the view's namespace in no particular order. An
// error ends the listing. What is created or removed meanwhile may be listed or
// not. When the pool's placement groups are split meanwhile objects may be
// listed twice.
func (io *IoCtx) Objects(ctx context.Context, opts ...ListOption) iter.Seq2[ObjectInfo, error] {
	var lo listOptions
	for _, f := range opts {
		f(&lo)
	}
	view := io
	if lo.allNamespaces {
		view = io.WithNamespace(wire.AllNamespaces)
	}
	return func(yield func(ObjectInfo, error) bool) {
		if io.c.osds.current().pool(io.pool) == nil {
			if err := io.c.LatestOSDMap(ctx); err != nil {
				yield(ObjectInfo{}, err)
				return
			}
		}
		for seed := uint32(0); ; seed++ {
			pool := io.c.osds.current().pool(io.pool)
			if pool == nil {
				yield(ObjectInfo{}, &OpError{Op: "list", Pool: io.pool, Err: ErrNotFound})
				return
			}
			if seed >= pool.pool.PGNum {
				return
			}
			if !view.listPG(ctx, wire.PG{Pool: io.pool, Seed: seed}, yield) {
				return
			}
		}
	}
}

// listPG lists one placement group; false when the listing is to end.
func (io *IoCtx) listPG(ctx context.Context, pg wire.PG, yield func(ObjectInfo, error) bool) bool {
	at := osdmap.MinHObject()
	for {
		op := NewOp()
		out := &pageResult{}
		s := op.addBytes(wire.OpPgnls, out, at.Append(nil))
		s.SetPgls(wire.PglsArg{Count: listPage, StartEpoch: io.c.osds.current().epoch()})
		op.flags |= wire.FlagPGOp
		r := io.prepare("", op, nil)
		r.pgOp, r.pg = true, pg
		if err := io.operate(ctx, r); err != nil {
			yield(ObjectInfo{}, err)
			return false
		}
		for _, e := range out.page.Entries {
			if !yield(ObjectInfo(e), nil) {
				return false
			}
		}
		if op.result == listEnd || out.page.Next.Max || len(out.page.Entries) == 0 {
			return true
		}
		at = out.page.Next
	}
}
