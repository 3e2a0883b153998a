package rbd

import (
	"context"
	"log/slog"
	"time"

	"github.com/rbdm/rbdm/rados"
)

// Progress is told how far a long operation is, in objects or steps. It is
// called from the goroutines that do the work, one call at a time.
type Progress func(done, total uint64)

// CreateOptions says how Create makes an image. Zero values mean Ceph's
// defaults, read from the configuration (rbd_default_…) and the pool's own
// overrides.
type CreateOptions struct {
	// Order is log2 of the object size in bytes, 12 to 25; 0 means
	// rbd_default_order (22: 4 MiB).
	Order uint8
	// Features is the exact feature mask, if HasFeatures is set. Otherwise
	// rbd_default_features holds.
	Features    uint64
	HasFeatures bool
	// FeaturesSet and FeaturesClear are added to and taken from that mask.
	FeaturesSet, FeaturesClear uint64
	// StripeUnit (bytes) and StripeCount: 0 means no fancy striping.
	StripeUnit, StripeCount uint64
	// DataPool is the name of a separate data pool; empty means
	// rbd_default_data_pool, and none if that is empty too. NoDataPool ignores
	// the configuration.
	DataPool   string
	NoDataPool bool
	// ImageID is the id to use; empty means a new one.
	ImageID string
	// NonPrimary makes the image a mirroring replica (feature 0x400): only
	// openers with SkipMirrorReadOnlyCheck may write to it.
	NonPrimary bool
	// JournalOwner is the mirror uuid of whom the image's journal, if it has one,
	// lets write: "" for this site, else the primary's site's.
	JournalOwner string
	// JournalOrder, JournalSplayWidth and JournalPool say how the journal lies;
	// 0 and "" mean rbd_journal_order, rbd_journal_splay_width, rbd_journal_pool.
	JournalOrder, JournalSplayWidth uint8
	JournalPool                     string
	// CloneFormat is 1 or 2 and only used by clones; 0 means
	// rbd_default_clone_format (auto: 2 if the cluster requires clients of
	// Mimic or newer).
	CloneFormat uint8
	// Mirror, if set, is called with the id of the new image once that is there, to
	// make it a mirrored one. If it fails, the image is not made.
	Mirror func(ctx context.Context, io *rados.IoCtx, id string) error
	// unfinished leaves the mirroring of the image, in pools that mirror all images
	// with a journal, to the caller: there is more to be done first.
	unfinished bool
}

// OpenOptions says how an image is opened. The zero value opens the head for
// reading and writing.
type OpenOptions struct {
	// ReadOnly refuses all changes. It takes no lock.
	ReadOnly bool
	// Watch makes even a read-only opener watch the header, so that it follows
	// changes that others make. Writers always do.
	Watch bool
	// Snapshot is the user snapshot to read at; it implies ReadOnly.
	Snapshot string
	// SnapshotID is the snapshot to read at by id, of any namespace; 0 means
	// Snapshot, or the head.
	SnapshotID uint64
	// SkipMirrorReadOnlyCheck allows writing to a non-primary image. Only the
	// mirroring engine may set it.
	SkipMirrorReadOnlyCheck bool
	// ExternalReplay allows writing to an image with a journal past the journal:
	// what is written was read from another site's. Only the mirroring engine may
	// set it.
	ExternalReplay bool
	// SkipParent refuses to open the parent of a clone: reads that would need it
	// fail.
	SkipParent bool
	// Logger receives what goes wrong in the background; nil discards it.
	Logger *slog.Logger
	// LockRequest, when set, is asked before the exclusive lock is given to
	// another client that requests it; an error keeps the lock and is the
	// answer (ErrReadOnly is what the mirroring engine says). Nil gives it away,
	// as librbd does by default.
	LockRequest func(force bool) error
	// OnUpdate, when set, is called after every refresh of the header that was
	// caused by somebody else. It must not block.
	OnUpdate func()
}

// MoveOptions is for TrashMove.
type MoveOptions struct {
	// Delay is how long the image is protected from being purged.
	Delay time.Duration
	// Source says who moved it, one of wire's trash sources; 0 is the user.
	Source uint8
	// InGroup lets an image of a group go too, which stays a member, as librbd does
	// before 20.2.
	InGroup bool
}

// RollbackOptions is for Group.RollbackSnapshot.
type RollbackOptions struct {
	// OtherMembers takes the images of the snapshot back also if the group has
	// other ones by now, as librbd does before 18.2.
	OtherMembers bool
	Progress     Progress
}

// SnapshotOptions is for CreateSnapshot.
type SnapshotOptions struct {
	// SkipQuiesce creates the snapshot without asking other clients of the
	// image to hold their writes back first.
	SkipQuiesce bool
	// IgnoreQuiesceError goes on when such a client fails to.
	IgnoreQuiesceError bool
	// SkipObjectMap leaves the snapshot without an object map, as the mirroring
	// engine's copy does; the map is then marked invalid.
	SkipObjectMap bool
	// Progress is told of the quiescing.
	Progress Progress
}
