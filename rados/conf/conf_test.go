package conf

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
)

var admin = entity.AuthName{Type: entity.TypeClient, ID: "admin"}

func fromText(t *testing.T, text string, settings ...Setting) *Config {
	t.Helper()
	c, err := (&Invocation{Name: admin, Settings: settings}).FromText("t.conf", text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSyntax holds what "ceph-conf --lookup" of 16.2.15 answers.
func TestSyntax(t *testing.T) {
	for _, c := range []struct{ text, option, want string }{
		{"mon host = 1.2.3.4\n", "mon_host", "1.2.3.4"},
		{"[global]\nmon host = a;b\n", "mon_host", "a"},
		{"[global]\nmon_host = a b   \n", "mon host", "a b"},
		{"[global]\nmon-host = a\n", "mon_host", "a"},
		{"[global]\nkeyring = \"a;b\"\n", "keyring", "a;b"},
		{"[global]\nkeyring = 'a\"b'\n", "keyring", `a"b`},
		{"[global]\nkeyring = a \\\n  b\n", "keyring", "a   b"},
		{"[global]\nkeyring = a\\;b \\$c\n", "keyring", "a;b $c"},
		{"[global]\nxx = a\\\\b\n", "xx", `a\b`},
		{"[global]\nxx = a \\# b # c\n", "xx", "a # b"},
		{"[global]\nxx = \"a\\\"b\\\\c\"\n", "xx", `a"b\c`},
		{"[global]\nxx = \\\n\n yy = 3\n", "yy", "3"},
		{"[client.admin]\nkeyring = 1\n[client]\nkeyring=2\n[global]\nkeyring=3\n", "keyring", "1"},
		{"[client]\nkeyring=2\n[global]\nkeyring=3\n", "keyring", "2"},
		{"[client.other]\nkeyring=2\n[global]\nkeyring=3\n", "keyring", "3"},
		{"[global]\nkeyring = a\nkeyring = b\n", "keyring", "b"},
		{"[global] ; hi\n  keyring   =   x # foo\n", "keyring", "x"},
		{"[global]\nmon   host_foo = u\n", "mon_host foo", "u"},
		{"[global]\r\nkeyring = x\r\n", "keyring", "x"},
		{"[client.admin]\nid_x=1\n[client.admin]\nkeyring=dd\n", "id_x", "1"},
		{"[global]\nkeyring = $type-$id-$name-$cluster\n", "keyring", "client-admin-client.admin-ceph"},
		{"[global]\nkeyring = ${type}x$idx$id_x$nope\n", "keyring", "clientx$idx$id_x$nope"},
		{"[global]\nkeyring = /x/$log_file\nlog file = lf\n", "keyring", "/x/lf"},
		{"[global]\nkeyring =\n", "keyring", ""},
		{"", "rbd_default_pool", "rbd"},
	} {
		if got := fromText(t, c.text).Get(c.option); got != c.want {
			t.Errorf("%q: %s is %q, want %q", c.text, c.option, got, c.want)
		}
	}
}

func TestABadLineIsNamed(t *testing.T) {
	for text, line := range map[string]int{
		"[global]\nnonsense\n":             2,
		"[global\nkeyring = x\n":           1,
		"[global]\n\nkeyring = \"open\n":   3,
		"[global]\n= foo\n":                2,
		"[]\n":                             1,
		"[global] junk\n":                  1,
		"[global]\nkeyring = \"a\" b\n":    2,
		"[global]\na = \\\n b\nnonsense\n": 4,
		"[global]\ninclude other.conf\n":   2,
	} {
		_, err := Parse("/etc/ceph/x.conf", text)
		var se *SyntaxError
		if !errors.As(err, &se) || se.Line != line || !strings.HasPrefix(err.Error(), "/etc/ceph/x.conf:") {
			t.Errorf("%q: %v, want line %d", text, err, line)
		}
	}
}

func TestOptionsThatReferToEachOtherEnd(t *testing.T) {
	c := fromText(t, "[global]\nlog file = $keyring\nkeyring = $log_file\n")
	if got := c.Get("keyring"); !strings.HasPrefix(got, "$") {
		t.Errorf("got %q", got)
	}
}

// TestValues holds what "ceph-conf --show-config-value" of 16.2.15 answers; a
// value that does not fit gives the default.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		value string
		size  int64         // rbd_sparse_read_threshold_bytes, default 65536
		num   int64         // rbd_concurrent_management_ops, default 10
		span  time.Duration // rados_osd_op_timeout, default 0
	}{
		{"1K", 1024, 1000, 0},
		{"4M", 4 << 20, 4000000, 0},
		{"4 M", 65536, 10, 0},
		{"4m", 65536, 10, 4 * time.Minute},
		{"4MiB", 4 << 20, 10, 0},
		{"abc", 65536, 10, 0},
		{"1h", 65536, 10, time.Hour},
		{"90s", 65536, 10, 90 * time.Second},
		{"1 min", 65536, 10, time.Minute},
		{"5000000000", 5000000000, 5000000000, 5000000000 * time.Second},
		{"99999999999999999999E", 65536, 10, 0},
	} {
		cfg := fromText(t, "[global]\nrbd_sparse_read_threshold_bytes = "+c.value+"\nrbd_concurrent_management_ops = "+c.value+"\nrados_osd_op_timeout = "+c.value+"\n")
		if got := cfg.Size("rbd_sparse_read_threshold_bytes"); got != c.size {
			t.Errorf("%q as a size is %d", c.value, got)
		}
		if got := cfg.Int("rbd_concurrent_management_ops"); got != c.num {
			t.Errorf("%q as a number is %d", c.value, got)
		}
		if got := cfg.Duration("rados_osd_op_timeout"); got != c.span {
			t.Errorf("%q as a span is %v", c.value, got)
		}
	}
	c := fromText(t, "[global]\nmon_client_hunt_interval = 1.5\nrbd_cache = false\nrbd_validate_pool = maybe\n")
	if c.Duration("mon_client_hunt_interval") != 1500*time.Millisecond || c.Bool("rbd_cache") || !c.Bool("rbd_validate_pool") {
		t.Error(c.Duration("mon_client_hunt_interval"), c.Bool("rbd_cache"), c.Bool("rbd_validate_pool"))
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "rbd_validate_pool") {
		t.Error(w)
	}
}

