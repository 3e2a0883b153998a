package rbdcmd

import (
	"context"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// copyImage is `rbd copy`.
func copyImage(ctx context.Context, c *call) error {
	sparse, err := c.sparseSize()
	if err != nil {
		return err
	}
	return c.copyWith(ctx, "Image copy", "rbd: copy failed", func(src *rbd.Image, dst *rados.IoCtx, name string, o rbd.CreateOptions, p rbd.Progress) error {
		return rbd.Copy(ctx, src, dst, name, o, sparse, p)
	})
}

// deepCopy is `rbd deep copy`.
func deepCopy(ctx context.Context, c *call) error {
	return c.copyWith(ctx, "Image deep copy", "rbd: deep copy failed", func(src *rbd.Image, dst *rados.IoCtx, name string, o rbd.CreateOptions, p rbd.Progress) error {
		return rbd.DeepCopy(ctx, src, dst, name, o, c.Has("flatten"), p)
	})
}

// copyWith carries out a command that copies an image to a new one.
func (c *call) copyWith(ctx context.Context, title, failure string, run func(*rbd.Image, *rados.IoCtx, string, rbd.CreateOptions, rbd.Progress) error) (err error) {
	from, rest, err := specArg{snap: snapOptional}.take(c.Invocation)
	if err != nil {
		return err
	}
	to, err := specArg{arg: len(c.Args) - len(rest), dest: true}.read(c.Invocation)
	if err != nil {
		return err
	}
	o, err := c.createOptions()
	if err != nil {
		return err
	}
	src, err := c.image(ctx, from, rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer closeImage(src, &err)
	dst, err := c.pool(ctx, to)
	if err != nil {
		return err
	}
	p, done := c.progressToEnd(title)
	if o.Order != 0 && o.StripeUnit == 0 && src.Layout().StripeUnit > 1<<o.Order {
		return failed(rados.ErrInvalid, "%s", failure) // the source's striping is inherited
	}
	err = run(src, dst, to.Image, o, p)
	done(err)
	if err != nil {
		return failed(err, "%s", failure)
	}
	return nil
}
