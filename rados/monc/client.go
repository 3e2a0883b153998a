package monc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/wire"
)

// Config is what a Client is made of. Conf is required.
type Config struct {
	Conf *conf.Config
	// Msgr is used for every connection: our addresses with the instance's
	// nonce, features, dialler, logger. Modes, handler, lossiness and keepalive
	// are set by the Client.
	Msgr msgr2.Config
	// Services is the mask of services to have tickets for; 0 means
	// cephx.Services.
	Services entity.Type
	// NoMonConfig says not to take the central configuration.
	NoMonConfig bool
	// Resolver looks up monitors' names; nil means DNS.
	Resolver conf.Resolver
	// OnConfig is told which options the central configuration changed. It runs
	// on the connection's goroutine and must not block.
	OnConfig func(changed []string)
	// OnGlobalID is told when the cluster gave this client another id, because
	// it did not accept the old one's ticket any more. It must not block.
	OnGlobalID func(old, id uint64)
	// Clock is the time by which tickets expire; nil means time.Now.
	Clock func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// Client keeps one session with one of the monitors. It is safe for concurrent
// use.
type Client struct {
	cfg     Config
	log     *slog.Logger
	auth    *cephx.Client
	methods []uint32

	handlers map[uint16]func(*msgr2.Message) error // fixed before Start
	tap      func(*msgr2.Message)                  // sees every message in tests; fixed before Start

	stop     context.CancelFunc
	stopped  <-chan struct{} // the context that stop cancels
	finished chan struct{}   // the owner goroutine has ended
	kick     chan struct{}   // wakes the owner of the session: tickets are due

	mu         sync.Mutex
	started    bool         // guarded by mu, as all below
	session    *session     // nil while hunting
	monmap     *wire.MonMap // nil before the first
	mons       []conf.Mon   // where to start from
	lastMon    entity.Addr  // the one that died last
	avoid      entity.Addr  // the one that sent what could not be read last
	multiple   float64      // of the hunting interval
	noneID     uint64       // our id under authentication "none"
	useNone    bool         // the cluster wants "none"
	lastID     uint64       // our id in the last session
	local      entity.Addr  // our address as the monitor sees it
	subs       map[string]*subscription
	calls      map[uint64]*call
	lastTID    uint64
	changed    chan struct{} // closed and replaced on every change of state
	haveConfig bool
	fatal      error         // why there is no session and will not be one soon
	lastErr    error         // of the last hunt
	garbage    msgr2.Garbage // sessions that ended by it
}

// New returns a Client that is not started.
func New(cfg Config) (*Client, error) {
	methods, err := cfg.Conf.AuthMethods()
	if err != nil {
		return nil, err
	}
	cfg.NoMonConfig = cfg.NoMonConfig || cfg.Conf.NoMonConfig()
	if cfg.Services == 0 {
		cfg.Services = cephx.Services
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	c := &Client{
		cfg: cfg, log: log, methods: methods,
		auth:     cephx.NewClient(cfg.Conf.Name(), cfg.Conf.Key, cephx.WithServices(cfg.Services), cephx.WithClock(cfg.Clock)),
		handlers: map[uint16]func(*msgr2.Message) error{},
		finished: make(chan struct{}), kick: make(chan struct{}, 1),
		multiple: 1, subs: map[string]*subscription{}, calls: map[uint64]*call{}, changed: make(chan struct{}),
	}
	c.subs["monmap"] = &subscription{}
	if !cfg.NoMonConfig {
		c.subs["config"] = &subscription{}
	}
	return c, nil
}

// Register makes f get every pushed message of a type, such as OSD maps. It
// must be called before Start. f runs on the connection's goroutine, in order,
// and must not block; the message is f's. When f fails the message could not be read,
// which ends the session.
func (c *Client) Register(typ uint16, f func(*msgr2.Message) error) { c.handlers[typ] = f }

// Unreadable ends the session because of a message that came from a registered
// function's monitor and turned out later to be unreadable.
func (c *Client) Unreadable(err error) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		s.unreadable(err)
	}
}

// Start finds a monitor and waits for its map and the central configuration.
// ctx and the option client_mount_timeout bound the wait only. A refusal by the monitor, or a configuration that names none, ends
// it at once. After an error the Client is closed. errors.Is finds in the error
// the number with which Ceph's commands exit then.
func (c *Client) Start(ctx context.Context) error { return numbered(c.start(ctx)) }

