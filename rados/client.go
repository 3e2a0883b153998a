package rados

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/mgrc"
	"github.com/rbdm/rbdm/rados/monc"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// Client is one instance of a RADOS client: a global id and a nonce, a session
// with a monitor, one with every OSD in use. It is safe for concurrent use.
type Client struct {
	cfg  *conf.Config
	log  *slog.Logger
	mon  *monc.Client
	mgr  *mgrc.Client
	osds *objecter

	closeOnce sync.Once
}

// Option changes how Connect works.
type Option func(*options)

// Dialer makes a connection to an address.
type Dialer = func(ctx context.Context, addr entity.Addr) (net.Conn, error)

type options struct {
	log      *slog.Logger
	dialer   Dialer
	modes    []msgr2.Mode
	maxBytes int64
	maxOps   int64
}

// WithLogger sets where the client logs; by default nothing is logged.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithDialer sets how connections are made, instead of over TCP.
func WithDialer(dial Dialer) Option { return func(o *options) { o.dialer = dial } }

// WithModes sets the connection modes that are offered to OSDs, best first,
// instead of those that the configuration names (ms_client_mode).
func WithModes(modes ...msgr2.Mode) Option { return func(o *options) { o.modes = modes } }

// WithInflight bounds what is under way to the OSDs at once: bytes of payload
// and number of operations. What exceeds it waits in order. The defaults are
// the options objecter_inflight_op_bytes (100 MiB) and objecter_inflight_ops
// (1024).
func WithInflight(bytes, ops int64) Option {
	return func(o *options) { o.maxBytes, o.maxOps = bytes, ops }
}

// How OSDs and managers that fell silent are noticed.
const (
	keepaliveInterval = 10 * time.Second
	keepaliveTimeout  = 30 * time.Second
)

// Connect authenticates with a monitor, fetches the OSD map and returns a
// client that is ready. ctx bounds the connecting only.
func Connect(ctx context.Context, cfg *conf.Config, opts ...Option) (*Client, error) {
	o := options{log: slog.New(slog.DiscardHandler), maxBytes: cfg.Size("objecter_inflight_op_bytes"), maxOps: cfg.Int("objecter_inflight_ops")}
	for _, f := range opts {
		f(&o)
	}
	if o.modes == nil {
		o.modes = cfg.OSDModes()
	}
	msgr := msgr2.Config{
		Type:     entity.TypeClient,
		Addrs:    entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: newNonce()}},
		Features: Features, Lossy: true, Dialer: o.dialer, Logger: o.log,
	}
	c := &Client{cfg: cfg, log: o.log}
	var err error
	c.mon, err = monc.New(monc.Config{Conf: cfg, Msgr: msgr, Logger: o.log, OnGlobalID: c.gotGlobalID})
	if err != nil {
		return nil, err
	}
	msgr.Modes, msgr.KeepaliveInterval, msgr.KeepaliveTimeout = o.modes, keepaliveInterval, keepaliveTimeout
	mgr := msgr
	mgr.Modes = cfg.MonModes()
	c.mgr = mgrc.New(mgrc.Config{
		Mon: c.mon, Msgr: mgr, Logger: o.log, RetryInterval: cfg.Duration("mgr_connect_retry_interval"),
		CloseTimeout: cfg.Duration("mgr_client_service_daemon_unregister_timeout"),
	})
	d := &osdDials{mon: c.mon, cfg: msgr, timeout: time.Duration(cfg.Int("ms_connection_ready_timeout")) * time.Second}
	c.osds = newObjecter(o.log, c.mon.GlobalID, d.dial, monitorsOf{c.mon}, newThrottle(o.maxBytes, o.maxOps))
	c.osds.barred = func(m *osdmap.Map) bool { return m.IsBlocklisted(c.Addr()) }
	c.mon.Register(wire.TypeOSDMap, c.osds.monMap)
	if err := c.mon.Start(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	c.osds.setFSID(c.mon.FSID())
	c.mon.Subscribe("osdmap", 0, true)
	if err := c.osds.waitMap(ctx, 1); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("waiting for the OSD map: %w", err)
	}
	return c, nil
}

