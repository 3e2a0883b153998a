//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is one real cluster: the release's own tools run against it through
// scripts/realceph's layout, ours through its ceph.conf.
type site struct {
	release, name, root string
	dir                 string
	// other is the variable that tells of the site beside it.
	other string
}

// siteFromEnv reads "RELEASE NAME ROOT", as scripts/interop sets it.
func siteFromEnv(t *testing.T, variable string) *site {
	t.Helper()
	f := strings.Fields(os.Getenv(variable))
	if len(f) != 3 {
		t.Fatalf("%s is %q: run this through scripts/interop", variable, os.Getenv(variable))
	}
	s := &site{release: f[0], name: f[1], root: f[2], other: variable[:strings.LastIndex(variable, "_")] + "_B"}
	s.dir = filepath.Join(os.Getenv("REALCEPH_DIR"), s.name)
	return s
}

func (s *site) conf() string { return filepath.Join(s.dir, "ceph.conf") }

// command prepares one of the release's own tools.
func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	if s.root != "/" {
		args = append([]string{"chroot", s.root}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+s.conf())
	return cmd
}

// real runs one of the release's own tools and returns its stdout. Those of 20.2
// crash now and then; one that only reads is called once more then.
func (s *site) real(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := s.command(ctx, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if cmd.ProcessState != nil && strings.Contains(cmd.ProcessState.String(), "segmentation fault") && onlyReads(args) {
		t.Logf("%s crashed: %s", strings.Join(args, " "), tail(stderr.Bytes(), 2000))
		return run(t, s.command(ctx, args...))
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}

// onlyReads reports whether a command can be repeated without a thought.
func onlyReads(args []string) bool {
	if args[0] != "rbd" {
		return false
	}
	switch strings.Join(args[1:min(3, len(args))], " ") {
	case "snap ls", "trash ls", "image-meta ls":
		return true
	case "mirror image", "mirror pool":
		return args[3] == "status" || args[3] == "info"
	}
	switch args[1] {
	case "du", "diff", "export", "info", "ls", "status":
		return true
	}
	return false
}

// ours prepares the binary under test, called as one of the tools.
func (s *site) ours(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Getenv("RBDM_BINARY"), args...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+s.conf())
	return cmd
}

// rbdm runs the binary under test and returns its stdout.
func (s *site) rbdm(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	return run(t, s.ours(ctx, args...))
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}

// export returns the path of what the release's own rbd exports of spec.
func (s *site) export(t *testing.T, spec string) string {
	t.Helper()
	path := filepath.Join(s.dir, "export-"+strings.NewReplacer("/", "_", "@", "_").Replace(spec))
	os.Remove(path)
	s.real(t, "rbd", "export", "--no-progress", spec, path)
	t.Cleanup(func() { os.Remove(path) })
	return path
}

// equal fails unless both sites' own tools export the same bytes.
func equal(t *testing.T, a *site, specA string, b *site, specB string) {
	t.Helper()
	pa, pb := a.export(t, specA), b.export(t, specB)
	if out, err := exec.CommandContext(t.Context(), "cmp", pa, pb).CombinedOutput(); err != nil {
		t.Fatalf("%s of %s differs from %s of %s: %s%s", specB, b.name, specA, a.name, out, differences(pa, pb))
	}
}

// differences lists where two exports differ, in bytes, to the sector.
func differences(pathA, pathB string) string {
	pa, errA := os.ReadFile(pathA)
	pb, errB := os.ReadFile(pathB)
	if err := errors.Join(errA, errB); err != nil {
		return err.Error()
	}
	const sector = 512
	var out strings.Builder
	for at, from := 0, -1; at < min(len(pa), len(pb))+sector && out.Len() < 1000; at += sector {
		end := min(at+sector, len(pa), len(pb))
		same := at >= end || bytes.Equal(pa[at:end], pb[at:end])
		switch {
		case !same && from < 0:
			from = at
		case same && from >= 0:
			fmt.Fprintf(&out, "%d-%d: %x, %x\n", from, at, pa[from:from+8], pb[from:from+8])
			from = -1
		}
	}
	return out.String()
}

// daemon is a running rbd-mirror, ours or the release's own.
type daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	once sync.Once
}

// buriesSoon makes a site take clients for dead that were silent for 15 s instead of
// 30: so long whoever comes after a killed one has to wait.
func (s *site) buriesSoon(t *testing.T) {
	t.Helper()
	s.real(t, "ceph", "config", "set", "osd", "osd_client_watch_timeout", "15")
	t.Cleanup(func() { s.try(t, "ceph", "config", "rm", "osd", "osd_client_watch_timeout") })
}

