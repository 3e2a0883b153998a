// Package anycluster gives tests a Ceph cluster of either kind, so that the same test
// runs on both: one in memory of package fakecluster, or, with the build tag interop,
// the real one whose ceph.conf RBDM_CONF (or else RBDM_CONFS, the first of several)
// names. Where a test's result differs between them, the one in memory is wrong.
//
// Tests that need faults at a chosen moment use fakecluster itself.
package anycluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// Cluster is a cluster with a pool for a test.
type Cluster struct {
	config  *conf.Config
	options []rados.Option
	pool    string
	release int
}

// New returns a cluster with a new pool for RBD. Both are gone after the test: on a
// real cluster the pool is.
func New(tb testing.TB) *Cluster {
	tb.Helper()
	if cfg := realConfig(tb); cfg != nil {
		return onReal(tb, cfg)
	}
	return onFake(tb)
}

// Each runs f on a cluster in memory for each release, or once on the real one.
func Each(t *testing.T, releases []int, f func(t *testing.T, c *Cluster)) {
	t.Helper()
	if cfg := realConfig(t); cfg != nil {
		t.Run("real", func(t *testing.T) { f(t, onReal(t, cfg)) })
		return
	}
	for _, r := range releases {
		t.Run(fmt.Sprint(r), func(t *testing.T) { f(t, onFake(t, fakecluster.Release(r))) })
	}
}

func onFake(tb testing.TB, opts ...fakecluster.Option) *Cluster {
	tb.Helper()
	fake := fakecluster.New(tb, append(opts, fakecluster.Pools("rbd"), fakecluster.InProcess())...)
	key, err := fake.Key("client.admin")
	must(tb, err)
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(tb, cfg.Set(conf.LevelOverride, "mon_host", fake.MonHost()))
	must(tb, cfg.Set(conf.LevelOverride, "key", key))
	return &Cluster{config: cfg, options: []rados.Option{rados.WithDialer(fake.Dialer())}, pool: "rbd", release: int(fake.OSDMap().OSDOnly.RequireRelease)}
}

func onReal(tb testing.TB, cfg *conf.Config) *Cluster {
	tb.Helper()
	c := &Cluster{config: cfg, pool: "rbdm-test-" + rand.Text()}
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	cl, err := rados.Connect(ctx, cfg)
	must(tb, err)
	must(tb, cl.CreatePool(ctx, c.pool))
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cl.DeletePool(ctx, c.pool); err != nil {
			tb.Error(err)
		}
		_ = cl.Close()
	})
	_, _, err = cl.MonCommand(ctx, map[string]string{"prefix": "osd pool application enable", "pool": c.pool, "app": "rbd"}, nil)
	must(tb, err)
	must(tb, cl.LatestOSDMap(ctx))
	c.release = int(cl.OSDMap().OSDOnly.RequireRelease)
	return c
}

// Release is the release of Ceph, as 16.
func (c *Cluster) Release() int { return c.release }

// PoolName is the name of the pool.
func (c *Cluster) PoolName() string { return c.pool }

// Config is what clients connect with.
func (c *Cluster) Config() *conf.Config { return c.config }

// Options goes with Config.
func (c *Cluster) Options() []rados.Option { return c.options }

// Client returns a client that ends with the test.
func (c *Cluster) Client(tb testing.TB) *rados.Client {
	tb.Helper()
	cl, err := rados.Connect(tb.Context(), c.config, c.options...)
	must(tb, err)
	tb.Cleanup(func() { _ = cl.Close() })
	return cl
}

// Pool returns the pool through a client of its own.
func (c *Cluster) Pool(tb testing.TB) *rados.IoCtx {
	tb.Helper()
	io, err := c.Client(tb).OpenPool(tb.Context(), c.pool)
	must(tb, err)
	return io
}

// Pool returns the pool of a new cluster.
func Pool(tb testing.TB) *rados.IoCtx {
	tb.Helper()
	return New(tb).Pool(tb)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
