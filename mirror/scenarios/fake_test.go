//go:build !interop

package scenarios

import (
	"testing"
	"time"

	"github.com/rbdm/rbdm/rados/conf"
)

const (
	// patience bounds what is waited for; nothing takes nearly as long.
	patience = time.Minute
	// worldTime is how long a test may take.
	worldTime = 8 * time.Minute
	// sideBySide is how many tests run at a time, for each processor: they wait most
	// of their time, for the daemon to look again.
	sideBySide = 3
)

// realConfig returns nil: without the tag there are no real clusters.
func realConfig(*testing.T, string) *conf.Config { return nil }
