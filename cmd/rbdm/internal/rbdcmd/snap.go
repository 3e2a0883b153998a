package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// snapHandlers are the commands about snapshots.
func snapHandlers() map[string]handler {
	return map[string]handler{
		"snap create":      snapCreate,
		"snap limit clear": snapLimitClear,
		"snap limit set":   snapLimitSet,
		"snap list":        snapList,
		"snap protect":     snapProtect,
		"snap purge":       snapPurge,
		"snap remove":      snapRemove,
		"snap rename":      snapRename,
		"snap rollback":    snapRollback,
		"snap unprotect":   snapUnprotect,
	}
}

// withSnapImage runs f on the image whose snapshot s names, opened at its head.
func (c *call) withSnapImage(ctx context.Context, s spec, id string, f func(*rbd.Image) error) error {
	s.Snap = ""
	return c.withImage(ctx, s, id, rbd.OpenOptions{}, f)
}

// withImage opens an image, runs f and closes it.
func (c *call) withImage(ctx context.Context, s spec, id string, o rbd.OpenOptions, f func(*rbd.Image) error) (err error) {
	img, err := c.imageOrID(ctx, s, id, o)
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	return f(img)
}

// userSnapshot is img.UserSnapshot with the error that Ceph has for a missing one.
func userSnapshot(img *rbd.Image, name string) (rbd.Snapshot, error) {
	s, ok := img.UserSnapshot(name)
	if !ok {
		return s, fmt.Errorf("snapshot %s: %w", name, rados.ErrNotFound)
	}
	return s, nil
}

var errQuiesce = invalidf("rbd: ignore-quiesce-error cannot be used together with skip-quiesce")

func snapCreate(ctx context.Context, c *call) error {
	s, err := specArg{snap: snapRequired}.read(c.Invocation)
	if err != nil {
		return err
	}
	if c.Has("skip-quiesce") && c.Has("ignore-quiesce-error") {
		return errQuiesce
	}
	if strings.ContainsAny(s.Snap, "/@") {
		return invalidf("rbd: invalid snap name '%s'", s.Snap)
	}
	return c.withSnapImage(ctx, s, "", func(img *rbd.Image) error {
		p, done := c.progress("Creating snap")
		if _, exists := img.UserSnapshot(s.Snap); p != nil && !exists && !c.Has("skip-quiesce") && img.Features()&rbd.FeatureNonPrimary == 0 {
			p(10, 100) // what asking other clients to hold their writes counts for
		}
		_, err := img.CreateSnapshot(ctx, s.Snap, rbd.SnapshotNamespace{}, rbd.SnapshotOptions{
			SkipQuiesce: c.Has("skip-quiesce"), IgnoreQuiesceError: c.Has("ignore-quiesce-error"), Progress: p,
		})
		done(err)
		if err != nil {
			return failed(err, "rbd: failed to create snapshot")
		}
		return nil
	})
}

func snapRemove(ctx context.Context, c *call) error {
	snapID, byID, err := c.number("snap-id")
	if err != nil {
		return err
	}
	arg := specArg{snap: snapRequired}
	if byID {
		arg.snap = snapOptional
	}
	s, id, err := c.imageAndID(arg)
	switch {
	case err != nil:
		return err
	case byID && s.Snap != "":
		return invalidf("rbd: trying to access snapshot using both name and id.")
	case byID && (c.Has("force") || c.Has("no-progress")):
		return invalidf("rbd: force and no-progress options not permitted when removing by id.")
	}
	return c.withSnapImage(ctx, s, id, func(img *rbd.Image) error {
		what := "'" + s.Snap + "'"
		if byID {
			what = fmt.Sprintf("id %d", snapID)
			err = img.RemoveSnapshot(ctx, snapID)
		} else {
			err = c.removeNamed(ctx, img, s.Snap)
		}
		switch {
		case errors.Is(err, rados.ErrBusy):
			return &cli.UsageError{Code: exitCode(err), Msg: "rbd: snapshot " + what + " is protected from removal.", Err: err}
		case err != nil:
			return failed(err, "rbd: failed to remove snapshot")
		}
		return nil
	})
}

// removeNamed removes a user's snapshot, with --force also one that has clones.
func (c *call) removeNamed(ctx context.Context, img *rbd.Image, name string) error {
	_, done := c.progress("Removing snap")
	err := func() error {
		snap, err := userSnapshot(img, name)
		if err != nil {
			return err
		}
		if c.Has("force") {
			if err := releaseSnapshot(ctx, img, snap); err != nil {
				return err
			}
		}
		return img.RemoveSnapshot(ctx, snap.ID)
	}()
	done(err)
	return err
}

// releaseSnapshot flattens the snapshot's clones and unprotects it.
func releaseSnapshot(ctx context.Context, img *rbd.Image, snap rbd.Snapshot) error {
	children, err := img.Children(ctx, snap.ID)
	if err != nil {
		return err
	}
	for _, child := range children {
		io := img.IoCtx().WithPool(child.Pool).WithNamespace(child.PoolNamespace)
		if err := flattenByID(ctx, io, child.ImageID); err != nil {
			return err
		}
	}
	if !snap.Protected() {
		return nil
	}
	return img.UnprotectSnapshot(ctx, snap.ID)
}

func flattenByID(ctx context.Context, io *rados.IoCtx, id string) (err error) {
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	return img.Flatten(ctx, nil)
}

