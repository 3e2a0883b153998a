package rbdcmd

import (
	"context"
	"errors"
	"maps"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rbd"
)

// imageHandlers are the commands about images as such.
func imageHandlers() map[string]handler {
	all := map[string]handler{
		"clone":    clone,
		"children": children,
		"create":   create,
		"flatten":  flatten,
		"info":     info,
		"list":     list,
		"remove":   remove,
		"rename":   rename,
		"resize":   resize,
		"sparsify": sparsify,
		"status":   status,
	}
	for _, group := range []map[string]handler{snapHandlers(), metaHandlers(), poolHandlers(), trashHandlers(), lockHandlers()} {
		maps.Copy(all, group)
	}
	return all
}

// list is `rbd ls`.
func list(ctx context.Context, c *call) error {
	s, f, err := c.show(anyPoolSpec)
	if err != nil {
		return err
	}
	io, err := c.pool(ctx, s)
	if errors.Is(err, errConfig) {
		return err
	}
	if err != nil {
		c.warnf("%v", err)
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: listing images failed: " + errnoText(err)}
	}
	images, err := rbd.List(ctx, io)
	if err == nil && c.Has("long") {
		return listLong(ctx, c, io, images, f)
	}
	if err != nil {
		return failed(err, "rbd: listing images failed")
	}
	return c.showNames(f, "images", images)
}
