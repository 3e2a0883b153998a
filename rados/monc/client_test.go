package monc

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

func TestStartAndCalls(t *testing.T) {
	c := newCluster(t, 3)
	c.options = map[string]string{"rbd_default_order": "23"}
	cl := c.started()
	if cl.GlobalID() == 0 || cl.FSID() != fsid || len(cl.MonMap().Mons) != 3 || cl.LocalAddr().Nonce != 77 {
		t.Errorf("id %d, fsid %v, addr %v", cl.GlobalID(), cl.FSID(), cl.LocalAddr())
	}
	if cl.cfg.Conf.Int("rbd_default_order") != 23 {
		t.Error("central configuration is not in force")
	}
	out, status, err := cl.Command(t.Context(), map[string]any{"prefix": "echo"}, []byte("in"))
	if err != nil || string(out) != "in" || !strings.HasPrefix(status, "from ") {
		t.Errorf("%q, %q, %v", out, status, err)
	}
	_, _, err = cl.Command(t.Context(), map[string]any{"prefix": "fail"}, nil)
	var ce *CommandError
	if !errors.As(err, &ce) || !errors.Is(err, errno.ErrNotFound) || ce.Status != "no such thing" || ce.Prefix != "fail" {
		t.Error(err)
	}
	if newest, oldest, err := cl.GetVersion(t.Context(), "osdmap"); err != nil || newest != 12 || oldest != 3 {
		t.Error(newest, oldest, err)
	}
	if _, _, err := cl.Command(t.Context(), map[string]any{"no": "prefix"}, nil); err == nil {
		t.Error("a command without prefix was sent")
	}
}

