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
	// journal: the local image is, or is to be, mirrored by its journal. ends is what
	// the next session is to know of it.
	journal bool
	ends    knownEnds
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
