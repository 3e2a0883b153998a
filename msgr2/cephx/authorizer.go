package cephx

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Authorizer authenticates one connection to an OSD, a manager or an MDS by the
// ticket for that service. It implements msgr2.ClientAuth.
type Authorizer struct {
	name     entity.AuthName
	globalID uint64
	ticket   Ticket
	service  entity.Type

	nonce    uint64
	answered bool
}

var _ msgr2.ClientAuth = (*Authorizer)(nil)

// Authorizer returns an authenticator for one connection to service. It fails
// with ErrNoTicket when there is no valid ticket.
func (c *Client) Authorizer(service entity.Type) (*Authorizer, error) {
	t, gid, ok := c.ticketFor(service)
	if !ok {
		return nil, fmt.Errorf("%s for service %s: %w", c.name, service, ErrNoTicket)
	}
	return &Authorizer{name: c.name, globalID: gid, ticket: t.Ticket, service: service, nonce: randomU64()}, nil
}

// Method implements msgr2.ClientAuth.
func (a *Authorizer) Method() uint32 { return MethodCephx }

// Start implements msgr2.ClientAuth.
func (a *Authorizer) Start([]msgr2.Mode) ([]byte, error) {
	return a.build(Authorize{Nonce: a.nonce})
}

func (a *Authorizer) build(auth Authorize) ([]byte, error) {
	head := AuthorizerHead{GlobalID: a.globalID, Service: a.service, Ticket: a.ticket.Blob}
	return a.ticket.SessionKey.appendSealed(head.Append(nil), usageAuthorize, auth.Append(nil))
}

// More implements msgr2.ClientAuth: it answers the service's challenge.
func (a *Authorizer) More(in []byte) ([]byte, error) {
	if a.answered {
		return nil, fmt.Errorf("%w: second challenge", ErrPeer)
	}
	a.answered = true
	p, err := a.ticket.SessionKey.open(usageAuthorizeChallenge, in)
	if err != nil {
		return nil, fmt.Errorf("%w: challenge of service %s: %w", ErrPeer, a.service, err)
	}
	var c ServerChallenge
	r := denc.NewReader(p)
	if c.Decode(r); r.Err() != nil {
		return nil, fmt.Errorf("challenge of service %s: %w", a.service, r.Err())
	}
	return a.build(Authorize{Nonce: a.nonce, Answered: true, ChallengePlusOne: c.Challenge + 1})
}

// Done implements msgr2.ClientAuth: it checks that the service could open the
// ticket.
func (a *Authorizer) Done(_ uint64, mode msgr2.Mode, in []byte) (msgr2.AuthResult, error) {
	session := a.ticket.SessionKey
	p, err := session.open(usageAuthorizeReply, denc.NewReader(in).Bytes())
	if err != nil {
		return msgr2.AuthResult{}, fmt.Errorf("%w: reply of service %s: %w", ErrPeer, a.service, err)
	}
	var reply AuthorizeReply
	r := denc.NewReader(p)
	if reply.Decode(r); r.Err() != nil {
		return msgr2.AuthResult{}, fmt.Errorf("reply of service %s: %w", a.service, r.Err())
	}
	if reply.NoncePlusOne != a.nonce+1 {
		return msgr2.AuthResult{}, fmt.Errorf("%w: service %s answers another authorizer", ErrPeer, a.service)
	}
	if mode == msgr2.ModeSecure && len(reply.ConnectionSecret) == 0 {
		return msgr2.AuthResult{}, fmt.Errorf("%w: secure mode without a connection secret", ErrPeer)
	}
	return msgr2.AuthResult{SessionKey: session.Secret, ConnectionSecret: reply.ConnectionSecret}, nil
}

// BadMethod implements msgr2.ClientAuth. The error wraps ErrTicketRefused unless
// the service wants another method.
func (a *Authorizer) BadMethod(result int32, methods, _ []uint32) error {
	for _, m := range methods {
		if m == MethodCephx {
			return fmt.Errorf("%w: service %s does not take the ticket of %s (errno %d): it expired, its key was rotated away, or the clocks of the servers differ", ErrTicketRefused, a.service, a.name, -result)
		}
	}
	return fmt.Errorf("service %s: %w", a.service, &MethodError{MethodCephx, methods})
}
