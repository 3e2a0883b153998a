package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	// recheck is how long an image that needs nothing is left alone when nobody
	// says that it changed.
	recheck = 30 * time.Second
	// promotionPoll is how often a forced promotion is looked after.
	promotionPoll = 200 * time.Millisecond
	// retryFirst and retryLast bound the pause after a failure.
	retryFirst = time.Second
	retryLast  = 30 * time.Second
	// remoteTimeout bounds single requests to the remote cluster, which may be
	// gone: nothing local may wait for it for ever.
	remoteTimeout = 5 * time.Minute
)

var (
	// errDone says that there is nothing left to replay for an image.
	errDone = errors.New("image is gone on both sites")
	// errAgain asks for a new session at once.
	errAgain = errors.New("start again")
	// errResync ends a session because the local image is to be made anew.
	errResync = errors.New("resync was requested")
	// errPromoted ends a session because the local image is promoted by force.
	errPromoted = errors.New("the local image is promoted by force")
	// errNotPrimary says that there is no primary to copy from yet.
	errNotPrimary = errors.New("remote image is not primary")
)

// imageReplayer keeps the replica of one image in step. run, its goroutine, owns
// all fields below kick.
type imageReplayer struct {
	ns   *Namespace
	gid  string
	log  *slog.Logger
	kick chan struct{}
	done chan struct{}

	stats replayStats
	fresh bool
	// journal: the local image is, or is to be, mirrored by its journal.
	journal bool
	// copying says that the local image must not be given away just now.
	copying atomic.Bool

	mu sync.Mutex
	// held: an operator stopped it. interrupt ends the session that runs.
	held      bool
	interrupt context.CancelFunc
	name      string // as far as it is known
	state     string // as the admin socket shows it
}

func newImageReplayer(ns *Namespace, gid string) *imageReplayer {
	return &imageReplayer{
		ns: ns, gid: gid, log: ns.log.With("image", gid),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// poke makes the replayer look again soon. It never blocks.
func (r *imageReplayer) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run replays until ctx ends or the image is gone on both sites.
func (r *imageReplayer) run(ctx context.Context) {
	defer close(r.done)
	pause := retryFirst
	for ctx.Err() == nil {
		sctx, held := r.begin(ctx)
		if held {
			r.say(wire.MirrorStatusStopped, "stopped")
			r.wait(ctx, recheck)
			continue
		}
		began := time.Now()
		err := r.session(sctx)
		interrupted := r.end(sctx)
		switch {
		case ctx.Err() != nil:
			return
		case interrupted:
			pause = retryFirst
			continue
		case errors.Is(err, errDone):
			r.ns.status.remove(r.gid)
			return
		case err == nil, errors.Is(err, errAgain):
			pause = retryFirst
			continue
		}
		if time.Since(began) > retryLast {
			pause = retryFirst
		}
		switch {
		case errors.Is(err, errNotPrimary):
			r.say(wire.MirrorStatusUnknown, errNotPrimary.Error())
		case errors.Is(err, errDisconnected):
			r.say(wire.MirrorStatusError, errDisconnected.Error())
		case errors.Is(err, errSplitBrain):
			r.say(wire.MirrorStatusError, errSplitBrain.Error())
		default:
			r.log.Warn("replay failed", "err", err, "retry", pause)
			r.say(wire.MirrorStatusError, "error bootstrapping replay: "+err.Error())
		}
		// What failed may itself have told the watchers of a change, this one among
		// them.
		rest(ctx, pause/8)
		if r.journal {
			r.waitForPrimary(ctx, pause, err)
		} else {
			r.wait(ctx, pause)
		}
		pause = min(2*pause, retryLast)
	}
}

func (r *imageReplayer) say(state uint8, description string) {
	r.mu.Lock()
	r.state = stateNames[state]
	r.mu.Unlock()
	r.ns.status.set(r.gid, state, description)
}

// rest returns when d has passed or ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// wait returns when somebody pokes, d has passed or ctx ends.
func (r *imageReplayer) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-r.kick:
	}
}

// entry finds the image's entry on one site. An entry that is being disabled
// counts as none.
func entry(ctx context.Context, io *rados.IoCtx, gid string) (id string, e wire.MirrorImage, err error) {
	id, err = meta.ImageID(ctx, io, gid)
	if errors.Is(err, rados.ErrNotFound) {
		return "", e, nil
	}
	if err != nil {
		return "", e, err
	}
	e, err = meta.Image(ctx, io, id)
	if errors.Is(err, rados.ErrNotFound) {
		return "", e, nil
	}
	return id, e, err
}

