package rbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/rados"
)

var (
	// ErrClosed says that the Image was closed.
	ErrClosed = errors.New("the image is closed")
	// ErrLockLost says that the exclusive lock was lost while it was needed.
	ErrLockLost = errors.New("the image's exclusive lock was lost")
	// ErrSnapshotGone says that a snapshot was removed while it was being read:
	// what was read from it cannot be trusted.
	ErrSnapshotGone = errors.New("the snapshot was removed while it was read")
)

// Image is one opened image. All methods are safe for concurrent use.
type Image struct {
	io   *rados.IoCtx // metadata pool and namespace, head, no snapshot context
	id   string
	oid  string // header object
	opts OpenOptions
	log  *slog.Logger
	// snapID is what was opened: NoSnap or a snapshot.
	snapID uint64

	depth              int
	discardGranularity uint64
	allocHint          bool
	allocFlags         uint32

	head      atomic.Pointer[header]
	refreshMu sync.Mutex // one refresh at a time
	stale     atomic.Uint64
	fresh     atomic.Uint64 // the value of stale that head reflects

	// gate is passed by every change of the image's data; blocking it stops
	// them.
	gate gate
	// users is passed by maintenance operations; giving the lock away blocks it.
	users gate
	// oneOp serializes maintenance operations of this opener.
	oneOp    keyLock
	settings *settings

	omap     atomic.Pointer[headMap]
	journal  atomic.Pointer[imageJournal] // while the lock is ours
	snapMap  atomic.Pointer[snapMap]      // of the snapshot that was opened
	lock     exclusiveLock
	copyups  keyLock
	watch    *headerWatch
	requests requestTable

	parent     parentRef
	oldParents []*Image // under parent.mu

	lastAccess, lastModify atomic.Int64 // unix seconds of the stored timestamps

	// ctx ends with the Image; background work waits in wg.
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     tasks
	closed atomic.Bool
}

// Open opens the image with the given name.
func Open(ctx context.Context, io *rados.IoCtx, name string, o OpenOptions) (*Image, error) {
	id, err := LookupID(ctx, io, name)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", name, err)
	}
	return open(ctx, io, id, name, o)
}

// OpenByID opens the image with the given id, which may be in the trash.
func OpenByID(ctx context.Context, io *rados.IoCtx, id string, o OpenOptions) (*Image, error) {
	return open(ctx, io, id, "", o)
}

func open(ctx context.Context, io *rados.IoCtx, id, name string, o OpenOptions) (_ *Image, err error) {
	if o.Snapshot != "" || o.SnapshotID != 0 && o.SnapshotID != NoSnap {
		o.ReadOnly = true
	}
	img := &Image{
		io: io.AtSnap(NoSnap).WithSnapContext(0, nil), id: id, oid: headerPrefix + id,
		opts: o, log: o.Logger, snapID: NoSnap,
	}
	if img.log == nil {
		img.log = slog.New(slog.DiscardHandler)
	}
	img.log = img.log.With("image", id)
	img.ctx, img.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	img.lock.init(img)
	img.requests.init()
	defer func() {
		if err != nil {
			img.shutdown()
			err = fmt.Errorf("open image %s: %w", firstNonEmpty(name, id), err)
		}
	}()
	if !o.ReadOnly || o.Watch {
		if img.watch, err = newHeaderWatch(ctx, img); err != nil {
			return nil, err
		}
	}
	if name == "" {
		name = img.findName(ctx)
	}
	h, err := img.firstHeader(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := img.applyConfig(ctx); err != nil {
		return nil, err
	}
	return img, img.openSnapshot(ctx, h)
}

// firstHeader reads the header under the given name.
func (img *Image) firstHeader(ctx context.Context, name string) (*header, error) {
	img.refreshMu.Lock()
	defer img.refreshMu.Unlock()
	h, err := img.loadHeader(ctx, name)
	if err == nil {
		img.publish(h)
	}
	return h, err
}

// openSnapshot finds the snapshot to read at and loads its object map.
func (img *Image) openSnapshot(ctx context.Context, h *header) error {
	switch {
	case img.opts.SnapshotID != 0 && img.opts.SnapshotID != NoSnap:
		if h.snap(img.opts.SnapshotID) == nil {
			return h.errNoSnap(img.opts.SnapshotID)
		}
		img.snapID = img.opts.SnapshotID
	case img.opts.Snapshot != "":
		s, ok := img.UserSnapshot(img.opts.Snapshot)
		if !ok {
			return fmt.Errorf("snapshot %s: %w", img.opts.Snapshot, rados.ErrNotFound)
		}
		img.snapID = s.ID
	default:
		return nil
	}
	if flags, _ := h.flagsAt(img.snapID); h.has(FeatureObjectMap) && flags&FlagObjectMapInvalid == 0 {
		// Without the map every object is looked for: slower, never wrong.
		if bits, err := loadObjectMap(ctx, img.io, objectMapName(img.id, img.snapID)); err == nil {
			img.snapMap.Store(&snapMap{snapID: img.snapID, bits: bits})
		}
	}
	return nil
}

// Close gives the lock back, ends the watch and closes the parent. The Image
// cannot be used any more, whatever it returns. It waits for the operations
// under way. A ctx that is done already does not keep it from that: it has some
// seconds then.
func (img *Image) Close(ctx context.Context) error {
	if !img.closed.CompareAndSwap(false, true) {
		return ErrClosed
	}
	if ctx.Err() != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		ctx = back
	}
	var errs []error
	if !img.opts.ReadOnly {
		errs = append(errs, img.lock.close(ctx))
		img.settle(ctx)
	}
	if img.watch != nil {
		errs = append(errs, img.watch.close(ctx))
	}
	img.shutdown()
	img.parent.mu.Lock()
	defer img.parent.mu.Unlock()
	if img.parent.img != nil {
		img.oldParents = append(img.oldParents, img.parent.img)
	}
	for _, p := range img.oldParents {
		errs = append(errs, p.Close(ctx))
	}
	img.oldParents, img.parent.img = nil, nil
	return errors.Join(errs...)
}

