package rbd

import (
	"context"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// operationOf returns what a delegated request wants done, nil if it is nothing
// that is done here.
func (img *Image) operationOf(m wire.NotifyMessage) func(ctx context.Context, p Progress) error {
	snapID := func(f func(ctx context.Context, id uint64) error) func(context.Context, Progress) error {
		return func(ctx context.Context, _ Progress) error {
			s := img.findSnap(m.Name, m.Namespace)
			if s == nil {
				return rados.ErrNotFound
			}
			return f(ctx, s.ID)
		}
	}
	switch m.Op {
	case wire.NotifyFlatten:
		return img.flatten
	case wire.NotifyResize:
		return func(ctx context.Context, p Progress) error { return img.resize(ctx, m.Size, m.AllowShrink, p) }
	case wire.NotifySnapCreate:
		return func(ctx context.Context, p Progress) error {
			_, err := img.createSnapshot(ctx, m.Name, m.Namespace, SnapshotOptions{
				SkipObjectMap:      m.Flags&wire.SnapCreateSkipObjectMap != 0,
				SkipQuiesce:        m.Flags&wire.SnapCreateSkipQuiesce != 0,
				IgnoreQuiesceError: m.Flags&wire.SnapCreateIgnoreQuiesceError != 0,
			})
			return err
		}
	case wire.NotifySnapRemove:
		return snapID(img.removeSnapshot)
	case wire.NotifySnapProtect:
		return snapID(func(ctx context.Context, id uint64) error {
			if s := img.header().snap(id); s != nil && s.Protected() {
				return rados.ErrBusy
			}
			return img.protect(ctx, id)
		})
	case wire.NotifySnapUnprotect:
		return snapID(func(ctx context.Context, id uint64) error {
			if s := img.header().snap(id); s != nil && s.Protection == protectionNone {
				return rados.ErrInvalid
			}
			return img.unprotect(ctx, id)
		})
	case wire.NotifySparsify:
		return func(ctx context.Context, p Progress) error { return img.sparsify(ctx, m.Size, p) }
	case wire.NotifyRebuildObjectMap:
		return img.rebuildMaps
	case wire.NotifySnapRename:
		return func(ctx context.Context, _ Progress) error { return img.renameSnapshot(ctx, m.SnapID, m.Name) }
	case wire.NotifyRename:
		return func(ctx context.Context, _ Progress) error { return img.rename(ctx, m.Name) }
	case wire.NotifyMetadataUpdate:
		return func(ctx context.Context, _ Progress) error { return img.storeMetadata(ctx, m.Name, m.Value) }
	case wire.NotifyUpdateFeatures:
		return func(ctx context.Context, _ Progress) error {
			if err := img.checkUpdate(m.Features, m.Enabled); err != nil {
				return err
			}
			return img.switchFeatures(ctx, m.Features, m.Enabled, CreateOptions{})
		}
	}
	return nil
}
