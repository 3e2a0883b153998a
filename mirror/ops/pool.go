package ops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// The config-key entries that mirroring keeps.
const (
	siteNameKey   = "rbd/mirror/site_name"
	peerClientKey = "rbd/mirror/peer_client_id"
)

// ErrModeSame: the pool is in the wanted mode already.
var ErrModeSame = errors.New("mirroring is already configured for this mode")

// EnablePool sets the mirroring mode of a pool or namespace. ErrModeSame says
// that it is in that mode already. In mode pool all images with a journal are
// mirrored at once; when that fails for one, the pool is in mode image.
func EnablePool(ctx context.Context, io *rados.IoCtx, mode uint32) error {
	have, err := meta.Mode(ctx, io)
	if err != nil {
		return err
	}
	switch {
	case have == mode:
		return ErrModeSame
	case mode == wire.MirrorModeInitOnly && io.Namespace() != "":
		return fmt.Errorf("init-only mode cannot be set on a namespace: %w", rados.ErrInvalid)
	}
	if err := setUUID(ctx, io); err != nil {
		return err
	}
	return changeMode(ctx, io, have, mode)
}

// changeMode goes from one mode to another (src/librbd/api/Mirror.cc, mode_set):
// all ways lead through mode image, in which images can be changed one by one.
func changeMode(ctx context.Context, io *rados.IoCtx, from, to uint32) error {
	if from != wire.MirrorModeImage {
		if err := setMode(ctx, io, wire.MirrorModeImage); err != nil {
			return err
		}
	}
	var err error
	switch {
	case to == wire.MirrorModeImage:
		return nil
	case to == wire.MirrorModePool:
		err = enableAll(ctx, io)
	case from == wire.MirrorModeImage:
		err = noneEnabled(ctx, io)
	default:
		err = disableAll(ctx, io)
	}
	if err != nil {
		return err
	}
	return setMode(ctx, io, to)
}

func setMode(ctx context.Context, io *rados.IoCtx, mode uint32) error {
	if err := meta.SetMode(ctx, io, mode); err != nil {
		return err
	}
	return meta.NotifyMode(ctx, io, mode)
}

// enableAll makes all images with a journal mirrored ones.
func enableAll(ctx context.Context, io *rados.IoCtx) error {
	images, err := rbd.List(ctx, io)
	if err != nil {
		return err
	}
	for _, i := range images {
		img, err := rbd.OpenByID(ctx, io, i.ID, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
		if err == nil {
			journaled := img.Features()&rbd.FeatureJournaling != 0
			if err = img.Close(ctx); err == nil && journaled {
				err = enableJournal(ctx, io, i.ID, parentLater)
			}
		}
		if err != nil {
			return fmt.Errorf("error enabling mirroring for image %s: %w", i.Name, err)
		}
	}
	return nil
}

// noneEnabled refuses to leave mode image while images are mirrored.
func noneEnabled(ctx context.Context, io *rados.IoCtx) error {
	images, err := meta.Images(ctx, io)
	if err != nil {
		return err
	}
	for id := range images {
		m, err := meta.Image(ctx, io, id)
		if err != nil && !notFound(err) {
			return err
		}
		if err == nil && m.State == wire.MirrorImageEnabled {
			return fmt.Errorf("failed to disable mirror mode: there are still images with mirroring enabled: %w", rados.ErrInvalid)
		}
	}
	return nil
}

// disableAll ends the mirroring of all images of a pool. Parents are busy until
// their clones are done with.
func disableAll(ctx context.Context, io *rados.IoCtx) error {
	for {
		images, err := meta.Images(ctx, io)
		if err != nil {
			return err
		}
		var busy error
		ended := false
		for _, id := range slices.Sorted(maps.Keys(images)) {
			err := DisableImage(ctx, io, id, false)
			switch {
			case errors.Is(err, rados.ErrBusy):
				busy = fmt.Errorf("error disabling mirroring for image id %s: %w", id, err)
			case err != nil && !errors.Is(err, ErrJournalStays):
				return fmt.Errorf("error disabling mirroring for image id %s: %w", id, err)
			default:
				ended = true
			}
		}
		if busy == nil || !ended {
			return busy
		}
	}
}

// setUUID gives the pool or namespace a mirror uuid unless it has one.
func setUUID(ctx context.Context, io *rados.IoCtx) error {
	uuid, err := meta.UUID(ctx, io)
	if err != nil || uuid != "" {
		return err
	}
	return meta.SetUUID(ctx, io, snapshots.NewUUID())
}

// DisablePool ends the mirroring of a pool or namespace: that of all its images
// in mode pool, while in mode image mirrored images are rados.ErrInvalid. Peers
// are rados.ErrBusy.
func DisablePool(ctx context.Context, io *rados.IoCtx) error {
	mode, err := meta.Mode(ctx, io)
	if err != nil {
		return err
	}
	if mode == wire.MirrorModeDisabled {
		return ErrModeSame
	}
	if io.Namespace() == "" {
		peers, err := meta.Peers(ctx, io)
		if err != nil {
			return err
		}
		if len(peers) > 0 {
			return fmt.Errorf("mirror peers still registered: %w", rados.ErrBusy)
		}
	}
	return changeMode(ctx, io, mode, wire.MirrorModeDisabled)
}

// SiteName returns the name under which peers know the cluster: its fsid unless
// it was given one.
func SiteName(ctx context.Context, c *rados.Client) (string, error) {
	out, err := configKeyGet(ctx, c, siteNameKey)
	if out == "" && err == nil {
		return c.FSID().String(), nil
	}
	return out, err
}

// SetSiteName gives the cluster a name; "" returns to the fsid.
func SetSiteName(ctx context.Context, c *rados.Client, name string) error {
	if name == "" {
		return configKeyRemove(ctx, c, siteNameKey)
	}
	return configKeySet(ctx, c, siteNameKey, name)
}

// configKeyGet returns an entry's value, "" without one.
func configKeyGet(ctx context.Context, c *rados.Client, key string) (string, error) {
	out, _, err := c.MonCommand(ctx, map[string]any{"prefix": "config-key get", "key": key}, nil)
	if notFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("config key %s: %w", key, err)
	}
	return string(out), nil
}

func configKeySet(ctx context.Context, c *rados.Client, key, value string) error {
	_, _, err := c.MonCommand(ctx, map[string]any{"prefix": "config-key set", "key": key}, []byte(value))
	if err != nil {
		return fmt.Errorf("config key %s: %w", key, err)
	}
	return nil
}

func configKeyRemove(ctx context.Context, c *rados.Client, key string) error {
	_, _, err := c.MonCommand(ctx, map[string]any{"prefix": "config-key rm", "key": key}, nil)
	if err != nil && !notFound(err) {
		return fmt.Errorf("config key %s: %w", key, err)
	}
	return nil
}
