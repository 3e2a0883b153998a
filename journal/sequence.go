package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
)

// verdict is what a step came to.
type verdict int

const (
	stepAgain verdict = iota // something changed
	stepEntry
	stepWait // for a read
	stepEnd  // nothing more is there now
)

// suspect is an entry that must be there and was not seen.
type suspect struct {
	tag, entry uint64
	round      int // in which that was noticed; 0 is never
}

// step returns the next entry in sequence if it was read.
func (p *Player) step(ctx context.Context) (*Entry, verdict, error) {
	for {
		p.readAhead()
		s := p.streams[p.at]
		e := s.front()
		if p.tag == nil && p.opts.All {
			first, known := p.earliest()
			if !known {
				return nil, stepWait, nil
			}
			s, e = p.streams[p.at], first
		}
		if e == nil {
			if v, err := p.behind(ctx, s); v != stepAgain || err != nil {
				return nil, v, err
			}
			continue
		}
		switch {
		case p.tag == nil:
			if e.EntryTID != 0 && !p.opts.All {
				return nil, 0, p.lacks(e.TagTID, 0, e)
			}
			if err := p.begin(e); err != nil {
				return nil, 0, err
			}
		case e.TagTID < *p.tag || p.isPruned(e.TagTID):
			if err := p.prune(e.TagTID); err != nil {
				return nil, 0, err
			}
			continue
		case e.TagTID > *p.tag:
			if err := p.newTag(ctx, e); err != nil {
				return nil, 0, err
			}
			continue
		}
		if e.EntryTID != p.next {
			return nil, 0, p.lacks(e.TagTID, p.next, e)
		}
		return p.take(s), stepEntry, nil
	}
}

// lacks is the error that an entry is missing, as found stands in its place.
func (p *Player) lacks(tag, entry uint64, found *Entry) error {
	return fmt.Errorf("%w: entry %d of tag %d, where object %s has %d of tag %d", ErrMissing, entry, tag,
		p.j.dataName(found.Object), found.EntryTID, found.TagTID)
}

// earliest turns to the stream with the first entry of all and returns the
// entry, if there is any; it is not known before all streams were read. What
// came before it was trimmed.
func (p *Player) earliest() (first *Entry, known bool) {
	for i, s := range p.streams {
		e := s.front()
		if e == nil && !s.atEnd && s.err == nil {
			return nil, false
		}
		if e != nil && (first == nil || e.TagTID < first.TagTID || e.TagTID == first.TagTID && e.EntryTID < first.EntryTID) {
			first, p.at = e, i
		}
	}
	return first, true
}

// take hands the front entry of a stream out.
func (p *Player) take(s *stream) *Entry {
	e := s.pop()
	p.next++
	p.at = (p.at + 1) % len(p.streams)
	p.poll = time.Time{}
	p.j.reserve(e.TagTID, e.EntryTID)
	if !p.opts.All && !p.opts.Ahead {
		p.j.track(&e.mark, e.Position())
	}
	return e
}

func (p *Player) isPruned(tag uint64) bool { return p.pruned != nil && tag <= *p.pruned }

// readAhead keeps a read under way for every stream of which little is queued.
func (p *Player) readAhead() {
	active := p.j.activeSet.Load()
	l := p.j.layout
	for _, s := range p.streams {
		if s.reading || s.err != nil || s.bytes >= p.chunk {
			continue
		}
		if s.final(l) && !s.missing {
			s.advance(p)
		}
		if !s.atEnd || s.endActive <= l.Set(s.object) && active > l.Set(s.object) {
			p.read(s)
		}
	}
}

