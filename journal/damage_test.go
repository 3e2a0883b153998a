package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/errno"
)

// put writes entries "tag/entry" to data objects, as a writer would have that
// chose where they go.
func put(tb testing.TB, j *Journal, object uint64, entries ...[2]uint64) {
	tb.Helper()
	for _, e := range entries {
		b := wire.Entry{TagTID: e[0], EntryTID: e[1], Data: payload(e[0], int(e[1]), 0)}.Append(nil)
		must(tb, j.data.Append(tb.Context(), j.dataName(object), b))
	}
}

// played is what a Player returns, as text.
func played(all []*Entry) string {
	var b bytes.Buffer
	for _, e := range all {
		fmt.Fprintf(&b, "%d/%d ", e.TagTID, e.EntryTID)
	}
	return b.String()
}

func TestSequence(t *testing.T) {
	type objects = map[uint64][][2]uint64
	for name, c := range map[string]struct {
		objects objects
		active  uint64
		commit  wire.CommitPosition // of the owner
		peer    wire.CommitPosition // of another client
		want    string
		err     error
	}{
		"two tags": {objects: objects{0: {{0, 0}, {0, 2}, {1, 0}}, 1: {{0, 1}, {1, 1}}}, want: "0/0 0/1 0/2 1/0 1/1 "},
		"a tag that ends early and one behind it": {objects: objects{0: {{0, 0}, {0, 4}, {1, 0}}, 1: {{0, 1}, {0, 3}}},
			err: ErrMissing, want: "0/0 0/1 "},
		"unfinished entries":    {objects: objects{0: {{0, 0}, {1, 0}}, 1: {{0, 1}, {0, 3}, {0, 5}, {1, 1}}}, want: "0/0 0/1 1/0 1/1 "},
		"unfinished at the end": {objects: objects{0: {{0, 0}}, 1: {{0, 1}, {0, 3}}}, want: "0/0 0/1 "},
		"unfinished that somebody was done with": {objects: objects{0: {{0, 0}, {1, 0}}, 1: {{0, 1}, {0, 3}}},
			peer: wire.CommitPosition{{Object: 1, EntryTID: 3}}, want: "0/0 0/1 ", err: ErrMissing},
		"lost at the end": {objects: objects{0: {{0, 0}}, 1: {{0, 1}}},
			peer: wire.CommitPosition{{Object: 1, EntryTID: 5}}, want: "0/0 0/1 ", err: ErrMissing},
		"first object lost":         {objects: objects{1: {{0, 1}}}, peer: wire.CommitPosition{{Object: 1, EntryTID: 1}}, err: ErrMissing},
		"first entry not 0":         {objects: objects{0: {{0, 2}}}, err: ErrMissing},
		"tag without a first entry": {objects: objects{0: {{0, 0}, {2, 0}}, 1: {{0, 1}, {1, 1}, {2, 1}}}, want: "0/0 0/1 2/0 2/1 "},
		"tag whose first entry was lost": {objects: objects{0: {{0, 0}, {2, 0}}, 1: {{0, 1}, {1, 1}, {2, 1}}},
			peer: wire.CommitPosition{{Object: 1, TagTID: 1, EntryTID: 1}}, want: "0/0 0/1 ", err: ErrMissing},
		"new tag begins with 2": {objects: objects{0: {{0, 0}, {1, 2}}, 1: {{0, 1}}}, want: "0/0 0/1 ", err: ErrMissing},
		"the next set":          {objects: objects{0: {{0, 0}}, 1: {{0, 1}}, 2: {{0, 2}}, 3: {{0, 3}}}, active: 1, want: "0/0 0/1 0/2 0/3 "},
		"an object that is missing": {objects: objects{0: {{0, 0}, {0, 2}}, 1: {{0, 1}, {0, 3}}, 2: {{0, 4}}, 4: {{0, 6}}, 5: {{0, 7}}}, active: 2,
			want: "0/0 0/1 0/2 0/3 0/4 ", err: ErrMissing},
		"an object nobody wrote to": {objects: objects{0: {{0, 0}, {0, 2}}, 1: {{0, 1}}, 5: {{0, 3}}}, active: 2, want: "0/0 0/1 0/2 0/3 "},
		"behind a commit position": {objects: objects{0: {{0, 0}, {0, 2}}, 1: {{0, 1}, {0, 3}}},
			commit: wire.CommitPosition{{Object: 1, EntryTID: 1}, {Object: 0, EntryTID: 0}}, want: "0/2 0/3 "},
		"behind one in two tags": {objects: objects{0: {{0, 0}, {0, 2}, {1, 0}}, 1: {{0, 1}, {0, 3}, {0, 5}, {1, 1}}},
			commit: wire.CommitPosition{{Object: 0, TagTID: 1}, {Object: 1, EntryTID: 3}}, want: "1/1 "},
		"commit position of a lost entry": {objects: objects{0: {{0, 0}}, 1: {{0, 1}}},
			commit: wire.CommitPosition{{Object: 1, EntryTID: 3}, {Object: 0, EntryTID: 0}}, err: ErrMissing},
		"commit position of a lost object": {objects: objects{0: {{0, 0}}},
			commit: wire.CommitPosition{{Object: 1, EntryTID: 1}, {Object: 0, EntryTID: 0}}, err: ErrMissing},
		"commit position of another offset": {objects: objects{0: {{0, 0}}}, commit: wire.CommitPosition{{Object: 1, EntryTID: 2}}, err: ErrCorrupt},
	} {
		for _, tail := range []bool{false, true} {
			t.Run(fmt.Sprint(name, tail), func(t *testing.T) {
				p := anycluster.Pool(t)
				j := create(t, p, "x", Layout{Order: 12, SplayWidth: 2, Pool: -1})
				for i := range 3 {
					tag, err := j.AllocateTag(t.Context(), 0, nil)
					must(t, err)
					if tag.TID != uint64(i+1) {
						t.Fatal(tag)
					}
				}
				for n, entries := range c.objects {
					put(t, j, n, entries...)
				}
				commit(t, j, "", c.commit)
				must(t, j.RegisterClient(t.Context(), "peer", nil))
				commit(t, j, "peer", c.peer)
				if c.active > 0 {
					must(t, p.ExecWrite(t.Context(), HeaderName("x"), wire.Class, wire.MethodSetActiveSet, []byte{byte(c.active), 0, 0, 0, 0, 0, 0, 0}))
				}
				all, err := playFor(t, open(t, p, "x", "", quick()), tail, c.err == nil)
				if !errors.Is(err, c.err) || played(all) != c.want {
					t.Fatalf("%s, %v", played(all), err)
				}
			})
		}
	}
}

