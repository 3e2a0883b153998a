package wire

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// The modes of mirroring of a pool or namespace (MirrorMode).
const (
	MirrorModeDisabled uint32 = 0
	MirrorModeImage    uint32 = 1
	MirrorModePool     uint32 = 2
	MirrorModeInitOnly uint32 = 3 // 20.2
)

// The directions of a peer.
const (
	MirrorPeerRX   uint8 = 0
	MirrorPeerTX   uint8 = 1
	MirrorPeerRXTX uint8 = 2
)

// MirrorPeer is another site (version 2; 1 is accepted: receive only).
type MirrorPeer struct {
	UUID, SiteName, ClientName string
	Direction                  uint8
	// MirrorUUID and LastSeen are unknown until its daemon has been here.
	MirrorUUID string
	LastSeen   denc.Time
}

// Append appends p.
func (p MirrorPeer) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendString(denc.AppendString(denc.AppendString(b, p.UUID), p.SiteName), p.ClientName)
	b = denc.AppendU8(denc.AppendS64(b, -1), p.Direction)
	return denc.End(denc.AppendTime(denc.AppendString(b, p.MirrorUUID), p.LastSeen), at)
}

// Decode reads p.
func (p *MirrorPeer) Decode(r *denc.Reader) {
	*p = MirrorPeer{}
	s := r.Enter("MirrorPeer", 2)
	p.UUID, p.SiteName, p.ClientName = r.String(), r.String(), r.String()
	r.S64() // a pool id, no longer used
	if s.V >= 2 {
		p.Direction, p.MirrorUUID, p.LastSeen = r.U8(), r.String(), r.Time()
	}
	r.Leave(s)
}

// The states and modes of a mirrored image.
const (
	MirrorImageDisabling uint8 = 0
	MirrorImageEnabled   uint8 = 1
	MirrorImageDisabled  uint8 = 2
	MirrorImageCreating  uint8 = 3

	MirrorImageJournal  uint8 = 0
	MirrorImageSnapshot uint8 = 1
)

// MirrorImage is an entry of the list of mirrored images (version 2; 1 is
// accepted: journal mode).
type MirrorImage struct {
	GlobalID string
	State    uint8
	Mode     uint8
}

// Append appends i.
func (i MirrorImage) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendU8(denc.AppendU8(denc.AppendString(b, i.GlobalID), i.State), i.Mode), at)
}

// Decode reads i.
func (i *MirrorImage) Decode(r *denc.Reader) {
	s := r.Enter("MirrorImage", 2)
	i.GlobalID, i.State, i.Mode = r.String(), r.U8(), 0
	if s.V >= 2 {
		i.Mode = r.U8()
	}
	r.Leave(s)
}

// The states of replaying an image (MirrorImageStatusState).
const (
	MirrorStatusUnknown         uint8 = 0
	MirrorStatusError           uint8 = 1
	MirrorStatusSyncing         uint8 = 2
	MirrorStatusStartingReplay  uint8 = 3
	MirrorStatusReplaying       uint8 = 4
	MirrorStatusStoppingReplay  uint8 = 5
	MirrorStatusStopped         uint8 = 6
	mirrorStatusVersionLocal          = 1
	mirrorStatusVersionSite           = 2
	mirrorImageStatusVersion          = 2
	mirrorSiteStatusMinimumSize       = 18
)

// MirrorSiteStatus is what one site's daemon says of an image. The local site's
// has no MirrorUUID and goes as version 1, the others' as version 2.
type MirrorSiteStatus struct {
	MirrorUUID  string
	State       uint8
	Description string
	LastUpdate  denc.Time
	Up          bool
}

// Append appends s.
func (s MirrorSiteStatus) Append(b []byte) []byte {
	v := uint8(mirrorStatusVersionLocal)
	if s.MirrorUUID != "" {
		v = mirrorStatusVersionSite
	}
	b, at := denc.Begin(b, v, v)
	return denc.End(s.fields(b, v), at)
}

func (s *MirrorSiteStatus) fields(b []byte, v uint8) []byte {
	if v >= mirrorStatusVersionSite {
		b = denc.AppendString(b, s.MirrorUUID)
	}
	b = denc.AppendString(denc.AppendU8(b, s.State), s.Description)
	return denc.AppendBool(denc.AppendTime(b, s.LastUpdate), s.Up)
}

// Decode reads s.
func (s *MirrorSiteStatus) Decode(r *denc.Reader) {
	sec := r.Enter("MirrorImageSiteStatus", mirrorStatusVersionSite)
	s.read(r, sec.V)
	r.Leave(sec)
}

func (s *MirrorSiteStatus) read(r *denc.Reader, v uint8) {
	*s = MirrorSiteStatus{}
	if v >= mirrorStatusVersionSite {
		s.MirrorUUID = r.String()
	}
	s.State, s.Description, s.LastUpdate, s.Up = r.U8(), r.String(), r.Time(), r.Bool()
}

// MirrorImageStatus is the answer of mirror_image_status_get and _list: all
// sites' statuses of one image (version 2).
type MirrorImageStatus struct {
	Local      MirrorSiteStatus
	LocalValid bool
	Remotes    []MirrorSiteStatus
}

