package cephx

import (
	"encoding/binary"
	"fmt"

	"crypto/hmac"
	"crypto/sha256"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Method numbers of the msgr2 handshake.
const (
	MethodNone  uint32 = 1
	MethodCephx uint32 = 2
)

// Modes of the first authentication payload (AUTH_MODE_*).
const (
	authModeAuthorizer uint8 = 1
	authModeMon        uint8 = 10
)

// Requests to a monitor (CEPHX_GET_*).
const (
	requestAuthSession      uint16 = 0x0100
	requestPrincipalSession uint16 = 0x0200
)

const (
	errnoPermission = 1
	errnoAccess     = 13
	errnoInvalid    = 22
)

// Hello is the first payload that a client sends to a monitor: whom it wants to
// be, and the global id it had before, or 0.
type Hello struct {
	Name     entity.AuthName
	GlobalID uint64
}

// Append appends u8 mode, EntityName, u64 global id.
func (h *Hello) Append(b []byte) []byte {
	return denc.AppendU64(h.Name.Append(denc.AppendU8(b, authModeMon)), h.GlobalID)
}

// Decode reads what Append wrote.
func (h *Hello) Decode(r *denc.Reader) {
	if mode := r.U8(); r.Err() == nil && mode != authModeMon {
		r.Failf("authentication mode %d, want %d (monitor)", mode, authModeMon)
	}
	h.Name.Decode(r)
	h.GlobalID = r.U64()
}

// ServerChallenge is CephXServerChallenge: the number that a proof must cover.
// A service sends the same, sealed, as CephXAuthorizeChallenge.
type ServerChallenge struct {
	Challenge uint64
}

// Append appends c.
func (c *ServerChallenge) Append(b []byte) []byte {
	return denc.AppendU64(denc.AppendU8(b, 1), c.Challenge)
}

// Decode reads c.
func (c *ServerChallenge) Decode(r *denc.Reader) {
	r.U8()
	c.Challenge = r.U64()
}

// Authenticate is CephXAuthenticate: the answer to a monitor's challenge.
type Authenticate struct {
	// V is 1 to 3. From 3 on the client promises to show its old ticket
	// whenever it wants its old global id back.
	V               uint8
	ClientChallenge uint64
	Proof           uint64
	OldTicket       TicketBlob
	// Services is the mask of services to get tickets for (from version 2 on).
	Services entity.Type
}

const authenticateVersion = 3

// Append appends a.
func (a *Authenticate) Append(b []byte) []byte {
	b = denc.AppendU8(b, a.V)
	b = denc.AppendU64(b, a.ClientChallenge)
	b = denc.AppendU64(b, a.Proof)
	b = a.OldTicket.Append(b)
	if a.V >= 2 {
		b = denc.AppendU32(b, uint32(a.Services))
	}
	return b
}

// Decode reads a.
func (a *Authenticate) Decode(r *denc.Reader) {
	*a = Authenticate{V: r.U8(), ClientChallenge: r.U64(), Proof: r.U64()}
	a.OldTicket.Decode(r)
	if a.V >= 2 {
		a.Services = entity.Type(r.U32())
	}
}

// proof returns the number that shows knowledge of k.
func (k Key) proof(server, client uint64) (uint64, error) {
	both := denc.AppendU64(denc.AppendU64(nil, server), client)
	switch k.Type {
	case KeyAES:
		// The sealed value's length takes part, and what does not fill a last
		// word is ignored.
		sealed, err := k.appendSealed(nil, 0, both)
		if err != nil {
			return 0, err
		}
		return foldWords(sealed), nil
	case KeyAES256K:
		h := hmac.New(sha256.New, k.Secret)
		h.Write(both)
		return foldWords(h.Sum(nil)), nil
	}
	return 0, fmt.Errorf("%w: no proof with %s", ErrBadKey, k.Type)
}

// foldWords XORs the whole little-endian words of p.
func foldWords(p []byte) uint64 {
	var v uint64
	for ; len(p) >= 8; p = p[8:] {
		v ^= binary.LittleEndian.Uint64(p)
	}
	return v
}

// AuthorizerHead is what an authorizer shows in clear: whose ticket for which
// service.
type AuthorizerHead struct {
	GlobalID uint64
	Service  entity.Type
	Ticket   TicketBlob
}

// Append appends h.
func (h *AuthorizerHead) Append(b []byte) []byte {
	b = denc.AppendU8(b, 1)
	b = denc.AppendU64(b, h.GlobalID)
	b = denc.AppendU32(b, uint32(h.Service))
	return h.Ticket.Append(b)
}

// Decode reads h.
func (h *AuthorizerHead) Decode(r *denc.Reader) {
	r.U8()
	h.GlobalID = r.U64()
	h.Service = entity.Type(r.U32())
	h.Ticket.Decode(r)
}

// Authorize is CephXAuthorize: the sealed part of an authorizer.
type Authorize struct {
	Nonce uint64
	// Answered says that ChallengePlusOne answers the service's challenge.
	Answered         bool
	ChallengePlusOne uint64
}

// Append appends a.
func (a *Authorize) Append(b []byte) []byte {
	b = denc.AppendU64(denc.AppendU8(b, 2), a.Nonce)
	return denc.AppendU64(denc.AppendBool(b, a.Answered), a.ChallengePlusOne)
}

// Decode reads a.
func (a *Authorize) Decode(r *denc.Reader) {
	v := r.U8()
	*a = Authorize{Nonce: r.U64()}
	if v >= 2 {
		a.Answered = r.Bool()
		a.ChallengePlusOne = r.U64()
	}
}

// AuthorizeReply is CephXAuthorizeReply: the service's proof that it opened the
// authorizer, with the connection's secret when there is one.
type AuthorizeReply struct {
	NoncePlusOne     uint64
	ConnectionSecret []byte
}

// Append appends a.
func (a *AuthorizeReply) Append(b []byte) []byte {
	if len(a.ConnectionSecret) == 0 {
		return denc.AppendU64(denc.AppendU8(b, 1), a.NoncePlusOne)
	}
	b = denc.AppendU64(denc.AppendU8(b, 2), a.NoncePlusOne)
	return denc.AppendBytes(b, a.ConnectionSecret)
}

// Decode reads a. ConnectionSecret aliases the reader's bytes.
func (a *AuthorizeReply) Decode(r *denc.Reader) {
	v := r.U8()
	*a = AuthorizeReply{NoncePlusOne: r.U64()}
	if v >= 2 {
		a.ConnectionSecret = r.Bytes()
	}
}

// responseHead is CephXResponseHeader: which request a reply answers, and how.
type responseHead struct {
	Request uint16
	// Status is 0 or a negative errno.
	Status int32
}

func (h *responseHead) Append(b []byte) []byte {
	return denc.AppendS32(denc.AppendU16(b, h.Request), h.Status)
}

func (h *responseHead) Decode(r *denc.Reader) {
	h.Request = r.U16()
	h.Status = r.S32()
}