func TestCallsFailAfterClose(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.started()
	arrived := make(chan struct{})
	c.mu.Lock()
	c.onMessage = func(_ *mon, _ *msgr2.Conn, m *msgr2.Message) bool {
		if m.Type == wire.TypeMonCommand {
			close(arrived)
		}
		return m.Type == wire.TypeMonCommand
	}
	c.mu.Unlock()
	done := make(chan error)
	go func() {
		_, _, err := cl.Command(context.Background(), `{"prefix":"x"}`, nil)
		done <- err
	}()
	<-arrived
	_ = cl.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, _, err := cl.Command(context.Background(), `{"prefix":"x"}`, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.started()
	c.mu.Lock()
	c.onMessage = func(_ *mon, _ *msgr2.Conn, m *msgr2.Message) bool { return m.Type == wire.TypeMonCommand }
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := cl.Command(ctx, `{"prefix":"x"}`, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if len(cl.calls) != 0 {
		t.Error("the call is still remembered")
	}
}

// TestFailover kills the monitor in use while a command is under way, again and
// again: each is answered by another monitor, subscriptions go on and the id
// stays.
func TestFailover(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.started()
	id := cl.GlobalID()
	for round := range 4 {
		victim := c.at(cl)
		c.mu.Lock()
		got := make(chan struct{})
		var once atomic.Bool
		c.onMessage = func(m *mon, _ *msgr2.Conn, msg *msgr2.Message) bool {
			if m == victim && msg.Type == wire.TypeMonCommand {
				if once.CompareAndSwap(false, true) {
					close(got)
				}
				return true // never answered
			}
			return false
		}
		c.mu.Unlock()
		done := make(chan error, 1)
		go func() {
			_, status, err := cl.Command(context.Background(), `{"prefix":"x"}`, nil)
			if err == nil && status == "from "+victim.name {
				err = errors.New("answered by the dead")
			}
			done <- err
		}()
		<-got
		victim.kill()
		if err := <-done; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if now := c.at(cl); now == victim || cl.GlobalID() != id {
			t.Errorf("round %d: at %s, id %d, was %d", round, now.name, cl.GlobalID(), id)
		}
		c.publish("monmap", func() { c.monmap.Epoch++ })
		eventually(t, cl, "the map is followed", func() bool { return cl.monmap.Epoch == c.monmap.Epoch })
		victim.revive()
	}
}

func TestDeadMonitorsAreSkipped(t *testing.T) {
	c := newCluster(t, 3)
	c.mons[0].kill()
	c.mons[2].kill()
	cl := c.started()
	if c.at(cl) != c.mons[1] {
		t.Error("not at the living one")
	}
}

// TestSilentMonitorsDoNotHoldUpTheHunt has monitors that take connections and
// say nothing.
func TestSilentMonitorsDoNotHoldUpTheHunt(t *testing.T) {
	c := newCluster(t, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cl := c.started(func(cfg *Config) {
		cfg.Conf = c.config(conf.Setting{Name: "mon_host", Value: "v2:" + l.Addr().String() + ",v2:" + c.mons[0].addr.IP.String()})
	})
	if c.at(cl) != c.mons[0] {
		t.Error("not at the one that answers")
	}
}

func TestStartFailsAtOnceWhenItCannotWork(t *testing.T) {
	c := newCluster(t, 2)
	badRing, empty := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "empty")
	for path, text := range map[string]string{badRing: "[client.admin\n", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, tc := range map[string]struct {
		settings []conf.Setting
		want     error
		no       errno.Errno
	}{
		"wrong key":    {[]conf.Setting{{Name: "key", Value: cephx.NewKey(cephx.KeyAES).Base64()}}, cephx.ErrDenied, 13},
		"rubbish key":  {[]conf.Setting{{Name: "key", Value: "rubbish"}}, cephx.ErrBadKey, 2},
		"no keyring":   {[]conf.Setting{{Name: "key", Value: ""}, {Name: "keyring", Value: "/nonexistent/keyring"}}, conf.ErrNoKeyring, 2},
		"only cephx":   {[]conf.Setting{{Name: "key", Value: ""}, {Name: "keyring", Value: "/nonexistent/keyring"}, {Name: "auth_client_required", Value: "cephx"}}, conf.ErrNoKeyring, 2},
		"bad keyring":  {[]conf.Setting{{Name: "key", Value: ""}, {Name: "keyring", Value: badRing}}, conf.ErrKey, 2},
		"no key file":  {[]conf.Setting{{Name: "key", Value: ""}, {Name: "keyfile", Value: badRing + ".none"}}, conf.ErrKey, 2},
		"not in it":    {[]conf.Setting{{Name: "key", Value: ""}, {Name: "keyring", Value: empty}}, cephx.ErrNoKey, 13},
		"only none":    {[]conf.Setting{{Name: "auth_client_required", Value: "none"}}, cephx.ErrDenied, 13},
		"unknown host": {[]conf.Setting{{Name: "mon_host", Value: "1.2.3.4:x"}}, nil, 22},
	} {
		cl := c.client(func(cfg *Config) { cfg.Conf = c.config(tc.settings...) })
		err := cl.Start(t.Context())
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !errors.Is(err, tc.no) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStartSaysWhyNoMonitorAnswers(t *testing.T) {
	c := newCluster(t, 1)
	c.mons[0].kill()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := c.client().Start(ctx)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, errno.ErrTimedOut) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func TestStartGoesOnUntilAMonitorIsThere(t *testing.T) {
	c := newCluster(t, 1)
	c.mons[0].kill()
	cl := c.client()
	done := make(chan error, 1)
	go func() { done <- cl.Start(t.Context()) }()
	for range 200 {
		cl.mu.Lock()
		failed := cl.lastErr != nil
		cl.mu.Unlock()
		if failed {
			break
		}
		time.Sleep(time.Millisecond) // bounded above; only until the first failure shows
	}
	c.mons[0].revive()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_ = cl.Close()
}

func TestCentralConfigurationIsFollowed(t *testing.T) {
	c := newCluster(t, 1)
	changes := make(chan []string, 10)
	cl := c.started(func(cfg *Config) { cfg.OnConfig = func(n []string) { changes <- n } })
	c.publish("config", func() { c.options = map[string]string{"rbd_default_order": "24", "key": "ignored"} })
	if got := <-changes; !reflect.DeepEqual(got, []string{"rbd_default_order"}) { // the key is set on the command line
		t.Error(got)
	}
	if cl.cfg.Conf.Int("rbd_default_order") != 24 {
		t.Error(cl.cfg.Conf.Get("rbd_default_order"))
	}
}

func TestClientLeavesAMonitorThatLeftTheMap(t *testing.T) {
	c := newCluster(t, 2)
	cl := c.started()
	gone := c.at(cl)
	c.publish("monmap", func() {
		delete(c.monmap.Mons, gone.name)
		c.monmap.Epoch++
	})
	eventually(t, cl, "the session moves", func() bool { return cl.session != nil && cl.session.target.Addr != gone.addr })
}

func TestRefusedRenewalStartsFromScratch(t *testing.T) {
	c := newCluster(t, 1)
	ids := make(chan [2]uint64, 1)
	cl := c.started(func(cfg *Config) { cfg.OnGlobalID = func(old, id uint64) { ids <- [2]uint64{old, id} } })
	before := cl.GlobalID()
	c.mu.Lock()
	c.noRenewal = true
	c.mu.Unlock()
	cl.auth.InvalidateServices()
	cl.kickRenewal()
	if got := <-ids; got[0] != before || got[1] == before || got[1] == 0 {
		t.Error(got)
	}
	eventually(t, cl, "there is a session again", func() bool { return cl.session != nil })
	if !cl.auth.HasTicket(entity.TypeOSD) {
		t.Error("no ticket")
	}
}

func TestOldTicketThatIsRefusedIsDropped(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.started()
	before := cl.GlobalID()
	c.keys.Rotate(entity.TypeAuth)
	c.keys.Rotate(entity.TypeAuth)
	c.at(cl).kill()
	eventually(t, cl, "there is a session with a new id", func() bool { return cl.session != nil && cl.globalID() != before })
}

func TestTicketsAreRenewedInTime(t *testing.T) {
	c := newCluster(t, 1, cephx.WithTTL(time.Hour, 80*time.Millisecond))
	cl := c.started()
	eventually(t, cl, "tickets were renewed three times", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.renewals >= 3
	})
	if _, err := cl.ServiceAuth(t.Context(), entity.TypeOSD); err != nil {
		t.Error(err)
	}
}

func TestNewAuthEpochFetchesNewTickets(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.started()
	c.publish("monmap", func() {
		c.monmap.Epoch++
		c.monmap.Auth.Epoch++
	})
	eventually(t, cl, "tickets were renewed", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.renewals >= 1 && cl.auth.HasTicket(entity.TypeOSD)
	})
}

// TestDialFetchesNewTicketsWhenOneIsRefused has an OSD whose keys were rotated
// twice since the ticket was made.
func TestDialFetchesNewTicketsWhenOneIsRefused(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.started()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, _ := entity.ParseAddr("v2:" + l.Addr().String() + "/8")
	var attempts atomic.Int32
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			attempts.Add(1)
			go func() {
				conn, err := msgr2.Accept(t.Context(), nc, c.keys.ServiceAuth(entity.TypeOSD), msgr2.Config{Type: entity.TypeOSD, Addrs: entity.AddrVec{addr}, Features: 3, Handler: ignored{}})
				if err == nil {
					<-conn.Done()
				}
			}()
		}
	}()
	c.keys.Rotate(entity.TypeOSD)
	c.keys.Rotate(entity.TypeOSD)
	cfg := msgr2.Config{Addrs: cl.cfg.Msgr.Addrs, Features: 3, Modes: []msgr2.Mode{msgr2.ModeSecure}, Handler: ignored{}}
	conn, err := cl.Dial(t.Context(), entity.TypeOSD, entity.AddrVec{addr}, cfg)
	if err != nil || attempts.Load() != 2 {
		t.Fatalf("%v after %d attempts", err, attempts.Load())
	}
	_ = conn.Close()
}

type ignored struct{}

func (ignored) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) { m.Release() }
func (ignored) HandleReset(*msgr2.Conn, error)                {}

