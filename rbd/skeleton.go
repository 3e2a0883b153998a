package rbd

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

var errSoon = errors.New("rbd: not built yet")

// ImageRef is an entry of a pool's directory.
type ImageRef struct{ Name, ID string }

func Create(ctx context.Context, io *rados.IoCtx, name string, size uint64, o CreateOptions) (id string, err error) {
	return "", errSoon
}
func Open(ctx context.Context, io *rados.IoCtx, name string, o OpenOptions) (*Image, error) {
	return nil, errSoon
}
func OpenByID(ctx context.Context, io *rados.IoCtx, id string, o OpenOptions) (*Image, error) {
	return nil, errSoon
}
func Remove(ctx context.Context, io *rados.IoCtx, name string, p Progress) error   { return errSoon }
func RemoveByID(ctx context.Context, io *rados.IoCtx, id string, p Progress) error { return errSoon }
func List(ctx context.Context, io *rados.IoCtx) ([]ImageRef, error)                { return nil, errSoon }
func LookupID(ctx context.Context, io *rados.IoCtx, name string) (id string, err error) {
	return "", errSoon
}
func LookupName(ctx context.Context, io *rados.IoCtx, id string) (name string, err error) {
	return "", errSoon
}
func Rename(ctx context.Context, io *rados.IoCtx, from, to string) error { return errSoon }
func NewImageID(c *rados.Client) string                                  { return "" }

// TrashEntry is an image in the trash.
type TrashEntry struct {
	ID, Name string
	Source   uint8 // wire trash source
	State    uint8
	Deleted  time.Time
	Until    time.Time // end of the deferment
}

func TrashMove(ctx context.Context, io *rados.IoCtx, name string, o MoveOptions) (id string, err error) {
	return "", errSoon
}
func TrashList(ctx context.Context, io *rados.IoCtx) ([]TrashEntry, error) { return nil, errSoon }
func TrashGet(ctx context.Context, io *rados.IoCtx, id string) (TrashEntry, error) {
	return TrashEntry{}, errSoon
}
func TrashRestore(ctx context.Context, io *rados.IoCtx, id, newName string) error { return errSoon }
func TrashRemove(ctx context.Context, io *rados.IoCtx, id string, force bool, p Progress) error {
	return errSoon
}
func TrashPurge(ctx context.Context, io *rados.IoCtx, expired time.Time, threshold float32, p Progress) error {
	return errSoon
}

func NamespaceCreate(ctx context.Context, io *rados.IoCtx, name string) error { return errSoon }
func NamespaceRemove(ctx context.Context, io *rados.IoCtx, name string) error { return errSoon }
func NamespaceList(ctx context.Context, io *rados.IoCtx) ([]string, error)    { return nil, errSoon }
func NamespaceExists(ctx context.Context, io *rados.IoCtx, name string) (bool, error) {
	return false, errSoon
}

func PoolInit(ctx context.Context, io *rados.IoCtx, force bool) error { return errSoon }
func ValidatePool(ctx context.Context, io *rados.IoCtx) error         { return errSoon }

// PoolStats counts what is in a pool's namespace; bytes are provisioned, not used.
type PoolStats struct {
	Images, ImageBytes, ImageMaxBytes, ImageSnaps uint64
	Trash, TrashBytes, TrashMaxBytes, TrashSnaps  uint64
}

func Stats(ctx context.Context, io *rados.IoCtx) (PoolStats, error) { return PoolStats{}, errSoon }
func PoolMetadata(ctx context.Context, io *rados.IoCtx) (map[string]string, error) {
	return nil, errSoon
}
func PoolMetadataGet(ctx context.Context, io *rados.IoCtx, key string) (string, error) {
	return "", errSoon
}
func PoolMetadataSet(ctx context.Context, io *rados.IoCtx, key, value string) error { return errSoon }
func PoolMetadataRemove(ctx context.Context, io *rados.IoCtx, key string) error     { return errSoon }

