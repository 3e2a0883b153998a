//go:build interop && owncluster

// These tests disturb the whole cluster of RBDM_OWN_CONF, which must be nobody
// else's and have three OSDs and one monitor "a". RBDM_CHAOS is a command that
// is given "kill" or "start" and a daemon, as in "kill osd.1".
package rados_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/osdmap"
)

func ownConf(t *testing.T) string {
	path := os.Getenv("RBDM_OWN_CONF")
	if path == "" {
		t.Fatal("set RBDM_OWN_CONF to the ceph.conf of a cluster that may be disturbed")
	}
	return path
}

func chaos(t *testing.T, action, daemon string) {
	t.Helper()
	words := strings.Fields(os.Getenv("RBDM_CHAOS"))
	if len(words) == 0 {
		t.Fatal("set RBDM_CHAOS to a command that kills and starts daemons")
	}
	out, err := exec.Command(words[0], append(words[1:], action, daemon)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", action, daemon, err, out)
	}
	t.Logf("%s %s %s", time.Now().Format("15:04:05.000"), action, daemon)
}

func command(ctx context.Context, t *testing.T, c *rados.Client, cmd map[string]any) []byte {
	t.Helper()
	out, status, err := c.MonCommand(ctx, cmd, nil)
	if err != nil {
		t.Fatalf("%v: %v (%s)", cmd, err, status)
	}
	return out
}

