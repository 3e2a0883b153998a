//go:build interop

package main

import (
	"context"
	"testing"
)

// newPool makes a pool for the test's time.
func (s *site) newPool(t *testing.T, pool string) string {
	t.Helper()
	s.real(t, "ceph", "osd", "pool", "create", pool, "8")
	s.real(t, "rbd", "pool", "init", pool)
	t.Cleanup(func() {
		s.command(context.Background(), "ceph", "osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it").Run()
	})
	return pool
}
