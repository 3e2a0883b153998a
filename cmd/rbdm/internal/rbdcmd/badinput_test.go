package rbdcmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	rconf "github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
)

// badSite is a cluster and a folder of configurations of which each has a fault.
type badSite struct {
	t   *testing.T
	c   *fakecluster.Cluster
	dir string
	key string // of client.admin
}

func newBadSite(t *testing.T, opts ...fakecluster.Option) *badSite {
	s := &badSite{t: t, c: fakecluster.New(t, append(opts, fakecluster.Pools("rbd"))...), dir: t.TempDir()}
	key, err := s.c.Key("client.admin")
	if err != nil {
		t.Fatal(err)
	}
	s.key = key
	t.Setenv("CEPH_CONF", "")
	t.Setenv("CEPH_ARGS", "")
	t.Setenv("CEPH_KEYRING", "")
	return s
}

// file writes a file and returns its path.
func (s *badSite) file(name, text string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// conf writes a ceph.conf with the monitors, and more lines.
func (s *badSite) conf(name, monHost string, more ...string) string {
	return s.file(name+".conf", "[global]\nmon host = "+monHost+"\nauth client required = cephx\n"+strings.Join(more, "\n")+"\n")
}

// rbd runs one command line and returns its exit code and standard error.
func (s *badSite) rbd(args ...string) (int, string) {
	var out, errs bytes.Buffer
	code := Main(s.t.Context(), args, streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return code, errs.String()
}

// want runs a command line and checks how it ends: with the exit code of rbd, in
// few lines, which have the words, and that it is quick about it.
func (s *badSite) want(code int, words string, lines int, args ...string) {
	s.t.Helper()
	began := time.Now()
	got, errs := s.rbd(args...)
	if n := strings.Count(errs, "\n"); got != code || !strings.Contains(errs, words) || n > lines {
		s.t.Errorf("%v: exit %d, want %d, with %q in at most %d lines:\n%s", args, got, code, words, lines, errs)
	}
	if d := time.Since(began); d > 20*time.Second {
		s.t.Errorf("%v: took %s", args, d)
	}
}

// The exit codes are those that rbd of 20.2 gave for the same.
func TestNoConnection(t *testing.T) {
	s := newBadSite(t, fakecluster.Mons(2))
	host := s.c.MonHost()
	ring := func(user, key string) string {
		return "keyring = " + s.file(fmt.Sprint(user, len(key), ".keyring"), fmt.Sprintf("[%s]\n\tkey = %s\n", user, key))
	}
	other := cephx.NewKey(cephx.KeyAES).Base64()
	good := ring("client.admin", s.key)
	for name, tc := range map[string]struct {
		code  int
		words string
		lines int
		args  []string
	}{
		"wrong key":       {13, "does not let client.admin in", 3, []string{"-c", s.conf("wrong", host, ring("client.admin", other)), "ls"}},
		"unknown user":    {13, "does not let client.nobody in", 3, []string{"-c", s.conf("nobody", host, ring("client.nobody", s.key)), "--id", "nobody", "ls"}},
		"not in keyring":  {13, "client.other: no such entity", 3, []string{"-c", s.conf("other", host, good), "--id", "other", "ls"}},
		"no keyring":      {2, "no keyring found for client.admin", 3, []string{"-c", s.conf("noring", host, "keyring = "+s.dir+"/none"), "ls"}},
		"rubbish key":     {2, "not a Ceph key", 3, []string{"-c", s.conf("rubbish", host, ring("client.admin", "rubbish!")), "ls"}},
		"rubbish keyring": {2, "no section head", 3, []string{"-c", s.conf("badring", host, "keyring = "+s.file("bad", "[client.admin\n")), "ls"}},
		"no key file":     {2, "key file", 4, []string{"-c", s.conf("nofile", host), "--keyfile", s.dir + "/none", "ls"}},
		"no such conf":    {1, "global_init: unable to open config file from search list " + s.dir + "/none.conf\n", 1, []string{"-c", s.dir + "/none.conf", "ls"}},
		"bad line":        {1, "badline.conf:4: ", 1, []string{"-c", s.conf("badline", host, "this is no setting"), "ls"}},
		"bad section":     {1, "badsection.conf:4: ", 1, []string{"-c", s.conf("badsection", host, "[unclosed"), "ls"}},
		"bad address":     {22, "option mon_host", 3, []string{"-c", s.conf("badhost", "1.2.3.4:x", good), "ls"}},
		"bad name":        {1, "error parsing 'foo': expected string of the form TYPE.ID", 1, []string{"-c", s.conf("name", host, good), "--name", "foo", "ls"}},
		"unknown pool":    {2, "error opening pool 'nosuch': (2) No such file or directory", 2, []string{"-c", s.conf("pool", host, good), "-p", "nosuch", "ls"}},
		"unknown image":   {2, "error opening image nosuch: (2) No such file or directory", 1, []string{"-c", s.conf("image", host, good), "info", "nosuch"}},
		"info":            {13, "does not let client.admin in", 2, []string{"-c", s.conf("info", host, ring("client.admin", other)), "info", "img"}},
	} {
		t.Run(name, func(t *testing.T) {
			sub := *s
			sub.t = t
			sub.want(tc.code, tc.words, tc.lines, tc.args...)
		})
	}
}

func TestMissingCaps(t *testing.T) {
	s := newBadSite(t)
	admin := s.conf("admin", s.c.MonHost(), "key = "+s.key)
	s.want(0, "", 1, "-c", admin, "create", "--size", "4M", "img")
	for user, tc := range map[string]struct {
		caps  map[string]string
		words string
		code  int
		args  []string
	}{
		"client.reader": {map[string]string{"mon": "profile rbd", "osd": "profile rbd-read-only"}, "create error: (1) Operation not permitted", 1, []string{"create", "--size", "4M", "x"}},
		"client.other":  {map[string]string{"mon": "profile rbd", "osd": "profile rbd pool=elsewhere"}, "listing images failed: (1) Operation not permitted", 1, []string{"ls"}},
		"client.nomon":  {map[string]string{"osd": "allow *"}, "does not let client.nomon in", 13, []string{"ls"}},
	} {
		key, err := s.c.AddUser(user, tc.caps)
		if err != nil {
			t.Fatal(err)
		}
		conf := s.conf(user, s.c.MonHost(), "key = "+key)
		s.want(tc.code, tc.words, 3, append([]string{"-c", conf, "--name", user}, tc.args...)...)
	}
	if code, errs := s.rbd("-c", admin, "info", "x"); code != 2 {
		t.Errorf("the refused image: exit %d: %s", code, errs)
	}
}

func TestDeadMonitors(t *testing.T) {
	s := newBadSite(t, fakecluster.Mons(3))
	conf := s.conf("mons", s.c.MonHost(), "key = "+s.key, "client mount timeout = 1")
	s.c.StopMon(2)
	s.want(0, "", 0, "-c", conf, "ls")
	s.c.StopMon(0)
	s.c.StopMon(1)
	s.want(110, "listing images failed: (110) Connection timed out", 3, "-c", conf, "ls")
}

// A peer that is no monitor, or breaks off, is told by what it says.
func TestMonitorsThatSpeakRubbish(t *testing.T) {
	s := newBadSite(t)
	banner := "ceph v2\n\x10\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for name, tc := range map[string]struct{ says, words string }{
		"closes":          {"", "closed the connection"},
		"web server":      {"HTTP/1.1 400 Bad Request\r\n\r\n", `it begins with "HTTP`},
		"messenger 1":     {"ceph v027", "msgr1"},
		"half a banner":   {banner[:12], "banner"},
		"rubbish frames":  {banner + strings.Repeat("\xff", 200), "preamble"},
		"truncated frame": {banner + "\x01\x01\x24\x00\x00\x00\x08\x00", "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte(tc.says))
					_ = c.(*net.TCPConn).CloseWrite()
					_ = c.SetReadDeadline(time.Now().Add(time.Second))
					_, _ = c.Read(make([]byte, 4096))
					_ = c.Close()
				}
			}()
			defer func() {
				cancel()
				_ = l.Close()
				<-done
			}()
			sub := *s
			sub.t = t
			conf := sub.conf("rubbish", "[v2:"+l.Addr().String()+"/0]", "key = "+s.key, "client mount timeout = 1")
			sub.want(110, tc.words, 3, "-c", conf, "ls")
		})
	}
}

