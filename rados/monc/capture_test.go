//go:build interop && capture

package monc

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestInteropCapture writes what monitors send to a directory, to renew the
// golden bytes of rados/wire: RBDM_CAPTURE=…/rados/wire/testdata.
func TestInteropCapture(t *testing.T) {
	dir := os.Getenv("RBDM_CAPTURE")
	if dir == "" {
		t.Fatal("set RBDM_CAPTURE to the directory of golden bytes")
	}
	names := map[uint16]string{
		wire.TypeMonMap: "monmap", wire.TypeConfig: "config", wire.TypeMgrMap: "mgrmap", wire.TypeMonCommandAck: "moncommandack",
		wire.TypePoolOpReply: "poolopreply", wire.TypeStatfsReply: "statfsreply", wire.TypeMonGetVersionReply: "mongetversionreply",
		wire.TypeKVData: "kvdata", wire.TypeAuthReply: "authreply", wire.TypeLogAck: "logack", wire.TypeMonSubscribeAck: "monsubscribeack",
	}
	for _, path := range confs(t) {
		c, err := New(Config{Conf: loadConf(t, path), Msgr: msgrConfig()})
		if err != nil {
			t.Fatal(err)
		}
		type front struct {
			typ uint16
			p   []byte
		}
		var mu sync.Mutex
		var seen []front
		c.tap = func(m *msgr2.Message) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, front{m.Type, append([]byte(nil), m.Front...)})
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, _, err := c.Command(t.Context(), map[string]any{"prefix": "version"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		release := strings.Join(strings.Split(strings.Fields(string(out))[2], ".")[:2], ".")
		set := map[string]any{"prefix": "config set", "who": "client", "name": "rbd_mirror_sync_point_update_age", "value": "61"}
		for _, cmd := range []map[string]any{set, {"prefix": "config-key set", "key": "rbdm/capture", "val": "x"}} {
			if _, _, err := c.Command(t.Context(), cmd, nil); err != nil {
				t.Fatal(err)
			}
		}
		c.Subscribe("mgrmap", 0, true)
		c.Subscribe("kv:rbdm/", 0, true)
		_, _, _ = c.GetVersion(t.Context(), "osdmap")
		_, _ = c.Statfs(t.Context(), nil)
		_ = c.RefreshTickets(t.Context(), entity.TypeOSD)
		_, _ = c.PoolOp(t.Context(), wire.PoolOp{Pool: 1 << 30, Op: wire.PoolOpDeleteUnmanagedSnap, SnapID: 1, CrushRule: -1})
		const pool = "monc_capture"
		if _, _, err := c.Command(t.Context(), map[string]any{"prefix": "osd pool create", "pool": pool, "pg_num": 8}, nil); err != nil {
			t.Fatal(err)
		}
		var st struct {
			ID int64 `json:"pool_id"`
		}
		commandJSON(t, c, map[string]any{"prefix": "osd pool get", "pool": pool, "var": "size", "format": "json"}, &st)
		_, _ = c.PoolOp(t.Context(), wire.PoolOp{Pool: uint32(st.ID), Op: wire.PoolOpCreateUnmanagedSnap, CrushRule: -1})
		_, _, _ = c.Command(t.Context(), map[string]any{"prefix": "osd pool rm", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true, "sure": "--yes-i-really-really-mean-it"}, nil)
		if err := c.Log(t.Context(), wire.LogEntry{Prio: wire.LogInfo, Message: "rbdm captures golden bytes"}); err != nil {
			t.Error(err)
		}
		time.Sleep(500 * time.Millisecond) // pushes have no answer to wait for
		for _, prefix := range []map[string]any{{"prefix": "config rm", "who": "client", "name": "rbd_mirror_sync_point_update_age"}, {"prefix": "config-key rm", "key": "rbdm/capture"}} {
			if _, _, err := c.Command(t.Context(), prefix, nil); err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		count := map[string]int{}
		for _, f := range seen {
			n, ok := names[f.typ]
			if !ok {
				continue
			}
			if count[n]++; count[n] > 3 {
				continue
			}
			if count[n] > 1 {
				n += "-" + string(rune('0'+count[n]))
			}
			if err := os.MkdirAll(filepath.Join(dir, release), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, release, n+".bin"), f.p, 0o644); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%s: %v", release, count)
		mu.Unlock()
		_ = c.Close()
	}
}
