package wire

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// goldenMon names what monitors and managers of a release sent, by the names
// that the capture tests of rados/monc and rados/mgrc give to files.
var goldenMon = map[string]func() Front{
	"monmap": func() Front { return &MonMapMessage{} }, "config": func() Front { return &Config{} },
	"mgrmap": func() Front { return &MgrMapMessage{} }, "moncommandack": func() Front { return &MonCommandAck{} },
	"poolopreply": func() Front { return &PoolOpReply{} }, "statfsreply": func() Front { return &StatfsReply{} },
	"mongetversionreply": func() Front { return &MonGetVersionReply{} }, "kvdata": func() Front { return &KVData{} },
	"authreply": func() Front { return &AuthReply{} }, "logack": func() Front { return &LogAck{} },
	"mgrcommandreply": func() Front { return &MgrCommandReply{} }, "mgrconfigure": func() Front { return &MgrConfigure{} },
	"mgrclose": func() Front { return &MgrClose{} },
}

// goldenRequests names what real clients of a release sent, by the names that
// the relay test of rados/monc gives to files.
var goldenRequests = map[string]func() Front{
	"mongetmap-": func() Front { return &MonGetMap{} }, "monsubscribe-": func() Front { return &MonSubscribe{} },
	"moncommand-": func() Front { return &MonCommand{} }, "mongetversion-": func() Front { return &MonGetVersion{} },
	"poolop-": func() Front { return &PoolOp{} }, "statfs-": func() Front { return &Statfs{} }, "auth-": func() Front { return &Auth{} },
	"mgrcommand-": func() Front { return &MgrCommand{} }, "mgropen-": func() Front { return &MgrOpen{} },
	"mgrreport-": func() Front { return &MgrReport{} },
}

func TestGoldenRequestsReencode(t *testing.T) {
	for _, release := range []string{"16.2", "20.2"} {
		for name, make := range goldenRequests {
			files, err := filepath.Glob(filepath.Join("testdata", release, name+"v*.bin"))
			if err != nil || len(files) == 0 {
				t.Errorf("%s: no %s", release, name)
			}
			for _, file := range files {
				p, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				f := make()
				if err := Decode(f, p); err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				if got := f.Append(nil); !bytes.Equal(got, p) {
					t.Errorf("%s: %+v encodes to\n%x, want\n%x", file, f, got, p)
				}
				if !strings.Contains(file, fmt.Sprintf("%sv%d-", name, f.Header().Version)) {
					t.Errorf("%s: we send version %d", file, f.Header().Version)
				}
			}
		}
	}
}

func TestGoldenRequestValues(t *testing.T) {
	for _, release := range []string{"16.2", "20.2"} {
		var open MgrOpen
		golden(t, release, "mgropen-v3-1", &open)
		if open.ServiceName != "rbd-mirror" || !open.ServiceDaemon || open.Metadata["id"] != "admin" || open.Metadata["instance_id"] != open.DaemonName || len(open.ConfigDefaults) == 0 {
			t.Errorf("%s: service %q daemon %q, %v, %d bytes of defaults", release, open.ServiceName, open.DaemonName, open.Metadata, len(open.ConfigDefaults))
		}
		var report MgrReport
		golden(t, release, "mgrreport-v9-1", &report)
		if report.ServiceName != "rbd-mirror" || report.DaemonName != open.DaemonName || len(report.Packed) < len(emptyPacked) {
			t.Errorf("%s: %+v", release, report)
		}
		var op PoolOp
		golden(t, release, "poolop-v4-1", &op)
		if op.Op != PoolOpCreateSnap || op.Name != "s" {
			t.Errorf("%s: %+v", release, op)
		}
		var sub MonSubscribe
		golden(t, release, "monsubscribe-v3-1", &sub)
		if _, ok := sub.What["monmap"]; !ok || sub.Hostname == "" {
			t.Errorf("%s: %+v", release, sub)
		}
		var auth Auth
		golden(t, release, "auth-v1-1", &auth)
		if auth.Protocol != 2 || len(auth.Payload) < 2 {
			t.Errorf("%s: %+v", release, auth)
		}
	}
}

