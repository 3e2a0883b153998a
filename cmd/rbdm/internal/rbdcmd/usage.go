package rbdcmd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// usageRow is one line of `rbd du`: an image or one of its snapshots.
type usageRow struct {
	name, id, snap    string
	snapID            uint64
	provisioned, used uint64
}

// usageReport is the answer of `rbd du`.
type usageReport struct {
	rows               []usageRow
	counted            int
	provisioned, total uint64
}

// usageSpec reads an image, one of its snapshots, or a pool.
func usageSpec(in *cli.Invocation) (spec, error) {
	s, err := specArg{snap: snapOptional, noImage: true}.read(in)
	if err == nil && s.Image == "" && (s.Snap != "" || in.Has("from-snap")) {
		err = invalidf("rbd: image name was not specified")
	}
	return s, err
}

// diskUsage is `rbd du`.
func diskUsage(ctx context.Context, c *call) error {
	s, f, io, err := c.showPool(ctx, usageSpec)
	if err != nil {
		return err
	}
	names, err := rbd.List(ctx, io)
	if err != nil {
		return failed(err, "rbd: du failed")
	}
	slices.SortFunc(names, func(a, b rbd.ImageRef) int { return strings.Compare(a.Name, b.Name) })
	u := usage{call: c, snap: s.Snap, from: c.String("from-snap"), exact: c.Has("exact"), merge: c.Has("merge-snapshots")}
	found := false
	for _, image := range names {
		if s.Image != "" && image.Name != s.Image {
			continue
		}
		found = true
		if err := u.add(ctx, io, image, s.Image != ""); err != nil {
			return failed(err, "rbd: du failed")
		}
	}
	if s.Image != "" && !found {
		c.warnf("specified image %s is not found.", s.Image)
		return failed(rados.ErrNotFound, "rbd: du failed")
	}
	if f == nil {
		u.table()
		return nil
	}
	return u.write(f)
}

// usage computes a report.
type usage struct {
	*call
	usageReport
	snap, from   string
	exact, merge bool
}

// add computes an image's part. One that is in a list of many and has vanished
// meanwhile is passed over.
func (u *usage) add(ctx context.Context, io *rados.IoCtx, image rbd.ImageRef, wanted bool) (err error) {
	img, err := rbd.OpenByID(ctx, io, image.ID, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		if errors.Is(err, rados.ErrNotFound) && !wanted {
			return nil
		}
		return err
	}
	defer closeImage(img, &err)
	if img.Features()&rbd.FeatureFastDiff == 0 {
		u.warnf("warning: fast-diff map is not enabled for %s. operation may be slow.", image.Name)
	} else if flags, err := img.Flags(rbd.NoSnap); err == nil && flags&rbd.FlagFastDiffInvalid != 0 {
		u.warnf("warning: fast-diff map is invalid for %s. operation may be slow.", image.Name)
	}
	var from uint64
	if u.from != "" {
		s, ok := img.UserSnapshot(u.from)
		if !ok {
			u.warnf("specified snapshot is not found.")
			return rados.ErrNotFound
		}
		from = s.ID
	}
	row := usageRow{name: image.Name, id: image.ID}
	merged := uint64(0)
	for _, s := range img.Snapshots() {
		if s.Namespace.Type != rbd.SnapUser || s.ID <= from {
			continue
		}
		used, err := u.used(ctx, img, from, s.ID)
		if err != nil {
			return err
		}
		merged += used
		from = s.ID
		if !u.merge {
			r := row
			r.snap, r.snapID, r.provisioned, r.used = s.Name, s.ID, s.Size, used
			u.rows = append(u.rows, r)
		}
		u.count(used)
		if u.snap != "" {
			u.provisioned += s.Size
		}
		if s.Name == u.snap {
			return nil
		}
	}
	if u.snap != "" {
		u.warnf("specified snapshot is not found.")
		return rados.ErrNotFound
	}
	used, err := u.used(ctx, img, from, rbd.NoSnap)
	if err != nil {
		return err
	}
	u.count(used)
	if u.merge {
		used += merged
	}
	row.provisioned, row.used = img.Size(), used
	u.rows = append(u.rows, row)
	u.provisioned += row.provisioned
	return nil
}

func (u *usage) count(used uint64) {
	u.total += used
	u.counted++
}

// used returns how many bytes of the image's own differ between two points.
func (u *usage) used(ctx context.Context, img *rbd.Image, from, to uint64) (n uint64, err error) {
	err = img.Diff(ctx, rbd.DiffOptions{From: from, To: to, WholeObject: !u.exact}, func(e rbd.DiffExtent) error {
		if e.Exists {
			n += e.Len
		}
		return nil
	})
	return n, err
}

func (u *usage) table() {
	if len(u.rows) == 0 {
		return
	}
	var t cli.TextTable
	t.Column("NAME", cli.Left, cli.Left)
	t.Column("PROVISIONED", cli.Right, cli.Right)
	t.Column("USED", cli.Left, cli.Right)
	for _, r := range u.rows {
		name := r.name
		if r.snap != "" {
			name += "@" + r.snap
		}
		t.Row(name, cli.ByteSize(r.provisioned), cli.ByteSize(r.used))
	}
	if u.counted > 1 {
		t.Row("<TOTAL>", cli.ByteSize(u.provisioned), cli.ByteSize(u.total))
	}
	t.Write(u.std.Out)
}

func (u *usage) write(f *cli.Formatter) error {
	f.OpenObject("stats")
	f.OpenArray("images")
	for _, r := range u.rows {
		f.OpenObject("image")
		f.String("name", r.name)
		f.String("id", r.id)
		if r.snap != "" {
			f.String("snapshot", r.snap)
			f.Uint("snapshot_id", r.snapID)
		}
		f.Uint("provisioned_size", r.provisioned)
		f.Uint("used_size", r.used)
		f.Close()
	}
	f.Close()
	if u.counted > 1 {
		f.Uint("total_provisioned_size", u.provisioned)
		f.Uint("total_used_size", u.total)
	}
	f.Close()
	return f.Flush(u.std.Out)
}
