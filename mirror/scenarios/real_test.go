//go:build interop

package scenarios

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

const (
	// patience bounds what is waited for, and worldTime a test: a real cluster on a
	// busy machine is slow.
	patience  = 3 * time.Minute
	worldTime = 15 * time.Minute
	// sideBySide is 0: the tests have the same two clusters, one after the other.
	sideBySide = 0
)

// realConfig returns the configuration of one of the two real clusters.
func realConfig(t *testing.T, name string) *conf.Config {
	t.Helper()
	variable := map[string]string{"site-a": "RBDM_CONF", "site-b": "RBDM_PEER_CONF"}[name]
	path := os.Getenv(variable)
	require.NotEmpty(t, path, "%s names no ceph.conf", variable)
	inv := &conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, ConfFile: path, Explicit: true}
	cfg, err := inv.Load()
	require.NoError(t, err)
	return cfg
}
