package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
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
// that it is in that mode already.
func EnablePool(ctx context.Context, io *rados.IoCtx, mode uint32) error {
	have, err := meta.Mode(ctx, io)
	if err != nil {
		return err
	}
	if have == mode {
		return ErrModeSame
	}
	if err := setUUID(ctx, io); err != nil {
		return err
	}
	if err := meta.SetMode(ctx, io, mode); err != nil {
		return err
	}
	return meta.NotifyMode(ctx, io, mode)
}

// setUUID gives the pool or namespace a mirror uuid unless it has one.
func setUUID(ctx context.Context, io *rados.IoCtx) error {
	uuid, err := meta.UUID(ctx, io)
	if err != nil || uuid != "" {
		return err
	}
	return meta.SetUUID(ctx, io, snapshots.NewUUID())
}

// DisablePool ends the mirroring of a pool or namespace. Mirrored images are
// rados.ErrInvalid in image mode, peers rados.ErrBusy.
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
	images, err := meta.Images(ctx, io)
	if err != nil {
		return err
	}
	if len(images) > 0 {
		return fmt.Errorf("%d images are mirrored: disable them first: %w", len(images), rados.ErrInvalid)
	}
	if err := meta.SetMode(ctx, io, wire.MirrorModeDisabled); err != nil {
		return err
	}
	return meta.NotifyMode(ctx, io, wire.MirrorModeDisabled)
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