func TestSubscriptionsGoOnWhereTheyWere(t *testing.T) {
	c := newCluster(t, 2)
	cl := c.client()
	asked := make(chan map[string]wire.Subscription, 10)
	c.onMessage = func(_ *mon, _ *msgr2.Conn, m *msgr2.Message) bool {
		if m.Type == wire.TypeMonSubscribe {
			var f wire.MonSubscribe
			_ = wire.Decode(&f, m.Front)
			asked <- f.What
		}
		return false
	}
	if err := cl.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	<-asked
	cl.Subscribe("osdmap", 0, false)
	cl.Subscribe("mgrmap", 5, true)
	if w := <-asked; !reflect.DeepEqual(w, map[string]wire.Subscription{"osdmap": {}}) {
		t.Error(w)
	}
	if w := <-asked; !reflect.DeepEqual(w, map[string]wire.Subscription{"mgrmap": {Start: 5, Flags: wire.SubscribeOnce}}) {
		t.Error(w)
	}
	cl.Got("osdmap", 41)
	cl.Got("mgrmap", 5)
	c.at(cl).kill()
	w := <-asked
	if want := (map[string]wire.Subscription{"osdmap": {Start: 42}, "monmap": {Start: 2}, "config": {}}); !reflect.DeepEqual(w, want) {
		t.Error(w)
	}
}

func TestOrder(t *testing.T) {
	mk := func(port string, prio, weight uint16) conf.Mon {
		a, err := entity.ParseAddr("v2:127.0.0.1:" + port)
		if err != nil {
			t.Fatal(err)
		}
		return conf.Mon{Name: port, Addr: a, Priority: prio, Weight: weight}
	}
	mons := []conf.Mon{mk("3", 1, 0), mk("1", 0, 10), mk("2", 0, 90)}
	first := map[string]int{}
	seed := 0.0
	chance := func() float64 { seed += 0.013; return seed - float64(int(seed)) }
	for range 1000 {
		got := order(append([]conf.Mon(nil), mons...), entity.Addr{}, chance)
		if got[2].Name != "3" {
			t.Fatal(got)
		}
		first[got[0].Name]++
	}
	if first["1"] < 50 || first["1"] > 150 {
		t.Errorf("first were %v", first)
	}
	if got := order(append([]conf.Mon(nil), mons...), mons[2].Addr, chance); got[2].Name != "2" {
		t.Errorf("the one that died is not last: %v", got)
	}
}
