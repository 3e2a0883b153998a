//go:build !interop

package anycluster

import (
	"testing"

	"github.com/rbdm/rbdm/rados/conf"
)

// realConfig returns nil: without the tag there is no real cluster.
func realConfig(testing.TB) *conf.Config { return nil }
