package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// The messages on rbd_mirror_leader (src/tools/rbd_mirror/leader_watcher/Types.h).
const (
	LeaderHeartbeat    uint32 = 0
	LeaderLockAcquired uint32 = 1
	LeaderLockReleased uint32 = 2
)

// LeaderMessage is a message among the mirroring daemons of a pool (version 1).
type LeaderMessage struct{ Op uint32 }

// Append appends m.
func (m LeaderMessage) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(b, m.Op), at)
}

// Decode reads m. An operation of a later release is left to the caller.
func (m *LeaderMessage) Decode(r *denc.Reader) {
	s := r.Enter("leader_watcher::NotifyMessage", 1)
	m.Op = r.U32()
	r.Leave(s)
}
