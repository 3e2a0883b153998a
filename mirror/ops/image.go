package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Promotion is whose image is the original.
type Promotion int

// The states of promotion.
const (
	// Unknown: there is no mirror snapshot and no journal to tell.
	Unknown Promotion = iota
	// Primary: this one.
	Primary
	// NonPrimary: the other site's.
	NonPrimary
	// Orphan: nobody's, the primary was demoted.
	Orphan
)

// ImageInfo is the state of one image's mirroring.
type ImageInfo struct {
	wire.MirrorImage
	Promotion Promotion
	// PrimaryMirrorUUID is the site of the primary if that is another one.
	PrimaryMirrorUUID string
}

// Info returns the state of an image's mirroring; rados.ErrNotFound when it is not
// mirrored.
func Info(ctx context.Context, img *rbd.Image) (ImageInfo, error) {
	m, err := meta.Image(ctx, img.IoCtx(), img.ID())
	if err != nil {
		return ImageInfo{}, err
	}
	i := ImageInfo{MirrorImage: m}
	if m.Mode == wire.MirrorImageJournal {
		i.Promotion, i.PrimaryMirrorUUID, err = journalPromotion(ctx, img.IoCtx(), img.ID())
		return i, err
	}
	i.Promotion, i.PrimaryMirrorUUID = PromotionOf(img)
	return i, nil
}

// PromotionOf tells from its mirror snapshots whose image is the original.
func PromotionOf(img *rbd.Image) (p Promotion, primary string) {
	last := snapshots.Newest(img)
	switch {
	case last == nil:
		return Unknown, ""
	case last.Namespace.State == wire.MirrorSnapPrimary:
		return Primary, ""
	case snapshots.IsDemoted(last):
		return Orphan, last.Namespace.PrimaryMirrorUUID
	}
	return NonPrimary, last.Namespace.PrimaryMirrorUUID
}

// closeWait bounds what is done to tidy up after the caller gave up.
const closeWait = 30 * time.Second

// open opens an image for changing its mirroring. While it is open nobody else is
// given the exclusive lock.
func open(ctx context.Context, io *rados.IoCtx, id string) (*rbd.Image, error) {
	return rbd.OpenByID(ctx, io, id, rbd.OpenOptions{
		SkipMirrorReadOnlyCheck: true,
		LockRequest:             func(bool) error { return rados.ErrReadOnly },
	})
}

// with runs f on an opened image.
func with(ctx context.Context, io *rados.IoCtx, id string, f func(*rbd.Image) error) error {
	img, err := open(ctx, io, id)
	if err != nil {
		return err
	}
	err = f(img)
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	return errors.Join(err, img.Close(back))
}

// EnableImage makes an image a mirrored primary one, in snapshot mode. An image
// that is one already stays so.
func EnableImage(ctx context.Context, io *rados.IoCtx, id string) error {
	if err := imageMode(ctx, io); err != nil {
		return err
	}
	return enableSnapshots(ctx, io, id, parentFirst)
}

// EnableNewImage makes an image a mirrored primary one that was just created, in
// one of wire.MirrorImage…'s modes. As librbd's, it asks neither the pool's mode nor
// for the parent: in mode pool that works as well, and an image with a journal is
// mirrored already. By snapshots where nothing was ever mirrored it is
// rados.ErrNotFound.
func EnableNewImage(ctx context.Context, io *rados.IoCtx, id string, mode uint8) error {
	if mode == wire.MirrorImageJournal {
		return enableJournal(ctx, io, id, parentAny)
	}
	if _, err := io.WithNamespace("").Stat(ctx, meta.Mirroring); err != nil {
		return fmt.Errorf("mirroring peers: %w", err)
	}
	if m, err := meta.Image(ctx, io, id); err == nil && m.Mode != mode {
		if err := ForgetImage(ctx, io, id); err != nil {
			return err
		}
	}
	return enableSnapshots(ctx, io, id, parentAny)
}

