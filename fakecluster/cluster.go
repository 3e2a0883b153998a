package fakecluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/fakecluster/cls"
	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	opt      options
	log      *slog.Logger
	clock    Clock
	net      network
	ctx      context.Context
	cancel   context.CancelFunc
	unhook   func() bool
	wg       sync.WaitGroup
	ready    chan struct{} // closed when there are maps
	timers   timers
	faults   faults
	backoffs backoffs
	keys     *cephx.KeyServer
	classes  classes
	fsid     denc.UUID
	mons     []*mon
	osds     []*osd
	mgr      *mgr

	view      atomic.Pointer[view]
	history   history
	notifyIDs pg.NotifyIDs

	mu       sync.Mutex // guards the rest
	closed   bool
	sessions map[*monSession]struct{}
	monmap   wire.MonMap
	mgrmap   wire.MgrMap
	osdmap   *osdmap.Map
	groups   map[int64][]*pg.Group
	config   configDB
	// configChanges are those of this run, oldest first.
	configChanges configHistory
	configKeys    keyDB
	services      serviceMap
	clusterLog    []wire.LogEntry

	mirrorSchedules, trashSchedules scheduler
	support                         *support
	election                        election
	told                            map[string]string // options of single daemons, by daemon and name
	mutes                           map[string]mute
	scrubs                          map[osdmap.PG]scrubbed
	perf                            perfStats // locks itself

	crashed   map[*daemon]bool // which daemons ran until they crashed
	holdTrim  bool
	heldTrims []heldTrim
	started   time.Time
}

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
}

// failing is what New also uses of testing.TB, if it is there.
type failing interface {
	Failed() bool
	Logf(format string, args ...any)
}

// New starts a cluster for a test, which ends with it. It fails the test when
// that does not work. When the test fails, the cluster's seed is logged.
func New(tb TB, opts ...Option) *Cluster {
	tb.Helper()
	c, err := Start(context.Background(), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		if l, ok := tb.(failing); ok && l.Failed() {
			l.Logf("fakecluster: seed %d", c.Seed())
		}
	})
	return c
}

// Start starts a cluster. It lives until Close, or until ctx is done.
func Start(ctx context.Context, opts ...Option) (*Cluster, error) { return start(ctx, nil, opts) }

// start starts a cluster, with the state of a saved one when l is not nil.
func start(ctx context.Context, l *loaded, opts []Option) (*Cluster, error) {
	o := options{name: "ceph", osds: 3, mons: 1, release: 20, host: "127.0.0.1", clock: wallClock{}, seed: mathrand.Uint64()}
	if l != nil {
		l.defaults(&o)
	}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if l != nil {
		if err := l.agree(&o); err != nil {
			return nil, err
		}
	}
	if len(o.modes) == 0 {
		o.modes = []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure}
	}
	c := &Cluster{
		opt: o, log: o.logger, clock: o.clock, ready: make(chan struct{}), unhook: func() bool { return false },
		sessions: map[*monSession]struct{}{}, groups: map[int64][]*pg.Group{},
		config: newConfigDB(), configKeys: keyDB{version: 1, keys: map[string]string{}}, services: newServiceMap(),
		classes: classes{cls.Standard(o.release)},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.faults.c = c
	c.mirrorSchedules.object = "rbd_mirror_snapshot_schedule"
	c.trashSchedules.object, c.trashSchedules.trash = "rbd_trash_purge_schedule", true
	c.fsid = c.uuid()
	c.started = c.clock.Now()
	if l != nil {
		c.fsid, c.started = l.shape.fsid, l.shape.started
	}
	c.history.fsid = c.fsid
	c.net = sockets{o.host}
	if o.inProcess {
		c.net = newPipes(netip.AddrFrom4([4]byte{127, 1 + c.random()%250, c.random(), c.random() | 1}))
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.makeKeys()
	if l != nil {
		c.keys.RestoreState(denc.NewReader(l.keys))
	}
	if err := c.startDaemons(l); err != nil {
		c.Close()
		return nil, err
	}
	c.unhook = context.AfterFunc(ctx, c.Close)
	return c, nil
}

func (c *Cluster) random() byte {
	var b [1]byte
	_, _ = rand.Read(b[:])
	return b[0]
}

func (c *Cluster) nonce() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint32(b[:]) | 1
}