// ConfigValue is an option with its effective value and where that comes from
// ("config", "pool", "image").
type ConfigValue struct{ Name, Value, Source string }

func PoolConfig(ctx context.Context, io *rados.IoCtx) ([]ConfigValue, error) { return nil, errSoon }

// Snapshot is one snapshot of an image, of any namespace.
type Snapshot struct {
	ID         uint64
	Name       string
	Namespace  SnapshotNamespace
	Size       uint64 // of the image then, bytes
	Protection uint8
	Flags      uint64
	Timestamp  time.Time
	Children   uint32
	// Parent is the parent as of the snapshot; nil without one.
	Parent *Parent
}

// Parent is what an image is cloned from.
type Parent struct {
	Pool          int64
	PoolNamespace string
	ImageID       string
	SnapID        uint64
	Overlap       uint64 // bytes
}

// Child is a clone of one of the image's snapshots.
type Child struct {
	Pool               int64
	PoolNamespace      string
	ImageID, ImageName string
	SnapID             uint64
	Trash              bool
}

// Layout says how an image's bytes are spread over objects.
type Layout struct {
	Order                   uint8
	StripeUnit, StripeCount uint64
	ObjectPrefix            string
	DataPool                int64 // -1: the image's own pool
}

// SnapshotNamespace says what a snapshot is for; an alias of the type in rbd/wire
// from the moment that package lands.
type SnapshotNamespace = any

// Image is one opened image. All methods are safe for concurrent use.
type Image struct{}

func (img *Image) Close(ctx context.Context) error                       { return errSoon }
func (img *Image) IoCtx() *rados.IoCtx                                   { return nil }
func (img *Image) DataIoCtx() *rados.IoCtx                               { return nil }
func (img *Image) ID() string                                            { return "" }
func (img *Image) Name() string                                          { return "" }
func (img *Image) HeaderOID() string                                     { return "" }
func (img *Image) ReadOnly() bool                                        { return false }
func (img *Image) SnapID() uint64                                        { return 0 }
func (img *Image) Size() uint64                                          { return 0 }
func (img *Image) SizeAt(snapID uint64) (uint64, error)                  { return 0, errSoon }
func (img *Image) Objects() uint64                                       { return 0 }
func (img *Image) ObjectName(n uint64) string                            { return "" }
func (img *Image) Layout() Layout                                        { return Layout{} }
func (img *Image) Features() uint64                                      { return 0 }
func (img *Image) OpFeatures() uint64                                    { return 0 }
func (img *Image) Flags(snapID uint64) (uint64, error)                   { return 0, errSoon }
func (img *Image) Parent() *Parent                                       { return nil }
func (img *Image) CreateTime() time.Time                                 { return time.Time{} }
func (img *Image) AccessTime() time.Time                                 { return time.Time{} }
func (img *Image) ModifyTime() time.Time                                 { return time.Time{} }
func (img *Image) Refresh(ctx context.Context) error                     { return errSoon }
func (img *Image) NotifyUpdate(ctx context.Context) error                { return errSoon }
func (img *Image) Snapshots() []Snapshot                                 { return nil }
func (img *Image) Snapshot(id uint64) (Snapshot, bool)                   { return Snapshot{}, false }
func (img *Image) UserSnapshot(name string) (Snapshot, bool)             { return Snapshot{}, false }
func (img *Image) Watchers(ctx context.Context) ([]rados.Watcher, error) { return nil, errSoon }
func (img *Image) Config(ctx context.Context) ([]ConfigValue, error)     { return nil, errSoon }

