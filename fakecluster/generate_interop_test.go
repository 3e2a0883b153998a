//go:build interop

package fakecluster_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// maker makes the steps of a script.
type maker struct {
	r     *rand.Rand
	kind  string // of the pool
	snaps int    // made so far
	gone  map[int]bool
	rel   int
	theme int  // what most steps are about
	cuts  bool // writes say where the file ends: see mend

	writes, reads bool // of the step under way
	first         bool // the operation under way is the step's first
	copied        bool // the step under way copies from another
	keyed         bool // the step under way sets keys
	asked         bool // the step under way reads an omap's header
	removed       bool // the step under way removes or replaces the object
	rolled        bool // the step under way rolls the object back
	alone         bool // the step under way has but one operation
	blank         bool // the step under way must not find data: see classStep
	object        string
	fresh         int       // objects made for vectors of their own
	spent         bool      // the last write was to an object that nothing may touch again
	waiting       []rawStep // what comes next

	last struct { // the last plain write
		off    uint64
		n      int
		letter byte
	}
}

func newMaker(seed uint64, kind string, release int) *maker {
	r := rand.New(rand.NewPCG(seed, 7))
	m := &maker{r: r, kind: kind, rel: release, gone: map[int]bool{}, theme: number("RBDM_THEME", r.IntN(6)), cuts: r.IntN(3) == 0}
	if kind == "overwrites" && release < 20 {
		m.cuts = false // writes that cut shards, or make them longer, lose data next to theirs
	}
	return m
}

func (m *maker) chance(percent int) bool { return m.r.IntN(100) < percent }

func pick[T any](m *maker, l ...T) T { return l[m.r.IntN(len(l))] }

// step makes the next step.
func (m *maker) step() rawStep {
	if len(m.waiting) == 0 {
		st := m.make()
		m.waiting = append(m.waiting, st)
	}
	st := m.waiting[0]
	m.waiting = m.waiting[1:]
	return st
}

func (m *maker) make() rawStep {
	st := rawStep{Do: "op", Snap: snapHead, Seq: snapNone, Mtime: 1_000_000_000 + m.r.Uint32N(1000)}
	st.Object = fmt.Sprint("o", m.r.IntN(4))
	if l := chosen(); len(l) > 0 {
		m.chosenStep(&st, l)
		return st
	}
	switch n := m.r.IntN(1000); {
	case n < 30 && m.snaps < 12:
		m.snaps++
		return rawStep{Do: "snap", Snap: snapHead, Seq: snapNone}
	case n < 32 && m.snaps > 0:
		i := m.r.IntN(m.snaps)
		if m.gone[i] {
			break // what a second removal does to the ids is up to the monitors
		}
		m.gone[i] = true
		return rawStep{Do: "unsnap", Snap: i, Seq: snapNone}
	case n < 50 && !m.spent:
		return rawStep{Do: "again", Snap: snapHead, Seq: snapNone}
	case n < 60:
		return rawStep{Do: "events", Snap: snapHead, Seq: snapNone}
	case n < 80:
		return m.notify(st)
	case n < 120:
		return m.listing(st)
	case n < 150:
		st.Flags, st.Snap = wire.FlagRead, snapDir
		st.Ops = []rawOp{{Name: "listsnaps", Code: wire.OpListSnaps}}
		return st
	case n < 170:
		return m.oddMessage(st)
	}
	if m.theme == 0 && m.chance(70) || m.chance(15) {
		st.Object = "c" + st.Object[1:]
		m.classStep(&st)
		return st
	}
	m.vector(&st)
	return st
}

// finish sets what follows from the operations.
func (m *maker) finish(st *rawStep) {
	for _, o := range st.Ops {
		if o.Code.IsWrite() {
			m.writes = true
		} else {
			m.reads = true
		}
	}
	if m.writes {
		m.unread(st)
		st.Flags |= wire.FlagWrite
	}
	if m.reads {
		st.Flags |= wire.FlagRead
	}
	if m.writes {
		m.context(st)
		m.spent = false
		// Nonsense for a header of an image of format 1 crashes OSDs.
		if m.chance(12) && !strings.HasPrefix(st.Object, "oldheader") {
			st.Flags |= wire.FlagReturnVec
			m.spend(st)
		}
		if m.chance(5) {
			st.Flags |= wire.FlagOrderSnap
		}
		if m.chance(3) {
			st.Flags |= wire.FlagFullTry
		}
		if m.chance(3) {
			st.Flags |= pick(m, wire.FlagRWOrdered, wire.FlagFullForce, wire.FlagIgnoreCache, wire.FlagIgnoreOverlay, wire.FlagExec)
		}
		return
	}
	if m.chance(6) {
		st.Flags |= pick(m, wire.FlagBalanceReads, wire.FlagLocalizeReads, wire.FlagRWOrdered, wire.FlagIgnoreCache, wire.FlagIgnoreOverlay, wire.FlagExec, wire.FlagReturnVec, wire.FlagOrderSnap)
	}
	// What class rbd changes in a header of format 1 it changes in the OSD's cache, where
	// the clone is that it was read from, too.
	if m.snaps > 0 && m.chance(40) && !strings.HasPrefix(st.Object, "oldheader") {
		st.Snap = m.r.IntN(m.snaps)
	}
	if m.chance(2) {
		st.Snap = pick(m, snapNext, snapNone)
	}
}