// commit sets a client's commit position.
func commit(tb testing.TB, j *Journal, id string, c wire.CommitPosition) {
	tb.Helper()
	in := append([]byte{byte(len(id)), 0, 0, 0}, id...)
	must(tb, j.io.ExecWrite(tb.Context(), j.header, wire.Class, wire.MethodClientCommit, c.Append(in)))
}

// playFor plays to the end, which is a while without anything when tailing.
func playFor(t *testing.T, j *Journal, tail, quiet bool) (all []*Entry, err error) {
	p, err := j.NewPlayer(t.Context(), PlayerOptions{Tail: tail})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	for {
		d := 10 * time.Second
		if quiet && tail {
			d = 150 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), d)
		e, err := p.Next(ctx)
		cancel()
		if errors.Is(err, io.EOF) || quiet && tail && errors.Is(err, context.DeadlineExceeded) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

func TestDamagedObjects(t *testing.T) {
	entry := func(tid uint64) []byte {
		return wire.Entry{EntryTID: tid, Data: payload(0, int(tid), 100)}.Append(nil)
	}
	whole := bytes.Join([][]byte{entry(0), entry(1), entry(2)}, nil)
	n := len(entry(0))
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		return b
	}
	for name, c := range map[string]struct {
		p    []byte
		want int
		err  error
	}{
		"whole":                     {p: whole, want: 3},
		"torn last entry":           {p: whole[:2*n+50], want: 2},
		"torn in its head":          {p: whole[:2*n+5], want: 2},
		"torn last checksum":        {p: whole[:3*n-1], want: 2},
		"padding":                   {p: bytes.Join([][]byte{entry(0), make([]byte, 7), entry(1), make([]byte, 9), entry(2), make([]byte, 3)}, nil), want: 3},
		"changed payload":           {p: flip(n + 60), want: 1, err: ErrCorrupt},
		"changed last payload":      {p: flip(2*n + 60), want: 2, err: ErrCorrupt},
		"changed preamble":          {p: flip(n), want: 1, err: ErrCorrupt},
		"changed last preamble":     {p: flip(2 * n), want: 2, err: ErrCorrupt},
		"length beyond the end":     {p: flip(n + 26), want: 1, err: ErrCorrupt},
		"length beyond all":         {p: flip(2*n + 28), want: 2, err: ErrCorrupt},
		"garbage behind":            {p: append(bytes.Clone(whole), "rubbish"...), want: 3, err: ErrCorrupt},
		"torn one and another":      {p: bytes.Join([][]byte{whole[:n+50], entry(2)}, nil), want: 1, err: ErrCorrupt},
		"zeros instead of an entry": {p: bytes.Join([][]byte{entry(0), make([]byte, n), entry(2)}, nil), want: 1, err: ErrMissing},
		"twice the same":            {p: bytes.Join([][]byte{entry(0), entry(1), entry(1), entry(2)}, nil), want: 3},
		"two different ones": {p: bytes.Join([][]byte{entry(0), entry(1), wire.Entry{EntryTID: 1, Data: []byte("other")}.Append(nil)}, nil),
			want: 2, err: ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			p := anycluster.Pool(t)
			j := create(t, p, "x", Layout{Order: 16, SplayWidth: 1, Pool: -1})
			must(t, p.WriteFull(t.Context(), j.dataName(0), c.p))
			all, err := playFor(t, j, false, false)
			if !errors.Is(err, c.err) || len(all) != c.want {
				t.Fatalf("%d entries, %v", len(all), err)
			}
		})
	}
}