// behind decides what it means that the stream whose turn it is has no entry.
func (p *Player) behind(ctx context.Context, s *stream) (verdict, error) {
	switch {
	case s.reading:
		return stepWait, nil
	case s.err != nil:
		return 0, s.err
	case !s.atEnd:
		return stepAgain, nil // readAhead goes on
	case s.final(p.j.layout):
		if err := p.confirm(ctx, s.object); err != nil {
			return 0, err
		}
		s.advance(p)
		return stepAgain, nil
	case p.tag == nil || p.isPruned(*p.tag):
		return p.rest(ctx, s)
	}
	if v, err := p.suspicious(s, *p.tag, p.next); v != stepAgain || err != nil {
		return v, err
	}
	if p.opts.Tail && (p.superseded == 0 || p.supersededTag != *p.tag) && p.seenNewer(*p.tag) {
		// Nothing else may happen that would be a reason to ask for the tags.
		p.round++
		p.superseded, p.supersededTag = p.round, *p.tag
	}
	if p.older(s) {
		p.read(s)
		return stepWait, nil
	}
	if p.opts.Tail && (p.superseded == 0 || p.supersededTag != *p.tag || s.endRound < p.superseded) {
		return stepEnd, p.broken()
	}
	// Nothing will be added to the tag, unless its writer went on to another set.
	if err := p.confirm(ctx, s.object); err != nil {
		return 0, err
	}
	if p.j.activeSet.Load() > p.j.layout.Set(s.object) {
		return stepAgain, nil
	}
	if v, err := p.suspicious(s, *p.tag, p.next); v != stepAgain || err != nil {
		return v, err
	}
	return stepAgain, p.endTag()
}

// older reports whether a stream was read last before the ends of all were looked at
// anew: its read was under way then. Nobody would look again before the next poll.
func (p *Player) older(s *stream) bool { return p.opts.Tail && s.endRound < p.round }

// seenNewer reports whether there are entries of a newer tag: read here, or that a
// client was done with.
func (p *Player) seenNewer(tag uint64) bool {
	for _, s := range p.streams {
		if e := s.front(); e != nil && e.TagTID > tag {
			return true
		}
	}
	st, _ := p.j.State()
	for _, c := range st.Clients {
		for _, pos := range c.Commit {
			if pos.TagTID > tag {
				return true
			}
		}
	}
	return false
}

// rest is the end between two tags: the next one has no first entry yet, which
// would be in stream s.
func (p *Player) rest(ctx context.Context, s *stream) (verdict, error) {
	for _, o := range p.streams {
		if o.reading {
			return stepWait, nil // what it brings may show that something is missing
		}
	}
	st, _ := p.j.State()
	for _, c := range st.Clients {
		for _, pos := range c.Commit {
			if p.isPruned(pos.TagTID) || p.tag != nil && pos.TagTID <= *p.tag {
				continue
			}
			if v, err := p.suspicious(s, pos.TagTID, 0); v != stepAgain || err != nil {
				return v, err
			}
		}
	}
	if p.older(s) {
		p.read(s)
		return stepWait, nil
	}
	if !p.opts.Tail {
		if err := p.confirm(ctx, s.object); err != nil {
			return 0, err
		}
		if p.j.activeSet.Load() > p.j.layout.Set(s.object) {
			return stepAgain, nil
		}
	}
	return stepEnd, p.broken()
}

