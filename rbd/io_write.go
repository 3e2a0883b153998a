package rbd

import (
	"context"
	"errors"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// WriteAt writes p at byte off of the image. p must not change until it
// returns. A write that reaches beyond the end is refused as a whole.
func (img *Image) WriteAt(ctx context.Context, p []byte, off uint64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := img.WriteData(ctx, off, msgr2.NewData(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteData writes d at byte off of the image without copying it. It returns
// when the data is safe on all replicas.
func (img *Image) WriteData(ctx context.Context, off uint64, d msgr2.Data) error {
	n := uint64(d.Len())
	if n == 0 {
		return nil
	}
	for {
		err := img.tryWrite(ctx, off, d)
		if !errors.Is(err, errSpoiled) {
			return err
		}
	}
}

// tryWrite is WriteData unless the journal has to be replayed first.
func (img *Image) tryWrite(ctx context.Context, off uint64, d msgr2.Data) error {
	h, err := img.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer img.gate.Leave()
	n := uint64(d.Len())
	if err := h.inBounds(off, n); err != nil {
		return err
	}
	if o := img.journal.Load(); o != nil {
		err = o.write(ctx, off, d, func(d msgr2.Data) error { return img.writeObjects(ctx, h, off, d) })
	} else {
		err = img.writeObjects(ctx, h, off, d)
	}
	if err != nil {
		return fmt.Errorf("write %d~%d to image %s: %w", off, n, h.name, err)
	}
	img.touchModifyTime(h)
	return nil
}

// writeObjects writes to all objects that hold bytes from off on.
func (img *Image) writeObjects(ctx context.Context, h *header, off uint64, d msgr2.Data) error {
	ws := splitWrite(h.layout, off, d)
	if len(ws) == 1 {
		return img.writeObject(ctx, h, &ws[0])
	}
	return img.parallel(ctx, uint64(len(ws)), func(ctx context.Context, i uint64) error {
		return img.writeObject(ctx, h, &ws[i])
	})
}

// Discard tells that bytes off~n are no longer needed. Whole objects go away,
// and the ends that do not fill rbd_discard_granularity_bytes are left as they
// are.
func (img *Image) Discard(ctx context.Context, off, n uint64) error {
	return img.discard(ctx, off, n, img.discardGranularity)
}

// WriteZeroes makes bytes off~n read as zeros, exactly.
func (img *Image) WriteZeroes(ctx context.Context, off, n uint64) error {
	return img.discard(ctx, off, n, 0)
}

func (img *Image) discard(ctx context.Context, off, n, granularity uint64) error {
	if n == 0 {
		return nil
	}
	ev := jwire.Event{Type: jwire.EventDiscard, Offset: off, Length: n, SkipPartial: granularity > 0, Granularity: uint32(granularity)}
	err := img.special(ctx, ev, func(h *header) (changed bool, err error) {
		exts := discardExtents(h.layout, off, n, granularity)
		return len(exts) > 0, img.parallel(ctx, uint64(len(exts)), func(ctx context.Context, i uint64) error {
			return img.discardObject(ctx, h, exts[i].Object, exts[i].Off, exts[i].Len)
		})
	})
	if err != nil {
		return fmt.Errorf("discard %d~%d of image %s: %w", off, n, img.Name(), err)
	}
	return nil
}

// beginWrite makes sure that the image may be written to: not read-only, the
// exclusive lock ours if there is one, writes not blocked. It returns the header
// to write by; the caller leaves the gate when it is done.
func (img *Image) beginWrite(ctx context.Context) (*header, error) {
	for {
		if err := img.writable(); err != nil {
			return nil, err
		}
		if err := img.recoverJournal(ctx); err != nil {
			return nil, err
		}
		if err := img.ensureLock(ctx); err != nil {
			return nil, err
		}
		if err := img.gate.Enter(ctx); err != nil {
			return nil, err
		}
		h := img.header()
		if err := img.writable(); err != nil {
			img.gate.Leave()
			return nil, err
		}
		// The lock may have gone between the check and the gate; once inside, it
		// cannot be given away.
		if img.replaying(ctx) || !h.has(FeatureExclusiveLock) || img.LockOwned() && !img.journalSpoiled() {
			return h, nil
		}
		img.gate.Leave()
	}
}

// part is a piece of a write to one object.
type part struct {
	off  uint64
	data msgr2.Data
}

// objectWrite is all that one write does to one object.
type objectWrite struct {
	obj   uint64
	parts []part
	one   [1]part
}

// splitWrite cuts a write into one objectWrite per object.
func splitWrite(l layout.Layout, off uint64, d msgr2.Data) []objectWrite {
	n := uint64(d.Len())
	var ws []objectWrite
	index := map[uint64]int(nil)
	for e := range l.Map(off, n) {
		p := part{e.Off, d}
		if e.Len != n {
			p.data = d.Slice(int(e.Buf), int(e.Len))
		}
		if l.Striped() {
			if index == nil {
				index = make(map[uint64]int)
			}
			if i, ok := index[e.Object]; ok {
				w := &ws[i]
				if last := &w.parts[len(w.parts)-1]; last.off+uint64(last.data.Len()) == p.off {
					last.data.AppendData(p.data)
				} else {
					w.parts = append(w.parts, p)
				}
				continue
			}
			index[e.Object] = len(ws)
			ws = append(ws, objectWrite{obj: e.Object, parts: []part{p}})
			continue
		}
		ws = append(ws, objectWrite{obj: e.Object, one: [1]part{p}})
		w := &ws[len(ws)-1]
		w.parts = nil // read through pieces: one would move with the slice
	}
	return ws
}

// pieces returns the write's parts in ascending order.
func (w *objectWrite) pieces() []part {
	if w.parts == nil {
		return w.one[:]
	}
	return w.parts
}

// covers reports whether the write replaces the whole object.
func (w *objectWrite) covers(size uint64) bool {
	p := w.pieces()
	return len(p) == 1 && p[0].off == 0 && uint64(p[0].data.Len()) == size
}

// addTo puts the write into op.
func (w *objectWrite) addTo(op *rados.Op) {
	for _, p := range w.pieces() {
		op.Write(p.off, p.data)
	}
}

// discardExtents returns the object ranges that a discard touches, shrunk to
// the granularity (bytes, a power of 2; 0: exact), as librbd does
// (src/librbd/io/ImageRequest.cc): where a block is a whole object, what reaches to
// the object's end goes, too.
func discardExtents(l layout.Layout, off, n, granularity uint64) []layout.Extent {
	g := min(granularity, l.ObjectSize())
	byObject := map[uint64]int{}
	var merged []layout.Extent
	for e := range l.Map(off, n) {
		if i, ok := byObject[e.Object]; ok && merged[i].Off+merged[i].Len == e.Off {
			merged[i].Len += e.Len
			continue
		}
		byObject[e.Object] = len(merged)
		merged = append(merged, e)
	}
	if g <= 1 {
		return merged
	}
	out := merged[:0]
	for _, e := range merged {
		if e.Off+e.Len == l.ObjectSize() && g == l.ObjectSize() {
			out = append(out, e) // cutting an object's tail off is no matter of blocks
			continue
		}
		end := (e.Off + e.Len) / g * g
		start := (e.Off + g - 1) / g * g
		if start < end {
			e.Off, e.Len = start, end-start
			out = append(out, e)
		}
	}
	return out
}

// writeObject writes to one object, with copy-up from the parent if it has to.
func (img *Image) writeObject(ctx context.Context, h *header, w *objectWrite) error {
	m := img.headMap()
	known := true // the object may exist
	if m != nil {
		leave, existed, err := m.beginWrite(ctx, w.obj)
		if err != nil {
			return err
		}
		defer leave()
		known = existed
	}
	overlap := h.headOverlap(w.obj)
	guard := len(overlap) > 0 && !(w.covers(h.layout.ObjectSize()) && len(h.snapIDs) == 0)
	if guard && !known {
		return img.copyup(ctx, h, w.obj, overlap, w.addTo)
	}
	op := rados.NewOp()
	if guard {
		op.AssertExists()
	}
	img.hint(op, h)
	w.addTo(op)
	err := h.dataIO.Operate(ctx, h.objectName(w.obj), op)
	if guard && errors.Is(err, rados.ErrNotFound) {
		return img.copyup(ctx, h, w.obj, overlap, w.addTo)
	}
	return err
}

// hint adds the allocation hint that librbd sends with writes.
func (img *Image) hint(op *rados.Op, h *header) {
	if img.allocHint {
		op.SetAllocHint(h.layout.ObjectSize(), h.layout.ObjectSize(), img.allocFlags)
	}
}

// discardObject makes a range of an object read as zeros by the cheapest means:
// removing the object, truncating it, or punching a hole.
func (img *Image) discardObject(ctx context.Context, h *header, obj, off, n uint64) error {
	size := h.layout.ObjectSize()
	overlap := h.headOverlap(obj)
	whole := off == 0 && n >= size
	if whole && len(overlap) == 0 {
		return img.removeObject(ctx, h, obj)
	}
	m := img.headMap()
	known := true
	if m != nil {
		if t := img.trustedMap(); t != nil && len(overlap) == 0 && !t.mayExist(obj) {
			return nil
		}
		leave, existed, err := m.beginWrite(ctx, obj)
		if err != nil {
			return err
		}
		defer leave()
		known = existed
	}
	add := func(op *rados.Op) {
		switch {
		case whole:
			op.Create(false) // an empty object hides the parent
			op.Truncate(0)
		case off+n >= size:
			op.Truncate(off)
		default:
			op.Zero(off, n)
		}
	}
	guard := len(overlap) > 0 && !(whole && len(h.snapIDs) == 0)
	if guard && !known {
		return img.copyup(ctx, h, obj, overlap, add)
	}
	op := rados.NewOp()
	if guard {
		op.AssertExists()
	}
	add(op)
	err := h.dataIO.Operate(ctx, h.objectName(obj), op)
	switch {
	case guard && errors.Is(err, rados.ErrNotFound):
		return img.copyup(ctx, h, obj, overlap, add)
	case errors.Is(err, rados.ErrNotFound):
		return nil
	}
	return err
}

// removeObject deletes an object of the head, which no parent shines through.
func (img *Image) removeObject(ctx context.Context, h *header, obj uint64) error {
	m := img.headMap()
	if m == nil {
		return ignoreNotFound(h.dataIO.Remove(ctx, h.objectName(obj)))
	}
	leave, err := m.beginRemove(ctx, obj, obj+1)
	if err != nil {
		return err
	}
	if leave == nil {
		if img.trustedMap() != nil {
			return nil
		}
		return ignoreNotFound(h.dataIO.Remove(ctx, h.objectName(obj)))
	}
	err = ignoreNotFound(h.dataIO.Remove(ctx, h.objectName(obj)))
	if err == nil {
		err = m.set(ctx, obj, obj+1, objectmap.Nonexistent, objectmap.Pending)
	}
	leave()
	return err
}

// ignoreNotFound turns ErrNotFound into nil.
func ignoreNotFound(err error) error {
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	return err
}

// Flush returns when all writes that were under way when it was called are
// safe. Writes are safe when they return, so it only waits; a journal is told.
func (img *Image) Flush(ctx context.Context) error {
	if img.ReadOnly() {
		return nil
	}
	if err := img.gate.Enter(ctx); err != nil {
		return err
	}
	var err error
	if o := img.journal.Load(); o != nil && !o.spoiled.Load() {
		if err = o.flush(ctx); errors.Is(err, errSpoiled) {
			err = nil // nothing is safer for it
		}
	}
	img.gate.Leave()
	if err != nil {
		return fmt.Errorf("flush image %s: %w", img.Name(), err)
	}
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	img.gate.Unblock()
	return nil
}
