package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// Remove removes an image. One with snapshots of a user is ErrNotEmpty, one
// that somebody has open ErrBusy, a non-primary mirror image ErrInvalid. An
// image whose removal was interrupted can be removed again.
func Remove(ctx context.Context, io *rados.IoCtx, name string, p Progress) error {
	id, err := LookupID(ctx, io, name)
	if errors.Is(err, rados.ErrNotFound) {
		id, err = findByDirectory(ctx, io, name)
	}
	if err == nil {
		err = remove(ctx, io, id, name, removal{progress: p})
	}
	if err != nil {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return nil
}

// RemoveByID is Remove by the image's id.
func RemoveByID(ctx context.Context, io *rados.IoCtx, id string, p Progress) error {
	name, err := LookupName(ctx, io, id)
	if ignoreNotFound(err) == nil {
		err = remove(ctx, io, id, name, removal{progress: p})
	}
	if err != nil {
		return fmt.Errorf("remove image %s: %w", firstNonEmpty(name, id), err)
	}
	return nil
}

// findByDirectory finds the id of an image whose name object is gone already.
func findByDirectory(ctx context.Context, io *rados.IoCtx, name string) (string, error) {
	op := rados.NewOp()
	res := callDirGetID(op, name)
	if err := io.Operate(ctx, directoryName, op); err != nil {
		return "", err
	}
	r := decode(res)
	return r.String(), r.Err()
}

// removal is how an image is removed.
type removal struct {
	progress Progress
	// fromTrash allows what only the trash's owner may: non-primary images.
	fromTrash bool
}

// remove removes everything that belongs to an image, the names last, so that
// an interrupted removal can be repeated.
func remove(ctx context.Context, io *rados.IoCtx, id, name string, how removal) error {
	// What is removed needs no record of it.
	img, err := OpenByID(ctx, io, id, OpenOptions{SkipParent: true, SkipMirrorReadOnlyCheck: how.fromTrash, ExternalReplay: true})
	switch {
	case errors.Is(err, rados.ErrNotFound):
		// Without a header there is no data to find.
	case err != nil:
		return err
	default:
		if err := img.removeData(ctx, how); err != nil {
			return errors.Join(err, img.Close(ctx))
		}
		if err := img.removeHeader(ctx); err != nil {
			return err
		}
	}
	if name == "" {
		return nil
	}
	if err := ignoreNotFound(io.Remove(ctx, idPrefix+name)); err != nil {
		return err
	}
	return ignoreNotFound(directoryRemove(ctx, io, name, id))
}

// watchedByOthers returns rados.ErrBusy if another client has the image open. The
// mirroring daemons, who watch rbd_mirroring as well, do not count: they let go of
// it by themselves.
func (img *Image) watchedByOthers(ctx context.Context) error {
	ws, err := img.Watchers(ctx)
	if err != nil {
		return err
	}
	var daemons []rados.Watcher
	if len(ws) > 1 {
		if daemons, err = img.io.ListWatchers(ctx, mirroringName); ignoreNotFound(err) != nil {
			return fmt.Errorf("mirroring daemons: %w", err)
		}
	}
	for _, w := range ws {
		ours := w.Addr.SameInstance(img.io.Client().Addr()) && w.Cookie == img.watch.cookie()
		mirroring := slices.ContainsFunc(daemons, func(d rados.Watcher) bool { return d.Addr.SameInstance(w.Addr) })
		if !ours && !mirroring {
			return fmt.Errorf("it has a watcher: %v at %s: %w", w.Name, w.Addr, rados.ErrBusy)
		}
	}
	return nil
}

// removeData checks that an image may be removed, and removes its snapshots of
// the kinds that need no user, its data, its place among the parent's children
// and its mirroring.
func (img *Image) removeData(ctx context.Context, how removal) error {
	h := img.header()
	if h.has(FeatureNonPrimary) && !how.fromTrash {
		return fmt.Errorf("it is a non-primary mirror image: %w", rados.ErrInvalid)
	}
	if h.has(FeatureJournaling) && !how.fromTrash {
		if err := img.primaryByJournal(ctx); err != nil {
			return err
		}
	}
	if err := img.writable(); err != nil {
		return err
	}
	if err := img.watchedByOthers(ctx); err != nil {
		return err
	}
	for _, s := range h.snaps {
		if !isMirror(s.Namespace) && !(isTrash(s.Namespace) && s.Children == 0) {
			return fmt.Errorf("it has snapshots: %w", rados.ErrNotEmpty)
		}
	}
	if err := img.inGroup(ctx); err != nil {
		return err
	}
	if err := img.AcquireLock(ctx); err != nil {
		return err
	}
	for _, s := range img.Snapshots() {
		if err := img.removeSnapshot(ctx, s.ID); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.Name, err)
		}
	}
	h = img.header()
	if err := img.trim(ctx, h, h.size, 0, how.progress); err != nil {
		return err
	}
	if h.parent != nil {
		if err := img.detachChild(ctx, h.parent); err != nil {
			return err
		}
	}
	return img.forgetMirroring(ctx)
}