func TestTokensThatAreNone(t *testing.T) {
	s := newBadSite(t)
	conf := s.conf("admin", s.c.MonHost(), "key = "+s.key)
	s.want(0, "", 1, "-c", conf, "mirror", "pool", "enable", "rbd", "image")
	b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	const elsewhere = `"fsid":"11111111-2222-3333-4444-555555555555","client_id":"x","mon_host":"[v2:127.0.0.1:1/0]"`
	for name, tc := range map[string]struct {
		token string
		code  int
		words string
	}{
		"empty":     {"", 22, "failed to import peer bootstrap token"},
		"no base64": {"not base64 at all!!", 22, "failed to import peer bootstrap token"},
		"no JSON":   {b64("hello"), 22, "failed to import peer bootstrap token"},
		"no fields": {b64("{}"), 22, "failed to import peer bootstrap token"},
		"no key":    {b64("{" + elsewhere + "}"), 22, "failed to import peer bootstrap token"},
		"bad key":   {b64("{" + elsewhere + `,"key":"zz"}`), 2, "not a Ceph key"},
		"ourselves": {b64(fmt.Sprintf(`{"fsid":"%s","client_id":"admin","key":"%s","mon_host":"%s"}`, s.c.FSID(), s.key, s.c.MonHost())), 22, "cannot import token for local cluster"},
	} {
		path := s.file("token "+name, tc.token)
		s.want(tc.code, tc.words, 1, "-c", conf, "mirror", "pool", "peer", "bootstrap", "import", "--site-name", "here", "rbd", path)
	}
	s.want(2, "error opening", 1, "-c", conf, "mirror", "pool", "peer", "bootstrap", "import", "rbd", s.dir+"/no token")
	var out bytes.Buffer
	if code := Main(t.Context(), []string{"-c", conf, "mirror", "pool", "info", "rbd"}, streams.Streams{Out: &out, Err: &out}); code != 0 || !strings.Contains(out.String(), "Peer Sites: none") {
		t.Errorf("a peer was left behind: exit %d\n%s", code, out.String())
	}
}

