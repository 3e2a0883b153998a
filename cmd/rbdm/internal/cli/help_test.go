package cli

import (
	_ "embed"
	"strings"
	"testing"
)

// What rbd 20.2.4 prints for `rbd help` and for `rbd help COMMAND` of every
// command.
var (
	//go:embed testdata/help-20.2.txt
	realHelp string
	//go:embed testdata/commands-20.2.txt
	realCommandHelp string
)

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func TestHelpIsRBDs(t *testing.T) {
	var b strings.Builder
	NewTable().Help(&b)
	diffLines(t, "help", trimLines(realHelp), trimLines(b.String()))
}

func TestHelpOfEveryCommandIsRBDs(t *testing.T) {
	table := NewTable()
	seen := 0
	for block := range strings.SplitSeq("\n"+realCommandHelp, "\n=== ") {
		words, want, _ := strings.Cut(block, "\n")
		if words = strings.TrimSpace(words); words == "" {
			continue
		}
		seen++
		c := table.Lookup(strings.Fields(words))
		if c == nil {
			t.Errorf("no command %q", words)
			continue
		}
		var b strings.Builder
		c.Help(&b, words)
		diffLines(t, words, strings.TrimRight(want, "\n"), strings.TrimRight(trimLines(b.String()), "\n"))
	}
	if seen != len(table.Commands) {
		t.Errorf("%d commands, %d in the real help", len(table.Commands), seen)
	}
}

func diffLines(t *testing.T, what, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Errorf("%s, line %d:\n  rbd: %q\n  got: %q", what, i+1, a, b)
			return
		}
	}
}