// removeHeader removes the object map and the header and closes the Image.
func (img *Image) removeHeader(ctx context.Context) error {
	if err := ignoreNotFound(img.io.Remove(ctx, objectMapName(img.id, NoSnap))); err != nil {
		return errors.Join(err, img.Close(ctx))
	}
	if img.header().has(FeatureJournaling) {
		if err := removeJournal(ctx, img.io, img.id, true); err != nil {
			return errors.Join(err, img.Close(ctx))
		}
	}
	// The watch must go before its object does.
	if err := img.Close(ctx); err != nil {
		img.log.Warn("closing the image before its removal", "error", err)
	}
	return ignoreNotFound(img.io.Remove(ctx, img.oid))
}

// inGroup refuses images that belong to a consistency group.
func (img *Image) inGroup(ctx context.Context) error {
	if img.header().opFeatures&OpFeatureGroup == 0 {
		return nil
	}
	return fmt.Errorf("it belongs to a group: %w", errTooManyLinks)
}

// errTooManyLinks is EMLINK, which librbd answers for images in a group.
const errTooManyLinks = rados.Errno(31)

// managementDepth is how many objects a maintenance operation works on at once.
func (img *Image) managementDepth() int {
	return int(max(1, img.settings.uint("rbd_concurrent_management_ops")))
}

// RebuildObjectMap makes the object maps of the head and all snapshots anew by
// looking at every object, and clears the flags that say they are invalid. Of an
// image that was opened at a snapshot it is that snapshot's alone.
func (img *Image) RebuildObjectMap(ctx context.Context, p Progress) error {
	atSnap := img.snapID != NoSnap
	if err := img.writable(); err != nil && !atSnap {
		return err
	}
	if !img.header().has(FeatureObjectMap) {
		return fmt.Errorf("image %s has no object map: %w", img.Name(), rados.ErrInvalid)
	}
	if atSnap {
		if err := img.rebuildSnapshotMap(ctx, p); err != nil {
			return fmt.Errorf("rebuild object map of image %s, snapshot %d: %w", img.Name(), img.snapID, err)
		}
		return nil
	}
	err := img.maintain(ctx, maintenance{
		remote:   rebuildMessage,
		progress: p,
		local:    func(ctx context.Context) error { return img.rebuildMaps(ctx, p) },
	})
	if err != nil {
		return fmt.Errorf("rebuild object map of image %s: %w", img.Name(), err)
	}
	return nil
}

func (img *Image) rebuildMaps(ctx context.Context, p Progress) error {
	if err := img.replaceMaps(ctx, p); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// replaceMaps makes all object maps anew with writes held back.
func (img *Image) replaceMaps(ctx context.Context, p Progress) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	h := img.header()
	maps, err := img.observeMaps(ctx, h, p)
	if err != nil {
		return err
	}
	for i := range h.snaps {
		if err := saveObjectMap(ctx, img.io, objectMapName(img.id, h.snaps[i].ID), maps[i]); err != nil {
			return fmt.Errorf("snapshot %d: %w", h.snaps[i].ID, err)
		}
	}
	head := maps[len(h.snaps)]
	op := rados.NewOp()
	callAssertLocked(op, "", "")
	callObjectMapSave(op, head)
	if err := img.io.Operate(ctx, objectMapName(img.id, NoSnap), op); err != nil {
		return err
	}
	if m := img.headMap(); m != nil {
		m.mu.Lock()
		m.bits = head
		m.mu.Unlock()
	}
	op = rados.NewOp()
	img.guard(op)
	for i := range h.snaps {
		callSetFlags(op, h.snaps[i].ID, 0, FlagObjectMapInvalid|FlagFastDiffInvalid)
	}
	callSetFlags(op, NoSnap, 0, FlagObjectMapInvalid|FlagFastDiffInvalid)
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return fmt.Errorf("clear the flags: %w", err)
	}
	return img.reload(ctx)
}