func (c *Cluster) uuid() denc.UUID {
	var u denc.UUID
	_, _ = rand.Read(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// startDaemons lets everybody listen and makes the first maps, or those of a
// saved cluster.
func (c *Cluster) startDaemons(l *loaded) error {
	if err := c.listen(l); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.firstElection()
	c.makeMonMap()
	c.makeMgrMap()
	c.support = newSupport(c)
	if l != nil {
		c.monmap.Epoch += l.shape.monmap
		c.mgrmap.Epoch += l.shape.mgrmap
		c.mgrmap.ActiveChange = denc.TimeOf(c.clock.Now())
		c.election.since = c.clock.Now()
		c.restore(l)
	} else {
		c.firstMap()
	}
	for _, p := range c.opt.pools {
		if _, there := c.osdmap.PoolByName(p.name); there && l != nil {
			continue
		}
		if p.erasure {
			if len(c.osds) < 3 {
				return fmt.Errorf("fakecluster: an erasure coded pool wants 3 OSDs: pool %q", p.name)
			}
			c.makeOwnProfile()
		}
		id := c.createPool(newPool{name: p.name, erasure: p.erasure, profile: ownProfile, pgs: p.pgs, app: p.app})
		if p.erasure {
			c.updatePool(id, func(p *osdmap.Pool) { p.Flags |= osdmap.PoolECOverwrites })
		}
	}
	close(c.ready)
	return nil
}

func (c *Cluster) makeMonMap() {
	now := denc.TimeOf(c.started)
	c.monmap = wire.MonMap{
		FSID: c.fsid, Epoch: 1, LastChanged: now, Created: now, Mons: map[string]wire.MonInfo{},
		MinMonRelease: c.release().number, Strategy: 1, PersistentFeatures: 0x3ff, Auth: wire.DefaultMonMapAuth(),
	}
	if c.opt.release >= 20 {
		c.monmap.V = 10
		c.monmap.Auth = wire.MonMapAuth{
			ServiceCipher: int32(c.opt.keyType), AllowedCiphers: []int32{1, 2}, PreferredCipher: int32(c.opt.keyType),
		}
	}
	for _, m := range c.mons {
		c.monmap.Mons[m.id] = wire.MonInfo{Name: m.id, Addrs: m.addrs()}
		c.monmap.Ranks = append(c.monmap.Ranks, m.id)
	}
}

// Close ends the cluster and waits for all its goroutines. It may be called
// more than once.
func (c *Cluster) Close() {
	c.cancel()
	c.unhook()
	c.timers.close()
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		for _, groups := range c.groups {
			for _, g := range groups {
				g.Close()
			}
		}
	}
	c.mu.Unlock()
	for _, d := range c.daemons() {
		d.stop()
	}
	c.wg.Wait()
}

func (c *Cluster) daemons() []*daemon {
	var out []*daemon
	for _, m := range c.mons {
		out = append(out, &m.daemon)
	}
	for _, o := range c.osds {
		out = append(out, &o.daemon)
	}
	if c.mgr != nil {
		out = append(out, &c.mgr.daemon)
	}
	return out
}

// CreatePool makes a replicated pool for RBD and returns its id.
func (c *Cluster) CreatePool(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.createPool(newPool{name: name, pgs: 8, app: "rbd"})
}

// classes makes a registry of object classes what placement groups ask for.
type classes struct{ *cls.Registry }

// Call executes a method.
func (c classes) Call(o *pg.Object, class, method string, in []byte) ([]byte, int32) {
	return c.Registry.Call(o, class, method, in)
}
