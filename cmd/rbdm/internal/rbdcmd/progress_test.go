package rbdcmd

import (
	"bytes"
	"errors"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

func TestProgress(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		run  func(p func(done, total uint64), done func(error))
		want string
	}{
		{"done", []string{"rm", "i"}, func(p func(done, total uint64), done func(error)) {
			p(0, 4)
			p(1, 4)
			p(1, 4)
			done(nil)
		}, "\rRemoving image: 25% complete...\rRemoving image: 100% complete...done.\n"},
		{"failed", []string{"rm", "i"}, func(p func(done, total uint64), done func(error)) {
			p(2, 3)
			done(errors.New("no"))
		}, "\rRemoving image: 66% complete...\rRemoving image: 66% complete...failed.\n"},
		{"quiet", []string{"rm", "i", "--no-progress"}, func(p func(done, total uint64), done func(error)) {
			if p != nil {
				t.Error("progress is reported")
			}
			done(nil)
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, err := cli.NewTable().Parse(tc.args)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			c := &call{Invocation: in, std: streams.Streams{Err: &out}}
			tc.run(c.progress("Removing image"))
			if out.String() != tc.want {
				t.Errorf("got %q, want %q", out.String(), tc.want)
			}
		})
	}
}
