package fakecluster

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// mgr is the active manager.
type mgr struct{ daemon }

func (m *mgr) accept(*daemon) (msgr2.ServerAuth, session) {
	auth := m.c.keys.ServiceAuth(entity.TypeMgr)
	return auth, &mgrSession{mgr: m, auth: auth}
}

// mgrSession is a connection to the manager: of a client, or of a daemon that
// has introduced itself.
type mgrSession struct {
	mgr  *mgr
	auth *cephx.ServiceAuth
	conn *msgr2.Conn
	user entity.AuthName
	caps *monCaps
}

func (s *mgrSession) who() entity.AuthName { return s.user }

func (s *mgrSession) attach(c *msgr2.Conn) {
	s.conn = c
	s.user, _ = s.auth.Entity()
	s.caps = parseMgrCaps(s.auth.Caps(), clientAddr(c).IP.Addr())
}

// HandleReset implements msgr2.Handler. A daemon that is gone stays in the
// service map until its beacon is overdue.
func (s *mgrSession) HandleReset(*msgr2.Conn, error) {}

// statsPeriod is how often daemons report, in seconds; beaconGrace how long the
// manager waits for one.
const (
	statsPeriod = 5
	beaconGrace = 60 * time.Second
)

// HandleMessage implements msgr2.Handler.
func (s *mgrSession) HandleMessage(conn *msgr2.Conn, m *msgr2.Message) {
	var v verdict
	if fs := &s.mgr.c.faults; fs.active() {
		e := fs.event(s.mgr.name, conn, s.user, m)
		var cmd wire.MgrCommand
		var legacy wire.Command
		switch {
		case m.Type == wire.TypeMgrCommand && wire.Decode(&cmd, m.Front) == nil:
			e.Command = commandPrefix(cmd.Cmd)
		case m.Type == wire.TypeCommand && wire.Decode(&legacy, m.Front) == nil:
			e.Command = commandPrefix(legacy.Cmd)
		}
		v = fs.judge(e)
	}
	s.mgr.c.faults.arrive(conn, m, v, func() { s.handle(conn, m, v) })
}

func (s *mgrSession) handle(conn *msgr2.Conn, m *msgr2.Message, v verdict) {
	c := s.mgr.c
	read := func(f wire.Front) bool {
		if err := wire.Decode(f, m.Front); err != nil {
			c.log.Warn("bad message", "mgr", s.mgr.name, "type", m.Type, "err", err)
			_ = conn.Close()
			return false
		}
		return true
	}
	switch m.Type {
	case wire.TypeMgrCommand:
		var f wire.MgrCommand
		if read(&f) {
			s.command(&f, m, v)
		}
	case wire.TypeCommand:
		var f wire.Command
		if read(&f) {
			s.legacyCommand(&f, m, v)
		}
	case wire.TypeMgrOpen:
		var f wire.MgrOpen
		if read(&f) {
			s.open(&f)
		}
	case wire.TypeMgrReport:
		var f wire.MgrReport
		if read(&f) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.services.report(&f, c.clock.Now())
		}
	case wire.TypeMgrClose:
		var f wire.MgrClose
		if read(&f) {
			c.mu.Lock()
			c.services.remove(f.ServiceName, f.DaemonName, c.clock.Now())
			c.mu.Unlock()
			c.faults.send(s.mgr.name, conn, s.user, frontMessage(&f, 0))
		}
	}
}

func (s *mgrSession) command(f *wire.MgrCommand, m *msgr2.Message, v verdict) {
	e, status, out := s.run(f.Cmd, m.Data.Bytes(), v)
	reply := frontMessage(&wire.MgrCommandReply{Result: e.Result(), Status: status}, m.TID)
	reply.Data = msgr2.NewData(out)
	s.mgr.c.faults.send(s.mgr.name, s.conn, s.user, reply)
}

// legacyCommand answers what clients "tell" the manager.
func (s *mgrSession) legacyCommand(f *wire.Command, m *msgr2.Message, v verdict) {
	e, status, out := v.errno, "", []byte(nil)
	if e == 0 {
		e, status, out = s.mgr.c.execTold(s.mgr.name, f.Cmd, s.caps.permits("mgr", accessR|accessW|accessX, "", nil))
	}
	reply := frontMessage(&wire.CommandReply{Result: e.Result(), Status: status}, m.TID)
	reply.Data = msgr2.NewData(out)
	s.mgr.c.faults.send(s.mgr.name, s.conn, s.user, reply)
}

func (s *mgrSession) run(cmd []string, in []byte, v verdict) (errno.Errno, string, []byte) {
	c := s.mgr.c
	if v.errno != 0 {
		return v.errno, "", nil
	}
	args, err := parseCommand(cmd)
	if err != nil {
		c.log.Warn("command not understood", "mgr", s.mgr.name, "command", cmd, "err", err)
		return errno.ErrInvalid, "command not understood", nil
	}
	prefix := args.str("prefix")
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.commands(takesMgr)
	if prefix == "get_command_descriptions" {
		return 0, "", set.describedTo(s.conn.Features())
	}
	k := &call{c: c, user: s.user, grant: s.caps, args: args, in: in, format: args.str("format")}
	e := k.execute(set, prefix, "No handler found for '"+prefix+"'",
		"access denied: does your client key have mgr caps? See http://docs.ceph.com/en/latest/mgr/administrator/#client-authentication")
	return e, k.status, k.out
}

