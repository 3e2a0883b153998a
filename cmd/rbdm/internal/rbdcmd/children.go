package rbdcmd

import (
	"context"
	"errors"
	"slices"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// children is `rbd children`.
func children(ctx context.Context, c *call) error {
	snapID, byID, err := c.number("snap-id")
	if err != nil {
		return err
	}
	s, id, err := c.imageAndID(specArg{snap: snapOptional})
	if err != nil {
		return err
	}
	if byID && s.Snap != "" {
		return invalidf("rbd: trying to access snapshot using both name and id.")
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	return c.withHead(ctx, s, id, func(img *rbd.Image) error {
		if s.Snap != "" {
			snap, err := userSnapshot(img, s.Snap)
			if err != nil {
				return &cli.UsageError{Code: exitCode(err), Msg: "rbd: snapshot does not exist.", Err: err}
			}
			snapID = snap.ID
		} else if _, ok := img.Snapshot(snapID); byID && !ok {
			return &cli.UsageError{Code: exitNoEntry, Msg: "rbd: snapshot does not exist.", Err: rados.ErrNotFound}
		}
		var clones []rbd.Child
		var err error
		if c.Has("descendants") && snapID == 0 {
			clones, err = img.Descendants(ctx)
		} else {
			clones, err = img.Children(ctx, snapID)
		}
		if err == nil && c.Has("descendants") && snapID != 0 {
			clones, err = withDescendants(ctx, img.IoCtx(), clones)
		}
		if err == nil {
			err = c.printChildren(ctx, img.IoCtx().Client(), clones, f)
		}
		if err != nil {
			return failed(err, "rbd: listing children failed")
		}
		return nil
	})
}

// withHead is withSnapImage for commands that only read.
func (c *call) withHead(ctx context.Context, s spec, id string, f func(*rbd.Image) error) error {
	s.Snap = ""
	return c.withImage(ctx, s, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true}, f)
}

// withDescendants adds the clones of the clones.
func withDescendants(ctx context.Context, io *rados.IoCtx, clones []rbd.Child) (all []rbd.Child, err error) {
	for _, child := range clones {
		all = append(all, child)
		cio := io.WithPool(child.Pool).WithNamespace(child.PoolNamespace)
		img, err := rbd.OpenByID(ctx, cio, child.ImageID, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
		if errors.Is(err, rados.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		more, err := img.Descendants(ctx)
		closeImage(img, &err)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// printChildren lists the clones in the order of pools and names; those in the
// trash only with --all.
func (c *call) printChildren(ctx context.Context, client *rados.Client, clones []rbd.Child, f *cli.Formatter) error {
	type row struct {
		spec
		rbd.Child
	}
	var rows []row
	for _, child := range clones {
		if child.Trash && !c.Has("all") {
			continue
		}
		pool, err := client.PoolName(ctx, child.Pool)
		if err != nil {
			return err
		}
		rows = append(rows, row{spec{Pool: pool, Namespace: child.PoolNamespace, Image: child.ImageName}, child})
	}
	slices.SortFunc(rows, func(a, b row) int {
		return slices.Compare([]string{a.spec.Pool, a.Namespace, a.Image, a.ImageID}, []string{b.spec.Pool, b.Namespace, b.Image, b.ImageID})
	})
	if f == nil {
		for _, r := range rows {
			trash := ""
			if r.Trash {
				trash = " (trash " + r.ImageID + ")"
			}
			c.printf("%s%s\n", r.spec, trash)
		}
		return nil
	}
	f.OpenArray("children")
	for _, r := range rows {
		f.OpenObject("child")
		f.String("pool", r.spec.Pool)
		f.String("pool_namespace", r.Namespace)
		f.String("image", r.Image)
		if c.Has("all") {
			f.String("id", r.ImageID)
			f.Bool("trash", r.Trash)
		}
		f.Close()
	}
	return f.Flush(c.std.Out)
}
