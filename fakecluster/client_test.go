package fakecluster_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// connect returns a client of c, closed with the test.
func connect(t *testing.T, c *fakecluster.Cluster, user string, opts ...rados.Option) *rados.Client {
	t.Helper()
	key, err := c.Key(user)
	if err != nil {
		t.Fatal(err)
	}
	name, err := entity.ParseAuthName(user)
	if err != nil {
		t.Fatal(err)
	}
	cfg := conf.New("ceph", name)
	for k, v := range map[string]string{"mon_host": c.MonHost(), "key": key} {
		if err := cfg.Set(conf.LevelOverride, k, v); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := rados.Connect(t.Context(), cfg, append(opts, rados.WithDialer(c.Dialer()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

func open(t *testing.T, cl *rados.Client, pool string) *rados.IoCtx {
	t.Helper()
	io, err := cl.OpenPool(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return io
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStartIsFast is content with one of many starts: other processes of a busy
// machine make most of them slow.
func TestStartIsFast(t *testing.T) {
	best := time.Hour
	for tries := 0; tries < 200 && best > 50*time.Millisecond; tries++ {
		began := time.Now()
		c := fakecluster.New(t, fakecluster.Pools("rbd"))
		best = min(best, time.Since(began))
		c.Close()
	}
	if best > 50*time.Millisecond {
		t.Errorf("took %s", best)
	}
}

func TestOurClientUsesTheCluster(t *testing.T) {
	for name, opts := range map[string][]fakecluster.Option{
		"20":         nil,
		"20 aes":     {fakecluster.KeyType(cephx.KeyAES)},
		"18 pipes":   {fakecluster.Release(18), fakecluster.InProcess()},
		"16 crc":     {fakecluster.Release(16), fakecluster.Modes(msgr2.ModeCRC)},
		"20 secure":  {fakecluster.Modes(msgr2.ModeSecure)},
		"three mons": {fakecluster.Mons(3), fakecluster.OSDs(5)},
		"one osd":    {fakecluster.OSDs(1)},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakecluster.New(t, append(opts, fakecluster.Pools("rbd"))...)
			io := open(t, connect(t, c, "client.admin"), "rbd")
			exercise(t, io)
		})
	}
}

// exercise does a bit of everything on one pool.
func exercise(t *testing.T, io *rados.IoCtx) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, io.WriteFull(ctx, "data", bytes.Repeat([]byte("0123456789"), 100000)))
	must(t, io.Write(ctx, "data", 500, []byte("abc")))
	got, err := io.Read(ctx, "data", 498, 7)
	if err != nil || string(got) != "89abc34"[:2]+"abc"+"34" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := io.Read(ctx, "missing", 0, 1); !errors.Is(err, rados.ErrNotFound) {
		t.Fatal(err)
	}
	op := rados.NewOp()
	op.OmapSet(map[string][]byte{"a": []byte("1"), "b": []byte("2"), "c": []byte("3")})
	op.SetXattr("x", []byte("y"))
	must(t, io.Operate(ctx, "meta", op))
	op = rados.NewOp()
	page := op.OmapGet("a", "", 1)
	attr := op.GetXattr("x")
	must(t, io.Operate(ctx, "meta", op))
	if len(page.Values) != 1 || string(page.Values["b"]) != "2" || !page.More || string(attr.Bytes()) != "y" {
		t.Fatal(page, attr)
	}
	op = rados.NewOp()
	op.SetXattr("x", []byte("z"))
	op.Create(true)
	if err := io.Operate(ctx, "meta", op); !errors.Is(err, rados.ErrExists) {
		t.Fatal(err)
	}
	if v, err := io.GetXattr(ctx, "meta", "x"); err != nil || string(v) != "y" {
		t.Fatalf("a failed vector left %q, %v", v, err)
	}
	seen := make(chan string, 1)
	w, err := io.Watch(ctx, "meta", func(n *rados.Notification) {
		seen <- string(n.Payload)
		n.Ack([]byte("ack"))
	})
	must(t, err)
	res, err := io.Notify(ctx, "meta", []byte("hello"), 5*time.Second)
	if err != nil || len(res.Acks) != 1 || string(res.Acks[0].Payload) != "ack" || <-seen != "hello" {
		t.Fatal(res, err)
	}
	must(t, w.Close(ctx))
	snapshots(ctx, t, io)
	names := map[string]bool{}
	for o, err := range io.Objects(ctx) {
		must(t, err)
		names[o.Name] = true
	}
	if len(names) != 3 || !names["data"] || !names["meta"] || !names["snapped"] {
		t.Fatal(names)
	}
}

func snapshots(ctx context.Context, t *testing.T, io *rados.IoCtx) {
	must(t, io.WriteFull(ctx, "snapped", []byte("first")))
	s1, err := io.CreateSnapID(ctx)
	must(t, err)
	with := io.WithSnapContext(s1, []uint64{s1})
	must(t, with.Write(ctx, "snapped", 1, []byte("XX")))
	if got, err := io.AtSnap(s1).Read(ctx, "snapped", 0, 100); err != nil || string(got) != "first" {
		t.Fatalf("%q, %v", got, err)
	}
	set, err := io.ListSnaps(ctx, "snapped")
	if err != nil || len(set.Clones) != 2 || len(set.Clones[0].Overlap) != 2 {
		t.Fatalf("%+v, %v", set, err)
	}
	op := rados.NewOp()
	op.Rollback(s1)
	must(t, with.Operate(ctx, "snapped", op))
	if got, err := io.Read(ctx, "snapped", 0, 100); err != nil || string(got) != "first" {
		t.Fatalf("%q, %v", got, err)
	}
	must(t, io.RemoveSnapID(ctx, s1))
	if _, err := io.AtSnap(s1).Read(ctx, "snapped", 0, 100); !errors.Is(err, rados.ErrNotFound) {
		t.Fatal(err)
	}
	if set, err := io.ListSnaps(ctx, "snapped"); err != nil || len(set.Clones) != 1 {
		t.Fatalf("not trimmed: %+v, %v", set, err)
	}
}

func TestAStoppedOSDLosesNothing(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	for i := range 30 {
		must(t, io.WriteFull(t.Context(), string(rune('a'+i)), []byte{byte(i)}))
	}
	c.StopOSD(1)
	for i := range 30 {
		got, err := io.Read(t.Context(), string(rune('a'+i)), 0, 1)
		if err != nil || got[0] != byte(i) {
			t.Fatal(i, got, err)
		}
	}
	must(t, c.StartOSD(1))
	must(t, io.WriteFull(t.Context(), "after", []byte("x")))
}

func TestFaultsStrike(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	c.Inject(fakecluster.Fault{Object: "bad", Errno: rados.ErrIO, Times: 1})
	if err := io.WriteFull(t.Context(), "bad", []byte("x")); !errors.Is(err, rados.ErrIO) {
		t.Fatal(err)
	}
	must(t, io.WriteFull(t.Context(), "bad", []byte("x")))
	// The connection breaks after the write was done: the client sends it again
	// and must not append twice.
	c.Inject(fakecluster.Fault{Object: "log", Disconnect: true, After: true, Times: 3})
	must(t, io.Append(t.Context(), "log", []byte("once")))
	if got, err := io.Read(t.Context(), "log", 0, 100); err != nil || string(got) != "once" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestBlocklistedClientsAreRefused(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	must(t, io.WriteFull(t.Context(), "o", []byte("x")))
	c.Blocklist(cl.Addr(), time.Minute)
	if err := io.WriteFull(t.Context(), "o", []byte("y")); !errors.Is(err, rados.ErrBlocklisted) {
		t.Fatal(err)
	}
}

func TestCapsAreEnforced(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd", "other"))
	_, err := c.AddUser("client.reader", map[string]string{"mon": "profile rbd", "osd": "allow r pool=rbd"})
	must(t, err)
	cl := connect(t, c, "client.reader")
	if err := open(t, cl, "rbd").WriteFull(t.Context(), "o", []byte("x")); !errors.Is(err, rados.ErrPermission) {
		t.Fatal(err)
	}
	if _, err := open(t, cl, "other").Read(t.Context(), "o", 0, 1); !errors.Is(err, rados.ErrPermission) {
		t.Fatal(err)
	}
	if _, err := open(t, cl, "rbd").Read(t.Context(), "o", 0, 1); !errors.Is(err, rados.ErrNotFound) {
		t.Fatal(err)
	}
}
