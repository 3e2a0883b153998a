package rbd

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/diff"
)

// DiffExtent is a range of the image in bytes that differs. Exists false means
// that it reads as zeros now.
type DiffExtent struct {
	Off, Len uint64
	Exists   bool
}

// DiffOptions says what Diff compares.
type DiffOptions struct {
	// From and To are snapshot ids; From 0 is the beginning of time, To 0 what
	// the image was opened at.
	From, To uint64
	// WholeObject reports whole objects, from the object maps alone where they
	// are valid.
	WholeObject bool
	// IncludeParent counts what shines through from the parent as the image's
	// own when From is 0.
	IncludeParent bool
	// Off and Len limit the comparison; Len 0 is to the end.
	Off, Len uint64
}

// Diff calls fn for every range that differs between two points, in ascending
// order for images without striping. Ranges may be reported that turn out equal,
// never the other way round. It uses fast-diff to skip unchanged objects. fn's
// error ends it.
func (img *Image) Diff(ctx context.Context, o DiffOptions, fn func(DiffExtent) error) error {
	if o.To == 0 {
		o.To = img.snapID
	}
	h := img.header()
	size, err := h.sizeAt(o.To)
	if err != nil {
		return err
	}
	if o.From != 0 && o.From > o.To {
		return fmt.Errorf("snapshot %d is younger than %d: %w", o.From, o.To, rados.ErrInvalid)
	}
	delta, err := img.ObjectDelta(ctx, o.From, o.To)
	if err != nil {
		return err
	}
	if !delta.FastDiff {
		img.log.Info("fast-diff cannot be used", "reason", delta.Reason)
	}
	end := size
	if o.From != 0 {
		// What was cut off is not part of the image at To.
		end = size
	}
	if o.Len > 0 {
		end = min(end, o.Off+o.Len)
	}
	w := differ{img: img, h: h, o: o, delta: delta, off: min(o.Off, end), end: end}
	if err := w.run(ctx, fn); err != nil {
		return fmt.Errorf("compare image %s: %w", h.name, err)
	}
	// From here on what was found is only kept if both ends still exist.
	return img.SnapshotsExist(ctx, o.From, o.To)
}

// differ compares an image object by object.
type differ struct {
	img      *Image
	h        *header
	o        DiffOptions
	delta    *Delta
	off, end uint64 // bytes of the image
}

// run goes over the objects in batches, several at once, and reports in order.
func (w *differ) run(ctx context.Context, fn func(DiffExtent) error) error {
	l := w.h.layout
	if w.off >= w.end {
		return nil
	}
	set := l.StripeCount()
	period := set << l.Order()
	first, last := w.off/period*set, (w.end-1)/period*set+set
	last = min(last, l.Objects(w.end))
	batch := max(256/set, 1) * set
	for at := first; at < last; at += batch {
		n := min(batch, last-at)
		found := make([][]DiffExtent, n)
		err := forEach(ctx, at, n, w.img.depth, nil, func(ctx context.Context, obj uint64) error {
			ds, err := w.object(ctx, obj)
			found[obj-at] = ds
			return err
		})
		if err != nil {
			return err
		}
		// Ranges are joined within a set of objects, which is how librbd reports
		// them.
		for objects := range slices.Chunk(found, int(set)) {
			all := slices.Concat(objects...)
			slices.SortFunc(all, func(a, b DiffExtent) int { return cmp.Compare(a.Off, b.Off) })
			for _, d := range mergeExtents(all) {
				if err := fn(d); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// mergeExtents joins ranges that follow each other.
func mergeExtents(ds []DiffExtent) []DiffExtent {
	out := ds[:0]
	for _, d := range ds {
		if n := len(out); n > 0 && out[n-1].Off+out[n-1].Len == d.Off && out[n-1].Exists == d.Exists {
			out[n-1].Len += d.Len
			continue
		}
		out = append(out, d)
	}
	return out
}

// object returns the ranges of the image in which one object differs.
func (w *differ) object(ctx context.Context, obj uint64) ([]DiffExtent, error) {
	l := w.h.layout
	state := w.delta.At(obj)
	fast := w.delta.FastDiff
	if fast && state == ObjectSame {
		return nil, nil
	}
	if fast && state == ObjectHole {
		return w.parentRanges(ctx, obj)
	}
	if fast && w.o.WholeObject {
		return w.clip(obj, diff.Upto(l.ObjectSize()), state == ObjectChanged), nil
	}
	set, err := listSnaps(ctx, w.h.dataIO, w.h.objectName(obj))
	if err != nil {
		return nil, err
	}
	if set == nil {
		return w.parentRanges(ctx, obj)
	}
	c := set.Between(w.o.From, w.o.To)
	if !c.Existed && !c.Exists {
		return w.parentRanges(ctx, obj)
	}
	if c.Same() {
		return nil, nil
	}
	if w.o.WholeObject {
		return w.clip(obj, diff.Upto(l.ObjectSize()), c.Exists), nil
	}
	changed := c.Changed
	if c.Exists && !c.Existed && w.o.From != 0 && len(w.h.overlapAt(w.o.From, obj)) > 0 {
		// A copy-up: all of the object may differ from what the parent showed.
		changed = diff.Upto(l.ObjectSize())
	}
	there := changed.Intersect(diff.Upto(c.Size))
	out := w.clip(obj, there, true)
	gone := changed.Minus(there)
	if c.Existed && c.Exists && c.OldSize > c.Size {
		gone = gone.Union(diff.Of(diff.Range{Off: c.Size, Len: c.OldSize - c.Size}))
	}
	out = append(out, w.clip(obj, gone, false)...)
	slices.SortFunc(out, func(a, b DiffExtent) int {
		if a.Off < b.Off {
			return -1
		}
		return 1
	})
	return out, nil
}

// parentRanges returns the ranges in which an object that never existed shows
// the parent's data, when those count.
func (w *differ) parentRanges(ctx context.Context, obj uint64) ([]DiffExtent, error) {
	if !w.o.IncludeParent || w.o.From != 0 {
		return nil, nil
	}
	ranges := w.h.overlapAt(w.o.To, obj)
	if len(ranges) == 0 {
		return nil, nil
	}
	p := w.h.parentAt(w.o.To)
	parent, err := w.img.parentImage(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []DiffExtent
	for _, r := range ranges {
		lo, hi := max(r.Off, w.off), min(r.End(), w.end)
		if lo >= hi {
			continue
		}
		o := DiffOptions{To: p.SnapID, WholeObject: w.o.WholeObject, IncludeParent: true, Off: lo, Len: hi - lo}
		err := parent.Diff(ctx, o, func(d DiffExtent) error {
			if d.Exists {
				out = append(out, d)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// clip turns ranges of an object into ranges of the image within the limits.
func (w *differ) clip(obj uint64, set diff.Set, exists bool) []DiffExtent {
	var out []DiffExtent
	for _, r := range set {
		for ir := range w.h.layout.Image(obj, r.Off, min(r.Len, w.h.layout.ObjectSize()-min(r.Off, w.h.layout.ObjectSize()))) {
			if lo, hi := max(ir.Off, w.off), min(ir.End(), w.end); lo < hi {
				out = append(out, DiffExtent{Off: lo, Len: hi - lo, Exists: exists})
			}
		}
	}
	return out
}
