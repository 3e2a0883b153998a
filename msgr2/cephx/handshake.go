package cephx

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Handshake authenticates one connection to a monitor. It implements
// msgr2.ClientAuth. Several may run at once; the one whose connection is kept
// is then committed to its Client.
type Handshake struct {
	client *Client
	key    Key
	old    heldTicket // shown to get the old global id back; may be zero

	globalID  uint64
	challenge uint64
	answered  bool
	session   authSession
}

var _ msgr2.ClientAuth = (*Handshake)(nil)

// Handshake returns the authenticator for a new connection to a monitor. It
// shows the old ticket when there is a valid one. It fails when the key cannot
// be had.
func (c *Client) Handshake() (*Handshake, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	if key.IsZero() {
		return nil, fmt.Errorf("%s: %w: it is empty", c.name, ErrBadKey)
	}
	h := &Handshake{client: c, key: key}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.auth.valid(c.now()) {
		h.old, h.globalID = c.auth, c.globalID
	}
	return h, nil
}

// Resumes reports whether the handshake asks for an old global id. When such a
// one is refused, one from scratch (Client.Reset) may do.
func (h *Handshake) Resumes() bool { return h.globalID != 0 && !h.old.Blob.IsZero() }

// Method implements msgr2.ClientAuth.
func (h *Handshake) Method() uint32 { return MethodCephx }

// Start implements msgr2.ClientAuth.
func (h *Handshake) Start([]msgr2.Mode) ([]byte, error) {
	return (&Hello{Name: h.client.name, GlobalID: h.globalID}).Append(nil), nil
}

// More implements msgr2.ClientAuth: it answers the monitor's challenge.
func (h *Handshake) More(in []byte) ([]byte, error) {
	if h.answered {
		return nil, fmt.Errorf("%w: second challenge", ErrPeer)
	}
	h.answered = true
	var c ServerChallenge
	r := denc.NewReader(in)
	if c.Decode(r); r.Err() != nil {
		return nil, fmt.Errorf("challenge: %w", r.Err())
	}
	h.challenge = c.Challenge
	return authenticate(h.key, h.challenge, h.old.Blob, h.client.want)
}

// Done implements msgr2.ClientAuth.
func (h *Handshake) Done(globalID uint64, mode msgr2.Mode, in []byte) (msgr2.AuthResult, error) {
	r := denc.NewReader(in)
	var head responseHead
	head.Decode(r)
	switch {
	case r.Err() != nil:
		return msgr2.AuthResult{}, fmt.Errorf("authentication reply: %w", r.Err())
	case !h.answered || head.Request != requestAuthSession:
		return msgr2.AuthResult{}, fmt.Errorf("%w: it ends authentication without a challenge", ErrPeer)
	case head.Status != 0:
		return msgr2.AuthResult{}, h.client.denied(-head.Status)
	}
	s, err := readAuthSession(r, h.key, h.old.SessionKey)
	if err != nil {
		return msgr2.AuthResult{}, fmt.Errorf("%w: its tickets for %s do not open: %w", ErrPeer, h.client.name, err)
	}
	if mode == msgr2.ModeSecure && len(s.secret) == 0 {
		return msgr2.AuthResult{}, fmt.Errorf("%w: secure mode without a connection secret", ErrPeer)
	}
	h.globalID, h.session = globalID, s
	return msgr2.AuthResult{SessionKey: s.auth.SessionKey.Secret, ConnectionSecret: s.secret}, nil
}

// BadMethod implements msgr2.ClientAuth.
func (h *Handshake) BadMethod(result int32, methods, modes []uint32) error {
	return badMethod(h.client.name, MethodCephx, result, methods, modes)
}

// Commit makes the session of h the one whose tickets the Client offers and
// renews. It may be called once the handshake succeeded.
func (h *Handshake) Commit() {
	c := h.client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.globalID, c.sessKey, c.challenge = h.globalID, h.key, h.challenge
	clear(c.held)
	c.install(h.session.auth, h.session.services)
}

// denied words the refusal that the monitors give without a reason.
func (c *Client) denied(errno int32) error { return deniedError(c.name, errno) }

func deniedError(name entity.AuthName, errno int32) error {
	if errno == errnoAccess {
		return fmt.Errorf("%w: the monitor does not let %s in: there is no such user, its key is another one or of a type that is not allowed, or it has no caps for the monitors (they do not tell which)", ErrDenied, name)
	}
	return fmt.Errorf("%w: the monitor does not let %s in: errno %d", ErrDenied, name, errno)
}

// MethodError says that a server wants another authentication method.
type MethodError struct {
	// Method is what was offered, Allowed what the server takes.
	Method  uint32
	Allowed []uint32
}

// Error implements error.
func (e *MethodError) Error() string {
	names := make([]string, len(e.Allowed))
	for i, m := range e.Allowed {
		names[i] = methodName(m)
	}
	return fmt.Sprintf("server takes authentication by %v, not %s", names, methodName(e.Method))
}

func modeNames(modes []uint32) []string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = msgr2.Mode(m).String()
	}
	return names
}

func methodName(m uint32) string {
	switch m {
	case MethodNone:
		return "none"
	case MethodCephx:
		return "cephx"
	case 4:
		return "gss"
	}
	return fmt.Sprintf("method %d", m)
}

// badMethod words an AUTH_BAD_METHOD from a monitor.
func badMethod(name entity.AuthName, method uint32, result int32, methods, modes []uint32) error {
	for _, m := range methods {
		if m == method {
			switch result {
			case -errnoAccess, 0:
				return deniedError(name, errnoAccess)
			case -errnoNotSupported:
				return fmt.Errorf("%w: no connection mode in common with the server, which has %v here (secure mode needs keys)", ErrDenied, modeNames(modes))
			}
			return fmt.Errorf("%w (connection modes allowed: %v)", deniedError(name, -result), modes)
		}
	}
	return fmt.Errorf("%w: %w", ErrDenied, &MethodError{method, methods})
}