// broken returns the error of any stream: at the end nothing may hide behind one
// whose turn does not come.
func (p *Player) broken() error {
	for _, s := range p.streams {
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// suspicious fails when a client was done with an entry, or a later one of the
// tag, that is not in stream s although the stream was read since.
func (p *Player) suspicious(s *stream, tag, entry uint64) (verdict, error) {
	witness := p.proof(tag, entry)
	if witness == nil || p.resumed != nil && tag < *p.resumed {
		return stepAgain, nil
	}
	if p.suspect.tag != tag || p.suspect.entry != entry || p.suspect.round == 0 {
		p.round++
		p.suspect = suspect{tag: tag, entry: entry, round: p.round}
	}
	if s.endRound >= p.suspect.round {
		return 0, fmt.Errorf("%w: entry %d of tag %d is not in object %s, client %q was done with it", ErrMissing, entry, tag,
			p.j.dataName(s.object), witness.ID)
	}
	p.read(s)
	return stepWait, nil
}

// proof returns a client that was done with an entry of a tag or a later one.
func (p *Player) proof(tag, entry uint64) *wire.Client {
	st, _ := p.j.State()
	for i, c := range st.Clients {
		for _, pos := range c.Commit {
			if pos.TagTID == tag && pos.EntryTID >= entry {
				return &st.Clients[i]
			}
		}
	}
	return nil
}

// newTag begins a newer tag than the one that is played with e, the front of the
// current stream, or ends the one that is played when it is not the tag's first.
func (p *Player) newTag(ctx context.Context, e *Entry) error {
	switch {
	case e.EntryTID%uint64(len(p.streams)) != uint64(p.at):
		return fmt.Errorf("%w: entry %d of tag %d is in object %s", ErrCorrupt, e.EntryTID, e.TagTID, p.j.dataName(e.Object))
	case e.EntryTID != 0 && p.at == 0:
		return p.lacks(e.TagTID, 0, e)
	}
	if !p.isPruned(*p.tag) {
		if err := p.confirm(ctx, e.Object); err != nil {
			return err
		}
		if c := p.proof(*p.tag, p.next); c != nil {
			return p.lacks(*p.tag, p.next, e)
		}
		if err := p.endTag(); err != nil {
			return err
		}
	}
	if e.EntryTID == 0 {
		return p.begin(e)
	}
	return nil
}

// begin plays the tag of e from e on. It fails when a client was done with
// something of a tag in between, of which nothing was seen.
func (p *Player) begin(e *Entry) error {
	st, _ := p.j.State()
	for _, c := range st.Clients {
		for _, pos := range c.Commit {
			if pos.TagTID < e.TagTID && (p.tag == nil || pos.TagTID > *p.tag) && !p.opts.All {
				return p.lacks(pos.TagTID, 0, e)
			}
		}
	}
	tag := e.TagTID
	p.tag, p.next = &tag, e.EntryTID
	return nil
}

// endTag gives up the tag that is played: its next entry was never written. The
// next tag begins at splay offset 0.
func (p *Player) endTag() error {
	p.gapTag, p.gap = p.tag, p.next
	p.at = 0
	p.poll = time.Now()
	return p.prune(*p.tag)
}

// prune drops the entries of a tag at the fronts of all streams. They are what
// its writer had under way when it died: nobody was told that they were safe.
// One in the data object that lacks an earlier one shows that it got lost.
func (p *Player) prune(tag uint64) error {
	fresh := !p.isPruned(tag)
	if fresh {
		p.pruned = &tag
	}
	gapped := p.gapTag != nil && *p.gapTag == tag
	n := 0
	for i, s := range p.streams {
		for e := s.front(); e != nil && e.TagTID == tag; e = s.front() {
			if gapped && i == int(p.gap%uint64(len(p.streams))) {
				return p.lacks(tag, p.gap, e)
			}
			p.j.reserve(e.TagTID, e.EntryTID)
			s.pop()
			n++
		}
	}
	if n > 0 {
		p.j.log.Info("dropped journal entries that were never finished", "tag", tag, "entries", n)
	}
	// A tag of which not even the first entry is there.
	if c := p.proof(tag, 0); fresh && !gapped && c != nil && (p.resumed == nil || tag > *p.resumed) {
		return fmt.Errorf("%w: entry 0 of tag %d, client %q was done with it", ErrMissing, tag, c.ID)
	}
	return nil
}

// confirm makes sure, from the header, that the absence of something in an object
// means that it was never written: that the object cannot have been trimmed
// before this client was done with it.
func (p *Player) confirm(ctx context.Context, object uint64) error {
	if err := p.j.Refresh(ctx); err != nil {
		return err
	}
	st, _ := p.j.State()
	if set := p.j.layout.Set(object); set < st.MinimumSet {
		return fmt.Errorf("%w: object set %d", ErrTrimmed, set)
	}
	if p.opts.All {
		return nil
	}
	switch own := st.Client(p.j.client); {
	case own == nil:
		return fmt.Errorf("%w: client %q was unregistered", ErrTrimmed, p.j.client)
	case own.State == wire.ClientDisconnected:
		return fmt.Errorf("%w: client %q is disconnected", ErrTrimmed, p.j.client)
	}
	return nil
}
