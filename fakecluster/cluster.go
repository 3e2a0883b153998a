package fakecluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/fakecluster/cls"
	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
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

	mu         sync.Mutex // guards the rest
	closed     bool
	sessions   map[*monSession]struct{}
	monmap     wire.MonMap
	mgrmap     wire.MgrMap
	osdmap     *osdmap.Map
	groups     map[int64][]*pg.Group
	config     configDB
	configKeys keyDB
	services   serviceMap
	clusterLog []wire.LogEntry

	mirrorSchedules, trashSchedules scheduler
	support                         *support
	election                        election
	told                            map[string]string // options of single daemons, by daemon and name
	perf                            perfStats         // locks itself

	crashed   map[*daemon]bool // which daemons ran when the cluster crashed
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

// makeKeys makes the keys of a new cluster.
func (c *Cluster) makeKeys() {
	all := map[string]string{"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"}
	ring := cephx.Keyring{
		{Type: entity.TypeClient, ID: "admin"}: {Key: cephx.NewKey(c.opt.keyType), Caps: all},
		{Type: entity.TypeMgr, ID: "x"}: {Key: cephx.NewKey(c.opt.keyType), Caps: map[string]string{
			"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *",
		}},
	}
	for i := range c.opt.osds {
		ring[entity.AuthName{Type: entity.TypeOSD, ID: fmt.Sprint(i)}] = cephx.Entry{
			Key: cephx.NewKey(c.opt.keyType), Caps: map[string]string{"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
		}
	}
	service := cephx.KeyAES
	if c.opt.release >= 20 {
		service = c.opt.keyType
	}
	allowed := []cephx.KeyType{cephx.KeyAES}
	if c.opt.release >= 20 {
		allowed = append(allowed, cephx.KeyAES256K)
	}
	c.keys = cephx.NewKeyServer(ring, cephx.WithServerClock(c.clock.Now), cephx.WithCiphers(service, allowed...),
		cephx.WithServerModes(c.opt.modes...))
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
		id := c.createPool(newPool{name: p.name, erasure: p.erasure, pgs: p.pgs, app: p.app})
		if p.erasure {
			c.updatePool(id, func(p *osdmap.Pool) { p.Flags |= osdmap.PoolECOverwrites })
		}
	}
	close(c.ready)
	return nil
}

