// The tests in suite*_test.go run against clusters in memory or, with the build
// tag interop, against real ones.
package rados_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/wire"
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// newPool makes a pool that goes with the test.
func newPool(t testing.TB, c *rados.Client) *rados.IoCtx {
	t.Helper()
	ctx := testContext(t)
	name := fmt.Sprintf("objecter-%d-%d", os.Getpid(), time.Now().UnixNano())
	if err := c.CreatePool(ctx, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.DeletePool(ctx, name); err != nil {
			t.Error(err)
		}
	})
	io, err := c.OpenPool(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return io
}

// eachCluster runs f on every cluster and in both modes.
func eachCluster(t *testing.T, f func(t *testing.T, c *rados.Client)) {
	for _, path := range confs(t) {
		for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
			t.Run(path+"/"+mode.String(), func(t *testing.T) {
				f(t, connect(t, path, rados.WithModes(mode)))
			})
		}
	}
}

func check(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestSuiteData(t *testing.T) {
	eachCluster(t, func(t *testing.T, c *rados.Client) {
		ctx, io := testContext(t), newPool(t, c)
		payload := bytes.Repeat([]byte("0123456789abcdef"), 4096) // 64 KiB
		check(t, "write", io.Write(ctx, "o", 4096, payload))
		got, err := io.Read(ctx, "o", 4096, uint64(len(payload)))
		check(t, "read", err)
		if !bytes.Equal(got, payload) {
			t.Error("read differs")
		}
		st, err := io.Stat(ctx, "o")
		check(t, "stat", err)
		if st.Size != 4096+65536 || time.Since(st.ModTime).Abs() > time.Hour {
			t.Errorf("stat %+v", st)
		}
		_, err = io.Stat(ctx, "missing")
		wantErr(t, "stat of a missing object", err, rados.ErrNotFound)

		op := rados.NewOp()
		op.SetAllocHint(4<<20, 4<<20, 0)
		op.WriteFull(msgr2.NewData([]byte("hello"), []byte(" world")))
		check(t, "write-full", io.Operate(ctx, "o", op))
		if op.Version() == 0 {
			t.Error("no version")
		}
		check(t, "append", io.Append(ctx, "o", []byte("!")))
		got, err = io.Read(ctx, "o", 0, 100)
		check(t, "read", err)
		if string(got) != "hello world!" {
			t.Errorf("%q", got)
		}

		op = rados.NewOp()
		read, sum, stat := op.Read(6, 5), op.Checksum(wire.ChecksumCRC32C, 0xffffffff, 0, 12, 4), op.Stat()
		check(t, "vector", io.Operate(ctx, "o", op))
		if string(read.Bytes()) != "world" || len(sum.Values) != 3 || stat.Size != 12 {
			t.Errorf("%q %v %+v", read.Bytes(), sum.Values, stat)
		}

		check(t, "truncate up", io.Truncate(ctx, "o", 1<<20))
		op = rados.NewOp()
		op.WriteSame(512<<10, 8192, msgr2.NewData(bytes.Repeat([]byte("x"), 1024)))
		op.Zero(0, 4)
		check(t, "writesame", io.Operate(ctx, "o", op))
		op = rados.NewOp()
		sp := op.SparseRead(0, 1<<20)
		check(t, "sparse-read", io.Operate(ctx, "o", op))
		whole := make([]byte, 1<<20)
		data := sp.Data().Bytes()
		for _, e := range sp.Extents {
			copy(whole[e.Off:], data[:e.Len])
			data = data[e.Len:]
		}
		plain, err := io.Read(ctx, "o", 0, 1<<20)
		check(t, "read", err)
		if !bytes.Equal(whole, plain) || plain[0] != 0 || plain[512<<10] != 'x' {
			t.Errorf("sparse read differs, extents %v", sp.Extents)
		}

		op = rados.NewOp()
		op.CompareExtent(4, msgr2.NewData([]byte("o ...")))
		var ce *rados.CompareError
		if err := io.Operate(ctx, "o", op); !errors.As(err, &ce) || ce.Offset != 2 {
			t.Errorf("compare: %v", err)
		}
		op = rados.NewOp()
		op.Create(true)
		wantErr(t, "exclusive create", io.Operate(ctx, "o", op), rados.ErrExists)
		op = rados.NewOp()
		op.AssertExists()
		op.Write(0, msgr2.NewData([]byte("x")))
		wantErr(t, "assert-exists", io.Operate(ctx, "missing", op), rados.ErrNotFound)

		check(t, "empty read", func() error { p, err := io.Read(ctx, "o", 2<<20, 10); _ = p; return err }())
		check(t, "remove", io.Remove(ctx, "o"))
		wantErr(t, "remove again", io.Remove(ctx, "o"), rados.ErrNotFound)
	})
}

func TestSuiteAttributesAndOmap(t *testing.T) {
	eachCluster(t, func(t *testing.T, c *rados.Client) {
		ctx, io := testContext(t), newPool(t, c).WithNamespace("ns1")
		check(t, "setxattr", io.SetXattr(ctx, "o", "a", []byte("1")))
		v, err := io.GetXattr(ctx, "o", "a")
		check(t, "getxattr", err)
		if string(v) != "1" {
			t.Errorf("%q", v)
		}
		_, err = io.GetXattr(ctx, "o", "b")
		wantErr(t, "missing attribute", err, rados.ErrNoData)
		op := rados.NewOp()
		op.CompareXattr("a", wire.CmpEQ, []byte("1"))
		op.SetXattr("b", []byte("22"))
		check(t, "cmpxattr", io.Operate(ctx, "o", op))
		op = rados.NewOp()
		op.CompareXattr("a", wire.CmpEQ, []byte("2"))
		op.RemoveXattr("b")
		wantErr(t, "cmpxattr", io.Operate(ctx, "o", op), rados.ErrCanceled)
		op = rados.NewOp()
		all := op.GetXattrs()
		check(t, "getxattrs", io.Operate(ctx, "o", op))
		if len(all.Values) != 2 || string(all.Values["b"]) != "22" {
			t.Errorf("%q", all.Values)
		}

		want := map[string][]byte{}
		for i := range 3000 {
			want[fmt.Sprintf("k%05d", i)] = fmt.Appendf(nil, "v%d", i)
		}
		want["other"] = []byte("x")
		check(t, "omap-set", io.OmapSet(ctx, "o", want))
		got, err := io.OmapGetAll(ctx, "o", "")
		check(t, "omap-get", err)
		if !maps.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%d pairs", len(got))
		}
		got, err = io.OmapGetAll(ctx, "o", "oth")
		check(t, "omap-get by prefix", err)
		if len(got) != 1 {
			t.Errorf("%q", got)
		}
		op = rados.NewOp()
		op.OmapRemove("k00001", "k00000", "nothing")
		op.OmapRemoveRange("k00100", "k01000")
		op.SetOmapHeader([]byte("head"))
		check(t, "omap-rm", io.Operate(ctx, "o", op))
		op = rados.NewOp()
		keys, head := op.OmapGetKeys("k00098", 3), op.OmapHeader()
		by, absent := op.OmapGetByKeys("other", "nothing"), op.GetXattr("nope")
		op.FailOK()
		page := op.OmapGet("", "k", 1)
		check(t, "omap reads", io.Operate(ctx, "o", op))
		if !slices.Equal(keys.Keys, []string{"k00099", "k01000", "k01001"}) || !keys.More {
			t.Errorf("%q %v", keys.Keys, keys.More)
		}
		if string(head.Bytes()) != "head" || len(by.Values) != 1 || len(page.Keys) != 1 || page.Keys[0] != "k00002" || !page.More {
			t.Errorf("%q %q %q", head.Bytes(), by.Values, page.Keys)
		}
		wantErr(t, "FailOK's own result", absent.Err(), rados.ErrNoData)
		op = rados.NewOp()
		op.OmapCompare(map[string]rados.OmapAssertion{"other": {Value: []byte("x"), Op: wire.CmpEQ}})
		op.OmapClear()
		check(t, "omap-cmp", io.Operate(ctx, "o", op))
		got, err = io.OmapGetAll(ctx, "o", "")
		check(t, "omap-get", err)
		if len(got) != 0 {
			t.Errorf("%d pairs after clear", len(got))
		}
		// The namespace is its own.
		_, err = io.WithNamespace("").Stat(ctx, "o")
		wantErr(t, "other namespace", err, rados.ErrNotFound)
	})
}

