package rbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

// Import makes a new image from r. In format 1 that is the image's bytes, size
// of them (0: as many as there are); zeros are not written. In format 2 it is
// what Export wrote in that format, whose properties the options override. What
// it made is removed when it fails.
func Import(ctx context.Context, dst *rados.IoCtx, name string, r io.Reader, size uint64, o CreateOptions, format int, p Progress) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("import image %s: %w", name, err)
		}
	}()
	switch format {
	case 1:
		return importRaw(ctx, dst, name, r, size, o, p)
	case 2:
		return importV2(ctx, dst, name, r, o, p)
	}
	return fmt.Errorf("format %d: %w", format, rados.ErrInvalid)
}

// withNew creates an image, fills it, and removes it again if that fails.
func withNew(ctx context.Context, dst *rados.IoCtx, name string, size uint64, o CreateOptions, fill func(*Image) error) (err error) {
	id, err := Create(ctx, dst, name, size, o)
	if err != nil {
		return err
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

func importRaw(ctx context.Context, dst *rados.IoCtx, name string, r io.Reader, size uint64, o CreateOptions, p Progress) error {
	first := size
	if size == 0 {
		first = 1 << 30 // grown and cut as the data tells
	}
	return withNew(ctx, dst, name, first, o, func(img *Image) error {
		step := img.header().layout.ObjectSize()
		b := newBatch(ctx, img)
		off := uint64(0)
		for {
			buf := make([]byte, step)
			n, err := io.ReadFull(r, buf)
			if n > 0 {
				if size == 0 && off+uint64(n) > img.Size() {
					if err := img.Resize(ctx, 2*img.Size(), false, nil); err != nil {
						return errors.Join(err, b.wait())
					}
				}
				if werr := b.write(off, msgr2.NewData(buf[:n])); werr != nil {
					return errors.Join(werr, b.wait())
				}
				off += uint64(n)
				if p != nil {
					p(off, max(size, off))
				}
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				return errors.Join(err, b.wait())
			}
		}
		if err := b.wait(); err != nil {
			return err
		}
		if size == 0 {
			return img.Resize(ctx, off, true, nil)
		}
		return nil
	})
}

func importV2(ctx context.Context, dst *rados.IoCtx, name string, r io.Reader, o CreateOptions, p Progress) error {
	s := newStreamReader(r)
	s.v = 2
	if _, err := s.banner(bannerImage2); err != nil {
		return err
	}
	meta := map[string][]byte{}
	if err := s.properties(&o, meta); err != nil {
		return err
	}
	if _, err := s.banner(bannerDiffs2); err != nil {
		return err
	}
	count, err := s.u64()
	if err != nil {
		return err
	}
	return withNew(ctx, dst, name, 0, o, func(img *Image) error {
		if len(meta) > 0 {
			op := rados.NewOp()
			callMetadataSet(op, meta)
			if err := img.io.Operate(ctx, img.oid, op); err != nil {
				return fmt.Errorf("metadata: %w", err)
			}
		}
		for range count {
			if err := img.importDiff(ctx, s, p); err != nil {
				return err
			}
		}
		return nil
	})
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
		case tagOrder:
			v, err := s.u64()
			if err != nil {
				return err
			}
			if o.Order == 0 {
				o.Order = uint8(min(v, 64))
			}
		case tagFeatures:
			v, err := s.u64()
			if err != nil {
				return err
			}
			if !o.HasFeatures {
				o.Features, o.HasFeatures = v&^(FeaturesInternal|FeatureStriping|FeatureDataPool|FeatureNonPrimary|FeatureJournaling|FeatureDirtyCache), true
			}
		case tagUnit:
			v, err := s.u64()
			if err != nil {
				return err
			}
			if o.StripeUnit == 0 {
				o.StripeUnit = v
			}
		case tagCount:
			v, err := s.u64()
			if err != nil {
				return err
			}
			if o.StripeCount == 0 {
				o.StripeCount = v
			}
		case tagMeta:
			k, err := s.text()
			if err != nil {
				return err
			}
			v, err := s.text()
			if err != nil {
				return err
			}
			meta[k] = []byte(v)
		default:
			if err := s.skip(n); err != nil {
				return err
			}
		}
	}
}

// batch applies changes of an image in the background, a bounded number at a
// time.
type batch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	img    *Image
	slots  chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func newBatch(ctx context.Context, img *Image) *batch {
	b := &batch{img: img, slots: make(chan struct{}, img.managementDepth())}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	return b
}

