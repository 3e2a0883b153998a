package fakecluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// save returns the state of a cluster as a file.
func save(t testing.TB, c *fakecluster.Cluster) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// load starts a saved cluster for a test.
func load(t testing.TB, p []byte, opts ...fakecluster.Option) *fakecluster.Cluster {
	t.Helper()
	c, err := fakecluster.Load(t.Context(), bytes.NewReader(p), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type frame struct {
	kind    uint32
	payload []byte
}

func framesOf(t testing.TB, p []byte) (out []frame) {
	t.Helper()
	r, err := savefile.NewReader(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	for {
		kind, payload, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, frame{kind, payload})
	}
}

// populate puts something of all that there is into a cluster.
func populate(t *testing.T, c *fakecluster.Cluster, seed uint64) {
	t.Helper()
	ctx := t.Context()
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	r := rand.New(rand.NewPCG(seed, 0))
	var snaps []uint64
	with := io
	for i := range 300 {
		name := fmt.Sprintf("o%d", r.IntN(12))
		p := make([]byte, r.IntN(40<<10))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		switch r.IntN(8) {
		case 0:
			if err := with.Remove(ctx, name); err != nil && !errors.Is(err, rados.ErrNotFound) {
				t.Fatal(err)
			}
		case 1:
			op := rados.NewOp()
			op.OmapSet(map[string][]byte{fmt.Sprint(i): p[:len(p)/100], fmt.Sprint(i, "k"): nil})
			op.SetXattr("x", []byte{byte(i)})
			must(t, with.Operate(ctx, name, op))
		case 2:
			if i%3 == 0 {
				id, err := io.CreateSnapID(ctx)
				must(t, err)
				snaps = append([]uint64{id}, snaps...)
				with = io.WithSnapContext(id, snaps)
			}
		default:
			must(t, with.Write(ctx, name, uint64(r.IntN(200<<10)), p))
		}
	}
	must(t, io.WriteFull(ctx, "large", bytes.Repeat([]byte("large"), 1<<20)))
	_, err := rbd.Create(ctx, io, "image", 64<<20, rbd.CreateOptions{})
	must(t, err)
	img, err := rbd.Open(ctx, io, "image", rbd.OpenOptions{})
	must(t, err)
	for i := range 4 {
		if _, err := img.WriteAt(ctx, bytes.Repeat([]byte{byte(i + 1)}, 100<<10), uint64(i)*9<<20); err != nil {
			t.Fatal(err)
		}
		_, err = img.CreateSnapshot(ctx, fmt.Sprint("s", i), wire.SnapshotNamespace{}, rbd.SnapshotOptions{})
		must(t, err)
	}
	must(t, img.Close(ctx))
	for _, cmd := range []map[string]any{
		{"prefix": "osd pool create", "pool": "other", "pg_num": 32},
		{"prefix": "config set", "who": "client", "name": "rbd_default_order", "value": "23"},
		{"prefix": "config-key set", "key": "k", "val": "v"},
		{"prefix": "auth get-or-create", "entity": "client.x", "caps": []string{"mon", "profile rbd", "osd", "profile rbd"}},
		{"prefix": "osd blocklist", "blocklistop": "add", "addr": "10.1.2.3:0/4"},
		{"prefix": "osd set", "key": "noout"},
	} {
		admin2(t, cl, cmd)
	}
	_, err = mgr(t, cl, "rbd trash purge schedule add", "level_spec", "", "interval", "2h")
	must(t, err)
	_, err = mgr(t, cl, "rbd trash purge schedule add", "level_spec", "rbd/", "interval", "1d", "start_time", "03:00")
	must(t, err)
}

func admin2(t *testing.T, cl *rados.Client, cmd map[string]any) {
	t.Helper()
	if _, status, err := cl.MonCommand(t.Context(), cmd, nil); err != nil {
		t.Fatal(cmd, status, err)
	}
}

// TestASavedClusterComesBack saves a cluster, loads it, and saves it again: all
// that is kept must be the same, and clients must see the same.
func TestASavedClusterComesBack(t *testing.T) {
	for name, opts := range map[string][]fakecluster.Option{
		"20": nil, "18 pipes": {fakecluster.Release(18), fakecluster.InProcess()}, "16, two mons": {fakecluster.Release(16), fakecluster.Mons(2), fakecluster.OSDs(4)},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			c := fakecluster.New(t, append(opts, fakecluster.Pools("rbd"), fakecluster.ErasurePools("ec"))...)
			populate(t, c, seed)
			c.StopOSD(1)
			p := save(t, c)
			c.Close()
			var again []fakecluster.Option
			if len(opts) == 2 && strings.Contains(name, "pipes") {
				again = opts[1:]
			}
			d := load(t, p, again...)
			q := save(t, d)
			compareSaved(t, framesOf(t, p), framesOf(t, q))
			if d.FSID() != c.FSID() || d.Name() != c.Name() || d.OSDMap().IsUp(1) || !d.OSDMap().IsUp(0) {
				t.Error("the cluster is another one")
			}
			lookAround(t, d)
		})
	}
}

