//go:build interop

package anycluster

import (
	"os"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

// realConfig returns the configuration of the real cluster.
func realConfig(tb testing.TB) *conf.Config {
	tb.Helper()
	path := os.Getenv("RBDM_CONF")
	if path == "" {
		path, _, _ = strings.Cut(strings.ReplaceAll(os.Getenv("RBDM_CONFS"), ":", ","), ",")
	}
	if path == "" {
		tb.Fatal("neither RBDM_CONF nor RBDM_CONFS names a ceph.conf")
	}
	inv := &conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, ConfFile: path, Explicit: true}
	cfg, err := inv.Load()
	must(tb, err)
	return cfg
}
