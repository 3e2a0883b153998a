package engine

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/rbd"
)

// replayDelay is how long after it was written an entry is applied
// (rbd_mirroring_replay_delay of the local image, its pool or the daemon, seconds):
// for so long an accident at the primary can be kept from the replica.
type replayDelay struct{ ns atomic.Int64 }

// delayLook is how often somebody who waits looks whether the delay has changed.
const delayLook = time.Second

// read takes over what the image's configuration says.
func (d *replayDelay) read(ctx context.Context, local *rbd.Image) error {
	all, err := local.Config(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Name == "rbd_mirroring_replay_delay" {
			seconds, err := strconv.ParseUint(c.Value, 10, 31)
			if err != nil {
				seconds = 0
			}
			d.ns.Store(int64(time.Duration(seconds) * time.Second))
		}
	}
	return nil
}

// wait waits until what was written at a time may be applied.
func (d *replayDelay) wait(ctx context.Context, written time.Time) error {
	for {
		delay := time.Duration(d.ns.Load())
		if delay <= 0 {
			return nil
		}
		left := time.Until(written.Add(delay))
		if left <= 0 {
			return nil
		}
		rest(ctx, min(left, delayLook))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
