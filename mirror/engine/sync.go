package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"

	"golang.org/x/sync/errgroup"
)

// progressInterval is how often the cluster is told how far a copy has come. A
// daemon that takes over, ours or Ceph's, goes on from there.
const progressInterval = time.Second

// rememberInterval is how often the checkpoint is written, at most.
const rememberInterval = 50 * time.Millisecond

// copyJob is the copy of one remote mirror snapshot to the local image.
type copyJob struct {
	local, remote *rbd.Image
	gid           string
	sites         sites
	decision      decision
	depth         int
	// memory keeps which objects are done, for a daemon that is killed; key is the
	// copy's, but for the local snapshot.
	memory *checkpoint.Store
	key    checkpoint.Key
	done   *checkpoint.Copy
	// fresh says that the local image was just made and is empty.
	fresh bool
	// watch is told, from one goroutine at a time, how far the copy is.
	watch func(progress)
	// record tells the cluster, if it is not to be told in the snapshot snapID, that
	// all objects up to last are done. What it returns an error for is told again.
	record func(ctx context.Context, last uint64) error
}

// progress is how far a copy is, for the status.
type progress struct {
	done, total uint64 // objects
	bytes       uint64
}

// run copies and completes the snapshot. When it returns nil the local image has
// a complete snapshot that equals the target: both ends of the difference were
// still there after its last byte had been read.
func (j *copyJob) run(ctx context.Context) (progress, error) {
	if err := j.local.AcquireLock(ctx); err != nil {
		return progress{}, fmt.Errorf("lock the local image: %w", err)
	}
	state, err := j.remote.ReadImageState(ctx, j.decision.target.ID)
	if err != nil {
		return progress{}, err
	}
	r := rbd.CopyRange{SrcEnd: j.decision.target.ID}
	if j.decision.baseRemote != nil {
		r.SrcStart = j.decision.baseRemote.ID
	}
	seqs, first, err := j.prepare(ctx, &r, state)
	if err != nil {
		return progress{}, err
	}
	done, err := j.copyObjects(ctx, r, seqs, first)
	if err != nil {
		return done, err
	}
	if err := applyState(ctx, j.local, state); err != nil {
		return done, err
	}
	if err := validMaps(ctx, j.local); err != nil {
		return done, err
	}
	if err := j.local.SetCopyProgress(ctx, r.DstEnd, true, done.total); err != nil {
		return done, err
	}
	return done, j.memory.Forget(j.key)
}

// validMaps sees to it that an image's object maps can be trusted. That of the head may
// have been marked invalid, by a failure or by another daemon; nobody else would make a
// replica's anew.
func validMaps(ctx context.Context, img *rbd.Image) error {
	if img.Features()&rbd.FeatureObjectMap == 0 {
		return nil
	}
	flags, err := img.Flags(rbd.NoSnap)
	if err != nil || flags&rbd.FlagObjectMapInvalid == 0 {
		return err
	}
	if err := img.RebuildObjectMap(ctx, nil); err != nil {
		return fmt.Errorf("object maps: %w", err)
	}
	return nil
}

