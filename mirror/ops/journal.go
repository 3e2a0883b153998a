package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// journalPromotion tells from its journal whose image the original is. Unknown is
// an image without a journal.
func journalPromotion(ctx context.Context, io *rados.IoCtx, id string) (p Promotion, primary string, err error) {
	_, owner, err := rbd.JournalOwner(ctx, io, id)
	switch {
	case notFound(err):
		return Unknown, "", nil
	case err != nil:
		return Unknown, "", err
	}
	p, primary = promotionOfTag(owner)
	return p, primary, nil
}

func promotionOfTag(owner jwire.TagData) (Promotion, string) {
	switch owner.MirrorUUID {
	case jwire.LocalOwner:
		return Primary, ""
	case jwire.OrphanOwner:
		return Orphan, ""
	}
	return NonPrimary, owner.MirrorUUID
}

// beginEpoch makes a tag of what next says of the newest one, with the event that
// says that the owner changed as its only entry, and is done with that
// (src/librbd/journal/{Demote,Promote}Request.cc). When somebody else makes a tag
// meanwhile, as a replayer does that follows the other site, next is asked again.
func beginEpoch(ctx context.Context, io *rados.IoCtx, id string, next func(newest jwire.Tag, owner jwire.TagData, commit jwire.CommitPosition) (jwire.TagData, error)) (err error) {
	j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
	if err != nil {
		return err
	}
	defer func() {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		err = errors.Join(err, j.Close(back))
	}()
	for {
		tid, err := j.NextTagTID(ctx)
		if err != nil {
			return err
		}
		newest, owner, err := rbd.NewestTag(ctx, j)
		if err != nil {
			return err
		}
		own, err := j.Client(ctx, "")
		if err != nil {
			return err
		}
		data, err := next(newest, owner, own.Commit)
		if err != nil {
			return err
		}
		tag, err := j.AllocateTagAt(ctx, tid, newest.Class, data.Append(nil))
		if errors.Is(err, rados.ErrStale) || errors.Is(err, rados.ErrExists) {
			continue
		}
		if err != nil {
			return err
		}
		return markEpoch(ctx, j, tag)
	}
}

// markEpoch writes the event under its tag, without a time as librbd does.
func markEpoch(ctx context.Context, j *journal.Journal, tag jwire.Tag) (err error) {
	rec, err := j.NewRecorder(ctx)
	if err != nil {
		return err
	}
	defer func() {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		err = errors.Join(err, rec.Close(back))
	}()
	f, err := rec.Append(ctx, tag.TID, jwire.Event{Type: jwire.EventDemotePromote}.Append(nil))
	if err != nil {
		return err
	}
	f.Flush()
	if err := f.Wait(ctx); err != nil {
		return err
	}
	f.Committed()
	return j.FlushCommitPosition(ctx)
}

// demoteJournal is Demote of an image that is mirrored by its journal. With the
// exclusive lock nobody writes to the image, and all that its last owner had
// written to the journal is applied and committed.
func demoteJournal(ctx context.Context, io *rados.IoCtx, id string) error {
	p, _, err := journalPromotion(ctx, io, id)
	if err != nil {
		return err
	}
	if p != Primary {
		return ErrNotPrimary
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		if img.Features()&rbd.FeatureExclusiveLock == 0 {
			return fmt.Errorf("exclusive lock is not active: %w", rados.ErrInvalid)
		}
		if err := img.AcquireLock(ctx); err != nil {
			return err
		}
		return beginEpoch(ctx, io, id, orphanTag)
	})
}

// orphanTag gives the image away behind what was committed last.
func orphanTag(_ jwire.Tag, owner jwire.TagData, commit jwire.CommitPosition) (jwire.TagData, error) {
	if owner.MirrorUUID != jwire.LocalOwner {
		return jwire.TagData{}, ErrNotPrimary
	}
	return rbd.NextTag(jwire.OrphanOwner, commit), nil
}

