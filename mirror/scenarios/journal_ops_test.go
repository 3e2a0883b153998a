package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// disk is what a writer does to an image.
type disk interface {
	Size() uint64
	Snapshots() []rbd.Snapshot
	UserSnapshot(name string) (rbd.Snapshot, bool)
	WriteAt(ctx context.Context, p []byte, off uint64) (int, error)
	Discard(ctx context.Context, off, n uint64) error
	CreateSnapshot(ctx context.Context, name string, ns rbd.SnapshotNamespace, o rbd.SnapshotOptions) (uint64, error)
	RemoveSnapshot(ctx context.Context, id uint64) error
	RenameSnapshot(ctx context.Context, id uint64, name string) error
	ProtectSnapshot(ctx context.Context, id uint64) error
	UnprotectSnapshot(ctx context.Context, id uint64) error
	PurgeSnapshots(ctx context.Context, unprotect bool, p rbd.Progress) error
	Rollback(ctx context.Context, id uint64, p rbd.Progress) error
	Rename(ctx context.Context, to string) error
	Resize(ctx context.Context, size uint64, allowShrink bool, p rbd.Progress) error
	Flatten(ctx context.Context, p rbd.Progress) error
	MetadataSet(ctx context.Context, key string, value []byte) error
}

// recorded is an image whose changes are in its journal before they are made.
type recorded struct {
	*rbd.Image
	x *journaled
}

func (r recorded) event(ctx context.Context, ev jwire.Event, f func() error) error {
	return r.x.attempt(ev, func(context.Context) error { return f() })
}

func (r recorded) operation(ev jwire.Event, f func() error) error {
	r.x.ops++
	ev.OpTID = r.x.ops
	if err := r.x.attempt(ev, func(context.Context) error { return f() }); err != nil {
		return err
	}
	return r.x.attempt(jwire.Event{Type: jwire.EventOpFinish, OpTID: ev.OpTID}, func(context.Context) error { return nil })
}