// erasure reports whether the pool is erasure coded.
func (m *maker) erasure() bool { return m.kind == "ec" || m.kind == "overwrites" }

// unread takes reads of data out of a vector that writes to an erasure coded pool:
// OSDs execute it again when they have the data, with the log entry of the first
// time, and crash; and they crash when they read behind the end that the object had
// before the vector.
func (m *maker) unread(st *rawStep) {
	written := false
	for i := range st.Ops {
		switch c := st.Ops[i].Code; {
		case !m.erasure():
			return
		case c == wire.OpRead, c == wire.OpSparseRead, written && (c == wire.OpChecksum || c == wire.OpCmpExt):
			st.Ops[i] = rawOp{Name: "stat", Code: wire.OpStat}
		case c.IsWrite(), c == wire.OpCall:
			written = true
		}
	}
}

// spend gives a write whose answer may get too long an object of its own. An OSD
// refuses such a write when it has taken the object for written already: it goes on
// with a state that its store does not have, and dies when it writes to that.
func (m *maker) spend(st *rawStep) {
	if !slices.ContainsFunc(st.Ops, func(o rawOp) bool { return !brief(o) }) {
		return
	}
	m.fresh++
	m.spent = true
	st.Object = fmt.Sprint(st.Object, "-", m.fresh)
	n := 1 + m.r.IntN(400)
	data := ranged("write", wire.OpWrite, uint64(m.r.IntN(40)), uint64(n), fill(m.letter(), n))
	if m.blank {
		data = rawOp{Name: "create", Code: wire.OpCreate}
	}
	m.waiting = append(m.waiting, rawStep{
		Do: "op", Object: st.Object, Space: st.Space, Key: st.Key, Snap: snapHead, Seq: snapNone, Mtime: st.Mtime, Flags: wire.FlagWrite,
		Ops: []rawOp{
			data,
			m.xattr("setxattr", wire.OpSetXattr),
			named("omapset", wire.OpOmapSetVals, nil, wire.AppendOmap(nil, map[string][]byte{m.key(): m.value(), m.key(): m.value()})),
		},
	})
}

// brief reports whether what an operation returns is short for sure.
func brief(o rawOp) bool {
	switch o.Code {
	case wire.OpStat, wire.OpCmpXattr, wire.OpAssertVer, wire.OpCmpExt, wire.OpOmapCmp:
		return true
	}
	return o.Code.IsWrite()
}

// context gives a write a snap context: mostly all snapshots there are.
func (m *maker) context(st *rawStep) {
	if m.snaps == 0 || m.chance(10) {
		return
	}
	n := m.snaps
	if m.chance(5) {
		n = 1 + m.r.IntN(n) // an old one
	}
	st.Seq = n - 1
	for i := n - 1; i >= 0; i-- {
		if !m.gone[i] && !m.chance(4) {
			st.Snaps = append(st.Snaps, i)
		}
	}
	switch {
	case m.chance(1) && len(st.Snaps) > 1:
		st.Snaps[0], st.Snaps[1] = st.Snaps[1], st.Snaps[0] // not descending
	case m.chance(1):
		st.Snaps = append(st.Snaps, snapNone)
	case m.chance(1):
		st.Seq = snapNone // below the snapshots
	case m.chance(1):
		st.Seq = snapNext
	}
}

