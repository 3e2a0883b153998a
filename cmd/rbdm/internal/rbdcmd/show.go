package rbdcmd

import (
	"context"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// specReader reads what a command is about from its options and arguments.
type specReader func(*cli.Invocation) (spec, error)

// onPool reads what a command is about, and opens the pool.
func (c *call) onPool(ctx context.Context, read specReader) (s spec, io *rados.IoCtx, err error) {
	if s, err = read(c.Invocation); err == nil {
		io, err = c.pool(ctx, s)
	}
	return s, io, err
}

// show reads what a command shall show and in which format: nil is plain output.
// A wrong specification is told before a wrong format.
func (c *call) show(read specReader) (s spec, f *cli.Formatter, err error) {
	if s, err = read(c.Invocation); err == nil {
		f, err = c.formatter()
	}
	return s, f, err
}

// showPool is show for a command about a pool, a group or a list of images: it
// opens the pool, which is the last that can go wrong.
func (c *call) showPool(ctx context.Context, read specReader) (s spec, f *cli.Formatter, io *rados.IoCtx, err error) {
	if s, f, err = c.show(read); err == nil {
		io, err = c.pool(ctx, s)
	}
	return s, f, io, err
}

// showImage is show for a command about an image without its parent, which print
// then gets.
func (c *call) showImage(ctx context.Context, print func(img *rbd.Image, f *cli.Formatter) error) error {
	s, f, err := c.show(specArg{}.read)
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{ReadOnly: true, SkipParent: true}, func(img *rbd.Image) error {
		return print(img, f)
	})
}

// showNames prints the names of what a pool has: a line for each, or a list.
func (c *call) showNames(f *cli.Formatter, list string, all []rbd.ImageRef) error {
	if f == nil {
		for _, e := range all {
			c.printf("%s\n", e.Name)
		}
		return nil
	}
	f.OpenArray(list)
	for _, e := range all {
		f.String("name", e.Name)
	}
	return f.Flush(c.std.Out)
}
