package journal

import (
	"context"
	"errors"

	"github.com/rbdm/rbdm/journal/wire"
)

var (
	// ErrCorrupt says that a data object holds bytes that are no entry, or an
	// entry that cannot be there.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrMissing says that an entry is not where it must be, although later ones
	// of the same data object or a commit position prove that it was written.
	ErrMissing = errors.New("journal entry is missing")
	// ErrTrimmed says that the client's commit position lies in an object set
	// that was removed, as happens to a disconnected client.
	ErrTrimmed = errors.New("journal entries were trimmed before this client read them")
)

// Entry is an entry that a Player read.
type Entry struct {
	wire.Entry
	// Object is the number of the data object that it lies in.
	Object uint64

	j    *Journal
	mark *mark
}

// Position returns where the entry lies.
func (e *Entry) Position() wire.ObjectPosition {
	return wire.ObjectPosition{Object: e.Object, TagTID: e.TagTID, EntryTID: e.EntryTID}
}

// Committed says that the client is done with the entry. The commit position
// passes it when it is done with all before, too, and is written at its age.
func (e *Entry) Committed() { e.j.committed(e.mark) }

// PlayerOptions says what a Player reads.
type PlayerOptions struct {
	// Tail waits for more at the end instead of returning io.EOF.
	Tail bool
	// All begins with the first entry that is there instead of behind the
	// client's commit position. The entries cannot be committed.
	All bool
}

// Player reads a journal's entries in order.
type Player struct {
	j    *Journal
	opts PlayerOptions
}

// NewPlayer returns a Player that begins behind the client's commit position. It
// fails with rados.ErrNotFound when the client is not registered, with ErrTrimmed
// when what it needs is gone.
func (j *Journal) NewPlayer(ctx context.Context, opts PlayerOptions) (*Player, error) {
	return &Player{j: j, opts: opts}, nil
}

// Next returns the next entry; io.EOF behind the last one unless the Player
// tails. An entry of a tag is only returned when all before it were; where a tag
// ends early, as it does when its writer died, the next tag follows. Data is the
// caller's. Any error but that of ctx is final. It is for one goroutine.
func (p *Player) Next(ctx context.Context) (*Entry, error) { return nil, errors.ErrUnsupported }

// Close ends the Player and waits for its reads. Entries that were returned stay
// valid and can be committed.
func (p *Player) Close() error { return nil }
