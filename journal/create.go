package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// The bounds of Layout.Order, those of Ceph.
const (
	minOrder = 12
	maxOrder = 26
)

// HeaderName returns the name of the object that holds a journal's metadata.
func HeaderName(id string) string { return "journal." + id }

// DataName returns the name of a journal's data object n; pool is the header's
// pool.
func DataName(pool int64, id string, n uint64) string {
	return fmt.Sprintf("journal_data.%d.%s.%d", pool, id, n)
}

// valid returns why no journal can have the layout.
func (l Layout) valid() error {
	if l.Order < minOrder || l.Order > maxOrder {
		return fmt.Errorf("journal order %d is not between %d and %d: %w", l.Order, minOrder, maxOrder, rados.ErrDomain)
	}
	if l.SplayWidth == 0 {
		return fmt.Errorf("journal without a splay width: %w", rados.ErrInvalid)
	}
	return nil
}

// Create makes an empty journal whose header lies in io. It has no client: the
// owner registers itself. It fails with rados.ErrExists when there is one, with
// rados.ErrDomain or ErrInvalid when the layout is none.
func Create(ctx context.Context, io *rados.IoCtx, id string, l Layout) error {
	if err := l.valid(); err != nil {
		return err
	}
	if l.Pool == io.Pool() {
		l.Pool = -1
	}
	in := denc.AppendS64(denc.AppendU8(denc.AppendU8(nil, l.Order), l.SplayWidth), l.Pool)
	if err := io.ExecWrite(ctx, HeaderName(id), wire.Class, wire.MethodCreate, in); err != nil {
		return fmt.Errorf("create journal %s: %w", id, err)
	}
	return nil
}

// Remove deletes a journal, data first. Unless forced it fails with
// rados.ErrBusy when there are clients besides the owner, and with
// rados.ErrInvalid when there is none.
func Remove(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	j := &Journal{io: io, id: id, header: HeaderName(id)}
	if err := j.readLayout(ctx); err != nil {
		return err
	}
	st, err := j.readState(ctx)
	if err != nil {
		return err
	}
	switch {
	case force:
	case len(st.Clients) == 0:
		return fmt.Errorf("remove journal %s without an owner: %w", id, rados.ErrInvalid)
	case len(st.Clients) > 1:
		return fmt.Errorf("remove journal %s with %d clients: %w", id, len(st.Clients), rados.ErrBusy)
	}
	// Beyond the active set, too: its writer may have died before it told.
	for set := st.MinimumSet; ; set++ {
		found, err := j.removeSet(ctx, set)
		if err != nil {
			return err
		}
		if !found && set >= st.ActiveSet {
			break
		}
	}
	if err := io.Remove(ctx, j.header); err != nil && !errors.Is(err, rados.ErrNotFound) {
		return fmt.Errorf("remove journal %s: %w", id, err)
	}
	return nil
}

// removeSet deletes the data objects of a set and reports whether there was any.
func (j *Journal) removeSet(ctx context.Context, set uint64) (found bool, err error) {
	w := int(j.layout.SplayWidth)
	errs := make(chan error, w)
	for i := range w {
		op := rados.NewOp()
		op.Remove()
		j.data.Go(ctx, j.dataName(j.layout.Object(set, i)), op, func(err error) { errs <- err }, rados.FullTry())
	}
	for range w {
		switch one := <-errs; {
		case one == nil:
			found = true
		case !errors.Is(one, rados.ErrNotFound) && err == nil:
			err = fmt.Errorf("remove object set %d of journal %s: %w", set, j.id, one)
		}
	}
	return found, err
}

// ReadLayout reads how a journal lies in its pool, without opening it.
func ReadLayout(ctx context.Context, io *rados.IoCtx, id string) (Layout, error) {
	j := &Journal{io: io, id: id, header: HeaderName(id)}
	err := j.readLayout(ctx)
	return j.layout, err
}

// ReadState reads the part of a journal's metadata that changes, without opening
// it.
func ReadState(ctx context.Context, io *rados.IoCtx, id string) (State, error) {
	j := &Journal{io: io, id: id, header: HeaderName(id)}
	return j.readState(ctx)
}
