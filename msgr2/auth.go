package msgr2

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Mode is a connection mode: how frames are protected.
type Mode uint32

// The connection modes.
const (
	ModeCRC    Mode = 1 // checksums only
	ModeSecure Mode = 2 // AES-128-GCM
)

// String returns Ceph's name of the mode.
func (m Mode) String() string {
	switch m {
	case ModeCRC:
		return "crc"
	case ModeSecure:
		return "secure"
	}
	return "unknown"
}

// check refuses numbers that are no mode.
func (m Mode) check() error {
	if m != ModeCRC && m != ModeSecure {
		return fmt.Errorf("%w: connection mode %d", ErrFrame, uint32(m))
	}
	return nil
}

// ClientAuth is the client's half of an authentication method, one value per
// connection. The messenger carries its payloads without knowing them.
type ClientAuth interface {
	// Method returns the method's number: 1 none, 2 cephx.
	Method() uint32
	// Start returns the payload of AUTH_REQUEST. modes are those that will be
	// offered, in order of preference.
	Start(modes []Mode) (payload []byte, err error)
	// More answers the payload of an AUTH_REPLY_MORE.
	More(in []byte) (payload []byte, err error)
	// Done takes the payload of AUTH_DONE and checks the server's proof.
	Done(globalID uint64, mode Mode, in []byte) (AuthResult, error)
	// BadMethod turns an AUTH_BAD_METHOD into the final, clear error. result is
	// 0 or a negative errno.
	BadMethod(result int32, methods, modes []uint32) error
}

// AuthResult is what a successful authentication leaves for the connection.
type AuthResult struct {
	// SessionKey signs the handshake; empty when the method has no keys.
	SessionKey []byte
	// ConnectionSecret keys secure mode; empty in crc mode.
	ConnectionSecret []byte
}

// ServerAuth is the server's half, one value per connection.
type ServerAuth interface {
	// Begin takes an AUTH_REQUEST.
	Begin(method uint32, modes []Mode, peer entity.Type, payload []byte) (AuthStep, error)
	// Continue takes an AUTH_REQUEST_MORE.
	Continue(payload []byte) (AuthStep, error)
}

// AuthStep is what the server sends next: AUTH_BAD_METHOD when Errno is not 0,
// AUTH_DONE when Done, else AUTH_REPLY_MORE.
type AuthStep struct {
	// More is the payload of AUTH_REPLY_MORE.
	More []byte

	// Done ends the authentication with the four fields behind it.
	Done                         bool
	Mode                         Mode
	GlobalID                     uint64
	Payload                      []byte
	SessionKey, ConnectionSecret []byte

	// Errno is positive when the attempt is refused.
	Errno int32
	// AllowedMethods and AllowedModes are what the server would take. Empty
	// modes mean both.
	AllowedMethods []uint32
	AllowedModes   []Mode
}
