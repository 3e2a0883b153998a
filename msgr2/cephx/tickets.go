package cephx

import (
	"fmt"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// TicketBlob is CephXTicketBlob: a ticket as the client carries it, closed to
// everyone but the service whose rotating key SecretID names.
type TicketBlob struct {
	SecretID uint64
	Blob     []byte
}

// IsZero reports whether there is no ticket.
func (t TicketBlob) IsZero() bool { return len(t.Blob) == 0 }

// Append appends t.
func (t *TicketBlob) Append(b []byte) []byte {
	return denc.AppendBytes(denc.AppendU64(denc.AppendU8(b, 1), t.SecretID), t.Blob)
}

// Decode reads t. Blob is a copy.
func (t *TicketBlob) Decode(r *denc.Reader) {
	r.U8()
	t.SecretID = r.U64()
	t.Blob = append([]byte(nil), r.Bytes()...)
}

// ServiceTicket is CephXServiceTicket: what the owner of a ticket learns of it.
type ServiceTicket struct {
	SessionKey Key
	Validity   time.Duration
}

// Append appends s.
func (s *ServiceTicket) Append(b []byte) []byte {
	b = s.SessionKey.Append(denc.AppendU8(b, 1))
	return denc.AppendTime(b, denc.Time{Sec: uint32(s.Validity / time.Second), Nsec: uint32(s.Validity % time.Second)})
}

// Decode reads s.
func (s *ServiceTicket) Decode(r *denc.Reader) {
	r.U8()
	s.SessionKey.Decode(r)
	t := r.Time()
	s.Validity = time.Duration(t.Sec)*time.Second + time.Duration(t.Nsec)
}

// Ticket is one ticket of a monitor's reply.
type Ticket struct {
	Service entity.Type
	ServiceTicket
	Blob TicketBlob
}

// minTicketSize is the least size of an entry in a ticket list.
const minTicketSize = 4 + 1 + 4 + 1 + 4

// appendTickets appends a list of tickets whose owner's part is sealed with
// owner. When previous is not nil the blobs are sealed with it as well, as a
// monitor does for a client that showed an old ticket.
func appendTickets(b []byte, ts []Ticket, owner Key, previous *Key) ([]byte, error) {
	b = denc.AppendU32(denc.AppendU8(b, 1), uint32(len(ts)))
	for _, t := range ts {
		b = denc.AppendU8(denc.AppendU32(b, uint32(t.Service)), 1)
		var err error
		if b, err = owner.appendSealed(b, usageServiceTicket, t.ServiceTicket.Append(nil)); err != nil {
			return nil, err
		}
		blob := t.Blob.Append(nil)
		b = denc.AppendBool(b, previous != nil)
		if previous == nil {
			b = denc.AppendBytes(b, blob)
			continue
		}
		if b, err = previous.appendSealed(b, usageRenewedTicket, denc.AppendBytes(nil, blob)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readTickets reads a list of tickets. previous is the session key of the
// ticket that was shown with the request, if any.
func readTickets(r *denc.Reader, owner Key, previous Key) ([]Ticket, error) {
	r.U8()
	n := r.Count(minTicketSize)
	ts := make([]Ticket, 0, n)
	for range n {
		t, err := readTicket(r, owner, previous)
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return ts, r.Err()
}

func readTicket(r *denc.Reader, owner, previous Key) (Ticket, error) {
	t := Ticket{Service: entity.Type(r.U32())}
	r.U8()
	sealed, encrypted, blob := r.Bytes(), r.Bool(), r.Bytes()
	if r.Err() != nil {
		return t, r.Err()
	}
	p, err := owner.open(usageServiceTicket, sealed)
	if err != nil {
		return t, fmt.Errorf("ticket for service %s: %w", t.Service, err)
	}
	pr := denc.NewReader(p)
	t.ServiceTicket.Decode(pr)
	if pr.Err() != nil {
		return t, fmt.Errorf("ticket for service %s: %w", t.Service, pr.Err())
	}
	if encrypted {
		if blob, err = previous.open(usageRenewedTicket, blob); err != nil {
			return t, fmt.Errorf("renewed ticket for service %s: %w", t.Service, err)
		}
		blob = denc.NewReader(blob).Bytes()
	}
	br := denc.NewReader(blob)
	t.Blob.Decode(br)
	if br.Err() != nil {
		return t, fmt.Errorf("ticket for service %s: %w", t.Service, br.Err())
	}
	return t, nil
}

// TicketInfo is CephXServiceTicketInfo: what a service finds in a ticket.
type TicketInfo struct {
	Name             entity.AuthName
	GlobalID         uint64
	Created, Expires denc.Time
	// AllowAll and Caps are what the entity may do at this service. Caps is an
	// encoded string as the key database holds it.
	AllowAll   bool
	Caps       []byte
	Flags      uint32
	SessionKey Key
}

// Append appends t: CephXServiceTicketInfo 1, AuthTicket 2, AuthCapsInfo 1.
func (t *TicketInfo) Append(b []byte) []byte {
	b = append(b, 1, 2)
	b = t.Name.Append(b)
	b = denc.AppendU64(b, t.GlobalID)
	b = denc.AppendU64(b, ^uint64(0)) // auid, gone since 12.2
	b = denc.AppendTime(denc.AppendTime(b, t.Created), t.Expires)
	b = denc.AppendBool(denc.AppendU8(b, 1), t.AllowAll)
	b = denc.AppendBytes(b, t.Caps)
	b = denc.AppendU32(b, t.Flags)
	return t.SessionKey.Append(b)
}

// Decode reads t. Caps is a copy.
func (t *TicketInfo) Decode(r *denc.Reader) {
	r.U8()
	v := r.U8()
	t.Name.Decode(r)
	t.GlobalID = r.U64()
	if v >= 2 {
		r.U64()
	}
	t.Created, t.Expires = r.Time(), r.Time()
	r.U8()
	t.AllowAll = r.Bool()
	t.Caps = append([]byte(nil), r.Bytes()...)
	t.Flags = r.U32()
	t.SessionKey.Decode(r)
}
