package fakecluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// maxMirrorSnapshots is rbd_mirroring_max_mirroring_snapshots.
const maxMirrorSnapshots = 5

// errTooManyLinks is EMLINK, which RBD answers for images in a group.
const errTooManyLinks errno.Errno = 31

// mirrorSnapshot makes a primary mirror snapshot of an image that is enabled for
// them and primary, and removes those that are more than it should have.
func (h *inhouse) mirrorSnapshot(ctx context.Context, at where, id string) errno.Errno {
	m, ok := stored[rbdwire.MirrorImage](h.omap(at, rbdMirroring), rbdwire.PrefixMirrorImage+id)
	if !ok || m.State != rbdwire.MirrorImageEnabled || m.Mode != rbdwire.MirrorImageSnapshot {
		return errno.ErrInvalid
	}
	i, e := h.openImage(at, id)
	if e != 0 {
		return e
	}
	if last := i.lastMirror(); i.has(rbdwire.FeatureNonPrimary) || last != nil && last.Namespace.State != rbdwire.MirrorSnapPrimary {
		return errno.ErrInvalid
	}
	peers := h.senders(at.pool)
	if len(peers) == 0 {
		return errno.ErrInvalid
	}
	if e := i.watch(); e != 0 {
		return e
	}
	defer i.close()
	name := ".mirror.primary." + m.GlobalID + "." + h.c.uuid().String()
	ns := rbdwire.SnapshotNamespace{Type: rbdwire.SnapMirror, State: rbdwire.MirrorSnapPrimary, PeerUUIDs: peers, PrimarySnapID: wire.SnapHead}
	e = i.maintain(ctx, rbdwire.NotifyMessage{Op: rbdwire.NotifySnapCreate, Name: name, Namespace: ns}, func() errno.Errno {
		_, e := i.addSnapshot(name, ns)
		return e
	})
	if e == 0 {
		e = i.complete(name)
	}
	if e != 0 {
		return e
	}
	i.updated(ctx)
	return i.prune(ctx, peers)
}

// complete stores the image's state with a new mirror snapshot and marks it as
// complete, unless the owner of the lock did so.
func (i *image) complete(name string) errno.Errno {
	if e := i.refresh(); e != 0 {
		return e
	}
	for _, s := range i.snaps {
		if s.Name != name || s.Namespace.Complete {
			continue
		}
		if e := i.writeState(s.ID); e != 0 {
			return e
		}
		in := denc.AppendU64(denc.AppendBool(denc.AppendU64(nil, s.ID), true), 0)
		return i.h.rbd(i.at, i.header(), rbdwire.MethodMirrorImageSnapshotSetCopyProgress, in)
	}
	return 0
}

// senders returns the peers that receive from a pool.
func (h *inhouse) senders(pool int64) []string {
	m := h.omap(where{pool: pool}, rbdMirroring)
	var out []string
	for k := range m {
		if !strings.HasPrefix(k, rbdwire.PrefixMirrorPeer) {
			continue
		}
		if p, ok := stored[rbdwire.MirrorPeer](m, k); ok && p.Direction != rbdwire.MirrorPeerRX {
			out = append(out, p.UUID)
		}
	}
	slices.Sort(out)
	return out
}

func (i *image) lastMirror() *rbdwire.SnapshotRecord {
	for k := range slices.Backward(i.snaps) {
		if i.snaps[k].Namespace.Type == rbdwire.SnapMirror {
			return &i.snaps[k]
		}
	}
	return nil
}

