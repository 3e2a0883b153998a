//go:build interop && capture

package monc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// relay stands between real clients and a real cluster: it plays a monitor and
// a manager towards the clients, with a key server of its own, and passes all
// messages on. Addresses in maps are replaced by its own. It sees what real
// clients send.
type relay struct {
	t    *testing.T
	keys *cephx.KeyServer
	up   *Client // our own session with the cluster
	mon  entity.Addr
	mgr  entity.Addr
	see  func(m *msgr2.Message)
}

func newRelay(t *testing.T, path string, see func(*msgr2.Message)) *relay {
	cfg := loadConf(t, path)
	key, err := cfg.Key()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"}
	r := &relay{t: t, see: see, up: start(t, cfg)}
	// Short-lived tickets make clients renew them.
	r.keys = cephx.NewKeyServer(cephx.Keyring{cfg.Name(): {Key: key, Caps: all}}, cephx.WithTTL(8*time.Second, 4*time.Second), cephx.WithCiphers(key.Type))
	r.mon = r.listen(entity.TypeMon, func() msgr2.ServerAuth { return r.keys.MonAuth() }, r.dialMon)
	r.mgr = r.listen(entity.TypeMgr, func() msgr2.ServerAuth { return r.keys.ServiceAuth(entity.TypeMgr) }, r.dialMgr)
	return r
}

func (r *relay) listen(kind entity.Type, auth func() msgr2.ServerAuth, dial func(msgr2.Handler) (*msgr2.Conn, error)) entity.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r.t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	addr := entity.Addr{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort(l.Addr().String())}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err := r.serve(ctx, nc, kind, addr, auth(), dial); err != nil && ctx.Err() == nil {
					r.t.Logf("relay for %s: %v", kind, err)
				}
			}()
		}
	}()
	return addr
}

// pipe passes what it gets on to the other connection.
type pipe struct {
	mu   sync.Mutex
	to   *msgr2.Conn
	held []*msgr2.Message
	take func(m *msgr2.Message) *msgr2.Message
	gone chan struct{}
	once sync.Once
}

func (p *pipe) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) {
	if m = p.take(m); m == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to == nil {
		p.held = append(p.held, m)
		return
	}
	_ = p.to.Send(m)
}

func (p *pipe) HandleReset(*msgr2.Conn, error) { p.once.Do(func() { close(p.gone) }) }

func (p *pipe) connect(to *msgr2.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
	for _, m := range p.held {
		_ = to.Send(m)
	}
}

func (r *relay) serve(ctx context.Context, nc net.Conn, kind entity.Type, addr entity.Addr, auth msgr2.ServerAuth, dial func(msgr2.Handler) (*msgr2.Conn, error)) error {
	var down *msgr2.Conn
	ready := make(chan struct{})
	toServer := &pipe{gone: make(chan struct{}), take: func(m *msgr2.Message) *msgr2.Message {
		r.see(m)
		if m.Type == wire.TypeAuth {
			<-ready
			r.renew(down, auth.(*cephx.MonAuth), m)
			return nil
		}
		return copyMessage(m, m.Front)
	}}
	toClient := &pipe{gone: make(chan struct{}), take: func(m *msgr2.Message) *msgr2.Message { return copyMessage(m, r.rewrite(m)) }}
	cfg := msgr2.Config{Type: kind, Addrs: entity.AddrVec{addr}, Features: features, Handler: toServer, GlobalID: func() uint64 { return 0 }}
	var err error
	if down, err = msgr2.Accept(ctx, nc, auth, cfg); err != nil {
		return err
	}
	close(ready)
	defer down.Close()
	up, err := dial(toClient)
	if err != nil {
		return err
	}
	defer up.Close()
	toServer.connect(up)
	toClient.connect(down)
	select {
	case <-toServer.gone:
	case <-toClient.gone:
	case <-ctx.Done():
	}
	return nil
}

func copyMessage(m *msgr2.Message, front []byte) *msgr2.Message {
	return &msgr2.Message{Type: m.Type, Priority: m.Priority, Version: m.Version, Compat: m.Compat, TID: m.TID, Front: bytes.Clone(front), Middle: m.Middle, Data: m.Data}
}

func (r *relay) renew(c *msgr2.Conn, auth *cephx.MonAuth, m *msgr2.Message) {
	var f wire.Auth
	if err := wire.Decode(&f, m.Front); err != nil {
		r.t.Errorf("MAuth of a real client: %v", err)
		return
	}
	p, errno, err := auth.Renew(f.Payload)
	if err != nil || errno != 0 {
		r.t.Errorf("renewal by a real client: errno %d, %v", errno, err)
	}
	_, id := auth.Entity()
	_ = c.Send(message(&wire.AuthReply{Protocol: 2, Result: -errno, GlobalID: id, Payload: p}, m.TID))
}

// rewrite puts our addresses into maps.
func (r *relay) rewrite(m *msgr2.Message) []byte {
	switch m.Type {
	case wire.TypeMonMap:
		var f wire.MonMapMessage
		var mm wire.MonMap
		if err := wire.Decode(&f, m.Front); err != nil {
			r.t.Error(err)
		}
		rd := denc.NewReader(f.Map)
		mm.Decode(rd)
		for n, i := range mm.Mons {
			i.Addrs = entity.AddrVec{r.mon}
			mm.Mons[n] = i
		}
		return (&wire.MonMapMessage{Map: mm.Append(nil)}).Append(nil)
	case wire.TypeMgrMap:
		var f wire.MgrMapMessage
		if err := wire.Decode(&f, m.Front); err != nil {
			r.t.Error(err)
		}
		f.Map.ActiveAddrs = entity.AddrVec{r.mgr}
		return f.Append(nil)
	}
	return m.Front
}