// do runs f when there is room, and returns the first error so far.
func (b *batch) do(f func(ctx context.Context) error) error {
	select {
	case b.slots <- struct{}{}:
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
	b.wg.Go(func() {
		defer func() { <-b.slots }()
		if err := f(b.ctx); err != nil {
			b.mu.Lock()
			if b.err == nil {
				b.err = err
			}
			b.mu.Unlock()
			b.cancel(err)
		}
	})
	return nil
}

// write writes what is not zero.
func (b *batch) write(off uint64, d msgr2.Data) error {
	extents, payload := sparseOf(d, false)
	if len(extents) == 0 {
		return nil
	}
	return b.do(func(ctx context.Context) error {
		at := 0
		for _, e := range extents {
			if err := b.img.WriteData(ctx, off+e.Off, payload.Slice(at, int(e.Len))); err != nil {
				return err
			}
			at += int(e.Len)
		}
		return nil
	})
}

// copyFrom writes n bytes of the stream at off.
func (b *batch) copyFrom(s *streamReader, off, n uint64) error {
	step := b.img.header().layout.ObjectSize()
	for n > 0 {
		p := make([]byte, min(n, step-off%step))
		if err := s.full(p); err != nil {
			return err
		}
		at := off
		if err := b.do(func(ctx context.Context) error { return b.img.WriteData(ctx, at, msgr2.NewData(p)) }); err != nil {
			return err
		}
		off += uint64(len(p))
		n -= uint64(len(p))
	}
	return nil
}

// wait waits for everything and returns the first error.
func (b *batch) wait() error {
	b.wg.Wait()
	b.cancel(nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// ImportDiff applies what ExportDiff, or `rbd export-diff`, wrote. The image
// must have the snapshot that the stream starts from, and not the one it ends
// with, which is created.
func ImportDiff(ctx context.Context, img *Image, r io.Reader, p Progress) error {
	s := newStreamReader(r)
	if err := img.importDiff(ctx, s, p); err != nil {
		return fmt.Errorf("import differences to image %s: %w", img.Name(), err)
	}
	return nil
}

// incoming is what a diff's head says.
type incoming struct {
	to        string
	protected bool
}

func (img *Image) importDiff(ctx context.Context, s *streamReader, p Progress) error {
	b, err := s.banner(bannerDiff1, bannerDiff2)
	if err != nil {
		return err
	}
	s.v = 1
	if b == bannerDiff2 {
		s.v = 2
	}
	var in incoming
	w := newBatch(ctx, img)
	for {
		t, n, err := s.tag(tagEnd)
		if err == nil && t == tagEnd {
			break
		}
		if err == nil {
			err = img.importRecord(ctx, s, w, t, n, &in, p)
		}
		if err != nil {
			return errors.Join(err, w.wait())
		}
	}
	if err := w.wait(); err != nil {
		return err
	}
	if in.to == "" {
		return nil
	}
	id, err := img.CreateSnapshot(ctx, in.to, userNamespace(), SnapshotOptions{})
	if err != nil || !in.protected {
		return err
	}
	return img.ProtectSnapshot(ctx, id)
}

// importRecord applies one record.
func (img *Image) importRecord(ctx context.Context, s *streamReader, w *batch, t byte, n uint64, in *incoming, p Progress) error {
	switch t {
	case tagFrom:
		from, err := s.text()
		if err != nil {
			return err
		}
		if _, ok := img.UserSnapshot(from); !ok {
			return fmt.Errorf("the start snapshot %s does not exist in the image: %w", from, rados.ErrInvalid)
		}
	case tagTo:
		to, err := s.text()
		if err != nil {
			return err
		}
		if _, ok := img.UserSnapshot(to); ok {
			return fmt.Errorf("the end snapshot %s already exists: %w", to, rados.ErrExists)
		}
		in.to = to
	case tagProtected:
		var b [1]byte
		if err := s.full(b[:]); err != nil {
			return err
		}
		in.protected = b[0] != 0
	case tagSize:
		size, err := s.u64()
		if err != nil {
			return err
		}
		if size != img.Size() {
			return img.Resize(ctx, size, true, nil)
		}
	case tagWrite, tagZero:
		var b [16]byte
		if err := s.full(b[:]); err != nil {
			return err
		}
		off, n := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
		if p != nil {
			p(min(off, img.Size()), img.Size())
		}
		if off > img.Size() || n > img.Size()-off {
			return fmt.Errorf("%w: %d~%d is beyond the image's end", errStream, off, n)
		}
		if t == tagZero {
			return w.do(func(ctx context.Context) error { return img.WriteZeroes(ctx, off, n) })
		}
		return w.copyFrom(s, off, n)
	default:
		if s.v != 2 {
			return fmt.Errorf("%w: unknown record %q", errStream, t)
		}
		return s.skip(n)
	}
	return nil
}
