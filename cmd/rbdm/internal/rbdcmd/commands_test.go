package rbdcmd

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

// outOfScope are the commands of rbd that rbdm does not have, by their first words:
// they need a device of the kernel, or a feature of images that rbdm leaves alone.
var outOfScope = []string{"device", "encryption", "migration", "persistent-cache"}

// TestEveryCommandOfRBD holds the commands whose help rbd 20.2.4 printed against
// ours: each is there, or says in one line that it is not.
func TestEveryCommandOfRBD(t *testing.T) {
	text, err := os.ReadFile("../cli/testdata/commands-20.2.txt")
	if err != nil {
		t.Fatal(err)
	}
	table, ours := cli.NewTable(), handlers()
	there, missing := 0, 0
	for _, m := range regexp.MustCompile(`(?m)^=== (.*)$`).FindAllStringSubmatch(string(text), -1) {
		words := strings.Fields(m[1])
		command := table.Lookup(words)
		if command == nil {
			t.Errorf("rbd %s: no such command", m[1])
			continue
		}
		inScope := true
		for _, first := range outOfScope {
			inScope = inScope && words[0] != first
		}
		if _, ok := ours[command.Words]; ok != inScope {
			t.Errorf("rbd %s: carried out: %v, in scope: %v", m[1], ok, inScope)
		}
		delete(ours, command.Words)
		if inScope {
			there++
			continue
		}
		missing++
		var out, errs bytes.Buffer
		code := Main(t.Context(), words, streams.Streams{Out: &out, Err: &errs})
		if want := fmt.Sprintf("rbd: '%s' is not part of rbdm\n", command.Words); code != exitNotSupported || errs.String() != want || out.Len() > 0 {
			t.Errorf("rbd %s: exit code %d, %q, %q", m[1], code, errs.String(), out.String())
		}
	}
	for words := range ours {
		t.Errorf("%s is no command of rbd", words)
	}
	t.Logf("%d commands of rbd are there, %d are out of scope", there, missing)
}
