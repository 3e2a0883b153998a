package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

var errSplitBrain = errors.New("split-brain")

// journalReplica is what one session of an image that is mirrored by its journal
// works with.
type journalReplica struct {
	r             *imageReplayer
	local, remote *rbd.Image
	// theirs is the remote journal as this site's client of it.
	theirs *journal.Journal
	// ours is the local journal: only tags are added to it.
	ours   *journal.Journal
	client jwire.ClientData
	stats  journalStats
	delay  replayDelay
	// predecessors are those of the remote journal's tags, for watch.
	predecessors map[uint64]jwire.TagPredecessor
	// ends are those of operations that the last session looked for.
	ends knownEnds
	// handed is told that the journal says that the image changed hands.
	handed chan struct{}
}

// journalOptions are those of the configuration.
func (r *imageReplayer) journalOptions() journal.Options {
	cfg := r.ns.local.Client().Config()
	o := journal.DefaultOptions()
	o.CommitAge = time.Duration(cfg.Float("rbd_mirror_journal_commit_age") * float64(time.Second))
	o.MaxFetchBytes = int(cfg.Size("rbd_mirror_journal_max_fetch_bytes"))
	o.PollAge = time.Duration(cfg.Float("rbd_mirror_journal_poll_age") * float64(time.Second))
	o.NoTrim = true
	o.Logger = r.log
	return o
}

// localJournalOwner returns who may write the local image; ok is false when it has
// no journal.
func (r *imageReplayer) localJournalOwner(ctx context.Context, id string) (owner jwire.TagData, ok bool, err error) {
	_, owner, err = rbd.JournalOwner(ctx, r.ns.local, id)
	if errors.Is(err, rados.ErrNotFound) {
		return owner, false, nil
	}
	return owner, err == nil, err
}

// journalSession replays the journal of a remote image until something makes it
// necessary to open both sites anew. The images are closed by the caller.
func (r *imageReplayer) journalSession(ctx context.Context, local, remote *rbd.Image) (err error) {
	_, theirOwner, err := rbd.JournalOwner(ctx, r.ns.remote, remote.ID())
	if errors.Is(err, rados.ErrNotFound) {
		return errNotPrimary // its journal is being made, or was just removed
	}
	if err != nil {
		return fmt.Errorf("remote journal: %w", err)
	}
	if local != nil && theirOwner.MirrorUUID == jwire.LocalOwner {
		// A replica that is split from its primary is made anew on demand, too.
		resync, err := r.journalResyncRequested(ctx, local.ID())
		if err != nil {
			return err
		}
		if resync {
			return errResync
		}
	}
	if local == nil {
		if theirOwner.MirrorUUID != jwire.LocalOwner {
			return errNotPrimary
		}
		return r.createWithJournal(ctx, remote)
	}
	j := &journalReplica{r: r, local: local, remote: remote, handed: make(chan struct{}, 1)}
	j.theirs, err = journal.Open(ctx, r.ns.remote, remote.ID(), r.ns.sites.localUUID, r.journalOptions())
	if err != nil {
		return fmt.Errorf("open the remote journal: %w", err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if cerr := j.theirs.Close(bye); cerr != nil && err == nil && ctx.Err() == nil {
			err = cerr
		}
	}()
	if err := j.introduce(ctx); err != nil {
		return err
	}
	if j.client.State == jwire.PeerSyncing {
		if err := j.sync(ctx); err != nil {
			return err
		}
	} else if err := j.dropOldPoints(ctx); err != nil {
		return err
	}
	r.say(wire.MirrorStatusStartingReplay, "starting replay")
	return j.replay(ctx)
}

// journalResyncRequested reads the mark that `rbd mirror image resync` leaves in
// the local journal.
func (r *imageReplayer) journalResyncRequested(ctx context.Context, id string) (bool, error) {
	state, err := journal.ReadState(ctx, r.ns.local, id)
	if err != nil {
		return false, fmt.Errorf("local journal: %w", err)
	}
	c := state.Client("")
	if c == nil {
		return false, nil
	}
	var data jwire.ClientData
	rd := denc.NewReader(c.Data)
	if data.Decode(rd); rd.Err() != nil {
		return false, fmt.Errorf("the local image's client of its journal: %w", rd.Err())
	}
	return data.ResyncRequested, nil
}

// createWithJournal makes the local image with a journal that lets the remote site
// write.
func (r *imageReplayer) createWithJournal(ctx context.Context, remote *rbd.Image) error {
	r.say(wire.MirrorStatusStartingReplay, "bootstrapping, CREATE_LOCAL_IMAGE")
	err := r.makeLocal(ctx, remote, wire.MirrorImageJournal, func(o *rbd.CreateOptions) {
		o.NonPrimary = false
		o.Features |= rbd.FeatureJournaling | rbd.FeatureExclusiveLock
		o.JournalOwner = r.ns.sites.remoteUUID
	})
	if err != nil {
		return err
	}
	return errAgain
}

// introduce registers this site with the remote journal, or finds that it is
// registered and that both images belong together (src/tools/rbd_mirror/
// image_replayer/journal/PrepareReplayRequest.cc).
func (j *journalReplica) introduce(ctx context.Context) error {
	owner, _, err := j.r.localJournalOwner(ctx, j.local.ID())
	if err != nil {
		return fmt.Errorf("local journal: %w", err)
	}
	c, err := j.theirs.Client(ctx, j.r.ns.sites.localUUID)
	if errors.Is(err, rados.ErrNotFound) {
		return j.register(ctx, owner)
	}
	if err != nil {
		return fmt.Errorf("client of the remote journal: %w", err)
	}
	rd := denc.NewReader(c.Data)
	if j.client.Decode(rd); rd.Err() != nil {
		return fmt.Errorf("client data in the remote journal: %w", rd.Err())
	}
	if j.client.ImageID != j.local.ID() {
		// It was registered for a replica that is gone: all is to be copied, and
		// nothing replayed that was written long before.
		if c.State != jwire.ClientDisconnected && owner.MirrorUUID != j.r.ns.sites.remoteUUID {
			return errSplitBrain
		}
		if err := j.theirs.Unregister(ctx); err != nil {
			return fmt.Errorf("unregister from the remote journal: %w", err)
		}
		return j.register(ctx, owner)
	}
	if c.State == jwire.ClientDisconnected {
		return j.disconnected(ctx)
	}
	if owner.MirrorUUID == jwire.OrphanOwner {
		return j.related(ctx, owner)
	}
	return nil
}

// keepTags makes the site of a primary a client of its replica's journal, if it is
// none. Without, that journal forgets the tags that show, when the replica has
// become the primary, that it went on from here.
func (r *imageReplayer) keepTags(ctx context.Context, localID string) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	id, e, err := entry(ctx, r.ns.remote, r.gid)
	if err != nil || id == "" || e.Mode != wire.MirrorImageJournal || e.State != wire.MirrorImageEnabled {
		return
	}
	theirs, err := journal.Open(ctx, r.ns.remote, id, r.ns.sites.localUUID, journal.Options{NoTrim: true, Logger: r.log})
	if err != nil {
		return // there is none yet, or the site does not answer: the next look does it
	}
	defer closeJournal(theirs)
	data := jwire.ClientData{Kind: jwire.ClientMirrorPeer, ImageID: localID, State: jwire.PeerReplaying}
	if err := theirs.Register(ctx, data.Append(nil)); err != nil && !errors.Is(err, rados.ErrExists) {
		r.log.Info("this site is no client of the replica's journal yet", "err", err)
	}
}

