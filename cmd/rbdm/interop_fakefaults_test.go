//go:build interop

package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeSite is a cluster in memory, with a control socket, for the real programs of a
// release: scripts/fake-faults sets RBDM_FAKE_TOOLS to "RELEASE ROOT".
type fakeSite struct {
	*site
	*fake
}

func newFakeSite(t *testing.T, args ...string) *fakeSite {
	t.Helper()
	f := strings.Fields(os.Getenv("RBDM_FAKE_TOOLS"))
	if len(f) != 2 {
		t.Fatalf("RBDM_FAKE_TOOLS is %q: run this through scripts/fake-faults", os.Getenv("RBDM_FAKE_TOOLS"))
	}
	// The folder is seen from within the root at the same place.
	dir, err := os.MkdirTemp(os.Getenv("REALCEPH_DIR"), "site.")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &fakeSite{site: &site{release: f[0], root: f[1], dir: dir}}
	s.fake = startFake(t, append([]string{"--release", f[0], "--dir", dir, "--control", filepath.Join(dir, "control"), "--pool", "rbd"}, args...)...)
	return s
}

// say gives commands to the control socket, all of which must succeed, and returns
// the last answer without its "ok".
func (s *fakeSite) say(t *testing.T, commands ...string) (answer string) {
	t.Helper()
	for _, command := range commands {
		var ok bool
		if answer, ok = strings.CutPrefix(say(t, filepath.Join(s.dir, "control"), command), "ok"); !ok {
			t.Fatalf("%s: %s", command, answer)
		}
	}
	return strings.TrimSpace(answer)
}

// record returns what was recorded so far, without its times.
func (s *fakeSite) record(t *testing.T) []string {
	t.Helper()
	s.say(t, "events "+filepath.Join(s.dir, "events"))
	p, err := os.ReadFile(filepath.Join(s.dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(p)) {
		_, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		out = append(out, what)
	}
	return out
}

// struck counts the recorded events of a fate.
func (s *fakeSite) struck(t *testing.T, fate string) (n int) {
	t.Helper()
	for _, line := range s.record(t) {
		if strings.Contains(line, "=> "+fate) {
			n++
		}
	}
	return n
}

// put writes a file of random bytes and returns its name.
func (s *fakeSite) put(t *testing.T, name string, size int) string {
	t.Helper()
	p := make([]byte, size)
	rng := rand.New(rand.NewPCG(uint64(size), 1))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	p, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := os.ReadFile(b); err != nil || !bytes.Equal(p, q) {
		t.Fatalf("%s differs from %s: %v", b, a, err)
	}
}

// underWay is a program that runs.
type underWay struct {
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes what the program prints.
func (u *underWay) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.out.Write(p)
}

// said returns what it printed so far.
func (u *underWay) said() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.out.String()
}

// begin starts a program of the release, for at most two minutes.
func (s *fakeSite) begin(t *testing.T, args ...string) *underWay {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	u := &underWay{cmd: s.command(ctx, args...), done: make(chan error, 1)}
	u.cmd.Stdout, u.cmd.Stderr = u, u
	stdin, err := u.cmd.StdinPipe() // stays open: some programs end with it
	if err == nil {
		err = u.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { u.done <- u.cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		stdin.Close()
		u.done <- <-u.done
	})
	return u
}

// waits fails if the program ends within d.
func (u *underWay) waits(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case err := <-u.done:
		t.Fatalf("%s has ended: %v\n%s", u.cmd.Args, err, u.said())
	case <-time.After(d):
	}
}

// ends waits for its end, and returns the exit code.
func (u *underWay) ends() int {
	u.done <- <-u.done
	return u.cmd.ProcessState.ExitCode()
}

func (u *underWay) succeeds(t *testing.T) {
	t.Helper()
	if code := u.ends(); code != 0 {
		t.Fatalf("%s: exit code %d\n%s", u.cmd.Args, code, u.said())
	}
}

