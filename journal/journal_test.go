package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// fakePool starts a fake cluster and returns a pool of it.
func fakePool(tb testing.TB, opts ...fakecluster.Option) (*fakecluster.Cluster, *rados.IoCtx) {
	tb.Helper()
	c := fakecluster.New(tb, append(opts, fakecluster.Pools("rbd"), fakecluster.InProcess())...)
	return c, poolOf(tb, c)
}

// poolOf connects a client of its own.
func poolOf(tb testing.TB, c *fakecluster.Cluster) *rados.IoCtx {
	tb.Helper()
	key, err := c.Key("client.admin")
	must(tb, err)
	name, err := entity.ParseAuthName("client.admin")
	must(tb, err)
	cfg := conf.New("ceph", name)
	must(tb, cfg.Set(conf.LevelOverride, "mon_host", c.MonHost()))
	must(tb, cfg.Set(conf.LevelOverride, "key", key))
	cl, err := rados.Connect(tb.Context(), cfg, rados.WithDialer(c.Dialer()))
	must(tb, err)
	tb.Cleanup(func() { _ = cl.Close() })
	p, err := cl.OpenPool(tb.Context(), "rbd")
	must(tb, err)
	return p
}

// quick is options with ages short enough for a test.
func quick() Options {
	o := DefaultOptions()
	o.CommitAge, o.PollAge = 5*time.Millisecond, 5*time.Millisecond
	return o
}

// open opens a journal, closed with the test.
func open(tb testing.TB, p *rados.IoCtx, id, client string, o Options) *Journal {
	tb.Helper()
	j, err := Open(tb.Context(), p, id, client, o)
	must(tb, err)
	tb.Cleanup(func() { _ = j.Close(context.Background()) })
	return j
}

// create makes a journal with its owner registered and a first tag.
func create(tb testing.TB, p *rados.IoCtx, id string, l Layout) *Journal {
	tb.Helper()
	must(tb, Create(tb.Context(), p, id, l))
	j := open(tb, p, id, "", quick())
	must(tb, j.Register(tb.Context(), []byte("owner")))
	tag, err := j.AllocateTag(tb.Context(), wire.NewTagClass, []byte("tag"))
	must(tb, err)
	if tag.TID != 0 || tag.Class != 0 {
		tb.Fatalf("the first tag is %+v", tag)
	}
	return j
}

