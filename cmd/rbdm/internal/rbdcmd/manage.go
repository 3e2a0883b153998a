package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

const (
	textHasSnaps = "rbd: image has snapshots - these must be deleted with 'rbd snap purge' before the image can be removed."
	textWatchers = "rbd: error: image still has watchers\n" +
		"This means the image is still open or the client using it crashed. Try again after closing/unmapping it or waiting 30s for the crashed client to timeout."
	textInGroup = "rbd: error: image belongs to a group%s\nRemove the image from the group and try again."
)

// errTooManyLinks is EMLINK: how librbd refuses to remove an image in a group.
const errTooManyLinks = rados.Errno(31)

// remove is `rbd rm`.
func remove(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, specArg{}.read)
	if err != nil {
		return err
	}
	p, done := c.progress("Removing image")
	err = rbd.Remove(ctx, io, s.Image, p)
	done(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rados.ErrNotEmpty):
		return &cli.UsageError{Code: exitCode(err), Msg: textHasSnaps, Err: err}
	case errors.Is(err, rados.ErrBusy):
		return &cli.UsageError{Code: exitCode(err), Msg: textWatchers, Err: err}
	case errors.Is(err, errTooManyLinks):
		return &cli.UsageError{Code: exitCode(err), Msg: fmt.Sprintf(textInGroup, groupOf(ctx, io, s.Image)), Err: err}
	}
	return failed(err, "rbd: delete error")
}

// groupOf returns " " and the group that the image is in, or nothing if that cannot
// be found out.
func groupOf(ctx context.Context, io *rados.IoCtx, name string) string {
	img, err := rbd.Open(ctx, io, name, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return ""
	}
	group, _ := imageGroup(ctx, img)
	if closeImage(img, &err); group == "" {
		return ""
	}
	return " " + group
}

// rename is `rbd mv`.
func rename(ctx context.Context, c *call) error {
	src, rest, err := specArg{}.take(c.Invocation)
	if err != nil {
		return err
	}
	dst, err := specArg{arg: len(c.Args) - len(rest), dest: true}.read(c.Invocation)
	if err != nil {
		return err
	}
	inherit(&dst, src)
	switch {
	case src.Pool != dst.Pool:
		return invalidf("rbd: mv/rename across pools not supported\nsource pool: %s dest pool: %s", src.Pool, dst.Pool)
	case src.Namespace != dst.Namespace:
		return invalidf("rbd: mv/rename across namespaces not supported\nsource namespace: %s dest namespace: %s", src.Namespace, dst.Namespace)
	}
	io, err := c.pool(ctx, src)
	if err != nil {
		return err
	}
	if err := rbd.Rename(ctx, io, src.Image, dst.Image); err != nil {
		return failed(err, "rbd: rename error")
	}
	return nil
}

// resize is `rbd resize`.
func resize(ctx context.Context, c *call) error {
	size, sized, err := c.size()
	if err != nil {
		return err
	}
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	if !sized {
		return errNoSize
	}
	keys, err := c.encryption()
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		if err := c.noEncryption(ctx, img, keys); err != nil {
			return err
		}
		switch {
		case img.Size() == size:
			return invalidf("rbd: new size is equal to original size ")
		case size < img.Size() && !c.Has("allow-shrink"):
			return invalidf("rbd: shrinking an image is only allowed with the --allow-shrink flag")
		}
		p, done := c.progress("Resizing image")
		err := img.Resize(ctx, size, c.Has("allow-shrink"), p)
		done(err)
		if err != nil {
			return failed(err, "rbd: resize error")
		}
		return nil
	})
}

// encryption reads the options that say how to unlock an encrypted image, and
// reports whether there are any. The passphrases stay where they are: they are of
// no use here.
func (c *call) encryption() (given bool, err error) {
	formats, files := c.All("encryption-format"), c.All("encryption-passphrase-file")
	for _, f := range formats {
		if f != "luks" && f != "luks1" && f != "luks2" {
			return false, badOption("encryption-format")
		}
	}
	if n := len(formats); n != len(files) && !(n == 0 && len(files) == 1) {
		return false, invalidf("rbd: encryption formats count does not match passphrase files count")
	}
	return len(files) > 0, nil
}

// noEncryption refuses an image that must be unlocked first, and one that cannot
// be unlocked since it is not encrypted.
func (c *call) noEncryption(ctx context.Context, img *rbd.Image, given bool) error {
	if !given {
		return nil
	}
	const magic = "LUKS\xba\xbe"
	if img.Size() < uint64(len(magic)) {
		return failed(rados.ErrInvalid, "rbd: encryption load failed")
	}
	head, err := img.Read(ctx, 0, uint64(len(magic)))
	switch {
	case err != nil:
		return failed(err, "rbd: encryption load failed")
	case string(head.Bytes()) == magic:
		return &cli.UsageError{Code: exitNotSupported, Msg: "rbd: encryption is not part of rbdm"}
	}
	return failed(rados.ErrInvalid, "rbd: encryption load failed")
}

// flatten is `rbd flatten`.
func flatten(ctx context.Context, c *call) error {
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	keys, err := c.encryption()
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		if err := c.noEncryption(ctx, img, keys); err != nil {
			return err
		}
		p, done := c.progress("Image flatten")
		err := img.Flatten(ctx, p)
		done(err)
		if err != nil {
			return failed(err, "rbd: flatten error")
		}
		return nil
	})
}

// sparsify is `rbd sparsify`.
func sparsify(ctx context.Context, c *call) error {
	size := uint64(4096)
	if c.Has("sparse-size") {
		n, err := cli.ParseSize(c.String("sparse-size"), 1)
		if err != nil {
			return badOption("sparse-size")
		}
		size = n
	}
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		p, done := c.progress("Image sparsify")
		err := error(rados.ErrInvalid)
		if size >= 4096 && bits.OnesCount64(size) == 1 {
			err = img.Sparsify(ctx, size, p)
		}
		done(err)
		if err != nil {
			return failed(err, "rbd: sparsify error")
		}
		return nil
	})
}

// status is `rbd status`.
func status(ctx context.Context, c *call) error {
	return c.showImage(ctx, func(img *rbd.Image, f *cli.Formatter) error {
		watchers, err := img.Watchers(ctx)
		if err != nil {
			return failed(err, "rbd: show status failed")
		}
		if f == nil {
			if len(watchers) == 0 {
				c.printf("Watchers: none\n")
				return nil
			}
			c.printf("Watchers:\n")
			for _, w := range watchers {
				c.printf("\twatcher=%s client.%d cookie=%d\n", legacyAddr(w.Addr), w.Name.Num, w.Cookie)
			}
			return nil
		}
		f.OpenObject("status")
		f.OpenArray("watchers")
		for _, w := range watchers {
			f.OpenObject("watcher")
			f.String("address", legacyAddr(w.Addr))
			f.Uint("client", uint64(w.Name.Num))
			f.Uint("cookie", w.Cookie)
			f.Close()
		}
		return f.Flush(c.std.Out)
	})
}
