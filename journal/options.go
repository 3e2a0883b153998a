package journal

import (
	"log/slog"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
)

// Options says how a Journal behaves. The comments name the options of Ceph that
// mean the same and have the same defaults; DefaultOptions returns those.
type Options struct {
	// CommitAge is how long after a commit the position is written
	// (rbd_journal_commit_age and rbd_mirror_journal_commit_age, 5 s).
	CommitAge time.Duration
	// MaxPayload bounds an entry's payload in bytes, besides the size of the
	// data objects; 0 is no further bound (rbd_journal_max_payload_bytes, 16384).
	MaxPayload int
	// MaxConcurrentSets disconnects clients that lag behind the active object
	// set by more than so many sets; 0 is never
	// (rbd_journal_max_concurrent_object_sets, 0).
	MaxConcurrentSets uint64
	// KeepLaggy lists clients that are never disconnected for lagging, besides
	// the one that opened the Journal.
	KeepLaggy []string
	// NoTrim leaves the removal of object sets to others.
	NoTrim bool

	// FlushEntries, FlushBytes and FlushAge say when entries are sent although
	// an append to their object is under way; 0 is never
	// (rbd_journal_object_flush_interval, 0; rbd_journal_object_flush_bytes,
	// 1 MiB; rbd_journal_object_flush_age, 0 s). When all three are 0 nothing is
	// held back.
	FlushEntries int
	FlushBytes   int
	FlushAge     time.Duration
	// MaxInFlightAppends bounds the appends under way to one object; 0 is no
	// bound but that of the options above
	// (rbd_journal_object_max_in_flight_appends, 0).
	MaxInFlightAppends int
	// MaxBufferedBytes bounds the payload that a Recorder holds until it is
	// safe; Append waits for room. It is ours, 64 MiB.
	MaxBufferedBytes int64

	// PollAge is how often a Player that came to the end looks for more
	// (rbd_mirror_journal_poll_age, 5 s). It also looks when the header changed.
	PollAge time.Duration
	// MaxFetchBytes bounds one read of a data object, as long as entries are not
	// larger (rbd_mirror_journal_max_fetch_bytes of older releases, 32 KiB there;
	// 512 KiB here). A Player holds at most about twice that for every data
	// object of a set.
	MaxFetchBytes int

	// Logger is told what happens; nil is nobody.
	Logger *slog.Logger
}

// DefaultOptions returns the defaults of Ceph's options.
func DefaultOptions() Options {
	return Options{
		CommitAge:        5 * time.Second,
		MaxPayload:       16384,
		FlushBytes:       1 << 20,
		MaxBufferedBytes: 64 << 20,
		PollAge:          5 * time.Second,
		MaxFetchBytes:    512 << 10,
	}
}

// filled returns o with a value where zero would make no sense.
func (o Options) filled() Options {
	d := DefaultOptions()
	if o.MaxBufferedBytes <= 0 {
		o.MaxBufferedBytes = d.MaxBufferedBytes
	}
	if o.PollAge <= 0 {
		o.PollAge = d.PollAge
	}
	if o.MaxFetchBytes <= 0 {
		o.MaxFetchBytes = d.MaxFetchBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Layout is how a journal lies in its pool; it never changes.
type Layout struct {
	// Order is log2 of the size in bytes at which a data object is full: 12 to
	// 26 (rbd_journal_order, 24).
	Order uint8
	// SplayWidth is the number of data objects in a set (rbd_journal_splay_width,
	// 4).
	SplayWidth uint8
	// Pool holds the data objects; -1 is the header's own pool
	// (rbd_journal_pool).
	Pool int64
}

// DefaultLayout is 16 MiB objects, four in a set, in the header's pool.
var DefaultLayout = Layout{Order: 24, SplayWidth: 4, Pool: -1}

// MaxPayload returns how many bytes of payload fit into an entry.
func (l Layout) MaxPayload() int { return 1<<l.Order - wire.EntryOverhead }

// Set returns the object set of a data object.
func (l Layout) Set(object uint64) uint64 { return object / uint64(l.SplayWidth) }

// Offset returns the splay offset of a data object.
func (l Layout) Offset(object uint64) int { return int(object % uint64(l.SplayWidth)) }

// Object returns the number of the data object at a splay offset of a set.
func (l Layout) Object(set uint64, offset int) uint64 {
	return set*uint64(l.SplayWidth) + uint64(offset)
}
