package rbdcmd

import (
	"context"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

const exitNotSupported = 95

// call is one command being carried out.
type call struct {
	*cli.Invocation
	std streams.Streams
}

// handler carries a command out. An error that it returns is printed by Main,
// a *cli.UsageError as it stands.
type handler func(ctx context.Context, c *call) error

// handlers maps the words of each command to what carries it out.
func handlers() map[string]handler {
	return map[string]handler{}
}
