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
	// Unknown: there is no mirror snapshot to tell.
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
	if m.Mode != wire.MirrorImageSnapshot {
		return i, nil
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

// open opens an image for changing its mirroring. While it is open nobody else is
// given the exclusive lock.
func open(ctx context.Context, io *rados.IoCtx, id string) (*rbd.Image, error) {
	return rbd.OpenByID(ctx, io, id, rbd.OpenOptions{
		SkipMirrorReadOnlyCheck: true, SkipParent: true,
		LockRequest: func(bool) error { return rados.ErrReadOnly },
	})
}

// with runs f on an opened image.
func with(ctx context.Context, io *rados.IoCtx, id string, f func(*rbd.Image) error) error {
	img, err := open(ctx, io, id)
	if err != nil {
		return err
	}
	err = f(img)
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, img.Close(back))
}

// EnableImage makes an image a mirrored primary one, in snapshot mode. An image
// that is one already stays so.
func EnableImage(ctx context.Context, io *rados.IoCtx, id string) error {
	mode, err := meta.Mode(ctx, io)
	if err != nil {
		return err
	}
	if mode != wire.MirrorModeImage {
		return fmt.Errorf("mirroring mode of the pool is not image: %w", rados.ErrInvalid)
	}
	m, err := meta.Image(ctx, io, id)
	switch {
	case err == nil && m.Mode != wire.MirrorImageSnapshot:
		return fmt.Errorf("the image is mirrored in another mode: %w", rados.ErrInvalid)
	case err == nil && m.State == wire.MirrorImageEnabled:
		return nil
	case err == nil && m.State == wire.MirrorImageDisabling:
		return fmt.Errorf("mirroring of the image is being disabled: %w", rados.ErrInvalid)
	case err != nil && !notFound(err):
		return err
	}
	if m.GlobalID == "" {
		m = wire.MirrorImage{GlobalID: snapshots.NewUUID(), Mode: wire.MirrorImageSnapshot}
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		if p := img.Parent(); p != nil {
			pio := io.WithPool(p.Pool).WithNamespace(p.PoolNamespace)
			if _, err := meta.Image(ctx, pio, p.ImageID); notFound(err) {
				return fmt.Errorf("mirroring is not enabled for the parent: %w", rados.ErrInvalid)
			} else if err != nil {
				return err
			}
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

// forget removes an image's entry.
func forget(ctx context.Context, io *rados.IoCtx, id string, m wire.MirrorImage) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	m.State = wire.MirrorImageDisabling
	if err := meta.SetImage(ctx, io, id, m); err != nil {
		return err
	}
	return meta.RemoveImage(ctx, io, id, m.GlobalID)
}

// DisableImage ends an image's mirroring; replicas go away with it. A non-primary
// image needs force and becomes an ordinary one.
func DisableImage(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	m, err := meta.Image(ctx, io, id)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Mode != wire.MirrorImageSnapshot {
		return ErrJournalMode
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		if p, _ := PromotionOf(img); p != Primary && p != Unknown && !force {
			return fmt.Errorf("mirrored image is not primary, add force option to disable mirroring: %w", rados.ErrInvalid)
		}
		children, err := img.Children(ctx, 0)
		if err != nil {
			return err
		}
		for _, c := range children {
			cio := io.WithPool(c.Pool).WithNamespace(c.PoolNamespace)
			if cm, err := meta.Image(ctx, cio, c.ImageID); err == nil && cm.State == wire.MirrorImageEnabled {
				return fmt.Errorf("mirroring is enabled on child image %s: %w", c.ImageName, rados.ErrBusy)
			}
		}
		m.State = wire.MirrorImageDisabling
		if err := meta.SetImage(ctx, io, id, m); err != nil {
			return err
		}
		if err := setNonPrimary(ctx, img, false); err != nil {
			return err
		}
		for _, s := range snapshots.Mirror(img) {
			if err := img.RemoveSnapshot(ctx, s.ID); err != nil && !notFound(err) {
				return err
			}
		}
		return meta.RemoveImage(ctx, io, id, m.GlobalID)
	})
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

// enabled returns the entry of an image that is mirrored by snapshots.
func enabled(ctx context.Context, io *rados.IoCtx, id string) (wire.MirrorImage, error) {
	m, err := meta.Image(ctx, io, id)
	switch {
	case notFound(err):
		return m, ErrImageDisabled
	case err != nil:
		return m, err
	case m.State != wire.MirrorImageEnabled:
		return m, ErrImageDisabled
	case m.Mode != wire.MirrorImageSnapshot:
		return m, ErrJournalMode
	}
	return m, nil
}

// Snapshot makes a mirror snapshot of a primary image and returns its id.
func Snapshot(ctx context.Context, io *rados.IoCtx, id string, o rbd.SnapshotOptions) (snapID uint64, err error) {
	m, err := enabled(ctx, io, id)
	if err != nil {
		return 0, err
	}
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{SkipMirrorReadOnlyCheck: true, SkipParent: true})
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
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
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
	_, err := enabled(ctx, io, id)
	if errors.Is(err, ErrJournalMode) {
		return resyncJournal(ctx, io, id)
	}
	if err != nil {
		return err
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