func TestStrongerLevelsWin(t *testing.T) {
	c := New("", admin)
	for _, l := range []Level{LevelOverride, LevelCommandLine, LevelEnv, LevelFile} {
		_ = c.Set(l, "log-file", l.String())
	}
	if changed := c.SetCentral(map[string]string{"log_file": "mon", "rbd_default_order": "23"}); !reflect.DeepEqual(changed, []string{"rbd_default_order"}) {
		t.Error(changed)
	}
	for l := LevelOverride; l > LevelMon; l-- {
		if v, from, _ := c.Lookup("log_file"); v != l.String() || from != l {
			t.Errorf("level %v: %q from %v", l, v, from)
		}
		c.mu.Lock()
		delete(c.layers[l], "log_file")
		c.mu.Unlock()
	}
	if v, from, _ := c.Lookup("log_file"); v != "mon" || from != LevelMon {
		t.Error(v, from)
	}
	if changed := c.SetCentral(nil); !reflect.DeepEqual(changed, []string{"log_file", "rbd_default_order"}) {
		t.Error(changed)
	}
	if c.Int("rbd_default_order") != 22 {
		t.Error(c.Get("rbd_default_order"))
	}
}

func envOf(m map[string]string) Environment { return func(n string) string { return m[n] } }

func TestParseArgs(t *testing.T) {
	inv, rest, err := ParseArgs(
		[]string{"-p", "pool", "ls", "--id", "a", "-m", "h1", "--rbd-default-order=23", "--debug-rbd", "20", "--no-rbd-cache", "--image", "x", "--rbd_validate_pool", "--", "--id", "b"},
		envOf(map[string]string{"CEPH_ARGS": "--id z --keyring k1 -n client.y", "CEPH_KEYRING": "k2", "CEPH_CONF": "/x/site.conf"}), admin)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"-p", "pool", "ls", "--image", "x", "--", "--id", "b"}; !reflect.DeepEqual(rest, want) {
		t.Errorf("rest is %q", rest)
	}
	want := &Invocation{
		Name: entity.AuthName{Type: entity.TypeClient, ID: "a"}, ConfFile: "/x/site.conf",
		Env:      []Setting{{"keyring", "k2"}},
		Settings: []Setting{{"keyring", "k1"}, {"mon_host", "h1"}, {"rbd_default_order", "23"}, {"debug_rbd", "20"}, {"rbd_cache", "false"}, {"rbd_validate_pool", "true"}},
	}
	if !reflect.DeepEqual(inv, want) {
		t.Errorf("got %+v", inv)
	}
	for _, args := range [][]string{{"--keyring"}, {"-n", "x"}, {"-c"}} {
		if _, _, err := ParseArgs(args, envOf(nil), admin); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "site.conf")
	if err := os.WriteFile(path, []byte("[global]\nkeyring = $cluster.file\nlog file = f\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inv := &Invocation{Name: admin, ConfFile: filepath.Join(dir, "nope.conf") + "," + path, Explicit: true, Cluster: "site",
		Env: []Setting{{"log_file", "env"}}}
	c, err := inv.Load()
	if err != nil || c.Get("keyring") != "site.file" || c.Get("log_file") != "env" || c.Path() != path {
		t.Error(c, err)
	}
	inv = &Invocation{Name: admin, ConfFile: path}
	if c, err := inv.Load(); err != nil || c.Cluster() != "site" {
		t.Error(c, err)
	}
	inv = &Invocation{Name: admin, ConfFile: filepath.Join(dir, "nope.conf"), Explicit: true}
	if _, err := inv.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	inv.Explicit = false
	if c, err := inv.Load(); err != nil || c.Cluster() != "nope" || c.Path() != "" {
		t.Error(c, err)
	}
	inv = &Invocation{Name: admin, ConfFile: path, Settings: []Setting{{"rbd_default_order", "x"}}}
	c, err = inv.Load()
	if err != nil || c.Get("rbd_default_order") != "22" || len(c.Ignored()) != 1 || c.Ignored()[0].Name != "rbd_default_order" {
		t.Error("a bad value on the command line is not ignored:", err)
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b, d := cephx.NewKey(cephx.KeyAES), cephx.NewKey(cephx.KeyAES256K), cephx.NewKey(cephx.KeyAES)
	ring := write("ring", "[client.admin]\nkey = "+a.Base64()+"\n")
	file := write("file", b.Base64()+"\n")
	c := New("", admin)
	_ = c.Set(LevelFile, "keyring", filepath.Join(dir, "none")+","+ring)
	for _, step := range []struct {
		option, value string
		want          cephx.Key
	}{{"", "", a}, {"keyfile", file, b}, {"key", d.Base64(), d}} {
		if step.option != "" {
			_ = c.Set(LevelFile, step.option, step.value)
		}
		if k, err := c.Key(); err != nil || k.Base64() != step.want.Base64() {
			t.Errorf("with %q: %v, %v", step.option, k, err)
		}
	}
	_ = c.Set(LevelFile, "key", "rubbish")
	if _, err := c.Key(); !errors.Is(err, cephx.ErrBadKey) || strings.Contains(err.Error(), "rubbish") {
		t.Error(err)
	}
	other := New("", entity.AuthName{Type: entity.TypeClient, ID: "other"})
	_ = other.Set(LevelFile, "keyring", ring)
	if _, err := other.Key(); !errors.Is(err, cephx.ErrNoKey) || !strings.Contains(err.Error(), ring) {
		t.Error(err)
	}
	_ = other.Set(LevelFile, "keyring", filepath.Join(dir, "none"))
	if _, err := other.Key(); !errors.Is(err, ErrNoKeyring) {
		t.Error(err)
	}
}

func TestMethodsAndModes(t *testing.T) {
	c := New("", admin)
	if m, err := c.AuthMethods(); err != nil || !reflect.DeepEqual(m, []uint32{2, 1}) {
		t.Error(m, err)
	}
	if !reflect.DeepEqual(c.MonModes(), []msgr2.Mode{2, 1}) || !reflect.DeepEqual(c.OSDModes(), []msgr2.Mode{1, 2}) {
		t.Error(c.MonModes(), c.OSDModes())
	}
	_ = c.Set(LevelFile, "auth_client_required", "gss")
	if _, err := c.AuthMethods(); err == nil {
		t.Error("gss is taken")
	}
}

// names resolves from maps.
type names struct {
	ips map[string][]netip.Addr
	srv map[string][]*net.SRV
}

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n.ips[host]; ok {
		return append([]netip.Addr(nil), a...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n names) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if s, ok := n.srv[name]; ok {
		return name, s, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func TestMonHost(t *testing.T) {
	r := names{ips: map[string][]netip.Addr{
		"mon-a": {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2")},
	}}
	for _, c := range []struct{ list, want string }{
		{"10.0.0.1", "10.0.0.1:3300"},
		{"10.0.0.1:6789", "10.0.0.1:3300"},
		{"10.0.0.1:7000", "10.0.0.1:7000"},
		{"v2:10.0.0.1:6789/0", "10.0.0.1:6789"},
		{"v1:10.0.0.1:7000", "10.0.0.1:3300"},
		{"[v2:127.0.0.1:7000/0]", "127.0.0.1:7000"},
		{"[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]", "10.0.0.1:3300"},
		{"[v1:10.0.0.1:6789/0,v2:10.0.0.1:7/0]", "10.0.0.1:7"},
		{"10.0.0.1,10.0.0.2; 10.0.0.3 10.0.0.1", "10.0.0.1:3300 10.0.0.2:3300 10.0.0.3:3300"},
		{"::1", "[::1]:3300"},
		{"[::1]", "[::1]:3300"},
		{"[::1]:7000", "[::1]:7000"},
		{"[v2:[::1]:3300/0,v1:[::1]:6789/0]", "[::1]:3300"},
		{"mon-a", "10.0.0.1:3300 10.0.0.2:3300"},
		{"v2:mon-a:7000", "10.0.0.1:7000 10.0.0.2:7000"},
	} {
		cfg := fromText(t, "", Setting{"mon_host", c.list})
		mons, err := cfg.Mons(t.Context(), r)
		var got []string
		for _, m := range mons {
			if m.Addr.Type != entity.AddrMsgr2 {
				t.Errorf("%q has type %v", c.list, m.Addr.Type)
			}
			got = append(got, m.Addr.IP.String())
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q gives %q, %v", c.list, got, err)
		}
	}
	for _, list := range []string{"[v2:1.2.3.4:3300", "1.2.3.4:x", "nohost", ":7000", "1.2.3.4:0", "1.2.3.4:70000", "]["} {
		if mons, err := fromText(t, "", Setting{"mon_host", list}).Mons(t.Context(), r); err == nil {
			t.Errorf("%q gives %v", list, mons)
		}
	}
}

func TestMonsFromSectionsAndDNS(t *testing.T) {
	r := names{
		ips: map[string][]netip.Addr{"m1.example.com": {netip.MustParseAddr("10.1.0.1")}},
		srv: map[string][]*net.SRV{"_ceph-mon._tcp": {{Target: "m1.example.com.", Port: 6789, Priority: 10, Weight: 20}}},
	}
	c := fromText(t, "[mon.b]\nmon addr = 10.0.0.2:7000\n[mon.a]\nmon addr = 10.0.0.1\n")
	mons, err := c.Mons(t.Context(), r)
	if err != nil || len(mons) != 2 || mons[0].Name != "a" || mons[1].Addr.IP.String() != "10.0.0.2:7000" {
		t.Error(mons, err)
	}
	mons, err = fromText(t, "").Mons(t.Context(), r)
	if err != nil || len(mons) != 1 || mons[0].Name != "m1" || mons[0].Addr.IP.String() != "10.1.0.1:3300" || mons[0].Priority != 10 || mons[0].Weight != 20 {
		t.Error(mons, err)
	}
	if _, err := fromText(t, "[global]\nmon dns srv name = other_example.org\n").Mons(t.Context(), r); !errors.Is(err, ErrNoMon) || !strings.Contains(err.Error(), "_other._tcp.example.org") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[global]\nmon host = [v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]\nkeyring = \"$cluster.$name\" # x\n[client]\na = \\\n b\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := (&Invocation{Name: admin}).FromText("f", text)
		if err != nil {
			return
		}
		for n := range options {
			_ = c.Get(n)
		}
		_, _ = c.AuthMethods()
		_ = c.Duration("rados_osd_op_timeout")
		_, _ = parseMonHost(t.Context(), names{}, c.Get("mon_host"))
	})
}
