package pg

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// objectsOf returns the objects of a group in the form in which they are saved.
func objectsOf(t *testing.T, g *Group) []byte {
	t.Helper()
	var b bytes.Buffer
	w := savefile.NewWriter(&b)
	Save([]*Group{g})[0].Write(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := savefile.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for {
		kind, p, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if kind != KindGroup {
			out = append(out, p...)
		}
	}
}

// randomOps makes a vector, the same from the same seed.
func randomOps(seed uint64) []wire.Op {
	r := rand.New(rand.NewPCG(seed, 1))
	var ops []wire.Op
	for range 1 + r.IntN(3) {
		key := fmt.Sprint("k", r.IntN(4))
		switch r.IntN(11) {
		case 0:
			ops = append(ops, op(wire.OpDelete))
		case 1:
			ops = append(ops, op(wire.OpTruncate, func(o *wire.Op) { o.SetExtent(wire.Extent{Off: uint64(r.IntN(300))}) }))
		case 2:
			ops = append(ops, op(wire.OpZero, func(o *wire.Op) { o.SetExtent(wire.Extent{Off: uint64(r.IntN(300)), Len: uint64(r.IntN(100))}) }))
		case 3:
			in := denc.AppendMap(nil, map[string][]byte{key: []byte(key)}, denc.AppendString, denc.AppendBytes)
			ops = append(ops, op(wire.OpOmapSetVals, func(o *wire.Op) { o.Data = msgr2.NewData(in) }))
		case 4:
			in := denc.AppendSlice(nil, []string{key}, denc.AppendString)
			ops = append(ops, op(wire.OpOmapRmKeys, func(o *wire.Op) { o.Data = msgr2.NewData(in) }))
		case 5:
			ops = append(ops, op(wire.OpOmapClear))
		case 6:
			ops = append(ops, op(wire.OpCreate, func(o *wire.Op) { o.Flags = wire.OpFlagExcl }))
		case 7:
			ops = append(ops, read(0, 10))
		default:
			ops = append(ops, write(uint64(r.IntN(300)), fmt.Sprint(seed, "some more bytes")))
		}
	}
	return ops
}

// TestACrashTakesOnlyTheLastUnansweredWrites does random vectors, answers some of
// them, and crashes: what is left is what a group has that got all but the lost
// ones, and no lost one was answered or seen.
func TestACrashTakesOnlyTheLastUnansweredWrites(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	lostAll, keptAll := 0, 0
	for range 300 {
		g, _ := newGroup(t)
		want, _ := newGroup(t)
		type sent struct {
			seed, snap uint64
			object     string
			lost       bool
		}
		var all []sent
		must := map[uint64]bool{} // by tid, what must not be lost
		newest := uint64(0)
		do := func(g *Group, i int, hold bool) Outcome {
			s := all[i]
			sc := wire.SnapContext{Seq: s.snap}
			for k := s.snap; k > 0; k-- {
				sc.Snaps = append(sc.Snaps, k)
			}
			req := (&client{t: t, g: g, gid: 1, tid: uint64(i)}).request(wire.SnapHead, sc, randomOps(s.seed)...)
			req.Op.Object, req.Hold = s.object, hold
			return g.Do(req)
		}
		for range 2 { // the second time on what the first crash has left
			for range r.IntN(30) {
				if r.IntN(8) == 0 {
					newest++
				}
				all = append(all, sent{seed: r.Uint64(), snap: newest, object: fmt.Sprint("o", r.IntN(3))})
				i := len(all) - 1
				out := do(g, i, true)
				if out.Write != nil && r.IntN(6) == 0 {
					out.Write.Ack()
					for k := range all {
						must[uint64(k+1)] = true
					}
				}
			}
			kept, lost := g.Crash(func(n int) int { return r.IntN(n + 1) })
			g.Recover()
			keptAll, lostAll = keptAll+len(kept), lostAll+len(lost)
			for _, w := range lost {
				if must[w.ID.TID] {
					t.Fatalf("write %d was answered, and is lost", w.ID.TID)
				}
				all[w.ID.TID-1].lost = true
			}
		}
		for i := range all {
			if !all[i].lost {
				do(want, i, false)
			}
		}
		if got, want := contents(t, g), contents(t, want); !bytes.Equal(got, want) {
			t.Fatalf("the group is not what the writes that were kept make:\n%q\n%q", got, want)
		}
		for i := range all {
			if all[i].lost {
				// The client sends it again, and it is done, not taken for a repeat.
				if out := do(g, i, false); out.Reply == nil {
					t.Fatal("no answer")
				}
			}
		}
	}
	t.Logf("%d kept, %d lost", keptAll, lostAll)
	if keptAll == 0 || lostAll == 0 {
		t.Error("nothing was tried")
	}
}

// contents returns all that is in a group but user versions.
func contents(t *testing.T, g *Group) []byte {
	t.Helper()
	for _, o := range g.objects {
		o.head.version = 0
		for _, c := range o.clones {
			c.content.version = 0
		}
	}
	return objectsOf(t, g)
}

func TestACrashTakesNothingThatSomebodyHasSeen(t *testing.T) {
	g, clock := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	lose := func(int) int { return 0 }
	hold := func(ops ...wire.Op) *Write {
		r := c.request(wire.SnapHead, wire.SnapContext{}, ops...)
		r.Hold = true
		return g.Do(r).Write
	}
	hold(write(0, "one"))
	c.do(0, wire.SnapHead, wire.SnapContext{}, read(0, 3))
	hold(write(0, "two"))
	if kept, lost := g.Crash(lose); len(kept) != 0 || len(lost) != 1 {
		t.Fatal(kept, lost)
	}
	rep := c.do(0, wire.SnapHead, wire.SnapContext{}, read(0, 3))
	if s := string(rep.Ops[0].Data.Bytes()); s != "one" {
		t.Fatal(s)
	}
	// A watch stays, and has its whole time after the crash.
	watch := op(wire.OpWatch, func(o *wire.Op) { o.SetWatch(wire.WatchArg{Cookie: 7, Op: wire.WatchOpWatch, Timeout: 10}) })
	if w := hold(watch); w != nil {
		t.Error("a watch can be lost")
	}
	g.Crash(lose)
	clock.advance(20e9)
	g.Recover()
	clock.advance(9e9)
	ping := op(wire.OpWatch, func(o *wire.Op) { o.SetWatch(wire.WatchArg{Cookie: 7, Op: wire.WatchOpReconnect}) })
	c.do(0, wire.SnapHead, wire.SnapContext{}, ping)
}

// TestRepliesNameTheGroup compares with OSDs of 16.2 and 20.2: the reply has the
// placement group, not the object's whole hash.
func TestRepliesNameTheGroup(t *testing.T) {
	g, _ := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	r := c.request(wire.SnapHead, wire.SnapContext{}, write(0, "x"))
	r.Op.Hash, r.Op.PG.PG = 0x9587c4bb, wire.PG{Pool: 1, Seed: 3}
	if rep := g.Do(r).Reply; rep.PG != (wire.PG{Pool: 1, Seed: 3}) {
		t.Error(rep.PG)
	}
}
