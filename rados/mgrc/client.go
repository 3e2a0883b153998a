package mgrc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/monc"
	"github.com/rbdm/rbdm/rados/wire"
)

// ErrClosed says that the Client was closed.
var ErrClosed = errors.New("manager client is closed")

// Config is what a Client is made of. Mon is required.
type Config struct {
	// Mon gives the manager map and the tickets.
	Mon *monc.Client
	// Msgr is used for every connection: our addresses with the instance's
	// nonce, features, dialler, logger, modes, keepalive. Handler and lossiness
	// are set by the Client.
	Msgr msgr2.Config
	// RetryInterval is the pause between attempts to connect
	// (mgr_connect_retry_interval); 0 means 1 s.
	RetryInterval time.Duration
	// CloseTimeout bounds the wait for the manager's farewell
	// (mgr_client_service_daemon_unregister_timeout); 0 means 1 s.
	CloseTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Client talks to the active manager. It is safe for concurrent use.
type Client struct {
	cfg Config
	log *slog.Logger

	stop     context.CancelFunc
	stopped  <-chan struct{}      // the context that stop cancels
	tap      func(*msgr2.Message) // sees every message in tests
	finished chan struct{}
	wake     chan struct{} // tells the owner that there is demand or news

	mu      sync.Mutex
	follow  bool         // guarded by mu, as all below: subscribed to the map
	mgrMap  *wire.MgrMap // nil before the first
	conn    *msgr2.Conn  // nil without a session
	peer    uint64       // global id of the manager that conn is to
	calls   map[uint64]*call
	lastTID uint64
	service *Service
}

// New returns a Client and registers it with cfg.Mon, which must not have been
// started yet. It connects to nothing before it is used.
func New(cfg Config) *Client {
	if cfg.RetryInterval == 0 {
		cfg.RetryInterval = time.Second
	}
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = time.Second
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, log: log, finished: make(chan struct{}), wake: make(chan struct{}, 1), calls: map[uint64]*call{}}
	ctx, stop := context.WithCancel(context.Background())
	c.stop, c.stopped = stop, ctx.Done()
	cfg.Mon.Register(wire.TypeMgrMap, c.handleMap)
	go c.run(ctx)
	return c
}

// Close says farewell for a service daemon, ends the session and waits for the
// Client's goroutines. Calls under way fail with ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	s := c.service
	c.mu.Unlock()
	if s != nil {
		s.Close()
	}
	c.stop()
	<-c.finished
	return nil
}

// Map returns the newest manager map, nil if none came yet. It must not be
// changed.
func (c *Client) Map() *wire.MgrMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mgrMap
}

// demand makes the Client follow the manager map and connect. The caller holds
// mu.
func (c *Client) demand() {
	if !c.follow {
		c.follow = true
		c.cfg.Mon.Subscribe("mgrmap", 0, false)
	}
	c.signal()
}

func (c *Client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// handleMap takes a manager map from the monitor. It fails when that cannot be read.
func (c *Client) handleMap(m *msgr2.Message) error {
	var f wire.MgrMapMessage
	err := wire.Decode(&f, m.Front)
	m.Release()
	if err != nil {
		return fmt.Errorf("manager map: %w", err)
	}
	c.cfg.Mon.Got("mgrmap", uint64(f.Map.Epoch))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mgrMap == nil || f.Map.Epoch > c.mgrMap.Epoch {
		c.mgrMap = &f.Map
		c.signal()
	}
	return nil
}

// target returns the manager to be connected to; ok is false when there is none
// or no need for one.
func (c *Client) target() (addrs entity.AddrVec, gid uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) == 0 && c.service == nil && c.conn == nil {
		return nil, 0, false
	}
	m := c.mgrMap
	if m == nil || !m.Available || m.ActiveGID == 0 || len(m.ActiveAddrs) == 0 {
		return nil, 0, false
	}
	return m.ActiveAddrs, m.ActiveGID, true
}

