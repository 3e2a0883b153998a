package rbdcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// groupArg is a group.
var groupArg = specArg{group: true}

// groupHandlers are the commands about groups of images.
func groupHandlers() map[string]handler {
	return map[string]handler{
		"group create":        groupCreate,
		"group list":          groupList,
		"group info":          groupInfo,
		"group rename":        groupRename,
		"group remove":        groupRemove,
		"group image add":     groupImageAdd,
		"group image list":    groupImageList,
		"group image remove":  groupImageRemove,
		"group snap create":   groupSnapCreate,
		"group snap info":     groupSnapInfo,
		"group snap list":     groupSnapList,
		"group snap remove":   groupSnapRemove,
		"group snap rename":   groupSnapRename,
		"group snap rollback": groupSnapRollback,
	}
}

func groupCreate(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, groupArg.read)
	if err != nil {
		return err
	}
	if _, err := rbd.CreateGroup(ctx, io, s.Image); err != nil {
		return failed(err, "rbd: create error")
	}
	return nil
}

func groupList(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, anyPoolSpec)
	if err != nil {
		return err
	}
	groups, err := rbd.Groups(ctx, io)
	if err != nil {
		return logged(err)
	}
	return c.showNames(f, "groups", groups)
}

func groupInfo(ctx context.Context, c *call) error {
	s, f, io, err := c.showPool(ctx, groupArg.read)
	if err != nil {
		return err
	}
	g, err := rbd.OpenGroup(ctx, io, s.Image)
	if err != nil {
		return logged(err)
	}
	if f == nil {
		c.printf("rbd group '%s':\n\tid: %s\n", g.Name(), g.ID())
		return nil
	}
	f.OpenObject("group")
	f.String("group_name", g.Name())
	f.String("group_id", g.ID())
	return f.Flush(c.std.Out)
}

func groupRename(ctx context.Context, c *call) error {
	src, rest, err := groupArg.take(c.Invocation)
	if err != nil {
		return err
	}
	dst, err := specArg{arg: len(c.Args) - len(rest), dest: true, group: true}.read(c.Invocation)
	switch {
	case err != nil:
		return err
	case src.Pool != dst.Pool:
		return invalidf("rbd: group rename across pools not supported\nsource pool: %s, dest pool: %s", src.Pool, dst.Pool)
	case src.Namespace != dst.Namespace:
		return invalidf("rbd: group rename across namespaces not supported\nsource namespace: %s, dest namespace: %s", src.Namespace, dst.Namespace)
	}
	io, err := c.pool(ctx, src)
	if err != nil {
		return err
	}
	if err := rbd.RenameGroup(ctx, io, src.Image, dst.Image); err != nil {
		return failed(err, "rbd: failed to rename group")
	}
	return nil
}

func groupRemove(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, groupArg.read)
	if err != nil {
		return err
	}
	if err := rbd.RemoveGroup(ctx, io, s.Image); err != nil {
		return failed(err, "rbd: remove error")
	}
	return nil
}

// groupAndImage reads the specifications of a group and an image. With an id of
// the image, only its pool is wanted.
func (c *call) groupAndImage(id string) (group, image spec, err error) {
	group, rest, err := specArg{group: true, prefix: "group-"}.take(c.Invocation)
	if err != nil {
		return group, image, err
	}
	image, err = specArg{arg: len(c.Args) - len(rest), prefix: "image-", noImage: id != ""}.read(c.Invocation)
	switch {
	case err != nil:
		return group, image, err
	case group.Namespace != image.Namespace:
		err = invalidf("rbd: group and image namespace must match.")
	case id != "" && image.Image != "":
		err = invalidf("rbd: trying to access image using both name and id. ")
	}
	return group, image, err
}

func groupImageAdd(ctx context.Context, c *call) error {
	group, image, err := c.groupAndImage("")
	if err != nil {
		return err
	}
	groupIO, imageIO, err := c.pools(ctx, group, image)
	if err != nil {
		return err
	}
	g, err := rbd.OpenGroup(ctx, groupIO, group.Image)
	if err == nil {
		err = g.AddImage(ctx, imageIO, image.Image)
	}
	if err != nil {
		return failed(err, "rbd: add image error")
	}
	return nil
}

// pools opens the pools of two specifications.
func (c *call) pools(ctx context.Context, a, b spec) (first, second *rados.IoCtx, err error) {
	if first, err = c.pool(ctx, a); err == nil {
		second, err = c.pool(ctx, b)
	}
	return first, second, err
}

func groupImageRemove(ctx context.Context, c *call) error {
	id := c.String("image-id")
	group, image, err := c.groupAndImage(id)
	if err != nil {
		return err
	}
	groupIO, imageIO, err := c.pools(ctx, group, image)
	if err != nil {
		return err
	}
	g, err := rbd.OpenGroup(ctx, groupIO, group.Image)
	if err == nil && id == "" {
		id, err = rbd.LookupID(ctx, imageIO, image.Image)
	}
	if err == nil {
		err = g.RemoveImage(ctx, imageIO, id)
	}
	if err != nil {
		return failed(err, "rbd: remove image error")
	}
	return nil
}

// poolOf returns a pool's name, or what rbd prints when there is no such pool.
func (c *call) poolOf(ctx context.Context, id int64) (string, error) {
	name, err := c.client.PoolName(ctx, id)
	if errors.Is(err, rados.ErrNotFound) {
		return fmt.Sprintf("<missing image pool %d>", id), nil
	}
	return name, err
}

func groupImageList(ctx context.Context, c *call) error {
	s, f, io, err := c.showPool(ctx, groupArg.read)
	if err != nil {
		return err
	}
	var images []rbd.GroupImage
	g, err := rbd.OpenGroup(ctx, io, s.Image)
	switch {
	case err == nil:
		images, err = g.Images(ctx)
	case errors.Is(err, rados.ErrNotFound):
		c.warnf("%s", logLine(err))
		err = nil
	}
	if err != nil {
		return logged(err)
	}
	if f != nil {
		f.OpenArray("images")
	}
	for _, image := range images {
		if image.Name == "" {
			continue // it is in the trash
		}
		if err := c.groupImage(ctx, f, s.Namespace, image); err != nil {
			return failed(err, "rbd: error opening pool %d", image.Pool)
		}
	}
	if f != nil {
		return f.Flush(c.std.Out)
	}
	return nil
}

// groupImage prints an image of a group.
func (c *call) groupImage(ctx context.Context, f *cli.Formatter, namespace string, image rbd.GroupImage) error {
	pool, err := c.poolOf(ctx, image.Pool)
	if err != nil {
		return err
	}
	state, number := "", int64(0)
	if !image.Attached {
		state, number = "incomplete", 1
	}
	if f == nil {
		c.printf("%s %s\n", spec{Pool: pool, Namespace: namespace, Image: image.Name}, state)
		return nil
	}
	f.OpenObject("image")
	f.String("image", image.Name)
	f.String("pool", pool)
	f.String("namespace", namespace)
	f.Int("state", number)
	f.Close()
	return nil
}
