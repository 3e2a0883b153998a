//go:build interop

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// foreignCommands is a list of what only the real rbd can do.
var foreignCommands = commandList{name: "rbd-foreign-commands", fill: fillForForeign}

// fillForForeign makes namespaces, what is imported, and passphrases, and lets rbd
// make images of format 1.
func fillForForeign(t *testing.T, at cliSide) {
	t.Helper()
	t.Setenv("RBD_FORCE_ALLOW_V1", "1")
	fillForMore(t, at)
	putFile(t, at.dir, "pass", []byte("secret"))
	putFile(t, at.dir, "wrong", []byte("guess"))
	putFile(t, at.dir, "empty", nil)
	putFile(t, at.dir, "spec.json", fmt.Appendf(nil, `{"type":"raw","stream":{"type":"file","file_path":"%s/in"}}`, at.dir))
}

const fakeDifferences = "testdata/answers/fake-differences.txt"

// TestCLIFake runs the lists of command lines with the release's own rbd on a
// cluster in memory, RBDM_FAKE_A (RBDM_FAKE_B for the other one), and
// compares each line with what the same program says on a real cluster,
// RBDM_SITE_A. Where that is not set the recorded answers take its place. It fails
// for every difference that fake-differences.txt does not give a reason for. With
// RBDM_CLI_RECORD it writes what foreignCommands were answered on the real cluster.
//
// Debian's manager of 18.2 cannot load rbd_support: what needs it must be as another
// release says, if it is recorded.
func TestCLIFake(t *testing.T) {
	fake := siteFromEnv(t, "RBDM_FAKE_A")
	live := os.Getenv("RBDM_SITE_A") != ""
	known := knownDifferences(t, fakeDifferences, fake.release)
	var lines, equal, others, explained int
	for _, list := range append(slices.Clone(commandLists), foreignCommands) {
		t.Run(list.name, func(t *testing.T) {
			at := fake.freshSide(t, list)
			answers := realAnswers(t, list, fake.release, live)
			record := live && list.name == foreignCommands.name && os.Getenv("RBDM_CLI_RECORD") != ""
			var said []answer
			var neighbours [][]answer
			if !record {
				neighbours = [][]answer{readAnswers(t, list.name, "16"), readAnswers(t, list.name, "20")}
			}
			for i, line := range linesOf(t, list.name) {
				got, want := at.outcome(t, line), answers(i, line)
				said = append(said, answer{line, want})
				reason, ok := known[line]
				lines++
				switch {
				case got == want:
					equal++
				case strings.Contains(want, "No handler found for 'rbd ") &&
					slices.ContainsFunc(neighbours, func(n []answer) bool { return n[i].text == got }):
					others++
				case ok:
					explained++
					t.Logf("known difference: rbd %s: %s", line, reason)
				default:
					t.Errorf("DIFFERS: rbd %s\nfake:\n%s\nreal:\n%s", line, got, want)
				}
			}
			if list.name == foreignCommands.name {
				sameCopies(t, at.dir)
			}
			if record {
				writeAnswers(t, list.name, fake.release, said)
			}
		})
	}
	t.Logf("release %s: %d lines, %d equal, %d as another release has it, %d known differences, %d others",
		fake.release, lines, equal, others, explained, lines-equal-others-explained)
}

// freshSide is a side of a cluster without what lists leave outside of their pools,
// with what a list needs.
func (s *site) freshSide(t *testing.T, list commandList) cliSide {
	t.Helper()
	s.real(t, "ceph", "config-key", "rm", "rbd/mirror/site_name")
	at := s.side(t, "clidiffr", s.command)
	if list.name == foreignCommands.name {
		s.newPool(t, at.pool+"2")
	}
	if list.fill != nil {
		list.fill(t, at)
	}
	return at
}

// sameCopies fails for every exported copy that is not what was imported.
func sameCopies(t *testing.T, dir string) {
	t.Helper()
	copies, err := filepath.Glob(filepath.Join(dir, "copy*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range copies {
		got, err := os.ReadFile(path)
		want, err2 := os.ReadFile(filepath.Join(dir, "in"))
		if err != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is no copy of what was imported: %d bytes of %d (%v, %v)", filepath.Base(path), len(got), len(want), err, err2)
		}
	}
}

// realAnswers returns what tells a line's outcome on a real cluster: by running it
// there, or as it was recorded.
func realAnswers(t *testing.T, list commandList, release string, live bool) func(i int, line string) string {
	t.Helper()
	if live {
		side := siteFromEnv(t, "RBDM_SITE_A").freshSide(t, list)
		return func(_ int, line string) string { return side.outcome(t, line) }
	}
	recorded := readAnswers(t, list.name, release)
	if !slices.EqualFunc(recorded, linesOf(t, list.name), func(a answer, line string) bool { return a.line == line }) {
		t.Fatal("the recorded answers are of other lines: record them again (RBDM_CLI_RECORD=1 make cli-diff; those of " + foreignCommands.name + " RBDM_CLI_RECORD=1 RBDM_LIVE=1 scripts/fake-rbd)")
	}
	return func(i int, _ string) string { return recorded[i].text }
}