// settle gives background work, such as telling others that the lock is free, a
// moment to end by itself.
func (img *Image) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	img.wg.wait(ctx)
}

// settleTimeout is short: a dead watcher delays every notification.
const settleTimeout = 2 * time.Second

// shutdown ends the background work.
func (img *Image) shutdown() {
	img.cancel(ErrClosed)
	if img.closed.CompareAndSwap(false, true) && img.watch != nil {
		// Opening failed half way.
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		img.watch.close(ctx)
	}
	img.wg.wait(context.Background())
}

// closeTimeout bounds what is done to tidy up after a failure.
const closeTimeout = 10 * time.Second

// alive refuses the use of a closed Image.
func (img *Image) alive() error {
	if img.closed.Load() {
		return fmt.Errorf("image %s: %w", img.id, ErrClosed)
	}
	return nil
}

// ReadOnly reports whether changes are refused: opened so, at a snapshot, or
// non-primary.
func (img *Image) ReadOnly() bool { return img.writable() != nil }

// writable returns why the image must not be changed, or nil.
func (img *Image) writable() error {
	if err := img.alive(); err != nil {
		return err
	}
	h := img.header()
	switch {
	case img.opts.ReadOnly:
		return fmt.Errorf("image %s was opened read-only: %w", h.name, rados.ErrReadOnly)
	case h.has(FeatureNonPrimary) && !img.opts.SkipMirrorReadOnlyCheck:
		return fmt.Errorf("image %s is a non-primary mirror image: %w", h.name, rados.ErrReadOnly)
	case h.has(FeatureMigrating):
		return fmt.Errorf("image %s is being migrated: %w", h.name, rados.ErrReadOnly)
	}
	return nil
}

// header returns the current header.
func (img *Image) header() *header { return img.head.Load() }

// headMap returns the object map of the head if it is kept, whether it can be
// trusted or not; nil otherwise.
func (img *Image) headMap() *headMap { return img.omap.Load() }

// trustedMap returns the object map of the head if it is kept and can be trusted
// to say which objects do not exist; nil otherwise.
func (img *Image) trustedMap() *headMap {
	if m := img.omap.Load(); m != nil && img.header().flags&FlagObjectMapInvalid == 0 {
		return m
	}
	return nil
}

