//go:build interop && capture

package mgrc

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/monc"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestInteropCapture writes what managers send to a directory, to renew golden
// bytes.
func TestInteropCapture(t *testing.T) {
	dir := os.Getenv("RBDM_CAPTURE")
	if dir == "" {
		t.Fatal("set RBDM_CAPTURE to the directory of golden bytes")
	}
	names := map[uint16]string{wire.TypeMgrCommandReply: "mgrcommandreply", wire.TypeMgrConfigure: "mgrconfigure", wire.TypeMgrClose: "mgrclose"}
	forEachCluster(t, func(t *testing.T, mon *monc.Client, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		out, _, err := mon.Command(ctx, map[string]any{"prefix": "version"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		release := strings.Join(strings.Split(strings.Fields(string(out))[2], ".")[:2], ".")
		var mu sync.Mutex
		seen := map[uint16]bool{}
		c.tap = func(m *msgr2.Message) {
			mu.Lock()
			defer mu.Unlock()
			if n, ok := names[m.Type]; ok && !seen[m.Type] {
				seen[m.Type] = true
				if err := os.WriteFile(filepath.Join(dir, release, n+".bin"), m.Front, 0o644); err != nil {
					t.Error(err)
				}
			}
		}
		_, _, _ = c.Command(ctx, map[string]any{"prefix": "rbd mirror snapshot schedule list", "level_spec": "no such pool/"}, nil)
		s, err := c.RegisterService("rbdm-interop", "capture", nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			mu.Lock()
			ok := seen[wire.TypeMgrConfigure]
			mu.Unlock()
			if ok || ctx.Err() != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		s.Close()
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != len(names) {
			t.Errorf("saw only %v", seen)
		}
	})
}
