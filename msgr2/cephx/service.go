package cephx

import (
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// ServiceAuth authenticates one connection to an OSD, a manager or an MDS by
// the ticket that the client shows. It implements msgr2.ServerAuth.
type ServiceAuth struct {
	server  *KeyServer
	service entity.Type
	modes   []msgr2.Mode

	challenge uint64
	asked     bool
	info      TicketInfo
	done      bool
}

var _ msgr2.ServerAuth = (*ServiceAuth)(nil)

// ServiceAuth returns the authenticator of a new connection to a daemon of the
// given service.
func (s *KeyServer) ServiceAuth(service entity.Type) *ServiceAuth {
	return &ServiceAuth{server: s, service: service}
}

// Entity returns who came in, and its global id. Both are zero before the
// handshake has ended.
func (a *ServiceAuth) Entity() (entity.AuthName, uint64) {
	if !a.done {
		return entity.AuthName{}, 0
	}
	return a.info.Name, a.info.GlobalID
}

// Caps returns what the ticket lets its owner do at this service.
func (a *ServiceAuth) Caps() string { return denc.NewReader(a.info.Caps).String() }

// Begin implements msgr2.ServerAuth: it answers with a challenge.
func (a *ServiceAuth) Begin(method uint32, modes []msgr2.Mode, _ entity.Type, payload []byte) (msgr2.AuthStep, error) {
	if method != MethodCephx {
		return refuse(errnoNotSupported, MethodCephx), nil
	}
	a.modes = modes
	info, _, ok := a.check(payload)
	if !ok {
		return refuse(errnoAccess, MethodCephx), nil
	}
	a.challenge, a.asked = randomU64(), true
	c := ServerChallenge{a.challenge}
	p, err := info.SessionKey.seal(usageAuthorizeChallenge, c.Append(nil))
	return msgr2.AuthStep{More: p}, err
}

// check opens an authorizer's ticket and its sealed part.
func (a *ServiceAuth) check(payload []byte) (TicketInfo, Authorize, bool) {
	var head AuthorizerHead
	var auth Authorize
	r := denc.NewReader(payload)
	head.Decode(r)
	sealed := r.Bytes()
	if r.Err() != nil || head.Service != a.service {
		return TicketInfo{}, auth, false
	}
	info, err := a.server.openTicket(a.service, head.Ticket)
	if err != nil || info.GlobalID != head.GlobalID {
		return TicketInfo{}, auth, false
	}
	p, err := info.SessionKey.open(usageAuthorize, sealed)
	if err != nil {
		return TicketInfo{}, auth, false
	}
	pr := denc.NewReader(p)
	auth.Decode(pr)
	return info, auth, pr.Err() == nil
}

// Continue implements msgr2.ServerAuth.
func (a *ServiceAuth) Continue(payload []byte) (msgr2.AuthStep, error) {
	info, auth, ok := a.check(payload)
	if !ok || !a.asked || !auth.Answered || auth.ChallengePlusOne != a.challenge+1 {
		return refuse(errnoAccess, MethodCephx), nil
	}
	mode, ok := a.server.chooseMode(a.modes)
	if !ok {
		return refuse(errnoInvalid, MethodCephx), nil
	}
	reply := AuthorizeReply{NoncePlusOne: auth.Nonce + 1}
	if mode == msgr2.ModeSecure {
		reply.ConnectionSecret = make([]byte, secretSize)
		fillRandom(reply.ConnectionSecret)
	}
	p, err := info.SessionKey.appendSealed(nil, usageAuthorizeReply, reply.Append(nil))
	if err != nil {
		return msgr2.AuthStep{}, err
	}
	a.info, a.done = info, true
	return msgr2.AuthStep{
		Done: true, Mode: mode, GlobalID: info.GlobalID, Payload: p,
		SessionKey: info.SessionKey.Secret, ConnectionSecret: reply.ConnectionSecret,
	}, nil
}
