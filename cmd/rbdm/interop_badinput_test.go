//go:build interop

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// badSite writes configurations that are wrong in one way each, where both the
// release's tools and ours see them.
type badSite struct {
	*site
	t    *testing.T
	dir  string
	base string // the right ceph.conf
}

func (s *site) bad(t *testing.T) *badSite {
	t.Helper()
	base, err := os.ReadFile(s.conf())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(s.dir, "bad")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &badSite{s, t, dir, string(base)}
}

func (b *badSite) file(name, text string) string {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// with returns a ceph.conf that has other values for options, by the words with
// which their lines begin.
func (b *badSite) with(name string, values ...string) string {
	text := b.base
	for i := 0; i < len(values); i += 2 {
		text = regexp.MustCompile(`(?m)^`+values[i]+` *=.*$`).ReplaceAllString(text, values[i]+" = "+values[i+1])
	}
	return b.file(name+".conf", text)
}

// end is how a command ended: its exit code and the last line of rbd's own on
// stderr.
func end(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	code := 0
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	last := ""
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "rbd: ") {
			last = strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("exit %d, %q", code, last)
}

// TestBadInputAsReal compares how the release's rbd and ours end when something is
// wrong outside the command line.
func TestBadInputAsReal(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	b := s.bad(t)
	pool := s.newPool(t, "rbdbad")
	key := func(user string, caps ...string) string {
		out := s.real(t, append([]string{"ceph", "auth", "get-or-create", "client." + user}, caps...)...)
		t.Cleanup(func() { s.command(context.Background(), "ceph", "auth", "rm", "client."+user).Run() })
		return b.file(user+".keyring", out)
	}
	other := key("rbdbadother", "mon", "allow r", "osd", "allow *")
	wrong := b.file("wrong.keyring", regexp.MustCompile(`\[.*\]`).ReplaceAllString(read(t, other), "[client.admin]"))
	unknown := b.file("unknown.keyring", regexp.MustCompile(`\[.*\]`).ReplaceAllString(read(t, other), "[client.nobody]"))
	reader := key("rbdbadreader", "mon", "profile rbd", "osd", "profile rbd-read-only")
	deaf := key("rbdbaddeaf", "osd", "allow *")
	token := func(name, text string) string {
		return b.file("token"+name, base64.StdEncoding.EncodeToString([]byte(text)))
	}
	s.real(t, "rbd", "mirror", "pool", "enable", pool, "image")
	s.real(t, "rbd", "create", "--size", "8M", pool+"/img")
	s.real(t, "rbd", "lock", "add", pool+"/img", "by hand")
	bootstrap := []string{"mirror", "pool", "peer", "bootstrap", "import", "--site-name", "x", pool}
	for _, c := range []struct {
		name, conf string
		args       []string
		old        string // how ours ends, where releases before 20.2 differ
	}{
		{"wrong key", b.with("wrong", "keyring", wrong), []string{"ls"}, ""},
		{"unknown user", b.with("unknown", "keyring", unknown), []string{"--id", "nobody", "ls"}, ""},
		{"no keyring", b.with("noring", "keyring", b.dir+"/none"), []string{"ls"}, ""},
		{"rubbish keyring", b.with("badring", "keyring", b.file("bad", "[client.admin\n")), []string{"ls"}, `exit 2, "rbd: listing images failed: (2) No such file or directory"`},
		{"user not in keyring", b.with("empty", "keyring", b.file("empty", "")), []string{"ls"}, ""},
		{"no caps for monitors", b.with("deaf", "keyring", deaf), []string{"--id", "rbdbaddeaf", "ls"}, ""},
		{"may only read", b.with("reader", "keyring", reader), []string{"--id", "rbdbadreader", "create", "--size", "4M", pool + "/x"}, ""},
		{"dead monitor", b.with("dead", "mon host", "[v2:127.0.0.1:1/0]", "mon addr", "[v2:127.0.0.1:1/0]"), []string{"--client-mount-timeout", "3", "ls"}, ""},
		{"bad name", s.conf(), []string{"--name", "foo", "ls"}, ""},
		{"unknown pool", s.conf(), []string{"-p", "no-such-pool", "ls"}, ""},
		{"unknown image", s.conf(), []string{"info", pool + "/nosuch"}, ""},
		{"token that is empty", s.conf(), append(bootstrap, b.file("tokenempty", "")), ""},
		{"token without fields", s.conf(), append(bootstrap, token("fields", "{}")), ""},
		{"token of this cluster", s.conf(), append(bootstrap, b.file("tokenown", s.real(t, "rbd", "mirror", "pool", "peer", "bootstrap", "create", pool))), ""},
		{"no token", s.conf(), append(bootstrap, b.dir+"/none"), ""},
		{"locked by hand", s.conf(), []string{"resize", "--size", "16M", pool + "/img"}, ""},
		{"locked by hand, snapshot", s.conf(), []string{"snap", "create", pool + "/img@s"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := append([]string{"rbd", "-c", c.conf}, c.args...)
			want, got := end(t, s.command(ctx, args...)), end(t, s.ours(ctx, args...))
			if s.release != "20" && c.old != "" {
				want = c.old
			}
			// What follows an import's failure is ours to word; older releases say
			// nothing there.
			if strings.Contains(c.name, "token") {
				want, _, _ = strings.Cut(strings.TrimSuffix(want, `"`), ": (")
				got = got[:min(len(got), len(want))]
			}
			if c.name == "bad name" { // the words are those of another program
				want, _, _ = strings.Cut(want, ",")
				got, _, _ = strings.Cut(end(t, s.ours(ctx, args...)), ",")
			}
			if got != want {
				t.Errorf("ours: %s\nreal: %s", got, want)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}