// session opens the image on both sites and replays until something makes it
// necessary to open them again: a role changed, a resync, a failure.
//
// The local image comes first, and a promotion of it by force ends the session at
// once wherever it is: the remote site may be lost, and whoever promotes waits
// until nobody else has the image open.
func (r *imageReplayer) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := r.bothSites(ctx, cancel)
	if context.Cause(ctx) == errPromoted || errors.Is(err, errPromoted) {
		r.log.Info("the local image is being promoted")
		return errAgain
	}
	return err
}

// bothSites is session without the look at why ctx ended. It calls promoted when
// the local image is promoted by force.
func (r *imageReplayer) bothSites(ctx context.Context, promoted context.CancelCauseFunc) error {
	localID, localEntry, err := entry(ctx, r.ns.local, r.gid)
	if err != nil {
		return fmt.Errorf("local image: %w", err)
	}
	r.journal = localID != "" && localEntry.Mode == wire.MirrorImageJournal
	if localID != "" && localEntry.State == wire.MirrorImageDisabling {
		return r.finishDisabling(ctx, localID, localEntry)
	}
	local, err := r.openLocal(ctx, localID, localEntry, promoted)
	if err != nil {
		return err
	}
	var remote *rbd.Image
	defer func() {
		// The local one first: the other site may not answer any more.
		if local != nil {
			closeImage(local)
		}
		if remote != nil {
			r.ns.running.Go(func() { closeWithin(remote, farewell) })
		}
	}()
	if local != nil && localEntry.Mode == wire.MirrorImageJournal {
		owner, ok, err := r.localJournalOwner(ctx, localID)
		if err != nil {
			return fmt.Errorf("local journal: %w", err)
		}
		if ok && owner.MirrorUUID == jwire.LocalOwner {
			r.findName(ctx, localID, "")
			r.say(wire.MirrorStatusStopped, "local image is primary")
			r.keepTags(ctx, localID)
			return r.parkPrimary(ctx)
		}
	}
	if local != nil && localEntry.Mode == wire.MirrorImageSnapshot {
		switch newest := snapshots.Newest(local); {
		case newest == nil:
		case newest.Namespace.State == wire.MirrorSnapPrimary:
			r.findName(ctx, localID, "")
			return r.park(ctx, wire.MirrorStatusStopped, "local image is primary")
		case snapshots.IsOrphan(newest):
			return r.stepAside(ctx, local)
		}
	}
	rctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	remoteID, remoteEntry, err := entry(rctx, r.ns.remote, r.gid)
	if err != nil {
		return fmt.Errorf("remote image: %w", err)
	}
	if remoteEntry.State != wire.MirrorImageEnabled && remoteEntry.State != wire.MirrorImageCreating {
		remoteID = ""
	}
	if localID == "" && remoteID == "" {
		return errDone
	}
	r.journal = r.journal || localID == "" && remoteEntry.Mode == wire.MirrorImageJournal
	r.findName(rctx, localID, remoteID)
	if remoteID == "" {
		return r.remoteGone(ctx, local)
	}
	remote, err = rbd.OpenByID(rctx, r.ns.remote, remoteID, rbd.OpenOptions{ReadOnly: true, Watch: true, OnUpdate: r.poke, Logger: r.log})
	if errors.Is(err, rados.ErrNotFound) {
		return r.remoteGone(ctx, local)
	}
	if err != nil {
		return fmt.Errorf("open the remote image: %w", err)
	}
	switch {
	case local != nil && localEntry.Mode != remoteEntry.Mode:
		return r.otherMode(ctx, local, remoteEntry.Mode)
	case remoteEntry.Mode == wire.MirrorImageJournal:
		err := r.journalSession(ctx, local, remote)
		if errors.Is(err, errResync) {
			r.log.Info("resync was requested: the local image goes")
			return r.discardLocal(ctx, local)
		}
		return err
	case local == nil:
		return r.create(ctx, remote)
	}
	return r.replay(ctx, local, remote)
}

