package rbd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
)

// sparseReadThreshold is from which length in bytes an object is read sparsely
// (rbd_sparse_read_threshold_bytes).
const sparseReadThreshold = 64 << 10

// zeros is what absent data reads as. It is never written to.
var zeros [64 << 10]byte

// appendZeros adds n zero bytes to d without allocating them.
func appendZeros(d *msgr2.Data, n uint64) {
	for n > 0 {
		k := min(n, uint64(len(zeros)))
		d.Append(zeros[:k:k])
		n -= k
	}
}

// ReadAt fills p from byte off of the image as opened. It returns how many
// bytes there were; fewer than len(p) only at the image's end, without an error.
func (img *Image) ReadAt(ctx context.Context, p []byte, off uint64) (int, error) {
	d, err := img.Read(ctx, off, uint64(len(p)))
	if err != nil {
		return 0, err
	}
	n := 0
	for part := range d.Parts() {
		n += copy(p[n:], part)
	}
	return n, nil
}

// Read returns the n bytes from byte off of the image as opened, cut at the
// image's end. The data is what the network delivered, not a copy; holes are
// zeros that share one buffer, so it must not be modified.
func (img *Image) Read(ctx context.Context, off, n uint64) (msgr2.Data, error) {
	return img.ReadSnap(ctx, img.snapID, off, n)
}

// ReadSnap is Read at the snapshot with the given id (NoSnap: the head),
// whatever the image was opened at.
func (img *Image) ReadSnap(ctx context.Context, snapID, off, n uint64) (msgr2.Data, error) {
	if err := img.alive(); err != nil {
		return msgr2.Data{}, err
	}
	h := img.header()
	size, err := h.sizeAt(snapID)
	if err != nil {
		return msgr2.Data{}, err
	}
	if off >= size {
		return msgr2.Data{}, nil
	}
	d, err := img.readImage(ctx, h, snapID, off, min(n, size-off))
	if err != nil {
		return msgr2.Data{}, fmt.Errorf("read %d~%d of image %s: %w", off, n, h.name, err)
	}
	img.touchAccessTime(h)
	return d, nil
}

// readImage reads a range within the image's size at snapID.
func (img *Image) readImage(ctx context.Context, h *header, snapID, off, n uint64) (msgr2.Data, error) {
	var first layout.Extent
	count := 0
	for e := range h.layout.Map(off, n) {
		if count == 0 {
			first = e
		}
		count++
	}
	if count == 1 {
		return img.readObject(ctx, h, snapID, first.Object, first.Off, first.Len)
	}
	exts := make([]layout.Extent, 0, count)
	for e := range h.layout.Map(off, n) {
		exts = append(exts, e)
	}
	parts := make([]msgr2.Data, count)
	err := img.parallel(ctx, uint64(count), func(ctx context.Context, i uint64) (err error) {
		e := exts[i]
		parts[i], err = img.readObject(ctx, h, snapID, e.Object, e.Off, e.Len)
		return err
	})
	if err != nil {
		return msgr2.Data{}, err
	}
	d := parts[0]
	for _, p := range parts[1:] {
		d.AppendData(p)
	}
	return d, nil
}

// parallel runs fn for n items with the image's I/O depth.
func (img *Image) parallel(ctx context.Context, n uint64, fn func(ctx context.Context, i uint64) error) error {
	return forEach(ctx, 0, n, img.depth, nil, fn)
}

// readObject reads a range of one object as of snapID, zero-filled or filled
// from the parent.
func (img *Image) readObject(ctx context.Context, h *header, snapID, obj, off, n uint64) (msgr2.Data, error) {
	if m := img.objectMapFor(snapID); m != nil && !m.mayExist(obj) {
		return img.readMissing(ctx, h, snapID, obj, off, n)
	}
	d, err := readRaw(ctx, h.dataIO.AtSnap(snapID), h.objectName(obj), off, n)
	if errors.Is(err, rados.ErrNotFound) {
		return img.readMissing(ctx, h, snapID, obj, off, n)
	}
	return d, err
}

// readRaw reads a range of a RADOS object, zero-filled to n bytes.
func readRaw(ctx context.Context, io *rados.IoCtx, oid string, off, n uint64) (msgr2.Data, error) {
	return readWith(ctx, rados.NewOp(), io, oid, off, n)
}

// readWith is readRaw with an op of the caller's, who may release it when the data
// is no longer needed.
func readWith(ctx context.Context, op *rados.Op, io *rados.IoCtx, oid string, off, n uint64) (msgr2.Data, error) {
	if n < sparseReadThreshold {
		res := op.Read(off, n)
		if err := io.Operate(ctx, oid, op); err != nil {
			return msgr2.Data{}, err
		}
		d := res.Data()
		if got := uint64(d.Len()); got < n {
			appendZeros(&d, n-got)
		}
		return d, nil
	}
	res := op.SparseRead(off, n)
	if err := io.Operate(ctx, oid, op); err != nil {
		return msgr2.Data{}, err
	}
	return fillSparse(res, off, n)
}