// writeState stores what the image is like with a mirror snapshot.
func (i *image) writeState(snap uint64) errno.Errno {
	const leftOut = rbdwire.FeatureDataPool | rbdwire.FeatureStriping | rbdwire.FeaturesInternal | rbdwire.FeatureNonPrimary | rbdwire.FeatureDirtyCache
	s := rbdwire.ImageState{
		Name: i.name(), Features: i.features &^ leftOut, SnapLimit: wire.SnapHead,
		Snaps: map[uint64]rbdwire.SnapState{}, Metadata: i.metadata(),
	}
	if p, ok := i.omap[rbdwire.KeySnapLimit]; ok {
		s.SnapLimit = denc.NewReader(p).U64()
	}
	for _, u := range i.snaps {
		if u.Namespace.Type == rbdwire.SnapUser && u.ID < snap {
			s.Snaps[u.ID] = rbdwire.SnapState{Namespace: u.Namespace, Name: u.Name, Protection: u.Protection}
		}
	}
	body, limit := s.Append(nil), 1<<i.order
	head := len(rbdwire.ImageStateHeader{}.Append(nil))
	count := 1 + (head+len(body))/limit
	out := rbdwire.ImageStateHeader{Objects: uint32(count)}.Append(nil)
	for n := range count {
		room := min(limit-len(out), len(body))
		out, body = append(out, body[:room]...), body[room:]
		if e := i.h.writeFull(i.at, fmt.Sprintf("%s%s.%d.%d", rbdState, i.id, snap, n), out, wire.SnapContext{}); e != 0 {
			return e
		}
		out = nil
	}
	return 0
}

// prune removes or unlinks mirror snapshots that are more than an image keeps.
func (i *image) prune(ctx context.Context, peers []string) errno.Errno {
	const most = 100
	for range most {
		if e := i.refresh(); e != 0 {
			return e
		}
		s, peer := i.surplus(peers)
		if s == nil {
			return 0
		}
		others := slices.DeleteFunc(slices.Clone(s.Namespace.PeerUUIDs), func(p string) bool { return p == peer })
		if len(others) > 0 {
			in := denc.AppendString(denc.AppendU64(nil, s.ID), peer)
			if e := i.h.rbd(i.at, i.header(), rbdwire.MethodMirrorImageSnapshotUnlinkPeer, in); e != 0 {
				return e
			}
			continue
		}
		remote := rbdwire.NotifyMessage{Op: rbdwire.NotifySnapRemove, Name: s.Name, Namespace: s.Namespace}
		if e := i.maintain(ctx, remote, func() errno.Errno { return i.removeSnapshot(s) }); e != 0 {
			return e
		}
		i.updated(ctx)
	}
	return 0
}

// surplus returns the next snapshot that a peer is to be unlinked from, counting
// from the last promotion on: one that was never completed or that nobody needs,
// or the last one within the limit when there are more.
func (i *image) surplus(peers []string) (*rbdwire.SnapshotRecord, string) {
	newest := i.lastMirror()
	for _, peer := range peers {
		count := 0
		var last *rbdwire.SnapshotRecord
		for k := range i.snaps {
			s := &i.snaps[k]
			n := &s.Namespace
			switch {
			case n.Type != rbdwire.SnapMirror:
				continue
			case n.State != rbdwire.MirrorSnapPrimary:
				count, last = 0, nil
				continue
			case len(n.PeerUUIDs) == 0 && s == newest, len(n.PeerUUIDs) > 0 && !slices.Contains(n.PeerUUIDs, peer):
				continue
			case len(n.PeerUUIDs) == 0, !n.Complete:
				return s, peer
			}
			if count++; count == maxMirrorSnapshots {
				last = s
			}
			if count > maxMirrorSnapshots {
				return last, peer
			}
		}
	}
	return nil, ""
}

// removeImage removes an image with everything that belongs to it, the names
// last. In the trash it has no name any more.
func (h *inhouse) removeImage(ctx context.Context, at where, id, name string, fromTrash bool) errno.Errno {
	i, e := h.openImage(at, id)
	switch {
	case e == 0:
		if e := i.removeData(ctx, fromTrash); e != 0 {
			return e
		}
	case e != errno.ErrNotFound:
		return e
	}
	if name == "" {
		return 0
	}
	if e := h.remove(at, rbdIDPrefix+name, wire.SnapContext{}); e != 0 {
		return e
	}
	in := denc.AppendString(denc.AppendString(nil, name), id)
	if e := h.rbd(at, rbdDirectory, rbdwire.MethodDirRemoveImage, in); e != errno.ErrNotFound {
		return e
	}
	return 0
}

// unused tells whether nobody has an image open: ErrBusy when somebody has.
func (i *image) unused() errno.Errno {
	ops, e := i.h.operate(i.at, i.header(), wire.SnapContext{}, wire.Op{Code: wire.OpListWatchers})
	if e != 0 {
		return e
	}
	var l wire.WatcherList
	if l.Decode(denc.NewReader(ops[0].Data.Bytes())); len(l.Watchers) > 0 {
		return errno.ErrBusy
	}
	return 0
}

