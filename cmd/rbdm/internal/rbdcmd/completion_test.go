package rbdcmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

func TestBashCompletion(t *testing.T) {
	for _, args := range [][]string{{"bash-completion"}, {"bash-completion", "group", "add"}} {
		var out, errs bytes.Buffer
		if code := Main(t.Context(), args, streams.Streams{Out: &out, Err: &errs}); code != 0 || errs.Len() != 0 {
			t.Fatalf("%v: exit code %d, %q", args, code, errs.String())
		}
		words := strings.Split(strings.TrimSuffix(out.String(), "|\n"), "|")
		table := cli.NewTable()
		// What rbd's help does not show and our table does not hold: those of devices.
		unknown := map[string]bool{"device ls": true, "nbd list": true, "nbd ls": true, "nbd map": true, "nbd unmap": true}
		for _, w := range words {
			if w == "" || w == "help" || strings.HasPrefix(w, "-") || unknown[w] {
				continue
			}
			if table.Lookup(strings.Fields(w)) == nil {
				t.Errorf("%q is no command of the table", w)
			}
		}
	}
}

func TestHiddenCommandsAreOutOfScope(t *testing.T) {
	for _, words := range hiddenCommands() {
		var out, errs bytes.Buffer
		code := Main(t.Context(), append(strings.Fields(words), "pool/image"), streams.Streams{Out: &out, Err: &errs})
		if want := "rbd: '" + words + "' is not part of rbdm\n"; code != exitNotSupported || errs.String() != want || out.Len() != 0 {
			t.Errorf("%s: exit code %d, %q, %q", words, code, errs.String(), out.String())
		}
	}
}
