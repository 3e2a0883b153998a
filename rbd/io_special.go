package rbd

import (
	"context"
	"errors"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
)

// WriteSame fills bytes off~n with repetitions of pattern, whose length must divide
// n: ErrInvalid otherwise.
func (img *Image) WriteSame(ctx context.Context, off, n uint64, pattern []byte) error {
	if n == 0 {
		return nil
	}
	if len(pattern) == 0 || n%uint64(len(pattern)) != 0 {
		return fmt.Errorf("fill %d~%d of image %s with repetitions of %d bytes: %w", off, n, img.Name(), len(pattern), rados.ErrInvalid)
	}
	ev := jwire.Event{Type: jwire.EventWriteSame, Offset: off, Length: n, Data: pattern}
	err := img.special(ctx, ev, func(h *header) (bool, error) { return true, img.fill(ctx, h, off, n, pattern) })
	if err != nil {
		return fmt.Errorf("fill %d~%d of image %s: %w", off, n, img.Name(), err)
	}
	return nil
}

// fill writes repetitions of a pattern, some MiB at a time that share the memory of
// one.
func (img *Image) fill(ctx context.Context, h *header, off, n uint64, pattern []byte) error {
	const unit, most = 64 << 10, 4 << 20
	once := pattern
	for len(once) < unit && uint64(len(once)) < n {
		once = append(once[:len(once):len(once)], pattern...)
	}
	for at := uint64(0); at < n; {
		var d msgr2.Data
		for at+uint64(d.Len()) < n && d.Len() < most {
			d.Append(once[:min(uint64(len(once)), n-at-uint64(d.Len()))])
		}
		if err := img.writeObjects(ctx, h, off+at, d); err != nil {
			return err
		}
		at += uint64(d.Len())
	}
	return nil
}

// MismatchError says that a CompareAndWrite found something else.
type MismatchError struct {
	// Offset is where in the image the first difference lies, in bytes.
	Offset uint64
}

func (e *MismatchError) Error() string { return fmt.Sprintf("byte %d differs", e.Offset) }

// CompareAndWrite writes p at byte off if the image holds expected there, at once as
// far as other clients can see; a *MismatchError if not. Both have the same length,
// and the bytes lie in one object: ErrInvalid otherwise.
func (img *Image) CompareAndWrite(ctx context.Context, off uint64, expected, p []byte) error {
	if len(p) != len(expected) {
		return fmt.Errorf("%d bytes cannot be compared with %d: %w", len(p), len(expected), rados.ErrInvalid)
	}
	if len(p) == 0 {
		return nil
	}
	var exts []layout.Extent
	for e := range img.header().layout.Map(off, uint64(len(p))) {
		exts = append(exts, e)
	}
	if len(exts) != 1 {
		return fmt.Errorf("compare and write %d~%d of image %s: the bytes lie in %d objects: %w", off, len(p), img.Name(), len(exts), rados.ErrInvalid)
	}
	ev := jwire.Event{Type: jwire.EventCompareAndWrite, Offset: off, Length: uint64(len(p)), Compare: expected, Data: p}
	var mismatch *MismatchError
	err := img.special(ctx, ev, func(h *header) (bool, error) {
		err := img.compareAndWrite(ctx, h, exts[0], expected, p)
		var differs *rados.CompareError
		if errors.As(err, &differs) {
			mismatch = &MismatchError{Offset: off + differs.Offset}
			return false, nil // who replays it finds the same
		}
		return err == nil, err
	})
	if err == nil && mismatch != nil {
		err = mismatch
	}
	if err != nil {
		return fmt.Errorf("compare and write %d~%d of image %s: %w", off, len(p), img.Name(), err)
	}
	return nil
}

func (img *Image) compareAndWrite(ctx context.Context, h *header, e layout.Extent, expected, p []byte) error {
	m := img.headMap()
	if m != nil {
		leave, _, err := m.beginWrite(ctx, e.Object)
		if err != nil {
			return err
		}
		defer leave()
	}
	overlap := h.headOverlap(e.Object)
	for {
		op := rados.NewOp()
		if len(overlap) > 0 {
			op.AssertExists()
		}
		op.CompareExtent(e.Off, msgr2.NewData(expected))
		img.hint(op, h)
		op.Write(e.Off, msgr2.NewData(p))
		err := h.dataIO.Operate(ctx, h.objectName(e.Object), op)
		if len(overlap) == 0 || !errors.Is(err, rados.ErrNotFound) {
			return err
		}
		// The parent's data comes first.
		if err := img.copyup(ctx, h, e.Object, overlap, func(*rados.Op) {}); err != nil {
			return err
		}
		overlap = nil
	}
}

// special records and makes a change of data that is no plain write: apply makes it,
// and says whether it changed anything.
func (img *Image) special(ctx context.Context, ev jwire.Event, apply func(h *header) (changed bool, err error)) error {
	for {
		err := img.trySpecial(ctx, ev, apply)
		if !errors.Is(err, errSpoiled) {
			return err
		}
	}
}

func (img *Image) trySpecial(ctx context.Context, ev jwire.Event, apply func(h *header) (changed bool, err error)) error {
	h, err := img.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer img.gate.Leave()
	if err := h.inBounds(ev.Offset, ev.Length); err != nil {
		return err
	}
	changed := false
	change := func() (err error) {
		changed, err = apply(h)
		return err
	}
	if o := img.journal.Load(); o != nil {
		err = o.event(ctx, ev, change)
	} else {
		err = change()
	}
	if err == nil && changed {
		img.touchModifyTime(h)
	}
	return err
}
