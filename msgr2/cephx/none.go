package cephx

import (
	"sync/atomic"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// None authenticates by name only (auth_client_required = none). It implements
// msgr2.ClientAuth, for one connection to a monitor or a service.
type None struct {
	name entity.AuthName
	// service says that the connection goes to a service.
	service  bool
	globalID uint64
}

var _ msgr2.ClientAuth = (*None)(nil)

// NewNone returns an authenticator for a connection to a monitor (service
// false; globalID is the one to keep, or 0) or to a service (globalID is ours).
func NewNone(name entity.AuthName, service bool, globalID uint64) *None {
	return &None{name: name, service: service, globalID: globalID}
}

// GlobalID returns the id that the monitor gave.
func (n *None) GlobalID() uint64 { return n.globalID }

// Method implements msgr2.ClientAuth.
func (n *None) Method() uint32 { return MethodNone }

// Start implements msgr2.ClientAuth.
func (n *None) Start([]msgr2.Mode) ([]byte, error) {
	mode := authModeMon
	if n.service {
		mode = authModeAuthorizer
	}
	return denc.AppendU64(n.name.Append(denc.AppendU8(nil, mode)), n.globalID), nil
}

// More implements msgr2.ClientAuth: "none" has no second round.
func (n *None) More([]byte) ([]byte, error) { return nil, nil }

// Done implements msgr2.ClientAuth.
func (n *None) Done(globalID uint64, _ msgr2.Mode, _ []byte) (msgr2.AuthResult, error) {
	if !n.service {
		n.globalID = globalID
	}
	return msgr2.AuthResult{}, nil
}

// BadMethod implements msgr2.ClientAuth.
func (n *None) BadMethod(result int32, methods, modes []uint32) error {
	return badMethod(n.name, MethodNone, result, methods, modes)
}

// NoneServer lets everybody in by name. It implements msgr2.ServerAuth for one
// connection.
type NoneServer struct {
	ids  *atomic.Uint64
	name entity.AuthName
	gid  uint64
}

var _ msgr2.ServerAuth = (*NoneServer)(nil)

// NewNoneServer returns the server half for one connection. New clients get
// their global ids from ids.
func NewNoneServer(ids *atomic.Uint64) *NoneServer { return &NoneServer{ids: ids} }

// Entity returns who came in.
func (n *NoneServer) Entity() (entity.AuthName, uint64) { return n.name, n.gid }

// Begin implements msgr2.ServerAuth. Secure mode is not possible without keys,
// so the mode is always crc.
func (n *NoneServer) Begin(method uint32, _ []msgr2.Mode, _ entity.Type, payload []byte) (msgr2.AuthStep, error) {
	if method != MethodNone {
		return refuse(errnoNotSupported, MethodNone), nil
	}
	r := denc.NewReader(payload)
	mode := r.U8()
	n.name.Decode(r)
	n.gid = r.U64()
	if r.Err() != nil {
		return refuse(errnoInvalid, MethodNone), nil
	}
	if mode == authModeMon && n.gid == 0 {
		n.gid = n.ids.Add(1)
	}
	return msgr2.AuthStep{Done: true, Mode: msgr2.ModeCRC, GlobalID: n.gid}, nil
}

// Continue implements msgr2.ServerAuth.
func (n *NoneServer) Continue([]byte) (msgr2.AuthStep, error) {
	return refuse(errnoInvalid, MethodNone), nil
}
