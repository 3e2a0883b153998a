package rbd

import (
	"context"

	"github.com/rbdm/rbdm/rados"
)

// operationOf returns what a delegated request wants done, nil if it is nothing
// that is done here.
func (img *Image) operationOf(m message) func(ctx context.Context, p Progress) error {
	snapID := func(f func(ctx context.Context, id uint64) error) func(context.Context, Progress) error {
		return func(ctx context.Context, _ Progress) error {
			s := img.findSnap(m.name, m.ns)
			if s == nil {
				return rados.ErrNotFound
			}
			return f(ctx, s.ID)
		}
	}
	switch m.kind {
	case kindFlatten:
		return img.flatten
	case kindResize:
		return func(ctx context.Context, p Progress) error { return img.resize(ctx, m.size, m.allowShrink, p) }
	case kindSnapCreate:
		return func(ctx context.Context, p Progress) error {
			_, err := img.createSnapshot(ctx, m.name, m.ns, SnapshotOptions{
				SkipObjectMap:      m.flags&snapSkipObjectMap != 0,
				SkipQuiesce:        m.flags&snapSkipQuiesce != 0,
				IgnoreQuiesceError: m.flags&snapIgnoreQuiesceEr != 0,
			})
			return err
		}
	case kindSnapRemove:
		return snapID(img.removeSnapshot)
	case kindSnapProtect:
		return snapID(func(ctx context.Context, id uint64) error {
			if s := img.header().snap(id); s != nil && s.Protected() {
				return rados.ErrBusy
			}
			return img.setProtection(ctx, id, protectionProtected)
		})
	case kindSnapUnprotect:
		return snapID(func(ctx context.Context, id uint64) error {
			if s := img.header().snap(id); s != nil && s.Protection == protectionNone {
				return rados.ErrInvalid
			}
			return img.unprotect(ctx, id)
		})
	case kindSparsify:
		return func(ctx context.Context, p Progress) error { return img.sparsify(ctx, m.size, p) }
	case kindRebuild:
		return img.rebuildMaps
	case kindSnapRename:
		return func(ctx context.Context, _ Progress) error { return img.renameSnapshot(ctx, m.snapID, m.name) }
	case kindRename:
		return func(ctx context.Context, _ Progress) error { return img.rename(ctx, m.name) }
	case kindUpdateFeatures:
		return func(ctx context.Context, _ Progress) error {
			if err := img.checkUpdate(m.features, m.enabled); err != nil {
				return err
			}
			return img.switchFeatures(ctx, m.features, m.enabled)
		}
	}
	return nil
}
