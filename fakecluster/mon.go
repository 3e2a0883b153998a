package fakecluster

import (
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// mon is one monitor. All of them share the cluster's state, and none lags; see
// election for when one is stopped.
type mon struct {
	daemon
	rank int
	id   string // "a"
}

func (m *mon) accept(*daemon) (msgr2.ServerAuth, session) {
	auth := m.c.keys.MonAuth()
	return auth, &monSession{mon: m, auth: auth, subs: map[string]wire.Subscription{}}
}

// monSession is a client's connection to a monitor. subs is guarded by the
// cluster's mutex, the rest is set before the first message.
type monSession struct {
	mon  *mon
	auth *cephx.MonAuth
	conn *msgr2.Conn
	user entity.AuthName
	caps *monCaps

	subs map[string]wire.Subscription
}

func (s *monSession) who() entity.AuthName { return s.user }

func (s *monSession) attach(c *msgr2.Conn) {
	s.conn = c
	s.user, _ = s.auth.Entity()
	s.caps = parseMonCaps(s.auth.Caps(entity.TypeMon), clientAddr(c).IP.Addr())
	cl := s.mon.c
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.sessions[s] = struct{}{}
}

// HandleReset implements msgr2.Handler.
func (s *monSession) HandleReset(*msgr2.Conn, error) {
	c := s.mon.c
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

func (s *monSession) send(f wire.Front, tid uint64) { s.sendData(f, tid, nil) }

func (s *monSession) sendData(f wire.Front, tid uint64, data []byte) {
	m := frontMessage(f, tid)
	m.Data = msgr2.NewData(data)
	s.mon.c.faults.send(s.mon.name, s.conn, s.user, m)
}

// HandleMessage implements msgr2.Handler.
func (s *monSession) HandleMessage(c *msgr2.Conn, m *msgr2.Message) {
	v := verdict{}
	if fs := &s.mon.c.faults; fs.active() {
		e := fs.event(s.mon.name, c, s.user, m)
		if m.Type == wire.TypeMonCommand {
			var cmd wire.MonCommand
			if wire.Decode(&cmd, m.Front) == nil {
				e.Command = commandPrefix(cmd.Cmd)
			}
		}
		v = fs.judge(e)
	}
	s.mon.c.faults.arrive(c, m, v, func() { s.handle(m, v) })
}

// handle handles a message: at once if it can do without a quorum.
func (s *monSession) handle(m *msgr2.Message, v verdict) {
	switch m.Type {
	case wire.TypeMonCommand, wire.TypeAuth, wire.TypeMonGetMap, wire.TypeMonSubscribe, wire.TypeGetConfig, typePing, wire.TypeCommand:
	case wire.TypePoolOp: // refused with an answer
	case wire.TypeStatfs, typeGetPoolStats:
		if !s.caps.permits("pg", accessR, "", nil) {
			return // a monitor does not even say no
		}
	default:
		if !s.caps.permits("mon", accessR, "", nil) {
			return
		}
	}
	switch m.Type {
	case wire.TypeMonGetMap, wire.TypeCommand, typePing:
		s.handleNow(m, v)
	default:
		s.mon.c.whenQuorate(func() { s.handleNow(m, v) })
	}
}

func (s *monSession) handleNow(m *msgr2.Message, v verdict) {
	c := s.mon.c
	read := func(f wire.Front) bool {
		if err := wire.Decode(f, m.Front); err != nil {
			c.log.Warn("bad message", "mon", s.mon.name, "type", m.Type, "err", err)
			_ = s.conn.Close()
			return false
		}
		return true
	}
	switch m.Type {
	case wire.TypeMonGetMap:
		c.mu.Lock()
		defer c.mu.Unlock()
		s.send(&wire.MonMapMessage{Map: c.monmap.Append(nil)}, m.TID)
	case wire.TypeMonSubscribe:
		var f wire.MonSubscribe
		if read(&f) {
			s.subscribe(f.What)
		}
	case wire.TypeMonGetVersion:
		var f wire.MonGetVersion
		if read(&f) {
			s.version(&f, m.TID)
		}
	case wire.TypeAuth:
		var f wire.Auth
		if read(&f) {
			s.renew(&f, m.TID)
		}
	case wire.TypeMonCommand:
		var f wire.MonCommand
		if read(&f) {
			s.command(&f, m, v)
		}
	case wire.TypePoolOp:
		var f wire.PoolOp
		if read(&f) {
			s.poolOp(&f, m.TID, v)
		}
	case wire.TypeStatfs:
		var f wire.Statfs
		if read(&f) {
			s.send(c.statfs(&f), m.TID)
		}
	case typeGetPoolStats:
		s.poolStats(m)
	case wire.TypeLog:
		var f wire.Log
		if read(&f) {
			s.logged(&f)
		}
	case wire.TypeGetConfig:
		var f wire.GetConfig
		if read(&f) {
			c.mu.Lock()
			defer c.mu.Unlock()
			s.send(&wire.Config{Options: c.config.effective(f.Name)}, m.TID)
		}
	case typePing:
		s.ping(m)
	case wire.TypeCommand:
		c.tell(s.mon.name, s.conn, m, s.caps.permits("mon", accessR|accessW|accessX, "", nil), v)
	}
}

func (s *monSession) renew(f *wire.Auth, tid uint64) {
	reply, errno, err := s.auth.Renew(f.Payload)
	if err != nil {
		_ = s.conn.Close()
		return
	}
	s.send(&wire.AuthReply{Protocol: f.Protocol, Result: -errno, GlobalID: s.conn.GlobalID(), Payload: reply}, tid)
}

func (s *monSession) version(f *wire.MonGetVersion, tid uint64) {
	c := s.mon.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r := wire.MonGetVersionReply{Handle: f.Handle}
	switch f.What {
	case "osdmap":
		r.Version, r.Oldest = uint64(c.osdmap.Epoch), uint64(c.history.oldest())
	case "monmap":
		r.Version, r.Oldest = uint64(c.monmap.Epoch), 1
	case "mgrmap":
		r.Version, r.Oldest = uint64(c.mgrmap.Epoch), 1
	case "mdsmap", "fsmap":
		r.Version, r.Oldest = 1, 1
	}
	s.send(&r, tid)
}

// subscribe notes what the client wants to follow, and sends what it lacks.
func (s *monSession) subscribe(what map[string]wire.Subscription) {
	c := s.mon.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(what)) {
		if strings.HasPrefix(name, "log-") {
			// One level at a time: a client that changes it does not take the old
			// subscription back.
			maps.DeleteFunc(s.subs, func(old string, _ wire.Subscription) bool { return strings.HasPrefix(old, "log-") })
		}
		if !s.mayFollow(name) {
			continue
		}
		s.subs[name] = what[name]
		s.push(name)
	}
	const statefulSubs = 1 << 57
	if s.conn.Features()&statefulSubs == 0 {
		s.send(&wire.MonSubscribeAck{Interval: 300, FSID: c.fsid}, 0)
	}
}

// mayFollow reports whether a subscription is the client's to make. A monitor
// does not say that it is not.
func (s *monSession) mayFollow(name string) bool {
	switch {
	case name == "monmap" || name == "config" || name == "mgrmap":
		return true
	case name == "osdmap" && s.mon.c.opt.release >= 20:
		return s.caps.permits("osd", accessR, "", nil)
	}
	return s.caps.permits("mon", accessR, "", nil)
}

// push sends what a subscription waits for, if there is something. The
// cluster's mutex is held.
func (s *monSession) push(name string) {
	c := s.mon.c
	sub, ok := s.subs[name]
	if !ok {
		return
	}
	sent := func(next uint64) {
		if sub.Flags&wire.SubscribeOnce != 0 {
			delete(s.subs, name)
			return
		}
		sub.Start = next
		s.subs[name] = sub
	}
	switch {
	case name == "monmap":
		if sub.Start <= uint64(c.monmap.Epoch) {
			s.send(&wire.MonMapMessage{Map: c.monmap.Append(nil)}, 0)
			sent(uint64(c.monmap.Epoch) + 1)
		}
	case name == "mgrmap":
		if sub.Start <= uint64(c.mgrmap.Epoch) {
			s.send(&wire.MgrMapMessage{Map: c.mgrmap}, 0)
			sent(uint64(c.mgrmap.Epoch) + 1)
		}
	case name == "config":
		if sub.Start <= c.config.version {
			s.send(&wire.Config{Options: c.config.effective(s.user)}, 0)
			sent(c.config.version + 1)
		}
	case name == "osdmap":
		if sub.Start <= uint64(c.osdmap.Epoch) {
			s.sendMaps(uint32(sub.Start))
			sent(uint64(c.osdmap.Epoch) + 1)
		}
	case strings.HasPrefix(name, "log-"):
		// Only what is logged from now on; see appendLog.
	case strings.HasPrefix(name, "kv:"):
		if sub.Start <= c.configKeys.version {
			s.send(c.configKeys.data(strings.TrimPrefix(name, "kv:")), 0)
			sent(c.configKeys.version + 1)
		}
	}
}

func (s *monSession) sendMaps(from uint32) {
	h := &s.mon.c.history
	if from == 0 {
		s.send(h.newest(s.conn.Features()), 0)
		return
	}
	for _, m := range h.since(from, s.conn.Features()) {
		s.send(m, 0)
	}
}

// pushAll tells everybody who follows name. The cluster's mutex is held.
func (c *Cluster) pushAll(name string) {
	for s := range c.sessions {
		s.push(name)
	}
}

func (s *monSession) logged(f *wire.Log) {
	c := s.mon.c
	c.mu.Lock()
	defer c.mu.Unlock()
	last := map[string]uint64{}
	for _, e := range f.Entries {
		last[e.Channel] = max(last[e.Channel], e.Seq)
		c.appendLog(e)
	}
	for _, ch := range slices.Sorted(maps.Keys(last)) {
		s.send(&wire.LogAck{FSID: c.fsid, Last: last[ch], Channel: ch}, 0)
	}
}

// logLevels are the subscriptions to the cluster log with the least priority
// that each gets. read-only.
var logLevels = map[string]uint16{
	"log-debug": wire.LogDebug, "log-info": wire.LogInfo, "log-sec": wire.LogSecurity, "log-warn": wire.LogWarn, "log-error": wire.LogError,
}

// logAs writes a line to the cluster log in somebody's name.
func (c *Cluster) logAs(who entity.AuthName, rank entity.Name, seq uint64, prio uint16, message string) {
	c.appendLog(wire.LogEntry{
		Name: who, Rank: rank, Addrs: c.mons[0].addrs(), Stamp: denc.TimeOf(c.clock.Now()), Seq: seq, Prio: prio, Message: message, Channel: "cluster",
	})
}

// appendLog writes to the cluster log and tells who follows it. The cluster's
// mutex is held.
func (c *Cluster) appendLog(e wire.LogEntry) {
	c.clusterLog = append(c.clusterLog, e)
	// Clients drop what is not newer than what they have seen.
	version := uint64(len(c.clusterLog))
	for s := range c.sessions {
		for name, least := range logLevels {
			if _, ok := s.subs[name]; ok && e.Prio >= least {
				s.send(&wire.Log{Paxos: wire.Paxos{Version: version}, FSID: c.fsid, Entries: []wire.LogEntry{e}}, 0)
			}
		}
	}
}

// Types of the messages that ask for the fill of pools by name.
const (
	typeGetPoolStats      uint16 = 58
	typeGetPoolStatsReply uint16 = 59
)

// poolStats answers MGetPoolStats.
func (s *monSession) poolStats(m *msgr2.Message) {
	r := denc.NewReader(m.Front)
	var p wire.Paxos
	p.Decode(r)
	r.UUID()
	names := denc.Slice(r, 4, (*denc.Reader).String)
	if r.Err() != nil {
		return
	}
	c := s.mon.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b := wire.Paxos{Version: 1}.Append(nil)
	b = denc.AppendUUID(b, c.fsid)
	stats := map[string]int64{}
	for _, n := range names {
		if id, ok := c.osdmap.PoolByName(n); ok {
			stats[n] = id
		}
	}
	b = denc.AppendMap(b, stats, denc.AppendString, func(b []byte, id int64) []byte { return c.appendPoolStat(b, id) })
	b = denc.AppendBool(b, false) // not per pool in BlueStore's sense
	_ = s.conn.Send(&msgr2.Message{Type: typeGetPoolStatsReply, Version: 2, Compat: 1, TID: m.TID, Front: b})
}
