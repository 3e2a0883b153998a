//go:build interop

package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// secondMgr starts another manager, which is killed after the test.
func (s *site) secondMgr(t *testing.T) {
	t.Helper()
	dir := s.folder(t, "mgr-y")
	text, err := os.ReadFile(s.conf())
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(s.dir, "mgr")
	conf := putFile(t, dir, "ceph.conf", []byte(strings.Replace(string(text), "mgr data = "+data, "mgr data = "+dir, 1)))
	s.real(t, "ceph", "auth", "get-or-create", "mgr.y", "mon", "allow profile mgr", "osd", "allow *", "mds", "allow *", "-o", filepath.Join(dir, "keyring"))
	s.start(t, s.command(context.Background(), "ceph-mgr", "-f", "-c", conf, "-i", "y", "--keyring", filepath.Join(dir, "keyring")), "mgr-y.log")
	t.Cleanup(func() { s.command(context.Background(), "ceph", "auth", "rm", "mgr.y").Run() })
	s.waitMgr(t, func(m mgrState) bool { return m.Standby == 1 })
}

type mgrState struct {
	Active    string `json:"active_name"`
	Available bool   `json:"available"`
	Standby   int    `json:"num_standby"`
}

func (s *site) waitMgr(t *testing.T, ok func(mgrState) bool) (m mgrState) {
	t.Helper()
	eventually(t, "the managers", time.Minute, func() (bool, string) {
		out := s.real(t, "ceph", "mgr", "stat", "-f", "json")
		if err := json.Unmarshal([]byte(out), &m); err != nil {
			t.Fatal(err)
		}
		return m.Available && ok(m), out
	})
	return m
}

// TestMgrCommandsThroughAFailover gives commands that the manager carries out, one
// after the other, while the active manager hands over: none may fail.
func TestMgrCommandsThroughAFailover(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	pool := s.newPool(t, "mgrfailover")
	s.real(t, "rbd", "mirror", "pool", "enable", pool, "image")
	s.secondMgr(t)
	active := s.waitMgr(t, func(mgrState) bool { return true }).Active
	stop := make(chan struct{})
	var commands sync.WaitGroup
	given := 0
	commands.Go(func() {
		for {
			for _, line := range []string{"mirror snapshot schedule add -p POOL 1h", "mirror snapshot schedule ls -p POOL", "mirror snapshot schedule rm -p POOL", "trash purge schedule ls -p POOL -R"} {
				out, err := s.ours(t.Context(), append([]string{"rbd"}, strings.Fields(strings.ReplaceAll(line, "POOL", pool))...)...).CombinedOutput()
				given++
				if err != nil {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	for range 2 { // and back
		s.real(t, "ceph", "mgr", "fail", active)
		active = s.waitMgr(t, func(m mgrState) bool { return m.Active != active && m.Standby == 1 }).Active
	}
	close(stop)
	commands.Wait()
	t.Logf("%d commands", given)
	if active == "y" {
		s.real(t, "ceph", "mgr", "fail", "y")
		s.waitMgr(t, func(m mgrState) bool { return m.Active == "x" })
	}
}

// TestMgrModuleThatIsOff compares what the commands say that need the module
// rbd_support when there is none. Only 20.2 lets it be switched off.
func TestMgrModuleThatIsOff(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	if s.release != "20" {
		t.Logf("nothing to do on %s", s.release)
		return
	}
	real, ours := s.side(t, "mgroffr", s.command), s.side(t, "mgroffo", s.ours)
	s.real(t, "ceph", "mgr", "module", "force", "disable", "rbd_support", "--yes-i-really-mean-it")
	t.Cleanup(func() {
		s.command(context.Background(), "ceph", "mgr", "module", "enable", "rbd_support").Run()
		eventually(t, "the module again", time.Minute, func() (bool, string) {
			out, err := s.try(t, "rbd", "trash", "purge", "schedule", "ls", "-R")
			return err == nil, out
		})
	})
	s.waitMgr(t, func(mgrState) bool { return true })
	for _, line := range []string{"mirror snapshot schedule ls -p POOL", "mirror snapshot schedule add -p POOL 1h", "mirror snapshot schedule status",
		"trash purge schedule ls -p POOL", "trash purge schedule rm -p POOL", "perf image iostat POOL --iterations 1"} {
		got, want := ours.outcome(t, line), real.outcome(t, line)
		if got != want || strings.HasSuffix(got, "exit 0") {
			t.Errorf("rbd %s\nours:\n%s\nreal:\n%s", line, got, want)
		}
	}
}
