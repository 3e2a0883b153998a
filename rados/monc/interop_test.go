//go:build interop

package monc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// features is a mask that 16.2 to 20.2 accept.
const features = 0x3f01cfbffffdffff

// confs returns the configuration files of the real clusters to test against.
func confs(t *testing.T) []string {
	list := os.Getenv("RBDM_CONFS")
	if list == "" {
		list = os.Getenv("RBDM_CONF")
	}
	if list == "" {
		t.Fatal("set RBDM_CONFS to the ceph.conf of one or more real clusters, separated by commas or colons")
	}
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ':' })
}

func loadConf(t *testing.T, path string, settings ...conf.Setting) *conf.Config {
	t.Helper()
	inv := &conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, ConfFile: path, Explicit: true, Settings: settings}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func msgrConfig() msgr2.Config {
	return msgr2.Config{Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: uint32(time.Now().UnixNano()) | 1}}, Features: features}
}

func start(t *testing.T, cfg *conf.Config, change ...func(*Config)) *Client {
	t.Helper()
	mc := Config{Conf: cfg, Msgr: msgrConfig()}
	for _, f := range change {
		f(&mc)
	}
	c, err := New(mc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// forEachCluster runs f against every cluster, in crc and in secure mode.
func forEachCluster(t *testing.T, f func(t *testing.T, path string, mode conf.Setting)) {
	for _, path := range confs(t) {
		for _, mode := range []string{"crc", "secure"} {
			t.Run(path+"/"+mode, func(t *testing.T) { f(t, path, conf.Setting{Name: "ms_mon_client_mode", Value: mode}) })
		}
	}
}

func TestInteropSession(t *testing.T) {
	forEachCluster(t, func(t *testing.T, path string, mode conf.Setting) {
		old := start(t, loadConf(t, path, mode), func(cfg *Config) { cfg.Msgr.Revision0 = true }) // msgr2.0
		if _, _, err := old.Command(t.Context(), map[string]any{"prefix": "fsid"}, nil); err != nil {
			t.Errorf("over msgr2.0: %v", err)
		}
		c := start(t, loadConf(t, path, mode))
		if c.GlobalID() == 0 || c.FSID().IsZero() || len(c.MonMap().Mons) == 0 {
			t.Errorf("id %d, fsid %v, map %+v", c.GlobalID(), c.FSID(), c.MonMap())
		}
		out, _, err := c.Command(t.Context(), map[string]any{"prefix": "fsid", "format": "json"}, nil)
		if err != nil || !strings.Contains(string(out), c.FSID().String()) {
			t.Errorf("fsid: %q, %v", out, err)
		}
		if _, _, err = c.Command(t.Context(), map[string]any{"prefix": "osd pool get", "pool": "no such pool", "var": "size"}, nil); !errors.Is(err, errno.ErrNotFound) {
			t.Errorf("command on a missing pool: %v", err)
		}
		if v, oldest, err := c.GetVersion(t.Context(), "osdmap"); err != nil || v < oldest || v == 0 {
			t.Errorf("osdmap %d to %d, %v", oldest, v, err)
		}
		if st, err := c.Statfs(t.Context(), nil); err != nil || st.FSID != c.FSID() {
			t.Errorf("statfs: %+v, %v", st, err)
		}
		const key = "rbdm-interop/monc"
		if _, _, err = c.Command(t.Context(), map[string]any{"prefix": "config-key set", "key": key}, []byte("v\x00w")); err != nil {
			t.Error(err)
		}
		if out, _, err = c.Command(t.Context(), map[string]any{"prefix": "config-key get", "key": key}, nil); err != nil || string(out) != "v\x00w" {
			t.Errorf("config-key holds %q, %v", out, err)
		}
		if _, _, err = c.Command(t.Context(), map[string]any{"prefix": "config-key rm", "key": key}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestInteropRefusals(t *testing.T) {
	for _, path := range confs(t) {
		good := loadConf(t, path)
		key, err := good.Key()
		if err != nil {
			t.Fatal(err)
		}
		wrong := cephx.NewKey(key.Type)
		nobody := entity.AuthName{Type: entity.TypeClient, ID: "rbdm-nobody"}
		for what, inv := range map[string]*conf.Invocation{
			"wrong key":    {Name: good.Name(), Settings: []conf.Setting{{Name: "key", Value: wrong.Base64()}}},
			"unknown user": {Name: nobody, Settings: []conf.Setting{{Name: "key", Value: key.Base64()}}},
		} {
			inv.ConfFile, inv.Explicit = path, true
			cfg, err := inv.Load()
			if err != nil {
				t.Fatal(err)
			}
			c, err := New(Config{Conf: cfg, Msgr: msgrConfig()})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = c.Start(t.Context())
			if !errors.Is(err, cephx.ErrDenied) || time.Since(began) > 10*time.Second {
				t.Errorf("%s, %s: %v after %v", path, what, err, time.Since(began))
			}
		}
	}
}

// TestInteropServices connects to every kind of service with our tickets.
func TestInteropServices(t *testing.T) {
	for _, path := range confs(t) {
		c := start(t, loadConf(t, path))
		for _, service := range []string{"osd", "mgr"} {
			for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
				target, kind := serviceAddrs(t, c, service)
				cfg := msgrConfig()
				cfg.Modes, cfg.Lossy, cfg.Handler = []msgr2.Mode{mode}, true, ignore{}
				conn, err := c.Dial(t.Context(), kind, target, cfg)
				if err != nil {
					t.Errorf("%s: %s in mode %v: %v", path, service, mode, err)
					continue
				}
				if conn.Mode() != mode {
					t.Errorf("%s: %s in mode %v, wanted %v", path, service, conn.Mode(), mode)
				}
				_ = conn.Close()
			}
		}
	}
}

type ignore struct{}

func (ignore) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) { m.Release() }
func (ignore) HandleReset(*msgr2.Conn, error)                {}

func serviceAddrs(t *testing.T, c *Client, service string) (entity.AddrVec, entity.Type) {
	t.Helper()
	type addrvec struct {
		Addrvec []struct {
			Type, Addr string
			Nonce      uint32
		} `json:"addrvec"`
	}
	var vec addrvec
	kind := entity.TypeOSD
	if service == "mgr" {
		kind = entity.TypeMgr
		var dump struct {
			Active addrvec `json:"active_addrs"`
		}
		commandJSON(t, c, map[string]any{"prefix": "mgr dump", "format": "json"}, &dump)
		vec = dump.Active
	} else {
		var dump struct {
			OSDs []struct {
				Public addrvec `json:"public_addrs"`
			} `json:"osds"`
		}
		commandJSON(t, c, map[string]any{"prefix": "osd dump", "format": "json"}, &dump)
		vec = dump.OSDs[0].Public
	}
	var out entity.AddrVec
	for _, a := range vec.Addrvec {
		addr, err := entity.ParseAddr(a.Type + ":" + a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		addr.Nonce = a.Nonce
		out = append(out, addr)
	}
	return out, kind
}

func commandJSON(t *testing.T, c *Client, cmd map[string]any, into any) {
	t.Helper()
	out, _, err := c.Command(t.Context(), cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
}

// TestInteropTicketsAreRenewed makes all kinds of renewals happen early.
func TestInteropTicketsAreRenewed(t *testing.T) {
	forEachCluster(t, func(t *testing.T, path string, mode conf.Setting) {
		var offset atomic.Int64
		c := start(t, loadConf(t, path, mode), func(cfg *Config) {
			cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		})
		id := c.GlobalID()
		if err := c.RefreshTickets(t.Context(), entity.TypeOSD); err != nil {
			t.Fatal(err)
		}
		// Past 3/4 of the AUTH ticket's three days: the client takes its own
		// tickets for expired and proves itself again on the live session.
		offset.Store(int64(60 * time.Hour))
		before := c.auth.NextRenewal()
		c.kickRenewal()
		err := c.wait(t.Context(), func() (bool, error) { return c.auth.NextRenewal().After(before.Add(time.Hour)), nil })
		if err != nil {
			t.Fatal(err)
		}
		target, kind := serviceAddrs(t, c, "osd")
		cfg := msgrConfig()
		cfg.Modes, cfg.Lossy, cfg.Handler = []msgr2.Mode{msgr2.ModeCRC}, true, ignore{}
		conn, err := c.Dial(t.Context(), kind, target, cfg)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if c.GlobalID() != id {
			t.Errorf("id %d became %d", id, c.GlobalID())
		}
		// A new session gets the old id back.
		c.mu.Lock()
		s := c.session
		c.mu.Unlock()
		_ = s.conn.Close()
		err = c.wait(t.Context(), func() (bool, error) { return c.session != nil && c.session != s, nil })
		if err != nil || c.GlobalID() != id {
			t.Errorf("id %d became %d after a reconnect, %v", id, c.GlobalID(), err)
		}
		if _, _, err := c.Command(t.Context(), map[string]any{"prefix": "fsid"}, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestInteropSubscriptions follows the OSD map and the central configuration.
func TestInteropSubscriptions(t *testing.T) {
	for _, path := range confs(t) {
		maps := make(chan []byte, 10)
		changes := make(chan []string, 10)
		mc := Config{Conf: loadConf(t, path), Msgr: msgrConfig(), OnConfig: func(changed []string) { changes <- changed }}
		c, err := New(mc)
		if err != nil {
			t.Fatal(err)
		}
		c.Register(41, func(m *msgr2.Message) error {
			maps <- slices.Clone(m.Front)
			return nil
		})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Subscribe("osdmap", 0, true)
		select {
		case p := <-maps:
			if r := denc.NewReader(p); r.UUID() != c.FSID() {
				t.Errorf("%s: OSD map of another cluster", path)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: no OSD map", path)
		}
		set := func(prefix string, more map[string]any) {
			cmd := map[string]any{"prefix": prefix, "who": "client.admin", "name": "rbd_mirror_sync_point_update_age"}
			for k, v := range more {
				cmd[k] = v
			}
			if _, _, err := c.Command(t.Context(), cmd, nil); err != nil {
				t.Fatal(err)
			}
		}
		set("config set", map[string]any{"value": "77"})
		waitChange(t, changes, "rbd_mirror_sync_point_update_age")
		if v, from, _ := mc.Conf.Lookup("rbd_mirror_sync_point_update_age"); !strings.HasPrefix(v, "77") || from != conf.LevelMon {
			t.Errorf("%s: option is %q from %v", path, v, from)
		}
		set("config rm", nil)
		waitChange(t, changes, "rbd_mirror_sync_point_update_age")
	}
}

func waitChange(t *testing.T, changes <-chan []string, name string) {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case c := <-changes:
			if slices.Contains(c, name) {
				return
			}
		case <-deadline:
			t.Fatalf("option %s did not change", name)
		}
	}
}

func TestInteropPoolOps(t *testing.T) {
	for _, path := range confs(t) {
		c := start(t, loadConf(t, path))
		const name = "monc_interop"
		remove := func() {
			_, _, err := c.Command(t.Context(), map[string]any{"prefix": "osd pool rm", "pool": name, "pool2": name, "yes_i_really_really_mean_it": true, "sure": "--yes-i-really-really-mean-it"}, nil)
			if err != nil {
				t.Error(err)
			}
		}
		if _, _, err := c.Command(t.Context(), map[string]any{"prefix": "osd pool create", "pool": name, "pg_num": 8}, nil); err != nil {
			t.Fatal(err)
		}
		defer remove()
		var st struct {
			ID int64 `json:"pool_id"`
		}
		commandJSON(t, c, map[string]any{"prefix": "osd pool get", "pool": name, "var": "size", "format": "json"}, &st)
		reply, err := c.PoolOp(t.Context(), wire.PoolOp{Pool: uint32(st.ID), Op: wire.PoolOpCreateUnmanagedSnap, CrushRule: -1})
		if err != nil || len(reply.Data) != 8 || reply.Epoch == 0 {
			t.Fatalf("%s: %+v, %v", path, reply, err)
		}
		id := denc.NewReader(reply.Data).U64()
		if _, err = c.PoolOp(t.Context(), wire.PoolOp{Pool: uint32(st.ID), Op: wire.PoolOpDeleteUnmanagedSnap, SnapID: id, CrushRule: -1}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, err = c.PoolOp(t.Context(), wire.PoolOp{Pool: 1 << 30, Op: wire.PoolOpCreateUnmanagedSnap, CrushRule: -1}); !errors.Is(err, errno.ErrNotFound) {
			t.Errorf("%s: snapshot in a missing pool: %v", path, err)
		}
	}
}