func enableSnapshots(ctx context.Context, io *rados.IoCtx, id string, rule parentRule) error {
	m, err := newEntry(ctx, io, id, wire.MirrorImageSnapshot)
	if err != nil || m.State == wire.MirrorImageEnabled {
		return err
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		if err := checkParent(ctx, img, rule); err != nil {
			return err
		}
		m.State = wire.MirrorImageCreating
		if err := meta.SetImage(ctx, io, id, m); err != nil {
			return err
		}
		if _, err := snapshots.CreatePrimary(ctx, img, m.GlobalID, snapshots.PrimaryOptions{WithoutPeers: true}); err != nil {
			return errors.Join(err, forget(ctx, io, id, m))
		}
		m.State = wire.MirrorImageEnabled
		return meta.SetImage(ctx, io, id, m)
	})
}

// EnableJournalImage makes an image a mirrored primary one, in journal mode: it
// gets a journal unless it has one. An image that is one already stays so. Other
// than librbd, it leaves an image as it is that is mirrored in another mode.
func EnableJournalImage(ctx context.Context, io *rados.IoCtx, id string) error {
	if err := imageMode(ctx, io); err != nil {
		return err
	}
	return enableJournal(ctx, io, id, parentFirst)
}

// parentRule says what is asked of the parent of an image that is to be mirrored.
type parentRule int

const (
	parentFirst parentRule = iota // it is mirrored
	parentLater                   // so it is, or in the same pool: all of that's images are
	parentAny                     // nothing
)

// enableJournal is EnableJournalImage with another rule.
func enableJournal(ctx context.Context, io *rados.IoCtx, id string, rule parentRule) error {
	m, err := newEntry(ctx, io, id, wire.MirrorImageJournal)
	if err != nil || m.State == wire.MirrorImageEnabled {
		return err
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		if err := checkParent(ctx, img, rule); err != nil {
			return err
		}
		if img.Features()&rbd.FeatureJournaling == 0 {
			missing := (rbd.FeatureJournaling | rbd.FeatureExclusiveLock) &^ img.Features()
			if err := img.EnableFeatures(ctx, missing); err != nil {
				return fmt.Errorf("cannot enable journaling: %w", err)
			}
		}
		if p, _, err := journalPromotion(ctx, io, id); err != nil {
			return err
		} else if p != Primary {
			return fmt.Errorf("last journal tag not owned by local cluster: %w", rados.ErrInvalid)
		}
		m.State = wire.MirrorImageEnabled
		return meta.SetImage(ctx, io, id, m)
	})
}

// imageMode refuses what is done image by image where it is not.
func imageMode(ctx context.Context, io *rados.IoCtx) error {
	mode, err := meta.Mode(ctx, io)
	if err != nil {
		return err
	}
	where := "pool"
	if io.Namespace() != "" {
		where = "namespace"
	}
	switch mode {
	case wire.MirrorModeImage:
		return nil
	case wire.MirrorModeDisabled, wire.MirrorModeInitOnly:
		return fmt.Errorf("cannot enable mirroring: mirroring is not enabled on a %s: %w", where, rados.ErrInvalid)
	}
	return fmt.Errorf("cannot enable mirroring: %s is not in image mirror mode: %w", where, rados.ErrInvalid)
}

// newEntry returns the entry of an image that is to be mirrored: one in state
// creating, or the one that is there, which is enabled then in this very mode.
func newEntry(ctx context.Context, io *rados.IoCtx, id string, mode uint8) (m wire.MirrorImage, err error) {
	m, err = meta.Image(ctx, io, id)
	switch {
	case err == nil && m.Mode != mode:
		return m, fmt.Errorf("the image is mirrored in another mode: %w", rados.ErrInvalid)
	case err == nil && m.State == wire.MirrorImageDisabling:
		return m, fmt.Errorf("mirroring of the image is being disabled: %w", rados.ErrInvalid)
	case err != nil && !notFound(err):
		return m, err
	}
	if m.GlobalID == "" {
		m = wire.MirrorImage{GlobalID: snapshots.NewUUID(), Mode: mode, State: wire.MirrorImageCreating}
	}
	return m, nil
}

// checkParent refuses a clone of an image that is not mirrored as the rule wants it.
func checkParent(ctx context.Context, img *rbd.Image, rule parentRule) error {
	p := img.Parent()
	if p == nil || rule == parentAny || rule == parentLater && p.Pool == img.IoCtx().Pool() {
		return nil
	}
	io := img.IoCtx().WithPool(p.Pool).WithNamespace(p.PoolNamespace)
	_, err := meta.Image(ctx, io, p.ImageID)
	if notFound(err) {
		return fmt.Errorf("mirroring is not enabled for the parent: %w", rados.ErrInvalid)
	}
	return err
}