// Append appends s.
func (s MirrorImageStatus) Append(b []byte) []byte {
	b, at := denc.Begin(b, mirrorImageStatusVersion, 1)
	b = s.Local.fields(b, mirrorStatusVersionLocal)
	b = denc.AppendBool(b, s.LocalValid)
	b = denc.AppendSlice(b, s.Remotes, func(b []byte, r MirrorSiteStatus) []byte { return r.fields(b, mirrorStatusVersionSite) })
	return denc.End(b, at)
}

// Decode reads s.
func (s *MirrorImageStatus) Decode(r *denc.Reader) {
	*s = MirrorImageStatus{}
	sec := r.Enter("MirrorImageStatus", mirrorImageStatusVersion)
	s.Local.read(r, mirrorStatusVersionLocal)
	s.LocalValid = true
	if sec.V >= 2 {
		s.LocalValid = r.Bool()
		s.Remotes = denc.Slice(r, mirrorSiteStatusMinimumSize, func(r *denc.Reader) (one MirrorSiteStatus) {
			one.read(r, mirrorStatusVersionSite)
			return one
		})
	}
	r.Leave(sec)
}

// MirrorImageMap says which daemon instance replays an image (version 1).
type MirrorImageMap struct {
	InstanceID string
	Mapped     denc.Time
	Data       []byte
}

// Append appends m.
func (m MirrorImageMap) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendTime(denc.AppendString(b, m.InstanceID), m.Mapped), m.Data), at)
}

// Decode reads m.
func (m *MirrorImageMap) Decode(r *denc.Reader) {
	s := r.Enter("MirrorImageMap", 1)
	m.InstanceID, m.Mapped, m.Data = r.String(), r.Time(), r.Bytes()
	r.Leave(s)
}

// The messages on rbd_mirroring.
const (
	MirroringModeUpdated  uint32 = 0
	MirroringImageUpdated uint32 = 1
)

// MirroringMessage is a message on rbd_mirroring (version 1).
type MirroringMessage struct {
	Op                uint32
	Mode              uint32 // ModeUpdated
	State             uint32 // ImageUpdated: the image's new state
	ImageID, GlobalID string
}

// Append appends m.
func (m MirroringMessage) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU32(b, m.Op)
	if m.Op == MirroringModeUpdated {
		b = denc.AppendU32(b, m.Mode)
	} else {
		b = denc.AppendString(denc.AppendString(denc.AppendU32(b, m.State), m.ImageID), m.GlobalID)
	}
	return denc.End(b, at)
}

// Decode reads m.
func (m *MirroringMessage) Decode(r *denc.Reader) {
	*m = MirroringMessage{}
	s := r.Enter("mirroring NotifyMessage", 1)
	switch m.Op = r.U32(); m.Op {
	case MirroringModeUpdated:
		m.Mode = r.U32()
	case MirroringImageUpdated:
		m.State, m.ImageID, m.GlobalID = r.U32(), r.String(), r.String()
	default:
		r.Fail(fmt.Errorf("%w: %d", ErrNotifyOp, m.Op))
	}
	r.Leave(s)
}

// SnapState is a user's snapshot in an ImageState (version 1).
type SnapState struct {
	Namespace  SnapshotNamespace
	Name       string
	Protection uint8
}

// Append appends s.
func (s SnapState) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU8(denc.AppendString(s.Namespace.Append(b), s.Name), s.Protection), at)
}

// Decode reads s.
func (s *SnapState) Decode(r *denc.Reader) {
	sec := r.Enter("SnapState", 1)
	s.Namespace.Decode(r)
	s.Name, s.Protection = r.String(), r.U8()
	r.Leave(sec)
}

// ImageState is what an image was like when a mirror snapshot was taken (version
// 1). It is kept in objects rbd_mirror_snapshot.<image id>.<snap id>.<n>, the
// first of which begins with an ImageStateHeader.
type ImageState struct {
	Name      string
	Features  uint64 // without those that follow from others
	SnapLimit uint64
	Snaps     map[uint64]SnapState
	Metadata  map[string][]byte
}

// Append appends s.
func (s ImageState) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU64(denc.AppendU64(denc.AppendString(b, s.Name), s.Features), s.SnapLimit)
	b = denc.AppendMap(b, s.Snaps, denc.AppendU64, func(b []byte, s SnapState) []byte { return s.Append(b) })
	return denc.End(denc.AppendMap(b, s.Metadata, denc.AppendString, denc.AppendBytes), at)
}

// Decode reads s.
func (s *ImageState) Decode(r *denc.Reader) {
	sec := r.Enter("ImageState", 1)
	s.Name, s.Features, s.SnapLimit = r.String(), r.U64(), r.U64()
	s.Snaps = denc.Map(r, 14, (*denc.Reader).U64, func(r *denc.Reader) (one SnapState) {
		one.Decode(r)
		return one
	})
	s.Metadata = denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).Bytes)
	r.Leave(sec)
}

// ImageStateHeader says over how many objects an ImageState is spread (version
// 1).
type ImageStateHeader struct{ Objects uint32 }

// Append appends h.
func (h ImageStateHeader) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(b, h.Objects), at)
}

// Decode reads h.
func (h *ImageStateHeader) Decode(r *denc.Reader) {
	s := r.Enter("ImageStateHeader", 1)
	h.Objects = r.U32()
	r.Leave(s)
}
