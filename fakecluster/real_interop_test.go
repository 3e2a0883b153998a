//go:build interop

package fakecluster_test

import (
	"os"
	"testing"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// realConfig is the configuration of the real cluster of RBDM_CONF.
func realConfig(t *testing.T) *conf.Config {
	t.Helper()
	path := os.Getenv("RBDM_CONF")
	if path == "" {
		t.Fatal("RBDM_CONF names no ceph.conf")
	}
	inv, _, err := conf.ParseArgs([]string{"-c", path}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(t, err)
	cfg, err := inv.Load()
	must(t, err)
	return cfg
}

// realCluster is a client of the cluster of RBDM_CONF that ends with the test.
func realCluster(t *testing.T) *rados.Client {
	t.Helper()
	c, err := rados.Connect(t.Context(), realConfig(t))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
