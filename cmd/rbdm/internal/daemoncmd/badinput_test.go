package daemoncmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/cephx"
)

// TestStartsThatFail holds the daemon to one clear line and to Ceph's exit code,
// which is 1 whatever fails.
func TestStartsThatFail(t *testing.T) {
	c := fakecluster.New(t)
	key, err := c.Key("client.admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CEPH_CONF", "")
	t.Setenv("CEPH_ARGS", "")
	dir := t.TempDir()
	other := cephx.NewKey(cephx.KeyAES).Base64()
	for name, tc := range map[string]struct {
		conf, words string
		args        []string
	}{
		"wrong key":   {"mon host = " + c.MonHost() + "\nkey = " + other, "does not let client.admin in", nil},
		"no keyring":  {"mon host = " + c.MonHost() + "\nauth client required = cephx\nkeyring = " + dir + "/none", "no keyring found", nil},
		"rubbish key": {"mon host = " + c.MonHost() + "\nkey = rubbish!", "not a Ceph key", nil},
		"bad line":    {"this is no setting", "bad-line.conf:2: ", nil},
		"dead mon":    {"mon host = [v2:127.0.0.1:1/0]\nclient mount timeout = 1\nkey = " + key, "no monitor can be reached", nil},
		"no such user": {"mon host = " + c.MonHost() + "\nkey = " + key, "unable to look up user 'no-such-user'", []string{
			"--setuser", "no-such-user"}},
		"unknown option": {"mon host = " + c.MonHost() + "\nkey = " + key, "no-such-option", []string{"--no-such-option"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".conf")
			if err := os.WriteFile(path, []byte("[global]\n"+tc.conf+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var out, errs bytes.Buffer
			code := New("test", "rbdm-test")(ctx, append([]string{"-f", "-n", "client.admin", "-c", path, "--admin-socket="}, tc.args...), streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
			if code != 1 || !strings.Contains(errs.String(), tc.words) || strings.Count(errs.String(), "\n") != 1 || ctx.Err() != nil {
				t.Errorf("exit %d, want 1, and one line with %q:\n%s", code, tc.words, errs.String())
			}
		})
	}
}
