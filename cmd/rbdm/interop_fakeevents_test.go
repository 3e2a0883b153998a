//go:build interop

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRealClientsAndDaemonsThatFail lets daemons fail, wait and come back under
// Ceph's own programs.
func TestRealClientsAndDaemonsThatFail(t *testing.T) {
	s := newFakeSite(t, "--osds", "1")
	in := s.put(t, "in", 5<<20)
	put := func() *underWay { return s.begin(t, "rados", "-p", "rbd", "put", "o", in) }
	get := func(t *testing.T) {
		t.Helper()
		out := filepath.Join(s.dir, "out")
		s.begin(t, "rados", "-p", "rbd", "get", "o", out).succeeds(t)
		sameFiles(t, in, out)
	}
	put().succeeds(t)
	for name, step := range map[string][2]string{
		"killed OSD": {"kill osd.0", "start osd.0"}, "crashed OSD": {"crash osd.0 seed=1", "start osd.0"},
		"backoff": {"backoff pool=rbd", "unbackoff all"}, "full OSD": {"full osd.0 full", "full osd.0 none"},
		"partition": {"partition user=client.admin daemon=osd.0", "heal all"}, "frozen link": {"link freeze daemon=osd.0", "unlink all"},
	} {
		t.Run(name, func(t *testing.T) {
			s.say(t, step[0])
			u := put()
			u.waits(t, time.Second)
			s.say(t, step[1])
			u.succeeds(t)
			get(t)
		})
	}
	t.Run("crash of all", func(t *testing.T) {
		s.say(t, "fault message=osd_op_reply out delay=1h times=1")
		u := put()
		u.waits(t, time.Second)
		s.say(t, "unfault all")
		if answer := s.say(t, "crash seed=3"); !strings.Contains(answer, "seed=3") || strings.HasPrefix(answer, "kept=0 lost=0") {
			t.Error(answer)
		}
		s.say(t, "recover")
		u.succeeds(t)
		get(t)
	})
	t.Run("manager", func(t *testing.T) {
		s.say(t, "stop mgr")
		u := s.begin(t, "ceph", "pg", "stat")
		u.waits(t, time.Second)
		s.say(t, "start mgr")
		u.succeeds(t)
	})
	t.Run("errors", func(t *testing.T) {
		s.say(t, "fault object=o op=writefull errno=5 times=1")
		if u := put(); u.ends() == 0 || !strings.Contains(u.said(), "(5) Input/output error") {
			t.Error(u.said())
		}
		s.say(t, "fault object=o op=writefull op-errno=28 times=1")
		if u := put(); u.ends() == 0 || !strings.Contains(u.said(), "(28) No space left on device") {
			t.Error(u.said())
		}
		s.say(t, "unfault all", "fault daemon=osd.0 command=version errno=16 times=1")
		if u := s.begin(t, "ceph", "tell", "osd.0", "version"); u.ends() != 16 {
			t.Error(u.said())
		}
		s.say(t, "unfault all", "fault daemon=osd.0 command=version disconnect times=1")
		s.begin(t, "ceph", "tell", "osd.0", "version").succeeds(t)
		s.say(t, "unfault all")
	})
	t.Run("blocklisted", func(t *testing.T) {
		s.real(t, "rbd", "create", "-s", "64M", "rbd/bench")
		u := s.begin(t, "rbd", "bench", "--io-type", "write", "--io-total", "10G", "rbd/bench")
		u.waits(t, time.Second)
		s.say(t, "blocklist user=client.admin")
		if code := u.ends(); code != 108 {
			t.Errorf("exit code %d\n%s", code, u.said())
		}
		// Another client has another address, and breaks the lock of the dead one.
		s.begin(t, "rbd", "bench", "--io-type", "write", "--io-total", "1M", "rbd/bench").succeeds(t)
		if out := s.real(t, "ceph", "osd", "blocklist", "ls"); !strings.Contains(out, "127.0.0.1:0/") {
			t.Error(out)
		}
		s.say(t, "blocklist addr=127.0.0.1:0/77 for=10m", "advance 11m")
		eventually(t, "it is over", time.Minute, func() (bool, string) {
			out := s.real(t, "ceph", "osd", "blocklist", "ls")
			return !strings.Contains(out, "127.0.0.1:0/77 "), out
		})
		s.say(t, "unblocklist all")
		if out := s.real(t, "ceph", "osd", "blocklist", "ls"); strings.Contains(out, "127.0.0.1:0/") {
			t.Error(out)
		}
	})
}