// promoteJournal is Promote of an image that is mirrored by its journal. A
// replayer sees the tag and stops.
func promoteJournal(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	return beginEpoch(ctx, io, id, func(newest jwire.Tag, owner jwire.TagData, _ jwire.CommitPosition) (jwire.TagData, error) {
		switch p, _ := promotionOfTag(owner); {
		case p == Primary:
			return jwire.TagData{}, ErrPrimary
		case p == NonPrimary && !force:
			return jwire.TagData{}, ErrRemotePrimary
		case p == Orphan:
			return localTag(newest, jwire.OrphanOwner), nil
		}
		return localTag(newest, jwire.LocalOwner), nil
	})
}

// localTag takes the image over from the owner of the newest tag. From nobody, it
// leads back to the entry of the demotion, the only one there: its number is said
// to be 1, as librbd says. From another site it names this one, so that nobody
// can link to it.
func localTag(newest jwire.Tag, from string) jwire.TagData {
	p := jwire.TagPredecessor{MirrorUUID: from, CommitValid: true, TagTID: newest.TID}
	if from == jwire.OrphanOwner {
		p.EntryTID = 1
	}
	return jwire.TagData{MirrorUUID: jwire.LocalOwner, Predecessor: p}
}

// cleanJournal takes away what mirroring left in an image's journal. An image that
// is not primary is taken over from whoever owns it.
func cleanJournal(ctx context.Context, img *rbd.Image) error {
	p, _, err := journalPromotion(ctx, img.IoCtx(), img.ID())
	if err != nil || p == Unknown {
		return err
	}
	if p != Primary {
		err := beginEpoch(ctx, img.IoCtx(), img.ID(), func(newest jwire.Tag, _ jwire.TagData, _ jwire.CommitPosition) (jwire.TagData, error) {
			return localTag(newest, jwire.LocalOwner), nil
		})
		if err != nil {
			return err
		}
	}
	return forgetPeers(ctx, img)
}

// forgetPeers takes the mirroring peers out of a journal, with the snapshots of
// copies that were not finished.
func forgetPeers(ctx context.Context, img *rbd.Image) (err error) {
	j, err := journal.Open(ctx, img.IoCtx(), img.ID(), "", journal.Options{NoTrim: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close(context.WithoutCancel(ctx))) }()
	for {
		if err := j.Refresh(ctx); err != nil {
			return err
		}
		st, _ := j.State()
		peers := 0
		for _, c := range st.Clients {
			var data jwire.ClientData
			r := denc.NewReader(c.Data)
			if data.Decode(r); r.Err() != nil {
				return fmt.Errorf("client %q of the journal: %w", c.ID, r.Err())
			}
			if data.Kind != jwire.ClientMirrorPeer {
				continue
			}
			peers++
			if err := img.RemoveSyncPoints(ctx); err != nil {
				return err
			}
			if err := j.UnregisterClient(ctx, c.ID); err != nil && !notFound(err) {
				return err
			}
		}
		if peers == 0 {
			return nil
		}
	}
}

// resyncJournal is Resync of an image that is mirrored by its journal: the wish is
// a flag in the data of the journal's own client (src/librbd/Journal.cc,
// request_resync).
func resyncJournal(ctx context.Context, io *rados.IoCtx, id string) (err error) {
	j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
	if err != nil {
		return err
	}
	asked := false
	defer func() {
		err = errors.Join(err, j.Close(context.WithoutCancel(ctx)))
		if asked && notFound(err) {
			err = nil // the daemon is quick: the image goes already
		}
	}()
	_, owner, err := rbd.NewestTag(ctx, j)
	if err != nil {
		return err
	}
	if owner.MirrorUUID == jwire.LocalOwner {
		return fmt.Errorf("image is primary, cannot resync to itself: %w", rados.ErrInvalid)
	}
	c, err := j.Client(ctx, "")
	if err != nil {
		return err
	}
	var data jwire.ClientData
	r := denc.NewReader(c.Data)
	if data.Decode(r); r.Err() != nil {
		return fmt.Errorf("the image's own client of its journal: %w", r.Err())
	}
	data.ResyncRequested, asked = true, true
	return j.Update(ctx, data.Append(nil))
}