// observeMaps derives the object maps of all snapshots, and the head last, from
// the objects themselves.
func (img *Image) observeMaps(ctx context.Context, h *header, p Progress) ([]objectmap.Bits, error) {
	maps := make([]objectmap.Bits, len(h.snaps)+1)
	points := make([]uint64, len(h.snaps)+1)
	for i := range maps {
		id := NoSnap
		if i < len(h.snaps) {
			id = h.snaps[i].ID
		}
		points[i] = id
		size, err := h.sizeAt(id)
		if err != nil {
			return nil, err
		}
		maps[i] = objectmap.New(h.layout.Objects(size), objectmap.Nonexistent)
	}
	var mu keyLock // neighbours share a byte of the maps
	err := forEach(ctx, 0, h.maxObjects(), img.managementDepth(), p, func(ctx context.Context, obj uint64) error {
		set, err := listSnaps(ctx, h.dataIO, h.objectName(obj))
		if err != nil || set == nil {
			return err
		}
		unlock, err := mu.Lock(ctx, 0)
		if err != nil {
			return err
		}
		defer unlock()
		before := uint64(0)
		for i, id := range points {
			if obj >= maps[i].Len() {
				before = id
				continue
			}
			if v := set.At(id); v >= 0 {
				state := objectmap.Exists
				if h.has(FeatureFastDiff) && set.At(before) == v {
					state = objectmap.ExistsClean
				}
				maps[i].Set(obj, state)
			}
			before = id
		}
		return nil
	})
	return maps, err
}

// CheckObjectMap compares the object maps with the objects and returns how many
// entries are wrong in a way that matters: an object that exists unknown to the
// map, or has changed while the map says it has not. Maps with such entries are
// marked invalid, as `rbd object-map check` does.
func (img *Image) CheckObjectMap(ctx context.Context, p Progress) (uint64, error) {
	h := img.header()
	if !h.has(FeatureObjectMap) {
		return 0, fmt.Errorf("image %s has no object map: %w", h.name, rados.ErrInvalid)
	}
	if img.writable() == nil { // nobody shall write meanwhile
		if err := img.AcquireLock(ctx); err != nil {
			return 0, fmt.Errorf("check object map of image %s: %w", h.name, err)
		}
		h = img.header()
	}
	truth, err := img.observeMaps(ctx, h, p)
	if err != nil {
		return 0, fmt.Errorf("check object map of image %s: %w", h.name, err)
	}
	var bad uint64
	var broken []uint64
	for i := range truth {
		id := NoSnap
		if i < len(h.snaps) {
			id = h.snaps[i].ID
		}
		bits, err := loadObjectMap(ctx, img.io, objectMapName(img.id, id))
		if err != nil && !errors.Is(err, rados.ErrNotFound) {
			return bad, fmt.Errorf("object map of image %s: %w", h.name, err)
		}
		wrong := uint64(0)
		for o := range truth[i].Len() {
			is, says := truth[i].Get(o), bits.Get(o)
			if is != objectmap.Nonexistent && says == objectmap.Nonexistent || is == objectmap.Exists && says == objectmap.ExistsClean {
				wrong++
			}
		}
		if wrong > 0 {
			bad += wrong
			broken = append(broken, id)
		}
	}
	if len(broken) > 0 && img.writable() == nil {
		if err := img.invalidateObjectMap(ctx, broken, true); err != nil {
			return bad, err
		}
	}
	return bad, nil
}
