package rbdcmd

import (
	"context"
	"time"
)

// The release whose words are printed is the newest, but where a script of an
// older cluster would break: there, what that cluster's own rbd prints.
const (
	release18 = 18
	release20 = 20

	// askRelease bounds the time that a command which fails anyway takes to find
	// out in which release's words to say so.
	askRelease = 2 * time.Second
)

// before reports whether the cluster is of an older release than the given one. A
// cluster that does not say is of the newest.
func (c *call) before(ctx context.Context, release uint8) bool {
	if c.client == nil {
		ctx, cancel := context.WithTimeout(ctx, askRelease)
		defer cancel()
		if _, err := c.connect(ctx); err != nil {
			return false
		}
	}
	of := c.client.OSDMap().OSDOnly.RequireRelease
	return of != 0 && of < release
}
