package rbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// imageJournal records what the holder of the exclusive lock does to an image
// before it does it, as src/librbd/Journal.cc of Ceph does. It is opened with the
// lock and closed before the lock is given back.
//
// Two rules keep replicas equal to the image. What touches the same bytes is
// recorded and applied one after the other, so that the order in the journal is
// that in the data. And what was recorded but failed, or was given up half way,
// spoils the journal: the lock is given back and taken anew, with a replay of what
// was not committed, before anything else is written.
type imageJournal struct {
	img *Image
	j   *journal.Journal
	rec *journal.Recorder
	tag uint64
	// most is how many bytes of payload an event may have.
	most int

	ranges  rangeLock
	spoiled atomic.Bool
	lastOp  atomic.Uint64
	buffers sync.Pool // *eventBuffer
}

// ownReplayDepth is how many events that an earlier owner left are applied at a
// time.
const ownReplayDepth = 32

// journalOptions are those of the configuration, the pool and the image.
func (img *Image) journalOptions() journal.Options {
	s := img.settings
	o := journal.DefaultOptions()
	o.CommitAge = s.seconds("rbd_journal_commit_age")
	o.MaxPayload = int(s.uint("rbd_journal_max_payload_bytes"))
	o.MaxConcurrentSets = s.uint("rbd_journal_max_concurrent_object_sets")
	o.FlushEntries = int(s.uint("rbd_journal_object_flush_interval"))
	o.FlushBytes = int(s.uint("rbd_journal_object_flush_bytes"))
	o.FlushAge = s.seconds("rbd_journal_object_flush_age")
	o.MaxInFlightAppends = int(s.uint("rbd_journal_object_max_in_flight_appends"))
	o.Logger = img.log
	return o
}

// openJournal opens the image's journal for writing: what an earlier owner left in
// it is applied first. With newTag the entries of this owner get a tag of their own.
// An image whose journal lets another site write is rados.ErrReadOnly.
func (img *Image) openJournal(ctx context.Context, newTag bool) (err error) {
	if !img.header().has(FeatureJournaling) || img.opts.ExternalReplay {
		return nil
	}
	j, err := journal.Open(ctx, img.io, img.id, "", img.journalOptions())
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer func() {
		if err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			err = errors.Join(err, j.Close(back))
		}
	}()
	tag, owner, err := newestTag(ctx, j)
	if err != nil {
		return err
	}
	switch owner.MirrorUUID {
	case jwire.LocalOwner:
	case jwire.OrphanOwner:
		return fmt.Errorf("image %s is not primary, it was demoted: %w", img.Name(), rados.ErrReadOnly)
	default:
		return fmt.Errorf("image %s is not primary, that is at site %s: %w", img.Name(), owner.MirrorUUID, rados.ErrReadOnly)
	}
	if err := img.replayOwn(ctx, j); err != nil {
		return fmt.Errorf("replay of the journal that the image's last owner left: %w", err)
	}
	if newTag {
		if tag, err = j.AllocateTag(ctx, tag.Class, NextTag(jwire.LocalOwner, j.CommitPosition()).Append(nil)); err != nil {
			return fmt.Errorf("new tag of the journal: %w", err)
		}
	}
	o := &imageJournal{img: img, j: j, tag: tag.TID, most: j.MaxPayload()}
	if o.rec, err = j.NewRecorder(ctx); err != nil {
		return fmt.Errorf("append to the journal: %w", err)
	}
	img.journal.Store(o)
	return nil
}

// NextTag is the data of a tag for an owner who takes over from this site behind a
// commit position.
func NextTag(owner string, commit jwire.CommitPosition) jwire.TagData {
	d := jwire.TagData{MirrorUUID: owner, Predecessor: jwire.TagPredecessor{MirrorUUID: jwire.LocalOwner}}
	if len(commit) > 0 {
		d.Predecessor.CommitValid = true
		d.Predecessor.TagTID, d.Predecessor.EntryTID = commit[0].TagTID, commit[0].EntryTID
	}
	return d
}

// replayKey marks the context of the replay of an image's own journal, which
// happens while the lock is being taken: it need not take it.
type replayKey struct{ img *Image }