// removable tells why an image cannot be removed; 0 when it can.
func (i *image) removable(fromTrash bool) errno.Errno {
	if e := i.unused(); e != 0 {
		return e
	}
	switch {
	case i.has(rbdwire.FeatureNonPrimary) && !fromTrash:
		return errno.ErrInvalid
	case i.opFeatures&rbdwire.OpFeatureGroup != 0:
		return errTooManyLinks
	}
	for _, s := range i.snaps {
		if s.Namespace.Type != rbdwire.SnapMirror && !(s.Namespace.Type == rbdwire.SnapTrash && s.Children == 0) {
			return errno.ErrNotEmpty
		}
	}
	return 0
}

func (i *image) removeData(ctx context.Context, fromTrash bool) errno.Errno {
	if e := i.removable(fromTrash); e != 0 {
		return e
	}
	for len(i.snaps) > 0 {
		if e := i.removeSnapshot(&i.snaps[0]); e != 0 {
			return e
		}
	}
	sc := i.snapc()
	var failed errno.Errno
	drop := func(at where, prefix string) {
		i.h.objects(at, prefix, func(n string) {
			if e := i.h.remove(at, n, sc); e != 0 {
				failed = e
			}
		})
	}
	drop(i.data, i.prefix+".")
	if i.has(rbdwire.FeatureJournaling) {
		sc = wire.SnapContext{}
		drop(i.at, fmt.Sprintf("journal_data.%d.%s.", i.at.pool, i.id))
		if e := i.h.remove(i.at, "journal."+i.id, sc); e != 0 {
			return e
		}
	}
	if failed != 0 {
		return failed
	}
	i.detachChild(ctx, i.parent.ParentImageSpec)
	i.forgetMirroring(ctx)
	if e := i.h.remove(i.at, i.mapName(wire.SnapHead), wire.SnapContext{}); e != 0 {
		return e
	}
	return i.h.remove(i.at, i.header(), wire.SnapContext{})
}

// detachChild takes an image off its parent's list of children, and removes the
// parent's snapshot if it only waited for that.
func (i *image) detachChild(ctx context.Context, p rbdwire.ParentImageSpec) {
	if p.Pool < 0 {
		return
	}
	if i.opFeatures&rbdwire.OpFeatureCloneChild == 0 {
		key := denc.AppendU64(denc.AppendString(denc.AppendS64(nil, p.Pool), p.ImageID), p.SnapID)
		_ = i.h.rbd(i.at, rbdChildren, rbdwire.MethodRemoveChild, denc.AppendString(key, i.id))
		return
	}
	at := where{p.Pool, p.Namespace}
	child := rbdwire.ChildImageSpec{Pool: i.at.pool, Namespace: i.at.ns, ImageID: i.id}
	_ = i.h.rbd(at, rbdHeader+p.ImageID, rbdwire.MethodChildDetach, child.Append(denc.AppendU64(nil, p.SnapID)))
	parent, e := i.h.openImage(at, p.ImageID)
	if e != 0 {
		return
	}
	for k := range parent.snaps {
		s := parent.snaps[k]
		if s.ID != p.SnapID || s.Namespace.Type != rbdwire.SnapTrash || s.Children > 0 || parent.watch() != 0 {
			continue
		}
		remote := rbdwire.NotifyMessage{Op: rbdwire.NotifySnapRemove, Name: s.Name, Namespace: s.Namespace}
		if parent.maintain(ctx, remote, func() errno.Errno { return parent.removeSnapshot(&s) }) == 0 {
			parent.updated(ctx)
		}
		parent.close()
		return
	}
}

