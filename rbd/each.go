package rbd

import (
	"context"
	"sync"
	"sync/atomic"
)

// forEach calls fn for n items numbered from first, at most depth at a time, in
// ascending order of their start. The first error stops it and is returned
// after all calls have ended. progress, if not nil, is told how many are done.
func forEach(ctx context.Context, first, n uint64, depth int, progress Progress, fn func(ctx context.Context, i uint64) error) error {
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		next atomic.Uint64
		mu   sync.Mutex
		done uint64
		bad  error
	)
	depth = int(min(uint64(max(depth, 1)), n))
	for range depth {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				err := fn(ctx, first+i)
				mu.Lock()
				if err != nil && bad == nil {
					bad = err
					cancel(err)
				}
				if err == nil {
					done++
					if progress != nil && bad == nil {
						progress(done, n)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if bad != nil {
		return bad
	}
	return context.Cause(ctx)
}