// open takes a daemon in. Clients that are none are cut off, as a manager does.
func (s *mgrSession) open(f *wire.MgrOpen) {
	c := s.mgr.c
	if f.ServiceName == "" && s.conn.PeerName().Type == entity.TypeClient {
		_ = s.conn.Close()
		return
	}
	c.mu.Lock()
	if f.ServiceDaemon {
		c.services.open(f, s.conn, c.clock.Now(), c.epochForServices())
	}
	c.mu.Unlock()
	c.faults.send(s.mgr.name, s.conn, s.user, frontMessage(&wire.MgrConfigure{Period: statsPeriod, Threshold: 5}, 0))
}

func (c *Cluster) epochForServices() uint64 { return c.services.epoch + 1 }

// serviceMap is what the manager knows of service daemons.
type serviceMap struct {
	epoch    uint64
	modified time.Time
	daemons  map[string]map[string]*serviceDaemon
}

type serviceDaemon struct {
	startEpoch uint64
	started    time.Time
	gid        int64
	addr       entity.Addr
	metadata   map[string]string
	status     map[string]string
	taskStatus map[string]string
	statusAt   time.Time
	beacon     time.Time
}

func newServiceMap() serviceMap {
	return serviceMap{epoch: 1, daemons: map[string]map[string]*serviceDaemon{}}
}

func (m *serviceMap) open(f *wire.MgrOpen, conn *msgr2.Conn, now time.Time, epoch uint64) {
	if m.daemons[f.ServiceName] == nil {
		m.daemons[f.ServiceName] = map[string]*serviceDaemon{}
	}
	m.epoch, m.modified = epoch, now
	m.daemons[f.ServiceName][f.DaemonName] = &serviceDaemon{
		startEpoch: epoch, started: now, gid: conn.PeerName().Num, addr: clientAddr(conn),
		metadata: maps.Clone(f.Metadata), status: maps.Clone(f.Status), statusAt: now, beacon: now,
	}
}

func (m *serviceMap) report(f *wire.MgrReport, now time.Time) {
	d := m.daemons[f.ServiceName][f.DaemonName]
	if d == nil {
		return
	}
	d.beacon = now
	if f.Status != nil {
		d.status, d.statusAt = maps.Clone(f.Status), now
	}
	if f.TaskStatus != nil {
		d.taskStatus = maps.Clone(f.TaskStatus)
	}
}

func (m *serviceMap) remove(service, name string, now time.Time) {
	if m.daemons[service][name] == nil {
		return
	}
	delete(m.daemons[service], name)
	if len(m.daemons[service]) == 0 {
		delete(m.daemons, service)
	}
	m.epoch++
	m.modified = now
}

// expire forgets the daemons whose beacon is overdue.
func (m *serviceMap) expire(now time.Time) {
	for service, ds := range m.daemons {
		for name, d := range ds {
			if now.Sub(d.beacon) > beaconGrace {
				m.remove(service, name, now)
			}
		}
	}
}

// dump returns the service map in JSON, in service dump's form.
func (m *serviceMap) dump() object {
	services := object{}
	for _, name := range slices.Sorted(maps.Keys(m.daemons)) {
		daemons := object{{"summary", ""}}
		for _, id := range slices.Sorted(maps.Keys(m.daemons[name])) {
			d := m.daemons[name][id]
			daemons = append(daemons, field{id, object{
				{"start_epoch", d.startEpoch}, {"start_stamp", cephTime(d.started)}, {"gid", d.gid},
				{"addr", d.addr.IP.String() + "/" + strconv.FormatUint(uint64(d.addr.Nonce), 10)},
				{"metadata", stringObject(d.metadata)}, {"task_status", stringObject(d.taskStatus)},
			}})
		}
		services = append(services, field{name, object{{"daemons", daemons}}})
	}
	return object{{"epoch", m.epoch}, {"modified", cephTime(m.modified)}, {"services", services}}
}

// statuses returns what service status shows.
func (m *serviceMap) statuses() object {
	o := object{}
	for _, name := range slices.Sorted(maps.Keys(m.daemons)) {
		var ds object
		for _, id := range slices.Sorted(maps.Keys(m.daemons[name])) {
			d := m.daemons[name][id]
			ds = append(ds, field{id, object{
				{"status_stamp", cephTime(d.statusAt)}, {"last_beacon", cephTime(d.beacon)}, {"status", stringObject(d.status)},
			}})
		}
		o = append(o, field{name, ds})
	}
	return o
}

func stringObject(m map[string]string) object {
	o := object{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		o = append(o, field{k, m[k]})
	}
	return o
}

// cephTime prints a time as Ceph does in JSON.
func cephTime(t time.Time) string {
	if t.IsZero() {
		return "0.000000"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000+0000")
}

func (c *Cluster) makeMgrMap() {
	c.mgrmap = wire.MgrMap{
		Epoch: 2, ActiveAddrs: c.mgr.addrs(), ActiveGID: c.keys.NewGlobalID(), Available: true, ActiveName: "x",
		Modules: c.firstModules(), Services: map[string]string{}, ActiveChange: denc.TimeOf(c.started),
		ActiveFeatures: c.features(),
		AlwaysOn:       c.alwaysOn(),
	}
	if c.opt.release >= 20 {
		c.mgrmap.V = 14
	}
}