func recorder(tb testing.TB, j *Journal) *Recorder {
	tb.Helper()
	r, err := j.NewRecorder(tb.Context())
	must(tb, err)
	tb.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func player(tb testing.TB, j *Journal, o PlayerOptions) *Player {
	tb.Helper()
	p, err := j.NewPlayer(tb.Context(), o)
	must(tb, err)
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// payload is what the tests write as entry n.
func payload(tag uint64, n, size int) []byte {
	b := fmt.Appendf(nil, "%d/%d ", tag, n)
	return append(b, bytes.Repeat([]byte{'x'}, max(0, size-len(b)))...)
}

// record appends n entries to a tag.
func record(tb testing.TB, r *Recorder, tag uint64, n, size int) []*Future {
	tb.Helper()
	var all []*Future
	for i := range n {
		f, err := r.Append(tb.Context(), tag, payload(tag, i, size))
		must(tb, err)
		all = append(all, f)
	}
	must(tb, r.Flush(tb.Context()))
	return all
}

// drain plays until the end.
func drain(p *Player) (all []*Entry, err error) {
	for {
		e, err := p.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

// expect fails unless the entries are n ones of a tag from the first on.
func expect(tb testing.TB, all []*Entry, tag uint64, first, n, size int) {
	tb.Helper()
	if len(all) != n {
		tb.Fatalf("%d entries instead of %d", len(all), n)
	}
	for i, e := range all {
		if e.TagTID != tag || e.EntryTID != uint64(first+i) || !bytes.Equal(e.Data, payload(tag, first+i, size)) {
			tb.Fatalf("entry %d is %d of tag %d: %.20q", i, e.EntryTID, e.TagTID, e.Data)
		}
	}
}

func TestWhatIsRecordedIsPlayed(t *testing.T) {
	anycluster.Each(t, []int{16, 18, 20}, func(t *testing.T, c *anycluster.Cluster) {
		io := c.Pool(t)
		for name, l := range map[string]Layout{
			"default": DefaultLayout, "one": {Order: 24, SplayWidth: 1, Pool: -1},
			"small": {Order: 12, SplayWidth: 4, Pool: -1}, "odd": {Order: 13, SplayWidth: 5, Pool: -1},
		} {
			t.Run(name, func(t *testing.T) {
				j := create(t, io, name, l)
				fs := record(t, recorder(t, j), 0, 500, 100)
				must(t, fs[499].Wait(t.Context()))
				all, err := drain(player(t, open(t, io, name, "", quick()), PlayerOptions{}))
				must(t, err)
				expect(t, all, 0, 0, 500, 100)
				for i, e := range all {
					if e.Position() != fs[i].Position() {
						t.Fatalf("entry %d is at %+v, the recorder says %+v", i, e.Position(), fs[i].Position())
					}
				}
			})
		}
	})
}

func TestPlayingGoesOnBehindTheCommitPosition(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	io := anycluster.Pool(t)
	j := create(t, io, "x", Layout{Order: 12, SplayWidth: 3, Pool: -1})
	record(t, recorder(t, j), 0, 300, 200)
	for next := 0; next < 300; {
		j := open(t, io, "x", "", quick())
		p := player(t, j, PlayerOptions{})
		n := min(300-next, rnd.IntN(50))
		var all []*Entry
		for range n {
			e, err := p.Next(t.Context())
			must(t, err)
			all = append(all, e)
		}
		expect(t, all, 0, next, n, 200)
		// One stays open: behind it nothing counts.
		open := len(all)
		if n > 0 {
			open = rnd.IntN(n + 1)
		}
		for _, i := range rnd.Perm(len(all)) {
			if i != open {
				all[i].Committed()
			}
		}
		next += open
		must(t, p.Close())
		must(t, j.Close(t.Context()))
	}
}

// await waits for a state of the journal.
func await(tb testing.TB, j *Journal, ok func(State) bool) {
	tb.Helper()
	give := time.After(10 * time.Second)
	for {
		st, changed := j.State()
		if ok(st) {
			return
		}
		select {
		case <-changed:
		case <-give:
			tb.Fatalf("the journal stays at %+v", st)
		}
	}
}

func TestSetsThatEverybodyPassedAreRemoved(t *testing.T) {
	io := anycluster.Pool(t)
	l := Layout{Order: 12, SplayWidth: 2, Pool: -1}
	j := create(t, io, "x", l)
	peer := open(t, io, "x", "peer", quick())
	must(t, peer.Register(t.Context(), nil))
	for _, f := range record(t, recorder(t, j), 0, 200, 200) {
		f.Committed()
	}
	must(t, j.FlushCommitPosition(t.Context()))
	st, _ := j.State()
	if st.ActiveSet < 3 || st.MinimumSet != 0 {
		t.Fatalf("%+v", st)
	}
	p := player(t, peer, PlayerOptions{})
	all, err := drain(p)
	must(t, err)
	expect(t, all, 0, 0, 200, 200)
	for _, e := range all {
		e.Committed()
	}
	must(t, peer.FlushCommitPosition(t.Context()))
	await(t, j, func(st State) bool { return st.MinimumSet+1 >= st.ActiveSet })
	if _, err := io.Stat(t.Context(), DataName(io.Pool(), "x", 0)); !errors.Is(err, rados.ErrNotFound) {
		t.Fatal(err)
	}
	must(t, Remove(t.Context(), io, "x", true))
	for o, err := range io.Objects(t.Context()) {
		t.Fatal("left behind:", o, err)
	}
}

func TestALaggardIsDisconnectedAndToldSo(t *testing.T) {
	io := anycluster.Pool(t)
	must(t, Create(t.Context(), io, "x", Layout{Order: 12, SplayWidth: 2, Pool: -1}))
	o := quick()
	o.MaxConcurrentSets = 3
	j := open(t, io, "x", "", o)
	must(t, j.Register(t.Context(), nil))
	_, err := j.AllocateTag(t.Context(), wire.NewTagClass, nil)
	must(t, err)
	peer := open(t, io, "x", "peer", quick())
	must(t, peer.Register(t.Context(), nil))
	p := player(t, peer, PlayerOptions{})
	r := recorder(t, j)
	for _, f := range record(t, r, 0, 10, 50) {
		f.Committed()
	}
	first, err := p.Next(t.Context())
	must(t, err)
	first.Committed()
	must(t, peer.FlushCommitPosition(t.Context()))
	for i := range 400 {
		f, err := r.Append(t.Context(), 0, payload(0, i, 200))
		must(t, err)
		must(t, f.Wait(t.Context()))
		f.Committed()
	}
	must(t, j.FlushCommitPosition(t.Context()))
	await(t, j, func(st State) bool { return st.MinimumSet > 3 })
	if c, err := j.Client(t.Context(), "peer"); err != nil || c.State != wire.ClientDisconnected {
		t.Fatal(c, err)
	}
	if _, err := drain(p); !errors.Is(err, ErrTrimmed) && !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	if _, err := open(t, io, "x", "peer", quick()).NewPlayer(t.Context(), PlayerOptions{}); !errors.Is(err, ErrTrimmed) {
		t.Fatal(err)
	}
}

func TestTailing(t *testing.T) {
	c := anycluster.New(t)
	io := c.Pool(t)
	j := create(t, io, "x", Layout{Order: 12, SplayWidth: 4, Pool: -1})
	peer := open(t, c.Pool(t), "x", "peer", quick())
	must(t, peer.Register(t.Context(), nil))
	p := player(t, peer, PlayerOptions{Tail: true})
	done := make(chan error, 1)
	go func() {
		r, err := j.NewRecorder(t.Context())
		for i := 0; err == nil && i < 300; i++ {
			var f *Future
			if f, err = r.Append(t.Context(), 0, payload(0, i, 100)); err == nil && i%7 == 0 {
				err = f.Wait(t.Context())
			}
		}
		if err == nil {
			err = r.Close(t.Context())
		}
		done <- err
	}()
	var all []*Entry
	for range 300 {
		e, err := p.Next(t.Context())
		must(t, err)
		all = append(all, e)
	}
	expect(t, all, 0, 0, 300, 100)
	must(t, <-done)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := p.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

// The last owner of an image may have left an operation without its end. Who plays
// learns that there will be none, although the next owner records nothing.
func TestTheEndOfATagIsTold(t *testing.T) {
	c := anycluster.New(t)
	io := c.Pool(t)
	j := create(t, io, "x", Layout{Order: 12, SplayWidth: 4, Pool: -1})
	peer := open(t, c.Pool(t), "x", "peer", quick())
	must(t, peer.Register(t.Context(), nil))
	p := player(t, peer, PlayerOptions{Tail: true, TagEnds: true})
	tag := func() uint64 {
		tag, err := j.AllocateTag(t.Context(), wire.NewTagClass, nil)
		must(t, err)
		return tag.TID
	}
	r := recorder(t, j)
	if a, b, c := tag(), tag(), tag(); a != 1 || b != 2 || c != 3 {
		t.Fatal(a, b, c)
	}
	for _, id := range []uint64{1, 2} {
		record(t, r, id, 6, 100)
		must(t, r.Flush(t.Context()))
		var all []*Entry
		for range 6 {
			e, err := p.Next(t.Context())
			must(t, err)
			all = append(all, e)
		}
		expect(t, all, id, 0, 6, 100)
		if _, err := p.Next(t.Context()); !errors.Is(err, ErrTagEnd) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := p.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
