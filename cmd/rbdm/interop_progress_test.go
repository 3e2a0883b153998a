//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// progressSteps are commands that tell how far they are; what comes before "=" is
// progressSteps are commands that tell how far they are, each with what must be done
// before it. DIR/in is a file of 60 MiB without holes.
var progressSteps = []string{
	"import DIR/in POOL/i",
	"export POOL/i DIR/out",
	"export POOL/i DIR/out2 --export-format 2",
	"import DIR/out2 POOL/i2 --export-format 2",
	"create -s 60M POOL/thick --thick-provision",
	"create -s 50M POOL/r = resize POOL/r -s 100M",
	"resize POOL/i2 -s 10M --allow-shrink",
	"create -s 5G POOL/empty = resize POOL/empty -s 10M --allow-shrink",
	"rm POOL/empty",
	"cp POOL/i POOL/c",
	"deep cp POOL/i POOL/d",
	"snap create POOL/i@s1",
	"snap rollback POOL/i@s1",
	"snap create POOL/c@s1 = snap create POOL/c@s2 = snap create POOL/c@s3 = snap rm POOL/c@s2",
	"snap purge POOL/c",
	"snap protect POOL/i@s1 = clone POOL/i@s1 POOL/k = flatten POOL/k",
	"export-diff POOL/i DIR/diff",
	"create -s 60M POOL/dst = import-diff DIR/diff POOL/dst",
	"merge-diff DIR/diff DIR/diff DIR/merged",
	"sparsify POOL/i",
	"object-map rebuild POOL/i",
	"object-map check POOL/i",
	"rm POOL/d",
	"trash mv POOL/c = trash mv POOL/k = trash mv POOL/r = trash purge POOL",
	"rm POOL/missing",
	"rm POOL/i",
}

// TestProgress compares what commands write to stderr while they work, byte for
// byte.
func TestProgress(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	real, ours := s.side(t, "progressr", s.command), s.side(t, "progresso", s.ours)
	content := make([]byte, 60<<20)
	for i, rng := 0, rand.New(rand.NewPCG(5, 5)); i < len(content); i += 512 {
		content[i] = byte(1 + rng.IntN(255))
	}
	for _, at := range []cliSide{real, ours} {
		putFile(t, at.dir, "in", content)
	}
	for _, step := range progressSteps {
		outcome := func(at cliSide) (text string, code int) {
			for line := range strings.SplitSeq(step, " = ") {
				line = strings.NewReplacer("DIR", at.dir, "POOL", at.pool).Replace(line)
				_, text, code = at.run(t, strings.Fields(line)...)
			}
			return volatileLog.ReplaceAllString(text, ""), code
		}
		want, wantCode := outcome(real)
		got, gotCode := outcome(ours)
		if got != want || gotCode != wantCode {
			t.Errorf("%s:\nours %d %q\nreal %d %q", step, gotCode, got, wantCode, want)
		}
	}
}

var percentShown = regexp.MustCompile(`: (\d\d)% complete`)

// interrupt runs a command of ours until it has told some progress, sends it SIGINT,
// and returns what it wrote to stderr.
func (s *site) interrupt(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := s.ours(ctx, append([]string{"rbd"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	buf, sent := make([]byte, 4096), false
	for {
		n, err := stderr.Read(buf)
		text.Write(buf[:n])
		if !sent && percentShown.Match(text.Bytes()) {
			sent = true
			cmd.Process.Signal(os.Interrupt)
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v: %v: it ended before it was interrupted\n%s", args, err, text.String())
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("%v ended with %v", args, err)
	}
	return text.String()
}

// TestInterrupted interrupts commands in the middle. Like rbd they end by the signal
// and say nothing more; what was being made is gone, what was there can be worked
// with at once, and a second run brings it to its end.
func TestInterrupted(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	pool, dir := s.newPool(t, "interrupted"), s.folder(t, "interrupted")
	content := make([]byte, 400<<20)
	for i := 0; i < len(content); i += 4096 {
		content[i] = byte(i>>12) | 1
	}
	putFile(t, dir, "in", content)
	in := filepath.Join(dir, "in")
	quiet := func(args ...string) { s.real(t, append([]string{"rbd", "--no-progress"}, args...)...) }
	calm := func(text string) {
		if i := strings.LastIndex(text, "complete..."); i < 0 || text[i:] != "complete..." {
			t.Errorf("it says more: %q", text)
		}
	}
	absent := func(spec string) {
		if out := s.real(t, "rbd", "ls", pool); strings.Contains(out, spec) {
			t.Errorf("%s is there: %s", spec, out)
		}
	}
	quiet("import", in, pool+"/big")
	calm(s.interrupt(t, "import", in, pool+"/new"))
	absent("new")
	calm(s.interrupt(t, "cp", pool+"/big", pool+"/new"))
	absent("new")
	calm(s.interrupt(t, "deep", "cp", pool+"/big", pool+"/new"))
	absent("new")
	calm(s.interrupt(t, "export", pool+"/big", filepath.Join(dir, "out")))
	quiet("snap", "create", pool+"/big@s")
	s.real(t, "rbd", "snap", "protect", pool+"/big@s")
	s.real(t, "rbd", "clone", pool+"/big@s", pool+"/clone")
	calm(s.interrupt(t, "flatten", pool+"/clone"))
	quiet("flatten", pool+"/clone")
	s.real(t, "rbd", "snap", "unprotect", pool+"/big@s")
	s.real(t, "rbd", "bench", "--io-type", "write", "--io-size", "4M", "--io-total", "400M", pool+"/big")
	calm(s.interrupt(t, "snap", "rollback", pool+"/big@s"))
	quiet("snap", "rollback", pool+"/big@s")
	if got, err := os.ReadFile(s.export(t, pool+"/big")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("rolled back: %v", err)
	}
	calm(s.interrupt(t, "resize", pool+"/clone", "-s", "4M", "--allow-shrink"))
	quiet("resize", pool+"/clone", "-s", "4M", "--allow-shrink")
	quiet("snap", "purge", pool+"/big")
	calm(s.interrupt(t, "rm", pool+"/big"))
	quiet("rm", pool+"/big")
	absent("big")
}
