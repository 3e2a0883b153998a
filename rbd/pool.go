package rbd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

const (
	overwriteValidated = "overwrite validated"
	// nonEmptyInfo is what librbd writes first to find out whether the pool
	// takes overwrites.
	nonEmptyInfo = "validate"
)

// PoolInit prepares a pool for images: it is marked as used by "rbd", even if
// another application uses it with force, and validated.
func PoolInit(ctx context.Context, io *rados.IoCtx, force bool) error {
	c := io.Client()
	name, err := c.PoolName(ctx, io.Pool())
	if err != nil {
		return fmt.Errorf("initialize pool: %w", err)
	}
	cmd := map[string]any{"prefix": "osd pool application enable", "pool": name, "app": "rbd"}
	if force {
		cmd["yes_i_really_mean_it"] = true
	}
	if _, status, err := c.MonCommand(ctx, cmd, nil); err != nil {
		return fmt.Errorf("initialize pool %s: %s: %w", name, status, err)
	}
	if err := c.LatestOSDMap(ctx); err != nil {
		return err
	}
	if err := ValidatePool(ctx, io); err != nil {
		return fmt.Errorf("initialize pool %s: %w", name, err)
	}
	return nil
}

// ValidatePool makes sure that the pool takes what images need, snapshots of
// their own and overwrites, and remembers that on rbd_info.
func ValidatePool(ctx context.Context, io *rados.IoCtx) error {
	io = io.WithNamespace("").AtSnap(NoSnap).WithSnapContext(0, nil)
	p, err := io.Read(ctx, infoName, 0, uint64(len(overwriteValidated)))
	if err == nil && string(p) == overwriteValidated {
		return nil
	}
	if err != nil && !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	// A pool with snapshots of its own cannot have those of images. The id is
	// given back at once.
	id, err := io.CreateSnapID(ctx)
	if err != nil {
		return fmt.Errorf("the pool cannot have image snapshots: %w", err)
	}
	if err := io.RemoveSnapID(ctx, id); err != nil {
		return err
	}
	if len(p) == 0 {
		if err := io.Write(ctx, infoName, 0, []byte(nonEmptyInfo)); err != nil {
			return err
		}
	}
	op := rados.NewOp()
	op.Write(0, msgr2.NewData([]byte(overwriteValidated)))
	if err := io.Operate(ctx, infoName, op); err != nil {
		return fmt.Errorf("the pool does not take overwrites: %w", err)
	}
	return nil
}

// PoolStats counts what is in a pool's namespace. Bytes are provisioned, not
// used; the Max ones count every image at its largest snapshot.
type PoolStats struct {
	Images, ImageBytes, ImageMaxBytes, ImageSnaps uint64
	Trash, TrashBytes, TrashMaxBytes, TrashSnaps  uint64
}

// Stats reads the headers of all images.
func Stats(ctx context.Context, io *rados.IoCtx) (PoolStats, error) {
	var st PoolStats
	images, err := List(ctx, io)
	if err != nil {
		return st, err
	}
	trash, err := TrashList(ctx, io)
	if err != nil {
		return st, err
	}
	var mu sync.Mutex
	one := func(ctx context.Context, id string, count, bytes, maxBytes, snaps *uint64) error {
		img, err := OpenByID(ctx, io, id, OpenOptions{ReadOnly: true, SkipParent: true})
		if errors.Is(err, rados.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		h := img.header()
		most := h.size
		for i := range h.snaps {
			most = max(most, h.snaps[i].Size)
		}
		mu.Lock()
		*count++
		*bytes += h.size
		*maxBytes += most
		*snaps += uint64(len(h.snaps))
		mu.Unlock()
		return img.Close(ctx)
	}
	err = forEach(ctx, 0, uint64(len(images)), ioDepth, nil, func(ctx context.Context, i uint64) error {
		return one(ctx, images[i].ID, &st.Images, &st.ImageBytes, &st.ImageMaxBytes, &st.ImageSnaps)
	})
	if err == nil {
		err = forEach(ctx, 0, uint64(len(trash)), ioDepth, nil, func(ctx context.Context, i uint64) error {
			return one(ctx, trash[i].ID, &st.Trash, &st.TrashBytes, &st.TrashMaxBytes, &st.TrashSnaps)
		})
	}
	if err != nil {
		return st, fmt.Errorf("pool statistics: %w", err)
	}
	return st, nil
}
