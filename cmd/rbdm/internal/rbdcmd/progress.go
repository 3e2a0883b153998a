package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rbdm/rbdm/rbd"
)

// progress shows on stderr how far an operation is, as rbd does: one line that is
// overwritten whenever the whole percentage grows. done ends the line, in the
// words of success or of failure; it must be called once. The last percent is
// only told by done. With --no-progress neither prints anything.
func (c *call) progress(operation string) (p rbd.Progress, done func(err error)) {
	return c.progressBelow(operation, 100)
}

// progressToEnd is progress for operations that also tell the last percent.
func (c *call) progressToEnd(operation string) (p rbd.Progress, done func(err error)) {
	return c.progressBelow(operation, 101)
}

// progressBelow is progress that tells percentages below limit.
func (c *call) progressBelow(operation string, limit uint64) (p rbd.Progress, done func(err error)) {
	if c.Has("no-progress") {
		return nil, func(error) {}
	}
	var mu sync.Mutex
	percent := uint64(0)
	p = func(n, total uint64) {
		mu.Lock()
		defer mu.Unlock()
		if now := percentage(n, total); now > percent && now < limit {
			percent = now
			fmt.Fprintf(c.std.Err, "\r%s: %d%% complete...", operation, percent)
		}
	}
	return p, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(err, context.Canceled) {
			return // nothing more is said: ExitInterrupted
		}
		if err != nil {
			fmt.Fprintf(c.std.Err, "\r%s: %d%% complete...failed.\n", operation, percent)
			return
		}
		fmt.Fprintf(c.std.Err, "\r%s: 100%% complete...done.\n", operation)
	}
}

// percentage is n of total in whole percents; of nothing, everything is done.
func percentage(n, total uint64) uint64 {
	if total == 0 {
		return 100
	}
	return min(100, uint64(float64(n)*100/float64(total)))
}