// prepare makes the user's snapshots and the mirror snapshot that the data goes
// below, or finds those of a copy that was begun. It returns the map of snapshot
// ids and the first object to copy.
func (j *copyJob) prepare(ctx context.Context, r *rbd.CopyRange, state wire.ImageState) (seqs map[uint64]uint64, first uint64, err error) {
	// A first copy that was begun anew finds in the head what the first wrote.
	r.Overwrite = r.SrcStart == 0 && !j.fresh
	if begun := j.decision.resume; begun != nil {
		r.DstEnd, j.key.LocalSnap = begun.ID, begun.ID
		j.done = j.memory.Resume(j.key)
		// The object in which the copy ended may be half-written, and others
		// beyond it may be whole: copying them again changes nothing.
		return snapSeqs(begun, nil), begun.Namespace.LastCopiedObject, nil
	}
	known := snapSeqs(j.decision.baseLocal, j.decision.baseRemote)
	seqs, err = rbd.CopySnapshots(ctx, j.remote, j.local, *r, known)
	if err != nil {
		return nil, 0, fmt.Errorf("copy the user's snapshots: %w", err)
	}
	stored := maps.Clone(seqs)
	stored[r.SrcEnd] = rbd.NoSnap
	r.DstEnd, err = snapshots.CreateNonPrimary(ctx, j.local, j.gid, snapshots.NonPrimary{
		Demoted:    snapshots.IsDemoted(j.decision.target),
		MirrorUUID: j.sites.remoteUUID,
		SnapID:     r.SrcEnd,
		SnapSeqs:   stored,
		State:      state,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("create the non-primary snapshot: %w", err)
	}
	j.key.LocalSnap = r.DstEnd
	if j.done, err = j.memory.Begin(j.key); err != nil {
		return nil, 0, fmt.Errorf("checkpoint: %w", err)
	}
	return seqs, 0, j.local.Refresh(ctx)
}

// copyObjects copies what changed and makes sure that it was all there.
func (j *copyJob) copyObjects(ctx context.Context, r rbd.CopyRange, seqs map[uint64]uint64, first uint64) (progress, error) {
	c, err := rbd.NewObjectCopier(j.remote, j.local, r, seqs)
	if err != nil {
		return progress{}, err
	}
	delta, err := j.remote.ObjectDelta(ctx, r.SrcStart, r.SrcEnd)
	if err != nil {
		return progress{}, err
	}
	// What an earlier run passed over may have been passed over because of maps
	// that are known to be wrong by now.
	if !delta.FastDiff && j.remote.Features()&rbd.FeatureFastDiff != 0 {
		first = 0
	}
	p, err := j.copyDelta(ctx, c, delta, r.DstEnd, first)
	if err != nil {
		return p, err
	}
	// The maps that said which objects changed may have been found wrong while
	// the copy went on. Then every object is looked at.
	if delta.FastDiff {
		again, err := j.remote.ObjectDelta(ctx, r.SrcStart, r.SrcEnd)
		if err != nil {
			return p, err
		}
		if !again.FastDiff {
			delta = again
			if err := j.done.Restart(); err != nil {
				return p, err
			}
			if p, err = j.copyDelta(ctx, c, delta, r.DstEnd, 0); err != nil {
				return p, err
			}
		}
	}
	// Only now is it known that what was read was read from these snapshots: one
	// that is removed reads like a hole.
	sources := []uint64{r.SrcStart, r.SrcEnd}
	for theirs := range seqs {
		if theirs > r.SrcStart && theirs < r.SrcEnd {
			sources = append(sources, theirs)
		}
	}
	if err := j.remote.SnapshotsExist(ctx, sources...); err != nil {
		return p, err
	}
	return p, c.Finish(ctx, delta)
}

// copyDelta copies the objects of a delta, from first on.
func (j *copyJob) copyDelta(ctx context.Context, c *rbd.ObjectCopier, delta *rbd.Delta, snapID, first uint64) (progress, error) {
	if err := c.Prepare(ctx, delta); err != nil {
		return progress{}, err
	}
	t := newTracker(first, c.Objects())
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(j.depth)
	stop := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { j.report(gctx, snapID, t, stop) })
	var broken error
	reporter.Go(func() { broken = j.remember(stop) })
	for n := first; n < c.Objects() && gctx.Err() == nil; n++ {
		if state := delta.At(n); delta.FastDiff && (state == rbd.ObjectHole || state == rbd.ObjectSame) {
			t.finish(n, 0)
			continue
		}
		if j.done.Done(n) {
			t.finish(n, 0)
			continue
		}
		group.Go(func() error {
			res, err := c.Copy(gctx, n)
			if err == nil {
				j.done.Set(n)
				t.finish(n, res.Read)
			}
			return err
		})
	}
	err := group.Wait()
	close(stop)
	reporter.Wait()
	return t.progress(), errors.Join(err, broken)
}

// remember writes to the checkpoint which objects are done, until stop and a last
// time then.
func (j *copyJob) remember(stop <-chan struct{}) error {
	tick := time.NewTicker(rememberInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return j.done.Flush()
		case <-tick.C:
		}
		if err := j.done.Flush(); err != nil {
			<-stop
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
}

// report tells the cluster and the status of the progress until stop.
func (j *copyJob) report(ctx context.Context, snapID uint64, t *tracker, stop <-chan struct{}) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	told := uint64(0)
	for {
		j.watch(t.progress())
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A failure here costs only copied objects after a crash.
		// What is told is the last object that is done: whoever resumes goes on
		// behind it, or with it.
		if at := t.contiguous(); at > max(told, 1) && j.tell(ctx, snapID, at-1) == nil {
			told = at
		}
	}
}

func (j *copyJob) tell(ctx context.Context, snapID, last uint64) error {
	if j.record != nil {
		return j.record(ctx, last)
	}
	return j.local.SetCopyProgress(ctx, snapID, false, last)
}

// tracker knows which objects of a copy are done.
type tracker struct {
	mu    sync.Mutex
	next  uint64 // all below are done
	ahead map[uint64]struct{}
	count uint64
	total uint64
	bytes atomic.Uint64
}

func newTracker(first, total uint64) *tracker {
	return &tracker{next: first, count: first, total: total, ahead: make(map[uint64]struct{})}
}

func (t *tracker) finish(n, bytes uint64) {
	t.bytes.Add(bytes)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if n != t.next {
		t.ahead[n] = struct{}{}
		return
	}
	for t.next++; ; t.next++ {
		if _, ok := t.ahead[t.next]; !ok {
			return
		}
		delete(t.ahead, t.next)
	}
}

// contiguous returns how many objects from the first on are done.
func (t *tracker) contiguous() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

func (t *tracker) progress() progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return progress{done: t.count, total: t.total, bytes: t.bytes.Load()}
}
