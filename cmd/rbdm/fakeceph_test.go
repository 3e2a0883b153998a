package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

// fake is a running rbdm fakeceph.
type fake struct {
	ready string // the ready line
	stop  func() int
}

func startFake(t *testing.T, args ...string) *fake {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- fakecephMain(ctx, args, streams.Streams{Out: in, Err: os.Stderr})
		_ = in.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, <-code)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	f := &fake{ready: line}
	f.stop = func() int {
		cancel()
		c := <-code
		code <- c
		return c
	}
	t.Cleanup(func() { f.stop() })
	return f
}

// word returns a word of the ready line.
func (f *fake) word(key string) string {
	for _, w := range strings.Fields(f.ready) {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			return v
		}
	}
	return ""
}

// say gives a command to the control socket.
func say(t *testing.T, socket, command string) string {
	t.Helper()
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, command+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestFakeCephTellsItsSeed(t *testing.T) {
	if f := startFake(t, "--dir", t.TempDir(), "--seed", "12"); f.word("seed") != "12" {
		t.Error(f.ready)
	}
}

func TestFakeCephSavesAndLoads(t *testing.T) {
	dir := t.TempDir()
	state, socket := filepath.Join(dir, "state"), filepath.Join(dir, "control")
	a := startFake(t, "--dir", dir, "--name", "x", "--osds", "2", "--release", "18", "--pool", "rbd", "--save", state, "--control", socket)
	other := filepath.Join(dir, "other state")
	if answer := say(t, socket, "save "+other); answer != "ok" {
		t.Fatal(answer)
	}
	if answer := say(t, socket, "save "+dir+"/none/state"); !strings.HasPrefix(answer, "error: ") {
		t.Fatal(answer)
	}
	if code := a.stop(); code != 0 {
		t.Fatal(code)
	}
	for _, path := range []string{state, other} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(info, err)
		}
		b := startFake(t, "--dir", dir, "--load", path)
		if b.word("seed") == a.word("seed") {
			t.Error("the same seed by chance")
		}
		if b.word("fsid") != a.word("fsid") || b.word("name") != "x" {
			t.Errorf("%s, not %s", b.ready, a.ready)
		}
		b.stop()
	}
	for _, args := range [][]string{{"--load", state, "--osds", "3"}, {"--load", filepath.Join(dir, "x.conf")}, {"--load", dir + "/none"}} {
		if code := fakecephMain(t.Context(), append(args, "--dir", dir), streams.Streams{Out: io.Discard, Err: io.Discard}); code != 1 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

// TestFakeCephRunsSeveralClusters starts two clusters in one process, tells them
// apart on the control socket, and saves and loads both.
func TestFakeCephRunsSeveralClusters(t *testing.T) {
	dir := t.TempDir()
	state, socket := filepath.Join(dir, "state"), filepath.Join(dir, "control")
	a := startFake(t, "--dir", dir, "--name", "east", "--name", "west", "--osds", "1", "--pool", "rbd", "--save", state, "--control", socket)
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "crash\ncluster west\ncrash\nrecover\ncluster north\nstop osd.0\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(nc)
	for _, want := range []string{"ok kept=0", "ok", "ok kept=0", "ok", "error: there is no cluster north", "ok"} {
		if !answers.Scan() || !strings.HasPrefix(answers.Text(), want) {
			t.Fatalf("%q, not %q", answers.Text(), want)
		}
	}
	if answer := say(t, socket, "recover"); answer != "ok" { // the first one
		t.Fatal(answer)
	}
	fsids := map[string]bool{}
	for _, name := range []string{"east", "west"} {
		p, err := os.ReadFile(filepath.Join(dir, name+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		fsids[strings.Fields(string(p))[3]] = true
	}
	if len(fsids) != 2 {
		t.Error(fsids)
	}
	if code := a.stop(); code != 0 {
		t.Fatal(code)
	}
	b := startFake(t, "--dir", dir, "--load", state, "--control", socket)
	if b.word("fsid") != a.word("fsid") || b.word("name") != "east" {
		t.Errorf("%s, not %s", b.ready, a.ready)
	}
	for _, want := range []string{"east", "west"} {
		if answer := say(t, socket, "cluster "+want); answer != "ok" {
			t.Error(answer)
		}
	}
	b.stop()
	for _, args := range [][]string{{"--load", state, "--name", "one"}, {"--name", "x", "--name", "x"}} {
		if code := fakecephMain(t.Context(), append(args, "--dir", dir), streams.Streams{Out: io.Discard, Err: io.Discard}); code != 1 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
	whole, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func(p []byte) []byte{
		func(p []byte) []byte { p[len(p)-13]++; return p },
		func(p []byte) []byte { p[len(p)-12] = 200; return p },
		func(p []byte) []byte { p[len(p)-12] = 0; return p },
		func(p []byte) []byte { return p[len(p)-12:] },
		func(p []byte) []byte { return append(p[:100:100], p[200:]...) },
	} {
		if err := os.WriteFile(state, damage(slices.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		if code := fakecephMain(t.Context(), []string{"--load", state, "--dir", dir}, streams.Streams{Out: io.Discard, Err: io.Discard}); code != 1 {
			t.Errorf("a damaged file was loaded: exit code %d", code)
		}
	}
}
