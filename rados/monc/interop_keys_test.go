//go:build interop && owncluster

package monc

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

// TestInteropKeyChanges has a 20.2 cluster of our own and makes it allow both
// types of key: a user of type 1, rotating keys wiped under a live
// client, and a user's key replaced.
func TestInteropKeyChanges(t *testing.T) {
	path := os.Getenv("RBDM_OWN_CONF")
	if path == "" {
		t.Fatal("set RBDM_OWN_CONF to the ceph.conf of a cluster that may be changed")
	}
	root := start(t, loadConf(t, path))
	if root.MonMap().V < 10 {
		return // this release has one type of key
	}
	for _, cmd := range []map[string]any{
		{"prefix": "config set", "who": "mon", "name": "mon_auth_allow_insecure_key", "value": "true"},
		{"prefix": "mon set", "name": "auth_allowed_ciphers", "value": "aes,aes256k"},
	} {
		if _, _, err := root.Command(t.Context(), cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	auth := func(prefix string, more map[string]any) string {
		cmd := map[string]any{"prefix": prefix, "entity": "client.rbdm-keys"}
		for k, v := range more {
			cmd[k] = v
		}
		out, _, err := root.Command(t.Context(), cmd, nil)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	caps := map[string]any{"caps": []string{"mon", "allow *", "mgr", "allow *"}, "key_type": "aes"}
	auth("auth get-or-create", caps)
	defer auth("auth rm", nil)
	old := auth("auth print-key", nil)
	login := func(key string) (*Client, error) {
		inv := &conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "rbdm-keys"}, ConfFile: path, Explicit: true, Settings: []conf.Setting{{Name: "key", Value: key}}}
		cfg, err := inv.Load()
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{Conf: cfg, Msgr: msgrConfig(), Services: entity.TypeMon | entity.TypeMgr})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err = c.Start(ctx)
		t.Cleanup(func() { _ = c.Close() })
		return c, err
	}
	if k, err := cephx.ParseKey(old); err != nil || k.Type != cephx.KeyAES {
		t.Fatalf("key is %v, %v", k, err)
	}
	c, err := login(old)
	if err != nil {
		t.Fatal(err)
	}
	dialMgr := func() error {
		target, kind := serviceAddrs(t, root, "mgr")
		cfg := msgrConfig()
		cfg.Modes, cfg.Handler = []msgr2.Mode{msgr2.ModeSecure}, ignore{}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		conn, err := c.Dial(ctx, kind, target, cfg)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := dialMgr(); err != nil {
		t.Error(err)
	}
	id, epoch := c.GlobalID(), c.MonMap().Auth.Epoch
	if _, _, err := root.Command(t.Context(), map[string]any{"prefix": "auth wipe-rotating-service-keys"}, nil); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(60 * time.Second)
	for err = dialMgr(); err != nil && time.Now().Before(deadline); err = dialMgr() {
		t.Logf("after the wipe: %v", err)
		time.Sleep(time.Second)
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("id %d is now %d, auth epoch %d is now %d", id, c.GlobalID(), epoch, c.MonMap().Auth.Epoch)
	if _, _, err := c.Command(t.Context(), map[string]any{"prefix": "fsid"}, nil); err != nil {
		t.Error(err)
	}

	auth("auth rotate", map[string]any{"key_type": "aes256k"})
	fresh := auth("auth print-key", nil)
	for _, key := range []string{old, fresh} {
		_, err := login(key)
		t.Logf("after the rotation, key of type %.2s: %v", key, err)
		if key == fresh && err != nil {
			t.Error(err)
		}
		if key != fresh && fresh != old && err != nil && !errors.Is(err, cephx.ErrDenied) {
			t.Error(err)
		}
	}
}
