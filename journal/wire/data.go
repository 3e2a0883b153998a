package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// The kinds of clients of an image's journal.
const (
	ClientImage      uint32 = 0
	ClientMirrorPeer uint32 = 1
	ClientCLI        uint32 = 2
)

// The states of a mirroring peer.
const (
	PeerSyncing   uint32 = 0
	PeerReplaying uint32 = 1
)

// SyncPoint is a snapshot that a peer copies the image from.
type SyncPoint struct {
	SnapName, FromSnapName string
	Object                 *uint64 // how far it has come
	// Namespace is the snapshot's namespace as it is encoded, section and all.
	Namespace []byte
}

// ClientData is the data of a Client of an image's journal (version 2; 1 is
// accepted for all but mirroring peers).
type ClientData struct {
	Kind uint32

	// ClientImage.
	TagClass        uint64
	ResyncRequested bool

	// ClientMirrorPeer: the image over there, and how far its first copy is.
	ImageID     string
	State       uint32
	SyncObjects uint64
	SyncPoints  []SyncPoint
	SnapSeqs    map[uint64]uint64 // the journal's snapshot ids to the peer's
}

// Append appends c.
func (c ClientData) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendU32(b, c.Kind)
	switch c.Kind {
	case ClientImage:
		b = denc.AppendBool(denc.AppendU64(b, c.TagClass), c.ResyncRequested)
	case ClientMirrorPeer:
		b = denc.AppendU64(denc.AppendU32(denc.AppendString(b, c.ImageID), c.State), c.SyncObjects)
		b = denc.AppendSlice(b, c.SyncPoints, func(b []byte, p SyncPoint) []byte {
			b = denc.AppendBool(denc.AppendString(denc.AppendString(b, p.SnapName), p.FromSnapName), p.Object != nil)
			if p.Object != nil {
				b = denc.AppendU64(b, *p.Object)
			}
			return append(b, p.Namespace...)
		})
		b = denc.AppendMap(b, c.SnapSeqs, denc.AppendU64, denc.AppendU64)
	}
	return denc.End(b, at)
}

// Decode reads c; the namespaces alias the Reader's bytes.
func (c *ClientData) Decode(r *denc.Reader) {
	*c = ClientData{}
	s := r.Enter("journal ClientData", 2)
	c.Kind = r.U32()
	switch c.Kind {
	case ClientImage:
		c.TagClass, c.ResyncRequested = r.U64(), r.Bool()
	case ClientMirrorPeer:
		if s.V < 2 {
			r.Failf("mirroring peer of version %d", s.V)
		}
		c.ImageID, c.State, c.SyncObjects = r.String(), r.U32(), r.U64()
		c.SyncPoints = denc.Slice(r, 15, readSyncPoint)
		c.SnapSeqs = denc.Map(r, 16, (*denc.Reader).U64, (*denc.Reader).U64)
	}
	r.Leave(s)
}

func readSyncPoint(r *denc.Reader) SyncPoint {
	p := SyncPoint{SnapName: r.String(), FromSnapName: r.String()}
	if r.Bool() {
		n := r.U64()
		p.Object = &n
	}
	const head = 6
	look := *r
	look.Skip(2)
	p.Namespace = r.Raw(head + int(look.U32()))
	return p
}

// The mirror UUIDs that stand for owners that are no other site.
const (
	LocalOwner  = ""
	OrphanOwner = "<orphan>"
)

// TagData is the data of a Tag of an image's journal: who may write the entries,
// and where the former owner's end. It has no version.
type TagData struct {
	MirrorUUID  string
	Predecessor TagPredecessor
}

// TagPredecessor is the last entry of the owner before.
type TagPredecessor struct {
	MirrorUUID  string
	CommitValid bool // an entry was committed
	TagTID      uint64
	EntryTID    uint64
}

// Append appends t.
func (t TagData) Append(b []byte) []byte {
	p := t.Predecessor
	b = denc.AppendBool(denc.AppendString(denc.AppendString(b, t.MirrorUUID), p.MirrorUUID), p.CommitValid)
	return denc.AppendU64(denc.AppendU64(b, p.TagTID), p.EntryTID)
}

// Decode reads t.
func (t *TagData) Decode(r *denc.Reader) {
	t.MirrorUUID = r.String()
	t.Predecessor = TagPredecessor{MirrorUUID: r.String(), CommitValid: r.Bool(), TagTID: r.U64(), EntryTID: r.U64()}
}
