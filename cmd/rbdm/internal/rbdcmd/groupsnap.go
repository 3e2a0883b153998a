package rbdcmd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// groupSnapArg is a group and a snapshot of it.
var groupSnapArg = specArg{group: true, snap: snapRequired}

// groupOfSnap finds the group that the specification of a snapshot names.
func (c *call) groupOfSnap(ctx context.Context, s spec) (*rbd.Group, error) {
	io, err := c.pool(ctx, s)
	if err != nil {
		return nil, err
	}
	return rbd.OpenGroup(ctx, io, s.Image)
}

func groupSnapCreate(ctx context.Context, c *call) error {
	s, err := groupSnapArg.read(c.Invocation)
	if err != nil {
		return err
	}
	if c.Has("skip-quiesce") && c.Has("ignore-quiesce-error") {
		return invalidf("rbd: ignore-quiesce-error cannot be used together with skip-quiesce")
	}
	g, err := c.groupOfSnap(ctx, s)
	if err == nil {
		_, err = g.CreateSnapshot(ctx, s.Snap, rbd.SnapshotOptions{SkipQuiesce: c.Has("skip-quiesce"), IgnoreQuiesceError: c.Has("ignore-quiesce-error")})
	}
	var usage *cli.UsageError
	if err == nil || errors.As(err, &usage) {
		return err
	}
	return logged(err)
}

func groupSnapRemove(ctx context.Context, c *call) error {
	s, err := groupSnapArg.read(c.Invocation)
	if err != nil {
		return err
	}
	g, err := c.groupOfSnap(ctx, s)
	if err == nil {
		err = g.RemoveSnapshot(ctx, s.Snap)
	}
	if err != nil {
		return failed(err, "rbd: failed to remove group snapshot")
	}
	return nil
}

func groupSnapRename(ctx context.Context, c *call) error {
	s, rest, err := groupSnapArg.take(c.Invocation)
	if err != nil {
		return err
	}
	to := c.String("dest-snap")
	if to == "" {
		to = argOf(rest, 0)
	}
	switch {
	case to == "":
		return invalidf("rbd: destination snapshot name was not specified")
	case strings.ContainsAny(to, "/@"):
		return invalidf("rbd: invalid snap name '%s'", to)
	}
	g, err := c.groupOfSnap(ctx, s)
	if err == nil {
		err = g.RenameSnapshot(ctx, s.Snap, to)
	}
	if err != nil {
		return failed(err, "rbd: failed to rename group snapshot")
	}
	return nil
}

func groupSnapRollback(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, groupSnapArg.read)
	if err != nil {
		return err
	}
	p, done := c.progress("Rolling back to group snapshot")
	g, err := rbd.OpenGroup(ctx, io, s.Image)
	if err == nil {
		err = g.RollbackSnapshot(ctx, s.Snap, rbd.RollbackOptions{OtherMembers: c.before(ctx, release18), Progress: p})
	}
	done(err)
	if err != nil {
		if errors.Is(err, rados.ErrInvalid) { // rbd's log says which of the two it is
			c.warnf("%s", logLine(err))
		}
		return failed(err, "rbd: rollback group to snapshot failed")
	}
	return nil
}

// groupSnapState names the state of a group's snapshot.
func groupSnapState(s rbd.GroupSnapshot) string {
	if s.Complete {
		return "complete"
	}
	return "incomplete"
}

func groupSnapList(ctx context.Context, c *call) error {
	s, f, io, err := c.showPool(ctx, groupArg.read)
	if err != nil {
		return err
	}
	old := c.before(ctx, release20)
	var snaps []rbd.GroupSnapshot
	g, err := rbd.OpenGroup(ctx, io, s.Image)
	switch {
	case err == nil:
		snaps, err = g.Snapshots(ctx)
	case old && errors.Is(err, rados.ErrNotFound):
		c.warnf("%s", logLine(err))
		err = nil
	}
	if err != nil {
		return logged(err)
	}
	if f == nil {
		groupSnapTable(c, snaps, old)
		return nil
	}
	f.OpenArray("group_snaps")
	for _, snap := range snaps {
		f.OpenObject("group_snap")
		if !old {
			f.String("id", snap.ID)
		}
		f.String("snapshot", snap.Name)
		f.String("state", groupSnapWord(snap, old))
		f.Close()
	}
	return f.Flush(c.std.Out)
}

