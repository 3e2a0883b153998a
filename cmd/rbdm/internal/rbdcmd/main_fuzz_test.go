package rbdcmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

// writesFiles are the commands that write a file before they connect.
var writesFiles = []string{"merge-diff", "export", "export-diff"}

// FuzzMain runs whole command lines, one argument to a line, of a program that
// cannot connect: nothing crashes or hangs, and what says nothing on standard
// output does not exit with 0. The lines of cli-diff are the seeds.
func FuzzMain(f *testing.F) {
	lists, err := filepath.Glob("../../testdata/rbd-*-commands.txt")
	if err != nil || len(lists) == 0 {
		f.Fatal(err, "no lists")
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			f.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if n++; n%7 == 0 && line[0] != '#' {
				f.Add(strings.Join(strings.Fields(line), "\n"))
			}
		}
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "ceph.conf")
	if err := os.WriteFile(path, []byte("[global]\nmon host = [v2:127.0.0.1:1/0]\nkey = AQAjSqtjEWklERAAWcEfDLKpZsPK0DUcfHLVkw==\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Setenv("CEPH_CONF", path)
	f.Setenv("CEPH_ARGS", "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "\n")
		for _, word := range writesFiles {
			if slices.Contains(args, word) {
				return
			}
		}
		var out, errs bytes.Buffer
		began := time.Now()
		code := Main(ctx, args, streams.Streams{In: strings.NewReader("text"), Out: &out, Err: &errs})
		if d := time.Since(began); d > 10*time.Second {
			t.Fatalf("%q: took %s", args, d)
		}
		if code == 0 && out.Len() == 0 {
			t.Fatalf("%q: exits with 0 and has done nothing", args)
		}
	})
}