func (img *Image) ReadAt(ctx context.Context, p []byte, off uint64) (int, error) { return 0, errSoon }
func (img *Image) ReadSnap(ctx context.Context, snapID, off, n uint64) (msgr2.Data, error) {
	return msgr2.Data{}, errSoon
}
func (img *Image) Read(ctx context.Context, off, n uint64) (msgr2.Data, error) {
	return msgr2.Data{}, errSoon
}
func (img *Image) WriteAt(ctx context.Context, p []byte, off uint64) (int, error) { return 0, errSoon }
func (img *Image) WriteData(ctx context.Context, off uint64, d msgr2.Data) error  { return errSoon }
func (img *Image) Discard(ctx context.Context, off, n uint64) error               { return errSoon }
func (img *Image) WriteZeroes(ctx context.Context, off, n uint64) error           { return errSoon }
func (img *Image) Flush(ctx context.Context) error                                { return errSoon }

func (img *Image) Resize(ctx context.Context, size uint64, allowShrink bool, p Progress) error {
	return errSoon
}
func (img *Image) CreateSnapshot(ctx context.Context, name string, ns SnapshotNamespace, o SnapshotOptions) (id uint64, err error) {
	return 0, errSoon
}
func (img *Image) RemoveSnapshot(ctx context.Context, id uint64) error              { return errSoon }
func (img *Image) RenameSnapshot(ctx context.Context, id uint64, name string) error { return errSoon }
func (img *Image) ProtectSnapshot(ctx context.Context, id uint64) error             { return errSoon }
func (img *Image) UnprotectSnapshot(ctx context.Context, id uint64) error           { return errSoon }
func (img *Image) Rollback(ctx context.Context, id uint64, p Progress) error        { return errSoon }
func (img *Image) SnapshotLimit(ctx context.Context) (uint64, error)                { return 0, errSoon }
func (img *Image) SetSnapshotLimit(ctx context.Context, n uint64) error             { return errSoon }
func (img *Image) Flatten(ctx context.Context, p Progress) error                    { return errSoon }
func (img *Image) Children(ctx context.Context, snapID uint64) ([]Child, error)     { return nil, errSoon }
func (img *Image) Descendants(ctx context.Context) ([]Child, error)                 { return nil, errSoon }
func (img *Image) Metadata(ctx context.Context) (map[string][]byte, error)          { return nil, errSoon }
func (img *Image) MetadataGet(ctx context.Context, key string) ([]byte, error)      { return nil, errSoon }
func (img *Image) MetadataSet(ctx context.Context, key string, value []byte) error  { return errSoon }
func (img *Image) MetadataRemove(ctx context.Context, key string) error             { return errSoon }
func (img *Image) EnableFeatures(ctx context.Context, mask uint64) error            { return errSoon }
func (img *Image) DisableFeatures(ctx context.Context, mask uint64) error           { return errSoon }
func (img *Image) RebuildObjectMap(ctx context.Context, p Progress) error           { return errSoon }
func (img *Image) CheckObjectMap(ctx context.Context, p Progress) (bad uint64, err error) {
	return 0, errSoon
}
func (img *Image) Sparsify(ctx context.Context, size uint64, p Progress) error { return errSoon }

// Clone makes child in dst (another pool or namespace is fine) from the
// snapshot of the image id in parentIO.
func Clone(ctx context.Context, parentIO *rados.IoCtx, parentID string, snapID uint64, dst *rados.IoCtx, child string, o CreateOptions) (id string, err error) {
	return "", errSoon
}

// DiffExtent is a range of the image (bytes) that differs; Exists false means
// it reads as zeros now.
type DiffExtent struct {
	Off, Len uint64
	Exists   bool
}

// DiffOptions is for Diff. From and To are snapshot ids, 0 (From) the beginning
// of time, NoSnap (To) the head.
type DiffOptions struct {
	From, To uint64
	// WholeObject reports whole objects, from the object maps alone if they are valid.
	WholeObject bool
	// IncludeParent counts the parent's data as the image's own when From is 0.
	IncludeParent bool
	Off, Len      uint64 // Len 0: to the end
}

func (img *Image) Diff(ctx context.Context, o DiffOptions, fn func(DiffExtent) error) error {
	return errSoon
}

