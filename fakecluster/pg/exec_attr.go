package pg

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

var (
	nodata   = errno.ErrNoData.Result()
	canceled = errno.ErrCanceled.Result()
)

func (t *txn) stepXattr(op *wire.Op) (msgr2.Data, int32) {
	if op.Code == wire.OpGetXattrs {
		if !t.attributed() {
			return msgr2.NewData(wire.AppendOmap(nil, nil)), noent
		}
		return msgr2.NewData(wire.AppendOmap(nil, t.at.xattrs)), 0
	}
	arg := *op
	if op.Code == wire.OpGetXattr || op.Code == wire.OpRmXattr {
		a := op.Xattr()
		a.ValueLen = 0 // nobody looks at it
		arg.SetXattr(a)
	}
	name, value, ok := arg.XattrNameValue()
	if !ok {
		return msgr2.Data{}, inval
	}
	switch op.Code {
	case wire.OpGetXattr:
		if !t.stored {
			return msgr2.Data{}, noent
		}
		v, ok := t.at.xattrs[name]
		if !ok {
			return msgr2.Data{}, nodata
		}
		a := op.Xattr()
		a.ValueLen = uint32(len(v))
		op.SetXattr(a)
		return msgr2.NewData(v), 0
	case wire.OpCmpXattr:
		if !t.stored {
			return msgr2.Data{}, noent
		}
		return msgr2.Data{}, compareXattr(t.at.xattrs[name], value, op.Xattr(), t.req.Release)
	case wire.OpSetXattr:
		if len(name) > maxXattrName {
			return msgr2.Data{}, errno.ErrNameTooLong.Result() // a value has no limit
		}
		t.setXattr(name, value)
		return msgr2.Data{}, 0
	}
	if !t.o.exists {
		return msgr2.Data{}, noent
	}
	t.removeXattr(name)
	return msgr2.Data{}, 0
}

// attributed reports whether attributes can be listed. Those of erasure coded pools
// are in the OSD's memory, where an object that is not there has none.
func (t *txn) attributed() bool { return t.stored || t.req.Pool.Erasure }

// compareXattr compares the request's value with the stored one, in this order.
func compareXattr(stored, value []byte, a wire.XattrArg, release int) int32 {
	var c int
	switch a.Mode {
	case wire.CmpModeString:
		c = bytes.Compare(value, stored)
	case wire.CmpModeU64:
		r := denc.NewReader(value)
		want := r.U64()
		if r.Err() != nil {
			return inval
		}
		have, ok := leadingNumber(stored, release)
		if !ok {
			return inval
		}
		c = cmp.Compare(want, have)
	default:
		return inval
	}
	var ok bool
	switch a.Op {
	case wire.CmpEQ:
		ok = c == 0
	case wire.CmpNE:
		ok = c != 0
	case wire.CmpGT:
		ok = c > 0
	case wire.CmpGE:
		ok = c >= 0
	case wire.CmpLT:
		ok = c < 0
	case wire.CmpLE:
		ok = c <= 0
	default:
		return inval
	}
	if !ok {
		return canceled
	}
	return 1
}

// plainNumbers is the release from which on a number in an attribute begins with a
// digit and fits; without a value it is 0.
const plainNumbers = 18

// leadingNumber reads a number as OSDs do: what does not belong to it ends it.
// Those of old read it as C's atoll does.
func leadingNumber(p []byte, release int) (n uint64, ok bool) {
	if release >= plainNumbers {
		if len(p) == 0 {
			return 0, true
		}
		end := 0
		for end < len(p) && p[end] >= '0' && p[end] <= '9' {
			end++
		}
		n, err := strconv.ParseUint(string(p[:end]), 10, 64)
		return n, err == nil
	}
	s := strings.TrimLeft(string(p), " \t\n\v\f\r")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[0] == '-' || s[0] == '+')) {
		end++
	}
	v, _ := strconv.ParseInt(s[:end], 10, 64) // too large is the largest
	return uint64(v), true
}

// Limits of one answer: osd_max_omap_entries_per_request and
// osd_max_omap_bytes_per_request.
const (
	maxOmapEntries = 1024
	maxOmapBytes   = 1 << 30
)

// emptyOmapPages is the release from which on an OSD answers with no output at all
// when it lists the pairs of an object that the same vector has made; those before
// say ENOENT.
const emptyOmapPages = 20

// newOmap reports whether the object and its omap are made by this very vector.
// Within a vector that writes, an object that is not there has an empty omap; one
// that the vector has made has none yet, and cannot be listed.
func (t *txn) newOmap() bool { return !t.stored && t.now().hasOmap }