func (r recorded) WriteAt(ctx context.Context, p []byte, off uint64) (int, error) {
	for done := 0; done < len(p); {
		part := p[done:min(len(p), done+16000)]
		at := off + uint64(done)
		err := r.event(ctx, jwire.Event{Type: jwire.EventWrite, Offset: at, Length: uint64(len(part)), Data: part}, func() error {
			_, err := r.Image.WriteAt(ctx, part, at)
			return err
		})
		if err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(p), nil
}

func (r recorded) Discard(ctx context.Context, off, n uint64) error {
	return r.event(ctx, jwire.Event{Type: jwire.EventDiscard, Offset: off, Length: n, SkipPartial: true, Granularity: 65536}, func() error { return r.Image.Discard(ctx, off, n) })
}

func (r recorded) CreateSnapshot(ctx context.Context, name string, ns rbd.SnapshotNamespace, o rbd.SnapshotOptions) (id uint64, err error) {
	err = r.operation(jwire.Event{Type: jwire.EventSnapCreate, Name: name, Namespace: ns.Append(nil)}, func() error {
		id, err = r.Image.CreateSnapshot(ctx, name, ns, o)
		return err
	})
	return id, err
}

func (r recorded) onSnapshot(id uint64, kind jwire.EventType, f func() error) error {
	s, ok := r.Snapshot(id)
	if !ok {
		return rados.ErrNotFound
	}
	return r.operation(jwire.Event{Type: kind, Name: s.Name, Namespace: s.Namespace.Append(nil)}, f)
}

func (r recorded) RemoveSnapshot(ctx context.Context, id uint64) error {
	return r.onSnapshot(id, jwire.EventSnapRemove, func() error { return r.Image.RemoveSnapshot(ctx, id) })
}

func (r recorded) ProtectSnapshot(ctx context.Context, id uint64) error {
	return r.onSnapshot(id, jwire.EventSnapProtect, func() error { return r.Image.ProtectSnapshot(ctx, id) })
}

func (r recorded) UnprotectSnapshot(ctx context.Context, id uint64) error {
	return r.onSnapshot(id, jwire.EventSnapUnprotect, func() error { return r.Image.UnprotectSnapshot(ctx, id) })
}

func (r recorded) Rollback(ctx context.Context, id uint64, p rbd.Progress) error {
	return r.onSnapshot(id, jwire.EventSnapRollback, func() error { return r.Image.Rollback(ctx, id, p) })
}

func (r recorded) RenameSnapshot(ctx context.Context, id uint64, name string) error {
	s, _ := r.Snapshot(id)
	return r.operation(jwire.Event{Type: jwire.EventSnapRename, Name: name, SnapID: id, OldName: s.Name}, func() error { return r.Image.RenameSnapshot(ctx, id, name) })
}

func (r recorded) PurgeSnapshots(ctx context.Context, unprotect bool, _ rbd.Progress) error {
	for _, s := range r.Snapshots() {
		if s.Namespace.Type != rbd.SnapUser {
			continue
		}
		if unprotect && s.Protected() {
			if err := r.UnprotectSnapshot(ctx, s.ID); err != nil {
				return err
			}
		}
		if err := r.RemoveSnapshot(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (r recorded) Rename(ctx context.Context, to string) error {
	return r.operation(jwire.Event{Type: jwire.EventRename, Name: to}, func() error { return r.Image.Rename(ctx, to) })
}

func (r recorded) Resize(ctx context.Context, size uint64, allowShrink bool, p rbd.Progress) error {
	return r.operation(jwire.Event{Type: jwire.EventResize, Size: size}, func() error { return r.Image.Resize(ctx, size, allowShrink, p) })
}

func (r recorded) Flatten(ctx context.Context, p rbd.Progress) error {
	return r.operation(jwire.Event{Type: jwire.EventFlatten}, func() error { return r.Image.Flatten(ctx, p) })
}

func (r recorded) MetadataSet(ctx context.Context, key string, value []byte) error {
	return r.operation(jwire.Event{Type: jwire.EventMetadataSet, Name: key, Value: string(value)}, func() error { return r.Image.MetadataSet(ctx, key, value) })
}

// journaling reports whether an image has a journal.
func (s *site) journaling(spec string) bool {
	s.w.Helper()
	img := s.open(spec, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(s.w.ctx)
	return img.Features()&rbd.FeatureJournaling != 0
}

// withJournal opens the journal of an image as the image itself.
func withJournal(ctx context.Context, io *rados.IoCtx, id string, f func(j *journal.Journal, newest jwire.Tag, owner jwire.TagData) error) error {
	j, err := journal.Open(ctx, io, id, "", journal.Options{})
	if err != nil {
		return err
	}
	newest, owner, err := rbd.NewestTag(ctx, j)
	if err == nil {
		err = f(j, newest, owner)
	}
	return errors.Join(err, j.FlushCommitPosition(ctx), j.Close(ctx))
}

// handOver makes a tag for another owner and records the event of it.
func handOver(ctx context.Context, j *journal.Journal, class uint64, data jwire.TagData) error {
	t, err := j.AllocateTag(ctx, class, data.Append(nil))
	if err != nil {
		return err
	}
	rec, err := j.NewRecorder(ctx)
	if err != nil {
		return err
	}
	future, err := rec.Append(ctx, t.TID, jwire.Event{Type: jwire.EventDemotePromote}.Append(nil))
	if err == nil {
		err = future.Wait(ctx)
	}
	if err == nil {
		future.Committed()
	}
	return errors.Join(err, rec.Close(ctx))
}

func enableJournal(ctx context.Context, io *rados.IoCtx, id string) error {
	return meta.SetImage(ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal})
}

func disableJournal(ctx context.Context, io *rados.IoCtx, id string) error {
	m, err := meta.Image(ctx, io, id)
	if err != nil {
		return err
	}
	m.State = wire.MirrorImageDisabling
	if err := meta.SetImage(ctx, io, id, m); err != nil {
		return err
	}
	err = withJournal(ctx, io, id, func(j *journal.Journal, _ jwire.Tag, _ jwire.TagData) error {
		st, _ := j.State()
		for _, c := range st.Clients {
			if c.ID == "" {
				continue
			}
			if err := j.UnregisterClient(ctx, c.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return meta.RemoveImage(ctx, io, id, m.GlobalID)
}

func demoteJournal(ctx context.Context, io *rados.IoCtx, id string) error {
	return withJournal(ctx, io, id, func(j *journal.Journal, newest jwire.Tag, owner jwire.TagData) error {
		if owner.MirrorUUID != jwire.LocalOwner {
			return rados.ErrInvalid
		}
		data := jwire.TagData{MirrorUUID: jwire.OrphanOwner}
		if p := j.CommitPosition(); len(p) > 0 {
			data.Predecessor = jwire.TagPredecessor{CommitValid: true, TagTID: p[0].TagTID, EntryTID: p[0].EntryTID}
		}
		return handOver(ctx, j, newest.Class, data)
	})
}

func promoteJournal(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	return withJournal(ctx, io, id, func(j *journal.Journal, newest jwire.Tag, owner jwire.TagData) error {
		if owner.MirrorUUID == jwire.LocalOwner || owner.MirrorUUID != jwire.OrphanOwner && !force {
			return rados.ErrInvalid
		}
		data := jwire.TagData{MirrorUUID: jwire.LocalOwner, Predecessor: jwire.TagPredecessor{CommitValid: true, TagTID: newest.TID}}
		if owner.MirrorUUID == jwire.OrphanOwner {
			data.Predecessor.MirrorUUID, data.Predecessor.EntryTID = jwire.OrphanOwner, 1
		}
		return handOver(ctx, j, newest.Class, data)
	})
}

// headOf returns up to where an image's owner recorded and is done.
func (s *site) headOf(spec string) (head *jwire.ObjectPosition) {
	s.w.Helper()
	st, err := journal.ReadState(s.w.ctx, s.io(spec), s.id(spec))
	require.NoError(s.w, err)
	if c := st.Client(""); c != nil && len(c.Commit) > 0 {
		return &c.Commit[0]
	}
	return nil
}

// played waits until to has replayed all that from recorded.
func (w *world) played(from, to *site, spec, there string) {
	w.Helper()
	head := from.headOf(spec)
	uuid, err := meta.UUID(w.ctx, to.io(there).WithNamespace(""))
	require.NoError(w, err)
	want := `"non_primary_position":{}`
	if head != nil {
		want = fmt.Sprintf(`"non_primary_position":{"entry_tid":%d,"object_number":%d,"tag_tid":%d}`, head.EntryTID, head.Object, head.TagTID)
	}
	w.eventually(fmt.Sprintf("%s replayed on %s", spec, to.name), func() (bool, string) {
		st, err := journal.ReadState(w.ctx, from.io(spec), from.id(spec))
		require.NoError(w, err)
		c := st.Client(uuid)
		if c == nil {
			return false, "not registered"
		}
		var data jwire.ClientData
		r := denc.NewReader(c.Data)
		if data.Decode(r); r.Err() != nil || data.State != jwire.PeerReplaying {
			return false, "first copy"
		}
		id, err := rbd.LookupID(w.ctx, to.io(there), base(there))
		if err != nil || id != data.ImageID {
			return false, fmt.Sprint("image of the client is not there: ", err)
		}
		if head != nil && len(c.Commit) > 0 && c.Commit[0] == *head {
			return true, ""
		}
		state, description := to.status(to.io(there), from.gid(spec))
		return state == "up+replaying" && strings.Contains(description, want), state + " " + description + ", want " + want
	})
}