// TestRealClientsAndSlowness measures disks and links by Ceph's own programs.
func TestRealClientsAndSlowness(t *testing.T) {
	s := newFakeSite(t, "--osds", "1")
	in := s.put(t, "in", 2<<20)
	took := func(t *testing.T, atLeast, more time.Duration, args ...string) {
		t.Helper()
		began := time.Now()
		s.begin(t, args...).succeeds(t)
		if d := time.Since(began); d < atLeast || d > atLeast+more {
			t.Errorf("%s took %s, not about %s", args, d, atLeast)
		}
	}
	put := []string{"rados", "-p", "rbd", "put", "o", in}
	const slack = 15 * time.Second // of a machine with much else to do
	for name, step := range map[string]struct {
		begin, end string
		atLeast    time.Duration
	}{
		"disk's latency":   {"disk osd.0 latency=1s", "disk osd.0", time.Second},
		"disk's bandwidth": {"disk osd.0 bandwidth=1000000", "disk osd.0", 2 * time.Second},
		"WAN's latency":    {"link latency=100ms", "unlink all", 500 * time.Millisecond}, // some five exchanges
		"WAN's bandwidth":  {"link bandwidth=1000000", "unlink all", 2 * time.Second},
		"delayed":          {"fault op=writefull delay=1s", "unfault all", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s.say(t, step.begin)
			took(t, step.atLeast, slack, put...)
			s.say(t, step.end)
		})
	}
	t.Run("only some users", func(t *testing.T) {
		s.real(t, "ceph", "auth", "get-or-create", "client.far", "mon", "profile rbd", "osd", "profile rbd", "-o", filepath.Join(s.dir, "ceph.client.far.keyring"))
		s.say(t, "link user=client.far freeze")
		u := s.begin(t, append(slices.Clone(put), "-n", "client.far")...)
		u.waits(t, 2*time.Second)
		s.begin(t, put...).succeeds(t)
		s.say(t, "unlink all")
		u.succeeds(t)
	})
}

// TestRealClientsAndTime moves the clock under Ceph's own programs.
func TestRealClientsAndTime(t *testing.T) {
	s := newFakeSite(t, "--osds", "1")
	s.real(t, "rbd", "create", "-s", "16M", "rbd/image")
	s.real(t, "rbd", "mirror", "pool", "enable", "rbd", "image")
	s.real(t, "rbd", "mirror", "pool", "peer", "add", "rbd", "client.x@elsewhere") // else there are no snapshots
	s.real(t, "rbd", "mirror", "image", "enable", "rbd/image", "snapshot")
	s.real(t, "rbd", "mirror", "snapshot", "schedule", "add", "-p", "rbd", "1h")
	snapshots := func() int {
		return strings.Count(s.real(t, "rbd", "snap", "ls", "--all", "rbd/image"), "mirror.primary")
	}
	before := snapshots()
	s.say(t, "advance 61m")
	eventually(t, "a snapshot by schedule", time.Minute, func() (bool, string) { n := snapshots(); return n > before, fmt.Sprint(n) })

	// A client that stands still is no watcher any more when its time is over.
	s.real(t, "rados", "-p", "rbd", "create", "watched")
	u := s.begin(t, "rados", "-p", "rbd", "watch", "watched")
	watchers := func(n int) func() (bool, string) {
		return func() (bool, string) {
			out := s.real(t, "rados", "-p", "rbd", "listwatchers", "watched")
			return strings.Count(out, "watcher=") == n, out
		}
	}
	eventually(t, "it watches", time.Minute, watchers(1))
	if err := u.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.say(t, "advance 45s")
	eventually(t, "it does not watch", time.Minute, watchers(0))
	if err := u.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", time.Minute, func() (bool, string) {
		out := u.said()
		return strings.Contains(out, "(107) Transport endpoint is not connected"), out
	})

	// Trimming is held back: the clone of a removed snapshot stays so long.
	s.real(t, "rbd", "create", "-s", "16M", "rbd/snapped")
	for _, step := range []string{"bench --io-type write --io-total 64K rbd/snapped", "snap create --no-progress rbd/snapped@s", "bench --io-type write --io-total 64K rbd/snapped"} {
		s.real(t, append([]string{"rbd"}, strings.Fields(step)...)...)
	}
	object := ""
	for line := range strings.Lines(s.real(t, "rados", "-p", "rbd", "ls")) {
		if out := s.real(t, "rados", "-p", "rbd", "listsnaps", strings.TrimSpace(line)); strings.Contains(line, "rbd_data.") && strings.Contains(out, "[") {
			object = strings.TrimSpace(line)
		}
	}
	if object == "" {
		t.Fatal("no clone")
	}
	clone := func() bool {
		return strings.Contains(s.real(t, "rados", "-p", "rbd", "listsnaps", object), "[")
	}
	s.say(t, "trim hold")
	s.real(t, "rbd", "snap", "rm", "--no-progress", "rbd/snapped@s")
	if !clone() {
		t.Error("trimmed in spite of the hold")
	}
	s.say(t, "trim go")
	if clone() {
		t.Error("not trimmed")
	}
}