func (m *maker) vector(st *rawStep) {
	m.blank = false
	m.writes, m.reads, m.copied, m.keyed, m.asked, m.removed, m.rolled, m.object = false, false, false, false, false, false, false, st.Object
	n := 1
	if m.chance(50) {
		n = 1 + m.r.IntN(5)
	}
	kind := m.r.IntN(100)
	m.alone = n == 1
	for i := range n {
		var o rawOp
		m.first = i == 0
		switch {
		case kind < 40:
			o = m.writeOp()
		case kind < 75:
			o = m.readOp()
		case m.chance(50):
			o = m.writeOp()
		default:
			o = m.readOp()
		}
		if m.chance(6) {
			o.Flags |= pick(m, wire.OpFlagFailOK, wire.OpFlagExcl, wire.OpFlagFadviseDontNeed, wire.OpFlagFadviseRandom, wire.OpFlagFailOK)
		}
		if m.chance(2) {
			m.spoil(&o)
		}
		st.Ops = append(st.Ops, o)
	}
	if m.chance(4) {
		st.Key = pick(m, "k1", "k2", st.Object)
	}
	if m.chance(4) {
		st.Space = "b"
	}
	m.mend(st)
	m.finish(st)
}

// mend takes care of the checksums that OSDs keep of whole objects. One that a vector
// has replaced does not fit what a later operation of the same vector reads from the
// store, and after a write of nothing behind the end, or one that is cut to nothing
// because the object knows of a later truncation, it is still that of what was there
// before. An OSD whose checksum does not fit does not answer: it waits for what could
// repair the object. Reads of what is written are not to be of the whole, and writes
// of the other kind are followed by something that makes the OSD forget the checksum.
func (m *maker) mend(st *rawStep) {
	wrote, wrong, cut, copied := false, false, false, false
	for i := range st.Ops {
		o := &st.Ops[i]
		w := wire.Op{}
		u, _ := hex.DecodeString(o.Union)
		copy(w.Union[:], u)
		e := w.Extent()
		bad := (o.Code == wire.OpWrite || o.Code == wire.OpWriteSame) && e.Off > 0 && (e.Len == 0 || m.cuts)
		if m.kind == "overwrites" && m.rel < 20 && (bad || slices.Contains(truncating, o.Code)) {
			if cut {
				*o = rawOp{Name: "create", Code: wire.OpCreate}
				continue
			}
			cut = true
		}
		if m.kind == "overwrites" && m.rel < 20 {
			// Nor do they live when a vector copies something and then writes to a part.
			if copied && (o.Code == wire.OpWrite || o.Code == wire.OpAppend || o.Code == wire.OpWriteSame) {
				*o = rawOp{Name: "create", Code: wire.OpCreate}
				continue
			}
			if c := o.Code; c == wire.OpCopyFrom || c == wire.OpCopyFrom2 || c == wire.OpRollback {
				copied, cut = true, true // what cuts afterwards writes, too
			}
		}
		wrong = wrong || bad
		if c := o.Code; wrote && e.Off == 0 && (c == wire.OpRead || c == wire.OpSparseRead || c == wire.OpChecksum || c == wire.OpCmpExt) {
			w.Union[0] = 1
			o.Union = even(trim(w))
		}
		wrote = wrote || o.Code.IsWrite()
	}
	if wrong && m.kind != "ec" { // there is no such write
		st.Ops = append(st.Ops, ranged("zero", wire.OpZero, 0, 1, ""))
	}
}

// truncating are operations that may cut an object. 16.2's OSD dies when a vector cuts
// one of an erasure coded pool twice, and at different places.
var truncating = []wire.OpCode{wire.OpWriteFull, wire.OpTruncate, wire.OpTrimTrunc, wire.OpZero}

// spoil damages what an operation carries.
func (m *maker) spoil(o *rawOp) {
	switch o.Code {
	case wire.OpGetXattr, wire.OpSetXattr, wire.OpRmXattr, wire.OpCmpXattr:
		return // a name longer than what there is crashes OSDs
	}
	if o.From != "" || o.List != "" {
		return
	}
	p := unpack(o.Data)
	switch {
	case len(p) > 0 && m.chance(60):
		o.Data = pack(p[:m.r.IntN(len(p))])
	case m.chance(50):
		o.Data = pack(append(p, 0, 1, 2))
	default:
		o.Data = ""
	}
}

func extent(off, n uint64) string {
	w := wire.Op{}
	w.SetExtent(wire.Extent{Off: off, Len: n})
	return trim(w)
}

func trim(w wire.Op) string { return strings.TrimRight(hex.EncodeToString(w.Union[:]), "0") }

// even gives hexadecimal its last digit back.
func even(s string) string {
	if len(s)%2 == 1 {
		return s + "0"
	}
	return s
}

