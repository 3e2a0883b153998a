//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCLIDiff runs the lists of command lines with the release's own rbd in one
// pool and with ours in another, logs the outcome of each line and the share that
// is equal, and fails for every difference that cli-differences.txt does not give
// a reason for. With RBDM_CLI_RECORD set it writes what rbd answered to testdata.
func TestCLIDiff(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	known := knownDifferences(t, cliDifferences, s.release)
	for _, list := range commandLists {
		t.Run(list.name, func(t *testing.T) {
			real, ours := s.side(t, "clidiffr", s.command), s.side(t, "clidiffo", s.ours)
			for _, at := range []cliSide{real, ours} {
				if list.fill != nil {
					list.fill(t, at)
				}
			}
			s.diffCommands(t, list, real, ours, known)
			if !list.files {
				return
			}
			if s.release == "16" { // it says 8 bytes of the record of a snapshot's protection, and writes one
				for _, dir := range []string{real.dir, ours.dir} {
					os.Remove(filepath.Join(dir, "v2"))
					os.Remove(filepath.Join(dir, "v2s1"))
				}
			}
			sameFolders(t, ours.dir, real.dir)
		})
	}
}

// side makes a pool and a folder in which command is run.
func (s *site) side(t *testing.T, pool string, command func(context.Context, ...string) *exec.Cmd) cliSide {
	t.Helper()
	must := func(s *site) func(t *testing.T, args ...string) string {
		return func(t *testing.T, args ...string) string {
			t.Helper()
			return s.real(t, append([]string{"rbd"}, args...)...)
		}
	}
	return cliSide{
		pool: s.newPool(t, pool), dir: s.folder(t, pool), conf: s.conf(),
		must: must(s),
		run: func(t *testing.T, args ...string) (string, string, int) {
			t.Helper()
			return output(t, command, args)
		},
		other: func(t *testing.T) func(t *testing.T, args ...string) string {
			b := siteFromEnv(t, s.other)
			b.newPool(t, pool)
			return must(b)
		},
	}
}

// output runs a command of rbd. That of 20.2 crashes now and then as it ends; it
// is run once more then.
func output(t *testing.T, command func(context.Context, ...string) *exec.Cmd, args []string) (string, string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for again := true; ; again = false {
		cmd := command(ctx, append([]string{"rbd"}, args...)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%s: %v", args, err)
		}
		if !again || !strings.Contains(errs.String(), "Caught signal") {
			return out.String(), errs.String(), cmd.ProcessState.ExitCode()
		}
	}
}

// diffCommands runs one list. Both sides run a line before the next one, so that
// their pools stay in the same state.
func (s *site) diffCommands(t *testing.T, list commandList, real, ours cliSide, known map[string]string) {
	t.Helper()
	var equal int
	var explained []string
	var answers []answer
	lines := linesOf(t, list.name)
	for _, line := range lines {
		want := real.outcome(t, line)
		got := ours.outcome(t, line)
		answers = append(answers, answer{line, want})
		switch reason, ok := known[line]; {
		case got == want:
			equal++
			t.Logf("equal: rbd %s", line)
		case ok:
			explained = append(explained, "rbd "+line+": "+reason)
		default:
			t.Errorf("DIFFERS: rbd %s\nours:\n%s\nreal:\n%s", line, got, want)
		}
	}
	if os.Getenv("RBDM_CLI_RECORD") != "" {
		writeAnswers(t, list.name, s.release, answers)
	}
	slices.Sort(explained)
	for _, line := range explained {
		t.Logf("known difference: %s", line)
	}
	share := 100 * float64(equal) / float64(max(len(lines), 1))
	t.Logf("%s, release %s: %d lines, %d equal (%.1f %%; aim %.0f %%), %d known differences, %d others",
		list.name, s.release, len(lines), equal, share, list.least, len(explained), len(lines)-equal-len(explained))
}
