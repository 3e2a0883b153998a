//go:build !interop

package rados_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// fakes holds the clusters in memory by what confs called them.
var fakes sync.Map // string → *fakecluster.Cluster

// confs starts a cluster in memory for each release and returns their names.
func confs(t testing.TB) []string {
	var names []string
	for _, release := range []int{16, 18, 20} {
		c := fakecluster.New(t, fakecluster.Release(release))
		name := fmt.Sprintf("fake%d", release)
		key := fmt.Sprintf("%s-%p", name, c)
		fakes.Store(key, c)
		t.Cleanup(func() { fakes.Delete(key) })
		names = append(names, key)
	}
	return names
}

func connect(t testing.TB, name string, opts ...rados.Option) *rados.Client {
	t.Helper()
	v, _ := fakes.Load(name)
	cluster := v.(*fakecluster.Cluster)
	key, err := cluster.Key("client.admin")
	check(t, "key", err)
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	check(t, "mon_host", cfg.Set(conf.LevelOverride, "mon_host", cluster.MonHost()))
	check(t, "key", cfg.Set(conf.LevelOverride, "key", key))
	c, err := rados.Connect(testContext(t), cfg, opts...)
	check(t, "connect", err)
	t.Cleanup(func() { check(t, "close", c.Close()) })
	return c
}
