//go:build interop

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	mirrorCommands = "testdata/rbd-mirror-commands.txt"
	imageCommands  = "testdata/rbd-image-commands.txt"
	cliDifferences = "testdata/cli-differences.txt"
)

var (
	volatileUUID   = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-([0-9a-f]{12}|ID)\b`)
	volatileStamp  = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	volatileSnapID = regexp.MustCompile(`(Snapshot ID: |"id":|<id>)\d+`)
)

// TestCLIDiff runs the lists of command lines with the release's own rbd in one
// pool and with ours in another, logs the outcome of each line and the share that
// is equal, and fails for every difference that cli-differences.txt does not give
// a reason for.
func TestCLIDiff(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	known := s.knownDifferences(t)
	for _, file := range []string{mirrorCommands, imageCommands} {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			poolReal, poolOurs := s.newPool(t, "clidiffr"), s.newPool(t, "clidiffo")
			if file == mirrorCommands {
				s.fillForMirroring(t, poolReal)
				s.fillForMirroring(t, poolOurs)
			}
			s.diffCommands(t, file, poolReal, poolOurs, known)
		})
	}
}

// fillForMirroring makes what the list of mirror commands expects.
func (s *site) fillForMirroring(t *testing.T, pool string) {
	t.Helper()
	s.real(t, "rbd", "namespace", "create", pool+"/ns")
	for _, spec := range []string{"i", "j", "k", "ns/n"} {
		s.real(t, "rbd", "create", "--size", "8M", pool+"/"+spec)
	}
}

// knownDifferences returns the reasons by command line, of this release.
func (s *site) knownDifferences(t *testing.T) map[string]string {
	t.Helper()
	list, err := os.ReadFile(cliDifferences)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 {
			t.Fatalf("%s: %q has no reason", cliDifferences, line)
		}
		if f[0] == "all" || f[0] == s.release {
			known[f[1]] = f[2]
		}
	}
	return known
}

// diffCommands runs one list. Both sides run a line before the next one, so that
// their pools stay in the same state.
func (s *site) diffCommands(t *testing.T, file, poolReal, poolOurs string, known map[string]string) {
	t.Helper()
	list, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines, equal, explained int
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		lines++
		got, want := s.bothOutcomes(t, line, poolReal, poolOurs)
		switch reason, ok := known[line]; {
		case got == want:
			equal++
			t.Logf("equal: rbd %s", line)
		case ok:
			explained++
			t.Logf("known: rbd %s: %s", line, reason)
		default:
			t.Errorf("DIFFERS: rbd %s\nours:\n%s\nreal:\n%s", line, got, want)
		}
	}
	t.Logf("%s, release %s: %d lines, %d equal (%.1f %%), %d known differences, %d others",
		file, s.release, lines, equal, 100*float64(equal)/float64(max(lines, 1)), explained, lines-equal-explained)
}

func (s *site) bothOutcomes(t *testing.T, line, poolReal, poolOurs string) (ours, real string) {
	t.Helper()
	run := func(pool string, command func(context.Context, ...string) *exec.Cmd) string {
		return steadyMirror(s.outcome(t, pool, line, command))
	}
	real = run(poolReal, s.command)
	if strings.Contains(real, "Caught signal") { // rbd 20.2 crashes now and then as it ends
		real = run(poolReal, s.command)
	}
	return run(poolOurs, s.ours), real
}

// steadyMirror replaces what differs from pool to pool in the output of mirror
// commands: uuids, and when something happened.
func steadyMirror(text string) string {
	text = volatileUUID.ReplaceAllString(text, "UUID")
	text = volatileStamp.ReplaceAllString(text, "TIME")
	return volatileSnapID.ReplaceAllString(text, "${1}N")
}
