package cli

import (
	"strings"
	"testing"
)

func TestParseFindsTheCommand(t *testing.T) {
	table := NewTable()
	for line, want := range map[string]string{
		"mirror pool enable p image":               "mirror pool enable | p image",
		"-p p mirror image status i":               "mirror image status | i",
		"--pretty-format --format json ls p":       "ls | p",
		"ls --pool=p":                              "ls | ",
		"snap rm --no-progress p/i@s":              "snap rm | p/i@s",
		"mirror snapshot schedule ls -R":           "mirror snapshot schedule ls | ",
		"create -s 1G p/i --image-feature a,b":     "create | p/i",
		"deep cp a b":                              "deep cp | a b",
		"feature disable i object-map fast-diff":   "feature disable | i object-map fast-diff",
		"image-meta set i key -- -value":           "image-meta set | i key -value",
		"mirror pool peer bootstrap import p file": "mirror pool peer bootstrap import | p file",
	} {
		in, err := table.Parse(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := in.Words + " | " + strings.Join(in.Args, " "); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// The texts and codes are those of rbd 20.2.4.
func TestParseRefusesAsRBDDoes(t *testing.T) {
	table := NewTable()
	for line, want := range map[string]string{
		"foo":              "error: unknown option 'foo'",
		"mirror pool":      "error: unknown option 'mirror pool'",
		"ls --bogus":       "rbd: unrecognised option '--bogus'",
		"ls a b":           "rbd: too many arguments",
		"ls -p":            "rbd: the required argument for option '--pool' is missing",
		"ls --forma json":  "rbd: unrecognised option '--forma'",
		"info --size 10 i": "rbd: unrecognised option '--size'",
	} {
		_, err := table.Parse(strings.Fields(line))
		usage, ok := err.(*UsageError)
		if !ok || usage.Msg != want || usage.Code != 1 {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mirror pool enable p image")
	f.Add("-p\x00--\x00ls\x00-\x00--pool")
	table := NewTable()
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.FieldsFunc(line, func(r rune) bool { return r == 0 || r == ' ' })
		if in, err := table.Parse(args); err == nil && in.Command == nil {
			t.Fatal("neither a command nor an error")
		}
	})
}
