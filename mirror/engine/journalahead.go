package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// eventOf reads what an entry of a remote journal says.
func eventOf(e *journal.Entry) (ev jwire.Event, err error) {
	rd := denc.NewReader(e.Data)
	if ev.Decode(rd); rd.Err() != nil {
		return ev, fmt.Errorf("entry %d of tag %d of the remote journal: %w", e.EntryTID, e.TagTID, rd.Err())
	}
	return ev, nil
}

// knownEnds are the ends of operations that were too far from their beginnings to keep
// what lies between.
type knownEnds struct {
	tag  uint64
	ends map[uint64]int32
}

// lookAhead finds how the operations of a tag end that the replay awaits, and ends the
// session: the next one begins at the commit position and needs to hold nothing back
// for them. It waits for a writer that is in the middle of them.
func (j *journalReplica) lookAhead(ctx context.Context, tag uint64, awaited []uint64) error {
	j.r.log.Info("the end of an operation is looked for in the journal", "tag", tag, "operations", awaited)
	player, err := j.theirs.NewPlayer(ctx, journal.PlayerOptions{Tail: true, TagEnds: true, Ahead: true})
	if err != nil {
		return fmt.Errorf("read the remote journal: %w", err)
	}
	defer player.Close()
	// What was found before is still needed: the position may not have passed it.
	found := knownEnds{tag: tag, ends: make(map[uint64]int32)}
	if j.ends.tag == tag {
		maps.Copy(found.ends, j.ends.ends)
	}
	missing := make(map[uint64]bool)
	for _, tid := range awaited {
		missing[tid] = true
	}
	reached := false // the tag
	for len(missing) > 0 {
		e, err := player.Next(ctx)
		if errors.Is(err, journal.ErrTagEnd) && !reached {
			continue
		}
		if err != nil && !errors.Is(err, journal.ErrTagEnd) {
			return err
		}
		if err != nil || e.TagTID > tag {
			// What its owner did not end, the next one did.
			for tid := range missing {
				found.ends[tid] = 0
			}
			break
		}
		if reached = e.TagTID == tag; !reached {
			continue
		}
		ev, err := eventOf(e)
		if err != nil {
			return err
		}
		if ev.Type == jwire.EventOpFinish && missing[ev.OpTID] {
			found.ends[ev.OpTID] = ev.Result
			delete(missing, ev.OpTID)
		}
	}
	j.r.ends = found
	return errAgain
}

// mostOpen bounds the operations that are open at a moment. Writers have a few.
const mostOpen = 1 << 16

// place is an entry's in the order of a journal.
type place struct{ tag, entry uint64 }

func (p place) before(o place) bool { return p.tag < o.tag || p.tag == o.tag && p.entry < o.entry }

// startAt moves this site's commit position to where the snapshot of that name was
// made, if the image's owner recorded it: all before is in the copy. An operation
// before it would meet what came after, such as a snapshot of the same name.
//
// The journal is read twice, to keep none of its entries.
func (j *journalReplica) startAt(ctx context.Context, name string) (err error) {
	own, err := journal.Open(ctx, j.r.ns.remote, j.remote.ID(), j.r.ns.sites.localUUID, journal.Options{NoTrim: true, Logger: j.r.log})
	if err != nil {
		return err
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		err = errors.Join(err, own.Close(bye), j.theirs.Refresh(ctx))
	}()
	first, err := firstToReplay(ctx, own, name)
	if errors.Is(err, io.EOF) {
		return nil // nobody had the image open
	}
	if err != nil {
		return err
	}
	player, err := own.NewPlayer(ctx, journal.PlayerOptions{})
	if err != nil {
		return err
	}
	defer player.Close()
	for {
		e, err := player.Next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil || !(place{e.TagTID, e.EntryTID}).before(first) {
			return own.FlushCommitPosition(ctx)
		}
		e.Committed()
	}
}

// firstToReplay returns where the replay of a journal begins behind a copy of the
// snapshot of that name: behind its record, or with the first operation whose end did
// not come before. It returns io.EOF when the journal does not have it.
func firstToReplay(ctx context.Context, own *journal.Journal, name string) (first place, err error) {
	player, err := own.NewPlayer(ctx, journal.PlayerOptions{Ahead: true})
	if err != nil {
		return first, err
	}
	defer player.Close()
	open := map[uint64]place{} // operations whose end did not come yet: where they began
	tag := uint64(0)
	for {
		e, err := player.Next(ctx)
		if err != nil {
			return first, err
		}
		ev, err := eventOf(e)
		if err != nil {
			return first, err
		}
		if tag != e.TagTID {
			clear(open) // the next owner ended them
		}
		tag = e.TagTID
		switch {
		case ev.Type == jwire.EventSnapCreate && ev.Name == name:
			first = place{e.TagTID, e.EntryTID + 1}
			for _, at := range open {
				if at.before(first) {
					first = at
				}
			}
			return first, nil
		case ev.Type == jwire.EventOpFinish:
			delete(open, ev.OpTID)
		case ev.OpTID != 0:
			open[ev.OpTID] = place{e.TagTID, e.EntryTID}
			if len(open) > mostOpen {
				return first, fmt.Errorf("%d operations of tag %d without an end: %w", len(open), tag, jwire.ErrEvent)
			}
		}
	}
}