func (c *Client) start(ctx context.Context) error {
	if d := c.cfg.Conf.Duration("client_mount_timeout"); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	mons, err := c.cfg.Conf.Mons(ctx, c.cfg.Resolver)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.started {
		c.mu.Unlock()
		return errors.New("monitor client was started before")
	}
	c.started = true
	c.mons = mons
	run, stop := context.WithCancel(context.Background())
	c.stop, c.stopped = stop, run.Done()
	c.mu.Unlock()
	go c.run(run)

	err = c.wait(ctx, func() (bool, error) {
		if c.fatal != nil {
			return false, c.fatal
		}
		return c.session != nil && c.monmap != nil && (c.haveConfig || c.cfg.NoMonConfig), nil
	})
	if err != nil {
		if ctx.Err() != nil {
			err = c.unreachable(err)
		}
		_ = c.Close()
		return err
	}
	return nil
}

// unreachable adds to err why the last hunt failed.
func (c *Client) unreachable(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastErr != nil {
		return fmt.Errorf("%w: %w (%w)", ErrUnreachable, c.lastErr, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Close ends the session; calls under way fail with ErrClosed. It waits for the
// Client's goroutines.
func (c *Client) Close() error {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		stop()
		<-c.finished
	}
	return nil
}

// wait blocks until ready says so, which runs with mu held after every change
// of state.
func (c *Client) wait(ctx context.Context, ready func() (bool, error)) error {
	for {
		c.mu.Lock()
		ok, err := ready()
		changed := c.changed
		c.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.stopped:
			return ErrClosed
		}
	}
}

// touch wakes all waiters. The caller holds mu.
func (c *Client) touch() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// run owns the life of the sessions.
func (c *Client) run(ctx context.Context) {
	defer close(c.finished)
	defer c.failCalls(ErrClosed)
	for ctx.Err() == nil {
		s, err := c.hunt(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.huntFailed(ctx, err)
			}
			continue
		}
		c.begin(s)
		err = s.serve(ctx)
		c.end(s, err)
		if errors.Is(err, errUnreadable) {
			c.sawGarbage(ctx, s, err)
		}
	}
}

// huntFailed notes why a hunt failed, and pauses before the next one.
func (c *Client) huntFailed(ctx context.Context, err error) {
	c.log.Warn("no monitor session", "err", err)
	final := errors.Is(err, cephx.ErrDenied) || errors.Is(err, cephx.ErrPeer) || isConfError(err)
	c.mu.Lock()
	c.lastErr = err
	if final {
		c.fatal = err
	}
	backoff := c.cfg.Conf.Float("mon_client_hunt_interval_backoff")
	c.multiple = min(c.multiple*max(backoff, 1), c.cfg.Conf.Float("mon_client_hunt_interval_max_multiple"))
	pause := time.Duration(float64(c.cfg.Conf.Duration("ms_initial_backoff")) * c.multiple)
	c.touch()
	c.mu.Unlock()
	if final {
		c.failCalls(err)
	}
	t := time.NewTimer(max(pause, time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

var (
	// errUnreadable ends a session whose monitor sent what cannot be read.
	errUnreadable = errors.New("unreadable message")
	// errAnswer is one that was for a call, which counts it.
	errAnswer = errors.New("answer")
)

// sawGarbage pauses after a session that ended by errUnreadable. When there were too
// many in a row, and it is no matter of one call, everybody who waits is told.
func (c *Client) sawGarbage(ctx context.Context, s *session, err error) {
	tooMany := c.garbage.Add() && !errors.Is(err, errAnswer)
	c.mu.Lock()
	c.avoid, c.lastErr = s.target.Addr, err
	if tooMany {
		err = fmt.Errorf("%w: %w", msgr2.ErrGarbage, err)
		c.fatal = err // until a monitor lets us in
	}
	c.touch()
	c.mu.Unlock()
	if tooMany {
		c.failCalls(err)
	}
	t := time.NewTimer(c.garbage.Pause())
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// isConfError reports whether err is about our own key, which no monitor can
// help with.
func isConfError(err error) bool {
	return errors.Is(err, conf.ErrKey) || errors.Is(err, cephx.ErrBadKey)
}

// GlobalID returns the id that the monitors gave this client, 0 before Start.
func (c *Client) GlobalID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.globalID()
}

func (c *Client) globalID() uint64 {
	if c.useNone {
		return c.noneID
	}
	return c.auth.GlobalID()
}

// MonMap returns the newest monitor map, nil before Start. It must not be
// changed.
func (c *Client) MonMap() *wire.MonMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.monmap
}

// FSID returns the cluster's id, zero before Start.
func (c *Client) FSID() denc.UUID {
	if m := c.MonMap(); m != nil {
		return m.FSID
	}
	return denc.UUID{}
}

// LocalAddr returns our address as the monitor sees it, with our nonce.
func (c *Client) LocalAddr() entity.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// Current returns the address of the monitor that the session is with; blank
// while there is none.
func (c *Client) Current() entity.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return entity.Addr{}
	}
	return c.session.target.Addr
}

// Dialer makes a connection to an address.
type Dialer func(ctx context.Context, addr entity.Addr) (net.Conn, error)