// forget removes an image's entry.
func forget(ctx context.Context, io *rados.IoCtx, id string, m wire.MirrorImage) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	m.State = wire.MirrorImageDisabling
	if err := meta.SetImage(ctx, io, id, m); err != nil {
		return err
	}
	return meta.RemoveImage(ctx, io, id, m.GlobalID)
}

// DisableImage ends an image's mirroring; replicas go away with it. A non-primary
// image needs force and becomes an ordinary one. In journal mode journaling is
// switched off as well; ErrJournalStays says that all but that succeeded.
func DisableImage(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	mode, err := meta.Mode(ctx, io)
	if err != nil {
		return err
	}
	if mode != wire.MirrorModeImage {
		return fmt.Errorf("cannot disable mirroring in the current pool mirroring mode: %w", rados.ErrInvalid)
	}
	return disable(ctx, io, id, force, func(img *rbd.Image, m wire.MirrorImage) error {
		if err := checkChildren(ctx, img); err != nil {
			return err
		}
		if err := unmirror(ctx, img, m); err != nil {
			return err
		}
		if m.Mode == wire.MirrorImageJournal && img.Features()&rbd.FeatureJournaling != 0 {
			if err := img.DisableFeatures(ctx, rbd.FeatureJournaling); err != nil {
				return fmt.Errorf("%w: %w", ErrJournalStays, err)
			}
		}
		return nil
	})
}

// ForgetImage ends the mirroring of an image that goes away, as to the trash,
// whatever the mode of its pool. Only a primary image may go.
func ForgetImage(ctx context.Context, io *rados.IoCtx, id string) error {
	return disable(ctx, io, id, false, func(img *rbd.Image, m wire.MirrorImage) error { return unmirror(ctx, img, m) })
}

// disable runs f on an image whose mirroring may be ended.
func disable(ctx context.Context, io *rados.IoCtx, id string, force bool, f func(*rbd.Image, wire.MirrorImage) error) error {
	m, err := meta.Image(ctx, io, id)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		p, err := promotion(ctx, img, m)
		if err != nil {
			return err
		}
		if p != Primary && p != Unknown && !force {
			return fmt.Errorf("mirrored image is not primary, add force option to disable mirroring: %w", rados.ErrInvalid)
		}
		return f(img, m)
	})
}

// promotion tells whose image the original is of the image of an entry.
func promotion(ctx context.Context, img *rbd.Image, m wire.MirrorImage) (p Promotion, err error) {
	if m.Mode == wire.MirrorImageJournal {
		p, _, err = journalPromotion(ctx, img.IoCtx(), img.ID())
		return p, err
	}
	p, _ = PromotionOf(img)
	return p, nil
}

// checkChildren refuses to end the mirroring of an image before that of its clones.
func checkChildren(ctx context.Context, img *rbd.Image) error {
	children, err := img.Children(ctx, 0)
	if err != nil {
		return err
	}
	for _, c := range children {
		io := img.IoCtx().WithPool(c.Pool).WithNamespace(c.PoolNamespace)
		if m, err := meta.Image(ctx, io, c.ImageID); err == nil && m.State == wire.MirrorImageEnabled {
			return fmt.Errorf("mirroring is enabled on child image %s: %w", c.ImageName, rados.ErrBusy)
		}
	}
	return nil
}

// unmirror makes an image an ordinary one. When that fails it is mirrored still.
func unmirror(ctx context.Context, img *rbd.Image, m wire.MirrorImage) error {
	io, id := img.IoCtx(), img.ID()
	m.State = wire.MirrorImageDisabling
	if err := meta.SetImage(ctx, io, id, m); err != nil {
		return err
	}
	clean := cleanSnapshots
	if m.Mode == wire.MirrorImageJournal {
		clean = cleanJournal
	}
	if err := clean(ctx, img); err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		m.State = wire.MirrorImageEnabled
		return errors.Join(err, meta.SetImage(back, io, id, m))
	}
	return meta.RemoveImage(ctx, io, id, m.GlobalID)
}

// cleanSnapshots takes away what mirroring by snapshots left in an image.
func cleanSnapshots(ctx context.Context, img *rbd.Image) error {
	if err := setNonPrimary(ctx, img, false); err != nil {
		return err
	}
	for _, s := range snapshots.Mirror(img) {
		if err := img.RemoveSnapshot(ctx, s.ID); err != nil && !notFound(err) {
			return err
		}
	}
	return nil
}