// newNonce returns a random number that is not 0.
func newNonce() uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		if n := binary.LittleEndian.Uint32(b[:]); n != 0 {
			return n
		}
	}
}

// gotGlobalID is told that this client has got another id: OSDs then know it as
// another client, whose watches are not there.
func (c *Client) gotGlobalID(old, id uint64) {
	c.log.Warn("the cluster gave this client another id", "old", old, "new", id)
}

// Close ends everything: operations under way fail with ErrClosed, watches end
// without a callback. It waits for the client's goroutines and must not be
// called from a callback.
func (c *Client) Close() error {
	var err error
	c.closeOnce.Do(func() {
		c.osds.close()
		err = errors.Join(c.mgr.Close(), c.mon.Close())
	})
	return err
}

// GlobalID returns the number that the monitor gave this instance: client.N.
func (c *Client) GlobalID() uint64 { return c.mon.GlobalID() }

// Addr returns our address as the cluster sees it, with the nonce that all
// connections of this instance share.
func (c *Client) Addr() entity.Addr { return c.mon.LocalAddr() }

// FSID returns the cluster's id.
func (c *Client) FSID() denc.UUID { return c.mon.FSID() }

// Config returns what Connect was given.
func (c *Client) Config() *conf.Config { return c.cfg }

// OSDMap returns the newest OSD map that the client has. It is immutable.
func (c *Client) OSDMap() *osdmap.Map { return c.osds.current().m }

// WaitForOSDMap waits until the client has the OSD map of the epoch or a newer
// one.
func (c *Client) WaitForOSDMap(ctx context.Context, epoch uint32) error {
	return c.osds.waitMap(ctx, epoch)
}

// LatestOSDMap asks the monitor which OSD map is the newest and waits for it.
func (c *Client) LatestOSDMap(ctx context.Context) error {
	newest, err := c.osds.mons.NewestOSDMap(ctx)
	if err != nil {
		return err
	}
	return c.osds.waitMap(ctx, newest)
}

// Blocklisted returns a channel that is closed when this instance was found to
// be blocklisted. All its operations fail with ErrBlocklisted then; only a new
// Client can go on.
func (c *Client) Blocklisted() <-chan struct{} { return c.osds.blocklisted }

// monitorsOf is the objecter's view of the monitor client.
type monitorsOf struct{ c *monc.Client }

func (m monitorsOf) WantOSDMap(from uint32, keep bool) {
	m.c.Subscribe("osdmap", uint64(from), !keep)
}

func (m monitorsOf) GotOSDMap(epoch uint32) { m.c.Got("osdmap", uint64(epoch)) }

func (m monitorsOf) Unreadable(err error) { m.c.Unreadable(err) }

func (m monitorsOf) NewestOSDMap(ctx context.Context) (uint32, error) {
	newest, _, err := m.c.GetVersion(ctx, "osdmap")
	return uint32(newest), err
}

// osdDials connects to OSDs with the monitor client's tickets.
type osdDials struct {
	mon     *monc.Client
	cfg     msgr2.Config
	timeout time.Duration // of one attempt; 0: none
}

func (d *osdDials) dial(ctx context.Context, _ int32, addrs entity.AddrVec, l *link) (osdConn, error) {
	cfg := d.cfg
	cfg.Handler = linkHandler{l}
	if d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	conn, err := d.mon.Dial(ctx, entity.TypeOSD, addrs, cfg)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// linkHandler gives a connection's events to its link.
type linkHandler struct{ l *link }

func (h linkHandler) HandleMessage(c *msgr2.Conn, m *msgr2.Message) { h.l.handle(c, m) }

func (h linkHandler) HandleReset(_ *msgr2.Conn, err error) { h.l.lost(err) }
