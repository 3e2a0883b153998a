package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// mirrorTarget is the image that a command is about.
type mirrorTarget struct {
	spec spec
	io   *rados.IoCtx
	id   string
}

// mirrorImageArg reads the image specification and finds the image.
func mirrorImageArg(ctx context.Context, c *call) (t mirrorTarget, err error) {
	if t.spec, err = (specArg{}).read(c.Invocation); err != nil {
		return t, err
	}
	if t.io, err = c.pool(ctx, t.spec); err != nil {
		return t, err
	}
	if t.id, err = rbd.LookupID(ctx, t.io, t.spec.Image); err != nil {
		return t, failed(err, "rbd: error opening image %s", t.spec.Image)
	}
	return t, nil
}

// quiet ends a command with a message that names no errno, below a line that says
// why.
func quiet(err error, format string, args ...any) error {
	return &cli.UsageError{Code: exitCode(err), Msg: logLine(err) + "\n" + fmt.Sprintf(format, args...), Err: err}
}

// logged ends a command where rbd prints nothing itself: a line of the log says why.
func logged(err error) error {
	return &cli.UsageError{Code: exitCode(err), Msg: logLine(err), Err: err}
}

// logLine is an error as librbd logs it to stderr: with the time, a number for
// the thread and the level in front.
func logLine(err error) string {
	return fmt.Sprintf("%s %x -1 librbd: %v", time.Now().Format("2006-01-02T15:04:05.000-0700"), os.Getpid(), err)
}

func mirrorImageEnable(ctx context.Context, c *call) error {
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	_, rest, err := specArg{}.take(c.Invocation)
	if err != nil {
		return err
	}
	enable := ops.EnableJournalImage
	switch mode := argOf(rest, 0); mode {
	case "", "journal":
	case "snapshot":
		enable = ops.EnableImage
	default:
		return invalidf("rbd: invalid mode name: %s", mode)
	}
	if err := enable(ctx, t.io, t.id); err != nil {
		return logged(err)
	}
	c.printf("Mirroring enabled\n")
	return nil
}

func mirrorImageDisable(ctx context.Context, c *call) error {
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	err = ops.DisableImage(ctx, t.io, t.id, c.Has("force"))
	if errors.Is(err, ops.ErrJournalStays) {
		c.warnf("%s", logLine(err))
		err = nil
	}
	if err != nil {
		return logged(err)
	}
	c.printf("Mirroring disabled\n")
	return nil
}

func mirrorImagePromote(ctx context.Context, c *call) error {
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	if err := requireMirrored(ctx, c, t); err != nil {
		return err
	}
	if err := ops.Promote(ctx, t.io, t.id, c.Has("force")); err != nil {
		return quiet(err, "rbd: error promoting image to primary")
	}
	c.printf("Image promoted to primary\n")
	return nil
}

func mirrorImageDemote(ctx context.Context, c *call) error {
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	if err := requireMirrored(ctx, c, t); err != nil {
		return err
	}
	if err := ops.Demote(ctx, t.io, t.id); err != nil {
		return quiet(err, "rbd: error demoting image to non-primary")
	}
	c.printf("Image demoted to non-primary\n")
	return nil
}

func mirrorImageResync(ctx context.Context, c *call) error {
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	if err := requireMirrored(ctx, c, t); err != nil {
		return err
	}
	if err := ops.Resync(ctx, t.io, t.id); err != nil {
		return quiet(err, "rbd: error flagging image resync")
	}
	c.printf("Flagged image for resync from primary\n")
	return nil
}

func mirrorImageSnapshot(ctx context.Context, c *call) error {
	if c.Has("skip-quiesce") && c.Has("ignore-quiesce-error") {
		return errQuiesce
	}
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	if err := requireMirrored(ctx, c, t); err != nil {
		return err
	}
	o := rbd.SnapshotOptions{SkipQuiesce: c.Has("skip-quiesce"), IgnoreQuiesceError: c.Has("ignore-quiesce-error")}
	id, err := ops.Snapshot(ctx, t.io, t.id, o)
	if errors.Is(err, ops.ErrJournalMode) {
		return invalidf("rbd: snapshot based mirroring not enabled on the image")
	}
	if err != nil {
		return failedBecause(err, "rbd: error creating snapshot")
	}
	c.printf("Snapshot ID: %d\n", id)
	return nil
}

// failedBecause is failed with a first line that says why.
func failedBecause(err error, format string, args ...any) error {
	return quiet(err, "%s: %s", fmt.Sprintf(format, args...), errnoText(err))
}

// requireMirrored ends a command about an image that is not mirrored as rbd does.
func requireMirrored(ctx context.Context, c *call, t mirrorTarget) error {
	img, err := rbd.OpenByID(ctx, t.io, t.id, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return failed(err, "rbd: error opening image %s", t.spec.Image)
	}
	defer img.Close(ctx)
	_, err = ops.Info(ctx, img)
	if errors.Is(err, rados.ErrNotFound) {
		return invalidf("rbd: mirroring not enabled on the image")
	}
	return err
}
