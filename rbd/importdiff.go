package rbd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rbdm/rbdm/rados"
)

// ImportDiff applies what ExportDiff, or `rbd export-diff`, wrote. The image
// must have the snapshot that the stream starts from, and not the one it ends
// with, which is created.
//
// A record of an unknown kind is refused: rbd skips its first byte only, and
// takes what follows for records.
func ImportDiff(ctx context.Context, img *Image, r io.Reader, so StreamOptions) error {
	if err := img.importDiff(ctx, newStreamReader(r, 1), so); err != nil {
		return fmt.Errorf("import differences to image %s: %w", img.Name(), err)
	}
	return nil
}

// diffImport is one diff that is being applied.
type diffImport struct {
	img *Image
	s   *streamReader
	w   *batch
	so  StreamOptions

	to        string // the snapshot to make in the end
	protected bool
}

// importDiff applies the next diff of a stream. What was read up to a broken
// place is applied, as rbd does it, but the snapshot is not made.
func (img *Image) importDiff(ctx context.Context, s *streamReader, so StreamOptions) error {
	banner := bannerDiff1
	if s.v == 2 {
		banner = bannerDiff2
	}
	if err := s.banner(banner); err != nil {
		return err
	}
	d := &diffImport{img: img, s: s, w: newBatch(ctx, img, so.SparseSize), so: so}
	err := d.records(ctx)
	if err = errors.Join(err, d.w.wait()); err != nil || d.to == "" {
		return err
	}
	id, err := img.CreateSnapshot(ctx, d.to, userNamespace(), SnapshotOptions{})
	if err != nil || !d.protected {
		return err
	}
	return img.ProtectSnapshot(ctx, id)
}

func (d *diffImport) records(ctx context.Context) error {
	for {
		t, n, err := d.s.tag(tagEnd)
		if err != nil || t == tagEnd {
			return err
		}
		if err := d.record(ctx, t, n); err != nil {
			return err
		}
		if d.so.Progress != nil && d.so.Size != 0 {
			d.so.Progress(d.s.n, d.so.Size)
		}
	}
}

// record applies one record.
func (d *diffImport) record(ctx context.Context, t byte, n uint64) error {
	switch t {
	case tagFrom:
		from, err := d.s.text(maxName)
		if err != nil {
			return cannot("start snap name", err)
		}
		if _, ok := d.img.UserSnapshot(from); !ok {
			return &StreamError{Text: fmt.Sprintf("start snapshot '%s' does not exist in the image, aborting", from), Err: rados.ErrInvalid}
		}
	case tagTo:
		to, err := d.s.text(maxName)
		if err != nil {
			return cannot("end snap name", err)
		}
		if _, ok := d.img.UserSnapshot(to); ok {
			return &StreamError{Text: fmt.Sprintf("end snapshot '%s' already exists, aborting", to), Err: rados.ErrExists}
		}
		d.to = to
	case tagProtected:
		var b [1]byte
		if err := d.s.full(b[:]); err != nil {
			return cannot("snap protection status", err)
		}
		d.protected = b[0] != 0
	case tagSize:
		size, err := d.s.u64()
		if err != nil {
			return cannot("image size", err)
		}
		if size != d.img.Size() {
			return d.img.Resize(ctx, size, true, nil)
		}
	case tagWrite, tagZero:
		return d.data(t)
	default:
		if d.s.v != 2 {
			return &StreamError{Text: fmt.Sprintf("unrecognized tag byte %d in stream", t), Err: rados.ErrInvalid}
		}
		return cannot("skipped tag data", d.s.skip(n))
	}
	return nil
}

// data applies a record of data or of zeros.
func (d *diffImport) data(t byte) error {
	off, n, err := d.s.extent()
	if err != nil {
		return cannot("IO length", err)
	}
	if size := d.img.Size(); off > size || n > size-off {
		return &StreamError{Text: fmt.Sprintf("rbd: %d bytes at %d are beyond the image's end", n, off), Err: rados.ErrInvalid}
	}
	if t == tagZero {
		return d.w.do(func(ctx context.Context) error { return d.img.WriteZeroes(ctx, off, n) })
	}
	for step := d.img.header().layout.ObjectSize(); n > 0; {
		p := d.w.buffer(min(n, step-off%step))
		if err := d.s.full(p); err != nil {
			return cannot("write data", err)
		}
		k := uint64(len(p))
		if err := d.w.write(off, p, true); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}