func (t *txn) stepOmapRead(op *wire.Op) (msgr2.Data, int32) {
	r := reader(op)
	switch op.Code {
	case wire.OpOmapGetKeys:
		var in wire.OmapGetKeysInput
		if in.Decode(r); r.Err() != nil {
			return msgr2.Data{}, inval
		}
		if t.newOmap() {
			return msgr2.Data{}, noent
		}
		page := t.omapPage(in.After, "", in.Max)
		out := wire.OmapGetKeysOutput{Keys: page.Keys, More: page.More}
		return msgr2.NewData(out.Append(nil)), 0
	case wire.OpOmapGetVals:
		var in wire.OmapGetValsInput
		if in.Decode(r); r.Err() != nil {
			return msgr2.Data{}, inval
		}
		switch {
		case t.newOmap() && t.req.Release >= emptyOmapPages:
			return msgr2.Data{}, 0
		case t.newOmap():
			return msgr2.Data{}, noent
		}
		page := t.omapPage(in.After, in.Prefix, in.Max)
		return msgr2.NewData(page.Append(nil)), 0
	case wire.OpOmapGetHeader:
		return msgr2.NewData(t.omap().Header), 0
	case wire.OpOmapGetByKeys:
		keys := wire.DecodeStringSet(r)
		if r.Err() != nil {
			return msgr2.Data{}, inval
		}
		m := map[string][]byte{}
		for _, k := range keys {
			if v, ok := t.omap().Get(k); ok {
				m[k] = v
			}
		}
		return msgr2.NewData(wire.AppendOmap(nil, m)), 0
	}
	return msgr2.Data{}, t.compareOmap(op)
}

// omapPage returns up to limit pairs after a key, and whether there are more.
func (t *txn) omapPage(after, prefix string, limit uint64) wire.OmapGetValsOutput {
	limit = min(limit, maxOmapEntries)
	out := wire.OmapGetValsOutput{Values: map[string][]byte{}}
	seq := t.omap().After(after)
	if prefix > after {
		seq = t.omap().From(prefix)
	}
	size := 0
	for k, v := range seq {
		if !strings.HasPrefix(k, prefix) {
			break
		}
		if uint64(len(out.Keys)) >= limit || size > maxOmapBytes {
			out.More = true
			break
		}
		out.Keys = append(out.Keys, k)
		out.Values[k] = v
		size += len(k) + len(v)
	}
	return out
}

func (t *txn) compareOmap(op *wire.Op) int32 {
	if !t.there() {
		return noent
	}
	r := reader(op)
	m := wire.DecodeOmapAssertions(r)
	if r.Err() != nil {
		return inval
	}
	if t.newOmap() {
		return noent
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		a := m[k]
		v, _ := t.omap().Get(k)
		c := bytes.Compare(v, a.Value)
		switch {
		case a.Op == wire.CmpEQ && c == 0, a.Op == wire.CmpLT && c < 0, a.Op == wire.CmpGT && c > 0:
		case a.Op == wire.CmpEQ, a.Op == wire.CmpLT, a.Op == wire.CmpGT:
			return canceled
		default:
			return inval
		}
	}
	return 0
}

func (t *txn) stepOmapWrite(op *wire.Op) int32 {
	if r := t.keyless(); r != 0 {
		return r
	}
	r := reader(op)
	switch op.Code {
	case wire.OpOmapSetVals:
		t.ensure() // before it is known what is to be set
		m := wire.DecodeOmap(r)
		if r.Err() != nil {
			return inval
		}
		t.markOmap()
		for k, v := range m {
			t.setOmap(k, v)
		}
		return 0
	case wire.OpOmapSetHeader:
		t.setOmapHeader(op.Data.Bytes())
		return 0
	}
	if !t.o.exists {
		return noent
	}
	switch op.Code {
	case wire.OpOmapClear:
		if t.o.head.hasOmap {
			t.clearOmap()
		}
	case wire.OpOmapRmKeys:
		keys := wire.DecodeStringSet(r)
		if r.Err() != nil {
			return inval
		}
		t.touch()
		for _, k := range keys {
			t.removeOmap(k)
		}
	case wire.OpOmapRmKeyRange:
		var in wire.OmapRmKeyRangeInput
		if in.Decode(r); r.Err() != nil {
			return inval
		}
		t.removeOmapRange(in.First, in.End)
	}
	return 0
}

// opScrubLs asks for what scrubs have found.
const opScrubLs wire.OpCode = 0x1507

