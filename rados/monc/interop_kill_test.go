//go:build interop && owncluster

package monc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbdm/rbdm/rados/conf"
)

// TestInteropFailover stops the monitor in use, by the pid files of a cluster
// of three that RBDM_OWN_CONF names (its run directory beside it), while
// commands run: none is lost. A stopped monitor is silent, a killed one gone;
// this one goes on afterwards.
func TestInteropFailover(t *testing.T) {
	path := os.Getenv("RBDM_OWN_CONF")
	if path == "" {
		t.Fatal("set RBDM_OWN_CONF to the ceph.conf of a cluster of three monitors whose pid files are in run beside it")
	}
	cfg := loadConf(t, path)
	for _, s := range [][2]string{{"mon_client_ping_interval", "1"}, {"mon_client_ping_timeout", "2"}} {
		if err := cfg.Set(conf.LevelOverride, s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, cfg)
	id := c.GlobalID()
	for round := range 4 {
		before := c.Current()
		pid := monPID(t, c, path, before.IP.Port())
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		for i := range 5 {
			key := fmt.Sprintf("rbdm-interop/%d", i)
			if _, _, err := c.Command(ctx, map[string]any{"prefix": "config-key set", "key": key, "val": strconv.Itoa(round)}, nil); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			if out, _, err := c.Command(ctx, map[string]any{"prefix": "config-key get", "key": key}, nil); err != nil || string(out) != strconv.Itoa(round) {
				t.Errorf("round %d: %q, %v", round, out, err)
			}
		}
		cancel()
		t.Logf("round %d: %v stopped, now at %v after %v", round, before, c.Current(), time.Since(began))
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if c.Current() == before || c.GlobalID() != id {
			t.Errorf("at %v, id %d, was %d", c.Current(), c.GlobalID(), id)
		}
	}
}

// monPID returns the process of the monitor that listens on port.
func monPID(t *testing.T, c *Client, path string, port uint16) int {
	t.Helper()
	for name, m := range c.MonMap().Mons {
		if a, ok := m.Addrs.Msgr2(); !ok || a.IP.Port() != port {
			continue
		}
		p, err := os.ReadFile(filepath.Join(filepath.Dir(path), "run", "mon."+name+".pid"))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(p)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("no monitor on port %d", port)
	return 0
}
