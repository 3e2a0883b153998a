package rbdcmd

import (
	"context"
	"errors"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// parentNames is a clone's parent in the words in which users know it.
type parentNames struct {
	pool, namespace, image, id, snap string
	trash                            bool
}

func (p *parentNames) String() string {
	return spec{Pool: p.pool, Namespace: p.namespace, Image: p.image, Snap: p.snap}.String()
}

// object starts an object with the fields that all commands print.
func (p *parentNames) object(f *cli.Formatter) {
	f.OpenObject("parent")
	f.String("pool", p.pool)
	f.String("pool_namespace", p.namespace)
	f.String("image", p.image)
	if p.id != "" {
		f.String("id", p.id)
	}
	f.String("snapshot", p.snap)
}

// fullParent is namesOfParent with the image's id, which `rbd info` prints.
func fullParent(ctx context.Context, io *rados.IoCtx, p *rbd.Parent) (*parentNames, error) {
	names, err := namesOfParent(ctx, io, p)
	if names != nil {
		names.id = p.ImageID
	}
	return names, err
}

// namesOfParent looks the names of a parent up; nil if there is none.
func namesOfParent(ctx context.Context, io *rados.IoCtx, p *rbd.Parent) (*parentNames, error) {
	if p == nil {
		return nil, nil
	}
	pool, err := io.Client().PoolName(ctx, p.Pool)
	if err != nil {
		return nil, err
	}
	names := &parentNames{pool: pool, namespace: p.PoolNamespace}
	pio := io.Client().IoCtx(p.Pool).WithNamespace(p.PoolNamespace)
	if names.image, err = rbd.LookupName(ctx, pio, p.ImageID); errors.Is(err, rados.ErrNotFound) {
		var entry rbd.TrashEntry
		entry, err = rbd.TrashGet(ctx, pio, p.ImageID)
		names.image, names.trash = entry.Name, true
	}
	if err != nil {
		return nil, err
	}
	img, err := rbd.OpenByID(ctx, pio, p.ImageID, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return nil, err
	}
	defer closeImage(img, &err)
	if s, ok := img.Snapshot(p.SnapID); ok {
		names.snap = s.Name
	}
	return names, err
}
