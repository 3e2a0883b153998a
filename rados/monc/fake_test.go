package monc

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/wire"
)

var (
	admin = entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	fsid  = denc.UUID{9, 9}
)

// cluster is a few monitors that share keys and a map, just enough of them to
// test a client against.
type cluster struct {
	t    *testing.T
	keys *cephx.KeyServer
	key  cephx.Key

	mu      sync.Mutex
	mons    []*mon
	monmap  wire.MonMap
	options map[string]string
	// onMessage sees every message first; true means it was dealt with.
	onMessage func(m *mon, c *msgr2.Conn, msg *msgr2.Message) bool
	renewals  int
	noRenewal bool // refuse to renew tickets
}

// mon is one monitor on a socket of its own.
type mon struct {
	*cluster
	name     string
	addr     entity.Addr
	listener net.Listener
	conns    map[*msgr2.Conn]*cephx.MonAuth // guarded by mu
	subs     map[*msgr2.Conn]map[string]wire.Subscription
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

func newCluster(t *testing.T, n int, opts ...cephx.ServerOption) *cluster {
	c := &cluster{t: t, key: cephx.NewKey(cephx.KeyAES), monmap: wire.MonMap{V: 10, FSID: fsid, Epoch: 1, Mons: map[string]wire.MonInfo{}, Auth: wire.DefaultMonMapAuth()}}
	c.keys = cephx.NewKeyServer(cephx.Keyring{admin: {Key: c.key, Caps: map[string]string{"mon": "allow *"}}}, opts...)
	for i := range n {
		m := &mon{cluster: c, name: string(rune('a' + i))}
		m.listen("127.0.0.1:0")
		c.mons = append(c.mons, m)
		c.monmap.Ranks = append(c.monmap.Ranks, m.name)
		c.monmap.Mons[m.name] = wire.MonInfo{Name: m.name, Addrs: entity.AddrVec{m.addr}}
		t.Cleanup(m.kill)
	}
	return c
}

func (m *mon) listen(at string) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.mu.Lock()
	m.listener, m.stop = l, stop
	m.conns, m.subs = map[*msgr2.Conn]*cephx.MonAuth{}, map[*msgr2.Conn]map[string]wire.Subscription{}
	m.addr = entity.Addr{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort(l.Addr().String())}
	m.mu.Unlock()
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			m.wg.Add(1)
			go func() {
				defer m.wg.Done()
				m.serve(ctx, nc)
			}()
		}
	}()
}

func (m *mon) serve(ctx context.Context, nc net.Conn) {
	auth := m.keys.MonAuth()
	c, err := msgr2.Accept(ctx, nc, auth, msgr2.Config{Type: entity.TypeMon, Addrs: entity.AddrVec{m.addr}, Features: ^uint64(0), Handler: m})
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		_ = c.Close()
		return
	}
	m.conns[c] = auth
}

// kill cuts all connections and stops listening.
func (m *mon) kill() {
	m.mu.Lock()
	m.stop()
	_ = m.listener.Close()
	conns := m.conns
	m.conns = map[*msgr2.Conn]*cephx.MonAuth{}
	m.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	m.wg.Wait()
}

func (m *mon) revive() { m.listen(m.addr.IP.String()) }

// HandleReset implements msgr2.Handler.
func (m *mon) HandleReset(c *msgr2.Conn, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
	delete(m.subs, c)
}

