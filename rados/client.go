package rados

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Config is what a client is configured by; it becomes *conf.Config.
type Config = any

// Client is one instance of a RADOS client: a global id and a nonce, a session
// with a monitor, one with every OSD in use. It is safe for concurrent use.
type Client struct {
	cfg Config
	log *slog.Logger
}

// Option changes how Connect works.
type Option func(*options)

type options struct {
	log      *slog.Logger
	dialer   func(ctx context.Context, addr entity.Addr) (net.Conn, error)
	maxBytes int64
	maxOps   int64
}

// WithLogger sets where the client logs; by default nothing is logged.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithDialer sets how connections are made, instead of over TCP.
func WithDialer(dial func(ctx context.Context, addr entity.Addr) (net.Conn, error)) Option {
	return func(o *options) { o.dialer = dial }
}

// WithInflight bounds what is under way to the OSDs at once: bytes of payload
// and number of operations. What exceeds it waits in order. The defaults are
// those of objecter_inflight_op_bytes (100 MiB) and objecter_inflight_ops
// (24576).
func WithInflight(bytes, ops int64) Option {
	return func(o *options) { o.maxBytes, o.maxOps = bytes, ops }
}

// Connect authenticates with a monitor, fetches the OSD map and returns a
// client that is ready. ctx bounds the connecting only.
func Connect(ctx context.Context, cfg Config, opts ...Option) (*Client, error) {
	return nil, ErrClosed
}

// Close ends everything: operations under way fail with ErrClosed, watches end
// without a callback. It waits for the client's goroutines and must not be
// called from a callback.
func (c *Client) Close() error { return nil }

// GlobalID returns the number that the monitor gave this instance: client.N.
func (c *Client) GlobalID() uint64 { return 0 }

// Addr returns our address as the cluster sees it, with the nonce that all
// connections of this instance share.
func (c *Client) Addr() entity.Addr { return entity.Addr{} }

// FSID returns the cluster's id.
func (c *Client) FSID() denc.UUID { return denc.UUID{} }

// Config returns what Connect was given.
func (c *Client) Config() Config { return c.cfg }

// WaitForOSDMap waits until the client has the OSD map of the epoch or a newer
// one.
func (c *Client) WaitForOSDMap(ctx context.Context, epoch uint32) error { return ErrClosed }

// LatestOSDMap asks the monitor which OSD map is the newest and waits for it.
func (c *Client) LatestOSDMap(ctx context.Context) error { return ErrClosed }

// PoolInfo is a pool's id and name.
type PoolInfo struct {
	ID   int64
	Name string
}

// LookupPool returns a pool's id. Before it says ErrNotFound it makes sure that
// the OSD map is the newest.
func (c *Client) LookupPool(ctx context.Context, name string) (int64, error) { return 0, ErrClosed }

// PoolName returns a pool's name, with the same care as LookupPool.
func (c *Client) PoolName(ctx context.Context, id int64) (string, error) { return "", ErrClosed }

// Pools lists the pools of the newest OSD map, by id.
func (c *Client) Pools(ctx context.Context) ([]PoolInfo, error) { return nil, ErrClosed }

// CreatePool creates a replicated pool with the cluster's defaults; ErrExists
// when there is one of that name.
func (c *Client) CreatePool(ctx context.Context, name string) error { return ErrClosed }

// DeletePool deletes a pool with all that is in it. The cluster refuses it with
// ErrPermission unless mon_allow_pool_delete is set.
func (c *Client) DeletePool(ctx context.Context, name string) error { return ErrClosed }

// MonCommand sends a command, marshalled to JSON, to the monitors. It returns
// the output and the status line, both also when err is an Errno. A command may
// be sent twice when the monitor is lost meanwhile.
func (c *Client) MonCommand(ctx context.Context, cmd any, in []byte) (out []byte, status string, err error) {
	return nil, "", ErrClosed
}

// MgrCommand is MonCommand to the active manager.
func (c *Client) MgrCommand(ctx context.Context, cmd any, in []byte) (out []byte, status string, err error) {
	return nil, "", ErrClosed
}

// Blocklist bars a client instance from the cluster's OSDs for a time; 0 means
// the cluster's default (an hour). When it returned, all OSDs that this client
// sends to from then on know of it.
func (c *Client) Blocklist(ctx context.Context, addr entity.Addr, expire time.Duration) error {
	return ErrClosed
}

// Blocklisted returns a channel that is closed when this instance was found to
// be blocklisted. All its operations fail with ErrBlocklisted then; only a new
// Client can go on.
func (c *Client) Blocklisted() <-chan struct{} { return nil }

// Service is this client's registration as a service daemon with the manager,
// which is what makes it appear in "ceph -s".
type Service struct{}

// RegisterService registers this client as a daemon of a service, as rbd-mirror
// is one, with metadata. It stays registered, over lost managers too, until
// Close.
func (c *Client) RegisterService(ctx context.Context, service, daemon string, meta map[string]string) (*Service, error) {
	return nil, ErrClosed
}

// SetStatus replaces the daemon's status, which is sent with the next report.
func (s *Service) SetStatus(status map[string]string) {}

// Close removes the daemon from the service map.
func (s *Service) Close() error { return nil }