// groupSnapWord is groupSnapState in the words of `rbd group snap ls`, which calls
// a complete snapshot of an older cluster ok.
func groupSnapWord(s rbd.GroupSnapshot, old bool) string {
	if old && s.Complete {
		return "ok"
	}
	return groupSnapState(s)
}

func groupSnapTable(c *call, snaps []rbd.GroupSnapshot, old bool) {
	if len(snaps) == 0 {
		return
	}
	var t cli.TextTable
	if old {
		t.Column("NAME", cli.Left, cli.Left)
		t.Column("STATUS", cli.Right, cli.Right)
	} else {
		t.Column("ID", cli.Left, cli.Left)
		t.Column("NAME", cli.Left, cli.Left)
		t.Column("STATE", cli.Left, cli.Right)
	}
	for _, s := range snaps {
		if old {
			t.Row(s.Name, groupSnapWord(s, old))
		} else {
			t.Row(s.ID, s.Name, groupSnapWord(s, old))
		}
	}
	t.Write(c.std.Out)
}

// groupSnapImage is a line of `rbd group snap info`.
type groupSnapImage struct {
	rbd.GroupImageSnapshot
	pool, name string
}

func groupSnapInfo(ctx context.Context, c *call) error {
	s, f, err := c.show(groupSnapArg.read)
	if err != nil {
		return err
	}
	var snap rbd.GroupSnapshot
	var images []groupSnapImage
	g, err := c.groupOfSnap(ctx, s)
	if err == nil {
		snap, err = g.Snapshot(ctx, s.Snap)
	}
	if err == nil {
		images, err = c.groupSnapImages(ctx, s, snap)
	}
	if err != nil {
		return failed(err, "rbd: failed to show group snapshot")
	}
	if f != nil {
		groupSnapObject(f, s, snap, images)
		return f.Flush(c.std.Out)
	}
	c.printf("rbd group snapshot '%s':\n\tid: %s\n\tstate: %s\n", snap.Name, snap.ID, groupSnapState(snap))
	if len(images) > 0 {
		c.printf("\timage snap: %s\n\timages:\n", snap.ImageSnapName)
	}
	for _, i := range images {
		c.printf("\t\t%s (snap id: %d)\n", spec{Pool: i.pool, Namespace: s.Namespace, Image: i.name}, i.SnapID)
	}
	return nil
}

func groupSnapObject(f *cli.Formatter, s spec, snap rbd.GroupSnapshot, images []groupSnapImage) {
	f.OpenObject("group_snapshot")
	f.String("id", snap.ID)
	f.String("name", snap.Name)
	f.String("state", groupSnapState(snap))
	f.String("image_snap_name", snap.ImageSnapName)
	f.OpenArray("images")
	for _, i := range images {
		f.OpenObject("image")
		f.String("pool_name", i.pool)
		f.String("namespace", s.Namespace)
		f.String("image_name", i.name)
		f.Int("snap_id", int64(i.SnapID))
		f.Close()
	}
	f.Close()
}

// groupSnapImages names the images of a group's snapshot, by pools and names.
func (c *call) groupSnapImages(ctx context.Context, s spec, snap rbd.GroupSnapshot) ([]groupSnapImage, error) {
	images := make([]groupSnapImage, len(snap.Images))
	for i, m := range snap.Images {
		pool, err := c.poolOf(ctx, m.Pool)
		if err != nil {
			return nil, err
		}
		name, err := rbd.LookupName(ctx, c.client.IoCtx(m.Pool).WithNamespace(s.Namespace), m.ImageID)
		if err != nil {
			return nil, err
		}
		images[i] = groupSnapImage{m, pool, name}
	}
	slices.SortFunc(images, func(a, b groupSnapImage) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.name, b.name))
	})
	return images, nil
}
