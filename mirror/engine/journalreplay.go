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
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"

	"golang.org/x/sync/errgroup"
)

// replayDepth is how many objects of one image events are applied to at a time.
const replayDepth = 64

// replay applies the remote journal's entries as they come.
func (j *journalReplica) replay(ctx context.Context) error {
	r := j.r
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	player, err := j.theirs.NewPlayer(ctx, journal.PlayerOptions{Tail: true, TagEnds: true})
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
	// For this session only: nobody knows what happens to the journal until another.
	j.ends, r.ends = r.ends, knownEnds{}
	defer events.Close()
	// What was begun is ended before the image is given away: a write that is given
	// up may still arrive, after those of the next owner.
	writing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var watchers errgroup.Group
	defer func() { _ = watchers.Wait() }()
	defer giveUp()
	defer cancel(nil)
	watchers.Go(func() error { j.watch(ctx, cancel); return nil })
	watchers.Go(func() error { j.watchLocal(ctx, cancel); return nil })
	watchers.Go(func() error {
		<-ctx.Done()
		rest(writing, closeTimeout)
		giveUp()
		return nil
	})
	err = j.play(ctx, writing, player, events)
	cancel(err)
	_ = events.Wait(writing)
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

// play applies entries until something fails. What it writes ends with writing.
func (j *journalReplica) play(ctx, writing context.Context, player *journal.Player, events *rbd.EventReplay) error {
	tag := ^uint64(0)
	for {
		e, err := player.Next(ctx)
		if errors.Is(err, journal.ErrTagEnd) {
			// What its owner did not end, the next one did, who may write nothing.
			if err := events.Finish(writing); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if e.TagTID != tag {
			if err := j.turn(ctx, writing, e.TagTID, events); err != nil {
				return err
			}
			tag = e.TagTID
		}
		err = j.apply(ctx, writing, events, e)
		if errors.Is(err, rbd.ErrHeldBack) {
			return j.lookAhead(ctx, e.TagTID, events.Awaited())
		}
		if err != nil {
			return err
		}
	}
}

// turn goes on from one owner's entries to the next one's. The commit position goes
// along: after a crash nothing of the owner before is applied again, on top of what
// came after it.
func (j *journalReplica) turn(ctx, writing context.Context, tid uint64, events *rbd.EventReplay) error {
	if err := events.Finish(writing); err != nil {
		return err
	}
	if err := j.theirs.FlushCommitPosition(ctx); err != nil {
		return err
	}
	if j.ends.tag == tid {
		events.Expect(j.ends.ends)
	}
	return j.follow(ctx, tid)
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
func (j *journalReplica) apply(ctx, writing context.Context, events *rbd.EventReplay, e *journal.Entry) error {
	ev, err := eventOf(e)
	if err != nil {
		return err
	}
	if err := j.delay.wait(ctx, ev.Time.Std()); err != nil {
		return err
	}
	size := len(e.Data)
	if ev.Type == jwire.EventDemotePromote {
		defer func() {
			select {
			case j.handed <- struct{}{}:
			default:
			}
		}()
	}
	done := func(err error) {
		if err == nil {
			e.Committed()
			j.stats.applied(size)
		}
	}
	if ev.Type == jwire.EventSnapCreate && strings.HasPrefix(ev.Name, syncPointPrefix) {
		// What a daemon copies the primary from is of no use here, and would stay when
		// this site is promoted before the primary's journal removes it.
		done(nil)
		return nil
	}
	return events.Apply(writing, ev, done)
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

const (
	// newsGather is how soon after the remote journal's metadata changed the status
	// follows.
	newsGather = 50 * time.Millisecond
	// handover is how long after the journal said that the image changed hands this
	// may show in all else.
	handover = 2 * time.Second
)

// watch shows the status and ends the replay when something else is to be done as
// far as the remote site tells: its image was demoted and all is applied, or is no
// longer mirrored, or this site is disconnected.
func (j *journalReplica) watch(ctx context.Context, end context.CancelCauseFunc) {
	r := j.r
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last, handed time.Time
	configured := time.Now()
	for {
		// Somebody committed a position, as is seldom done.
		_, news := j.theirs.State()
		head, here := j.head(), j.here()
		behind := j.behind(ctx, head, here)
		if ctx.Err() != nil {
			return
		}
		r.say(wire.MirrorStatusReplaying, j.stats.describe(head, here, behind))
		if time.Since(last) >= time.Second/2 || time.Since(handed) < handover {
			last = time.Now()
			if err := j.check(ctx, behind == 0); err != nil {
				end(err)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-j.handed:
			handed = time.Now()
		case <-tick.C:
		case <-news:
			rest(ctx, newsGather)
		case <-r.kick:
			configured = time.Time{}
		}
		if time.Since(configured) > recheck {
			configured = time.Now()
			if err := j.delay.read(ctx, j.local); err != nil && ctx.Err() == nil {
				r.log.Warn("the local image's configuration was not read", "err", err)
			}
		}
	}
}

// watchLocal is watch for what the local site tells: a promotion or the wish for a
// resync, which show in the local journal. The other site may not answer.
func (j *journalReplica) watchLocal(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		_, news := j.ours.State()
		if err := j.checkLocal(ctx); err != nil {
			end(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-tick.C:
		}
	}
}

// checkLocal returns why the replay is to end, nil if it goes on.
func (j *journalReplica) checkLocal(ctx context.Context) error {
	resync, err := j.r.journalResyncRequested(ctx, j.local.ID())
	if err != nil {
		return err
	}
	if resync {
		return errResync
	}
	if _, owner, err := rbd.NewestTag(ctx, j.ours); err == nil && owner.MirrorUUID == jwire.LocalOwner {
		return errPromoted
	}
	return nil
}

// check returns why the replay is to end, nil if it goes on.
func (j *journalReplica) check(ctx context.Context, drained bool) error {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	e, err := meta.Image(ctx, j.r.ns.remote, j.remote.ID())
	if errors.Is(err, rados.ErrNotFound) || err == nil && e.State == wire.MirrorImageDisabling {
		return errAgain
	}
	if err := j.checkClient(ctx); err != nil {
		return err
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
	if j.behind(ctx, j.head(), j.here()) > 0 {
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
