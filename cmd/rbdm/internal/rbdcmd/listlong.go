package rbdcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rbd"
)

// longList prints `rbd ls -l`, to a table or, if it is set, to a Formatter.
type longList struct {
	f     *cli.Formatter
	table cli.TextTable
}

// longRow is an image or, if snap is set, one of its snapshots.
type longRow struct {
	image, id string
	snap      *rbd.Snapshot
	size      uint64
	parent    *parentNames
	lockers   int
	lock      lock.Type
}

func listLong(ctx context.Context, c *call, io *rados.IoCtx, images []rbd.ImageRef, f *cli.Formatter) error {
	l := &longList{f: f}
	if f != nil {
		f.OpenArray("images")
	} else {
		l.table.Column("NAME", cli.Left, cli.Left)
		l.table.Column("SIZE", cli.Left, cli.Right)
		l.table.Column("PARENT", cli.Left, cli.Left)
		l.table.Column("FMT", cli.Left, cli.Right)
		l.table.Column("PROT", cli.Left, cli.Left)
		l.table.Column("LOCK", cli.Left, cli.Left)
	}
	var last error
	for _, ref := range images {
		img, err := rbd.Open(ctx, io, ref.Name, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
		if err != nil {
			c.warnf("rbd: error opening %s: %s", ref.Name, errnoText(err))
			if !errors.Is(err, rados.ErrNotFound) {
				last = err
			}
			continue
		}
		err = l.image(ctx, img)
		closeImage(img, &err)
		if err != nil {
			c.warnf("rbd: error processing image %s: %s", ref.Name, errnoText(err))
			last = err
		}
	}
	if last != nil {
		last = failed(last, "rbd: listing images failed")
	}
	if f != nil {
		return errors.Join(last, f.Flush(c.std.Out))
	}
	if len(images) > 0 {
		l.table.Write(c.std.Out)
	}
	return last
}

func (l *longList) image(ctx context.Context, img *rbd.Image) error {
	row := longRow{image: img.Name(), id: img.ID(), size: img.Size()}
	var err error
	if row.parent, err = namesOfParent(ctx, img.IoCtx(), img.Parent()); err != nil {
		return err
	}
	locks, err := imageLocks(ctx, img)
	if err != nil {
		return err
	}
	row.lockers, row.lock = len(locks.Lockers), locks.Type
	l.row(row)
	for _, s := range img.Snapshots() {
		if s.Namespace.Type != rbd.SnapUser {
			continue
		}
		row := longRow{image: img.Name(), id: img.ID(), snap: &s, size: s.Size}
		if row.parent, err = namesOfParent(ctx, img.IoCtx(), s.Parent); err != nil {
			return err
		}
		l.row(row)
	}
	return nil
}

func (l *longList) row(r longRow) {
	if l.f != nil {
		l.object(r)
		return
	}
	name, parent, protected, locked := r.image, "", "", ""
	if r.parent != nil {
		parent = r.parent.String()
	}
	if r.snap != nil {
		name += "@" + r.snap.Name
		if r.snap.Protected() {
			protected = "yes"
		}
	} else if r.lockers > 0 {
		locked = "excl"
		if r.lock == lock.Shared {
			locked = "shr"
		}
	}
	l.table.Row(name, cli.ByteSize(r.size), parent, "2", protected, locked)
}

func (l *longList) object(r longRow) {
	kind := "image"
	if r.snap != nil {
		kind = "snapshot"
	}
	l.f.OpenObject(kind)
	l.f.String("image", r.image)
	l.f.String("id", r.id)
	if r.snap != nil {
		l.f.String("snapshot", r.snap.Name)
		l.f.Uint("snapshot_id", r.snap.ID)
	}
	l.f.Uint("size", r.size)
	if r.parent != nil {
		r.parent.object(l.f)
		l.f.Close()
	}
	l.f.Int("format", 2)
	switch {
	case r.snap != nil:
		l.f.String("protected", fmt.Sprint(r.snap.Protected()))
	case r.lockers > 0 && r.lock == lock.Shared:
		l.f.String("lock_type", "shared")
	case r.lockers > 0:
		l.f.String("lock_type", "exclusive")
	}
	l.f.Close()
}