// otherMode handles a replica of an image that is now mirrored in another way: it
// is made anew.
func (r *imageReplayer) otherMode(ctx context.Context, local *rbd.Image, mode uint8) error {
	if replica, err := r.isReplica(ctx, local); err != nil || !replica {
		return errors.Join(err, r.park(ctx, wire.MirrorStatusError, "the remote image is mirrored in another mode"))
	}
	r.log.Info("the remote image is mirrored in another mode now: the local image goes", "mode", mode)
	return r.discardLocal(ctx, local)
}

// stepAside lets a promotion by force go on: it waits until nobody has the image
// open for writing, and tells nobody when it is done.
func (r *imageReplayer) stepAside(ctx context.Context, local *rbd.Image) error {
	closeImage(local)
	r.say(wire.MirrorStatusStopped, "orphan (force promoting)")
	r.wait(ctx, promotionPoll)
	return nil
}

// openLocal opens the local image for writing; nil if there is none.
func (r *imageReplayer) openLocal(ctx context.Context, id string, e wire.MirrorImage, promoted context.CancelCauseFunc) (*rbd.Image, error) {
	if id == "" {
		return nil, nil
	}
	var opened atomic.Pointer[rbd.Image]
	img, err := rbd.OpenByID(ctx, r.ns.local, id, rbd.OpenOptions{
		SkipMirrorReadOnlyCheck: true, ExternalReplay: e.Mode == wire.MirrorImageJournal, Logger: r.log,
		OnUpdate: func() {
			if img := opened.Load(); img != nil {
				if newest := snapshots.Newest(img); newest != nil && snapshots.IsOrphan(newest) {
					promoted(errPromoted)
				}
			}
			r.poke()
		},
		LockRequest: func(bool) error { return r.lockRequested(id, e.Mode, promoted) },
	})
	if errors.Is(err, rados.ErrNotFound) {
		// A daemon died while it made or removed the image.
		r.log.Info("entry of an image that does not exist: removing it", "id", id)
		return nil, r.forget(ctx, id, e)
	}
	if err != nil {
		return nil, fmt.Errorf("open the local image: %w", err)
	}
	opened.Store(img)
	return img, nil
}

