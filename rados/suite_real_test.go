//go:build interop

package rados_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// confs returns the clusters to test against: the ceph.conf files that RBDM_CONFS
// names, separated by colons, or the one of RBDM_CONF.
func confs(t testing.TB) []string {
	v := os.Getenv("RBDM_CONFS")
	if v == "" {
		v = os.Getenv("RBDM_CONF")
	}
	if v == "" {
		t.Fatal("set RBDM_CONF to a cluster's ceph.conf, or RBDM_CONFS to several, separated by colons")
	}
	return strings.Split(v, ":")
}

func load(t testing.TB, path string) *conf.Config {
	t.Helper()
	inv := &conf.Invocation{
		Name:     entity.AuthName{Type: entity.TypeClient, ID: "admin"},
		ConfFile: path, Explicit: true,
	}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func connect(t testing.TB, path string, opts ...rados.Option) *rados.Client {
	t.Helper()
	if os.Getenv("RBDM_LOG") != "" {
		h := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
		opts = append(opts, rados.WithLogger(slog.New(h)))
	}
	c, err := rados.Connect(testContext(t), load(t, path), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestInteropClassHello uses the class that Ceph has for such tests; clusters in
// memory have none like it.
func TestInteropClassHello(t *testing.T) {
	eachCluster(t, func(t *testing.T, c *rados.Client) {
		ctx, io := testContext(t), newPool(t, c)
		// cls_hello: reads, writes and a method that returns data from a write.
		out, err := io.Exec(ctx, "o", "hello", "say_hello", []byte("rbdm"))
		if errors.Is(err, rados.ErrNotFound) { // say_hello wants the object on some releases
			check(t, "create", io.WriteFull(ctx, "o", nil))
			out, err = io.Exec(ctx, "o", "hello", "say_hello", []byte("rbdm"))
		}
		check(t, "say_hello", err)
		if string(out) != "Hello, rbdm!" {
			t.Errorf("%q", out)
		}
		check(t, "record_hello", io.ExecWrite(ctx, "h", "hello", "record_hello", []byte("x")))
		op := rados.NewOp()
		res := op.CallWrite("hello", "write_return_data", nil)
		check(t, "write_return_data", io.Operate(ctx, "w", op, rados.ReturnVec()))
		if string(res.Bytes()) != "you might see this" || res.Return() != 42 {
			t.Errorf("%q %d", res.Bytes(), res.Return())
		}
		_, err = io.Exec(ctx, "o", "nosuchclass", "x", nil)
		if !errors.Is(err, rados.ErrNotSupported) && !errors.Is(err, rados.ErrPermission) {
			t.Errorf("missing class: %v", err)
		}
	})
}
