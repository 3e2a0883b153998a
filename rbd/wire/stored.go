package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// EntityInst is entity_inst_t: a client and its address.
type EntityInst struct {
	Name entity.Name
	Addr entity.Addr
}

// Append appends e.
func (e EntityInst) Append(b []byte) []byte { return e.Addr.Append(e.Name.Append(b)) }

// Decode reads e.
func (e *EntityInst) Decode(r *denc.Reader) {
	e.Name.Decode(r)
	e.Addr.Decode(r)
}

// MirrorStoredStatus is a site's status as rbd_mirroring keeps it
// (MirrorImageSiteStatusOnDisk, version 1): who wrote it, and the status. The
// status counts as up as long as Origin watches rbd_mirroring.
type MirrorStoredStatus struct {
	// Origin's address is of type Any.
	Origin EntityInst
	Status MirrorSiteStatus
}

// Append appends m.
func (m MirrorStoredStatus) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return m.Status.Append(denc.End(m.Origin.Append(b), at))
}

// Decode reads m.
func (m *MirrorStoredStatus) Decode(r *denc.Reader) {
	s := r.Enter("MirrorImageSiteStatusOnDisk", 1)
	m.Origin.Decode(r)
	r.Leave(s)
	m.Status.Decode(r)
}