// startOurs starts the binary under test as rbd-mirror of this site.
func (s *site) startOurs(t *testing.T, extra ...string) *daemon {
	t.Helper()
	args := append([]string{"rbd-mirror", "-f", "-n", "client.admin", "--checkpoints", filepath.Join(s.dir, "rbdm-checkpoints.db")}, extra...)
	return s.start(t, s.ours(context.Background(), args...), "rbdm-mirror.log")
}

// startReal starts the release's own rbd-mirror.
func (s *site) startReal(t *testing.T, extra ...string) *daemon {
	t.Helper()
	args := append([]string{"rbd-mirror", "-f", "-n", "client.admin", "-c", s.conf()}, extra...)
	return s.start(t, s.command(context.Background(), args...), "cpp-mirror.log")
}

func (s *site) start(t *testing.T, cmd *exec.Cmd, logName string) *daemon {
	t.Helper()
	d := &daemon{cmd: cmd, log: filepath.Join(s.dir, logName), done: make(chan struct{})}
	f, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.done)
		defer f.Close()
		cmd.Wait()
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			if p, err := os.ReadFile(d.log); err == nil {
				t.Logf("%s:\n%s", d.log, tail(p, 8000))
			}
		}
	})
	return d
}

func tail(p []byte, n int) []byte {
	if len(p) > n {
		return p[len(p)-n:]
	}
	return p
}

// kill ends the daemon at once, as a crash does.
func (d *daemon) kill() {
	d.once.Do(func() { d.cmd.Process.Kill() })
	<-d.done
}

// stop asks the daemon to end and waits for it.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.cmd.Process.Signal(os.Interrupt)
	select {
	case <-d.done:
	case <-time.After(30 * time.Second):
		t.Errorf("%s: still running 30 s after the signal", d.cmd.Args)
		d.kill()
	}
}

// eventually asks until ok, and fails with what was seen last.
func eventually(t *testing.T, what string, limit time.Duration, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	var seen string
	for {
		var done bool
		if done, seen = ok(); done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; last seen:\n%s", what, limit, seen)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// try runs a real tool that may fail and returns what it printed: what it says
// besides, also when all goes well, only if it failed.
func (s *site) try(t *testing.T, args ...string) (string, error) {
	// It is used for cleaning up as well, when the test's context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := s.command(ctx, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out) + stderr.String(), err
	}
	return string(out), nil
}

// waitSynced waits until the newest mirror snapshot of the primary image is
// complete on the replica.
func waitSynced(t *testing.T, primary, replica *site, spec string) {
	t.Helper()
	waitSyncedAs(t, primary, replica, spec, spec)
}

// waitSyncedAs is waitSynced for a replica of another name.
func waitSyncedAs(t *testing.T, primary, replica *site, spec, there string) {
	t.Helper()
	newest := newestMirrorSnap(t, primary, spec)
	eventually(t, spec+" synced to "+replica.name, 2*time.Minute, func() (bool, string) {
		out, err := replica.try(t, "rbd", "snap", "ls", "--all", "--format", "json", there)
		if err != nil {
			return false, out
		}
		for _, snap := range parseSnaps(t, out) {
			if ns := snap.Namespace; ns.Complete && ns.PrimarySnapID == newest && ns.State != "primary" {
				return true, out
			}
		}
		return false, out
	})
}

// waitPruned waits until the primary has no mirror snapshot but the newest. The
// secondary's daemon removes the others, for which it holds the image's lock for
// a moment: a `snap rollback` of rbd that meets it is refused.
func waitPruned(t *testing.T, primary *site, spec string) {
	t.Helper()
	waitMirrorSnaps(t, primary, spec, 1)
}

// waitMirrorSnaps waits until an image has at most so many mirror snapshots.
func waitMirrorSnaps(t *testing.T, s *site, spec string, most int) {
	t.Helper()
	eventually(t, "old mirror snapshots of "+spec+" removed at "+s.name, 40*time.Second, func() (bool, string) {
		out := s.real(t, "rbd", "snap", "ls", "--all", "--format", "json", spec)
		n := 0
		for _, snap := range parseSnaps(t, out) {
			if snap.Namespace.Type == "mirror" {
				n++
			}
		}
		return n >= 1 && n <= most, out
	})
}

func newestMirrorSnap(t *testing.T, s *site, spec string) uint64 {
	t.Helper()
	var newest uint64
	out := s.real(t, "rbd", "snap", "ls", "--all", "--format", "json", spec)
	for _, snap := range parseSnaps(t, out) {
		if snap.Namespace.Type == "mirror" {
			newest = max(newest, snap.ID)
		}
	}
	if newest == 0 {
		t.Fatalf("%s has no mirror snapshot:\n%s", spec, out)
	}
	return newest
}

func status(t *testing.T, s *site, spec string) string {
	out, err := s.try(t, "rbd", "mirror", "image", "status", spec)
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return out
}
