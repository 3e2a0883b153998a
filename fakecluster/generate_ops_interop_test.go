//go:build interop

package fakecluster_test

import (
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// stripe is the width of a stripe of the pools that makePool makes.
const stripe = 2 * 4096

// writeOp makes an operation that writes.
func (m *maker) writeOp() rawOp {
	if m.kind == "ec" && m.chance(30) {
		// Little else is not refused there.
		n := stripe * (1 + m.r.IntN(2))
		return ranged("append", wire.OpAppend, 0, uint64(n), fill(m.letter(), n))
	}
	switch m.r.IntN(26) {
	case 0, 1, 2, 3:
		n, off := m.size(), m.off()
		m.last.off, m.last.n, m.last.letter = off, n, m.letter()
		o := ranged("write", wire.OpWrite, off, uint64(n), fill(m.last.letter, n))
		if m.cuts && m.chance(30) {
			m.cut(&o, off, uint64(n))
		}
		return o
	case 4:
		n := m.size()
		return ranged("writefull", wire.OpWriteFull, pick(m, 0, 0, 0, m.near()), uint64(n), fill(m.letter(), n))
	case 5:
		n := m.size()
		return ranged("append", wire.OpAppend, pick(m, 0, 0, m.near()), uint64(n), fill(m.letter(), n))
	case 6, 7:
		o := ranged("truncate", wire.OpTruncate, m.off(), 0, "")
		w := wire.Op{}
		switch m.r.IntN(12) {
		case 0: // where it is cut must be the size that goes with the sequence, or the OSD crashes
			off := m.near()
			w.SetExtent(wire.Extent{Off: off, TruncateSize: off, TruncateSeq: m.truncation()})
			o.Union = even(trim(w))
		case 1:
			o = rawOp{Name: "trimtrunc", Code: wire.OpTrimTrunc}
			w.SetExtent(wire.Extent{Off: m.near(), TruncateSize: m.near(), TruncateSeq: m.truncation()})
			o.Union = even(trim(w))
		}
		return o
	case 8, 9:
		// A length of 0 crashes 16.2's OSD.
		return ranged("zero", wire.OpZero, m.off(), 1+m.near(), "")
	case 10:
		o := rawOp{Name: "create", Code: wire.OpCreate}
		if m.chance(30) {
			o.Flags = wire.OpFlagExcl
		}
		return o
	case 11:
		// Of two removals in one vector, real OSDs leave some of what was there.
		if m.removed || m.rel < 20 && !m.first {
			return rawOp{Name: "create", Code: wire.OpCreate}
		}
		m.removed = true
		return rawOp{Name: "delete", Code: wire.OpDelete}
	case 12, 13:
		return m.xattr("setxattr", wire.OpSetXattr)
	case 14:
		return m.xattr("rmxattr", wire.OpRmXattr)
	case 15, 16:
		m.keyed = true
		set := map[string][]byte{}
		if m.chance(4) {
			// More than fit into an answer.
			for i := range pick(m, 70, 1023, 1024, 1025, 2100) {
				set[fmt.Sprintf("%c%04d", m.letter(), i)] = nil
			}
		}
		for range m.r.IntN(4) {
			set[m.key()] = m.value()
		}
		return named("omapset", wire.OpOmapSetVals, nil, wire.AppendOmap(nil, set))
	case 17:
		return named("omaprm", wire.OpOmapRmKeys, nil, wire.AppendStringSet(nil, m.keys()))
	case 18:
		if m.rolled {
			// BlueStore clears the keys that it had before, not those that the
			// rollback brings: they come back with the next one that is set.
			return rawOp{Name: "create", Code: wire.OpCreate}
		}
		return rawOp{Name: "omapclear", Code: wire.OpOmapClear}
	case 19:
		m.keyed = true
		return named("omapheader", wire.OpOmapSetHeader, nil, m.value())
	case 20:
		// A range that ends before it begins crashes 20.2's memstore, which unlike
		// BlueStore sees keys that the same vector has set.
		if !m.alone && m.rel != 16 {
			return rawOp{Name: "create", Code: wire.OpCreate}
		}
		k, l := m.key(), m.key()
		return named("omaprange", wire.OpOmapRmKeyRange, nil, wire.OmapRmKeyRangeInput{First: min(k, l), End: max(k, l)}.Append(nil))
	case 21:
		w := wire.Op{}
		n := 1 + m.r.IntN(600)
		w.SetWriteSame(wire.WriteSameArg{Off: m.off(), Len: uint64(n*m.r.IntN(8) + pick(m, 0, 0, 0, 1)), DataLen: uint64(n)})
		return rawOp{Name: "writesame", Code: wire.OpWriteSame, Union: even(trim(w)), Data: fill(m.letter(), n)}
	case 22:
		// With a write to a part of a stripe it crashes 20.2's OSD in erasure coded pools.
		if m.snaps == 0 || m.removed || (m.rel < 20 || m.erasure()) && !m.alone {
			return rawOp{Name: "create", Code: wire.OpCreate}
		}
		m.removed, m.rolled = true, true
		at := m.r.IntN(m.snaps)
		return rawOp{Name: "rollback", Code: wire.OpRollback, Snap: &at}
	case 23:
		w := wire.Op{}
		w.SetAllocHint(wire.AllocHint{ObjectSize: 4 << 20, WriteSize: m.near(), Flags: m.r.Uint32N(8)})
		return named("hint", wire.OpSetAllocHint, &w, nil)
	case 24:
		// Two in one vector crash 16.2's OSD. What comes before a copy is done twice,
		// and to give an omap's header a second time crashes it as well.
		if m.copied || m.asked || m.removed {
			return rawOp{Name: "create", Code: wire.OpCreate}
		}
		m.copied, m.removed = true, true
		return m.copyFrom()
	}
	w := wire.Op{}
	// Nobody pings: with a timeout of 0, which is 30 seconds, or of minutes, watches would
	// end within slow runs, in this script or in a later one of the same group, on the two
	// clusters not at quite the same time.
	a := wire.WatchArg{Cookie: 1 + m.r.Uint64N(3), Op: pick(m, wire.WatchOpWatch, wire.WatchOpWatch, wire.WatchOpUnwatch, wire.WatchOpReconnect, wire.WatchOpPing, wire.WatchOp(9)), Timeout: pick[uint32](m, 30000, 40000, 60000)}
	w.SetWatch(a)
	return named(fmt.Sprint("watch ", a.Op), wire.OpWatch, &w, nil)
}

// limit is how many keys are asked for.
func (m *maker) limit() uint64 {
	return pick(m, 0, 1, 2, 3, 5, 64, 1023, 1024, 1025, 4000, ^uint64(0), ^uint64(0), ^uint64(0))
}

// truncation numbers a truncation.
func (m *maker) truncation() uint32 {
	if !m.cuts {
		return 0
	}
	return m.r.Uint32N(5)
}

// cut says where the file ends of which an extent is a part.
func (m *maker) cut(o *rawOp, off, n uint64) {
	w := wire.Op{}
	e := wire.Extent{Off: off, Len: n, TruncateSize: m.near(), TruncateSeq: m.r.Uint32N(5)}
	if m.chance(10) {
		e.TruncateSize, e.TruncateSeq = ^uint64(0), 1 // nowhere
	}
	w.SetExtent(e)
	o.Union = even(trim(w))
}

func (m *maker) keys() []string {
	set := map[string]bool{}
	var l []string
	for range m.r.IntN(4) {
		if k := m.key(); !set[k] {
			set[k] = true
			l = append(l, k)
		}
	}
	slices.Sort(l)
	return l
}

func (m *maker) copyFrom() rawOp {
	// A copy of a clone of the same object waits for itself for ever.
	from := m.object
	for from == m.object {
		from = fmt.Sprint("o", m.r.IntN(5))
	}
	at := snapHead
	if m.snaps > 0 && m.chance(40) {
		at = m.r.IntN(m.snaps)
	}
	o := rawOp{Name: "copyfrom", Code: wire.OpCopyFrom, From: from, Snap: &at}
	if m.chance(30) {
		o.Name, o.Code = "copyfrom2", wire.OpCopyFrom2
		o.Data = pack(denc.AppendU64(denc.AppendU32(nil, 0), 0))
	}
	return o
}

func (m *maker) xattr(name string, code wire.OpCode) rawOp {
	w := wire.Op{}
	k, v := m.xname(), m.value()
	if code != wire.OpSetXattr {
		v = nil
	} else if m.chance(4) {
		n := pick(m, 1000, 4096, 65535, 65536, 65537)
		w.SetXattr(wire.XattrArg{NameLen: uint32(len(k)), ValueLen: uint32(n)})
		o := named(name, code, &w, []byte(k))
		if k != "" {
			o.Data += "+"
		}
		o.Data += fill(m.letter(), n)
		return o
	}
	w.SetXattr(wire.XattrArg{NameLen: uint32(len(k)), ValueLen: uint32(len(v))})
	return named(name, code, &w, append([]byte(k), v...))
}

// readOp makes an operation that reads.
func (m *maker) readOp() rawOp {
	switch m.r.IntN(20) {
	case 0, 1, 2:
		n := m.near() // almost 2^64 crash 16.2's OSD
		if m.chance(30) {
			n = uint64(m.r.IntN(60))
		}
		o := ranged("read", wire.OpRead, m.off(), n, "")
		if m.chance(8) {
			m.cut(&o, m.near(), m.near())
		}
		return o
	case 3:
		o := ranged("sparseread", wire.OpSparseRead, m.near(), m.near(), "")
		if m.chance(8) {
			m.cut(&o, m.near(), m.near())
		}
		return o
	case 4, 5:
		return rawOp{Name: "stat", Code: wire.OpStat}
	case 6, 7:
		return m.xattr("getxattr", wire.OpGetXattr)
	case 8:
		return rawOp{Name: "getxattrs", Code: wire.OpGetXattrs}
	case 9:
		w := wire.Op{}
		k, v := m.xname(), m.value()
		a := wire.XattrArg{NameLen: uint32(len(k)), Op: wire.CmpOp(m.r.IntN(8)), Mode: wire.CmpMode(m.r.IntN(4))}
		if a.Mode == wire.CmpModeU64 {
			v = denc.AppendU64(nil, m.r.Uint64N(20))
		}
		a.ValueLen = uint32(len(v))
		w.SetXattr(a)
		return named("cmpxattr", wire.OpCmpXattr, &w, append([]byte(k), v...))
	case 10, 11:
		// Keys that the same vector gives to an object that was not there crash
		// OSDs when they are listed, 20.2's only when keys alone are.
		if m.keyed && m.rel < 20 {
			return rawOp{Name: "stat", Code: wire.OpStat}
		}
		if m.chance(50) && !m.keyed {
			in := wire.OmapGetKeysInput{After: m.key(), Max: m.limit()}
			return named("omapkeys", wire.OpOmapGetKeys, nil, in.Append(nil))
		}
		in := wire.OmapGetValsInput{After: m.key(), Max: m.limit(), Prefix: pick(m, "", "", "k", "k1", "z")}
		return named("omapget", wire.OpOmapGetVals, nil, in.Append(nil))
	case 12:
		return named("omapbykey", wire.OpOmapGetByKeys, nil, wire.AppendStringSet(nil, m.keys()))
	case 13:
		m.asked = true
		return rawOp{Name: "omapheader?", Code: wire.OpOmapGetHeader}
	case 14:
		set := map[string]wire.OmapAssertion{}
		for range 1 + m.r.IntN(2) {
			set[m.key()] = wire.OmapAssertion{Value: m.value(), Op: wire.CmpOp(m.r.IntN(7))}
		}
		return named("omapcmp", wire.OpOmapCmp, nil, wire.AppendOmapAssertions(nil, set))
	case 15:
		w := wire.Op{}
		w.SetChecksum(wire.ChecksumArg{Off: m.near(), Len: m.near(), ChunkSize: pick[uint32](m, 0, 0, 512, 1024, 7), Type: wire.ChecksumType(m.r.IntN(4))})
		return named("checksum", wire.OpChecksum, &w, make([]byte, pick(m, 4, 4, 8, 8, 3)))
	case 16:
		n := m.size()
		if m.chance(50) && m.last.n > 0 {
			// What was written last, maybe to this object: a part of it, or beyond.
			from := m.r.IntN(m.last.n)
			n = 1 + m.r.IntN(m.last.n-from+pick(m, 0, 0, 100))
			return ranged("cmpext", wire.OpCmpExt, m.last.off+uint64(from), uint64(n), fill(m.last.letter, n))
		}
		return ranged("cmpext", wire.OpCmpExt, m.off(), uint64(n), fill(m.letter(), n))
	case 17:
		d := pick(m, -1, 0, 0, 1)
		return rawOp{Name: "assertver", Code: wire.OpAssertVer, Ver: &d}
	case 18:
		return rawOp{Name: "listwatchers", Code: wire.OpListWatchers}
	}
	return pick(m,
		ranged("mapext", wire.OpMapExt, m.near(), m.near(), ""),
		rawOp{Name: "listsnaps", Code: wire.OpListSnaps},
		rawOp{Name: "op 0x1204", Code: 0x1204},
		rawOp{Name: "isdirty", Code: 0x121b},
		rawOp{Name: "nothing", Code: 0x12f0},
	)
}
