package queue

import (
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// TwoPhaseClass is the name of class 2pc_queue; the others are its methods'.
const (
	TwoPhaseClass             = "2pc_queue"
	MethodTwoPhaseInit        = "2pc_queue_init"
	MethodTwoPhaseGetCapacity = "2pc_queue_get_capacity"
	MethodTwoPhaseStats       = "2pc_queue_get_topic_stats" // of 20.2
	MethodReserve             = "2pc_queue_reserve"
	MethodCommit              = "2pc_queue_commit"
	MethodAbort               = "2pc_queue_abort"
	MethodReservations        = "2pc_queue_list_reservations"
	MethodTwoPhaseList        = "2pc_queue_list_entries"
	MethodTwoPhaseRemove      = "2pc_queue_remove_entries"
	MethodExpire              = "2pc_queue_expire_reservations"
)

// XattrUrgent is the xattr that holds the reservations for which the head has
// no room: a map, without an envelope.
const XattrUrgent = "cls_queue_urgent_data"

// MaxUrgentSize is the room that 2pc_queue_init makes for reservations in the
// head.
const MaxUrgentSize = 23552

// Reservation is room that is kept for entries (cls_2pc_reservation).
type Reservation struct {
	// Old is that of 16.2 and 18.2, version 1, without Entries.
	Old     bool
	Size    uint64
	Time    denc.Time
	Entries uint32
}

func begin(b []byte, old bool) ([]byte, int) {
	if old {
		return denc.Begin(b, 1, 1)
	}
	return denc.Begin(b, 2, 1)
}

// Append appends v.
func (v Reservation) Append(b []byte) []byte {
	b, at := begin(b, v.Old)
	if b = denc.AppendTime(denc.AppendU64(b, v.Size), v.Time); !v.Old {
		b = denc.AppendU32(b, v.Entries)
	}
	return denc.End(b, at)
}

// Decode reads v.
func (v *Reservation) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_reservation", 2)
	*v = Reservation{Old: s.V < 2, Size: r.U64(), Time: r.Time()}
	if !v.Old {
		v.Entries = r.U32()
	}
	r.Leave(s)
}

// Reservations are reservations by their number. Ceph writes them in no order.
type Reservations map[uint32]Reservation

// Append appends m.
func (m Reservations) Append(b []byte) []byte {
	b = denc.AppendU32(b, uint32(len(m)))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		b = m[id].Append(denc.AppendU32(b, id))
	}
	return b
}

// Decode reads m.
func (m *Reservations) Decode(r *denc.Reader) {
	*m = denc.Map(r, 26, (*denc.Reader).U32, func(r *denc.Reader) (v Reservation) { v.Decode(r); return v })
}

// Urgent is the urgent data of a queue of two phases (cls_2pc_urgent_data).
type Urgent struct {
	// Old is that of 16.2 and 18.2, version 1, without Committed.
	Old          bool
	Reserved     uint64 // bytes
	LastID       uint32
	Reservations Reservations
	// More says that XattrUrgent has some.
	More      bool
	Committed uint32 // entries
}

// Append appends u.
func (u Urgent) Append(b []byte) []byte {
	b, at := begin(b, u.Old)
	b = u.Reservations.Append(denc.AppendU32(denc.AppendU64(b, u.Reserved), u.LastID))
	if b = denc.AppendBool(b, u.More); !u.Old {
		b = denc.AppendU32(b, u.Committed)
	}
	return denc.End(b, at)
}

// Decode reads u.
func (u *Urgent) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_urgent_data", 2)
	*u = Urgent{Old: s.V < 2, Reserved: r.U64(), LastID: r.U32()}
	u.Reservations.Decode(r)
	if u.More = r.Bool(); !u.Old {
		u.Committed = r.U32()
	}
	r.Leave(s)
}

// Reserve is the argument of 2pc_queue_reserve (cls_2pc_queue_reserve_op).
type Reserve struct {
	Size    uint64
	Entries uint32
}

// Append appends v.
func (v Reserve) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(denc.AppendU64(b, v.Size), v.Entries), at)
}

// Decode reads v.
func (v *Reserve) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_queue_reserve_op", 1)
	v.Size, v.Entries = r.U64(), r.U32()
	r.Leave(s)
}

// ID is the result of 2pc_queue_reserve and the argument of 2pc_queue_abort
// (cls_2pc_queue_reserve_ret, cls_2pc_queue_abort_op).
type ID struct{ ID uint32 }

// Append appends i.
func (i ID) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(b, i.ID), at)
}

// Decode reads i.
func (i *ID) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_queue_reserve_ret", 1)
	i.ID = r.U32()
	r.Leave(s)
}

// Commit is the argument of 2pc_queue_commit (cls_2pc_queue_commit_op).
type Commit struct {
	ID   uint32
	Data [][]byte
}

// Append appends c.
func (c Commit) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(denc.AppendU32(b, c.ID), c.Data, denc.AppendBytes), at)
}

// Decode reads c.
func (c *Commit) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_queue_commit_op", 1)
	c.ID, c.Data = r.U32(), denc.Slice(r, 4, (*denc.Reader).Bytes)
	r.Leave(s)
}

// Expire is the argument of 2pc_queue_expire_reservations
// (cls_2pc_queue_expire_op): reservations from before Time go.
type Expire struct{ Time denc.Time }

// Append appends e.
func (e Expire) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(b, e.Time), at)
}

// Decode reads e.
func (e *Expire) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_queue_expire_op", 1)
	e.Time = r.Time()
	r.Leave(s)
}

// ReservationList is the result of 2pc_queue_list_reservations
// (cls_2pc_queue_reservations_ret).
type ReservationList struct{ Reservations Reservations }

// Append appends l.
func (l ReservationList) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(l.Reservations.Append(b), at)
}

// Decode reads l.
func (l *ReservationList) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_queue_reservations_ret", 1)
	l.Reservations.Decode(r)
	r.Leave(s)
}

// TwoPhaseRemove is the argument of 2pc_queue_remove_entries
// (cls_2pc_queue_remove_op, version 2; version 1, the class's of 16.2 and 18.2,
// has no Entries, which the OSD then counts).
type TwoPhaseRemove struct {
	End     string
	Entries uint32
}

// Append appends m.
func (m TwoPhaseRemove) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendU32(denc.AppendString(b, m.End), m.Entries), at)
}

// Decode reads m.
func (m *TwoPhaseRemove) Decode(r *denc.Reader) {
	s := r.Enter("cls_2pc_queue_remove_op", 2)
	m.End, m.Entries = r.String(), 0
	if s.V >= 2 {
		m.Entries = r.U32()
	}
	r.Leave(s)
}