// fillSparse puts zeros between the extents of a sparse read of off~n.
func fillSparse(res *rados.Sparse, off, n uint64) (msgr2.Data, error) {
	src := res.Data()
	if len(res.Extents) == 1 && res.Extents[0].Off == off && res.Extents[0].Len == n && uint64(src.Len()) == n {
		return src, nil
	}
	var d msgr2.Data
	at, pos := off, 0
	for _, e := range res.Extents {
		if e.Off < at || e.Len > n || e.Off+e.Len > off+n || pos+int(e.Len) > src.Len() {
			return msgr2.Data{}, fmt.Errorf("sparse read answered %d~%d outside of %d~%d", e.Off, e.Len, off, n)
		}
		appendZeros(&d, e.Off-at)
		d.AppendData(src.Slice(pos, int(e.Len)))
		pos += int(e.Len)
		at = e.Off + e.Len
	}
	appendZeros(&d, off+n-at)
	return d, nil
}

// readMissing gives what a range of an object reads as that does not exist: the
// parent's data within the overlap, zeros beyond.
func (img *Image) readMissing(ctx context.Context, h *header, snapID, obj, off, n uint64) (msgr2.Data, error) {
	var d msgr2.Data
	p := h.parentAt(snapID)
	if p == nil || p.Overlap == 0 {
		appendZeros(&d, n)
		return d, nil
	}
	ranges := h.layout.Within(obj, off, n, p.Overlap)
	if len(ranges) == 0 {
		appendZeros(&d, n)
		return d, nil
	}
	parent, err := img.parentImage(ctx, p)
	if err != nil {
		return d, err
	}
	for _, r := range ranges {
		part, err := parent.readClipped(ctx, p.SnapID, r.Off, r.Len)
		if err != nil {
			return d, fmt.Errorf("parent %s: %w", parent.Name(), err)
		}
		d.AppendData(part)
	}
	if got := uint64(d.Len()); got < n {
		appendZeros(&d, n-got)
	}
	return d, nil
}

// readClipped reads a range that may reach beyond the image's end, zero-filled.
func (img *Image) readClipped(ctx context.Context, snapID, off, n uint64) (msgr2.Data, error) {
	h := img.header()
	size, err := h.sizeAt(snapID)
	if err != nil {
		return msgr2.Data{}, err
	}
	var d msgr2.Data
	if off < size {
		if d, err = img.readImage(ctx, h, snapID, off, min(n, size-off)); err != nil {
			return d, err
		}
	}
	if got := uint64(d.Len()); got < n {
		appendZeros(&d, n-got)
	}
	return d, nil
}

// isZero reports whether all bytes of d are zero.
func isZero(d msgr2.Data) bool {
	for p := range d.Parts() {
		if !allZero(p) {
			return false
		}
	}
	return true
}

// allZero reports whether all bytes of p are zero.
func allZero(p []byte) bool {
	for len(p) > 0 {
		k := min(len(p), len(zeros))
		if string(p[:k]) != string(zeros[:k]) {
			return false
		}
		p = p[k:]
	}
	return true
}

// parentRef is the opened image below a clone.
type parentRef struct {
	mu  sync.Mutex
	of  Parent // what img is; compared without the overlap
	img *Image
}

// parentImage returns the opened parent, opening it at the first use and again
// when the header names another one.
func (img *Image) parentImage(ctx context.Context, p *Parent) (*Image, error) {
	if img.opts.SkipParent {
		return nil, fmt.Errorf("the parent of image %s was not opened: %w", img.Name(), rados.ErrInvalid)
	}
	img.parent.mu.Lock()
	defer img.parent.mu.Unlock()
	key := *p
	key.Overlap = 0
	if img.parent.img != nil {
		if img.parent.of == key {
			return img.parent.img, nil
		}
		img.oldParents = append(img.oldParents, img.parent.img)
		img.parent.img = nil
	}
	io := img.io.WithPool(p.Pool).WithNamespace(p.PoolNamespace)
	up, err := OpenByID(ctx, io, p.ImageID, OpenOptions{ReadOnly: true, SnapshotID: p.SnapID, Logger: img.opts.Logger})
	if err != nil {
		return nil, fmt.Errorf("open parent image %s of %s: %w", p.ImageID, img.Name(), err)
	}
	img.parent.img, img.parent.of = up, key
	return up, nil
}
