package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/journal/wire"
)

// scan parses an object as a stream does, a read of some bytes after the other.
func scan(l Layout, p []byte, chunk int) (all []wire.Entry, rest []byte, err error) {
	for off, want := 0, chunk; ; {
		got := p[off:min(len(p), off+want)]
		seg, err := l.parse(got, uint64(off))
		all = append(all, seg.entries...)
		off += seg.used
		if err != nil {
			return all, p[off:], err
		}
		if len(got) < want {
			return all, p[off:], nil
		}
		want = max(chunk, seg.need)
	}
}

// FuzzParse parses any bytes as a data object: what is not an entry or padding
// must be an error or an entry that is cut off by the object's end, whatever the
// size of the reads.
func FuzzParse(f *testing.F) {
	two := append(wire.Entry{Data: []byte("abc")}.Append(nil), wire.Entry{EntryTID: 1}.Append(make([]byte, 5))...)
	f.Add(two, uint16(10))
	f.Add(two[:len(two)-3], uint16(33))
	f.Add(bytes.Repeat(preamble, 9), uint16(1))
	f.Add(append(bytes.Clone(two[:20]), two...), uint16(64))
	l := Layout{Order: 12, SplayWidth: 1}
	f.Fuzz(func(t *testing.T, p []byte, chunk uint16) {
		all, rest, err := scan(l, p, int(chunk)+1)
		whole, wholeRest, wholeErr := scan(l, p, len(p)+1)
		if len(all) != len(whole) || len(rest) != len(wholeRest) || (err == nil) != (wholeErr == nil) {
			t.Fatalf("reads of %d bytes: %d entries, %d bytes left, %v; one read: %d, %d, %v", chunk, len(all), len(rest), err, len(whole), len(wholeRest), wholeErr)
		}
		left := p[:len(p)-len(rest)]
		for _, e := range all {
			left = bytes.TrimLeft(left, "\x00")
			b := e.Append(nil)
			if !bytes.HasPrefix(left, b) {
				t.Fatalf("%x is not what entry %x was read of", left, b)
			}
			left = left[len(b):]
		}
		if len(bytes.TrimLeft(left, "\x00")) > 0 {
			t.Fatalf("skipped %x", left)
		}
		if err == nil && len(rest) > 0 && (!l.mayBegin(rest) || len(rest) > 1<<l.Order) {
			t.Fatalf("took %x for the beginning of an entry", rest)
		}
	})
}

// TestDamageIsNeverSkipped damages a journal of which another client has seen the
// end, at random. What is played is a beginning of what was written, and when it
// is not all of it, the Player says so.
func TestDamageIsNeverSkipped(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := anycluster.Pool(t)
	for i := range 60 {
		l := Layout{Order: 12, SplayWidth: uint8(1 + rnd.IntN(4)), Pool: -1}
		id := fmt.Sprint("x", i)
		j := create(t, p, id, l)
		must(t, j.RegisterClient(t.Context(), "witness", nil))
		must(t, j.RegisterClient(t.Context(), "peer", nil))
		r := recorder(t, j)
		var last wire.CommitPosition
		n := 0
		tags := 1 + rnd.IntN(3)
		for tag := range tags {
			if tag > 0 {
				_, err := j.AllocateTag(t.Context(), 0, nil)
				must(t, err)
			}
			k := 20 + rnd.IntN(60)
			for _, f := range record(t, r, uint64(tag), k, 50+rnd.IntN(300)) {
				last = wire.CommitPosition{f.Position()}
				// One client is done with the end of every tag.
				commit(t, j, []string{"witness", ""}[tag%2], last)
			}
			n += k
			if tags > 2 {
				break
			}
		}
		st, _ := j.State()
		what := damage(t, j, rnd, rnd.Uint64N((st.ActiveSet+1)*uint64(l.SplayWidth)))
		o := quick()
		o.NoTrim = true
		all, err := playFor(t, open(t, p, id, "peer", o), false, false)
		tag, entry := uint64(0), uint64(0)
		for _, e := range all {
			if e.TagTID != tag {
				tag, entry = e.TagTID, 0
			}
			if e.EntryTID != entry || !bytes.HasPrefix(e.Data, payload(tag, int(entry), 0)) {
				t.Fatalf("%s: %s", what, played(all))
			}
			entry++
		}
		if err == nil && len(all) != n {
			t.Fatalf("%s: %d of %d entries, and no error", what, len(all), n)
		}
	}
}

// damage changes a data object.
func damage(t *testing.T, j *Journal, rnd *rand.Rand, object uint64) string {
	t.Helper()
	name := j.dataName(object)
	p, err := j.data.Read(t.Context(), name, 0, 1<<20)
	if err != nil || len(p) == 0 {
		return "nothing"
	}
	p = bytes.Clone(p)
	at := rnd.IntN(len(p))
	what := ""
	switch rnd.IntN(6) {
	case 0:
		must(t, j.data.Remove(t.Context(), name))
		return name + " removed"
	case 1:
		what, p = "cut", p[:at]
	case 2:
		what = "zeros"
		clear(p[at:min(len(p), at+rnd.IntN(400))])
	case 3:
		what = "bytes missing"
		p = append(p[:at], p[min(len(p), at+1+rnd.IntN(400)):]...)
	case 4:
		what = "bytes added"
		p = append(p[:at:at], append([]byte("added"), p[at:]...)...)
	default:
		what = "bit"
		p[at] ^= 1 << rnd.IntN(8)
	}
	must(t, j.data.WriteFull(t.Context(), name, p))
	return fmt.Sprintf("%s: %s at %d", name, what, at)
}
