package rbdcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
)

// mgrArgs are the arguments of a manager command.
type mgrArgs map[string]string

// mgrModuleOff is what rbd says when the manager does not know the command.
const mgrModuleOff = "rbd: 'rbd_support' mgr module is not enabled.\n\nUse 'ceph mgr module enable rbd_support' to enable."

// mgrCommand sends a command of the module rbd_support to the active manager and
// returns what it answers. prefix names the command; label begins the message of
// a failure.
func (c *call) mgrCommand(ctx context.Context, prefix, label string, args mgrArgs) ([]byte, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	cmd := mgrArgs{"prefix": prefix, "format": "json"}
	for k, v := range args {
		cmd[k] = v
	}
	out, status, err := client.MgrCommand(ctx, cmd, nil)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, rados.ErrNotSupported):
		return nil, &cli.UsageError{Code: exitNotSupported, Msg: mgrModuleOff, Err: err}
	}
	msg := fmt.Sprintf("%s failed: %s", label, errnoText(err))
	if status != "" {
		msg += ": " + status
	}
	return nil, &cli.UsageError{Code: exitCode(err), Msg: msg, Err: err}
}

// badAnswer says that the manager's answer is not what the command expects.
func badAnswer(msg string) error { return &cli.UsageError{Code: exitBadMessage, Msg: msg} }