// doPG executes an operation on the group itself.
func (g *Group) doPG(r *Request) *wire.OSDOpReply {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle(len(g.unacked))
	var result int32
	for i := range r.Op.Ops {
		op := &r.Op.Ops[i]
		var out msgr2.Data
		switch op.Code {
		case wire.OpPgnls:
			out, result = g.list(r, op, op.Data.Bytes(), nil)
		case wire.OpPgnlsFilter:
			rd := reader(op)
			if keep, e := listFilter(rd); e != 0 {
				result = e
			} else {
				out, result = g.list(r, op, rd.Raw(rd.Len()), keep)
			}
		case opScrubLs:
			// Nothing is ever found to be inconsistent: scrub_ls_result_t of version
			// (1,1) is the interval and no entries.
			b, at := denc.Begin(nil, 1, 1)
			out, result = msgr2.NewData(denc.End(denc.AppendU32(denc.AppendU32(b, r.Epoch), 0), at)), 0
		default:
			result = notsup
		}
		op.Data, op.Rval = out, 0 // only the whole has a result
		if result < 0 {
			break
		}
	}
	rep := g.reply(r, result)
	rep.UserVersion = g.userVersion
	return rep
}

// listFilter reads which objects a listing is to show: class hello's only
// filter, those whose attribute has a value; keep is nil for all.
func listFilter(r *denc.Reader) (keep func(*object) bool, result int32) {
	// What Ceph's clients call the filter's class and method says nothing; its
	// kind follows.
	_, _ = r.String(), r.String()
	switch name := r.String(); name {
	case "hello.hello", "plain":
	default:
		return nil, inval
	}
	attr, value := r.String(), r.String()
	if r.Err() != nil {
		return nil, inval
	}
	return func(o *object) bool {
		// The store's names of attributes begin with a character of its own.
		if attr == "" || attr[0] != '_' {
			return false
		}
		v, ok := o.head.xattrs[attr[1:]]
		return ok && string(v) == value
	}, 0
}

// list lists heads. What a page's size counts is what lies in the store: clones,
// and heads that the listing does not show, as well.
func (g *Group) list(r *Request, op *wire.Op, in []byte, keep func(*object) bool) (msgr2.Data, int32) {
	rd := denc.NewReader(in)
	var from wire.HObject
	if from.Decode(rd); rd.Err() != nil {
		return msgr2.Data{}, inval
	}
	if r.Op.Snap != wire.SnapHead {
		return msgr2.Data{}, inval
	}
	end := g.end(r.Pool)
	least := from == osdmap.MinHObject()
	start := wire.HObject{Pool: r.Pool.ID, Hash: g.pg.Seed}
	if !from.Max && from.Compare(end) >= 0 || !least && from.Compare(start) < 0 {
		return msgr2.Data{}, inval
	}
	limit := min(op.Pgls().Count, maxListed)
	if limit == 0 {
		none := wire.PgnlsReply{Next: from}
		return msgr2.NewData(none.Append(nil)), 0
	}
	var out wire.PgnlsReply
	var count uint64
	for at, o := range g.stored(r.Pool.ID) {
		if !least && at.Compare(from) < 0 {
			continue
		}
		if count == limit {
			out.Next = at
			return msgr2.NewData(out.Append(nil)), 0
		}
		count++
		if at.Snap == wire.SnapHead && g.listed(r, o) && (keep == nil || keep(o)) {
			out.Entries = append(out.Entries, wire.PgnlsEntry{Namespace: o.name.Namespace, Name: o.name.Object, Locator: o.name.Key})
		}
	}
	out.Next = end
	return msgr2.NewData(out.Append(nil)), 1
}

// maxListed is osd_max_pgls.
const maxListed = 1024

// stored yields all that an OSD's store holds for the group, in order: clones
// before their heads, and a head also when it was removed but has clones.
func (g *Group) stored(pool int64) iter.Seq2[wire.HObject, *object] {
	return func(yield func(wire.HObject, *object) bool) {
		for _, o := range g.inOrder() {
			at := o.position(pool).HObject
			for _, c := range o.clones {
				at.Snap = c.id
				if !yield(at, o) {
					return
				}
			}
			at.Snap = wire.SnapHead
			if !yield(at, o) {
				return
			}
		}
	}
}

// listed reports whether a listing by r shows o.
func (g *Group) listed(r *Request, o *object) bool {
	if ns := r.Op.Locator.Namespace; ns != wire.AllNamespaces && ns != o.name.Namespace {
		return false
	}
	return true // a removed head that has clones, too
}

// end returns where the group that follows in the order of hashes begins.
func (g *Group) end(p Pool) wire.HObject {
	bits := splitBits(g.pg.Seed, p.PGNum)
	rev := uint64(reverse(g.pg.Seed)) | 0xffffffff>>bits
	rev++
	if rev >= 1<<32 {
		return wire.HObject{Max: true, Pool: math.MinInt64}
	}
	return wire.HObject{Snap: wire.SnapHead, Hash: reverse(uint32(rev)), Pool: p.ID}
}
