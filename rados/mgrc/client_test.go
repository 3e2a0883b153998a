package mgrc

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/monc"
	"github.com/rbdm/rbdm/rados/wire"
)

// event is a message that a manager got.
type event struct {
	from string
	msg  *msgr2.Message
	conn *msgr2.Conn
}

// server is one daemon on a socket: a monitor or a manager.
type server struct {
	name   string
	kind   entity.Type
	addr   entity.Addr
	handle func(c *msgr2.Conn, m *msgr2.Message)

	l     net.Listener
	mu    sync.Mutex
	conns []*msgr2.Conn
}

func (s *server) HandleMessage(c *msgr2.Conn, m *msgr2.Message) { s.handle(c, m) }
func (s *server) HandleReset(*msgr2.Conn, error)                {}

func (s *server) serve(t *testing.T, auth func() msgr2.ServerAuth) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.l = l
	if s.addr, err = entity.ParseAddr("v2:" + l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		s.kill()
	})
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c, err := msgr2.Accept(ctx, nc, auth(), msgr2.Config{Type: s.kind, Addrs: entity.AddrVec{s.addr}, Features: 3, Handler: s})
			if err == nil {
				s.mu.Lock()
				s.conns = append(s.conns, c)
				s.mu.Unlock()
			}
		}
	}()
}

func (s *server) kill() {
	_ = s.l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// world is a monitor that pushes a manager map, and managers that report what
// they get.
type world struct {
	mon    *server
	mgrs   []*server
	events chan event
	client *Client

	mu     sync.Mutex
	mgrMap wire.MgrMap
	conn   *msgr2.Conn // the client's at the monitor
}

func newWorld(t *testing.T) *world {
	key := cephx.NewKey(cephx.KeyAES256K)
	name := entity.AuthName{Type: entity.TypeClient, ID: "rbd-mirror.a"}
	keys := cephx.NewKeyServer(cephx.Keyring{name: {Key: key, Caps: map[string]string{"mon": "profile rbd-mirror"}}})
	w := &world{events: make(chan event, 100)}
	w.mon = &server{name: "a", kind: entity.TypeMon, handle: w.handleMon}
	w.mon.serve(t, func() msgr2.ServerAuth { return keys.MonAuth() })
	for _, n := range []string{"x", "y"} {
		s := &server{name: n, kind: entity.TypeMgr}
		s.handle = func(c *msgr2.Conn, m *msgr2.Message) { w.events <- event{n, m, c} }
		s.serve(t, func() msgr2.ServerAuth { return keys.ServiceAuth(entity.TypeMgr) })
		w.mgrs = append(w.mgrs, s)
	}
	cfg, err := (&conf.Invocation{Name: name, Settings: []conf.Setting{
		{Name: "mon_host", Value: "v2:" + w.mon.addr.IP.String()}, {Name: "key", Value: key.Base64()},
	}}).FromText("test", "")
	if err != nil {
		t.Fatal(err)
	}
	mcfg := msgr2.Config{Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: 7}}, Features: 3, Modes: []msgr2.Mode{msgr2.ModeSecure}}
	mon, err := monc.New(monc.Config{Conf: cfg, Msgr: mcfg, NoMonConfig: true})
	if err != nil {
		t.Fatal(err)
	}
	w.client = New(Config{Mon: mon, Msgr: mcfg, RetryInterval: time.Millisecond})
	if err := mon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.client.Close()
		_ = mon.Close()
	})
	return w
}

func (w *world) handleMon(c *msgr2.Conn, m *msgr2.Message) {
	var f wire.MonSubscribe
	if m.Type != wire.TypeMonSubscribe || wire.Decode(&f, m.Front) != nil {
		return
	}
	if _, ok := f.What["monmap"]; ok {
		mm := wire.MonMap{FSID: denc.UUID{1}, Epoch: 1, Mons: map[string]wire.MonInfo{"a": {Name: "a", Addrs: entity.AddrVec{w.mon.addr}}}}
		_ = c.Send(message(&wire.MonMapMessage{Map: mm.Append(nil)}, 0))
	}
	if _, ok := f.What["mgrmap"]; ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.conn = c
		_ = c.Send(message(&wire.MgrMapMessage{Map: w.mgrMap}, 0))
	}
}

// activate makes a manager the active one; nil means none is.
func (w *world) activate(s *server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mgrMap = wire.MgrMap{Epoch: w.mgrMap.Epoch + 1}
	if s != nil {
		w.mgrMap.ActiveAddrs, w.mgrMap.ActiveName, w.mgrMap.Available = entity.AddrVec{s.addr}, s.name, true
		w.mgrMap.ActiveGID = 4000 + uint64(s.name[0])
	}
	if w.conn != nil {
		_ = w.conn.Send(message(&wire.MgrMapMessage{Map: w.mgrMap}, 0))
	}
}

