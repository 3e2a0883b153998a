package rbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// compareAndWrite applies an event alone: made again with anything before or after
// it, the comparison could end in another way.
func (p *EventReplay) compareAndWrite(ctx context.Context, h *heldEvent) error {
	if err := p.Wait(ctx); err != nil {
		return err
	}
	if err := p.commitNow(ctx); err != nil {
		return err
	}
	ev, size := &h.event, p.img.Size()
	if ev.Offset < size {
		n := min(ev.Length, size-ev.Offset, uint64(len(ev.Compare)), uint64(len(ev.Data)))
		have := make([]byte, n)
		if _, err := p.img.ReadAt(ctx, have, ev.Offset); err != nil {
			return p.writes.fail(err)
		}
		if n > 0 && bytes.Equal(have, ev.Compare[:n]) {
			if err := p.img.WriteData(ctx, ev.Offset, msgr2.NewData(ev.Data[:n])); err != nil {
				return p.writes.fail(err)
			}
		}
	}
	h.done(nil)
	return p.commitNow(ctx)
}

// operation carries out an operation; that it was carried out before is no error.
func (p *EventReplay) operation(ctx context.Context, ev *jwire.Event) error {
	img := p.img
	switch ev.Type {
	case jwire.EventSnapCreate:
		ns, err := p.namespace(ev)
		if err != nil || img.findSnap(ev.Name, ns) != nil {
			return err
		}
		_, err = img.CreateSnapshot(ctx, ev.Name, ns, SnapshotOptions{SkipQuiesce: true})
		return ignore(err, rados.ErrExists)
	case jwire.EventSnapRemove, jwire.EventSnapProtect, jwire.EventSnapUnprotect, jwire.EventSnapRollback:
		return p.onSnapshot(ctx, ev)
	case jwire.EventSnapRename:
		s, ok := img.UserSnapshot(ev.OldName)
		if !ok {
			return nil
		}
		return ignore(img.RenameSnapshot(ctx, s.ID, ev.Name), rados.ErrExists)
	case jwire.EventRename:
		if img.Name() == ev.Name {
			return nil
		}
		return ignore(img.Rename(ctx, ev.Name), rados.ErrExists)
	case jwire.EventResize:
		return img.Resize(ctx, ev.Size, true, nil)
	case jwire.EventFlatten:
		if img.Parent() == nil {
			return nil
		}
		return ignore(img.Flatten(ctx, nil), rados.ErrInvalid)
	case jwire.EventSnapLimit:
		return ignore(img.SetSnapshotLimit(ctx, ev.Size), rados.ErrRange) // there are more by now
	case jwire.EventUpdateFeatures:
		// The journal itself stays: without it there is nothing to mirror by.
		mask := ev.Features &^ FeatureJournaling
		if ev.Enabled {
			mask &^= img.Features()
		} else {
			mask &= img.Features()
		}
		switch {
		case mask == 0:
			return nil
		case ev.Enabled:
			return img.EnableFeatures(ctx, mask)
		}
		return img.DisableFeatures(ctx, mask)
	case jwire.EventMetadataSet:
		return img.MetadataSet(ctx, ev.Name, []byte(ev.Value))
	case jwire.EventMetadataRemove:
		return ignore(img.MetadataRemove(ctx, ev.Name), rados.ErrNotFound)
	}
	return fmt.Errorf("%w: %d", jwire.ErrEvent, ev.Type)
}

// ErrReplayTorn says that the events of a journal cannot lead from what an image is to
// what it is to be: a replay that was not EventReplay's went further than it
// committed, and removed a snapshot that the image has to be rolled back to again.
var ErrReplayTorn = errors.New("the image has to be rolled back to a snapshot that was removed since: it is to be copied anew")

// onSnapshot carries out an operation on a snapshot that is there.
func (p *EventReplay) onSnapshot(ctx context.Context, ev *jwire.Event) error {
	ns, err := p.namespace(ev)
	if err != nil {
		return err
	}
	s := p.img.findSnap(ev.Name, ns)
	if s == nil {
		if ev.Type != jwire.EventSnapRollback {
			return nil // it was removed since
		}
		return fmt.Errorf("%w: snapshot %s", ErrReplayTorn, ev.Name)
	}
	switch ev.Type {
	case jwire.EventSnapRemove:
		return ignore(p.img.RemoveSnapshot(ctx, s.ID), rados.ErrNotFound)
	case jwire.EventSnapProtect:
		if s.Protected() {
			return nil
		}
		return ignore(p.img.ProtectSnapshot(ctx, s.ID), rados.ErrBusy)
	case jwire.EventSnapUnprotect:
		return ignore(p.img.UnprotectSnapshot(ctx, s.ID), rados.ErrInvalid)
	}
	return p.img.Rollback(ctx, s.ID, nil)
}

func (p *EventReplay) namespace(ev *jwire.Event) (ns SnapshotNamespace, err error) {
	r := denc.NewReader(ev.Namespace)
	if ns.Decode(r); r.Err() != nil {
		return ns, fmt.Errorf("namespace of snapshot %s: %w", ev.Name, r.Err())
	}
	return ns, nil
}

func ignore(err, but error) error {
	if errors.Is(err, but) {
		return nil
	}
	return err
}