// listen makes the daemons and lets them listen. They take nobody in before
// Cluster.ready is closed: the maps need everybody's address.
func (c *Cluster) listen(l *loaded) error {
	saved := savedShape{osds: make([]savedDaemon, c.opt.osds), mons: make([]savedDaemon, c.opt.mons)}
	if l != nil {
		saved = l.shape
	}
	for i := range c.opt.osds {
		o := &osd{id: int32(i)}
		o.daemon = daemon{c: c, kind: entity.TypeOSD, name: fmt.Sprintf("osd.%d", i), open: o.accept}
		c.osds = append(c.osds, o)
		if l != nil && !saved.osds[i].running {
			continue
		}
		if err := o.startAt(c.nonce(), saved.osds[i].port(&c.opt)); err != nil {
			return err
		}
	}
	c.mgr = &mgr{}
	c.mgr.daemon = daemon{c: c, kind: entity.TypeMgr, name: "mgr.x", open: c.mgr.accept}
	if err := c.mgr.startAt(c.nonce(), saved.mgr.port(&c.opt)); err != nil {
		return err
	}
	for i := range c.opt.mons {
		m := &mon{rank: i, id: string(rune('a' + i))}
		m.daemon = daemon{c: c, kind: entity.TypeMon, name: "mon." + m.id, open: m.accept}
		c.mons = append(c.mons, m)
		if err := m.startAt(0, saved.mons[i].port(&c.opt)); err != nil {
			return err
		}
	}
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

// FSID returns the cluster's id.
func (c *Cluster) FSID() denc.UUID { return c.fsid }

// Name returns the cluster's name.
func (c *Cluster) Name() string { return c.opt.name }

// OSDCount returns the number of OSDs, whether they run or not.
func (c *Cluster) OSDCount() int { return len(c.osds) }

// MonCount returns the number of monitors, whether they run or not.
func (c *Cluster) MonCount() int { return len(c.mons) }

// MonHost returns the monitors' addresses in the form of ceph.conf's mon_host.
func (c *Cluster) MonHost() string {
	var hosts []string
	for _, m := range c.mons {
		hosts = append(hosts, "[v2:"+m.address().IP.String()+"/0]")
	}
	return strings.Join(hosts, ",")
}

// Config returns the text of a ceph.conf for clients and of client.admin's
// keyring. The conf names no keyring file.
func (c *Cluster) Config() (conf, keyring string) {
	conf = "[global]\n\tfsid = " + c.fsid.String() + "\n\tmon_host = " + c.MonHost() + "\n"
	admin := entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	return conf, cephx.Keyring{admin: c.keys.Keyring()[admin]}.String()
}

// Key returns the key of a user ("client.admin") in base64.
func (c *Cluster) Key(user string) (string, error) {
	n, err := entity.ParseAuthName(user)
	if err != nil {
		return "", err
	}
	e, err := c.keys.Keyring().Lookup(n)
	if err != nil {
		return "", err
	}
	return e.Key.Base64(), nil
}

// AddUser makes a user with the given capabilities by service, or gives an old
// one new capabilities, and returns its key in base64.
func (c *Cluster) AddUser(user string, caps map[string]string) (string, error) {
	n, err := entity.ParseAuthName(user)
	if err != nil {
		return "", err
	}
	e, err := c.keys.Keyring().Lookup(n)
	if err != nil {
		e.Key = cephx.NewKey(c.opt.keyType)
	}
	e.Caps = caps
	c.keys.Set(n, e)
	return e.Key.Base64(), nil
}

// ConfFile writes NAME.conf and NAME.client.admin.keyring into dir and returns
// the path of the first.
func (c *Cluster) ConfFile(dir string) (string, error) {
	conf, keyring := c.Config()
	ring := filepath.Join(dir, c.opt.name+".client.admin.keyring")
	conf += "\tkeyring = " + filepath.Join(dir, c.opt.name+".$name.keyring") + "\n"
	if err := os.WriteFile(ring, []byte(keyring), 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(dir, c.opt.name+".conf")
	return path, os.WriteFile(path, []byte(conf), 0o644)
}

// CreatePool makes a replicated pool for RBD and returns its id.
func (c *Cluster) CreatePool(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.createPool(newPool{name: name, pgs: 8, app: "rbd"})
}

// StopOSD stops an OSD and marks it down.
func (c *Cluster) StopOSD(id int) {
	o := c.osds[id]
	o.end()
	c.faults.note(o.name, "stop")
	c.whenQuorate(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.osdmap.IsUp(o.id) && !o.running() {
			c.change(func(inc *osdmap.Incremental) { inc.NewState = map[int32]uint32{o.id: osdmap.StateUp} })
		}
	})
}

// KillOSD stops an OSD without anybody noticing.
func (c *Cluster) KillOSD(id int) {
	c.osds[id].end()
	c.faults.note(c.osds[id].name, "kill")
}

// StartOSD starts a stopped OSD, on a new address.
func (c *Cluster) StartOSD(id int) error {
	o := c.osds[id]
	if o.running() {
		return nil
	}
	if err := o.start(c.nonce()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot(o)
	c.faults.note(o.name, "start")
	return nil
}

// moveMon publishes a monitor's new address.
func (c *Cluster) moveMon(m *mon) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := c.monmap.Mons[m.id]
	info.Addrs = m.addrs()
	mons := make(map[string]wire.MonInfo, len(c.monmap.Mons))
	for n, i := range c.monmap.Mons {
		mons[n] = i
	}
	mons[m.id] = info
	c.monmap.Mons = mons
	c.monmap.Epoch++
	c.pushAll("monmap")
}

// StopMgr stops the manager. The map then has none, and commands to it wait
// until there is one again.
func (c *Cluster) StopMgr() {
	c.mgr.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mgrmap.ActiveGID == 0 {
		return
	}
	c.mgrmap.ActiveGID, c.mgrmap.ActiveName, c.mgrmap.ActiveAddrs, c.mgrmap.Available = 0, "", nil, false
	c.mgrmap.ActiveChange = denc.TimeOf(c.clock.Now())
	c.mgrmap.Epoch++
	c.pushAll("mgrmap")
}

// KillMgr stops the manager without anybody noticing.
func (c *Cluster) KillMgr() { c.mgr.stop() }

// StartMgr starts a stopped manager, on a new address that the map tells. What
// its modules know is still there, as that of a real manager is.
func (c *Cluster) StartMgr() error {
	if c.mgr.running() {
		return nil
	}
	if err := c.mgr.start(c.nonce()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	epoch := c.mgrmap.Epoch
	c.makeMgrMap()
	c.mgrmap.Epoch, c.mgrmap.ActiveChange = epoch+1, denc.TimeOf(c.clock.Now())
	c.pushAll("mgrmap")
	if len(c.support.tasks) > 0 {
		c.support.work()
	}
	return nil
}

// DropConnections closes every connection of a daemon ("osd.0"), or of all when
// daemon is empty.
func (c *Cluster) DropConnections(daemon string) {
	for _, d := range c.daemons() {
		if daemon != "" && d.name != daemon {
			continue
		}
		d.mu.Lock()
		for nc := range d.conns {
			_ = nc.Close()
		}
		d.mu.Unlock()
	}
}

// classes makes a registry of object classes what placement groups ask for.
type classes struct{ *cls.Registry }

// Call executes a method.
func (c classes) Call(o *pg.Object, class, method string, in []byte) ([]byte, int32) {
	return c.Registry.Call(o, class, method, in)
}
