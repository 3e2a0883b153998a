package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/fakecluster"
)

// answer is what a release's own rbd answered to a command line, without what
// differs from run to run.
type answer struct{ line, text string }

const answerHead = "\n==== rbd "

func answersFile(list, release string) string {
	return filepath.Join("testdata", "answers", release, list+".txt")
}

// writeAnswers records what rbd answered.
func writeAnswers(t *testing.T, list, release string, all []answer) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "What rbd of Ceph %s.2 answered to %s.txt; %s wrote this.\n", release, list, strings.Split(t.Name(), "/")[0])
	for _, a := range all {
		b.WriteString(answerHead + a.line + "\n" + a.text)
	}
	path := answersFile(list, release)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(b.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readAnswers(t *testing.T, list, release string) (all []answer) {
	t.Helper()
	text, err := os.ReadFile(answersFile(list, release))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimSuffix(string(text), "\n"), answerHead)[1:] {
		line, text, _ := strings.Cut(block, "\n")
		all = append(all, answer{line, steadyMirror(text)})
	}
	return all
}

// fakeSide makes a side of a cluster in memory, with our commands in this process.
func fakeSide(t *testing.T, release int) cliSide {
	t.Helper()
	const pool = "clidiffo"
	start := func() (func(t *testing.T, args ...string) (string, string, int), string) {
		path, err := fakecluster.New(t, fakecluster.Release(release), fakecluster.OSDs(1), fakecluster.Pools(pool)).ConfFile(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return func(t *testing.T, args ...string) (string, string, int) {
			t.Setenv("CEPH_CONF", path)
			var out, errs bytes.Buffer
			code := dispatch(t.Context(), append([]string{"rbd"}, args...), streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
			return out.String(), errs.String(), code
		}, path
	}
	must := func(run func(t *testing.T, args ...string) (string, string, int)) func(t *testing.T, args ...string) string {
		return func(t *testing.T, args ...string) string {
			t.Helper()
			out, errs, code := run(t, args...)
			if code != 0 {
				t.Fatalf("rbd %v: exit code %d\n%s", args, code, errs)
			}
			return out
		}
	}
	dir := filepath.Join(t.TempDir(), pool)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run, conf := start()
	must(run)(t, "pool", "init", pool)
	return cliSide{pool: pool, dir: dir, conf: conf, run: run, must: must(run), other: func(t *testing.T) func(t *testing.T, args ...string) string {
		other, _ := start()
		there := must(other)
		there(t, "pool", "init", pool)
		return there
	}}
}

// TestRecordedAnswers runs the lists of command lines on clusters in memory and
// compares with what rbd answered on real ones. Left out is what
// cli-differences.txt has a reason for, or answers/differences.txt.
func TestRecordedAnswers(t *testing.T) {
	t.Setenv("CEPH_ARGS", "")
	t.Setenv("CEPH_KEYRING", "")
	for _, release := range []int{16, 20} {
		known := knownDifferences(t, cliDifferences, strconv.Itoa(release))
		maps.Copy(known, knownDifferences(t, "testdata/answers/differences.txt", strconv.Itoa(release)))
		for _, list := range commandLists {
			t.Run(fmt.Sprintf("%d/%s", release, list.name), func(t *testing.T) {
				at := fakeSide(t, release)
				if list.fill != nil {
					list.fill(t, at)
				}
				answers := readAnswers(t, list.name, strconv.Itoa(release))
				if lines := linesOf(t, list.name); len(lines) != len(answers) {
					t.Fatalf("%d lines and %d answers: record them again (RBDM_CLI_RECORD=1 make cli-diff)", len(lines), len(answers))
				}
				equal := 0
				for _, a := range answers {
					got := at.outcome(t, a.line)
					if _, ok := known[a.line]; got == a.text {
						equal++
					} else if !ok {
						t.Errorf("DIFFERS: rbd %s\nours:\n%s\nreal:\n%s", a.line, got, a.text)
					}
				}
				t.Logf("%d of %d lines equal", equal, len(answers))
			})
		}
	}
}
