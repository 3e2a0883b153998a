package journal

import (
	"context"
	"errors"

	"github.com/rbdm/rbdm/journal/wire"
)

// Future is an entry that a Recorder writes. Its methods are safe for concurrent
// use.
type Future struct {
	r    *Recorder
	mark *mark
	pos  wire.ObjectPosition
}

// Wait waits until the entry and all before it are safe in the journal. An error
// other than that of ctx means that it may or may not be in the journal, and that
// nothing behind it is.
func (f *Future) Wait(ctx context.Context) error { return errors.ErrUnsupported }

// Done returns a channel that is closed when Wait would not wait.
func (f *Future) Done() <-chan struct{} { return nil }

// Flush sends the entry, and those before it in its data object, without waiting
// for more to send with them.
func (f *Future) Flush() {}

// TagTID returns the entry's tag.
func (f *Future) TagTID() uint64 { return f.pos.TagTID }

// EntryTID returns the entry's number within its tag.
func (f *Future) EntryTID() uint64 { return f.pos.EntryTID }

// Committed says that what the entry describes is safely done, see
// Entry.Committed.
func (f *Future) Committed() { f.r.j.committed(f.mark) }
