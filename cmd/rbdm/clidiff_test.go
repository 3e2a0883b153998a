//go:build interop

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const cliDifferences = "testdata/cli-differences.txt"

// commandList is a file of command lines with what must be there before them.
type commandList struct {
	name string
	// fill makes it in a pool; dir is a folder of that pool's own.
	fill func(t *testing.T, s *site, pool, dir string)
	// least is the share of equal lines that is called good, in percent.
	least float64
	// files says that what the commands write to DIR must be the same too.
	files bool
}

var commandLists = []commandList{
	{name: "rbd-mirror-commands", fill: fillForMirroring, least: 100},
	{name: "rbd-peer-commands", fill: fillForPeers, least: 100},
	{name: "rbd-image-commands", least: 98},
	{name: "rbd-more-commands", fill: fillForMore, least: 98},
	{name: "rbd-data-commands", fill: fillForData, least: 98, files: true},
	{name: "rbd-help-commands", least: 98},
}

var (
	volatileJournal = regexp.MustCompile(`journal_data\.\d+\.`)
	volatileStamp   = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	volatileSnapID  = regexp.MustCompile(`(Snapshot ID: |"id":|<id>)\d+`)
	firstUUID       = regexp.MustCompile(`"uuid":"([^"]*)"`)
)

// TestCLIDiff runs the lists of command lines with the release's own rbd in one
// pool and with ours in another, logs the outcome of each line and the share that
// is equal, and fails for every difference that cli-differences.txt does not give
// a reason for.
func TestCLIDiff(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	known := s.knownDifferences(t)
	for _, list := range commandLists {
		t.Run(list.name, func(t *testing.T) {
			real := diffSide{pool: s.newPool(t, "clidiffr"), dir: s.folder(t, "clidiffr"), command: s.command}
			ours := diffSide{pool: s.newPool(t, "clidiffo"), dir: s.folder(t, "clidiffo"), command: s.ours}
			for _, side := range []diffSide{real, ours} {
				if list.fill != nil {
					list.fill(t, s, side.pool, side.dir)
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

// diffSide is one of the two that are compared.
type diffSide struct {
	pool, dir string
	command   func(context.Context, ...string) *exec.Cmd
}

// fillForMirroring makes what the list of mirror commands expects.
func fillForMirroring(t *testing.T, s *site, pool, _ string) {
	t.Helper()
	s.real(t, "rbd", "namespace", "create", pool+"/ns")
	for _, spec := range []string{"i", "j", "k", "ns/n"} {
		s.real(t, "rbd", "create", "--size", "8M", pool+"/"+spec)
	}
}

// fillForPeers makes the pool on the other site too, and a token of there.
func fillForPeers(t *testing.T, s *site, pool, dir string) {
	t.Helper()
	fillForMirroring(t, s, pool, dir)
	// The site's name is the cluster's: it is one and the same for both pools.
	s.real(t, "rbd", "mirror", "pool", "enable", pool, "image", "--site-name", "one")
	s.real(t, "rbd", "mirror", "pool", "disable", pool)
	b := siteFromEnv(t, "RBDM_SITE_B")
	b.newPool(t, pool)
	b.real(t, "rbd", "mirror", "pool", "enable", pool, "image")
	putFile(t, dir, "token", []byte(b.real(t, "rbd", "mirror", "pool", "peer", "bootstrap", "create", "--site-name", "other", pool)))
	putFile(t, dir, "key", []byte("AQAjSqtjEWklERAAWcEfDLKpZsPK0DUcfHLVkw==\n"))
	putFile(t, dir, "empty", nil)
	putFile(t, dir, "rubbish", []byte("this is no token\n"))
}

// fillForMore makes namespaces and a file of three objects' parts.
func fillForMore(t *testing.T, s *site, pool, dir string) {
	t.Helper()
	s.real(t, "rbd", "namespace", "create", pool+"/ns")
	s.real(t, "rbd", "namespace", "create", pool+"/ns2")
	putFile(t, dir, "in", sparseContent(rand.New(rand.NewPCG(3, 9)), 3<<20+512))
}

// fillForData makes the files that are imported.
func fillForData(t *testing.T, _ *site, _, dir string) {
	t.Helper()
	const size = 20<<20 - 512
	rng := rand.New(rand.NewPCG(7, 1))
	putFile(t, dir, "in", sparseContent(rng, size))
	putFile(t, dir, "empty", nil)
	putFile(t, dir, "bad", []byte("hello world, this is no diff"))
	putFile(t, dir, "change", changes(rng, size, 12))
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

// linesOf returns the command lines of a list.
func linesOf(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// diffCommands runs one list. Both sides run a line before the next one, so that
// their pools stay in the same state.
func (s *site) diffCommands(t *testing.T, list commandList, real, ours diffSide, known map[string]string) {
	t.Helper()
	var equal int
	var explained []string
	lines := linesOf(t, list.name)
	for _, line := range lines {
		want := s.outcomeAt(t, line, real)
		if strings.Contains(want, "Caught signal") { // rbd 20.2 crashes now and then as it ends
			want = s.outcomeAt(t, line, real)
		}
		got := s.outcomeAt(t, line, ours)
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
	slices.Sort(explained)
	for _, line := range explained {
		t.Logf("known difference: %s", line)
	}
	share := 100 * float64(equal) / float64(max(len(lines), 1))
	t.Logf("%s, release %s: %d lines, %d equal (%.1f %%; aim %.0f %%), %d known differences, %d others",
		list.name, s.release, len(lines), equal, share, list.least, len(explained), len(lines)-equal-len(explained))
}

// outcomeAt runs one line on a side; what differs from side to side is replaced.
func (s *site) outcomeAt(t *testing.T, line string, at diffSide) string {
	t.Helper()
	line = strings.ReplaceAll(line, "DIR", at.dir)
	if strings.Contains(line, "PEER") {
		peer := "00000000-0000-0000-0000-000000000000"
		if m := firstUUID.FindStringSubmatch(s.real(t, "rbd", "mirror", "pool", "info", at.pool, "--format", "json")); m != nil {
			peer = m[1]
		}
		line = strings.ReplaceAll(line, "PEER", peer)
	}
	text := s.outcome(t, at.pool, line, at.command)
	return steadyMirror(strings.ReplaceAll(text, strings.ReplaceAll(at.dir, at.pool, "POOL"), "DIR"))
}

// steadyMirror replaces what differs from pool to pool in the output of mirror
// commands: uuids, and when something happened.
func steadyMirror(text string) string {
	text = volatileJournal.ReplaceAllString(text, "journal_data.N.")
	text = strings.ReplaceAll(text, "ID \n", "ID\n") // a column as wide as the longest id
	text = volatileStamp.ReplaceAllString(text, "TIME")
	return volatileSnapID.ReplaceAllString(text, "${1}N")
}