// lockRequested says whether the local image's lock may be given away. Who has just
// promoted the image by a tag of its journal gets it as soon as the replay has ended.
func (r *imageReplayer) lockRequested(id string, mode uint8, promoted context.CancelCauseFunc) error {
	if !r.copying.Load() {
		return nil
	}
	if mode != wire.MirrorImageJournal {
		return rados.ErrReadOnly
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	owner, ok, err := r.localJournalOwner(ctx, id)
	if err != nil || !ok || owner.MirrorUUID != jwire.LocalOwner {
		return rados.ErrReadOnly
	}
	promoted(errPromoted)
	for r.copying.Load() {
		if rest(ctx, promotionPoll/20); ctx.Err() != nil {
			return rados.ErrReadOnly
		}
	}
	return nil
}

// forget takes an image's entry away.
func (r *imageReplayer) forget(ctx context.Context, id string, e wire.MirrorImage) error {
	e.State = wire.MirrorImageDisabling
	if err := meta.SetImage(ctx, r.ns.local, id, e); err != nil {
		return err
	}
	return meta.RemoveImage(ctx, r.ns.local, id, e.GlobalID)
}

// park shows a status and waits until something changes.
func (r *imageReplayer) park(ctx context.Context, state uint8, description string) error {
	r.say(state, description)
	r.wait(ctx, recheck)
	return nil
}

// closeTimeout bounds the closing of an image, which must not hang on a cluster
// that is gone.
const closeTimeout = 15 * time.Second

// farewell bounds how long a remote site that may be lost is taken leave of. What
// is not said there ends with the connection.
const farewell = 3 * time.Second

func closeImage(img *rbd.Image) { closeWithin(img, closeTimeout) }

func closeWithin(img *rbd.Image, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	_ = img.Close(ctx)
}

// replay keeps local in step with remote.
func (r *imageReplayer) replay(ctx context.Context, local, remote *rbd.Image) error {
	r.say(wire.MirrorStatusStartingReplay, "starting replay")
	for ctx.Err() == nil {
		if err := r.refresh(ctx, local, remote); err != nil {
			return err
		}
		resync, err := r.resyncRequested(ctx, local)
		if err != nil {
			return err
		}
		d := decide(snapshots.Mirror(local), snapshots.Mirror(remote), r.ns.sites, r.remembers(local))
		r.log.Debug("decided", "decision", d, "local", brief(snapshots.Mirror(local)), "remote", brief(snapshots.Mirror(remote)))
		if resync && d.verdict != verdictPrimary {
			r.log.Info("resync was requested: the local image goes")
			return r.discardLocal(ctx, local)
		}
		if again, err := r.act(ctx, local, remote, d); err != nil || !again {
			return err
		}
	}
	return ctx.Err()
}

// refresh reads both headers, and finds out whether the remote entry is still
// there: an image that is disabled does not change its header.
func (r *imageReplayer) refresh(ctx context.Context, local, remote *rbd.Image) error {
	if err := local.Refresh(ctx); err != nil {
		return fmt.Errorf("local image: %w", err)
	}
	rctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	e, err := meta.Image(rctx, r.ns.remote, remote.ID())
	if errors.Is(err, rados.ErrNotFound) || err == nil && e.State == wire.MirrorImageDisabling {
		return errAgain
	}
	if err == nil {
		err = remote.Refresh(rctx)
	}
	if errors.Is(err, rados.ErrNotFound) {
		return errAgain
	}
	if err != nil {
		return fmt.Errorf("remote image: %w", err)
	}
	return nil
}

// act does what was decided. again is false when the session is over.
func (r *imageReplayer) act(ctx context.Context, local, remote *rbd.Image, d decision) (again bool, err error) {
	idle := func(state uint8, description string) (bool, error) {
		// Pruning may wait for others: what is already true is told before. But one
		// who is told of a demotion may promote at once, and needs the lock.
		if d.verdict == verdictIdle {
			r.say(state, description)
		}
		if err := r.prune(ctx, local, remote, d); err != nil {
			return false, err
		}
		// An image that waits is not locked: others promote and open it.
		if err := r.unlock(ctx, local); err != nil {
			return false, err
		}
		r.say(state, description)
		r.wait(ctx, recheck)
		return true, nil
	}
	switch d.verdict {
	case verdictPrimary:
		return false, r.park(ctx, wire.MirrorStatusStopped, "local image is primary")
	case verdictOrphan:
		return false, r.stepAside(ctx, local)
	case verdictSplit:
		return idle(wire.MirrorStatusError, "split-brain")
	case verdictWait:
		return idle(wire.MirrorStatusUnknown, errNotPrimary.Error())
	case verdictDemoted:
		return idle(wire.MirrorStatusUnknown, "remote image demoted")
	case verdictDiscard:
		return true, r.undo(ctx, local, d.baseLocal, d.discard.ID)
	case verdictSync:
		return true, r.sync(ctx, local, remote, d)
	}
	r.stats.at(d)
	return idle(wire.MirrorStatusReplaying, r.stats.describe(nil))
}

// undo takes a copy back that was begun: the head returns to the base, because a
// later copy would take what this one wrote for the base's data, and the snapshot
// goes. Without a base the whole replica goes and is made again.
func (r *imageReplayer) undo(ctx context.Context, local *rbd.Image, base *rbd.Snapshot, begun uint64) error {
	if base == nil {
		return r.discardLocal(ctx, local)
	}
	r.copying.Store(true)
	defer r.copying.Store(false)
	if err := local.AcquireLock(ctx); err != nil {
		return err
	}
	if err := local.Rollback(ctx, base.ID, nil); err != nil {
		return fmt.Errorf("roll back to snapshot %d: %w", base.ID, err)
	}
	return local.RemoveSnapshot(ctx, begun)
}

func (r *imageReplayer) unlock(ctx context.Context, local *rbd.Image) error {
	if !local.LockOwned() {
		return nil
	}
	return local.ReleaseLock(ctx)
}

// sync copies one snapshot.
func (r *imageReplayer) sync(ctx context.Context, local, remote *rbd.Image, d decision) error {
	if err := r.ns.syncs.acquire(ctx); err != nil {
		return err
	}
	defer r.ns.syncs.release()
	r.copying.Store(true)
	defer r.copying.Store(false)
	began := time.Now()
	r.stats.at(d)
	job := &copyJob{
		local: local, remote: remote, gid: r.gid, sites: r.ns.sites, decision: d,
		depth: r.ns.depth, fresh: r.fresh,
		memory: r.ns.memory, key: r.copyKey(local, d.target.ID),
		watch: func(p progress) {
			r.say(wire.MirrorStatusReplaying, r.stats.describe(&p))
		},
	}
	r.log.Info("syncing", "snapshot", d.target.ID, "resumed", d.resume != nil, "full", d.baseRemote == nil)
	p, err := job.run(ctx)
	r.fresh = false
	if errors.Is(err, rbd.ErrSnapshotGone) {
		// What was copied may hold objects of a snapshot that no longer is.
		r.log.Warn("a snapshot of the source vanished: the copy is begun anew", "err", err)
		if err := local.Refresh(ctx); err != nil {
			return err
		}
		if begun := snapshots.Newest(local); begun != nil && !begun.Namespace.Complete {
			return r.undo(ctx, local, d.baseLocal, begun.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("sync of snapshot %d: %w", d.target.ID, err)
	}
	r.mu.Lock()
	r.name = local.Name()
	r.mu.Unlock()
	r.stats.synced(d, p, time.Since(began))
	r.log.Info("synced", "snapshot", d.target.ID, "bytes", p.bytes, "took", time.Since(began))
	return nil
}

// prune unlinks this site from the remote snapshots that it needs no longer, and
// removes the local mirror snapshots before the newest complete one.
func (r *imageReplayer) prune(ctx context.Context, local, remote *rbd.Image, d decision) error {
	if d.baseLocal == nil {
		return nil
	}
	rctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	for _, s := range snapshots.Mirror(remote) {
		if s.ID >= d.baseRemote.ID {
			break
		}
		// Whoever promotes or demotes there just now refuses: it is tried again
		// when this image is next looked at.
		if err := r.unlink(rctx, remote, &s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.log.Info("a remote snapshot stays linked for now", "snapshot", s.ID, "err", err)
		}
	}
	for _, s := range snapshots.Mirror(local) {
		if s.ID >= d.baseLocal.ID {
			break
		}
		if err := local.AcquireLock(ctx); err != nil {
			return err
		}
		if err := local.RemoveSnapshot(ctx, s.ID); err != nil && !errors.Is(err, rados.ErrNotFound) {
			return fmt.Errorf("remove mirror snapshot %d: %w", s.ID, err)
		}
	}
	return nil
}

// unlink takes this site out of the list of those who need a remote snapshot.
// The last one out removes it: nobody else would.
func (r *imageReplayer) unlink(ctx context.Context, remote *rbd.Image, s *rbd.Snapshot) error {
	if !snapshots.IsPrimary(s) {
		return nil
	}
	writable, err := rbd.OpenByID(ctx, r.ns.remote, remote.ID(), rbd.OpenOptions{SkipMirrorReadOnlyCheck: true, Logger: r.log})
	if err != nil {
		return fmt.Errorf("open the remote image to unlink snapshot %d: %w", s.ID, err)
	}
	defer closeImage(writable)
	if err := snapshots.Unlink(ctx, writable, s.ID, r.ns.sites.peerUUID); err != nil {
		return fmt.Errorf("unlink from remote snapshot %d: %w", s.ID, err)
	}
	return nil
}

// copyKey names the copy of a remote snapshot to local; which snapshot of local is
// filled is left open.
func (r *imageReplayer) copyKey(local *rbd.Image, remoteSnap uint64) checkpoint.Key {
	io := r.ns.local
	return checkpoint.Key{
		FSID: io.Client().FSID().String(), Pool: io.Pool(), Namespace: io.Namespace(),
		ImageID: local.ID(), RemoteSnap: remoteSnap,
	}
}

// remembers returns what reports whether a copy was begun by this daemon.
func (r *imageReplayer) remembers(local *rbd.Image) func(*rbd.Snapshot) bool {
	return func(s *rbd.Snapshot) bool {
		key := r.copyKey(local, s.Namespace.PrimarySnapID)
		key.LocalSnap = s.ID
		return r.ns.memory.Begun(key)
	}
}

// resyncRequested reads the mark that `rbd mirror image resync` leaves.
func (r *imageReplayer) resyncRequested(ctx context.Context, local *rbd.Image) (bool, error) {
	v, err := local.MetadataGet(ctx, ".rbd_mirror."+r.ns.sites.localUUID)
	if errors.Is(err, rados.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var mark struct {
		ResyncRequested bool `json:"resync_requested"`
	}
	if err := json.Unmarshal(v, &mark); err != nil {
		r.log.Warn("the resync mark cannot be read: ignoring it", "err", err)
		return false, nil
	}
	return mark.ResyncRequested, nil
}