// forgetMirroring takes an image that goes away off the list of mirrored images.
func (i *image) forgetMirroring(ctx context.Context) {
	m, ok := stored[rbdwire.MirrorImage](i.h.omap(i.at, rbdMirroring), rbdwire.PrefixMirrorImage+i.id)
	if !ok {
		return
	}
	tell := func(state uint8) {
		n := rbdwire.MirroringMessage{Op: rbdwire.MirroringImageUpdated, State: uint32(state), ImageID: i.id, GlobalID: m.GlobalID}
		_, _ = i.h.notify(ctx, i.at, rbdMirroring, n.Append(nil))
	}
	m.State = rbdwire.MirrorImageDisabling
	_ = i.h.rbd(i.at, rbdMirroring, rbdwire.MethodMirrorImageSet, m.Append(denc.AppendString(nil, i.id)))
	tell(m.State)
	_ = i.h.rbd(i.at, rbdMirroring, rbdwire.MethodMirrorImageRemove, denc.AppendString(nil, i.id))
	tell(rbdwire.MirrorImageDisabled)
}

// trashRemove removes an image in the trash for good. ErrPermission says that it
// must stay for some time yet.
func (h *inhouse) trashRemove(ctx context.Context, at where, id string, force bool) errno.Errno {
	t, ok := stored[rbdwire.TrashImageSpec](h.omap(at, rbdTrash), "id_"+id)
	if !ok {
		return errno.ErrNotFound
	}
	if !force && h.c.clock.Now().Before(t.Until.Std()) {
		return errno.ErrPermission
	}
	if t.State != rbdwire.TrashStateNormal && t.State != rbdwire.TrashStateRemoving {
		return errno.ErrBusy
	}
	set := func(to, from uint8) errno.Errno {
		return h.rbd(at, rbdTrash, rbdwire.MethodTrashStateSet, denc.AppendU8(denc.AppendU8(denc.AppendString(nil, id), to), from))
	}
	if e := set(rbdwire.TrashStateRemoving, t.State); e != 0 {
		return e
	}
	if e := h.removeImage(ctx, at, id, "", true); e != 0 {
		_ = set(rbdwire.TrashStateNormal, rbdwire.TrashStateRemoving)
		return e
	}
	return h.rbd(at, rbdTrash, rbdwire.MethodTrashRemove, denc.AppendString(nil, id))
}

// trashPurge removes what users put into the trash and whose time has come.
func (h *inhouse) trashPurge(ctx context.Context, at where) {
	m := h.omap(at, rbdTrash)
	for k := range m {
		id, ok := strings.CutPrefix(k, "id_")
		t, decoded := stored[rbdwire.TrashImageSpec](m, k)
		if !ok || !decoded || t.Source != rbdwire.TrashSourceUser && t.Source != rbdwire.TrashSourceUserParent || h.c.clock.Now().Before(t.Until.Std()) {
			continue
		}
		if e := h.trashRemove(ctx, at, id, true); e != 0 {
			h.c.log.Info("trash purge", "pool", at.pool, "image", id, "err", e)
		}
	}
}

// flatten gives a clone its own copy of what it shows of its parent.
func (h *inhouse) flatten(ctx context.Context, at where, id string, progress func(done, total uint64) bool) errno.Errno {
	i, e := h.openImage(at, id)
	switch {
	case e != 0:
		return e
	case i.parent.Pool < 0 || i.parent.Overlap == nil:
		return errno.ErrInvalid
	}
	if e := i.watch(); e != 0 {
		return e
	}
	defer i.close()
	e = i.maintain(ctx, rbdwire.NotifyMessage{Op: rbdwire.NotifyFlatten}, func() errno.Errno { return i.flatten(ctx, progress) })
	if e == 0 {
		i.updated(ctx)
	}
	return e
}

func (i *image) flatten(ctx context.Context, progress func(done, total uint64) bool) errno.Errno {
	if i.parent.Overlap == nil {
		return errno.ErrInvalid
	}
	n := i.layout.Objects(min(i.size, *i.parent.Overlap))
	for k := range n {
		if e := i.fill(k, i.inherited(k)); e != 0 {
			return e
		}
		if !progress(k+1, n) {
			return errno.ErrCanceled
		}
	}
	if len(i.snaps) == 0 || i.has(rbdwire.FeatureDeepFlatten) {
		i.detachChild(ctx, i.parent.ParentImageSpec)
	}
	e := i.h.rbd(i.at, i.header(), rbdwire.MethodParentDetach, nil)
	if e == errno.ErrNotFound {
		e = 0
	}
	return e
}
