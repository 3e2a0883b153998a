//go:build interop

package mgrc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/monc"
)

func forEachCluster(t *testing.T, f func(t *testing.T, mon *monc.Client, c *Client)) {
	list := os.Getenv("RBDM_CONFS")
	if list == "" {
		list = os.Getenv("RBDM_CONF")
	}
	if list == "" {
		t.Fatal("set RBDM_CONFS to the ceph.conf of one or more real clusters, separated by commas or colons")
	}
	for path := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ':' }) {
		t.Run(path, func(t *testing.T) {
			inv := &conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, ConfFile: path, Explicit: true}
			cfg, err := inv.Load()
			if err != nil {
				t.Fatal(err)
			}
			mcfg := msgr2.Config{
				Addrs:    entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: uint32(time.Now().UnixNano()) | 1}},
				Features: 0x3f01cfbffffdffff, Modes: cfg.MonModes(),
			}
			mon, err := monc.New(monc.Config{Conf: cfg, Msgr: mcfg})
			if err != nil {
				t.Fatal(err)
			}
			c := New(Config{Mon: mon, Msgr: mcfg})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := mon.Start(ctx); err != nil {
				t.Fatal(err)
			}
			defer mon.Close()
			defer c.Close()
			f(t, mon, c)
		})
	}
}

func TestInteropCommand(t *testing.T) {
	forEachCluster(t, func(t *testing.T, _ *monc.Client, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		out, _, err := c.Command(ctx, map[string]any{"prefix": "pg stat", "format": "json"}, nil)
		if err != nil || !json.Valid(out) {
			t.Errorf("pg stat: %q, %v", out, err)
		}
		_, _, err = c.Command(ctx, map[string]any{"prefix": "no such command"}, nil)
		var refused *monc.CommandError
		if !errors.Is(err, errno.ErrInvalid) || !errors.As(err, &refused) {
			t.Errorf("a command that does not exist: %v", err)
		}
		if m := c.Map(); m == nil || m.ActiveGID == 0 {
			t.Errorf("map is %+v", m)
		}
	})
}

// TestInteropService registers a daemon and finds it in "service dump" and
// "service status", as "rbd mirror pool status --verbose" does.
func TestInteropService(t *testing.T) {
	forEachCluster(t, func(t *testing.T, mon *monc.Client, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		name := strconv.FormatUint(mon.GlobalID(), 10)
		meta := HostMetadata("ceph version 0.0.0 (rbdm)", "0.0.0", "none")
		meta["id"], meta["instance_id"] = "interop", name
		s, err := c.RegisterService("rbdm-interop", name, meta)
		if err != nil {
			t.Fatal(err)
		}
		s.SetStatus(map[string]string{"json": `{"1":{}}`})
		type dump struct {
			Services map[string]struct {
				Daemons map[string]json.RawMessage `json:"daemons"`
			} `json:"services"`
		}
		find := func(command string) json.RawMessage {
			out, _, err := mon.Command(ctx, map[string]any{"prefix": command, "format": "json"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if command == "service status" {
				var d map[string]map[string]json.RawMessage
				if err := json.Unmarshal(out, &d); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
				return d["rbdm-interop"][name]
			}
			var d dump
			if err := json.Unmarshal(out, &d); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
			return d.Services["rbdm-interop"].Daemons[name]
		}
		wait := func(command string, want func(string) bool) {
			for {
				got := string(find(command))
				if want(got) {
					return
				}
				select {
				case <-ctx.Done():
					t.Fatalf("%s still says %q", command, got)
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
		wait("service dump", func(s string) bool {
			return strings.Contains(s, `"interop"`) && strings.Contains(s, `"kernel_version"`)
		})
		wait("service status", func(s string) bool { return strings.Contains(s, `{\"1\":{}}`) })
		s.Close()
		wait("service dump", func(s string) bool { return s == "" })
	})
}
