package rbd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

// Export writes the image to w: in format 1 its bytes as opened, zeros included
// (left out as holes if w is a file), in format 2 its properties, all of the
// user's snapshots and the head, whatever it was opened at, as
// `rbd export --export-format 2` does.
func Export(ctx context.Context, img *Image, w io.Writer, format int, p Progress) error {
	var err error
	switch format {
	case 1:
		err = exportRaw(ctx, img, w, p)
	case 2:
		err = exportV2(ctx, img, w, p)
	default:
		err = fmt.Errorf("format %d: %w", format, rados.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("export image %s: %w", img.Name(), err)
	}
	return nil
}

// readAhead reads ranges of the image at a snapshot, several at once, and hands
// them over in the order in which they were asked for.
type readAhead struct {
	ctx    context.Context
	cancel context.CancelFunc
	img    *Image
	snap   uint64
	depth  int
	fn     func(DiffExtent, msgr2.Data) error
	// eager, if it is not nil, takes what was read at once and in any order; fn is
	// told of the range then, without its data.
	eager func(DiffExtent, msgr2.Data) error
	queue []pendingRead
}

type pendingRead struct {
	e    DiffExtent
	done chan readResult // nil: nothing to read
}

type readResult struct {
	d   msgr2.Data
	err error
}

func (img *Image) newReadAhead(ctx context.Context, snap uint64, fn func(DiffExtent, msgr2.Data) error) *readAhead {
	r := &readAhead{img: img, snap: snap, depth: img.managementDepth(), fn: fn}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// add starts to read a range and hands over what must make room for it.
func (r *readAhead) add(e DiffExtent) error {
	p := pendingRead{e: e}
	if e.Exists {
		p.done = make(chan readResult, 1)
		go func() {
			d, err := r.img.ReadSnap(r.ctx, r.snap, e.Off, e.Len)
			if err == nil && r.eager != nil {
				err = r.eager(e, d)
				d = msgr2.Data{}
			}
			p.done <- readResult{d, err}
		}()
	}
	r.queue = append(r.queue, p)
	if len(r.queue) > r.depth {
		return r.next()
	}
	return nil
}

// next hands over the oldest range.
func (r *readAhead) next() error {
	p := r.queue[0]
	r.queue = r.queue[1:]
	var got readResult
	if p.done != nil {
		got = <-p.done
	}
	if got.err != nil {
		return got.err
	}
	return r.fn(p.e, got.d)
}

// finish hands over what is left, unless err ended the work, and waits for all
// reads.
func (r *readAhead) finish(err error) error {
	for err == nil && len(r.queue) > 0 {
		err = r.next()
	}
	r.cancel()
	for _, p := range r.queue {
		if p.done != nil {
			<-p.done
		}
	}
	return err
}

// period returns the size in bytes of a set of objects, which a stream's
// records do not exceed.
func (img *Image) period() uint64 {
	l := img.header().layout
	return l.ObjectSize() * l.StripeCount()
}

// chunks cuts a range at the borders of object sets.
func (img *Image) chunks(d DiffExtent, fn func(DiffExtent) error) error {
	step := img.period()
	for d.Len > 0 {
		n := min(d.Len, step-d.Off%step)
		if err := fn(DiffExtent{d.Off, n, d.Exists}); err != nil {
			return err
		}
		d.Off, d.Len = d.Off+n, d.Len-n
	}
	return nil
}

// sparseFile is a file in which holes can be left.
type sparseFile interface {
	io.WriterAt
	Truncate(size int64) error
}

func exportRaw(ctx context.Context, img *Image, w io.Writer, p Progress) error {
	size := img.Size()
	file, sparse := w.(sparseFile)
	r := img.newReadAhead(ctx, img.snapID, func(e DiffExtent, d msgr2.Data) error {
		if p != nil {
			p(e.Off, size)
		}
		for part := range d.Parts() {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	if sparse {
		r.eager = func(e DiffExtent, d msgr2.Data) error { return writeSparse(file, int64(e.Off), d) }
	}
	err := r.finish(img.chunks(DiffExtent{0, size, true}, r.add))
	if err == nil && sparse {
		err = file.Truncate(int64(size))
	}
	return err
}

// writeSparse writes data at an offset; zeros are left a hole.
func writeSparse(file sparseFile, at int64, d msgr2.Data) error {
	if isZero(d) {
		return nil
	}
	for part := range d.Parts() {
		n, err := file.WriteAt(part, at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

func exportV2(ctx context.Context, img *Image, w io.Writer, p Progress) error {
	h := img.header()
	s := newStreamWriter(w, 2)
	s.raw([]byte(bannerImage2))
	s.tag(tagOrder, 8)
	s.u64(uint64(h.layout.Order()))
	s.tag(tagFeatures, 8)
	s.u64(h.features)
	s.tag(tagUnit, 8)
	s.u64(h.layout.StripeUnit())
	s.tag(tagCount, 8)
	s.u64(h.layout.StripeCount())
	meta, err := img.Metadata(ctx)
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		s.tag(tagMeta, uint64(8+len(k)+len(meta[k])))
		s.text(k)
		s.text(string(meta[k]))
	}
	s.raw([]byte{tagImageEnd})
	s.raw([]byte(bannerDiffs2))
	var points []Snapshot
	for _, sn := range img.Snapshots() {
		if isUser(sn.Namespace) {
			points = append(points, sn)
		}
	}
	s.u64(uint64(len(points) + 1))
	from := Snapshot{}
	for i := range points {
		if err := img.exportDiff(ctx, s, from, points[i].ID, false, nil); err != nil {
			return err
		}
		if p != nil {
			p(uint64(i), uint64(len(points)+1))
		}
		from = points[i]
	}
	if err := img.exportDiff(ctx, s, from, NoSnap, false, nil); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if p != nil {
		p(1, 1)
	}
	return nil
}

// ExportDiff writes what changed since the snapshot from ("": the beginning of
// time) up to what img was opened at, in the format of `rbd export-diff`.
func ExportDiff(ctx context.Context, img *Image, w io.Writer, from string, whole bool, p Progress) error {
	s := newStreamWriter(w, 1)
	var start Snapshot
	err := func() error {
		if from != "" {
			var ok bool
			if start, ok = img.UserSnapshot(from); !ok {
				return fmt.Errorf("snapshot %s: %w", from, rados.ErrNotFound)
			}
		}
		if err := img.exportDiff(ctx, s, start, img.snapID, whole, p); err != nil {
			return err
		}
		return s.flush()
	}()
	if err != nil {
		return fmt.Errorf("export differences of image %s: %w", img.Name(), err)
	}
	return nil
}

// exportDiff writes what changed from one point to another: a snapshot's id, or
// NoSnap for the head.
func (img *Image) exportDiff(ctx context.Context, s *streamWriter, from Snapshot, to uint64, whole bool, p Progress) error {
	banner := bannerDiff1
	if s.v == 2 {
		banner = bannerDiff2
	}
	s.raw([]byte(banner))
	if from.ID != 0 {
		s.textRecord(tagFrom, from.Name)
	}
	h := img.header()
	size, err := h.sizeAt(to)
	if err != nil {
		return err
	}
	if to != NoSnap {
		end, ok := img.Snapshot(to)
		if !ok {
			return h.errNoSnap(to)
		}
		s.textRecord(tagTo, end.Name)
		if s.v == 2 {
			s.tag(tagProtected, 1)
			if end.Protected() {
				s.raw([]byte{1})
			} else {
				s.raw([]byte{0})
			}
		}
	}
	s.tag(tagSize, 8)
	s.u64(size)
	r := img.newReadAhead(ctx, to, func(d DiffExtent, data msgr2.Data) error {
		if p != nil {
			p(d.Off, size)
		}
		if !d.Exists || isZero(data) {
			s.tag(tagZero, 16)
			s.u64(d.Off)
			s.u64(d.Len)
			return s.err
		}
		s.tag(tagWrite, 16+d.Len)
		s.u64(d.Off)
		s.u64(d.Len)
		for part := range data.Parts() {
			s.payload(part)
		}
		return s.err
	})
	o := DiffOptions{From: from.ID, To: to, WholeObject: whole, IncludeParent: true}
	err = r.finish(img.Diff(ctx, o, func(d DiffExtent) error { return img.chunks(d, r.add) }))
	if err != nil {
		return err
	}
	s.raw([]byte{tagEnd})
	return s.err
}
