package rbdcmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

// FuzzArguments reads lists of arguments, one to a line, as far as a command goes
// before it connects: nothing crashes, and no error exits with 0.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"mirror pool enable -p p image", "mirror snapshot schedule add --image p/ns/i@s 1h", "mirror pool status --verbose=1 p",
		"perf image iostat p --sort-by write-ops --iterations 0", "trash purge schedule ls -R --format xml", "help mirror image",
		"create -s 1Z p/a/b/c", "snap create @", "ls -p", "--format", "-- ls", "mirror pool peer add p client.@x", "import - p/i", "bench --io-size 0 i",
	} {
		f.Add(strings.ReplaceAll(seed, " ", "\n"))
	}
	table := cli.NewTable()
	none := func(string) string { return "" }
	f.Fuzz(func(t *testing.T, text string) {
		var out, errs bytes.Buffer
		std := streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
		_, rest, err := conf.ParseArgs(strings.Split(text, "\n"), none, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
		if err != nil {
			return
		}
		in, err := table.Parse(rest)
		if err != nil {
			return
		}
		for _, read := range []func() error{
			func() error { _, err := levelSpec(in); return err },
			func() error { _, err := poolSpec(in); return err },
			func() error { _, _, err := specArg{snap: snapOptional}.take(in); return err },
			func() error { _, err := (&call{Invocation: in, std: std}).format(); return err },
		} {
			if err := read(); err != nil && exitCode(err) == 0 {
				t.Fatalf("%q: %v exits with 0", text, err)
			}
		}
	})
}