// TestRealClientsAndTheirCluster is about what a cluster tells its clients while they
// run: configuration, quotas, the service map.
func TestRealClientsAndTheirCluster(t *testing.T) {
	s := newFakeSite(t, "--osds", "1", "--mons", "3")
	t.Run("configuration", func(t *testing.T) {
		socket := filepath.Join(s.dir, "asok")
		u := s.begin(t, "rados", "-p", "rbd", "bench", "100", "write", "-b", "4096", "-t", "1", "--admin-socket", socket)
		shows := func(want string) func() (bool, string) {
			return func() (bool, string) {
				out, err := s.try(t, "ceph", "--admin-daemon", socket, "config", "get", "debug_objecter")
				return err == nil && strings.Contains(out, want), out
			}
		}
		eventually(t, "the default", time.Minute, shows(`"0/1"`))
		s.real(t, "ceph", "config", "set", "client", "debug_objecter", "3/7")
		eventually(t, "the change", time.Minute, shows(`"3/7"`))
		s.real(t, "ceph", "config", "rm", "client", "debug_objecter")
		eventually(t, "the default again", time.Minute, shows(`"0/1"`))
		u.waits(t, 0)
		u.cmd.Process.Signal(syscall.SIGINT)
	})
	t.Run("quota", func(t *testing.T) {
		s.real(t, "ceph", "osd", "pool", "create", "small", "8")
		s.real(t, "ceph", "osd", "pool", "set-quota", "small", "max_objects", "3")
		in := s.put(t, "in", 4096)
		for i := range 3 {
			s.real(t, "rados", "-p", "small", "put", fmt.Sprint(i), in)
		}
		eventually(t, "the pool is full", time.Minute, func() (bool, string) {
			out := s.real(t, "ceph", "osd", "dump")
			return strings.Contains(out, "full_quota"), out
		})
		u := s.begin(t, "rados", "-p", "small", "put", "3", in)
		u.waits(t, time.Second)
		s.real(t, "ceph", "osd", "pool", "set-quota", "small", "max_objects", "10")
		u.succeeds(t)
	})
	t.Run("service map", func(t *testing.T) {
		s.real(t, "rbd", "mirror", "pool", "enable", "rbd", "image")
		d := s.startReal(t)
		names := func(want bool) func() (bool, string) {
			return func() (bool, string) {
				out := s.real(t, "ceph", "service", "dump", "--format", "json")
				return strings.Contains(out, `"rbd-mirror":{"daemons"`) == want, out
			}
		}
		eventually(t, "the daemon is there", time.Minute, names(true))
		d.kill()
		s.say(t, "advance 90s")
		eventually(t, "the daemon is gone", time.Minute, names(false))
		d = s.startReal(t)
		eventually(t, "the next one is there", time.Minute, names(true))
		d.cmd.Process.Signal(syscall.SIGTERM)
		eventually(t, "it has said goodbye", time.Minute, names(false))
	})
	t.Run("monitors", func(t *testing.T) {
		u := s.begin(t, "rados", "-p", "rbd", "bench", "6", "write", "-b", "4096", "-t", "4")
		s.say(t, "stop mon.0")
		if out := s.real(t, "ceph", "health"); !strings.Contains(out, "1/3 mons down") {
			t.Error(out)
		}
		s.say(t, "start mon.0")
		u.succeeds(t)
	})
}

// TestTheSameSeedForRealClients runs Ceph's own programs twice on clusters of one
// seed, and once with another: the records tell.
func TestTheSameSeedForRealClients(t *testing.T) {
	run := func(seed string) string {
		s := newFakeSite(t, "--osds", "2", "--seed", seed)
		if s.word("seed") != seed {
			t.Fatal(s.ready)
		}
		in := s.put(t, "in", 4096)
		s.say(t, "fault message=osd_op chance=0.2 disconnect", "fault message=osd_op chance=0.2 disconnect after",
			"fault message=osd_op chance=0.3 jitter=5ms", "fault message=osd_op op=delete chance=0.4 errno=5", "record")
		for i := range 10 {
			name := fmt.Sprint("o", i%3)
			for _, args := range [][]string{{"put", name, in}, {"append", name, in}, {"get", name, filepath.Join(s.dir, "out")}, {"rm", name}} {
				s.begin(t, append([]string{"rados", "-p", "rbd"}, args...)...).ends()
			}
		}
		return strings.Join(slices.DeleteFunc(s.record(t), func(line string) bool { return !strings.Contains(line, " osd_op ") }), "\n")
	}
	a, b, other := run("7"), run("7"), run("8")
	if a != b {
		t.Errorf("the same seed, and two records:\n%s\n\n%s", a, b)
	}
	if a == other {
		t.Error("another seed, and the same record")
	}
	for _, want := range []string{"disconnect", "delay ", "errno 5", "disconnect, after"} {
		if !strings.Contains(a, want) {
			t.Errorf("no %q in\n%s", want, a)
		}
	}
	if dir := os.Getenv("RBDM_KEEP"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "record"), []byte(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
