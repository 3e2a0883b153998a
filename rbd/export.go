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

// Export writes the image to w: in format 1 its bytes as opened, zeros
// included (seeking over them when w can), in format 2 its properties, all of
// the user's snapshots and the head, as `rbd export --export-format 2` does.
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

// readAhead reads chunks of the image at a snapshot, several at once, and hands
// them over in order.
func (img *Image) readAhead(ctx context.Context, snap uint64, chunks []DiffExtent, fn func(DiffExtent, msgr2.Data) error) error {
	type result struct {
		d   msgr2.Data
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	depth := img.managementDepth()
	pending := make([]chan result, 0, depth)
	next := 0
	for i := range chunks {
		for ; next < len(chunks) && next < i+depth; next++ {
			ch := make(chan result, 1)
			pending = append(pending, ch)
			c := chunks[next]
			go func() {
				if !c.Exists {
					ch <- result{}
					return
				}
				d, err := img.ReadSnap(ctx, snap, c.Off, c.Len)
				ch <- result{d, err}
			}()
		}
		r := <-pending[i]
		pending[i] = nil
		if r.err == nil {
			r.err = fn(chunks[i], r.d)
		}
		if r.err != nil {
			cancel()
			for _, ch := range pending[i+1:] {
				<-ch
			}
			return r.err
		}
	}
	return nil
}

// chunked cuts ranges at object borders.
func (img *Image) chunked(ds []DiffExtent) []DiffExtent {
	l := img.header().layout
	step := l.ObjectSize() * l.StripeCount()
	var out []DiffExtent
	for _, d := range ds {
		for d.Len > 0 {
			n := min(d.Len, step-d.Off%step)
			out = append(out, DiffExtent{d.Off, n, d.Exists})
			d.Off, d.Len = d.Off+n, d.Len-n
		}
	}
	return out
}

func exportRaw(ctx context.Context, img *Image, w io.Writer, p Progress) error {
	size := img.Size()
	seeker, canSeek := w.(io.WriteSeeker)
	if canSeek {
		if _, err := seeker.Seek(0, io.SeekCurrent); err != nil {
			canSeek = false // a pipe
		}
	}
	const batch = 1 << 30
	hole := uint64(0)
	for off := uint64(0); off < size; off += batch {
		n := min(batch, size-off)
		chunks := img.chunked([]DiffExtent{{off, n, true}})
		err := img.readAhead(ctx, img.snapID, chunks, func(c DiffExtent, d msgr2.Data) error {
			if p != nil {
				p(c.Off+c.Len, size)
			}
			if canSeek && isZero(d) {
				hole += c.Len
				return nil
			}
			if hole > 0 {
				if _, err := seeker.Seek(int64(hole), io.SeekCurrent); err != nil {
					return err
				}
				hole = 0
			}
			for part := range d.Parts() {
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if hole > 0 {
		// The file must have its full length.
		if _, err := seeker.Seek(int64(hole)-1, io.SeekCurrent); err != nil {
			return err
		}
		_, err := w.Write([]byte{0})
		return err
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
	if img.snapID == NoSnap {
		for _, sn := range img.Snapshots() {
			if isUser(sn.Namespace) {
				points = append(points, sn)
			}
		}
	}
	s.u64(uint64(len(points) + 1))
	from := Snapshot{}
	for i := range points {
		if err := img.exportDiff(ctx, s, from, &points[i], false, p); err != nil {
			return err
		}
		from = points[i]
	}
	if err := img.exportDiff(ctx, s, from, nil, false, p); err != nil {
		return err
	}
	return s.flush()
}

// ExportDiff writes what changed since the snapshot from ("": the beginning of
// time) up to what img was opened at, in the format of `rbd export-diff`.
func ExportDiff(ctx context.Context, img *Image, w io.Writer, from string, whole bool, p Progress) error {
	s := newStreamWriter(w, 1)
	var start Snapshot
	var end *Snapshot
	err := func() error {
		if from != "" {
			var ok bool
			if start, ok = img.UserSnapshot(from); !ok {
				return fmt.Errorf("snapshot %s: %w", from, rados.ErrNotFound)
			}
		}
		if img.snapID != NoSnap {
			sn, ok := img.Snapshot(img.snapID)
			if !ok {
				return img.header().errNoSnap(img.snapID)
			}
			end = &sn
		}
		if err := img.exportDiff(ctx, s, start, end, whole, p); err != nil {
			return err
		}
		return s.flush()
	}()
	if err != nil {
		return fmt.Errorf("export differences of image %s: %w", img.Name(), err)
	}
	return nil
}

// exportDiff writes one diff; end nil is the head.
func (img *Image) exportDiff(ctx context.Context, s *streamWriter, from Snapshot, end *Snapshot, whole bool, p Progress) error {
	banner := bannerDiff1
	if s.v == 2 {
		banner = bannerDiff2
	}
	s.raw([]byte(banner))
	if from.ID != 0 {
		s.textRecord(tagFrom, from.Name)
	}
	to, size := img.snapID, img.Size()
	if end != nil {
		to, size = end.ID, end.Size
		s.textRecord(tagTo, end.Name)
		if s.v == 2 {
			// One byte, though the length says eight.
			s.tag(tagProtected, 8)
			if end.Protected() {
				s.raw([]byte{1})
			} else {
				s.raw([]byte{0})
			}
		}
	}
	s.tag(tagSize, 8)
	s.u64(size)
	var ds []DiffExtent
	err := img.Diff(ctx, DiffOptions{From: from.ID, To: to, WholeObject: whole, IncludeParent: true}, func(d DiffExtent) error {
		ds = append(ds, d)
		return nil
	})
	if err != nil {
		return err
	}
	err = img.readAhead(ctx, to, img.chunked(ds), func(d DiffExtent, data msgr2.Data) error {
		if p != nil {
			p(min(d.Off+d.Len, size), size)
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
			s.raw(part)
		}
		return s.err
	})
	if err != nil {
		return err
	}
	s.raw([]byte{tagEnd})
	if p != nil {
		p(size, size)
	}
	return s.err
}