func TestGoldenMonBytesReencode(t *testing.T) {
	for _, release := range []string{"16.2", "18.2", "20.2"} {
		seen := 0
		for name, make := range goldenMon {
			files, err := filepath.Glob(filepath.Join("testdata", release, name+".bin"))
			more, _ := filepath.Glob(filepath.Join("testdata", release, name+"-[23].bin"))
			files = append(files, more...)
			if err != nil || len(files) == 0 {
				t.Errorf("%s: no %s", release, name)
			}
			for _, file := range files {
				p, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				seen++
				f := make()
				if err := Decode(f, p); err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				if got := f.Append(nil); !bytes.Equal(got, p) {
					t.Errorf("%s: %+v encodes to\n%x, want\n%x", file, f, got, p)
				}
			}
		}
		if seen < len(goldenMon) {
			t.Errorf("%s: only %d files", release, seen)
		}
	}
}

func golden(t *testing.T, release, name string, f Front) {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", release, name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Decode(f, p); err != nil {
		t.Fatalf("%s %s: %v", release, name, err)
	}
}

// TestGoldenMonValues checks single fields against what the clusters' own tools
// show for them.
func TestGoldenMonValues(t *testing.T) {
	for _, c := range []struct {
		release string
		mon     uint8 // version of the monitor map
		mgr     uint8 // of the manager map
		min     uint8 // min_mon_release
		cipher  int32
		port    string
	}{
		{"16.2", 9, 12, 16, 1, ":7000"}, {"18.2", 9, 13, 18, 1, ":7400"}, {"20.2", 10, 14, 20, 2, ":7200"},
	} {
		var front MonMapMessage
		golden(t, c.release, "monmap", &front)
		var m MonMap
		r := denc.NewReader(front.Map)
		if m.Decode(r); r.Done() != nil {
			t.Fatalf("%s: %v", c.release, r.Err())
		}
		if got := m.Append(nil); !bytes.Equal(got, front.Map) {
			t.Errorf("%s: monitor map encodes to\n%x, want\n%x", c.release, got, front.Map)
		}
		a, ok := m.Mons["a"].Addrs.Msgr2()
		if m.V != c.mon || m.MinMonRelease != c.min || m.Epoch != 1 || !ok || !strings.HasSuffix(a.IP.String(), c.port) || m.FSID.IsZero() {
			t.Errorf("%s: monitor map %+v", c.release, m)
		}
		if !reflect.DeepEqual(m.Ranks, []string{"a"}) || m.Auth.ServiceCipher != c.cipher {
			t.Errorf("%s: ranks %v, ciphers %+v", c.release, m.Ranks, m.Auth)
		}
		var mgr MgrMapMessage
		golden(t, c.release, "mgrmap", &mgr)
		if mgr.Map.V != c.mgr || !mgr.Map.Available || mgr.Map.ActiveName != "x" || mgr.Map.ActiveGID == 0 || len(mgr.Map.ActiveAddrs) == 0 || mgr.Map.ActiveFeatures == 0 {
			t.Errorf("%s: manager map version %d, active %q %d %v", c.release, mgr.Map.V, mgr.Map.ActiveName, mgr.Map.ActiveGID, mgr.Map.ActiveAddrs)
		}
		var cfg Config
		golden(t, c.release, "config-2", &cfg)
		if v := cfg.Options["rbd_mirror_sync_point_update_age"]; !strings.HasPrefix(v, "61") {
			t.Errorf("%s: options %v", c.release, cfg.Options)
		}
		var kv KVData
		golden(t, c.release, "kvdata", &kv)
		if kv.Prefix != "rbdm/" || string(kv.Data["rbdm/capture"]) != "x" {
			t.Errorf("%s: %+v", c.release, kv)
		}
		var denied, created PoolOpReply
		golden(t, c.release, "poolopreply", &denied)
		golden(t, c.release, "poolopreply-2", &created)
		if denied.Result != -2 || denied.Data != nil || created.Result != 0 || len(created.Data) != 8 {
			t.Errorf("%s: %+v, %+v", c.release, denied, created)
		}
		var conf MgrConfigure
		golden(t, c.release, "mgrconfigure", &conf)
		if conf.Period != 5 {
			t.Errorf("%s: %+v", c.release, conf)
		}
		var ack MonCommandAck
		golden(t, c.release, "moncommandack", &ack)
		if ack.Result != 0 || len(ack.Cmd) != 1 || !strings.Contains(ack.Cmd[0], "version") {
			t.Errorf("%s: %+v", c.release, ack)
		}
	}
}
