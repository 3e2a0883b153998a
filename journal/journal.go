package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/rbdm/rbdm/rados"
)

// ErrClosed is returned by what is called on a closed Journal, Player or
// Recorder.
var ErrClosed = errors.New("journal is closed")

// Journal is an open journal as one of its clients sees it. It watches the
// header, keeps State new, writes the client's commit position and removes
// object sets that nobody needs. It is safe for concurrent use.
type Journal struct {
	io     *rados.IoCtx // of the header
	data   *rados.IoCtx // of the data objects
	id     string
	header string
	client string
	opts   Options
	log    *slog.Logger
	layout Layout

	commits commits

	activeSet atomic.Uint64 // that of state

	mu      sync.Mutex
	state   State
	changed chan struct{}     // closed by the next change of state
	next    map[uint64]uint64 // tag: the next entry's TID
	// watch is owned by the follower once it runs.
	watch *rados.Watch

	kick   chan struct{} // the header changed, or may have
	news   chan struct{} // a commit position is to be told
	stop   context.CancelFunc
	ctx    context.Context // ends with Close: the root of what runs by itself
	wg     sync.WaitGroup
	closed bool
}

// Open opens a journal for the client of the given id: "" is the owner, a
// mirroring peer its site's mirror UUID. The client need not be registered yet.
// It fails with rados.ErrNotFound when there is no such journal. ctx bounds the
// opening only.
func Open(ctx context.Context, io *rados.IoCtx, id, client string, opts Options) (*Journal, error) {
	opts = opts.filled()
	j := &Journal{
		io: io, id: id, header: HeaderName(id), client: client, opts: opts,
		log:     opts.Logger.With("journal", id, "client", client),
		changed: make(chan struct{}), next: map[uint64]uint64{}, kick: make(chan struct{}, 1),
		news: make(chan struct{}, 1),
	}
	j.commits.init()
	if err := j.readLayout(ctx); err != nil {
		return nil, err
	}
	j.ctx, j.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := j.watchHeader(ctx); err != nil {
		j.stop()
		return nil, fmt.Errorf("watch journal %s: %w", id, err)
	}
	if err := j.Refresh(ctx); err != nil {
		j.stop()
		return nil, errors.Join(err, j.watch.Close(ctx))
	}
	j.wg.Add(3)
	go j.follow()
	go j.writeCommits()
	go j.tell()
	return j, nil
}

// Close writes the commit position, ends the watch and waits for all that the
// Journal does. Players and Recorders are to be closed before. A second call
// does nothing.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	err := j.FlushCommitPosition(ctx)
	j.stop()
	j.wg.Wait()
	j.tellAtEnd(ctx)
	if j.watch != nil {
		err = errors.Join(err, j.watch.Close(ctx))
	}
	return err
}

// ID returns the journal's id, that of its image.
func (j *Journal) ID() string { return j.id }

// ClientID returns the id of the client that opened the Journal.
func (j *Journal) ClientID() string { return j.client }

// Layout returns how the journal lies in its pool.
func (j *Journal) Layout() Layout { return j.layout }

// MaxPayload returns how many bytes of payload an entry may have.
func (j *Journal) MaxPayload() int {
	n := j.layout.MaxPayload()
	if j.opts.MaxPayload > 0 {
		n = min(n, j.opts.MaxPayload)
	}
	return n
}

func (j *Journal) dataName(n uint64) string { return DataName(j.io.Pool(), j.id, n) }