func (img *Image) replaying(ctx context.Context) bool { return ctx.Value(replayKey{img}) != nil }

// replayOwn applies what the journal holds behind the image's own commit position.
func (img *Image) replayOwn(ctx context.Context, j *journal.Journal) error {
	player, err := j.NewPlayer(ctx, journal.PlayerOptions{})
	if err != nil {
		return err
	}
	defer player.Close()
	ctx, cancel := context.WithCancel(context.WithValue(ctx, replayKey{img}, true))
	defer cancel()
	events := NewEventReplay(img, ownReplayDepth)
	events.CommitWith(j.FlushCommitPosition)
	defer events.Close()
	n, tag := 0, uint64(0)
	for {
		e, err := player.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if n > 0 && e.TagTID != tag {
			// What its owner did not end, the next one did.
			if err := events.Finish(ctx); err != nil {
				return err
			}
		}
		n, tag = n+1, e.TagTID
		var ev jwire.Event
		r := denc.NewReader(e.Data)
		if ev.Decode(r); r.Err() != nil {
			return fmt.Errorf("entry %d of tag %d: %w", e.EntryTID, e.TagTID, r.Err())
		}
		forgotten, err := img.ofForgottenGroup(ctx, &ev)
		if err != nil {
			return err
		}
		if forgotten {
			e.Committed()
			continue
		}
		err = events.Apply(ctx, ev, func(err error) {
			if err == nil {
				e.Committed()
			}
		})
		if err != nil {
			return err
		}
	}
	if err := events.Finish(ctx); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	img.log.Info("applied what the image's last owner left in the journal", "entries", n)
	return j.FlushCommitPosition(ctx)
}

// closeJournal ends the recording: everything is safe, and the commit position is
// written, when it returns nil.
func (img *Image) closeJournal(ctx context.Context) error {
	o := img.journal.Swap(nil)
	if o == nil {
		return nil
	}
	return o.close(ctx)
}

func (o *imageJournal) close(ctx context.Context) error {
	err := o.rec.Close(ctx)
	if o.spoiled.Load() {
		err = nil // what is missing is replayed by the next owner
	}
	return errors.Join(err, o.j.Close(ctx))
}

// journalSpoiled reports whether the journal has to be replayed before anything else
// is written.
func (img *Image) journalSpoiled() bool {
	o := img.journal.Load()
	return o != nil && o.spoiled.Load()
}

// recoverJournal gives the lock back if the journal has to be replayed before
// anything else is written; who takes the lock does it.
func (img *Image) recoverJournal(ctx context.Context) error {
	if !img.journalSpoiled() {
		return nil
	}
	return img.lock.release(ctx)
}

// spoil makes everybody who would write replay the journal first.
func (o *imageJournal) spoil(why string, err error) {
	if !o.spoiled.Swap(true) {
		o.img.log.Warn("the journal is replayed before the image is written to again", "reason", why, "error", err)
	}
}

// errSpoiled is internal: the lock has to be taken anew.
var errSpoiled = errors.New("the journal has to be replayed")

// change records a change of bytes off~n and then makes it.
func (o *imageJournal) change(ctx context.Context, off, n uint64, record func(ctx context.Context, c *recording) error, apply func() error) error {
	leave, err := o.ranges.enter(ctx, off, off+n)
	if err != nil {
		return err
	}
	defer leave()
	c := o.newRecording()
	defer c.release(o)
	if err := record(ctx, c); err != nil {
		if len(c.futures) > 0 {
			o.spoil("an event is only partly recorded", err)
			c.lost = true
		}
		return err
	}
	// The last one is safe when all before are.
	if err := c.last().Wait(ctx); err != nil {
		o.spoil("an event was not recorded", err)
		c.lost = true
		return fmt.Errorf("record in the journal: %w", err)
	}
	if err := apply(); err != nil {
		o.spoil("what was recorded failed", err)
		c.lost = true
		return err
	}
	for _, fs := range c.futures {
		for i := range fs {
			fs[i].Committed()
		}
	}
	return nil
}

