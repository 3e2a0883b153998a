package fakecluster_test

import (
	"context"
	"fmt"
	"os"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// exampleT stands for the *testing.T of a test.
type exampleT struct{ ends []func() }

func (t *exampleT) Helper()           {}
func (t *exampleT) Cleanup(f func())  { t.ends = append(t.ends, f) }
func (t *exampleT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (t *exampleT) TempDir() string   { return os.TempDir() }

func (t *exampleT) end() {
	for i := range t.ends {
		t.ends[len(t.ends)-1-i]()
	}
}

// connectPool connects package rados to a cluster and opens a pool.
func connectPool(ctx context.Context, t *exampleT, c *fakecluster.Cluster, pool string) *rados.IoCtx {
	key, err := c.Key("client.admin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	for k, v := range map[string]string{"mon_host": c.MonHost(), "key": key} {
		if err := cfg.Set(conf.LevelOverride, k, v); err != nil {
			t.Fatal(err)
		}
	}
	client, err := rados.Connect(ctx, cfg, rados.WithDialer(c.Dialer()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	io, err := client.OpenPool(ctx, pool)
	if err != nil {
		t.Fatal(err)
	}
	return io
}