// TestRealClientsNoticeDamage lets Ceph's own rbd import and export while messages
// come to harm, in both modes: what arrives must be what was sent.
func TestRealClientsNoticeDamage(t *testing.T) {
	faults := map[string]string{
		"corrupt answers":       "fault message=osd_op_reply out corrupt skip=6 times=4",
		"corrupt requests":      "fault message=osd_op corrupt skip=6 times=4",
		"answers cut at once":   "fault message=osd_op_reply out cut=1 skip=5 times=4",
		"answers cut late":      "fault message=osd_op_reply out op=sparse-read cut=30000 times=3",
		"requests cut":          "fault message=osd_op cut=5 skip=6 times=4",
		"answers without ends":  "fault message=osd_op_reply out truncate=9 skip=6 times=2",
		"requests without ends": "fault message=osd_op prefix=rbd_data. truncate=700 skip=1 times=2",
		"answers twice":         "fault message=osd_op_reply out duplicate",
		"requests twice":        "fault message=osd_op duplicate",
		"answers in disorder":   "fault message=osd_op_reply out reorder=2 chance=0.3",
		"requests in disorder":  "fault message=osd_op prefix=rbd_data. reorder=2 chance=0.3",
		"lost after execution":  "fault message=osd_op disconnect after skip=4 times=6",
		"lost before":           "fault message=osd_op disconnect skip=4 times=6",
		"late":                  "fault message=osd_op delay=5ms jitter=20ms",
		"corrupt maps":          "fault message=osd_map out corrupt skip=1 times=2",
		"maps cut":              "fault message=osd_map out cut=100 skip=1 times=2",
	}
	links := map[string]string{
		"bytes to the client":   "link daemon=osd.0 corrupt=300000",
		"bytes from the client": "link daemon=osd.0 corrupt-in=300000",
		"broken to the client":  "link daemon=osd.0 cut=300000",
		"broken from it":        "link daemon=osd.0 cut-in=300000",
		"bytes of the monitor":  "link daemon=mon.a corrupt=2500",
	}
	for _, mode := range []string{"crc", "secure"} {
		s := newFakeSite(t, "--mode", mode, "--osds", "1")
		in := s.put(t, "in", 9<<20+512)
		round := func(t *testing.T, spec string) {
			out := filepath.Join(s.dir, "out")
			os.Remove(out)
			s.begin(t, "rbd", "import", "--no-progress", "--object-size", "512K", in, spec).succeeds(t)
			s.begin(t, "rbd", "snap", "create", "--no-progress", spec+"@s").succeeds(t)
			s.begin(t, "rbd", "export", "--no-progress", spec, out).succeeds(t)
			sameFiles(t, in, out)
			s.begin(t, "rbd", "snap", "rm", "--no-progress", spec+"@s").succeeds(t)
			s.begin(t, "rbd", "rm", "--no-progress", spec).succeeds(t)
		}
		for name, fault := range faults {
			t.Run(mode+"/"+name, func(t *testing.T) {
				s.say(t, "record", fault)
				defer s.say(t, "unfault all")
				round(t, "rbd/image")
				if n := s.struck(t, ""); n == 0 {
					t.Error("nothing was hit")
				}
			})
		}
		for name, link := range links {
			t.Run(mode+"/"+name, func(t *testing.T) {
				s.say(t, link)
				// Every connection comes to an end there: what has to pass must not need more.
				heal := time.AfterFunc(3*time.Second, func() { s.say(t, "unlink all") })
				round(t, "rbd/image")
				if heal.Stop() {
					s.say(t, "unlink all")
				}
			})
		}
		for name, fault := range map[string]string{
			"corrupt answers to commands": "fault message=mon_command_ack out corrupt times=1",
			"cut answers to commands":     "fault message=mon_command_ack out cut=10 times=1",
			"corrupt commands":            "fault message=mon_command corrupt times=1",
			"commands twice":              "fault message=mon_command duplicate",
			"lost answers to commands":    "fault message=mon_command disconnect after times=1",
			"the manager's answers":       "fault daemon=mgr.x message=mgr_command_reply out corrupt times=1",
			"commands to the manager":     "fault daemon=mgr.x message=mgr_command disconnect after times=1",
		} {
			t.Run(mode+"/"+name, func(t *testing.T) {
				s.say(t, "record", fault)
				defer s.say(t, "unfault all")
				s.begin(t, "ceph", "osd", "dump").succeeds(t)
				s.begin(t, "ceph", "pg", "stat").succeeds(t)
				if n := s.struck(t, ""); n == 0 {
					t.Error("nothing was hit")
				}
			})
		}
	}
}