func TestSuiteLists(t *testing.T) {
	eachCluster(t, func(t *testing.T, c *rados.Client) {
		ctx, io := testContext(t), newPool(t, c)
		want := map[string]bool{}
		for i := range 2500 {
			ns, name := []string{"", "a", "b"}[i%3], fmt.Sprintf("list%04d", i)
			done := make(chan error, 1)
			w := rados.NewOp()
			w.Create(false)
			io.WithNamespace(ns).Go(ctx, name, w, func(err error) { done <- err })
			check(t, "create", <-done)
			want[ns+"/"+name] = true
		}
		count := func(io *rados.IoCtx, opts ...rados.ListOption) map[string]bool {
			got := map[string]bool{}
			for o, err := range io.Objects(ctx, opts...) {
				check(t, "list", err)
				got[o.Namespace+"/"+o.Name] = true
			}
			return got
		}
		if got := count(io, rados.AllNamespaces()); !maps.Equal(got, want) {
			t.Errorf("%d objects, want %d", len(got), len(want))
		}
		maps.DeleteFunc(want, func(k string, _ bool) bool { return !strings.HasPrefix(k, "a/") })
		if got := count(io.WithNamespace("a")); !maps.Equal(got, want) {
			t.Errorf("%d objects in a, want %d", len(got), len(want))
		}
	})
}