// waitClean waits until all placement groups have all their copies.
func waitClean(ctx context.Context, t *testing.T, c *rados.Client) {
	t.Helper()
	for good := 0; good < 3; time.Sleep(time.Second) {
		out, _, err := c.MgrCommand(ctx, map[string]any{"prefix": "pg stat", "format": "json"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var st struct {
			Summary struct {
				States []struct {
					Name string
					Num  int
				} `json:"num_pg_by_state"`
				PGs int `json:"num_pgs"`
			} `json:"pg_summary"`
		}
		if err := json.Unmarshal(out, &st); err != nil {
			t.Fatal(err)
		}
		good++
		for _, s := range st.Summary.States {
			if s.Name != "active+clean" {
				good = 0
			}
		}
	}
}

// safePool is newPool with two copies, one of which is enough to go on.
func safePool(ctx context.Context, t *testing.T, c *rados.Client) *rados.IoCtx {
	io := newPool(t, c)
	name, err := c.PoolName(ctx, io.Pool())
	check(t, "pool name", err)
	command(ctx, t, c, map[string]any{"prefix": "osd pool set", "pool": name, "var": "size", "val": "2"})
	command(ctx, t, c, map[string]any{"prefix": "osd pool set", "pool": name, "var": "min_size", "val": "1"})
	waitClean(ctx, t, c)
	return io
}

func TestChaosKillingDaemonsLosesAndDuplicatesNothing(t *testing.T) {
	c := connect(t, ownConf(t))
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	io := safePool(ctx, t, c)
	check(t, "create", io.WriteFull(ctx, "watched", nil))
	var heard, lost atomic.Int64
	w, err := io.Watch(ctx, "watched", func(n *rados.Notification) {
		heard.Add(1)
		n.Ack(nil)
	}, rados.OnError(func(err error) { lost.Add(1); t.Log("watch lost:", err) }))
	check(t, "watch", err)

	stop := make(chan struct{})
	counts := make([]int, 8)
	var wg sync.WaitGroup
	for o := range counts {
		wg.Go(func() {
			depth := make(chan struct{}, 8)
			for ; ; counts[o]++ {
				select {
				case <-stop:
					for range cap(depth) {
						depth <- struct{}{}
					}
					return
				case depth <- struct{}{}:
				}
				op := rados.NewOp()
				op.Append(msgr2.NewData(fmt.Appendf(nil, "%07d\n", counts[o])))
				io.Go(ctx, fmt.Sprintf("append%d", o), op, func(err error) {
					if err != nil {
						t.Errorf("append: %v", err)
					}
					<-depth
				})
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	time.Sleep(2 * time.Second)
	for _, daemon := range []string{"osd.0", "mon.a", "osd.1", "osd.2", "mon.a"} {
		chaos(t, "kill", daemon)
		time.Sleep(6 * time.Second)
		chaos(t, "start", daemon)
		time.Sleep(3 * time.Second)
		waitClean(ctx, t, c)
		res, err := io.Notify(ctx, "watched", nil, 10*time.Second)
		if err != nil || len(res.Acks) != 1 {
			t.Errorf("notify after %s: %+v, %v", daemon, res, err)
		}
	}
	close(stop)
	wg.Wait()
	for o, n := range counts {
		p, err := io.Read(ctx, fmt.Sprintf("append%d", o), 0, 64<<20)
		check(t, "read", err)
		lines := strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
		t.Logf("object %d: %d numbers", o, n)
		if len(lines) != n {
			t.Errorf("object %d has %d numbers, want %d", o, len(lines), n)
		}
		for i, l := range lines {
			if l != fmt.Sprintf("%07d", i) {
				t.Errorf("object %d: %q at place %d", o, l, i)
				break
			}
		}
	}
	if lost.Load() != 0 || heard.Load() < 5 {
		t.Errorf("the watch was lost %d times and heard %d notifications", lost.Load(), heard.Load())
	}
	check(t, "close", w.Close(ctx))
}

// held starts a write that the cluster must not take yet.
func held(ctx context.Context, t *testing.T, io *rados.IoCtx, text string) func() {
	t.Helper()
	done := make(chan error, 1)
	op := rados.NewOp()
	op.WriteFull(msgr2.NewData([]byte(text)))
	io.Go(ctx, "o", op, func(err error) { done <- err })
	select {
	case err := <-done:
		t.Errorf("%s: the write ended: %v", text, err)
	case <-time.After(2 * time.Second):
	}
	return func() {
		t.Helper()
		select {
		case err := <-done:
			check(t, "held write", err)
		case <-ctx.Done():
			t.Fatalf("%s: the write is still held", text)
		}
		p, err := io.Read(ctx, "o", 0, 100)
		if err != nil || string(p) != text {
			t.Errorf("%q, %v", p, err)
		}
	}
}

func TestChaosAPausedClusterHoldsRequests(t *testing.T) {
	c := connect(t, ownConf(t))
	ctx := testContext(t)
	io := newPool(t, c)
	command(ctx, t, c, map[string]any{"prefix": "osd set", "key": "pause"})
	check(t, "map", c.LatestOSDMap(ctx))
	finish := held(ctx, t, io, "paused")
	command(ctx, t, c, map[string]any{"prefix": "osd unset", "key": "pause"})
	finish()
}

func TestChaosAFullPoolHoldsWritesButNotRemovals(t *testing.T) {
	c := connect(t, ownConf(t))
	ctx := testContext(t)
	io := newPool(t, c)
	name, err := c.PoolName(ctx, io.Pool())
	check(t, "pool name", err)
	quota := func(v string) {
		command(ctx, t, c, map[string]any{"prefix": "osd pool set-quota", "pool": name, "field": "max_objects", "val": v})
	}
	check(t, "write", io.WriteFull(ctx, "o", []byte("x")))
	check(t, "write", io.WriteFull(ctx, "p", []byte("x")))
	quota("1")
	for c.OSDMap().Pool(io.Pool()).Flags&osdmap.PoolFullQuota == 0 {
		time.Sleep(300 * time.Millisecond)
		check(t, "map", c.LatestOSDMap(ctx))
	}
	finish := held(ctx, t, io, "full")
	if p, err := io.Read(ctx, "o", 0, 10); err != nil || string(p) != "x" {
		t.Errorf("read in a full pool: %q, %v", p, err)
	}
	op := rados.NewOp()
	op.WriteFull(msgr2.NewData([]byte("y")))
	err = io.Operate(ctx, "q", op, rados.FullTry())
	if !errors.Is(err, rados.ErrQuota) && !errors.Is(err, rados.ErrNoSpace) {
		t.Errorf("a write that does not wait: %v", err)
	}
	check(t, "remove", io.Remove(ctx, "p"))
	quota("0")
	finish()
}

func TestChaosErasureCodedPool(t *testing.T) {
	c := connect(t, ownConf(t))
	ctx := testContext(t)
	name := fmt.Sprintf("objecter-ec-%d", os.Getpid())
	command(ctx, t, c, map[string]any{"prefix": "osd erasure-code-profile set", "name": name,
		"profile": []string{"k=2", "m=1", "crush-failure-domain=osd"}})
	command(ctx, t, c, map[string]any{"prefix": "osd pool create", "pool": name, "pool_type": "erasure", "erasure_code_profile": name})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		check(t, "delete", c.DeletePool(ctx, name))
	})
	command(ctx, t, c, map[string]any{"prefix": "osd pool set", "pool": name, "var": "allow_ec_overwrites", "val": "true"})
	io, err := c.OpenPool(ctx, name)
	check(t, "open", err)
	want := make([]byte, 1<<20)
	check(t, "write", io.WriteFull(ctx, "o", want))
	for i := range 40 {
		piece := bytes.Repeat([]byte{byte(i + 1)}, 1000+i*137)
		off := i * 20011
		copy(want[off:], piece)
		check(t, "write", io.Write(ctx, "o", uint64(off), piece))
	}
	for i := range 64 { // over all placement groups and primaries
		check(t, "write", io.Append(ctx, fmt.Sprintf("p%d", i), []byte("x")))
	}
	op := rados.NewOp()
	sp, st := op.SparseRead(0, 1<<20), op.Stat()
	check(t, "sparse-read", io.Operate(ctx, "o", op))
	got, data := make([]byte, 1<<20), sp.Data().Bytes()
	for _, e := range sp.Extents {
		copy(got[e.Off:], data[:e.Len])
		data = data[e.Len:]
	}
	plain, err := io.Read(ctx, "o", 0, 2<<20)
	check(t, "read", err)
	if !bytes.Equal(got, want) || !bytes.Equal(plain, want) || st.Size != 1<<20 {
		t.Error("read differs")
	}
	err = io.OmapSet(ctx, "o", map[string][]byte{"k": nil})
	wantErr(t, "omap in an erasure coded pool", err, rados.ErrNotSupported)
	chaos(t, "kill", "osd.1")
	plain, err = io.Read(ctx, "o", 0, 2<<20)
	check(t, "read without one OSD", err)
	if !bytes.Equal(plain, want) {
		t.Error("read without one OSD differs")
	}
	for i := range 64 {
		p, err := io.Read(ctx, fmt.Sprintf("p%d", i), 0, 10)
		if err != nil || string(p) != "x" {
			t.Errorf("%q, %v", p, err)
		}
	}
	chaos(t, "start", "osd.1")
	waitClean(ctx, t, c)
}
