package journal

import (
	"context"
	"errors"
)

// Recorder appends entries to a journal. There must be one only, that of the
// owner of the image's exclusive lock. It is safe for concurrent use.
type Recorder struct {
	j *Journal
}

// NewRecorder returns a Recorder that goes on in the active object set. Entries
// that others wrote under the same tag must have been played before by a Player
// of the same Journal; tags that were allocated by it are empty.
func (j *Journal) NewRecorder(ctx context.Context) (*Recorder, error) { return &Recorder{j: j}, nil }

// Append adds an entry behind all that were appended before. It waits, as long as
// ctx lets it, while too many bytes are under way, and fails when the payload is
// larger than MaxPayload of the journal's layout or when an earlier entry failed.
// payload is kept, and must not change, until the Future is done.
func (r *Recorder) Append(ctx context.Context, tagTID uint64, payload []byte) (*Future, error) {
	return nil, errors.ErrUnsupported
}

// SetBatch replaces Options.FlushEntries, FlushBytes and FlushAge, as
// rbd_journal_object_writethrough_until_flush needs it.
func (r *Recorder) SetBatch(o Options) {}

// Flush sends everything and waits until all that was appended before the call is
// safe.
func (r *Recorder) Flush(ctx context.Context) error { return errors.ErrUnsupported }

// Close flushes and ends the Recorder. What is not safe when ctx ends fails with
// ErrClosed.
func (r *Recorder) Close(ctx context.Context) error { return errors.ErrUnsupported }