func TestSuiteSnapshots(t *testing.T) {
	eachCluster(t, func(t *testing.T, c *rados.Client) {
		ctx, io := testContext(t), newPool(t, c)
		check(t, "write", io.Write(ctx, "o", 0, bytes.Repeat([]byte("a"), 16384)))
		s1, err := io.CreateSnapID(ctx)
		check(t, "snap create", err)
		w := io.WithSnapContext(s1, []uint64{s1})
		check(t, "write", w.Write(ctx, "o", 4096, bytes.Repeat([]byte("b"), 4096)))
		s2, err := io.CreateSnapID(ctx)
		check(t, "snap create", err)
		w = io.WithSnapContext(s2, []uint64{s2, s1})
		check(t, "write", w.Write(ctx, "o", 8192, bytes.Repeat([]byte("c"), 100)))
		for _, tc := range []struct {
			snap     uint64
			off      uint64
			expected string
		}{{s1, 4096, "a"}, {s2, 4096, "b"}, {s2, 8192, "a"}, {wire.SnapHead, 8192, "c"}} {
			p, err := io.AtSnap(tc.snap).Read(ctx, "o", tc.off, 1)
			check(t, "read at snapshot", err)
			if string(p) != tc.expected {
				t.Errorf("snap %d at %d: %q", tc.snap, tc.off, p)
			}
		}
		set, err := io.ListSnaps(ctx, "o")
		check(t, "list-snaps", err)
		t.Logf("%+v", set.SnapList)
		if len(set.Clones) != 3 || set.Clones[0].ID != s1 || set.Clones[1].ID != s2 || set.Clones[2].ID != wire.SnapHead || set.Seq != s2 {
			t.Errorf("%+v", set.SnapList)
		}
		op := rados.NewOp()
		op.Rollback(s1)
		check(t, "rollback", w.Operate(ctx, "o", op))
		p, err := io.Read(ctx, "o", 4096, 1)
		check(t, "read", err)
		if string(p) != "a" {
			t.Errorf("after rollback: %q", p)
		}
		op = rados.NewOp()
		op.CopyFrom(rados.CopySource{Pool: io.Pool(), Object: "o", Snap: s2})
		check(t, "copy-from", io.Operate(ctx, "copy", op))
		p, err = io.Read(ctx, "copy", 4096, 1)
		check(t, "read", err)
		if string(p) != "b" {
			t.Errorf("copy: %q", p)
		}
		for _, s := range []uint64{s1, s2} {
			check(t, "snap remove", io.RemoveSnapID(ctx, s))
		}
	})
}

func TestSuitePoolsComeAndGo(t *testing.T) {
	for _, path := range confs(t) {
		t.Run(path, func(t *testing.T) {
			c := connect(t, path)
			ctx := testContext(t)
			_, err := c.OpenPool(ctx, "no-such-pool")
			wantErr(t, "missing pool", err, rados.ErrNotFound)
			_, err = c.IoCtx(999999).Stat(ctx, "o")
			wantErr(t, "operation on a missing pool", err, rados.ErrNotFound)
			io := newPool(t, c)
			name, err := c.PoolName(ctx, io.Pool())
			check(t, "pool name", err)
			wantErr(t, "create again", c.CreatePool(ctx, name), rados.ErrExists)
			out, _, err := c.MonCommand(ctx, map[string]any{"prefix": "osd pool get", "pool": name, "var": "size", "format": "json"}, nil)
			check(t, "mon command", err)
			t.Logf("%s", out)
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			<-short.Done()
			err = io.WriteFull(short, "late", nil)
			wantErr(t, "expired context", err, context.DeadlineExceeded)
			if rados.MaybeApplied(err) {
				t.Error("was never sent")
			}
		})
	}
}
