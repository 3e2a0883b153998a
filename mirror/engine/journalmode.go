package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"

	"golang.org/x/sync/errgroup"
)

// replayDepth is how many events of one journal are applied at a time.
const replayDepth = 64

// syncPointPrefix begins the names of the snapshots from which images are copied
// for the first time, as Ceph's daemon calls them.
const syncPointPrefix = ".rbd-mirror."

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
	j := &journalReplica{r: r, local: local, remote: remote}
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
	if c.State == jwire.ClientDisconnected {
		if j.client.ImageID == j.local.ID() {
			return j.disconnected(ctx)
		}
		// That was a replica that is gone.
		if err := j.theirs.Unregister(ctx); err != nil {
			return fmt.Errorf("unregister from the remote journal: %w", err)
		}
		return j.register(ctx, owner)
	}
	if j.client.ImageID != j.local.ID() {
		// It was registered for a replica that is gone: all is to be copied.
		if owner.MirrorUUID != j.r.ns.sites.remoteUUID {
			return errSplitBrain
		}
		j.client = jwire.ClientData{Kind: jwire.ClientMirrorPeer, ImageID: j.local.ID(), State: jwire.PeerSyncing}
		return j.update(ctx)
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

// sync makes the local image equal to a snapshot of the remote one that is made
// for it, with all user's snapshots before. The journal is replayed from before
// that on: what is applied twice does no harm.
func (j *journalReplica) sync(ctx context.Context) error {
	r := j.r
	if err := r.ns.syncs.acquire(ctx); err != nil {
		return err
	}
	defer r.ns.syncs.release()
	r.copying.Store(true)
	defer r.copying.Store(false)
	r.say(wire.MirrorStatusSyncing, "bootstrapping, IMAGE_SYNC")
	if err := j.local.AcquireLock(ctx); err != nil {
		return fmt.Errorf("lock the local image: %w", err)
	}
	writable, err := rbd.OpenByID(ctx, r.ns.remote, j.remote.ID(), rbd.OpenOptions{ExternalReplay: true, Logger: r.log})
	if err != nil {
		return fmt.Errorf("open the remote image to mark where to copy from: %w", err)
	}
	defer closeWithin(writable, farewell)
	point, again, err := j.syncPoint(ctx, writable)
	if err != nil {
		return err
	}
	if err := j.remote.Refresh(ctx); err != nil {
		return err
	}
	if err := j.copyFrom(ctx, point, again); err != nil {
		return fmt.Errorf("copy the image: %w", err)
	}
	j.client.State, j.client.SyncPoints = jwire.PeerReplaying, nil
	if err := j.update(ctx); err != nil {
		return err
	}
	if err := writable.RemoveSnapshot(ctx, point); err != nil && !errors.Is(err, rados.ErrNotFound) {
		return fmt.Errorf("remove the snapshot that was copied from: %w", err)
	}
	return nil
}

// syncPoint returns the snapshot to copy from: that of a copy that was interrupted
// or a new one.
func (j *journalReplica) syncPoint(ctx context.Context, writable *rbd.Image) (id uint64, again bool, err error) {
	for _, p := range j.client.SyncPoints {
		if s, ok := writable.UserSnapshot(p.SnapName); ok {
			return s.ID, true, nil
		}
	}
	// Those of a copy whose point is gone, or of another daemon's.
	for _, s := range j.oldPoints(writable) {
		if err := writable.RemoveSnapshot(ctx, s.ID); err != nil {
			return 0, false, fmt.Errorf("remove snapshot %s: %w", s.Name, err)
		}
	}
	name := syncPointPrefix + j.r.ns.sites.localUUID + "." + snapshots.NewUUID()
	again = len(j.client.SyncPoints) > 0
	j.client.SyncPoints = []jwire.SyncPoint{{SnapName: name, Namespace: wire.SnapshotNamespace{}.Append(nil)}}
	// The record comes first: a point that nobody knows of would stay for ever.
	if err := j.update(ctx); err != nil {
		return 0, false, err
	}
	id, err = writable.CreateSnapshot(ctx, name, wire.SnapshotNamespace{}, rbd.SnapshotOptions{SkipQuiesce: true})
	if err != nil {
		return 0, false, fmt.Errorf("make the snapshot to copy from: %w", err)
	}
	return id, again, nil
}

// oldPoints returns the snapshots of an image that this site copied from.
func (j *journalReplica) oldPoints(img *rbd.Image) (points []rbd.Snapshot) {
	for _, s := range img.Snapshots() {
		if strings.HasPrefix(s.Name, syncPointPrefix+j.r.ns.sites.localUUID+".") {
			points = append(points, s)
		}
	}
	return points
}

// dropOldPoints removes what a daemon left behind that died between the end of a
// copy and the removal of the snapshot that it copied from.
func (j *journalReplica) dropOldPoints(ctx context.Context) error {
	points := j.oldPoints(j.remote)
	if len(points) == 0 {
		return nil
	}
	writable, err := rbd.OpenByID(ctx, j.r.ns.remote, j.remote.ID(), rbd.OpenOptions{SkipParent: true, ExternalReplay: true, Logger: j.r.log})
	if err != nil {
		return fmt.Errorf("open the remote image to remove what was copied from: %w", err)
	}
	defer closeWithin(writable, farewell)
	for _, s := range points {
		if err := writable.RemoveSnapshot(ctx, s.ID); err != nil && !errors.Is(err, rados.ErrNotFound) {
			return fmt.Errorf("remove snapshot %s: %w", s.Name, err)
		}
	}
	return nil
}

// copyFrom copies everything up to a snapshot into the local head.
func (j *journalReplica) copyFrom(ctx context.Context, point uint64, again bool) error {
	known := map[uint64]uint64{}
	if again {
		for _, theirs := range j.remote.Snapshots() {
			if ours, ok := j.local.UserSnapshot(theirs.Name); ok && theirs.ID < point {
				// What was copied of it may be half of it.
				if err := j.dropSnapshot(ctx, ours); err != nil {
					return err
				}
			}
		}
	}
	rng := rbd.CopyRange{SrcEnd: point, DstEnd: rbd.NoSnap, Overwrite: again}
	seqs, err := rbd.CopySnapshots(ctx, j.remote, j.local, rng, known)
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	if ours, ok := seqs[point]; ok {
		// The point itself is no part of the replica.
		delete(seqs, point)
		if s, ok := j.local.Snapshot(ours); ok {
			if err := j.dropSnapshot(ctx, s); err != nil {
				return err
			}
		}
	}
	c, err := rbd.NewObjectCopier(j.remote, j.local, rng, seqs)
	if err != nil {
		return err
	}
	delta, err := j.remote.ObjectDelta(ctx, 0, point)
	if err != nil {
		return err
	}
	if err := c.Prepare(ctx, delta); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(j.r.ns.depth)
	for n := range c.Objects() {
		if gctx.Err() != nil {
			break
		}
		if state := delta.At(n); !again && delta.FastDiff && (state == rbd.ObjectHole || state == rbd.ObjectSame) {
			continue
		}
		group.Go(func() error {
			_, err := c.Copy(gctx, n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	sources := []uint64{point}
	for theirs := range seqs {
		sources = append(sources, theirs)
	}
	if err := j.remote.SnapshotsExist(ctx, sources...); err != nil {
		return err
	}
	return c.Finish(ctx, delta)
}

func (j *journalReplica) dropSnapshot(ctx context.Context, s rbd.Snapshot) error {
	if s.Protected() {
		if err := j.local.UnprotectSnapshot(ctx, s.ID); err != nil {
			return err
		}
	}
	return j.local.RemoveSnapshot(ctx, s.ID)
}

// replay applies the remote journal's entries as they come.
func (j *journalReplica) replay(ctx context.Context) error {
	r := j.r
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	player, err := j.theirs.NewPlayer(ctx, journal.PlayerOptions{Tail: true})
	if err != nil {
		return fmt.Errorf("read the remote journal: %w", err)
	}
	defer player.Close()
	if j.ours, err = journal.Open(ctx, r.ns.local, j.local.ID(), "", journal.Options{NoTrim: true, Logger: r.log}); err != nil {
		return fmt.Errorf("open the local journal: %w", err)
	}
	defer closeJournal(j.ours)
	if err := j.local.AcquireLock(ctx); err != nil {
		return fmt.Errorf("lock the local image: %w", err)
	}
	if err := j.delay.read(ctx, j.local); err != nil {
		return fmt.Errorf("configuration of the local image: %w", err)
	}
	r.copying.Store(true)
	defer r.copying.Store(false)
	events := rbd.NewEventReplay(j.local, replayDepth)
	events.CommitWith(j.theirs.FlushCommitPosition)
	defer events.Close()
	defer cancel(nil)
	var watchers errgroup.Group
	defer func() { _ = watchers.Wait() }()
	defer cancel(nil)
	watchers.Go(func() error { j.watch(ctx, cancel); return nil })
	err = j.play(ctx, player, events)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if !errors.Is(err, errNotPrimary) {
		return err
	}
	// Only when the demotion is in the local journal may it be said that there is
	// no primary: who promotes here waits for that.
	if err := j.demoted(context.WithoutCancel(ctx), events); err != nil {
		return fmt.Errorf("follow the demotion: %w", err)
	}
	return errNotPrimary
}

// play applies entries until something fails.
func (j *journalReplica) play(ctx context.Context, player *journal.Player, events *rbd.EventReplay) error {
	tag := ^uint64(0)
	for {
		e, err := player.Next(ctx)
		if err != nil {
			return err
		}
		if e.TagTID != tag {
			if err := events.Finish(ctx); err != nil {
				return err
			}
			if err := j.follow(ctx, e.TagTID); err != nil {
				return err
			}
			tag = e.TagTID
		}
		if err := j.apply(ctx, events, e); err != nil {
			return err
		}
	}
}

// demoted notes in the local journal that the remote image has no owner any more,
// when all that its last one wrote is here.
func (j *journalReplica) demoted(ctx context.Context, events *rbd.EventReplay) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := events.Finish(ctx); err != nil {
		return err
	}
	newest, _, err := rbd.NewestTag(ctx, j.theirs)
	if err != nil {
		return err
	}
	if err := j.theirs.FlushCommitPosition(ctx); err != nil {
		return err
	}
	return j.follow(ctx, newest.TID)
}

func closeJournal(j *journal.Journal) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = j.Close(ctx)
}

// apply hands one entry on.
func (j *journalReplica) apply(ctx context.Context, events *rbd.EventReplay, e *journal.Entry) error {
	var ev jwire.Event
	rd := denc.NewReader(e.Data)
	if ev.Decode(rd); rd.Err() != nil {
		return fmt.Errorf("entry %d of tag %d of the remote journal: %w", e.EntryTID, e.TagTID, rd.Err())
	}
	if err := j.delay.wait(ctx, ev.Time.Std()); err != nil {
		return err
	}
	size := len(e.Data)
	return events.Apply(ctx, ev, func(err error) {
		if err == nil {
			e.Committed()
			j.stats.applied(size)
		}
	})
}

// follow makes a local tag that says what the remote one says, seen from here.
func (j *journalReplica) follow(ctx context.Context, tid uint64) error {
	t, err := j.theirs.Tag(ctx, tid)
	if err != nil {
		return fmt.Errorf("tag %d of the remote journal: %w", tid, err)
	}
	var data jwire.TagData
	rd := denc.NewReader(t.Data)
	if data.Decode(rd); rd.Err() != nil {
		return fmt.Errorf("tag %d of the remote journal: %w", tid, rd.Err())
	}
	data.MirrorUUID = j.seenFromHere(data.MirrorUUID)
	data.Predecessor.MirrorUUID = j.seenFromHere(data.Predecessor.MirrorUUID)
	newest, have, err := rbd.NewestTag(ctx, j.ours)
	if err != nil {
		return fmt.Errorf("local journal: %w", err)
	}
	if have == data {
		return nil
	}
	if data.MirrorUUID == jwire.LocalOwner {
		return fmt.Errorf("tag %d of the remote journal makes this site the primary: %w", tid, errSplitBrain)
	}
	if have.MirrorUUID == jwire.LocalOwner {
		return errPromoted
	}
	// Who promotes makes a tag as well, and holds no lock: its tag is not to be
	// followed by one that takes it back.
	_, err = j.ours.AllocateTagAt(ctx, newest.TID+1, newest.Class, data.Append(nil))
	if errors.Is(err, rados.ErrStale) || errors.Is(err, rados.ErrExists) {
		return errAgain
	}
	if err != nil {
		return fmt.Errorf("tag of the local journal: %w", err)
	}
	return nil
}

// seenFromHere turns a mirror uuid of the remote site's into what this site calls
// the same.
func (j *journalReplica) seenFromHere(uuid string) string {
	switch uuid {
	case jwire.LocalOwner:
		return j.r.ns.sites.remoteUUID
	case j.r.ns.sites.localUUID:
		return jwire.LocalOwner
	}
	return uuid
}

// watch shows the status and ends the replay when something else is to be done:
// the remote image was demoted and all is applied, a resync is asked for, the
// image is no longer mirrored.
func (j *journalReplica) watch(ctx context.Context, end context.CancelCauseFunc) {
	r := j.r
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, configured := time.Time{}, time.Now()
	for {
		// A promotion here shows in the local journal.
		_, news := j.ours.State()
		select {
		case <-ctx.Done():
			return
		case <-news:
			last = time.Time{}
		case <-tick.C:
		case <-r.kick:
			configured = time.Time{}
		}
		if time.Since(configured) > recheck {
			configured = time.Now()
			if err := j.delay.read(ctx, j.local); err != nil && ctx.Err() == nil {
				r.log.Warn("the local image's configuration was not read", "err", err)
			}
		}
		head, here := j.head(), j.here()
		behind := entriesBehind(head, here)
		r.say(wire.MirrorStatusReplaying, j.stats.describe(head, here))
		if time.Since(last) < time.Second/2 {
			continue
		}
		last = time.Now()
		if err := j.check(ctx, behind == 0); err != nil {
			end(err)
			return
		}
	}
}

// check returns why the replay is to end, nil if it goes on.
func (j *journalReplica) check(ctx context.Context, drained bool) error {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	e, err := meta.Image(ctx, j.r.ns.remote, j.remote.ID())
	if errors.Is(err, rados.ErrNotFound) || err == nil && e.State == wire.MirrorImageDisabling {
		return errAgain
	}
	resync, err := j.r.journalResyncRequested(ctx, j.local.ID())
	if err != nil {
		return err
	}
	if resync {
		return errResync
	}
	if err := j.checkClient(ctx); err != nil {
		return err
	}
	if _, owner, err := rbd.NewestTag(ctx, j.ours); err == nil && owner.MirrorUUID == jwire.LocalOwner {
		return errPromoted
	}
	if !drained {
		return nil
	}
	_, owner, err := rbd.NewestTag(ctx, j.theirs)
	if err != nil || owner.MirrorUUID == jwire.LocalOwner {
		return nil
	}
	// What the last owner wrote and committed until it gave the image away is
	// known only now: the head that drained was measured by may be from before.
	// A local tag that follows the demotion lets this site be promoted.
	if err := j.theirs.Refresh(ctx); err != nil {
		return nil
	}
	if entriesBehind(j.head(), j.here()) > 0 {
		return nil
	}
	return errNotPrimary
}

// head returns the newest position that the remote owner has committed.
func (j *journalReplica) head() *jwire.ObjectPosition {
	state, _ := j.theirs.State()
	if c := state.Client(""); c != nil && len(c.Commit) > 0 {
		return &c.Commit[0]
	}
	return nil
}

// here returns the newest position that was applied here.
func (j *journalReplica) here() *jwire.ObjectPosition {
	if p := j.theirs.CommitPosition(); len(p) > 0 {
		return &p[0]
	}
	return nil
}