func snapPurge(ctx context.Context, c *call) error {
	s, id, err := c.imageAndID(specArg{})
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, id, rbd.OpenOptions{}, func(img *rbd.Image) error {
		p, done := c.progressToEnd("Removing all snapshots")
		var remove []rbd.Snapshot
		var keep []string
		for _, snap := range img.Snapshots() {
			switch {
			case snap.Namespace.Type != rbd.SnapUser:
			case snap.Protected():
				keep = append(keep, snap.Name)
			default:
				remove = append(remove, snap)
			}
		}
		if len(keep) > 0 {
			are := "is"
			if len(keep) > 1 {
				are = "are"
			}
			c.printf("rbd: error removing snapshot(s) '%s', which %s protected - these must be unprotected with `rbd snap unprotect`.\n", strings.Join(keep, ","), are)
		}
		for i, snap := range remove {
			if err := img.RemoveSnapshot(ctx, snap.ID); err != nil {
				done(err)
				return failed(err, "rbd: removing snaps failed")
			}
			if p != nil {
				p(uint64(i+1), uint64(len(remove)+len(keep)))
			}
		}
		switch {
		case len(keep) > 0:
			done(rados.ErrBusy)
		case len(remove) > 0:
			done(nil)
		}
		return nil
	})
}

func snapRollback(ctx context.Context, c *call) error {
	s, err := specArg{snap: snapRequired}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.withSnapImage(ctx, s, "", func(img *rbd.Image) error {
		p, done := c.progress("Rolling back to snapshot")
		snap, err := userSnapshot(img, s.Snap)
		if err == nil {
			err = img.Rollback(ctx, snap.ID, p)
		}
		done(err)
		if err != nil {
			return failed(err, "rbd: rollback failed")
		}
		return nil
	})
}

func snapProtect(ctx context.Context, c *call) error {
	s, err := specArg{snap: snapRequired}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.withSnapImage(ctx, s, "", func(img *rbd.Image) error {
		snap, err := userSnapshot(img, s.Snap)
		if err == nil && snap.Protected() {
			return &cli.UsageError{Code: exitCode(rados.ErrBusy), Msg: "rbd: snap is already protected"}
		}
		if err == nil {
			err = img.ProtectSnapshot(ctx, snap.ID)
		}
		if err != nil {
			return failed(err, "rbd: protecting snap failed")
		}
		return nil
	})
}

func snapUnprotect(ctx context.Context, c *call) error {
	s, id, err := c.imageAndID(specArg{snap: snapRequired})
	if err != nil {
		return err
	}
	return c.withSnapImage(ctx, s, id, func(img *rbd.Image) error {
		snap, err := userSnapshot(img, s.Snap)
		if err == nil && !snap.Protected() {
			return invalidf("rbd: snap is already unprotected")
		}
		if err == nil {
			err = img.UnprotectSnapshot(ctx, snap.ID)
		}
		if err != nil {
			return failed(err, "rbd: unprotecting snap failed")
		}
		return nil
	})
}

func snapRename(ctx context.Context, c *call) error {
	src, rest, err := specArg{snap: snapRequired}.take(c.Invocation)
	if err != nil {
		return err
	}
	dst, err := specArg{arg: len(c.Args) - len(rest), dest: true, snap: snapRequired}.read(c.Invocation)
	if err != nil {
		return err
	}
	inherit(&dst, src)
	switch {
	case strings.ContainsAny(dst.Snap, "/@"):
		return invalidf("rbd: invalid snap name '%s'", dst.Snap)
	case src.Pool != dst.Pool:
		return invalidf("rbd: source and destination pool must be the same")
	case src.Namespace != dst.Namespace:
		return invalidf("rbd: source and destination namespace must be the same")
	case src.Image != dst.Image:
		return invalidf("rbd: source and destination image name must be the same")
	}
	return c.withSnapImage(ctx, src, "", func(img *rbd.Image) error {
		snap, err := userSnapshot(img, src.Snap)
		if err == nil {
			err = img.RenameSnapshot(ctx, snap.ID, dst.Snap)
		}
		if err != nil {
			return failed(err, "rbd: renaming snap failed")
		}
		return nil
	})
}

// inherit gives a destination the pool and namespace of the source where it does
// not name its own.
func inherit(dst *spec, src spec) {
	if dst.Pool == "" {
		dst.Pool = src.Pool
	}
	if dst.Namespace == "" {
		dst.Namespace = src.Namespace
	}
}

func snapLimitSet(ctx context.Context, c *call) error {
	limit, given := uint64(0), c.Has("limit")
	if given {
		var err error
		text, negative := strings.CutPrefix(c.String("limit"), "-")
		if limit, err = strconv.ParseUint(text, 10, 64); err != nil {
			return &cli.UsageError{Code: exitGeneral, Msg: fmt.Sprintf("rbd: the argument ('%s') for option '--limit' is invalid", c.String("limit"))}
		}
		if negative { // as rbd reads it: from the largest number downwards
			limit = -limit
		}
	}
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	if !given {
		return &cli.UsageError{Code: exitRange, Msg: "rbd: must specify --limit <num>"}
	}
	return c.snapLimit(ctx, s, limit, "rbd: setting snapshot limit failed")
}

func snapLimitClear(ctx context.Context, c *call) error {
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.snapLimit(ctx, s, math.MaxUint64, "rbd: clearing snapshot limit failed")
}

func (c *call) snapLimit(ctx context.Context, s spec, limit uint64, what string) error {
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		if err := img.SetSnapshotLimit(ctx, limit); err != nil {
			return failed(err, "%s", what)
		}
		return nil
	})
}
