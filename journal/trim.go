package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// neededSet returns the lowest object set that a connected client still needs. A
// client that committed nothing needs all that is there.
func (l Layout) neededSet(st State) uint64 {
	needed := st.ActiveSet
	for _, c := range st.Clients {
		if c.State == wire.ClientDisconnected {
			continue
		}
		if len(c.Commit) == 0 {
			return st.MinimumSet
		}
		for _, pos := range c.Commit {
			needed = min(needed, l.Set(pos.Object))
		}
	}
	return needed
}

// trim removes the object sets that nobody needs. Without any client nothing is
// known about who needs what.
func (j *Journal) trim(ctx context.Context) error {
	st, _ := j.State()
	if len(st.Clients) == 0 {
		return nil
	}
	needed := j.layout.neededSet(st)
	if needed <= st.MinimumSet {
		return nil
	}
	for set := st.MinimumSet; set < needed; set++ {
		if _, err := j.removeSet(ctx, set); err != nil {
			return err
		}
		err := j.io.ExecWrite(ctx, j.header, wire.Class, wire.MethodSetMinimumSet, denc.AppendU64(nil, set+1))
		// Somebody else may have trimmed further.
		if err != nil && !errors.Is(err, rados.ErrStale) {
			return fmt.Errorf("minimum set of journal %s: %w", j.id, err)
		}
	}
	j.log.Debug("trimmed the journal", "minimum_set", needed)
	j.notify(ctx)
	return j.Refresh(ctx)
}