func (m *maker) off() uint64 {
	switch n := m.r.IntN(100); {
	case n < 70:
		return uint64(m.r.IntN(12)) * 1024
	case n < 90:
		return uint64(m.r.IntN(20000))
	case n < 94:
		return 4096 * uint64(m.r.IntN(8))
	case n < 96:
		return 128<<20 - uint64(m.r.IntN(3))
	case n < 98:
		return 128<<20 + uint64(m.r.IntN(3))
	}
	return pick(m, 1<<32, 1<<63, ^uint64(0), ^uint64(0)-4095)
}

func (m *maker) near() uint64 {
	if m.chance(60) {
		return uint64(m.r.IntN(12)) * 1024
	}
	return uint64(m.r.IntN(20000))
}

func (m *maker) letter() byte { return byte('a' + m.r.IntN(26)) }

func (m *maker) size() int {
	if m.chance(5) {
		return 0
	}
	if m.chance(2) {
		return 1 + m.r.IntN(400_000)
	}
	return 1 + m.r.IntN(9000)
}

func (m *maker) xname() string {
	if m.chance(2) {
		// Without a name it is what OSDs keep about the object for themselves.
		return pick(m, strings.Repeat("n", 100), strings.Repeat("n", 101), strings.Repeat("n", 256), "_", "snapset", "lock.x")
	}
	return fmt.Sprint("k", m.r.IntN(5))
}

func (m *maker) key() string {
	if m.chance(3) {
		return pick(m, "", "\x00", "\xff", strings.Repeat("q", 300), "k", "z")
	}
	return fmt.Sprint("k", m.r.IntN(8))
}

func (m *maker) value() []byte {
	switch m.r.IntN(6) {
	case 0:
		return nil
	case 1:
		return []byte(fmt.Sprint(m.r.IntN(20)))
	}
	return []byte{m.letter()}
}

func named(name string, code wire.OpCode, w *wire.Op, data []byte) rawOp {
	o := rawOp{Name: name, Code: code, Data: pack(data)}
	if w != nil {
		o.Union = even(trim(*w))
	}
	return o
}

func ranged(name string, code wire.OpCode, off, n uint64, data string) rawOp {
	return rawOp{Name: name, Code: code, Union: even(extent(off, n)), Data: data}
}

func (m *maker) notify(st rawStep) rawStep {
	st.Do, st.Flags = "notify", wire.FlagRead
	w := wire.Op{}
	w.SetNotifyCookie(100)
	in := wire.NotifyInput{Timeout: 20, Payload: m.value()}
	if m.chance(5) {
		st.Silent, in.Timeout = true, 1
	}
	st.Ops = []rawOp{named("notify", wire.OpNotify, &w, in.Append(nil))}
	return st
}

// listing makes a request about the placement group.
func (m *maker) listing(st rawStep) rawStep {
	st.Object, st.Flags = "", wire.FlagRead|wire.FlagPGOp
	w := wire.Op{}
	w.SetPgls(wire.PglsArg{Count: pick[uint64](m, 1, 2, 3, 50, 0, 1000)})
	o := rawOp{Name: "pgnls", Code: wire.OpPgnls, Union: even(trim(w)), List: pick(m, "start", "next")}
	if m.chance(25) {
		o.Name, o.Code = "pgnlsfilter", wire.OpPgnlsFilter
		var p []byte
		for _, s := range []string{"hello", "hello", pick(m, "plain", "hello.hello", "parent", "nothing"), pick(m, "_k1", "_k2", "k1", "_"), string(m.value())} {
			p = denc.AppendString(p, s)
		}
		o.Data = pack(p)
	}
	if m.snaps > 0 && m.chance(20) {
		st.Snap = m.r.IntN(m.snaps)
	}
	if m.chance(20) {
		st.Space = "b"
	}
	st.Ops = []rawOp{o}
	return st
}

// oddMessage makes a request that no client would send.
func (m *maker) oddMessage(st rawStep) rawStep {
	m.vector(&st)
	switch m.r.IntN(9) {
	case 0:
		st.Object = strings.Repeat("n", pick(m, 2048, 2049, 4000))
	case 1:
		st.Key = strings.Repeat("n", pick(m, 2048, 2049))
	case 2:
		st.Space = strings.Repeat("n", pick(m, 200, 256, 300))
	case 3:
		st.Ops, st.Flags = nil, wire.FlagRead // as a write it crashes OSDs
	case 4:
		st.Flags |= wire.FlagParallelExec
	case 5:
		st.Flags &^= wire.FlagWrite
	case 6:
		st.Flags |= wire.FlagWrite
	case 7:
		if m.snaps > 0 {
			st.Snap = m.r.IntN(m.snaps)
		} else {
			st.Snap = snapDir
		}
	case 8:
		st.Object = ""
	}
	return st
}
