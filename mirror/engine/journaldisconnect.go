package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	jwire "github.com/rbdm/rbdm/journal/wire"
)

// errDisconnected says that the remote journal keeps nothing for this site any
// more: it lagged behind too far, or an operator said so.
var errDisconnected = errors.New("disconnected")

// disconnected returns what is to be done about that: the image stays in error
// until somebody asks for a resync, or that is done at once where the image's
// configuration has rbd_mirroring_resync_after_disconnect.
func (j *journalReplica) disconnected(ctx context.Context) error {
	all, err := j.local.Config(ctx)
	if err != nil {
		return fmt.Errorf("configuration of the local image: %w", err)
	}
	for _, c := range all {
		if c.Name == "rbd_mirroring_resync_after_disconnect" && slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(c.Value)) {
			return errResync
		}
	}
	return errDisconnected
}

// checkClient returns why the replay is to end as far as the remote journal's
// clients tell.
func (j *journalReplica) checkClient(ctx context.Context) error {
	state, _ := j.theirs.State()
	switch c := state.Client(j.r.ns.sites.localUUID); {
	case c == nil:
		return errAgain // mirroring was disabled there, perhaps enabled again
	case c.State == jwire.ClientDisconnected:
		return j.disconnected(ctx)
	}
	return nil
}
