package rbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/rados"
)

// NoThreshold is PurgeOptions.Threshold where none is asked for.
const NoThreshold = -1.0

// PurgeOptions says which images TrashPurge removes.
type PurgeOptions struct {
	// Expired: those whose deferment ends by then.
	Expired time.Time
	// Threshold, of 0 to 1, is a share of a pool: if more of it is used, also the
	// images whose deferment ends first until, by what they hold, no more is.
	// Unless one of the pools is so full nothing is removed at all.
	Threshold float64
	Progress  Progress
}

// TrashPurge removes images of users from the trash. One that has snapshots or
// that is in use does not stop the others: clones that go may set it free. If such
// ones stay, the error says why of one of them.
func TrashPurge(ctx context.Context, io *rados.IoCtx, o PurgeOptions) error {
	all, err := TrashList(ctx, io)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(e TrashEntry) bool { return e.Source != TrashUser && e.Source != TrashUserParent })
	victims := make(map[string]bool)
	if o.Threshold != NoThreshold {
		if victims, err = overThreshold(ctx, io, all, o.Threshold); err != nil || victims == nil {
			return err
		}
	}
	all = slices.DeleteFunc(all, func(e TrashEntry) bool { return e.Until.After(o.Expired) && !victims[e.ID] })
	return purge(ctx, io, all, o.Progress)
}

// purge removes the images, again and again while some of them go.
func purge(ctx context.Context, io *rados.IoCtx, all []TrashEntry, p Progress) error {
	total, done := uint64(len(all)), uint64(0)
	for {
		var left []TrashEntry
		var why error
		for _, e := range all {
			err := TrashRemove(ctx, io, e.ID, true, nil)
			switch {
			case errors.Is(err, rados.ErrNotEmpty), errors.Is(err, rados.ErrBusy), errors.Is(err, errTooManyLinks):
				left, why = append(left, e), errors.Join(why, err)
				continue
			case err != nil && !errors.Is(err, rados.ErrNotFound): // a parent can go with its last clone
				return err
			}
			if done++; p != nil {
				p(done, total)
			}
		}
		if len(left) == 0 || len(left) == len(all) {
			return why
		}
		all = left
	}
}

// poolUsage is what the monitors say of a pool.
type poolUsage struct {
	Name  string `json:"name"`
	Stats struct {
		Used     float64 `json:"percent_used"` // of 1
		Bytes    uint64  `json:"bytes_used"`
		MaxAvail uint64  `json:"max_avail"`
	} `json:"stats"`
}

// overThreshold returns the images that are to go so that no pool is fuller than
// the threshold, nil if none is.
func overThreshold(ctx context.Context, io *rados.IoCtx, all []TrashEntry, threshold float64) (map[string]bool, error) {
	if !(threshold >= 0 && threshold <= 1) {
		return nil, fmt.Errorf("argument 'threshold' is out of valid range: %w", rados.ErrInvalid)
	}
	out, _, err := io.Client().MonCommand(ctx, map[string]string{"prefix": "df", "format": "json"}, nil)
	if err != nil {
		return nil, fmt.Errorf("usage of the pools: %w", err)
	}
	var df struct {
		Pools []poolUsage `json:"pools"`
	}
	if err := json.Unmarshal(out, &df); err != nil {
		return nil, fmt.Errorf("usage of the pools: %w", err)
	}
	byPool, err := dataPools(ctx, io, all)
	if err != nil {
		return nil, err
	}
	var victims map[string]bool
	for _, pool := range df.Pools {
		entries := byPool[pool.Name]
		if len(entries) == 0 || pool.Stats.Used <= threshold {
			continue
		}
		wanted := uint64(float64(pool.Stats.MaxAvail+pool.Stats.Bytes) * (pool.Stats.Used - threshold))
		for freed := uint64(0); len(entries) > 0; entries = entries[1:] {
			n, err := usedBy(ctx, io, entries[0].ID)
			if errors.Is(err, rados.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if victims == nil {
				victims = make(map[string]bool)
			}
			victims[entries[0].ID] = true
			if freed += n; freed >= wanted {
				break
			}
		}
	}
	return victims, nil
}

// dataPools sorts the images by the names of the pools where their data is, each
// in the order in which their deferments end.
func dataPools(ctx context.Context, io *rados.IoCtx, all []TrashEntry) (map[string][]TrashEntry, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b TrashEntry) int { return a.Until.Compare(b.Until) })
	byPool := make(map[string][]TrashEntry)
	for _, e := range all {
		img, err := OpenByID(ctx, io, e.ID, OpenOptions{ReadOnly: true, SkipParent: true})
		if errors.Is(err, rados.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pool := img.Layout().DataPool
		if pool < 0 {
			pool = io.Pool()
		}
		if err := img.Close(ctx); err != nil {
			return nil, err
		}
		name, err := io.Client().PoolName(ctx, pool)
		if errors.Is(err, rados.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		byPool[name] = append(byPool[name], e)
	}
	return byPool, nil
}

// usedBy returns how many bytes an image's head holds.
func usedBy(ctx context.Context, io *rados.IoCtx, id string) (n uint64, err error) {
	img, err := OpenByID(ctx, io, id, OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, img.Close(ctx)) }()
	err = img.Diff(ctx, DiffOptions{WholeObject: true}, func(e DiffExtent) error {
		if e.Exists {
			n += e.Len
		}
		return nil
	})
	return n, err
}
