//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/journal"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// journalPool makes a pool and registers clients in the journals of its images,
// which keep their entries for rbd to show.
func journalPool(t *testing.T, s *site, pool string, images ...string) (ids []string) {
	t.Helper()
	s.real(t, "ceph", "osd", "pool", "create", pool, "8")
	s.real(t, "rbd", "pool", "init", pool)
	t.Cleanup(func() {
		s.command(context.Background(), "ceph", "osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it").Run()
	})
	inv, _, err := conf.ParseArgs([]string{"-c", s.conf()}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	cfg, err2 := inv.Load()
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	c, err := rados.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io, err := c.OpenPool(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range images {
		s.real(t, "rbd", "create", pool+"/"+name, "--size", "32M", "--image-feature", "exclusive-lock,journaling", "--journal-object-size", "64K")
		_, id, _ := strings.Cut(s.real(t, "rbd", "info", pool+"/"+name, "--format", "json"), `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		ids = append(ids, id)
		j, err := journal.Open(t.Context(), io, id, "", journal.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		for client, data := range map[string][]byte{"empty": nil, "zeros": make([]byte, 70), "some": []byte("some data, more than sixteen bytes\x00\xff\x01")} {
			if err := j.RegisterClient(t.Context(), client, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// said runs a command and returns all that it says, without what differs from
// run to run.
func said(t *testing.T, cmd *exec.Cmd, stdin []byte, replace ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	words := strings.ReplaceAll(errs.String(), " [buffer:2]", "") // 16.2 lacks it
	text := fmt.Sprintf("%s\nstderr: %s\nexit %d", out.String(), volatileLog.ReplaceAllString(words, ""), cmd.ProcessState.ExitCode())
	return strings.NewReplacer(replace...).Replace(text)
}

// lineDiff is what two texts do not share, by lines.
func lineDiff(ours, real string) string {
	a, b := strings.Split(ours, "\n"), strings.Split(real, "\n")
	var out strings.Builder
	fmt.Fprintf(&out, "%d lines of ours, %d of the real one\n", len(a), len(b))
	for i := range max(len(a), len(b)) {
		var l, r string
		if i < len(a) {
			l = a[i]
		}
		if i < len(b) {
			r = b[i]
		}
		if l != r && out.Len() < 4000 {
			fmt.Fprintf(&out, "%d ours: %q\n%d real: %q\n", i, l, i, r)
		}
	}
	return out.String()
}

// TestJournalCommandsAsReal runs the commands on journals with the release's own
// rbd and with ours.
func TestJournalCommandsAsReal(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	pool := fmt.Sprintf("jrcmd%d", time.Now().UnixNano()%1e9)
	ids := journalPool(t, s, pool, "a", "real", "ours")
	id, spec := ids[0], pool+"/a"
	bench := []string{"rbd", "bench", spec, "--io-type", "write", "--io-size"}
	s.real(t, append(bench, "4096", "--io-total", "300K", "--io-pattern", "rand")...)
	s.real(t, "rbd", "snap", "create", spec+"@s")
	s.real(t, "rbd", "snap", "rename", spec+"@s", spec+"@t")
	s.real(t, "rbd", "snap", "rollback", spec+"@t")
	s.real(t, "rbd", "snap", "limit", "set", spec, "--limit", "9")
	s.real(t, "rbd", "snap", "rm", spec+"@t")
	s.real(t, "rbd", "resize", spec, "--size", "64M")
	s.real(t, "rbd", "image-meta", "set", spec, "k", "v")
	s.real(t, "rbd", "image-meta", "rm", spec, "k")
	s.real(t, "rbd", "rename", spec, pool+"/b")
	s.real(t, "rbd", "rename", pool+"/b", spec)
	s.real(t, append(bench, "20000", "--io-total", "100K")...)
	s.real(t, "rbd", "create", pool+"/plain", "--size", "8M", "--image-feature", "layering")
	file := filepath.Join(s.dir, pool+".export")
	both := func(line string) {
		line = strings.NewReplacer("POOL", pool, "ID", id, "FILE", file).Replace(line)
		args := append([]string{"rbd", "journal"}, strings.Fields(line)...)
		got := said(t, s.ours(t.Context(), args...), nil)
		os.Remove(file)
		want := said(t, s.command(t.Context(), args...), nil)
		os.Remove(file)
		if got != want {
			t.Errorf("rbd journal %s\n%s", line, lineDiff(got, want))
		}
	}
	for line := range strings.Lines(journalLines) {
		both(strings.TrimSpace(line))
	}

	// An export of ours is imported by the real one and the other way round.
	files := map[string][]byte{}
	for who, command := range map[string]func(context.Context, ...string) *exec.Cmd{"real": s.command, "ours": s.ours} {
		out, err := command(t.Context(), "rbd", "journal", "export", pool+"/"+id, "-").Output()
		if err != nil {
			t.Fatal(err)
		}
		files[who] = []byte(strings.TrimSuffix(string(out), "\n"))
	}
	if !bytes.Equal(files["ours"], files["real"]) {
		t.Fatal("the exports differ: " + lineDiff(string(files["ours"]), string(files["real"])))
	}
	exported := files["real"][:bytes.LastIndexByte(files["real"], '\n')+1]
	real := said(t, s.command(t.Context(), "rbd", "journal", "import", "-", pool+"/"+ids[1]), exported)
	ours := said(t, s.ours(t.Context(), "rbd", "journal", "import", "-", pool+"/"+ids[2]), exported)
	if ours != real {
		t.Errorf("import\nours:\n%s\nreal:\n%s", ours, real)
	}
	for _, what := range []string{"inspect --verbose", "export --path -", "status"} {
		var got []string
		for _, i := range []int{1, 2} {
			args := append([]string{"rbd", "journal"}, strings.Fields(what)...)
			got = append(got, said(t, s.command(t.Context(), append(args, pool+"/"+ids[i])...), nil, ids[i], "ID"))
		}
		if got[0] != got[1] && what != "status" {
			t.Errorf("%s after import\n%s", what, lineDiff(got[1], got[0]))
		}
	}
	for _, bad := range []string{"x", "5", "5 ab", "5x", "0 ", "2 {}", "99 {}", "# only\n", "12 {\"tag_id\":1}\n"} {
		real := said(t, s.command(t.Context(), "rbd", "journal", "import", "-", pool+"/"+ids[1]), []byte(bad))
		ours := said(t, s.ours(t.Context(), "rbd", "journal", "import", "-", pool+"/"+ids[2]), []byte(bad))
		if strings.Contains(real, "rbd: ") {
			// The real one takes it for a success.
			failure := "rbd: journal import: (22) Invalid argument\n"
			if bad == "5" {
				failure = "rbd: journal import: (33) Numerical argument out of domain\n"
			}
			if !strings.Contains(ours, failure) || strings.HasSuffix(ours, "exit 0") {
				t.Errorf("import of %q\nours:\n%s", bad, ours)
			}
			ours, _, _ = strings.Cut(ours, failure)
			real, _, _ = strings.Cut(real, "\nexit 0")
		}
		if ours != real {
			t.Errorf("import of %q\nours:\n%s\nreal:\n%s", bad, ours, real)
		}
	}
	for _, args := range []string{"client disconnect --client-id some", "client disconnect", "status", "status --format json --pretty-format"} {
		var got []string
		for i, command := range []func(context.Context, ...string) *exec.Cmd{s.command, s.ours} {
			got = append(got, said(t, command(t.Context(), append(append([]string{"rbd", "journal"}, strings.Fields(args)...), pool+"/"+ids[1+i])...), nil))
		}
		if got[0] != got[1] && !strings.HasPrefix(args, "status") {
			t.Errorf("%s\nours:\n%s\nreal:\n%s", args, got[1], got[0])
		}
	}
	real = said(t, s.command(t.Context(), "rbd", "journal", "status", pool+"/"+ids[1]), nil)
	ours = said(t, s.command(t.Context(), "rbd", "journal", "status", pool+"/"+ids[2]), nil)
	if strings.Count(real, "state=disconnected") != 3 || strings.Count(ours, "state=disconnected") != 3 {
		t.Errorf("real:\n%s\nours:\n%s", real, ours)
	}
}

// journalLines are the commands that change nothing. ID stands for the journal's.
const journalLines = `info POOL/ID
	info POOL/ID --format json
	info POOL/ID --format json --pretty-format
	info POOL/ID --format xml --pretty-format
	info -p POOL --image a
	info --image POOL/a
	info --image POOL/a@s
	info --image POOL/plain
	info --image POOL/gone
	info --journal POOL/ID
	info -p POOL --journal ID
	info POOL/none
	info
	info nopool/x
	info POOL/nons/x
	info POOL/a@b
	info POOL/a/b/c/d
	status POOL/ID
	status POOL/ID --format json
	status POOL/ID --format json --pretty-format
	status POOL/ID --format xml --pretty-format
	status POOL/none
	status -p POOL --image plain
	inspect POOL/ID
	inspect POOL/ID --verbose
	inspect -p POOL --image a
	inspect POOL/none
	export POOL/ID -
	export POOL/ID FILE --verbose
	export -p POOL --image a --path -
	export --image POOL/a -
	export POOL/ID
	export POOL/ID /gone/file
	export POOL/none -
	export
	import
	import -
	import /gone/file POOL/ID
	import - POOL/none
	import - --dest-journal POOL/none
	import - --dest-journal a@b
	client disconnect POOL/ID --client-id nobody
	client disconnect POOL/none
	client disconnect -p POOL --image plain
	reset POOL/none`