// Exclusive lock.
func (img *Image) AcquireLock(ctx context.Context) error { return errSoon }
func (img *Image) ReleaseLock(ctx context.Context) error { return errSoon }
func (img *Image) LockOwned() bool                       { return false }

// LockOwner is who holds an image's exclusive lock.
type LockOwner struct {
	Client string // "client.4123"
	Cookie string
	Addr   string
	Alive  bool
}

func (img *Image) LockOwner(ctx context.Context) (*LockOwner, error) { return nil, errSoon }
func (img *Image) BreakLock(ctx context.Context, o LockOwner) error  { return errSoon }

// ObjectState is what a delta says of one object.
type ObjectState uint8

const (
	ObjectSame ObjectState = iota // equal at both ends (exists or not)
	ObjectHole                    // did not exist, does not exist
	ObjectData                    // exists at the end and changed
	ObjectGone                    // existed, does not any more
)

// Delta is which objects changed between two points of an image's history.
type Delta struct {
	// FastDiff says that object maps gave the answer; otherwise Reason says why
	// they could not, and every object is ObjectData: look with list-snaps.
	FastDiff bool
	Reason   string
	Objects  uint64 // at the larger of both ends
	states   []byte
}

func (d *Delta) At(n uint64) ObjectState { return 0 }

// Changed counts the objects to look at.
func (d *Delta) Changed() uint64 { return 0 }

// ObjectDelta compares the image at two snapshots (0: the beginning; NoSnap:
// the head) by its object maps. It reads the flags before and after the maps:
// a map that was marked invalid meanwhile does not count.
func (img *Image) ObjectDelta(ctx context.Context, from, to uint64) (*Delta, error) {
	return nil, errSoon
}

// CopySnapshots copies the user snapshots of src between the two ids to dst, as
// librbd's deep copy does, and returns the map of source to destination ids;
// srcEnd itself maps to the head (NoSnap) when it is not a user snapshot.
func CopySnapshots(ctx context.Context, src, dst *Image, o CopyRange) (snapSeqs map[uint64]uint64, err error) {
	return nil, errSoon
}

// CopyRange is which part of src's history a deep copy moves.
type CopyRange struct {
	SrcStart, SrcEnd uint64 // snapshot ids, 0 and NoSnap are the ends of time
	DstStart         uint64 // dst's snapshot that equals SrcStart
	Flatten          bool
}

// ObjectCopier copies single objects of src with their snapshots to dst.
type ObjectCopier struct{}

func NewObjectCopier(src, dst *Image, r CopyRange, snapSeqs map[uint64]uint64) (*ObjectCopier, error) {
	return nil, errSoon
}

// CopyResult is what one object cost.
type CopyResult struct{ Read, Written, Zeroed uint64 }

// Copy copies object n (of dst's layout). A source snapshot that vanishes
// under it is ErrSnapshotGone, never a hole.
func (c *ObjectCopier) Copy(ctx context.Context, n uint64) (CopyResult, error) {
	return CopyResult{}, errSoon
}

// DeepCopy copies src with all snapshots into a new image.
func DeepCopy(ctx context.Context, src *Image, dst *rados.IoCtx, name string, o CreateOptions, flatten bool, p Progress) error {
	return errSoon
}

// Copy copies src as opened (head or snapshot) into a new image.
func Copy(ctx context.Context, src *Image, dst *rados.IoCtx, name string, o CreateOptions, p Progress) error {
	return errSoon
}

func Export(ctx context.Context, img *Image, w io.Writer, format int, p Progress) error {
	return errSoon
}
func Import(ctx context.Context, io_ *rados.IoCtx, name string, r io.Reader, size uint64, o CreateOptions, format int, p Progress) error {
	return errSoon
}
func ExportDiff(ctx context.Context, img *Image, w io.Writer, from string, whole bool, p Progress) error {
	return errSoon
}
func ImportDiff(ctx context.Context, img *Image, r io.Reader, p Progress) error { return errSoon }
