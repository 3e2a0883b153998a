package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
)

var (
	// ErrCorrupt says that a data object holds bytes that are no entry, or an
	// entry that cannot be there.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrMissing says that an entry is not where it must be, although later ones
	// of the same data object or a commit position prove that it was written.
	ErrMissing = errors.New("journal entry is missing")
	// ErrTrimmed says that what the client still needs was removed, or may be, as
	// happens to a disconnected client.
	ErrTrimmed = errors.New("journal was trimmed before this client read it")
	// ErrTagEnd says, to who asked for it, that there are no more entries of the
	// tag that is played: its owner is gone, and there are none of the next yet.
	ErrTagEnd = errors.New("end of the tag's entries")
)

// Entry is an entry that a Player read.
type Entry struct {
	wire.Entry
	// Object is the number of the data object that it lies in.
	Object uint64

	j    *Journal
	mark mark
}

// Position returns where the entry lies.
func (e *Entry) Position() wire.ObjectPosition {
	return wire.ObjectPosition{Object: e.Object, TagTID: e.TagTID, EntryTID: e.EntryTID}
}

// Committed says that the client is done with the entry. The commit position
// passes it when it is done with all before, too, and is written at its age. It
// does nothing for entries of a Player with PlayerOptions.All or Ahead.
func (e *Entry) Committed() {
	if e.mark.tracked {
		e.j.committed(&e.mark)
	}
}

// PlayerOptions says what a Player reads.
type PlayerOptions struct {
	// Tail waits for more at the end instead of returning io.EOF.
	Tail bool
	// All begins with the first entry that is there instead of behind the
	// client's commit position. The entries cannot be committed.
	All bool
	// Ahead is for a second look at what another Player reads for good: the entries
	// cannot be committed, and nothing is kept of them.
	Ahead bool
	// TagEnds makes Next return ErrTagEnd, once for every tag, when all entries of
	// the tag were returned, a newer tag exists, and no entry of that. The Player
	// goes on then.
	TagEnds bool
}

// Player reads a journal's entries in order.
type Player struct {
	j    *Journal
	opts PlayerOptions
	// chunk is how many bytes a read asks for.
	chunk   int
	streams []*stream
	results chan result
	ctx     context.Context // of the reads; ends with Close
	stop    context.CancelFunc
	err     error // final

	at   int     // splay offset of the next entry
	tag  *uint64 // that is played
	next uint64  // the tag's next entry TID
	// resumed is the tag of the commit position: older ones are not looked at.
	resumed *uint64
	// pruned is the newest tag of which nothing more is wanted. gap is the first
	// entry that the tag gapTag did not have.
	pruned *uint64
	gapTag *uint64
	gap    uint64

	// round counts how often ends were looked at anew. In the round superseded a
	// newer tag than supersededTag was known to exist.
	round         int
	superseded    int
	supersededTag uint64
	ended         *uint64 // the tag whose end was told
	suspect       suspect
	poll          time.Time // of the next look at the end
	changed       <-chan struct{}
}

// playBytes bounds what a Player holds of a journal with a wide splay.
const (
	playBytes = 16 << 20
	minChunk  = 4 << 10
)

// NewPlayer returns a Player that begins behind the client's commit position. It
// fails with rados.ErrNotFound when the client is not registered, with ErrTrimmed
// when what it needs is gone.
func (j *Journal) NewPlayer(ctx context.Context, opts PlayerOptions) (*Player, error) {
	if err := j.Refresh(ctx); err != nil {
		return nil, err
	}
	width := int(j.layout.SplayWidth)
	p := &Player{j: j, opts: opts, results: make(chan result, width)}
	p.chunk = max(minChunk, min(j.opts.MaxFetchBytes, playBytes/2/width))
	var st State
	st, p.changed = j.State()
	for i := range width {
		p.streams = append(p.streams, &stream{offset: i, object: j.layout.Object(st.MinimumSet, i), want: p.chunk})
	}
	if !opts.All {
		if err := p.seek(st); err != nil {
			return nil, err
		}
	}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	return p, nil
}