// register makes this site a client of the remote journal. An image that was
// primary here is in step already, if the remote one went on from it. It is
// registered as long as that is not known yet, too: who is a client finds the tags
// that show it, for others they are forgotten.
func (j *journalReplica) register(ctx context.Context, owner jwire.TagData) error {
	j.client = jwire.ClientData{Kind: jwire.ClientMirrorPeer, ImageID: j.local.ID(), State: jwire.PeerSyncing}
	var related error
	if owner.MirrorUUID == jwire.OrphanOwner {
		related = j.related(ctx, owner)
		if related != nil && !errors.Is(related, errNotPrimary) {
			return related
		}
		j.client.State = jwire.PeerReplaying
	}
	if err := j.theirs.Register(ctx, j.client.Append(nil)); err != nil {
		return fmt.Errorf("register with the remote journal: %w", err)
	}
	return related
}

// related finds out whether the remote image goes on from where the local one was
// demoted: its journal has our last tag as the predecessor of a demotion.
func (j *journalReplica) related(ctx context.Context, owner jwire.TagData) error {
	last := owner.Predecessor
	// Its owner needs the newest only; those that we need are kept for us.
	tags, err := j.theirs.Tags(ctx, j.r.ns.sites.localUUID, nil)
	if errors.Is(err, rados.ErrNotFound) {
		tags, err = j.theirs.Tags(ctx, "", nil)
	}
	if err != nil {
		return fmt.Errorf("tags of the remote journal: %w", err)
	}
	if len(tags) == 0 {
		return errNotPrimary
	}
	ours := j.r.ns.sites.localUUID
	var newest jwire.TagData
	for _, t := range tags {
		rd := denc.NewReader(t.Data)
		if newest.Decode(rd); rd.Err() != nil {
			return fmt.Errorf("tag %d of the remote journal: %w", t.TID, rd.Err())
		}
		p := newest.Predecessor
		same := p.CommitValid == last.CommitValid && p.TagTID == last.TagTID && p.EntryTID == last.EntryTID
		switch {
		case newest.MirrorUUID == jwire.OrphanOwner && p.MirrorUUID == ours && last.MirrorUUID == jwire.LocalOwner && same:
			return nil // it saw our demotion
		case newest.MirrorUUID == jwire.OrphanOwner && p.MirrorUUID == jwire.LocalOwner && last.MirrorUUID == j.r.ns.sites.remoteUUID && same:
			return nil // we saw its demotion
		}
	}
	if newest.MirrorUUID != jwire.LocalOwner {
		return errNotPrimary
	}
	return errSplitBrain
}

func (j *journalReplica) update(ctx context.Context) error {
	if err := j.theirs.Update(ctx, j.client.Append(nil)); err != nil {
		return fmt.Errorf("client data in the remote journal: %w", err)
	}
	return nil
}
