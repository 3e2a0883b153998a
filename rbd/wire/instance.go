package wire

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// The requests on rbd_mirror_instance.<id>
// (src/tools/rbd_mirror/instance_watcher/Types.h).
const (
	InstanceImageAcquire     uint32 = 0
	InstanceImageRelease     uint32 = 1
	InstancePeerImageRemoved uint32 = 2
	InstanceSyncRequest      uint32 = 3
	InstanceSyncStart        uint32 = 4
)

// InstanceMessage is a request to one mirroring daemon of a pool (version 2).
type InstanceMessage struct {
	Op        uint32
	RequestID uint64
	// GlobalID: ImageAcquire, ImageRelease, PeerImageRemoved.
	GlobalID string
	// MirrorUUID is the site whose image is gone: PeerImageRemoved.
	MirrorUUID string
	// SyncID is the image's local id: SyncRequest, SyncStart.
	SyncID string
}

// Append appends m.
func (m InstanceMessage) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 2)
	b = denc.AppendU64(denc.AppendU32(b, m.Op), m.RequestID)
	switch m.Op {
	case InstanceSyncRequest, InstanceSyncStart:
		b = denc.AppendString(b, m.SyncID)
	default:
		b = denc.AppendString(b, m.GlobalID)
	}
	if m.Op == InstancePeerImageRemoved {
		b = denc.AppendString(b, m.MirrorUUID)
	}
	return denc.End(b, at)
}

// Decode reads m. A request of a later release fails with ErrNotifyOp.
func (m *InstanceMessage) Decode(r *denc.Reader) {
	s := r.Enter("instance_watcher::NotifyMessage", 2)
	*m = InstanceMessage{Op: r.U32(), RequestID: r.U64()}
	switch m.Op {
	case InstanceImageAcquire, InstanceImageRelease:
		m.GlobalID = r.String()
	case InstancePeerImageRemoved:
		m.GlobalID, m.MirrorUUID = r.String(), r.String()
	case InstanceSyncRequest, InstanceSyncStart:
		m.SyncID = r.String()
	default:
		if r.Err() == nil {
			r.Fail(fmt.Errorf("%w: %d", ErrNotifyOp, m.Op))
		}
	}
	r.Leave(s)
}

// InstanceAck answers an InstanceMessage.
type InstanceAck struct {
	InstanceID string
	RequestID  uint64
	Result     int32 // 0 or a negative errno
}

// Append appends a.
func (a InstanceAck) Append(b []byte) []byte {
	return denc.AppendS32(denc.AppendU64(denc.AppendString(b, a.InstanceID), a.RequestID), a.Result)
}

// Decode reads a.
func (a *InstanceAck) Decode(r *denc.Reader) {
	a.InstanceID, a.RequestID, a.Result = r.String(), r.U64(), r.S32()
}