// setNonPrimary switches the feature that makes an image read-only for others.
func setNonPrimary(ctx context.Context, img *rbd.Image, on bool) error {
	if (img.Features()&rbd.FeatureNonPrimary != 0) == on {
		return nil
	}
	features := uint64(0)
	if on {
		features = rbd.FeatureNonPrimary
	}
	in := denc.AppendU64(denc.AppendU64(nil, features), rbd.FeatureNonPrimary)
	if err := img.IoCtx().ExecWrite(ctx, img.HeaderOID(), wire.Class, wire.MethodSetFeatures, in); err != nil {
		return fmt.Errorf("non-primary feature: %w", err)
	}
	if err := img.Refresh(ctx); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// enabled returns the entry of an image that is mirrored.
func enabled(ctx context.Context, io *rados.IoCtx, id string) (wire.MirrorImage, error) {
	m, err := meta.Image(ctx, io, id)
	switch {
	case notFound(err):
		return m, ErrImageDisabled
	case err != nil:
		return m, err
	case m.State != wire.MirrorImageEnabled:
		return m, ErrImageDisabled
	}
	return m, nil
}

// Snapshot makes a mirror snapshot of a primary image and returns its id.
func Snapshot(ctx context.Context, io *rados.IoCtx, id string, o rbd.SnapshotOptions) (snapID uint64, err error) {
	m, err := enabled(ctx, io, id)
	if err != nil {
		return 0, err
	}
	if m.Mode != wire.MirrorImageSnapshot {
		return 0, ErrJournalMode
	}
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{SkipMirrorReadOnlyCheck: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, img.Close(context.WithoutCancel(ctx))) }()
	if p, _ := PromotionOf(img); p != Primary {
		return 0, ErrNotPrimary
	}
	return snapshots.CreatePrimary(ctx, img, m.GlobalID, snapshots.PrimaryOptions{Quiesce: o})
}

// Demote makes a primary image read-only; its last state goes to the peers, and
// any of them can be promoted then.
func Demote(ctx context.Context, io *rados.IoCtx, id string) error {
	m, err := enabled(ctx, io, id)
	if err != nil {
		return err
	}
	if m.Mode == wire.MirrorImageJournal {
		return demoteJournal(ctx, io, id)
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		if p, _ := PromotionOf(img); p != Primary {
			return ErrNotPrimary
		}
		if err := img.AcquireLock(ctx); err != nil {
			return err
		}
		if err := setNonPrimary(ctx, img, true); err != nil {
			return err
		}
		_, err := snapshots.CreatePrimary(ctx, img, m.GlobalID, snapshots.PrimaryOptions{Demoted: true, WithoutPeers: true, Quiesce: rbd.SnapshotOptions{SkipQuiesce: true}})
		if err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
			defer cancel()
			if p, _ := PromotionOf(img); p == Primary {
				err = errors.Join(err, setNonPrimary(back, img, false))
			}
		}
		return err
	})
}

// Resync asks the daemon to throw a replica away and make it anew.
func Resync(ctx context.Context, io *rados.IoCtx, id string) error {
	m, err := enabled(ctx, io, id)
	if err != nil {
		return err
	}
	if m.Mode == wire.MirrorImageJournal {
		return resyncJournal(ctx, io, id)
	}
	uuid, err := meta.UUID(ctx, io.WithNamespace(""))
	if err != nil {
		return err
	}
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return err
	}
	defer img.Close(context.WithoutCancel(ctx))
	if p, _ := PromotionOf(img); p == Primary {
		return fmt.Errorf("image is primary, cannot resync to itself: %w", rados.ErrInvalid)
	}
	in := denc.AppendMap(nil, map[string][]byte{ResyncKey(uuid): []byte(`{"resync_requested":true}`)}, denc.AppendString, denc.AppendBytes)
	if err := io.ExecWrite(ctx, img.HeaderOID(), wire.Class, wire.MethodMetadataSet, in); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// ResyncKey is the key of the image metadata that asks for a resync; the value is
// JSON.
func ResyncKey(localMirrorUUID string) string { return ".rbd_mirror." + localMirrorUUID }
