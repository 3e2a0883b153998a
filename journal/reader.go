package journal

import (
	"context"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
)

// Reader reads the clients and tags of a journal that need not be opened for it.
// It watches nothing, so who may only read can use it. It is safe for concurrent
// use and needs no closing.
type Reader struct{ j Journal }

// NewReader returns a Reader of the journal whose header lies in io. It asks the
// cluster nothing.
func NewReader(io *rados.IoCtx, id string) *Reader {
	return &Reader{j: Journal{io: io, id: id, header: HeaderName(id)}}
}

// Client reads a client; rados.ErrNotFound when it is not registered or there is
// no such journal.
func (r *Reader) Client(ctx context.Context, id string) (wire.Client, error) {
	return r.j.Client(ctx, id)
}

// Tags lists the tags that a registered client still needs, ascending. class
// selects those of one class, nil all.
func (r *Reader) Tags(ctx context.Context, client string, class *uint64) ([]wire.Tag, error) {
	return r.j.Tags(ctx, client, class)
}