// objectMapFor returns the map that can be trusted to say which objects do not
// exist at a snapshot, or nil.
func (img *Image) objectMapFor(snapID uint64) interface{ mayExist(uint64) bool } {
	if snapID == NoSnap {
		if m := img.trustedMap(); m != nil {
			return m
		}
		return nil
	}
	if m := img.snapMap.Load(); m != nil && m.snapID == snapID {
		if f, err := img.header().flagsAt(snapID); err == nil && f&FlagObjectMapInvalid == 0 {
			return m
		}
	}
	return nil
}

// IoCtx returns the image's metadata pool and namespace.
func (img *Image) IoCtx() *rados.IoCtx { return img.io }

// DataIoCtx returns the pool of the data objects, under the head's snapshot
// context as of the last refresh.
func (img *Image) DataIoCtx() *rados.IoCtx { return img.header().dataIO }

// ID returns the image's id.
func (img *Image) ID() string { return img.id }

// Name returns the image's name as of the last refresh.
func (img *Image) Name() string {
	if h := img.header(); h != nil {
		return h.name
	}
	return img.id
}

// HeaderOID returns the name of the header object.
func (img *Image) HeaderOID() string { return img.oid }

// SnapID returns what the image was opened at: NoSnap for the head.
func (img *Image) SnapID() uint64 { return img.snapID }

// Size returns the size in bytes as opened.
func (img *Image) Size() uint64 {
	n, _ := img.header().sizeAt(img.snapID)
	return n
}

// SizeAt returns the size in bytes at a snapshot, or of the head.
func (img *Image) SizeAt(snapID uint64) (uint64, error) { return img.header().sizeAt(snapID) }

// Objects returns how many objects the image as opened is spread over.
func (img *Image) Objects() uint64 { return img.header().layout.Objects(img.Size()) }

// ObjectsAt is Objects at a snapshot, or of the head; 0 if there is no such
// snapshot.
func (img *Image) ObjectsAt(snapID uint64) uint64 {
	n, _ := img.header().sizeAt(snapID)
	return img.header().layout.Objects(n)
}

// ObjectName returns the name of data object n.
func (img *Image) ObjectName(n uint64) string { return img.header().objectName(n) }

// Layout returns how the image is spread over objects.
func (img *Image) Layout() Layout {
	h := img.header()
	return Layout{Order: h.layout.Order(), StripeUnit: h.layout.StripeUnit(), StripeCount: h.layout.StripeCount(),
		ObjectPrefix: h.prefix, DataPool: h.dataPool}
}

// Features returns the feature bits.
func (img *Image) Features() uint64 { return img.header().features }

// OpFeatures returns the operations in use that older clients do not know.
func (img *Image) OpFeatures() uint64 { return img.header().opFeatures }

// Flags returns the flags of a snapshot, or of the head.
func (img *Image) Flags(snapID uint64) (uint64, error) { return img.header().flagsAt(snapID) }

// Parent returns what the image as opened is cloned from, or nil.
func (img *Image) Parent() *Parent {
	if p := img.header().parentAt(img.snapID); p != nil {
		q := *p
		return &q
	}
	return nil
}

// CreateTime returns when the image was created.
func (img *Image) CreateTime() time.Time { return img.header().created }

// AccessTime returns when the image was last read, by the minute.
func (img *Image) AccessTime() time.Time { return img.header().accessed }

// ModifyTime returns when the image was last written to, by the minute.
func (img *Image) ModifyTime() time.Time { return img.header().modified }

// Snapshots returns all snapshots of all namespaces, oldest first.
func (img *Image) Snapshots() []Snapshot { return append([]Snapshot(nil), img.header().snaps...) }

// Snapshot returns the snapshot with the given id.
func (img *Image) Snapshot(id uint64) (Snapshot, bool) {
	if s := img.header().snap(id); s != nil {
		return *s, true
	}
	return Snapshot{}, false
}

// UserSnapshot returns the user's snapshot with the given name.
func (img *Image) UserSnapshot(name string) (Snapshot, bool) {
	for _, s := range img.header().snaps {
		if s.Name == name && isUser(s.Namespace) {
			return s, true
		}
	}
	return Snapshot{}, false
}

// Watchers returns who watches the image's header: everybody who has it open
// for writing.
func (img *Image) Watchers(ctx context.Context) ([]rados.Watcher, error) {
	op := rados.NewOp()
	ws := op.ListWatchers()
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return nil, fmt.Errorf("list watchers of image %s: %w", img.Name(), err)
	}
	return ws.Watchers, nil
}

func firstNonEmpty(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
