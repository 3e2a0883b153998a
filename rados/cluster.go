package rados

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/mgrc"
	"github.com/rbdm/rbdm/rados/wire"
)

// PoolInfo is a pool's id and name.
type PoolInfo struct {
	ID   int64
	Name string
}

// LookupPool returns a pool's id. Before it says ErrNotFound it makes sure that
// the OSD map is the newest.
func (c *Client) LookupPool(ctx context.Context, name string) (int64, error) {
	for fresh := false; ; fresh = true {
		if id, ok := c.OSDMap().PoolByName(name); ok {
			return id, nil
		}
		if fresh {
			return 0, fmt.Errorf("pool %q: %w", name, ErrNotFound)
		}
		if err := c.LatestOSDMap(ctx); err != nil {
			return 0, fmt.Errorf("pool %q: %w", name, err)
		}
	}
}

// PoolName returns a pool's name, with the same care as LookupPool.
func (c *Client) PoolName(ctx context.Context, id int64) (string, error) {
	for fresh := false; ; fresh = true {
		if name, ok := c.OSDMap().PoolName(id); ok {
			return name, nil
		}
		if fresh {
			return "", fmt.Errorf("pool %d: %w", id, ErrNotFound)
		}
		if err := c.LatestOSDMap(ctx); err != nil {
			return "", fmt.Errorf("pool %d: %w", id, err)
		}
	}
}

// Pools lists the pools of the newest OSD map, by id.
func (c *Client) Pools(ctx context.Context) ([]PoolInfo, error) {
	if err := c.LatestOSDMap(ctx); err != nil {
		return nil, err
	}
	var pools []PoolInfo
	for id, name := range c.OSDMap().PoolNames {
		pools = append(pools, PoolInfo{id, name})
	}
	slices.SortFunc(pools, func(a, b PoolInfo) int { return int(a.ID - b.ID) })
	return pools, nil
}

// poolOp sends a pool operation and waits for the map that it made.
func (c *Client) poolOp(ctx context.Context, op wire.PoolOp) (wire.PoolOpReply, error) {
	op.Paxos.Version = uint64(c.osds.current().epoch())
	rep, err := c.mon.PoolOp(ctx, op)
	if err != nil {
		return rep, err
	}
	return rep, c.osds.waitMap(ctx, rep.Epoch)
}

// CreatePool creates a replicated pool with the cluster's defaults; ErrExists
// when there is one of that name.
func (c *Client) CreatePool(ctx context.Context, name string) error {
	if _, ok := c.OSDMap().PoolByName(name); ok {
		return fmt.Errorf("create pool %q: %w", name, ErrExists)
	}
	_, err := c.poolOp(ctx, wire.PoolOp{Op: wire.PoolOpCreate, Name: name, CrushRule: -1})
	if err != nil {
		return fmt.Errorf("create pool %q: %w", name, err)
	}
	return nil
}

// DeletePool deletes a pool with all that is in it. The cluster refuses it with
// ErrPermission unless mon_allow_pool_delete is set.
func (c *Client) DeletePool(ctx context.Context, name string) error {
	id, err := c.LookupPool(ctx, name)
	if err != nil {
		return err
	}
	// The name of the operation only has to be there.
	if _, err := c.poolOp(ctx, wire.PoolOp{Op: wire.PoolOpDelete, Pool: uint32(id), Name: "delete"}); err != nil {
		return fmt.Errorf("delete pool %q: %w", name, err)
	}
	return nil
}

// CreateSnapID makes a new self-managed snapshot id in the pool.
func (io *IoCtx) CreateSnapID(ctx context.Context) (uint64, error) {
	rep, err := io.c.poolOp(ctx, wire.PoolOp{Op: wire.PoolOpCreateUnmanagedSnap, Pool: uint32(io.pool)})
	if err != nil {
		return 0, fmt.Errorf("create a snapshot id in pool %d: %w", io.pool, err)
	}
	if len(rep.Data) < 8 {
		return 0, fmt.Errorf("create a snapshot id in pool %d: answer has %d bytes", io.pool, len(rep.Data))
	}
	return binary.LittleEndian.Uint64(rep.Data), nil
}

// RemoveSnapID gives a snapshot id back; the OSDs trim its clones.
func (io *IoCtx) RemoveSnapID(ctx context.Context, id uint64) error {
	_, err := io.c.poolOp(ctx, wire.PoolOp{Op: wire.PoolOpDeleteUnmanagedSnap, Pool: uint32(io.pool), SnapID: id})
	if err != nil {
		return fmt.Errorf("remove snapshot id %d in pool %d: %w", id, io.pool, err)
	}
	return nil
}

// MonCommand sends a command, marshalled to JSON, to the monitors. It returns
// the output and the status line, both also when err is an Errno. A command may
// be sent twice when the monitor is lost meanwhile.
func (c *Client) MonCommand(ctx context.Context, cmd any, in []byte) (out []byte, status string, err error) {
	return c.mon.Command(ctx, cmd, in)
}

// MgrCommand is MonCommand to the active manager.
func (c *Client) MgrCommand(ctx context.Context, cmd any, in []byte) (out []byte, status string, err error) {
	return c.mgr.Command(ctx, cmd, in)
}

// blocklistCommand is the monitor's command.
type blocklistCommand struct {
	Prefix string `json:"prefix"`
	Op     string `json:"blocklistop"`
	Addr   string `json:"addr"`
	// Expire is in seconds and must be written with a decimal point.
	Expire json.Number `json:"expire,omitempty"`
}

// Blocklist bars a client instance from the cluster's OSDs for a time; 0 means
// the cluster's default (an hour). When it returned, all OSDs that this client
// sends to from then on know of it.
func (c *Client) Blocklist(ctx context.Context, addr entity.Addr, expire time.Duration) error {
	text := strings.TrimPrefix(addr.WithType(entity.AddrAny).String(), "any:")
	cmd := blocklistCommand{Prefix: "osd blocklist", Op: "add", Addr: text}
	if expire > 0 {
		cmd.Expire = json.Number(strconv.FormatFloat(expire.Seconds(), 'f', 1, 64))
	}
	if _, status, err := c.MonCommand(ctx, cmd, nil); err != nil {
		return fmt.Errorf("blocklist %s: %w (%s)", text, err, status)
	}
	return c.LatestOSDMap(ctx)
}

// Service is this client's registration as a service daemon with the manager,
// which is what makes it appear in "ceph -s".
type Service struct{ s *mgrc.Service }

// RegisterService registers this client as a daemon of a service, as rbd-mirror
// is one, with metadata. It stays registered, over lost managers too, until
// Close.
func (c *Client) RegisterService(_ context.Context, service, daemon string, meta map[string]string) (*Service, error) {
	s, err := c.mgr.RegisterService(service, daemon, meta)
	if err != nil {
		return nil, err
	}
	return &Service{s}, nil
}

// SetStatus replaces the daemon's status, which is sent with the next report.
func (s *Service) SetStatus(status map[string]string) { s.s.SetStatus(status) }

// Close removes the daemon from the service map.
func (s *Service) Close() error {
	s.s.Close()
	return nil
}