// compareSaved compares what is kept. The maps have two epochs more, in which the
// OSDs went down and came up again; ports, keys of services and global ids may differ.
func compareSaved(t *testing.T, a, b []frame) {
	t.Helper()
	of := func(fs []frame, maps bool) (out []frame) {
		for _, f := range fs {
			if isMap := f.kind == 3 || f.kind == 4; f.kind >= 3 && isMap == maps {
				out = append(out, f)
			}
		}
		return out
	}
	aMaps, bMaps, a, b := of(a, true), of(b, true), of(a, false), of(b, false)
	if len(bMaps) != len(aMaps)+2 || len(a) != len(b) {
		t.Fatalf("%d epochs and %d frames, after loading %d and %d", len(aMaps), len(a), len(bMaps), len(b))
	}
	a, b = append(aMaps, a...), append(bMaps[:len(aMaps)], b...)
	for i := range a {
		if a[i].kind != b[i].kind || !bytes.Equal(a[i].payload, b[i].payload) {
			t.Fatalf("frame %d of kind %d is another one after loading", i, a[i].kind)
		}
	}
}

func lookAround(t *testing.T, c *fakecluster.Cluster) {
	t.Helper()
	ctx := t.Context()
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	for i := range 4 {
		img, err := rbd.Open(ctx, io, "image", rbd.OpenOptions{Snapshot: fmt.Sprint("s", i), ReadOnly: true})
		must(t, err)
		for k := range 4 {
			got := make([]byte, 100<<10)
			_, err = img.ReadAt(ctx, got, uint64(k)*9<<20)
			want := byte(k + 1)
			if k > i {
				want = 0
			}
			if err != nil || got[0] != want || got[len(got)-1] != want {
				t.Fatal(i, k, got[0], err)
			}
		}
		must(t, img.Close(ctx))
	}
	p, err := io.Read(ctx, "large", 0, 10<<20)
	if err != nil || !bytes.Equal(p, bytes.Repeat([]byte("large"), 1<<20)) {
		t.Fatal(len(p), err)
	}
	for _, q := range []struct{ prefix, want string }{
		{"config dump", "rbd_default_order"}, {"config-key ls", `"k"`}, {"auth ls", "client.x"},
		{"osd blocklist ls", "10.1.2.3:0/4"}, {"osd dump", "noout"},
	} {
		out, _, err := cl.MonCommand(ctx, map[string]any{"prefix": q.prefix}, nil)
		if err != nil || !strings.Contains(string(out), q.want) {
			t.Errorf("%s: %s, %v", q.prefix, out, err)
		}
	}
	out, err := mgr(t, cl, "rbd trash purge schedule list")
	if err != nil || !strings.Contains(out, "2h") || !strings.Contains(out, "03:00:00") {
		t.Error(out, err)
	}
	must(t, io.WriteFull(ctx, "new", []byte("x")))
}

// TestAClientLivesThroughSaveAndLoad loads a cluster on the ports of the one that
// was saved: a client that was connected goes on, and its watch with it.
func TestAClientLivesThroughSaveAndLoad(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.Append(t.Context(), "log", []byte("a")))
	seen := make(chan string, 10)
	w, err := io.Watch(t.Context(), "log", func(n *rados.Notification) {
		seen <- string(n.Payload)
		n.Ack(nil)
	})
	must(t, err)
	p := save(t, c)
	c.Close()
	done := make(chan error, 1)
	go func() { done <- io.Append(t.Context(), "log", []byte("b")) }()
	d := load(t, p)
	must(t, <-done)
	got, err := io.Read(t.Context(), "log", 0, 10)
	if err != nil || string(got) != "ab" {
		t.Fatalf("%q, %v", got, err)
	}
	other := open(t, connect(t, d, "client.admin"), "rbd")
	if res, err := other.Notify(t.Context(), "log", []byte("hello"), 20*time.Second); err != nil || len(res.Acks) != 1 {
		t.Fatal(res, err)
	}
	if s := <-seen; s != "hello" {
		t.Fatal(s)
	}
	must(t, w.Close(t.Context()))
}

func TestLoadRefusesWhatDoesNotFit(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	p := save(t, c)
	for _, opt := range []fakecluster.Option{fakecluster.OSDs(1), fakecluster.Release(18), fakecluster.Mons(3)} {
		if _, err := fakecluster.Load(t.Context(), bytes.NewReader(p), opt); err == nil {
			t.Error("a cluster of another shape was loaded")
		}
	}
	for _, bad := range [][]byte{nil, p[:len(p)-1], []byte("FAKECEPH\x01\x00\x00\x00"), append(bytes.Clone(p[:100]), p[101:]...)} {
		if _, err := fakecluster.Load(t.Context(), bytes.NewReader(bad)); !errors.Is(err, savefile.ErrFormat) {
			t.Error(err)
		}
	}
	bad := bytes.Clone(p)
	bad[8] = 99
	if _, err := fakecluster.Load(t.Context(), bytes.NewReader(bad)); !errors.Is(err, savefile.ErrVersion) {
		t.Error(err)
	}
	d := load(t, p, fakecluster.Pools("rbd", "more"), fakecluster.Name("other"))
	if len(d.OSDMap().Pools) != 2 || d.Name() != "other" {
		t.Error(d.OSDMap().Pools, d.Name())
	}
}
