package rbdcmd

import (
	"context"
	"errors"
	"maps"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// poolHandlers are the commands about pools, their namespaces and settings.
func poolHandlers() map[string]handler {
	all := map[string]handler{
		"namespace create": namespaceCreate,
		"namespace list":   namespaceList,
		"namespace remove": namespaceRemove,
		"pool init":        poolInit,
		"pool stats":       poolStats,
	}
	maps.Copy(all, configHandlers())
	return all
}

func poolInit(ctx context.Context, c *call) error {
	_, io, err := c.onPool(ctx, poolSpec)
	if err != nil {
		return err
	}
	err = rbd.PoolInit(ctx, io, c.Has("force"))
	switch {
	case errors.Is(err, rados.ErrNotSupported):
		return failed(err, "rbd: luminous or later release required")
	case errors.Is(err, rados.ErrPermission):
		return failed(err, "rbd: pool already registered to a different application")
	case err != nil:
		return failed(err, "rbd: error registered application")
	}
	return nil
}

func poolStats(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, poolSpec)
	if err != nil {
		return err
	}
	st, err := rbd.Stats(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to query stats")
	}
	if f == nil {
		c.printf("Total Images: %d", st.Images)
		if st.Trash > 0 {
			c.printf(" (%d in trash)", st.Trash)
		}
		c.printf("\nTotal Snapshots: %d", st.ImageSnaps)
		if st.Trash > 0 {
			c.printf(" (%d in trash)", st.TrashSnaps)
		}
		c.printf("\nProvisioned Size: %s", cli.ByteSize(st.ImageBytes))
		if st.Trash > 0 {
			c.printf(" (%s in trash)", cli.ByteSize(st.TrashBytes))
		}
		c.printf("\n")
		return nil
	}
	f.OpenObject("stats")
	for _, part := range []struct {
		name                string
		count, bytes, snaps uint64
	}{{"images", st.Images, st.ImageBytes, st.ImageSnaps}, {"trash", st.Trash, st.TrashBytes, st.TrashSnaps}} {
		f.OpenObject(part.name)
		f.Uint("count", part.count)
		f.Uint("provisioned_bytes", part.bytes)
		f.Uint("snap_count", part.snaps)
		f.Close()
	}
	return f.Flush(c.std.Out)
}

// namespaceArg reads the pool and namespace of a command about the namespace.
func (c *call) namespaceArg(ctx context.Context) (*rados.IoCtx, string, error) {
	s, err := poolSpec(c.Invocation)
	if err != nil {
		return nil, "", err
	}
	if s.Namespace == "" {
		return nil, "", invalidf("rbd: namespace name was not specified")
	}
	io, err := c.pool(ctx, spec{Pool: s.Pool})
	return io, s.Namespace, err
}

func namespaceCreate(ctx context.Context, c *call) error {
	io, name, err := c.namespaceArg(ctx)
	if err != nil {
		return err
	}
	if err := rbd.NamespaceCreate(ctx, io, name); err != nil {
		return failed(err, "rbd: failed to created namespace")
	}
	return nil
}

func namespaceRemove(ctx context.Context, c *call) error {
	io, name, err := c.namespaceArg(ctx)
	if err != nil {
		return err
	}
	err = rbd.NamespaceRemove(ctx, io, name)
	switch {
	case errors.Is(err, rados.ErrBusy):
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: namespace contains images which must be deleted first.", Err: err}
	case errors.Is(err, rados.ErrNotFound):
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: namespace does not exist.", Err: err}
	case err != nil:
		return failed(err, "rbd: failed to remove namespace")
	}
	return nil
}

// wholePool is poolSpec for a command about all namespaces.
func wholePool(in *cli.Invocation) (spec, error) {
	s, err := poolSpec(in)
	return spec{Pool: s.Pool}, err
}

func namespaceList(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, wholePool)
	if err != nil {
		return err
	}
	names, err := rbd.NamespaceList(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to list namespaces")
	}
	if f == nil {
		if len(names) == 0 {
			return nil
		}
		var t cli.TextTable
		t.Column("NAME", cli.Left, cli.Left)
		for _, name := range names {
			t.Row(name)
		}
		t.Write(c.std.Out)
		return nil
	}
	f.OpenArray("namespaces")
	for _, name := range names {
		f.OpenObject("namespace")
		f.String("name", name)
		f.Close()
	}
	return f.Flush(c.std.Out)
}