func TestAnEntryLargerThanARead(t *testing.T) {
	p := anycluster.Pool(t)
	create(t, p, "x", Layout{Order: 20, SplayWidth: 2, Pool: -1})
	o := quick()
	o.MaxFetchBytes = minChunk
	j := open(t, p, "x", "", o)
	r := recorder(t, j)
	record(t, r, 0, 40, 100_000)
	all, err := playFor(t, open(t, p, "x", "", o), false, false)
	must(t, err)
	expect(t, all, 0, 0, 40, 100_000)
	if _, err := r.Append(t.Context(), 0, make([]byte, j.Layout().MaxPayload()+1)); !errors.Is(err, rados.ErrInvalid) {
		t.Fatal(err)
	}
	record2 := make([]byte, j.Layout().MaxPayload())
	f, err := r.Append(t.Context(), 0, record2)
	must(t, err)
	must(t, f.Wait(t.Context()))
}

func TestAppendsThatAreRefused(t *testing.T) {
	c, p := fakePool(t)
	j := create(t, p, "x", Layout{Order: 12, SplayWidth: 2, Pool: -1})
	r := recorder(t, j)
	record(t, r, 0, 10, 100)
	c.Inject(fakecluster.Fault{Prefix: "journal_data.", Errno: errno.ErrIO, Times: 1})
	f, err := r.Append(t.Context(), 0, []byte("a"))
	must(t, err)
	if err := f.Wait(t.Context()); !errors.Is(err, rados.ErrIO) {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), 0, []byte("b")); !errors.Is(err, rados.ErrIO) {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); !errors.Is(err, rados.ErrIO) {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), 0, []byte("b")); err == nil {
		t.Fatal("appended to a closed recorder")
	}
}

func TestARecorderGoesOnWhereAnotherStopped(t *testing.T) {
	p := anycluster.Pool(t)
	l := Layout{Order: 12, SplayWidth: 3, Pool: -1}
	j := create(t, p, "x", l)
	record(t, recorder(t, j), 0, 57, 100)
	for tag := uint64(1); tag < 5; tag++ {
		j := open(t, p, "x", "", quick())
		all, err := playFor(t, j, false, false)
		must(t, err)
		expect(t, all, tag-1, 0, 57, 100)
		for _, e := range all {
			e.Committed()
		}
		next, err := j.AllocateTag(t.Context(), 0, nil)
		must(t, err)
		r := recorder(t, j)
		record(t, r, next.TID, 57, 100)
		must(t, r.Close(t.Context()))
		must(t, j.Close(t.Context()))
	}
}

func TestAppendWaitsForRoomAndFlushesByAge(t *testing.T) {
	c, p := fakePool(t)
	create(t, p, "x", Layout{Order: 20, SplayWidth: 1, Pool: -1})
	o := quick()
	o.MaxBufferedBytes, o.FlushAge, o.FlushBytes = 1000, time.Hour, 0
	j := open(t, p, "x", "", o)
	r := recorder(t, j)
	remove := c.Inject(fakecluster.Fault{Prefix: "journal_data.", Delay: 50 * time.Millisecond})
	first, err := r.Append(t.Context(), 0, make([]byte, 400))
	must(t, err)
	_, err = r.Append(t.Context(), 0, make([]byte, 400))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.Append(ctx, 0, make([]byte, 400)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	third, err := r.Append(t.Context(), 0, make([]byte, 400))
	must(t, err)
	must(t, first.Wait(t.Context()))
	remove()
	must(t, third.Wait(t.Context()))
	if third.EntryTID() != 2 {
		t.Fatal("an entry that was not taken has a number: ", third.EntryTID())
	}
}