func TestAnImageThatIsLocked(t *testing.T) {
	s := newBadSite(t)
	conf := s.conf("admin", s.c.MonHost(), "key = "+s.key)
	s.want(0, "", 1, "-c", conf, "create", "--size", "4M", "img")
	s.want(0, "", 1, "-c", conf, "snap", "create", "--no-progress", "img@one")
	s.want(0, "", 1, "-c", conf, "lock", "add", "img", "mine")
	s.want(16, "lock is already held by someone else", 1, "-c", conf, "lock", "add", "img", "mine too")
	for _, args := range [][]string{
		{"resize", "--size", "8M", "img"}, {"snap", "create", "img@s"}, {"feature", "disable", "img", "fast-diff"}, {"rename", "img", "other"}, {"object-map", "rebuild", "img"},
		{"object-map", "check", "img"}, {"snap", "rm", "img@one"}, {"snap", "limit", "set", "img", "--limit", "3"}, {"trash", "mv", "img"}, {"bench", "img", "--io-type", "write", "--io-total", "4K"},
	} {
		s.want(30, "(30) Read-only file system", 2, append([]string{"-c", conf}, args...)...)
	}
	// These change nothing but the header: rbd takes no lock for them.
	for _, args := range [][]string{{"snap", "rename", "img@one", "img@s"}, {"snap", "protect", "img@s"}, {"clone", "--rbd-default-clone-format", "1", "img@s", "clone"}} {
		s.want(0, "", 0, append([]string{"-c", conf}, args...)...)
	}
	s.want(16, "rbd: unprotecting snap failed: (16) Device or resource busy", 1, "-c", conf, "snap", "unprotect", "img@s")
	s.want(0, "", 0, "-c", conf, "rm", "--no-progress", "clone")
	s.want(0, "", 0, "-c", conf, "snap", "unprotect", "img@s")
}

// A client's clock is its own: tickets are valid for a time from when they came.
func TestAClockThatIsWrong(t *testing.T) {
	for _, skew := range []time.Duration{-48 * time.Hour, 48 * time.Hour} {
		s := newBadSite(t, fakecluster.WithClock(fakecluster.NewManualClock(time.Now().Add(skew))))
		conf := s.conf("admin", s.c.MonHost(), "key = "+s.key)
		s.want(0, "", 0, "-c", conf, "create", "--size", "4M", "img")
		s.want(0, "", 0, "-c", conf, "info", "img")
	}
}

func TestAnImageThatIsOpenElsewhere(t *testing.T) {
	s := newBadSite(t)
	conf := s.conf("admin", s.c.MonHost(), "key = "+s.key)
	s.want(0, "", 0, "-c", conf, "create", "--size", "4M", "img")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	inv, _, err := rconf.ParseArgs([]string{"-c", conf}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	client, err := rados.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io, err := client.OpenPool(ctx, "rbd")
	if err != nil {
		t.Fatal(err)
	}
	img, err := rbd.Open(ctx, io, "img", rbd.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.want(16, "rbd: error: image still has watchers\nThis means the image is still open or the client using it crashed.", 4, "-c", conf, "rm", "img")
	if err := img.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s.want(0, "", 2, "-c", conf, "rm", "img")
}
