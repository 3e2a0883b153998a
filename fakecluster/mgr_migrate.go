package fakecluster

import (
	"context"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// migration is an image that moves, with both its ends, as a client has prepared
// it. What does not come from an image of format 2 of this cluster cannot be moved
// here: ErrNotSupported.
type migration struct {
	h      *inhouse
	to     *image
	from   *image
	spec   rbdwire.MigrationSpec // of the destination
	source map[uint64]uint64     // snapshots of from by those of to
}

func (h *inhouse) openMigration(at where, id string) (*migration, errno.Errno) {
	to, e := h.openImage(at, id)
	if e != 0 {
		return nil, e
	}
	spec, ok := stored[rbdwire.MigrationSpec](to.omap, rbdwire.KeyMigration)
	switch {
	case !ok || spec.Header != rbdwire.MigrationDestination:
		return nil, errno.ErrInvalid
	case spec.SourceSpec != "" || spec.ImageID == "":
		return nil, errno.ErrNotSupported
	}
	from, e := h.openImage(where{spec.Pool, spec.Namespace}, spec.ImageID)
	if e != 0 {
		return nil, e
	}
	m := &migration{h: h, to: to, from: from, spec: spec, source: map[uint64]uint64{}}
	for a, b := range spec.SnapSeqs {
		m.source[b] = a
	}
	return m, 0
}

// state tells both ends how far the migration is.
func (m *migration) state(s uint8) errno.Errno {
	in := denc.AppendString(denc.AppendU8(nil, s), "")
	for _, i := range []*image{m.from, m.to} {
		if e := m.h.rbd(i.at, i.header(), rbdwire.MethodMigrationSetState, in); e != 0 {
			return e
		}
	}
	return 0
}

// migrate copies to the destination of a migration what only its source has.
func (h *inhouse) migrate(ctx context.Context, at where, id string, progress func(done, total uint64) bool) errno.Errno {
	m, e := h.openMigration(at, id)
	if e != 0 {
		return e
	}
	if e := m.to.watch(); e != 0 {
		return e
	}
	defer m.to.close()
	if e := m.state(migrationExecuting); e != 0 {
		return e
	}
	e = m.to.maintain(ctx, rbdwire.NotifyMessage{Op: rbdwire.NotifyMigrate}, func() errno.Errno { return m.copy(progress) })
	if e == 0 {
		e = m.state(migrationExecuted)
	}
	if e == 0 {
		m.to.updated(ctx)
	}
	return e
}

// copy fills every object of the destination that nobody has written to yet.
func (m *migration) copy(progress func(done, total uint64) bool) errno.Errno {
	size := m.spec.Overlap
	for _, s := range m.to.snaps {
		if _, copied := m.source[s.ID]; copied {
			size = max(size, s.Size)
		}
	}
	n := m.to.layout.Objects(size)
	for k := range n {
		if e := m.to.fill(k, m.history(k)); e != 0 {
			return e
		}
		if !progress(k+1, n) {
			return errno.ErrCanceled
		}
	}
	return 0
}

// history is what an object of the destination has to show: in a snapshot that was
// copied what the source has in its own, in those made since what the source has
// now.
func (m *migration) history(k uint64) []version {
	read := func(snap, size uint64) func() (*part, errno.Errno) {
		return func() (*part, errno.Errno) {
			got, e := m.to.gather(k, m.from, snap, size)
			switch {
			case e != 0:
				return nil, e
			case m.to.parent.Pool >= 0 && !got.own:
				return nil, 0 // the destination has the same parent
			case m.to.parent.Pool < 0 && len(got.written) == 0:
				return nil, 0
			}
			return &got, 0
		}
	}
	var out []version
	for _, s := range m.to.snaps {
		from, copied := m.source[s.ID]
		if !copied {
			break
		}
		out = append(out, version{s.ID, read(from, s.Size)})
	}
	last := wire.SnapHead
	if len(out) < len(m.to.snaps) {
		last = m.to.snaps[len(out)].ID
	}
	return append(out, version{last, read(wire.SnapHead, min(m.to.size, m.spec.Overlap))})
}

// commitMigration removes the source of a migration that is done. Mirroring of the
// image is not enabled again: ErrNotSupported, before anything is changed.
func (h *inhouse) commitMigration(ctx context.Context, at where, id string) errno.Errno {
	m, e := h.openMigration(at, id)
	switch {
	case e != 0:
		return e
	case m.spec.State != migrationExecuted:
		return errno.ErrInvalid
	case m.spec.Mirroring:
		return errno.ErrNotSupported
	}
	for _, s := range m.from.snaps {
		if s.Protection != rbdwire.Unprotected || s.Children > 0 {
			return errno.ErrBusy
		}
	}
	if e := m.from.unused(); e != 0 {
		return e
	}
	if e := m.to.endMigration(ctx); e != 0 {
		return e
	}
	for len(m.from.snaps) > 0 {
		if e := m.from.removeSnapshot(&m.from.snaps[len(m.from.snaps)-1]); e != 0 {
			return e
		}
	}
	if e := h.removeImage(ctx, m.from.at, m.from.id, "", true); e != 0 {
		return e
	}
	return h.leaveTrash(m.from.at, m.from.id)
}

// leaveTrash takes an image off the list of those in the trash.
func (h *inhouse) leaveTrash(at where, id string) errno.Errno {
	e := h.rbd(at, rbdTrash, rbdwire.MethodTrashRemove, denc.AppendString(nil, id))
	if e == errno.ErrNotFound {
		e = 0
	}
	return e
}

// endMigration takes the mark of a migration off an image.
func (i *image) endMigration(ctx context.Context) errno.Errno {
	e := i.h.rbd(i.at, i.header(), rbdwire.MethodMigrationRemove, nil)
	if e == 0 {
		i.updated(ctx)
	}
	return e
}

// abortMigration removes the destination of a migration and gives the source its
// name back. As with commitMigration, nothing is done to images that were mirrored
// or are in a group.
func (h *inhouse) abortMigration(ctx context.Context, at where, id, name string) errno.Errno {
	m, e := h.openMigration(at, id)
	switch {
	case e != 0:
		return e
	case m.spec.Mirroring || m.to.opFeatures&rbdwire.OpFeatureGroup != 0:
		return errno.ErrNotSupported
	}
	for _, s := range m.to.snaps {
		if s.Protection != rbdwire.Unprotected || s.Children > 0 {
			return errno.ErrBusy
		}
	}
	if e := m.to.unused(); e != 0 {
		return e
	}
	if e := m.state(migrationAborting); e != 0 {
		return e
	}
	for len(m.to.snaps) > 0 {
		if e := m.to.removeSnapshot(&m.to.snaps[0]); e != 0 {
			return e
		}
	}
	if e := h.removeImage(ctx, at, id, name, false); e != 0 {
		return e
	}
	if e := h.restore(m.from.at, m.from.id, m.spec.ImageName); e != 0 {
		return e
	}
	return m.from.endMigration(ctx)
}

// restore gives an image in the trash its name back.
func (h *inhouse) restore(at where, id, name string) errno.Errno {
	create := wire.Op{Code: wire.OpCreate, Flags: wire.OpFlagExcl}
	_, e := h.operate(at, rbdIDPrefix+name, wire.SnapContext{}, create, callOp("rbd", rbdwire.MethodSetID, denc.AppendString(nil, id)))
	if e != 0 && e != errno.ErrExists {
		return e
	}
	in := denc.AppendString(denc.AppendString(nil, name), id)
	if e := h.rbd(at, rbdDirectory, rbdwire.MethodDirAddImage, in); e != 0 && e != errno.ErrExists {
		return e
	}
	return h.leaveTrash(at, id)
}
