package rbd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rbdm/rbdm/rados"
)

// Import makes a new image from r. In format 1 that is the image's bytes; zeros
// are not written. In format 2 it is what Export wrote in that format, whose
// properties o overrides. What it made is removed when it fails.
func Import(ctx context.Context, dst *rados.IoCtx, name string, r io.Reader, format int, o CreateOptions, so StreamOptions) error {
	var err error
	switch format {
	case 1:
		err = importRaw(ctx, dst, name, r, o, so)
	case 2:
		err = importV2(ctx, dst, name, r, o, so)
	default:
		err = fmt.Errorf("format %d: %w", format, rados.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("import image %s: %w", name, err)
	}
	return nil
}

// withNew creates an image, fills it, and removes it again if that fails.
func withNew(ctx context.Context, dst *rados.IoCtx, name string, size uint64, o CreateOptions, fill func(*Image) error) (err error) {
	id, err := Create(ctx, dst, name, size, o)
	if err != nil {
		return &StreamError{Text: "rbd: image creation failed", Err: err}
	}
	img, err := OpenByID(ctx, dst, id, OpenOptions{})
	if err == nil {
		err = errors.Join(fill(img), img.Close(ctx))
	}
	if err != nil {
		err = errors.Join(err, discardCopy(ctx, dst, id))
	}
	return err
}

func importRaw(ctx context.Context, dst *rados.IoCtx, name string, r io.Reader, o CreateOptions, so StreamOptions) error {
	first := so.Size
	if first == 0 {
		first = 1 << 30 // grown and cut as the data tells
	}
	return withNew(ctx, dst, name, first, o, func(img *Image) error {
		b := newBatch(ctx, img, so.SparseSize)
		n, err := b.fill(r, so)
		if err = errors.Join(err, b.wait()); err != nil || so.Size != 0 {
			return err
		}
		return img.Resize(ctx, n, true, nil)
	})
}

// fill writes the bytes of r from the image's beginning and returns how many
// there were.
func (b *batch) fill(r io.Reader, so StreamOptions) (off uint64, err error) {
	for step := b.img.header().layout.ObjectSize(); ; {
		p := b.buffer(step)
		n, err := io.ReadFull(r, p)
		switch {
		case errors.Is(err, io.EOF) || so.Size != 0 && off >= so.Size:
			return off, nil
		case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			return off, err
		}
		if so.Size != 0 {
			n = int(min(uint64(n), so.Size-off)) // the file has grown since
		} else if off+uint64(n) > b.img.Size() {
			if err := b.img.Resize(b.ctx, 2*b.img.Size(), false, nil); err != nil {
				return off, &StreamError{Text: "rbd: can't resize image during import", Err: err}
			}
		}
		if so.Progress != nil && so.Size != 0 {
			so.Progress(off, so.Size)
		}
		if err := b.write(off, p[:n], false); err != nil {
			return off, err
		}
		off += uint64(n)
	}
}

func importV2(ctx context.Context, dst *rados.IoCtx, name string, r io.Reader, o CreateOptions, so StreamOptions) error {
	s := newStreamReader(r, 2)
	meta := map[string][]byte{}
	if err := s.head(&o, meta); err != nil {
		return &StreamError{Text: err.Error() + "\nrbd: import header failed.", Err: err}
	}
	return withNew(ctx, dst, name, 0, o, func(img *Image) error {
		if len(meta) > 0 {
			op := rados.NewOp()
			callMetadataSet(op, meta)
			if err := img.io.Operate(ctx, img.oid, op); err != nil {
				return &StreamError{Text: "rbd: failed to import image-meta", Err: err}
			}
		}
		if err := s.banner(bannerDiffs2); err != nil {
			return err
		}
		count, err := s.u64()
		if err != nil {
			return cannot("diff count", err)
		}
		for i := range count {
			if err := img.importDiff(ctx, s, StreamOptions{SparseSize: so.SparseSize}); err != nil {
				return err
			}
			if so.Progress != nil {
				so.Progress(i+1, count)
			}
		}
		return nil
	})
}

// head reads what is known of the image.
func (s *streamReader) head(o *CreateOptions, meta map[string][]byte) error {
	if err := s.banner(bannerImage2); err != nil {
		return err
	}
	return s.properties(o, meta)
}

// properties reads an image's properties into options and metadata. What the
// options say already stays.
func (s *streamReader) properties(o *CreateOptions, meta map[string][]byte) error {
	for {
		t, n, err := s.tag(tagImageEnd)
		if err != nil || t == tagImageEnd {
			return err
		}
		switch t {
		case tagOrder, tagFeatures, tagUnit, tagCount:
			v, err := s.u64()
			if err != nil {
				return cannot("image option", err)
			}
			o.setProperty(t, v)
		case tagMeta:
			k, err := s.text(maxMeta)
			if err != nil {
				return cannot("metadata key", err)
			}
			v, err := s.text(maxMeta)
			if err != nil {
				return cannot("metadata value", err)
			}
			meta[k] = []byte(v)
		default:
			if err := s.skip(n); err != nil {
				return cannot("skipped tag data", err)
			}
		}
	}
}

// setProperty takes over a property that the options leave open.
func (o *CreateOptions) setProperty(tag byte, v uint64) {
	switch tag {
	case tagOrder:
		if o.Order == 0 {
			o.Order = uint8(min(v, 64))
		}
	case tagFeatures:
		if !o.HasFeatures {
			o.Features, o.HasFeatures = v&^(FeaturesInternal|FeatureStriping|FeatureDataPool|FeatureNonPrimary|FeatureJournaling|FeatureDirtyCache), true
		}
	case tagUnit:
		if o.StripeUnit == 0 {
			o.StripeUnit = v
		}
	case tagCount:
		if o.StripeCount == 0 {
			o.StripeCount = v
		}
	}
}
