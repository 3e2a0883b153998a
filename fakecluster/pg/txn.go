package pg

import (
	"maps"
	"math"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// txn is one operation vector in execution. Changes are made at once and
// undone when the vector fails.
type txn struct {
	g   *Group
	o   *object
	req *Request

	// at is what reads of data, attributes and omap see: a clone's content, or
	// the head as it was before the vector, for an OSD writes only when the
	// vector has succeeded. Whether the object exists, and its size, are those
	// that earlier operations have given it.
	at      *content
	onClone bool
	// existed says that the object was there before the vector, stored that the
	// OSD's store had it, be it empty and removed.
	existed, stored bool
	// durable is, for vectors that remove ranges of keys, what of the omap lay in the
	// OSD's store before: a range removes no key that the vector has brought.
	durable *store.Omap
	// sourceFailed is why what copy-from is to copy cannot be read. The vector
	// then ends without a trace.
	sourceFailed int32
	// removed is what the object was before the vector has removed it.
	removed *content
	// passes is set when the vector may be executed several times.
	passes *passes
	// index is the operation in execution, lastReader the last one that reads.
	index, lastReader int
	// nested is how many operations class methods have done.
	nested int

	changed    bool      // something is to be logged
	copied     uint64    // user version of what was copied
	copiedTime denc.Time // and when it was changed
	visible    bool      // and users see it: the user version rises
	quiet      bool      // the operation in execution is nothing that users see
	next       *clone    // what the snap context demands, made when the vector has succeeded
	keeps      bool      // the operation in execution leaves the result of the one before it
	before     uint64    // the head's size before the vector
	modified   store.Ranges
	undo       []func()

	dataSaved, attrsSaved, headSaved bool

	effects    effects
	registered map[watchKey]bool // see watchers
}

func (t *txn) rollback() {
	for _, f := range slices.Backward(t.undo) {
		f()
	}
	t.undo = nil
}

// abandon undoes the vector and what it would have had others hear.
func (t *txn) abandon() {
	t.rollback()
	for _, n := range t.effects.notifies {
		n.timer()
	}
}

// now is the state with the vector's changes so far.
func (t *txn) now() *content {
	if t.onClone {
		return t.at
	}
	return &t.o.head
}

// size is the size that reads take the object to have.
func (t *txn) size() uint64 { return t.now().data.Size() }

// readData reads within the object's present size what was there before.
func (t *txn) readData(off, n uint64) msgr2.Data {
	size := t.size()
	if off >= size {
		return msgr2.Data{}
	}
	return t.at.data.Read(off, min(n, size-off))
}

// omap is what reads of the omap see: what was there before, unless the vector
// has cleared it and set nothing since.
func (t *txn) omap() *store.Omap {
	if !t.now().hasOmap {
		return &store.Omap{}
	}
	return &t.at.omap
}

// touch comes before every change: it makes the clone that the snap context
// demands, and keeps what undoing needs.
func (t *txn) touch() {
	t.changed = true
	t.visible = t.visible || !t.quiet
	if t.headSaved {
		return
	}
	t.headSaved = true
	o := t.o
	exists, whiteout, head := o.exists, o.whiteout, o.head
	t.undo = append(t.undo, func() {
		h := &o.head
		o.exists, o.whiteout, h.mtime, h.version, h.hasOmap = exists, whiteout, head.mtime, head.version, head.hasOmap
		h.truncSeq, h.truncSize = head.truncSeq, head.truncSize
	})
	if t.at == &o.head && t.lastReader >= t.index {
		before := content{version: head.version, mtime: head.mtime}
		if exists {
			before = o.head.clone()
		}
		t.at = &before
	}
	if t.durable != nil {
		*t.durable = o.head.omap.Clone()
	}
	t.prepareClone()
}

// prepareClone keeps the head as it was, to be a clone, when the write's snap
// context has a snapshot that the object has not seen.
func (t *txn) prepareClone() {
	o, sc := t.o, t.req.snapc(t.o)
	if !t.existed || len(sc.Snaps) == 0 || sc.Snaps[0] <= o.seq {
		return
	}
	c := &clone{id: sc.Seq}
	for _, s := range sc.Snaps {
		if s > o.seq {
			c.snaps = append(c.snaps, s)
		}
	}
	c.overlap = store.Ranges{}.Add(0, o.head.data.Size())
	c.content = o.head.clone()
	t.next = c
}

// makeClone makes the clone, if there is to be one, and notes which snapshots the
// object has seen.
func (t *txn) makeClone() {
	o, seq := t.o, t.o.seq
	t.undo = append(t.undo, func() { o.seq = seq })
	if t.next != nil {
		o.clones = append(o.clones, t.next)
		t.undo = append(t.undo, func() { o.clones = o.clones[:len(o.clones)-1] })
	}
	o.seq = max(o.seq, t.req.snapc(o).Seq)
}

func (c *content) clone() content {
	n := *c
	n.data = c.data.Clone()
	n.omap = c.omap.Clone()
	n.xattrs = maps.Clone(c.xattrs)
	return n
}

// create makes the head if it is not there. It counts as a change in any case.
func (t *txn) create() {
	t.touch()
	t.o.exists, t.o.whiteout = true, false
}

// ensure makes the head if it is not there. Of one that was removed but is still in
// the store only the mark goes, which alone is no change.
func (t *txn) ensure() {
	switch o := t.o; {
	case o.exists:
	case o.whiteout:
		t.undo = append(t.undo, func() { o.exists, o.whiteout = false, true })
		o.exists, o.whiteout = true, false
	default:
		t.create()
	}
}

func (t *txn) saveData() {
	if t.dataSaved {
		return
	}
	t.dataSaved = true
	o, old := t.o, t.o.head.data.Saved()
	t.undo = append(t.undo, func() { o.head.data = old })
}

func (t *txn) write(off uint64, d msgr2.Data) {
	t.create()
	t.saveData()
	t.o.head.data.Write(off, d)
	t.modified = t.modified.Add(off, uint64(d.Len()))
}

func (t *txn) truncate(size uint64) {
	t.touch()
	t.saveData()
	old := t.o.head.data.Size()
	if size < old {
		t.modified = t.modified.Add(size, old-size)
	}
	t.o.head.data.Truncate(size)
}

func (t *txn) zero(off, n uint64) {
	t.touch()
	t.saveData()
	if size := t.o.head.data.Size(); off < size {
		n = min(n, size-off)
		t.o.head.data.Zero(off, n)
		t.modified = t.modified.Add(off, n)
	}
}

// remove removes the head: while there are clones, or when there are newer
// snapshots, an empty one stays in the store.
func (t *txn) remove() int32 {
	o, sc := t.o, t.req.snapc(t.o)
	whiteout := len(o.clones) > 0 || len(sc.Snaps) > 0 && sc.Snaps[0] > o.seq
	if !o.exists && (!o.whiteout || whiteout) {
		return noent
	}
	t.touch()
	t.saveData()
	t.saveAttrs()
	t.saveOmap()
	t.modified = t.modified.Add(0, o.head.data.Size())
	if t.existed && t.removed == nil {
		old := o.head.clone()
		t.removed = &old
	}
	o.exists, o.whiteout = false, whiteout
	o.head.data, o.head.omap, o.head.xattrs = store.Bytes{}, store.Omap{}, nil
	if t.durable != nil {
		*t.durable = store.Omap{}
	}
	t.unwatchAll()
	return 0
}

func (t *txn) saveAttrs() {
	if t.attrsSaved {
		return
	}
	t.attrsSaved = true
	o, old := t.o, t.o.head.xattrs
	t.undo = append(t.undo, func() { o.head.xattrs = old })
	o.head.xattrs = maps.Clone(old)
	if o.head.xattrs == nil {
		o.head.xattrs = map[string][]byte{}
	}
}

func (t *txn) setXattr(name string, v []byte) {
	t.create()
	t.saveAttrs()
	if t.o.head.xattrs == nil {
		t.o.head.xattrs = map[string][]byte{}
	}
	t.o.head.xattrs[name] = slices.Clone(v)
}

func (t *txn) removeXattr(name string) {
	t.touch()
	t.saveAttrs()
	delete(t.o.head.xattrs, name)
}

// saveOmap keeps the whole omap for undoing; single keys are undone one by one.
func (t *txn) saveOmap() {
	o, old := t.o, t.o.head.omap.Clone()
	t.undo = append(t.undo, func() { o.head.omap = old })
}

func (t *txn) setOmap(key string, v []byte) {
	t.markOmap()
	o := t.o
	old, had := o.head.omap.Get(key)
	t.undo = append(t.undo, func() {
		if had {
			o.head.omap.Set(key, old)
		} else {
			o.head.omap.Remove(key)
		}
	})
	o.head.omap.Set(key, slices.Clone(v))
}

func (t *txn) removeOmap(key string) {
	t.touch()
	o := t.o
	if old, had := o.head.omap.Get(key); had {
		t.undo = append(t.undo, func() { o.head.omap.Set(key, old) })
		o.head.omap.Remove(key)
	}
}

func (t *txn) setOmapHeader(v []byte) {
	t.markOmap()
	o, old := t.o, t.o.head.omap.Header
	t.undo = append(t.undo, func() { o.head.omap.Header = old })
	o.head.omap.Header = slices.Clone(v)
}

// markOmap makes an object that counts as one with an omap.
func (t *txn) markOmap() {
	t.create()
	t.o.head.hasOmap = true
}

func (t *txn) clearOmap() {
	t.touch()
	t.saveOmap()
	t.o.head.omap.Clear()
	t.o.head.hasOmap = false
}

func (t *txn) removeOmapRange(first, end string) {
	t.touch()
	if t.durable == nil {
		t.saveOmap()
		t.o.head.omap.RemoveRange(first, end)
		return
	}
	for k := range t.durable.From(first) {
		if k >= end {
			break
		}
		t.removeOmap(k)
	}
}

// replace makes the head equal to c.
func (t *txn) replace(c content) {
	t.create()
	t.saveData()
	t.saveAttrs()
	t.saveOmap()
	h := &t.o.head
	h.data, h.omap, h.xattrs, h.hasOmap = c.data, c.omap, c.xattrs, c.hasOmap
	h.truncSeq, h.truncSize = c.truncSeq, c.truncSize
}

// grew reports whether the vector takes space, as an OSD counts: there is an
// object more, or it is larger than before. A head that was removed while clones
// stay still counts as one.
func (t *txn) grew() bool { return !t.stored && t.o.stored() || t.o.head.data.Size() > t.before }

// commit seals a vector that succeeded. What can undo it is for Group.hold.
func (t *txn) commit() {
	o := t.o
	t.makeClone()
	delete(t.g.trimmed, o.name)
	if n := len(o.clones); n > 0 {
		last := o.clones[n-1]
		overlap := last.overlap
		t.undo = append(t.undo, func() { last.overlap = overlap })
		last.overlap = last.overlap.Subtract(t.modified)
	}
	t.g.version++
	if t.next != nil {
		t.g.version++ // a clone has an entry of its own in an OSD's log
	}
	switch {
	case t.copied > 0 && !t.visible:
		o.head.version = t.copied
		t.g.userVersion = max(t.g.userVersion, t.copied)
	case t.visible:
		// Not below the version in the log, which is all that old clients see.
		t.g.userVersion = max(max(t.g.userVersion, o.head.version, t.copied)+1, t.g.version)
		o.head.version = t.g.userVersion
	}
	switch {
	case t.copied > 0:
		o.head.mtime = t.copiedTime
	case !t.req.Op.ModTime.IsZero():
		o.head.mtime = t.req.Op.ModTime
	}
	if !o.stored() {
		o.head.truncSeq, o.head.truncSize, o.head.hasOmap = 0, 0, false
	}
}

// resolve finds what a snapshot id means, by what was there before the vector: the
// head (head is true), a clone, or nothing.
func (t *txn) resolve(snap uint64) (c *clone, head, ok bool) {
	o := t.o
	if snap == wire.SnapHead || snap > o.seq {
		return nil, true, t.existed
	}
	for _, c := range o.clones {
		if c.id >= snap {
			gone := t.req.Pool.Removed != nil && t.req.Pool.Removed(snap)
			return c, false, slices.Contains(c.snaps, snap) && !gone
		}
	}
	return nil, false, false
}

// rollbackTo makes the head what it was at a snapshot.
func (t *txn) rollbackTo(snap uint64) int32 {
	c, head, ok := t.resolve(snap)
	switch {
	case head && ok:
		t.touch() // nothing changes, but it counts as a write
		return 0
	case !ok:
		for _, w := range t.o.watches {
			if !w.hidden {
				return errno.ErrBusy.Result()
			}
		}
		t.remove()
		return 0
	}
	// What is equal from the clone up to the head needs no mark.
	o := t.o
	t.touch()
	same := store.Ranges{{Off: 0, Len: math.MaxUint64}}
	for _, k := range o.clones {
		if k.id >= snap {
			same = same.Intersect(k.overlap)
		}
	}
	size := o.head.data.Size()
	t.modified = append(store.Ranges(nil), t.modified...)
	for _, r := range (store.Ranges{{Off: 0, Len: size}}).Subtract(same) {
		t.modified = t.modified.Add(r.Off, r.Len)
	}
	seq, to := o.head.truncSeq, o.head.truncSize
	t.replace(c.content.clone())
	o.head.truncSeq, o.head.truncSize = seq, to
	return 0
}