// seek sets the streams to the client's commit position.
func (p *Player) seek(st State) error {
	own := st.Client(p.j.client)
	if own == nil {
		return fmt.Errorf("play journal %s: client %q: %w", p.j.id, p.j.client, rados.ErrNotFound)
	}
	commit := p.j.CommitPosition()
	if len(commit) == 0 && st.MinimumSet > 0 {
		return fmt.Errorf("play journal %s: %w: it begins with object set %d", p.j.id, ErrTrimmed, st.MinimumSet)
	}
	seen := map[int]bool{}
	for i, pos := range commit {
		l := p.j.layout
		offset := l.Offset(pos.Object)
		switch {
		case seen[offset] || pos.EntryTID%uint64(l.SplayWidth) != uint64(offset):
			return fmt.Errorf("play journal %s: %w: commit position %v", p.j.id, ErrCorrupt, commit)
		case l.Set(pos.Object) < st.MinimumSet:
			return fmt.Errorf("play journal %s: %w: it begins with object set %d", p.j.id, ErrTrimmed, st.MinimumSet)
		}
		seen[offset] = true
		s := p.streams[offset]
		s.object, s.skip = pos.Object, &commit[i]
		p.j.reserve(pos.TagTID, pos.EntryTID)
	}
	if len(commit) > 0 {
		p.tag, p.resumed, p.next = &commit[0].TagTID, &commit[0].TagTID, commit[0].EntryTID+1
		p.at = int(p.next % uint64(p.j.layout.SplayWidth))
	}
	return nil
}

// Next returns the next entry; io.EOF behind the last one unless the Player
// tails; ErrTagEnd if PlayerOptions say so. An entry of a tag is only returned when all before it were; where a tag
// ends early, as it does when its writer died, the next tag follows. Data is the
// caller's. Any error but that of ctx and ErrTagEnd is final. It is for one goroutine.
func (p *Player) Next(ctx context.Context) (*Entry, error) {
	for {
		if p.err != nil {
			return nil, p.err
		}
		e, v, err := p.step(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			p.err = fmt.Errorf("play journal %s: %w", p.j.id, err)
			continue
		case v == stepEntry:
			return e, nil
		case v == stepEnd && !p.opts.Tail:
			p.err = io.EOF
			continue
		case v == stepEnd && p.opts.TagEnds && p.tagEnded():
			tag := *p.tag
			p.ended = &tag
			return nil, ErrTagEnd
		}
		if err := p.wait(ctx, v); err != nil {
			return nil, err
		}
	}
}

// tagEnded reports whether nothing more comes of the tag that is played, and that
// was not told yet.
func (p *Player) tagEnded() bool {
	return p.tag != nil && p.isPruned(*p.tag) && (p.ended == nil || *p.ended != *p.tag)
}

// wait waits for a read, or at the end for the time to look again.
func (p *Player) wait(ctx context.Context, v verdict) error {
	var timer <-chan time.Time
	var changed <-chan struct{}
	if v == stepEnd {
		if p.poll.IsZero() {
			p.poll = time.Now().Add(p.j.opts.PollAge)
		}
		t := time.NewTimer(time.Until(p.poll))
		defer t.Stop()
		timer, changed = t.C, p.changed
	}
	select {
	case r := <-p.results:
		p.fetched(r)
	case <-timer:
		return p.lookAgain(ctx)
	case <-changed:
		return p.lookAgain(ctx)
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		p.err = ErrClosed
	}
	return nil
}

// lookAgain begins a new round: whether the tag that is played was superseded,
// then what is behind the ends of all streams.
func (p *Player) lookAgain(ctx context.Context) error {
	p.poll = time.Time{}
	// Before the tags: what changes while they are read is looked at again.
	_, p.changed = p.j.State()
	if p.tag != nil && !p.isPruned(*p.tag) {
		newer, err := p.j.tagSuperseded(ctx, *p.tag)
		if err != nil {
			return p.passing(ctx, err)
		}
		if newer {
			p.superseded, p.supersededTag = p.round+1, *p.tag
		}
	}
	// After the tags: the tag's writer may have gone to another set before.
	if err := p.j.Refresh(ctx); err != nil {
		return p.passing(ctx, err)
	}
	p.round++
	for _, s := range p.streams {
		if s.atEnd && !s.reading && s.err == nil {
			p.read(s)
		}
	}
	return nil
}

// passing returns nil for an error that the next look may not meet, so that a
// tailing Player outlives it.
func (p *Player) passing(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, rados.ErrTimedOut) || errors.Is(err, rados.ErrAgain):
		p.j.log.Warn("journal metadata cannot be read", "err", err)
		return nil
	}
	p.err = fmt.Errorf("play journal %s: %w", p.j.id, err)
	return nil
}

// Close ends the Player and waits for its reads. Entries that were returned stay
// valid and can be committed. It must not be called while Next runs.
func (p *Player) Close() error {
	p.stop()
	for _, s := range p.streams {
		if s.reading {
			<-p.results // of some stream: each has one read at most
			s.reading = false
		}
	}
	if p.err == nil {
		p.err = ErrClosed
	}
	return nil
}
