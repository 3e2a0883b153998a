package rbd

import (
	"context"
	"sync"

	"github.com/rbdm/rbdm/msgr2"
)

// batch applies changes of an image in the background, a bounded number at a
// time.
type batch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	img    *Image
	sparse uint64
	slots  chan struct{}
	free   chan []byte
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

// newBatch begins a batch. Zeros are looked for in steps of sparse bytes, unless
// that is 0.
func newBatch(ctx context.Context, img *Image, sparse uint64) *batch {
	depth := img.managementDepth()
	b := &batch{img: img, sparse: sparse, slots: make(chan struct{}, depth), free: make(chan []byte, depth+1)}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	return b
}

// buffer returns n bytes to be given to write.
func (b *batch) buffer(n uint64) []byte {
	select {
	case p := <-b.free:
		if uint64(cap(p)) >= n {
			return p[:n]
		}
	default:
	}
	return make([]byte, n)
}

// recycle takes a buffer back.
func (b *batch) recycle(p []byte) {
	select {
	case b.free <- p:
	default:
	}
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

// write writes p, which came from buffer and is not to be used any more. Zeros
// are left out, or made zeros in the image if it may have had data there.
func (b *batch) write(off uint64, p []byte, zero bool) error {
	runs := runsOf(msgr2.NewData(p), b.sparse)
	if len(runs) == 1 && !runs[0].Exists && !zero {
		b.recycle(p)
		return nil
	}
	return b.do(func(ctx context.Context) error {
		for _, r := range runs {
			var err error
			switch {
			case r.Exists:
				err = b.img.WriteData(ctx, off+r.Off, msgr2.NewData(p[r.Off:r.Off+r.Len]))
			case zero:
				err = b.img.WriteZeroes(ctx, off+r.Off, r.Len)
			}
			if err != nil {
				return err // p may still be on its way: it is not used again
			}
		}
		b.recycle(p)
		return nil
	})
}

// runsOf cuts data into runs of zeros and of data, looking at grain bytes at a
// time, wherever the data's parts end; 0 takes all of it for data.
func runsOf(d msgr2.Data, grain uint64) []DiffExtent {
	n := uint64(d.Len())
	if grain == 0 {
		return []DiffExtent{{0, n, true}}
	}
	var out []DiffExtent
	at, data := uint64(0), false // how far it is, and what the grain holds so far
	for part := range d.Parts() {
		for len(part) > 0 {
			k := min(grain-at%grain, uint64(len(part)))
			data = data || !allZero(part[:k])
			at, part = at+k, part[k:]
			if at%grain != 0 && at < n {
				continue
			}
			length := (at-1)%grain + 1
			if last := len(out) - 1; last >= 0 && out[last].Exists == data {
				out[last].Len += length
			} else {
				out = append(out, DiffExtent{at - length, length, data})
			}
			data = false
		}
	}
	return out
}

// wait waits for everything and returns the first error.
func (b *batch) wait() error {
	b.wg.Wait()
	b.cancel(nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
