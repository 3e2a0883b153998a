package rbdcmd

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// exportDiff is `rbd export-diff`. A file that it cannot complete is removed.
func exportDiff(ctx context.Context, c *call) (err error) {
	s, rest, err := specArg{snap: snapOptional}.take(c.Invocation)
	if err != nil {
		return err
	}
	path, _, err := c.takePath(rest)
	if err != nil {
		return err
	}
	img, err := c.image(ctx, s, rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	out, err := c.createFile(path)
	if err != nil {
		return failed(err, "rbd: export-diff error")
	}
	p, done := c.progress("Exporting image")
	err = rbd.ExportDiff(ctx, img, out, c.String("from-snap"), c.Has("whole-object"), p)
	err = finishFile(out, path, err)
	done(err)
	if err != nil {
		return failed(err, "rbd: export-diff error")
	}
	return nil
}

// finishFile closes a file that was written, and removes it if it is not whole.
func finishFile(out io.Closer, path string, err error) error {
	if err = errors.Join(err, osError(out.Close())); err != nil && path != stdStream {
		os.Remove(path)
	}
	return err
}

// importDiff is `rbd import-diff`.
func importDiff(ctx context.Context, c *call) (err error) {
	path, rest, err := c.takePath(c.Args)
	if err != nil {
		return err
	}
	s, err := specArg{arg: len(c.Args) - len(rest)}.read(c.Invocation)
	if err != nil {
		return err
	}
	sparse, err := c.sparseSize()
	if err != nil {
		return err
	}
	img, err := c.image(ctx, s, rbd.OpenOptions{})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	if err := c.applyDiff(ctx, img, path, sparse); err != nil {
		if errors.Is(err, rbd.ErrTruncated) {
			err = errors.Join(rados.Errno(exitBadMessage), err)
		}
		return failed(err, "rbd: import-diff failed")
	}
	return nil
}

// exitBadMessage is EBADMSG: how rbd calls a diff that ends too early.
const exitBadMessage = 74

func (c *call) applyDiff(ctx context.Context, img *rbd.Image, path string, sparse uint64) error {
	in, o := c.std.In, rbd.StreamOptions{SparseSize: sparse}
	if path != stdStream {
		f, err := os.Open(path)
		if err != nil {
			c.warnf("rbd: error opening %s", path)
			return osError(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return osError(err)
		}
		in, o.Size = f, uint64(max(0, info.Size()))
	}
	p, done := c.progress("Importing image diff")
	o.Progress = p
	err := rbd.ImportDiff(ctx, img, in, o)
	c.warnStream(err)
	var bad *rbd.StreamError
	if errors.As(err, &bad) && bad.Banner {
		return err // nothing has begun
	}
	done(err)
	return err
}

// mergeDiff is `rbd merge-diff`. A file that it cannot complete is removed.
func mergeDiff(ctx context.Context, c *call) error {
	for i, which := range []string{"first", "second"} {
		if c.Arg(i) == "" {
			return invalidf("rbd: %s diff was not specified", which)
		}
	}
	path, _, err := c.takePath(c.Args[2:])
	if err != nil {
		return err
	}
	p, done := c.progressToEnd("Merging image diff")
	err = c.mergeFiles(ctx, c.Args[0], c.Args[1], path, p)
	c.warnStream(err)
	done(err)
	if err != nil {
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: merge-diff error", Err: err}
	}
	return nil
}

func (c *call) mergeFiles(ctx context.Context, first, second, path string, p rbd.Progress) error {
	a := c.std.In
	if first != stdStream {
		f, err := os.Open(first)
		if err != nil {
			return &rbd.StreamError{Text: "rbd: error opening " + first, Err: osError(err)}
		}
		defer f.Close()
		a = f
	}
	b, err := os.Open(second)
	if err != nil {
		return &rbd.StreamError{Text: "rbd: error opening " + second, Err: osError(err)}
	}
	defer b.Close()
	out, err := c.createFile(path)
	if err != nil {
		return &rbd.StreamError{Text: "rbd: error create " + path, Err: err}
	}
	return finishFile(out, path, rbd.MergeDiff(cancellable{ctx, out}, a, b, p))
}

// cancellable is a writer that fails when its context has ended.
type cancellable struct {
	ctx context.Context
	w   io.Writer
}

func (w cancellable) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