// next returns the next message that a manager got, which must be of f's type.
func (w *world) next(t *testing.T, f wire.Front) event {
	t.Helper()
	select {
	case e := <-w.events:
		if e.msg.Type != f.Header().Type {
			t.Fatalf("manager %s got message %#x, want %T", e.from, e.msg.Type, f)
		}
		if err := wire.Decode(f, e.msg.Front); err != nil {
			t.Fatal(err)
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatalf("no %T", f)
		return event{}
	}
}

func (w *world) command(cmd string) <-chan error {
	done := make(chan error, 1)
	go func() {
		out, status, err := w.client.Command(context.Background(), cmd, []byte("in"))
		if err == nil && (string(out) != "out" || status != "fine") {
			err = errors.New("wrong answer: " + string(out) + status)
		}
		done <- err
	}()
	return done
}

func (e event) answer(result int32) {
	m := message(&wire.MgrCommandReply{Result: result, Status: "fine"}, e.msg.TID)
	m.Data = msgr2.NewData([]byte("out"))
	_ = e.conn.Send(m)
}

// TestCommandWaitsForAManagerAndFollowsIt has no manager at first, then one that
// dies with the command, then another.
func TestCommandWaitsForAManagerAndFollowsIt(t *testing.T) {
	w := newWorld(t)
	done := w.command(`{"prefix":"x"}`)
	w.activate(w.mgrs[0])
	var cmd wire.MgrCommand
	e := w.next(t, &cmd) // no MMgrOpen before it: managers cut plain clients that send one
	if e.from != "x" || cmd.Cmd[0] != `{"prefix":"x"}` || string(e.msg.Data.Bytes()) != "in" {
		t.Errorf("%s got %v %q", e.from, cmd, e.msg.Data.Bytes())
	}
	w.mgrs[0].kill()
	w.activate(w.mgrs[1])
	again := w.next(t, &cmd)
	if again.from != "y" || again.msg.TID != e.msg.TID {
		t.Errorf("sent again to %s with id %d, was %d", again.from, again.msg.TID, e.msg.TID)
	}
	again.answer(0)
	if err := <-done; err != nil {
		t.Error(err)
	}
	done = w.command(`{"prefix":"y"}`)
	w.next(t, &cmd).answer(-22)
	err := <-done
	var ce *monc.CommandError
	if !errors.Is(err, errno.ErrInvalid) || !errors.As(err, &ce) || ce.Prefix != "y" {
		t.Error(err)
	}
}

func TestConnectionThatBreaksIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.activate(w.mgrs[0])
	done := w.command(`{"prefix":"x"}`)
	var cmd wire.MgrCommand
	e := w.next(t, &cmd)
	_ = e.conn.Close()
	w.next(t, &cmd).answer(0)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCommandSaysThatThereIsNoManager(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := w.client.Command(ctx, `{"prefix":"x"}`, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "manager") {
		t.Error(err)
	}
}

func TestServiceDaemonOutlivesAFailover(t *testing.T) {
	w := newWorld(t)
	w.activate(w.mgrs[0])
	s, err := w.client.RegisterService("rbd-mirror", "4100", map[string]string{"id": "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.RegisterService("rbd-mirror", "4101", nil); !errors.Is(err, ErrRegistered) {
		t.Error(err)
	}
	var open wire.MgrOpen
	var report wire.MgrReport
	e := w.next(t, &open)
	if open.ServiceName != "rbd-mirror" || open.DaemonName != "4100" || !open.ServiceDaemon || open.Metadata["id"] != "a" {
		t.Errorf("%+v", open)
	}
	_ = e.conn.Send(message(&wire.MgrConfigure{Period: 3600, Threshold: 5}, 0))
	w.next(t, &report)
	if report.Status != nil || report.DaemonName != "4100" || report.ServiceName != "rbd-mirror" || len(report.Packed) == 0 {
		t.Errorf("%+v", report)
	}
	s.SetStatus(map[string]string{"json": "{}"})
	w.next(t, &report)
	if report.Status["json"] != "{}" {
		t.Errorf("%+v", report)
	}
	s.SetStatus(map[string]string{"json": "{}"}) // nothing new: no message
	w.activate(w.mgrs[1])
	if e = w.next(t, &open); e.from != "y" {
		t.Errorf("%s got %+v", e.from, open)
	}
	_ = e.conn.Send(message(&wire.MgrConfigure{Period: 3600}, 0))
	w.next(t, &report)
	if report.Status["json"] != "{}" {
		t.Errorf("the new manager does not learn the status: %+v", report)
	}
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	var bye wire.MgrClose
	e = w.next(t, &bye)
	if bye.DaemonName != "4100" || bye.ServiceName != "rbd-mirror" {
		t.Errorf("%+v", bye)
	}
	_ = e.conn.Send(message(&bye, 0))
	<-closed
}

func TestHostMetadata(t *testing.T) {
	m := HostMetadata("ceph version 1 (x)", "1", "r")
	for _, k := range []string{"arch", "os", "hostname", "ceph_version"} {
		if m[k] == "" {
			t.Errorf("%s is missing: %v", k, m)
		}
	}
}
