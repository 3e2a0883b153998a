//go:build interop

package fakecluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestInteropSameAnswers sends the same random requests to a real cluster
// (RBDM_CONF) and to a fake one and compares every answer. The real cluster must
// be one that nobody else needs: a random request may find a bug that crashes it. RBDM_SEED repeats a
// run, RBDM_STEPS sets its length.
func TestInteropSameAnswers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("RBDM_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	steps := 3000
	if v := os.Getenv("RBDM_STEPS"); v != "" {
		steps, _ = strconv.Atoi(v)
	}
	t.Logf("RBDM_SEED=%d", seed)
	real := realCluster(t)
	pool := fmt.Sprintf("fk-difference-%d", seed)
	admin(t, real, map[string]any{"prefix": "osd pool create", "pool": pool, "pg_num": 8})
	t.Cleanup(func() {
		_, _, _ = real.MonCommand(context.Background(), map[string]any{"prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true}, nil)
	})
	release := number("RBDM_RELEASE", 20)
	c := fakecluster.New(t, fakecluster.Pools(pool), fakecluster.Release(release))
	sites := [2]*site{
		{name: "real", io: open(t, real, pool)},
		{name: "fake", io: open(t, connect(t, c, "client.admin"), pool)},
	}
	r := rand.New(rand.NewPCG(seed, 1))
	g := &generator{r: r}
	for i := range steps {
		step := g.step()
		var answers [2]string
		for k, s := range sites {
			answers[k] = s.run(t, step)
		}
		if answers[0] != answers[1] {
			t.Fatalf("seed %d, step %d:\n%s\nreal %s\nfake %s\nbefore:\n%s", seed, i, step, answers[0], answers[1], strings.Join(g.history(step.object), "\n"))
		}
		g.done = append(g.done, step)
	}
}

func admin(t *testing.T, cl *rados.Client, cmd map[string]any) {
	t.Helper()
	if _, status, err := cl.MonCommand(t.Context(), cmd, nil); err != nil {
		t.Fatal(cmd, status, err)
	}
}

// step is one request: it is made anew for each cluster, from the same seed.
type step struct {
	object  string
	kind    string
	seed    uint64
	what    []string
	snap    int // index of a snapshot; -1 is the head
	options []rados.OpOption
}

func (s *step) String() string {
	return fmt.Sprintf("%s %s snap %d %s", s.kind, s.object, s.snap, strings.Join(s.what, "; "))
}

type generator struct {
	r     *rand.Rand
	snaps int
	done  []*step
}

// history returns what happened to an object.
func (g *generator) history(object string) (out []string) {
	for _, s := range g.done {
		if s.object == object || s.object == "" {
			out = append(out, s.String())
		}
	}
	return out[max(0, len(out)-number("RBDM_HISTORY", 30)):]
}

func (g *generator) step() *step {
	s := &step{object: fmt.Sprintf("o%d", g.r.IntN(4)), seed: g.r.Uint64(), snap: -1}
	switch n := g.r.IntN(100); {
	case n < 4 && g.snaps < 40:
		s.kind, s.object = "snapshot", ""
		g.snaps++
	case n < 6 && g.snaps > 0:
		s.kind, s.snap = "rollback", g.r.IntN(g.snaps)
	case n < 12:
		s.kind = "listsnaps"
	case n < 40:
		s.kind = "read"
		if g.snaps > 0 && g.r.IntN(2) == 0 {
			s.snap = g.r.IntN(g.snaps)
		}
	case n < 50:
		s.kind = "vector" // reads and writes mixed
	default:
		s.kind = "write"
	}
	return s
}

// site is one of the two clusters.
type site struct {
	name string
	io   *rados.IoCtx
	ids  []uint64 // of snapshots, ascending
	full bool     // the pool is: try nevertheless
}

// context returns the site's context with all of its snapshots.
func (s *site) context() *rados.IoCtx {
	if len(s.ids) == 0 {
		return s.io
	}
	var desc []uint64
	for i := range s.ids {
		desc = append(desc, s.ids[len(s.ids)-1-i])
	}
	return s.io.WithSnapContext(desc[0], desc)
}

// run executes a step and returns the answer in words.
func (s *site) run(t *testing.T, st *step) string {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	switch st.kind {
	case "snapshot":
		id, err := s.io.CreateSnapID(ctx)
		s.ids = append(s.ids, id)
		return fmt.Sprint(err)
	case "listsnaps":
		set, err := s.io.ListSnaps(ctx, st.object)
		if err != nil {
			return code(err)
		}
		return s.describe(set)
	}
	b := &builder{r: rand.New(rand.NewPCG(st.seed, 2)), op: rados.NewOp()}
	io := s.context()
	var opts []rados.OpOption
	if s.full {
		opts = append(opts, rados.FullTry())
	}
	switch st.kind {
	case "rollback":
		b.op.Rollback(s.ids[st.snap])
	case "read":
		for range 1 + b.r.IntN(4) {
			b.read()
		}
		if st.snap >= 0 {
			io = io.AtSnap(s.ids[st.snap])
		}
	case "write":
		for range 1 + b.r.IntN(4) {
			b.write()
		}
	case "vector":
		opts = append(opts, rados.ReturnVec())
		for range 2 + b.r.IntN(4) {
			if b.r.IntN(2) == 0 {
				b.write()
			} else {
				b.small = true
				b.read()
			}
		}
	}
	if b.op.Len() == 0 {
		// An empty vector under RETURNVEC crashes 20.2's OSD.
		b.note("create false")
		b.op.Create(false)
	}
	st.what = b.what
	err := io.Operate(ctx, st.object, b.op, opts...)
	return code(err) + b.results()
}

// describe puts a snap set in terms of the order of snapshots.
func (s *site) describe(set *rados.SnapSet) string {
	nth := func(id uint64) string {
		for i, k := range s.ids {
			if k == id {
				return fmt.Sprint("#", i)
			}
		}
		if id == wire.SnapHead {
			return "head"
		}
		return fmt.Sprint("?", id)
	}
	var b strings.Builder
	for _, c := range set.Clones {
		fmt.Fprintf(&b, " clone %s snaps", nth(c.ID))
		for _, k := range c.Snaps {
			fmt.Fprint(&b, " ", nth(k))
		}
		fmt.Fprintf(&b, " overlap %v size %d;", c.Overlap, c.Size)
	}
	return b.String()
}

// code returns the errno of an error.
func code(err error) string {
	var e rados.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return fmt.Sprint("errno ", int32(e))
	case strings.Contains(err.Error(), "unexpected end of encoded data"):
		return "no output" // of a checksum of nothing
	}
	return err.Error()
}

// builder adds random operations to a vector.
type builder struct {
	r       *rand.Rand
	op      *rados.Op
	small   bool // outputs must be small
	removed bool
	what    []string
	show    []func() string
}

func (b *builder) results() string {
	var out strings.Builder
	for _, f := range b.show {
		out.WriteString(" | ")
		out.WriteString(f())
	}
	return out.String()
}

func (b *builder) note(format string, args ...any) {
	b.what = append(b.what, fmt.Sprintf(format, args...))
}

func (b *builder) key() string { return fmt.Sprintf("k%d", b.r.IntN(6)) }

func (b *builder) payload() []byte {
	p := bytes.Repeat([]byte{byte('a' + b.r.IntN(26))}, 8+b.r.IntN(9000))
	return p
}

func (b *builder) off() uint64 { return uint64(b.r.IntN(12)) * 1024 }

func (b *builder) write() {
	switch b.r.IntN(16) {
	case 0, 1, 2:
		off, p := b.off(), b.payload()
		b.note("write %d+%d", off, len(p))
		b.op.Write(off, msgr2.NewData(p))
	case 3:
		p := b.payload()
		b.note("writefull %d", len(p))
		b.op.WriteFull(msgr2.NewData(p))
	case 4:
		p := b.payload()
		b.note("append %d", len(p))
		b.op.Append(msgr2.NewData(p))
	case 5:
		n := b.off()
		b.note("truncate %d", n)
		b.op.Truncate(n)
	case 6:
		off, n := b.off(), b.off()+512 // a length of 0 crashes 16.2's OSD
		b.note("zero %d+%d", off, n)
		b.op.Zero(off, n)
	case 7:
		x := b.r.IntN(3) == 0
		b.note("create %v", x)
		b.op.Create(x)
	case 8:
		// Of two removals in one vector, real OSDs leave some of the old omap.
		if b.r.IntN(2) == 0 && !b.removed {
			b.note("remove")
			b.op.Remove()
			b.removed = true
		}
	case 9:
		k, p := b.key(), b.payload()[:1]
		b.note("setxattr %s", k)
		b.op.SetXattr(k, p)
	case 10:
		k := b.key()
		b.note("rmxattr %s", k)
		b.op.RemoveXattr(k)
	case 11, 12:
		m := map[string][]byte{}
		for range 1 + b.r.IntN(3) {
			m[b.key()] = b.payload()[:1]
		}
		b.note("omapset %v", m)
		b.op.OmapSet(m)
	case 13:
		k := b.key()
		b.note("omaprm %s", k)
		b.op.OmapRemove(k)
	case 14:
		switch b.r.IntN(3) {
		case 0:
			b.note("omapclear")
			b.op.OmapClear()
		case 1:
			p := b.payload()[:1]
			b.note("omapheader")
			b.op.SetOmapHeader(p)
		default:
			// A range that ends before it begins crashes 20.2's memstore.
			k, l := b.key(), b.key()
			k, l = min(k, l), max(k, l)
			b.note("omaprange %s %s", k, l)
			b.op.OmapRemoveRange(k, l)
		}
	case 15:
		if b.r.IntN(2) == 0 {
			p := b.payload()[:8]
			off := b.off()
			b.note("writesame %d", off)
			b.op.WriteSame(off, 64, msgr2.NewData(p))
			break
		}
		k := b.key()
		v := b.payload()[:1]
		b.note("class %s", k)
		b.op.CallWrite("rbd", "metadata_set", append(append([]byte{1, 0, 0, 0, 2, 0, 0, 0}, k...), append([]byte{1, 0, 0, 0}, v...)...))
	}
}

func (b *builder) read() {
	switch b.r.IntN(11) {
	case 0, 1:
		off, n := b.off(), uint64(b.r.IntN(12000))
		if b.small {
			n = uint64(b.r.IntN(60)) + 1
		}
		b.note("read %d+%d", off, n)
		res := b.op.Read(off, n)
		b.show = append(b.show, func() string { return sum(res.Bytes()) })
	case 2:
		b.note("stat")
		res := b.op.Stat()
		b.show = append(b.show, func() string { return fmt.Sprint("size ", res.Size) })
	case 3:
		k := b.key()
		b.note("getxattr %s", k)
		res := b.op.GetXattr(k)
		b.show = append(b.show, func() string { return sum(res.Bytes()) })
	case 4:
		if b.small {
			break
		}
		b.note("getxattrs")
		res := b.op.GetXattrs()
		b.show = append(b.show, func() string { return fmt.Sprint(res.Values) })
	case 5:
		k, n := b.key(), uint64(1+b.r.IntN(4))
		if b.small {
			n = 1
		}
		b.note("omapget %s %d", k, n)
		res := b.op.OmapGet(k, "", n)
		b.show = append(b.show, func() string { return fmt.Sprint(res.Values, res.More) })
	case 6:
		k := b.key()
		b.note("omapbykey %s", k)
		res := b.op.OmapGetByKeys(k)
		b.show = append(b.show, func() string { return fmt.Sprint(res.Values) })
	case 7:
		b.note("omapheader?")
		res := b.op.OmapHeader()
		b.show = append(b.show, func() string { return sum(res.Bytes()) })
	case 8:
		if b.small {
			break
		}
		off, n := b.off(), uint64(b.r.IntN(12000))+1
		b.note("checksum %d+%d", off, n)
		res := b.op.Checksum(wire.ChecksumCRC32C, 0xffffffff, off, n, 0)
		b.show = append(b.show, func() string { return fmt.Sprint(res.Values) })
	case 9:
		k := b.key()
		v := b.payload()[:1]
		b.note("cmpxattr %s %s", k, v)
		b.op.CompareXattr(k, wire.CmpEQ, v)
	case 10:
		k := b.key()
		b.note("classget %s", k)
		res := b.op.Call("rbd", "metadata_get", append([]byte{2, 0, 0, 0}, k...))
		b.show = append(b.show, func() string { return sum(res.Bytes()) })
	}
}