func (r *relay) dialMon(h msgr2.Handler) (*msgr2.Conn, error) {
	cfg := r.up.cfg.Conf
	hs, err := cephx.NewClient(cfg.Name(), cfg.Key).Handshake()
	if err != nil {
		return nil, err
	}
	mc := msgrConfig()
	mc.Type, mc.Modes, mc.Lossy, mc.Handler = entity.TypeClient, cfg.MonModes(), true, h
	return msgr2.Dial(context.Background(), entity.AddrVec{r.up.Current()}, entity.TypeMon, hs, mc)
}

func (r *relay) dialMgr(h msgr2.Handler) (*msgr2.Conn, error) {
	target, kind := serviceAddrs(r.t, r.up, "mgr")
	mc := msgrConfig()
	mc.Modes, mc.Lossy, mc.Handler = r.up.cfg.Conf.MonModes(), true, h
	return r.up.Dial(context.Background(), kind, target, mc)
}

// TestInteropRealClientsOfOurServer lets real clients log in to our server half
// and captures what they send. RBDM_CEPH_SH is a command line that runs what
// follows it where the cluster's own tools are; RBDM_RELAY_DIR is a directory
// that it sees. With RBDM_CAPTURE what clients sent is written there.
func TestInteropRealClientsOfOurServer(t *testing.T) {
	sh, dir := strings.Fields(os.Getenv("RBDM_CEPH_SH")), os.Getenv("RBDM_RELAY_DIR")
	if len(sh) == 0 || dir == "" {
		t.Fatal("set RBDM_CEPH_SH and RBDM_RELAY_DIR")
	}
	capture := os.Getenv("RBDM_CAPTURE")
	names := map[uint16]string{
		wire.TypeMonGetMap: "mongetmap", wire.TypeMonSubscribe: "monsubscribe", wire.TypeMonCommand: "moncommand", wire.TypeMonGetVersion: "mongetversion",
		wire.TypePoolOp: "poolop", wire.TypeStatfs: "statfs", wire.TypeAuth: "auth", wire.TypeMgrCommand: "mgrcommand", wire.TypeCommand: "command",
		wire.TypeMgrOpen: "mgropen", wire.TypeMgrReport: "mgrreport", wire.TypeMgrClose: "mgrclose-client", wire.TypeLog: "log", wire.TypeGetConfig: "getconfig",
	}
	path := confs(t)[0]
	var release string
	var mu sync.Mutex
	count := map[string]int{}
	r := newRelay(t, path, func(m *msgr2.Message) {
		mu.Lock()
		defer mu.Unlock()
		n, ok := names[m.Type]
		if !ok {
			t.Logf("real client sends type %d version %d, %d bytes", m.Type, m.Version, len(m.Front))
			return
		}
		if count[n]++; count[n] > 3 || capture == "" {
			return
		}
		name := fmt.Sprintf("%s-v%d-%d.bin", n, m.Version, count[n])
		if err := os.WriteFile(filepath.Join(capture, release, name), m.Front, 0o644); err != nil {
			t.Error(err)
		}
	})
	out, _, err := r.up.Command(t.Context(), map[string]any{"prefix": "version"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	release = strings.Join(strings.Split(strings.Fields(string(out))[2], ".")[:2], ".")
	key, err := r.up.cfg.Conf.Key()
	if err != nil {
		t.Fatal(err)
	}
	ring := filepath.Join(dir, "relay.keyring")
	text := fmt.Sprintf("[global]\nmon host = [v2:%s/0]\nkeyring = %s\n", r.mon.IP, ring)
	file := filepath.Join(dir, "relay.conf")
	for p, s := range map[string]string{ring: "[client.admin]\nkey = " + key.Base64() + "\n", file: text} {
		if err := os.WriteFile(p, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(timeout time.Duration, args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, sh[0], append(append(sh[1:len(sh):len(sh)], args...), "-c", file)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 3 * time.Second
		out, err := cmd.CombinedOutput()
		if err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Logf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	const pool = "monc_relay"
	if got := run(20*time.Second, "ceph", "fsid"); !strings.Contains(got, r.up.FSID().String()) {
		t.Errorf("a real client says %q", got)
	}
	for _, mode := range []string{"crc", "secure"} {
		if got := run(20*time.Second, "ceph", "--ms_mon_client_mode", mode, "pg", "stat"); !strings.Contains(got, "pgs") {
			t.Errorf("a real client says %q in mode %s", got, mode)
		}
	}
	run(20*time.Second, "ceph", "osd", "pool", "create", pool, "8")
	run(20*time.Second, "rados", "df")
	run(20*time.Second, "rados", "-p", pool, "mksnap", "s")
	run(20*time.Second, "rbd", "-p", "no-such-pool", "ls")
	run(10*time.Second, "timeout", "-s", "INT", "7", "ceph", "-w")
	run(20*time.Second, "timeout", "-s", "INT", "9", "rbd-mirror", "-f")
	run(20*time.Second, "ceph", "osd", "pool", "rm", pool, pool, "--yes-i-really-really-mean-it")
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%s: %v", release, count)
	if count["auth"] == 0 || count["monsubscribe"] == 0 || count["mgrcommand"] == 0 {
		t.Errorf("real clients sent only %v", count)
	}
}