// run owns the session: it connects when there is demand, goes over to another
// manager when the map says so, and sends reports.
func (c *Client) run(ctx context.Context) {
	defer close(c.finished)
	var s *session
	defer func() {
		c.drop(s)
		c.fail(ErrClosed)
	}()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		var dead <-chan struct{}
		var report <-chan time.Time
		if s != nil {
			dead, report = s.dead, s.report.C
		}
		select {
		case <-ctx.Done():
			return
		case <-dead:
			c.log.Info("manager session lost", "mgr", s.gid)
			c.drop(s)
			s = nil
			retry.Reset(c.cfg.RetryInterval)
			continue
		case <-report:
			c.sendReport(s)
			continue
		case <-c.wake:
		case <-retry.C:
		}
		_, gid, ok := c.target()
		if s != nil && (!ok || gid != s.gid) {
			c.drop(s)
			s = nil
		}
		if s == nil && ok {
			var err error
			if s, err = c.connect(ctx); err != nil {
				c.log.Warn("no manager session", "err", err)
				retry.Reset(c.cfg.RetryInterval)
			}
		}
	}
}

// session is one connection to a manager. It is msgr2's handler for it.
type session struct {
	client *Client
	gid    uint64
	conn   *msgr2.Conn
	dead   chan struct{}
	once   sync.Once
	report *time.Ticker // fires when a report is due; owned by run
}

// never is a period longer than any session.
const never = 1 << 62 * time.Nanosecond

// connectTimeout bounds one attempt to connect.
const connectTimeout = 20 * time.Second

// connect makes a session and sends what waits for one.
func (c *Client) connect(ctx context.Context) (*session, error) {
	addrs, gid, ok := c.target()
	if !ok {
		return nil, errors.New("no active manager")
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s := &session{client: c, gid: gid, dead: make(chan struct{}), report: time.NewTicker(never)}
	cfg := c.cfg.Msgr
	cfg.Lossy = true
	cfg.Handler = s
	conn, err := c.cfg.Mon.Dial(ctx, entity.TypeMgr, addrs, cfg)
	if err != nil {
		s.report.Stop()
		return nil, fmt.Errorf("manager %s: %w", addrs, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.conn = conn
	c.conn, c.peer = conn, gid
	c.log.Info("manager session", "mgr", gid, "addr", addrs)
	if c.service != nil {
		c.service.reopen(conn)
	}
	for _, k := range slices.SortedFunc(values(c.calls), func(a, b *call) int { return cmp.Compare(a.tid, b.tid) }) {
		_ = conn.Send(k.message())
	}
	return s, nil
}

func values[K comparable, V any](m map[K]V) func(yield func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// drop takes a session down; s may be nil.
func (c *Client) drop(s *session) {
	if s == nil {
		return
	}
	s.report.Stop()
	c.mu.Lock()
	if c.conn == s.conn {
		c.conn = nil
	}
	c.mu.Unlock()
	_ = s.conn.Close()
}

// HandleReset implements msgr2.Handler.
func (s *session) HandleReset(*msgr2.Conn, error) { s.once.Do(func() { close(s.dead) }) }

// HandleMessage implements msgr2.Handler.
func (s *session) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) {
	defer m.Release()
	if s.client.tap != nil {
		s.client.tap(m)
	}
	if err := s.dispatch(m); err != nil {
		s.client.log.Warn("unreadable message from the manager", "type", m.Type, "err", err)
		s.client.charge(m.TID, fmt.Errorf("message of type %d: %w", m.Type, err))
		s.HandleReset(nil, err)
	}
}

func (s *session) dispatch(m *msgr2.Message) error {
	switch m.Type {
	case wire.TypeMgrCommandReply, wire.TypeCommandReply:
		return s.client.handleReply(m)
	case wire.TypeMgrConfigure:
		var f wire.MgrConfigure
		if err := wire.Decode(&f, m.Front); err != nil {
			return err
		}
		s.configure(f)
	case wire.TypeMgrClose:
		s.client.farewell()
	}
	return nil
}