// write records a write and makes it. What is recorded and applied is one copy of the
// data, so that the two are the same whatever becomes of the caller's.
func (o *imageJournal) write(ctx context.Context, off uint64, d msgr2.Data, apply func(d msgr2.Data) error) error {
	var own msgr2.Data
	record := func(ctx context.Context, c *recording) error {
		var err error
		own, err = o.recordWrite(ctx, c, off, d)
		return err
	}
	return o.change(ctx, off, uint64(d.Len()), record, func() error { return apply(own) })
}

// recordWrite records a write as one event or more and returns the copy of d that
// they hold.
func (o *imageJournal) recordWrite(ctx context.Context, c *recording, off uint64, d msgr2.Data) (own msgr2.Data, err error) {
	data := c.copyOf(d)
	most := max(1, o.most-eventOverhead)
	var whole msgr2.Builder
	whole.Grow(len(data) / most)
	ev := jwire.Event{Type: jwire.EventWrite, Time: denc.TimeOf(time.Now())}
	for at := 0; at < len(data); {
		k := min(most, len(data)-at)
		piece := msgr2.NewData(data[at : at+k]).Checked()
		ev.Offset, ev.Length = off+uint64(at), uint64(k)
		c.around(&ev, piece)
		whole.AppendData(piece)
		if at += k; at == len(data) || len(c.payloads) == groupedEvents {
			if err := o.recordAll(ctx, c); err != nil {
				return own, err
			}
		}
	}
	return whole.Data(), nil
}

const (
	// eventOverhead is at least what a write's event takes besides its data, bytes.
	eventOverhead = 64
	// groupedEvents is how many events of a write are recorded at once at most.
	groupedEvents = 256
)

// event records a change of bytes off~n that is one event, and makes it.
func (o *imageJournal) event(ctx context.Context, ev jwire.Event, apply func() error) error {
	record := func(ctx context.Context, c *recording) error { return o.record(ctx, c, &ev) }
	return o.change(ctx, ev.Offset, ev.Length, record, apply)
}

// flush records that the image's user wanted everything to be safe.
func (o *imageJournal) flush(ctx context.Context) error {
	return o.event(ctx, jwire.Event{Type: jwire.EventFlush}, func() error { return nil })
}

// journaled carries out an operation that is more than input and output: it is
// recorded before, and its end after.
func (img *Image) journaled(ctx context.Context, ev jwire.Event, f func(ctx context.Context) error) error {
	o := img.journal.Load()
	if o == nil {
		return f(ctx)
	}
	ev.OpTID = o.lastOp.Add(1)
	c := o.newRecording()
	defer c.release(o)
	err := o.record(ctx, c, &ev)
	if err != nil {
		return err
	}
	start := c.last()
	start.Flush()
	if err = start.Wait(ctx); err == nil {
		// What was written before must not be replayed after the operation.
		err = o.j.FlushCommitPosition(ctx)
	}
	if err != nil {
		o.spoil("an operation was not recorded", err)
		c.lost = true
		return fmt.Errorf("record in the journal: %w", err)
	}
	err = f(ctx)
	if err != nil && (ctx.Err() != nil || rados.MaybeApplied(err) || changesData(&ev)) {
		o.spoil("an operation was given up half way", err)
		return err
	}
	o.finishOp(context.WithoutCancel(ctx), ev.OpTID, start, err)
	return err
}

// changesData says whether an operation that failed half way may have left the
// data different from what it was before.
func changesData(ev *jwire.Event) bool {
	return ev.Type == jwire.EventResize || ev.Type == jwire.EventSnapRollback
}

// finishOp records how an operation ended.
func (o *imageJournal) finishOp(ctx context.Context, tid uint64, start *journal.Future, result error) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	ev := jwire.Event{Type: jwire.EventOpFinish, OpTID: tid, Result: resultOf(result)}
	c := o.newRecording()
	defer c.release(o)
	err := o.record(ctx, c, &ev)
	if err == nil {
		end := c.last()
		end.Flush()
		if err = end.Wait(ctx); err == nil {
			start.Committed()
			end.Committed()
			err = o.j.FlushCommitPosition(ctx)
		} else {
			c.lost = true
		}
	}
	if err != nil {
		// The operation itself is done; a replay does it again.
		o.spoil("the end of an operation was not recorded", err)
	}
}
