//go:build interop

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const fakeDifferences = "testdata/answers/fake-differences.txt"

// TestCLIFake runs the lists of command lines with the release's own rbd on a
// cluster in memory, RBDM_FAKE_A (RBDM_FAKE_B for the other one), and
// compares each line with what the same program says on a real cluster,
// RBDM_SITE_A. Where that is not set the recorded answers take its place. It fails
// for every difference that fake-differences.txt does not give a reason for.
//
// Debian's manager of 18.2 cannot load rbd_support: what needs it must be as another
// release says, if it is recorded.
func TestCLIFake(t *testing.T) {
	fake := siteFromEnv(t, "RBDM_FAKE_A")
	live := os.Getenv("RBDM_SITE_A") != ""
	known := knownDifferences(t, fakeDifferences, fake.release)
	var lines, equal, others, explained int
	for _, list := range commandLists {
		t.Run(list.name, func(t *testing.T) {
			at := fake.freshSide(t)
			if list.fill != nil {
				list.fill(t, at)
			}
			answers := realAnswers(t, list, fake.release, live)
			neighbours := [][]answer{readAnswers(t, list.name, "16"), readAnswers(t, list.name, "20")}
			for i, line := range linesOf(t, list.name) {
				got, want := at.outcome(t, line), answers(i, line)
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
		})
	}
	t.Logf("release %s: %d lines, %d equal, %d as another release has it, %d known differences, %d others",
		fake.release, lines, equal, others, explained, lines-equal-others-explained)
}

// freshSide is a side of a cluster without what lists leave outside of their pools.
func (s *site) freshSide(t *testing.T) cliSide {
	t.Helper()
	s.real(t, "ceph", "config-key", "rm", "rbd/mirror/site_name")
	return s.side(t, "clidiffr", s.command)
}

// realAnswers returns what tells a line's outcome on a real cluster: by running it
// there, or as it was recorded.
func realAnswers(t *testing.T, list commandList, release string, live bool) func(i int, line string) string {
	t.Helper()
	if live {
		at := siteFromEnv(t, "RBDM_SITE_A")
		side := at.freshSide(t)
		if list.fill != nil {
			list.fill(t, side)
		}
		return func(_ int, line string) string { return side.outcome(t, line) }
	}
	recorded := readAnswers(t, list.name, release)
	if !slices.EqualFunc(recorded, linesOf(t, list.name), func(a answer, line string) bool { return a.line == line }) {
		t.Fatal("the recorded answers are of other lines: record them again (RBDM_CLI_RECORD=1 make cli-diff)")
	}
	return func(i int, _ string) string { return recorded[i].text }
}
