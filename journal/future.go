package journal

import (
	"context"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
)

// Future is an entry that a Recorder writes. Its methods are safe for concurrent
// use.
type Future struct {
	r    *Recorder
	mark mark
	tag  uint64
	tid  uint64
	seq  uint64 // in the order of Append

	// The rest belongs to r.mu.
	payload  msgr2.Data
	crc      uint32 // of payload, with seed -1
	acked    bool   // is in the journal
	finished bool   // so are all before it, or err
	early    bool   // Committed was called before
	err      error
	done     chan struct{} // closed when finished; made when somebody waits
}

// Wait waits until the entry and all before it are safe in the journal. An error
// other than that of ctx means that it may or may not be in the journal, and that
// nothing that is appended later is.
func (f *Future) Wait(ctx context.Context) error {
	done := f.Done()
	select {
	case <-done:
	default:
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return f.err
}

// Done returns a channel that is closed when Wait does not wait any more.
func (f *Future) Done() <-chan struct{} {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	switch {
	case f.done != nil:
	case f.finished:
		return f.r.ended
	default:
		f.done = make(chan struct{})
	}
	return f.done
}

// finish completes f. r.mu is held.
func (f *Future) finish(err error) {
	f.finished, f.err, f.payload = true, err, msgr2.Data{}
	if f.early && err == nil {
		f.r.j.committed(&f.mark)
	}
	if f.done != nil {
		close(f.done)
	}
}

// Flush sends the entry, with those before it in its data object, although more
// could be sent with it later. It does not wait.
func (f *Future) Flush() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if !f.acked && !f.finished {
		f.r.send(f.r.objectOf(f), true)
	}
}

// TagTID returns the entry's tag.
func (f *Future) TagTID() uint64 { return f.tag }

// EntryTID returns the entry's number within its tag.
func (f *Future) EntryTID() uint64 { return f.tid }

// Position returns where the entry lies. Until it is safe its data object may
// change.
func (f *Future) Position() wire.ObjectPosition {
	f.r.j.commits.mu.Lock()
	defer f.r.j.commits.mu.Unlock()
	return f.mark.pos
}

// Committed says that what the entry describes is safely done, see
// Entry.Committed. It counts once the entry itself is safe in the journal, and
// never for one that failed.
func (f *Future) Committed() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.early = true
	if f.finished && f.err == nil {
		f.r.j.committed(&f.mark)
	}
}
