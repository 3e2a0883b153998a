package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// Who moved an image to the trash (TrashEntry.Source, MoveOptions.Source).
const (
	TrashUser       uint8 = 0
	TrashMirroring  uint8 = 1
	TrashMigration  uint8 = 2
	TrashRemoving   uint8 = 3
	TrashUserParent uint8 = 4
)

// What is happening to an image in the trash (TrashEntry.State).
const (
	TrashNormal    uint8 = 0
	TrashMoving    uint8 = 1
	TrashRemovingS uint8 = 2
	TrashRestoring uint8 = 3
)

// TrashEntry is an image in the trash.
type TrashEntry struct {
	ID, Name      string
	Source, State uint8
	// Deleted is when it was moved; before Until it is only removed by force.
	Deleted, Until time.Time
}

// TrashMove moves an image to the trash, where it keeps only its id. An image
// that somebody has open is ErrBusy, one in a group EMLINK unless o lets it go.
func TrashMove(ctx context.Context, io *rados.IoCtx, name string, o MoveOptions) (id string, err error) {
	if id, err = LookupID(ctx, io, name); err == nil {
		err = trashMove(ctx, io, id, name, o)
	}
	if err != nil {
		return "", fmt.Errorf("move image %s to the trash: %w", name, err)
	}
	return id, nil
}

func trashMove(ctx context.Context, io *rados.IoCtx, id, name string, o MoveOptions) (err error) {
	img, err := OpenByID(ctx, io, id, OpenOptions{SkipParent: true, SkipMirrorReadOnlyCheck: o.Source == TrashMirroring})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close(ctx)) }()
	if img.header().has(FeatureMigrating) {
		return fmt.Errorf("it is being migrated: %w", rados.ErrBusy)
	}
	if !o.InGroup {
		if err := img.inGroup(ctx); err != nil {
			return err
		}
	}
	if !img.header().has(FeatureJournaling) {
		if err := img.AcquireLock(ctx); err != nil {
			return err
		}
	}
	if err := img.watchedByOthers(ctx); err != nil {
		return err
	}
	if o.Source != TrashMirroring {
		if err := img.forgetMirroring(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	op := rados.NewOp()
	callTrashAdd(op, TrashEntry{ID: id, Name: name, Source: o.Source, State: TrashMoving, Deleted: now, Until: now.Add(o.Delay)})
	if err := io.Operate(ctx, trashName, op); err != nil && !errors.Is(err, rados.ErrExists) {
		return err
	}
	if err := ignoreNotFound(io.Remove(ctx, idPrefix+name)); err != nil {
		return err
	}
	if err := ignoreNotFound(directoryRemove(ctx, io, name, id)); err != nil {
		return err
	}
	return trashState(ctx, io, id, TrashNormal, TrashMoving)
}

// trashState changes what is happening to an image in the trash.
func trashState(ctx context.Context, io *rados.IoCtx, id string, state, expect uint8) error {
	op := rados.NewOp()
	op.CallWrite(rbdClass, "trash_state_set", denc.AppendU8(denc.AppendU8(denc.AppendString(nil, id), state), expect))
	err := io.Operate(ctx, trashName, op)
	if errors.Is(err, rados.ErrNotSupported) {
		return nil
	}
	return err
}

// TrashList returns the images in the trash in the order of their ids.
func TrashList(ctx context.Context, io *rados.IoCtx) ([]TrashEntry, error) {
	var all []TrashEntry
	after := ""
	for {
		op := rados.NewOp()
		res := op.Call(rbdClass, "trash_list", denc.AppendU64(denc.AppendString(nil, after), pageSize))
		err := io.Operate(ctx, trashName, op)
		if errors.Is(err, rados.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list the trash: %w", err)
		}
		page, err := decodeTrashPage(res)
		if err != nil {
			return nil, fmt.Errorf("list the trash: %w", err)
		}
		all = append(all, page...)
		for _, e := range page {
			after = max(after, e.ID)
		}
		if len(page) < pageSize {
			slices.SortFunc(all, func(a, b TrashEntry) int {
				switch {
				case a.ID < b.ID:
					return -1
				case a.ID > b.ID:
					return 1
				}
				return 0
			})
			return all, nil
		}
	}
}

// TrashGet returns the entry of an image in the trash.
func TrashGet(ctx context.Context, io *rados.IoCtx, id string) (TrashEntry, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "trash_get", denc.AppendString(nil, id))
	if err := io.Operate(ctx, trashName, op); err != nil {
		return TrashEntry{}, err
	}
	return decodeTrashEntry(id, res)
}

// TrashRestore brings an image back from the trash under its old name, or
// another.
func TrashRestore(ctx context.Context, io *rados.IoCtx, id, newName string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore image %s from the trash: %w", id, err)
		}
	}()
	e, err := TrashGet(ctx, io, id)
	if err != nil {
		return err
	}
	if e.State != TrashNormal && e.State != TrashRestoring {
		return fmt.Errorf("it is being moved or removed: %w", rados.ErrBusy)
	}
	name := firstNonEmpty(newName, e.Name)
	if err := trashState(ctx, io, id, TrashRestoring, e.State); err != nil {
		return err
	}
	if err := createID(ctx, io, name, id); err != nil {
		if errors.Is(err, rados.ErrExists) {
			if have, lerr := LookupID(ctx, io, name); lerr != nil || have != id {
				return errors.Join(fmt.Errorf("image %s: %w", name, err), trashState(ctx, io, id, TrashNormal, TrashRestoring))
			}
		} else {
			return err
		}
	}
	op := rados.NewOp()
	op.CallWrite(rbdClass, "dir_add_image", denc.AppendString(denc.AppendString(nil, name), id))
	if err := io.Operate(ctx, directoryName, op); err != nil && !errors.Is(err, rados.ErrExists) {
		return err
	}
	if err := ignoreNotFound(trashForget(ctx, io, id)); err != nil {
		return err
	}
	return ignoreNotFound(mirrorStored(ctx, io, id))
}

// trashForget removes an entry of the trash.
func trashForget(ctx context.Context, io *rados.IoCtx, id string) error {
	op := rados.NewOp()
	op.CallWrite(rbdClass, "trash_remove", denc.AppendString(nil, id))
	return io.Operate(ctx, trashName, op)
}

// TrashRemove removes an image in the trash for good. Before its deferment ends
// it is ErrPermission without force.
func TrashRemove(ctx context.Context, io *rados.IoCtx, id string, force bool, p Progress) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("remove image %s from the trash: %w", id, err)
		}
	}()
	e, err := TrashGet(ctx, io, id)
	if err != nil {
		return err
	}
	if !force && time.Now().Before(e.Until) {
		return fmt.Errorf("its deferment ends only at %s: %w", e.Until.Local().Format(time.ANSIC), rados.ErrPermission)
	}
	if e.State != TrashNormal && e.State != TrashRemovingS {
		return fmt.Errorf("it is being moved or restored: %w", rados.ErrBusy)
	}
	if err := trashState(ctx, io, id, TrashRemovingS, e.State); err != nil {
		return err
	}
	if err := remove(ctx, io, id, "", removal{progress: p, fromTrash: e.Source == TrashMirroring || force}); err != nil {
		return errors.Join(err, trashState(ctx, io, id, TrashNormal, TrashRemovingS))
	}
	return ignoreNotFound(trashForget(ctx, io, id))
}