// HandleMessage implements msgr2.Handler.
func (m *mon) HandleMessage(c *msgr2.Conn, msg *msgr2.Message) {
	m.mu.Lock()
	hook := m.onMessage
	m.mu.Unlock()
	if hook != nil && hook(m, c, msg) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reply := func(f wire.Front, data []byte) {
		out := message(f, msg.TID)
		out.Data = msgr2.NewData(data)
		_ = c.Send(out)
	}
	switch msg.Type {
	case wire.TypeMonSubscribe:
		var f wire.MonSubscribe
		m.must(wire.Decode(&f, msg.Front))
		if m.subs[c] == nil {
			m.subs[c] = map[string]wire.Subscription{}
		}
		for what, s := range f.What {
			m.subs[c][what] = s
			m.push(c, what, s.Start)
		}
	case wire.TypeMonCommand:
		var f wire.MonCommand
		m.must(wire.Decode(&f, msg.Front))
		if f.FSID != fsid {
			reply(&wire.MonCommandAck{Result: -1, Status: "wrong fsid"}, nil)
			return
		}
		if strings.Contains(f.Cmd[0], "fail") {
			reply(&wire.MonCommandAck{Result: -2, Status: "no such thing", Cmd: f.Cmd}, nil)
			return
		}
		reply(&wire.MonCommandAck{Status: "from " + m.name, Cmd: f.Cmd}, msg.Data.Bytes())
	case wire.TypeMonGetVersion:
		var f wire.MonGetVersion
		m.must(wire.Decode(&f, msg.Front))
		reply(&wire.MonGetVersionReply{Handle: f.Handle, Version: 12, Oldest: 3}, nil)
	case wire.TypeAuth:
		var f wire.Auth
		m.must(wire.Decode(&f, msg.Front))
		if m.noRenewal {
			reply(&wire.AuthReply{Protocol: cephx.MethodCephx, Result: -13}, nil)
			return
		}
		p, errno, err := m.conns[c].Renew(f.Payload)
		m.must(err)
		m.renewals++
		reply(&wire.AuthReply{Protocol: cephx.MethodCephx, Result: -errno, Payload: p}, nil)
	}
}

func (c *cluster) must(err error) {
	if err != nil {
		c.t.Error(err)
	}
}

// push sends the newest state of what to conn if it is as new as start. The
// caller holds mu.
func (c *cluster) push(conn *msgr2.Conn, what string, start uint64) {
	switch what {
	case "monmap":
		if uint64(c.monmap.Epoch) >= start {
			_ = conn.Send(message(&wire.MonMapMessage{Map: c.monmap.Append(nil)}, 0))
		}
	case "config":
		_ = conn.Send(message(&wire.Config{Options: c.options}, 0))
	}
}

// publish changes the shared state and pushes what to every subscriber.
func (c *cluster) publish(what string, change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	for _, m := range c.mons {
		for conn, subs := range m.subs {
			if s, ok := subs[what]; ok {
				c.push(conn, what, s.Start)
			}
		}
	}
}

// config returns a client's configuration for the cluster.
func (c *cluster) config(settings ...conf.Setting) *conf.Config {
	var hosts []string
	for _, m := range c.mons {
		hosts = append(hosts, "v2:"+m.addr.IP.String())
	}
	inv := &conf.Invocation{Name: admin, Settings: append([]conf.Setting{
		{Name: "mon_host", Value: strings.Join(hosts, ",")}, {Name: "key", Value: c.key.Base64()},
		{Name: "ms_initial_backoff", Value: "0.005"}, {Name: "mon_client_hunt_interval", Value: "2"},
	}, settings...)}
	cfg, err := inv.FromText("test", "")
	if err != nil {
		c.t.Fatal(err)
	}
	return cfg
}

func (c *cluster) client(change ...func(*Config)) *Client {
	c.t.Helper()
	cfg := Config{Conf: c.config(), Msgr: msgr2.Config{Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: 77}}, Features: 3}}
	for _, f := range change {
		f(&cfg)
	}
	cl, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

func (c *cluster) started(change ...func(*Config)) *Client {
	c.t.Helper()
	cl := c.client(change...)
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	if err := cl.Start(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// at returns the monitor that the client's session is with.
func (c *cluster) at(cl *Client) *mon {
	c.t.Helper()
	for _, m := range c.mons {
		if m.addr == cl.Current() {
			return m
		}
	}
	c.t.Fatalf("client is at %v", cl.Current())
	return nil
}

// eventually waits for a state of the client.
func eventually(t *testing.T, c *Client, what string, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.wait(ctx, func() (bool, error) { return ready(), nil }); err != nil {
		t.Fatal(fmt.Errorf("waiting until %s: %w", what, err))
	}
}
