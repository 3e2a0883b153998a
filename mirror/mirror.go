// Package mirror is RBD mirroring by snapshots: the daemon, the operations that
// commands call, and what they share.
//
//	mirror            the daemon's entry
//	mirror/ops        what commands do: enable, promote, peers, status
//	mirror/engine     the daemon
//	mirror/checkpoint progress by object, across crashes
//	mirror/snapshots  mirror snapshots and image states
//	mirror/meta       the mirroring objects of a pool
package mirror

import "github.com/rbdm/rbdm/mirror/engine"

// Config says what a Daemon works with.
type Config = engine.Config

// Daemon mirrors all pools of a cluster that have peers to receive from.
type Daemon = engine.Daemon

// NewDaemon returns a Daemon; Run makes it work.
func NewDaemon(cfg Config) *Daemon { return engine.NewDaemon(cfg) }
