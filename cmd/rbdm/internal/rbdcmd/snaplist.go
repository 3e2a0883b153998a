package rbdcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// snapList is `rbd snap ls`.
func snapList(ctx context.Context, c *call) error {
	s, id, err := c.imageAndID(specArg{})
	if err != nil {
		return err
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true}, func(img *rbd.Image) error {
		all := c.Has("all")
		snaps := img.Snapshots()
		if !all {
			snaps = slices.DeleteFunc(slices.Clone(snaps), func(s rbd.Snapshot) bool { return s.Namespace.Type != rbd.SnapUser })
		}
		rows := make([]snapRow, len(snaps))
		for i, snap := range snaps {
			rows[i] = snapRow{Snapshot: snap, objects: img.Objects()}
			if snap.Namespace.Type == rbd.SnapGroup {
				if rows[i].group, err = readGroupSnap(ctx, img, snap); err != nil {
					return failed(err, "rbd: failed to list snapshots")
				}
			}
		}
		if f == nil {
			snapTable(c, rows, all)
			return nil
		}
		f.OpenArray("snapshots")
		for _, r := range rows {
			r.object(f, all)
		}
		return f.Flush(c.std.Out)
	})
}

func snapTable(c *call, rows []snapRow, all bool) {
	if len(rows) == 0 {
		return
	}
	var t cli.TextTable
	t.Column("SNAPID", cli.Left, cli.Right)
	t.Column("NAME", cli.Left, cli.Left)
	t.Column("SIZE", cli.Left, cli.Right)
	t.Column("PROTECTED", cli.Left, cli.Left)
	t.Column("TIMESTAMP", cli.Left, cli.Right)
	if all {
		t.Column("NAMESPACE", cli.Left, cli.Left)
	}
	for _, r := range rows {
		protected := ""
		if r.protected() {
			protected = "yes"
		}
		cells := []string{fmt.Sprint(r.ID), r.Name, cli.ByteSize(r.Size), protected, ctime(r.Timestamp)}
		if all {
			cells = append(cells, r.namespace())
		}
		t.Row(cells...)
	}
	t.Write(c.std.Out)
}

// snapRow is one snapshot in the list.
type snapRow struct {
	rbd.Snapshot
	group   groupSnap
	objects uint64 // of the image's head
}

func (r *snapRow) protected() bool { return r.Namespace.Type == rbd.SnapUser && r.Protected() }

func (r *snapRow) nonPrimary() bool {
	return r.Namespace.State == wire.MirrorSnapNonPrimary || r.Namespace.State == wire.MirrorSnapNonPrimaryDemoted
}

// snapKind names a snapshot's namespace.
func snapKind(t uint32) string {
	switch t {
	case rbd.SnapUser:
		return "user"
	case rbd.SnapGroup:
		return "group"
	case rbd.SnapTrash:
		return "trash"
	case rbd.SnapMirror:
		return "mirror"
	}
	return "unknown"
}

func mirrorSnapState(state uint8) string {
	switch state {
	case wire.MirrorSnapPrimary:
		return "primary"
	case wire.MirrorSnapNonPrimary:
		return "non-primary"
	case wire.MirrorSnapPrimaryDemoted, wire.MirrorSnapNonPrimaryDemoted:
		return "demoted"
	}
	return "unknown"
}

// namespace is the column NAMESPACE.
func (r *snapRow) namespace() string {
	n := r.Namespace
	kind := snapKind(n.Type)
	switch n.Type {
	case rbd.SnapGroup:
		return fmt.Sprintf("%s (%s/%s@%s)", kind, r.group.pool, r.group.group, r.group.snap)
	case rbd.SnapTrash:
		return fmt.Sprintf("%s (%s %s)", kind, snapKind(n.OriginalType), n.OriginalName)
	case rbd.SnapMirror:
		text := fmt.Sprintf("%s (%s peer_uuids:[%s]", kind, mirrorSnapState(n.State), strings.Join(n.PeerUUIDs, ","))
		if r.nonPrimary() {
			text += fmt.Sprintf(" %s:%d ", n.PrimaryMirrorUUID, n.PrimarySnapID)
			switch {
			case n.Complete:
			case r.objects > 0:
				text += fmt.Sprintf("%d%% ", min(100, 100*n.LastCopiedObject/r.objects))
			default:
				text += "not "
			}
			text += "copied"
		}
		return text + ")"
	}
	return kind
}

func (r *snapRow) object(f *cli.Formatter, all bool) {
	f.OpenObject("snapshot")
	f.Uint("id", r.ID)
	f.String("name", r.Name)
	f.Uint("size", r.Size)
	f.String("protected", fmt.Sprint(r.protected()))
	f.String("timestamp", ctime(r.Timestamp))
	if all {
		r.namespaceObject(f)
	}
	f.Close()
}

func (r *snapRow) namespaceObject(f *cli.Formatter) {
	n := r.Namespace
	f.OpenObject("namespace")
	f.String("type", snapKind(n.Type))
	switch n.Type {
	case rbd.SnapGroup:
		f.String("pool", r.group.pool)
		f.String("group", r.group.group)
		f.String("group snap", r.group.snap)
	case rbd.SnapTrash:
		f.String("original_namespace_type", snapKind(n.OriginalType))
		f.String("original_name", n.OriginalName)
	case rbd.SnapMirror:
		f.String("state", mirrorSnapState(n.State))
		stringArray(f, "mirror_peer_uuids", "peer_uuid", n.PeerUUIDs)
		f.Bool("complete", n.Complete)
		if r.nonPrimary() {
			f.String("primary_mirror_uuid", n.PrimaryMirrorUUID)
			f.Uint("primary_snap_id", n.PrimarySnapID)
			f.Uint("last_copied_object_number", n.LastCopiedObject)
		}
	}
	f.Close()
}

// groupSnap is the snapshot of a group that an image's snapshot is part of.
type groupSnap struct{ pool, group, snap string }

func readGroupSnap(ctx context.Context, img *rbd.Image, s rbd.Snapshot) (groupSnap, error) {
	n := s.Namespace
	io := img.IoCtx().WithPool(n.GroupPool)
	var g groupSnap
	var err error
	if g.pool, err = io.Client().PoolName(ctx, n.GroupPool); err != nil {
		return g, err
	}
	if g.group, err = groupName(ctx, io, n.GroupID); err != nil {
		return g, err
	}
	data, err := io.Exec(ctx, "rbd_group_header."+n.GroupID, rbdClass, wire.MethodGroupSnapGetByID, denc.AppendString(nil, n.GroupSnapID))
	if err != nil {
		return g, err
	}
	var gs wire.GroupSnapshot
	r := denc.NewReader(data)
	gs.Decode(r)
	g.snap = gs.Name
	return g, r.Err()
}
