package cephx

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Validities of tickets that a KeyServer gives by default; the same as Ceph's
// auth_mon_ticket_ttl and auth_service_ticket_ttl.
const (
	DefaultAuthTTL    = 72 * time.Hour
	DefaultServiceTTL = time.Hour
)

const (
	errnoNotSupported = 95
	// secretSize is the length of a connection secret in secure mode.
	secretSize = 64
)

// KeyServer is the server's half: the entities' keys, and the rotating keys
// with which tickets are sealed. One KeyServer stands for a whole cluster: its
// monitors and services share it. It is safe for concurrent use.
type KeyServer struct {
	now                 func() time.Time
	authTTL, serviceTTL time.Duration
	serviceCipher       KeyType
	allowed             []KeyType
	modes               []msgr2.Mode

	mu       sync.Mutex
	entries  Keyring                       // guarded by mu
	rotating map[entity.Type]*rotatingKeys // guarded by mu
	lastGID  uint64                        // guarded by mu
}

// rotatingKeys are the keys of one service: a ticket names its key by id.
type rotatingKeys struct {
	current uint64
	keys    map[uint64]Key
}

// ServerOption changes a KeyServer.
type ServerOption func(*KeyServer)

// WithServerClock makes the KeyServer take the time from now.
func WithServerClock(now func() time.Time) ServerOption { return func(s *KeyServer) { s.now = now } }

// WithTTL sets how long tickets for monitors and for services are valid.
func WithTTL(auth, service time.Duration) ServerOption {
	return func(s *KeyServer) { s.authTTL, s.serviceTTL = auth, service }
}

// WithCiphers sets the type of the rotating keys, and which types of key
// entities may log in with (none given: every type). By default type 1 and
// both.
func WithCiphers(service KeyType, allowed ...KeyType) ServerOption {
	return func(s *KeyServer) { s.serviceCipher, s.allowed = service, allowed }
}

// WithServerModes sets the connection modes that the server agrees to; by
// default both.
func WithServerModes(modes ...msgr2.Mode) ServerOption {
	return func(s *KeyServer) { s.modes = modes }
}

// WithFirstGlobalID sets the first global id to give; by default 4101.
func WithFirstGlobalID(id uint64) ServerOption {
	return func(s *KeyServer) { s.lastGID = id - 1 }
}

// NewKeyServer returns a KeyServer that knows the entities of keys. It keeps
// its own copy.
func NewKeyServer(keys Keyring, opts ...ServerOption) *KeyServer {
	s := &KeyServer{
		now: time.Now, authTTL: DefaultAuthTTL, serviceTTL: DefaultServiceTTL, serviceCipher: KeyAES,
		modes: []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure}, entries: Keyring{},
		rotating: map[entity.Type]*rotatingKeys{}, lastGID: 4100,
	}
	for n, e := range keys {
		s.entries[n] = e
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Set adds or replaces an entity.
func (s *KeyServer) Set(name entity.AuthName, e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[name] = e
}

// Remove forgets an entity. Its tickets stay valid until they expire.
func (s *KeyServer) Remove(name entity.AuthName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, name)
}

// Keyring returns a copy of all entities.
func (s *KeyServer) Keyring() Keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := make(Keyring, len(s.entries))
	for n, e := range s.entries {
		k[n] = e
	}
	return k
}

// NewGlobalID returns an id that no client had before.
func (s *KeyServer) NewGlobalID() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastGID++
	return s.lastGID
}

// keptGenerations is how many rotating keys of a service are good: the current
// one and the one before.
const keptGenerations = 2

// Rotate makes a new key for tickets of service. Tickets sealed two keys ago
// are refused from now on.
func (s *KeyServer) Rotate(service entity.Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotate(service)
}

func (s *KeyServer) rotate(service entity.Type) *rotatingKeys {
	rk := s.rotating[service]
	if rk == nil {
		rk = &rotatingKeys{keys: map[uint64]Key{}}
		s.rotating[service] = rk
	}
	rk.current++
	rk.keys[rk.current] = NewKey(s.serviceCipher)
	delete(rk.keys, rk.current-keptGenerations)
	return rk
}

// sealTicket closes info for service.
func (s *KeyServer) sealTicket(service entity.Type, info TicketInfo) (TicketBlob, error) {
	s.mu.Lock()
	rk := s.rotating[service]
	if rk == nil {
		rk = s.rotate(service)
	}
	id, key := rk.current, rk.keys[rk.current]
	s.mu.Unlock()
	p, err := key.seal(usageTicketInfo, info.Append(nil))
	return TicketBlob{SecretID: id, Blob: p}, err
}

// openTicket opens a ticket for service and checks that it has not expired.
func (s *KeyServer) openTicket(service entity.Type, t TicketBlob) (TicketInfo, error) {
	s.mu.Lock()
	var key Key
	if rk := s.rotating[service]; rk != nil {
		key = rk.keys[t.SecretID]
	}
	s.mu.Unlock()
	var info TicketInfo
	if key.IsZero() {
		return info, fmt.Errorf("%w: no key %d for service %s", ErrTicketRefused, t.SecretID, service)
	}
	p, err := key.open(usageTicketInfo, t.Blob)
	if err != nil {
		return info, fmt.Errorf("%w: %w", ErrTicketRefused, err)
	}
	r := denc.NewReader(p)
	if info.Decode(r); r.Err() != nil {
		return info, fmt.Errorf("%w: %w", ErrTicketRefused, r.Err())
	}
	if s.now().After(info.Expires.Std()) {
		return info, fmt.Errorf("%w: expired", ErrTicketRefused)
	}
	return info, nil
}

// newTicket invents a session key and a ticket for one service. The session key
// is of the type of the entity's own key.
func (s *KeyServer) newTicket(service entity.Type, name entity.AuthName, e Entry, gid uint64) (Ticket, error) {
	ttl := s.serviceTTL
	if service == entity.TypeAuth {
		ttl = s.authTTL
	}
	now := s.now()
	caps := e.Caps[service.String()]
	info := TicketInfo{
		Name: name, GlobalID: gid, Created: denc.TimeOf(now), Expires: denc.TimeOf(now.Add(ttl)),
		AllowAll: caps == "allow *", Caps: denc.AppendString(nil, caps), SessionKey: NewKey(e.Key.Type),
	}
	blob, err := s.sealTicket(service, info)
	return Ticket{Service: service, ServiceTicket: ServiceTicket{info.SessionKey, ttl}, Blob: blob}, err
}

// serviceTickets returns a sealed list of tickets for the services of mask.
func (s *KeyServer) serviceTickets(mask entity.Type, name entity.AuthName, e Entry, gid uint64, session Key) ([]byte, error) {
	var ts []Ticket
	for service := range serviceBits(mask) {
		t, err := s.newTicket(service, name, e, gid)
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return appendTickets(nil, ts, session, nil)
}

func (s *KeyServer) lookup(name entity.AuthName) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[name]
	if !ok || e.Key.IsZero() {
		return Entry{}, false
	}
	if len(s.allowed) > 0 && !slices.Contains(s.allowed, e.Key.Type) {
		return Entry{}, false
	}
	return e, true
}

// refuse is the step that ends an attempt.
func refuse(errno int32, method uint32) msgr2.AuthStep {
	return msgr2.AuthStep{Errno: errno, AllowedMethods: []uint32{method}}
}

// chooseMode returns the first mode of the client's that the server allows.
func (s *KeyServer) chooseMode(wanted []msgr2.Mode) (msgr2.Mode, bool) {
	for _, m := range wanted {
		if slices.Contains(s.modes, m) {
			return m, true
		}
	}
	return 0, false
}

// MonAuth authenticates one connection to a monitor and renews its tickets. It
// implements msgr2.ServerAuth.
type MonAuth struct {
	server    *KeyServer
	hello     Hello
	modes     []msgr2.Mode
	challenge uint64

	entry   Entry
	session Key
	gid     uint64
	done    bool
}

var _ msgr2.ServerAuth = (*MonAuth)(nil)

// MonAuth returns the authenticator of a new connection to a monitor.
func (s *KeyServer) MonAuth() *MonAuth { return &MonAuth{server: s} }

// Entity returns who came in, and its global id. Both are zero before the
// handshake has ended.
func (a *MonAuth) Entity() (entity.AuthName, uint64) {
	if !a.done {
		return entity.AuthName{}, 0
	}
	return a.hello.Name, a.gid
}

// Caps returns what the entity may do at service, as its keyring entry says.
func (a *MonAuth) Caps(service entity.Type) string { return a.entry.Caps[service.String()] }

// Begin implements msgr2.ServerAuth.
func (a *MonAuth) Begin(method uint32, modes []msgr2.Mode, _ entity.Type, payload []byte) (msgr2.AuthStep, error) {
	if method != MethodCephx {
		return refuse(errnoNotSupported, MethodCephx), nil
	}
	r := denc.NewReader(payload)
	if a.hello.Decode(r); r.Err() != nil {
		return refuse(errnoInvalid, MethodCephx), nil
	}
	a.modes, a.challenge = modes, randomU64()
	c := ServerChallenge{a.challenge}
	return msgr2.AuthStep{More: c.Append(nil)}, nil
}

// Continue implements msgr2.ServerAuth.
func (a *MonAuth) Continue(payload []byte) (msgr2.AuthStep, error) {
	mode, ok := a.server.chooseMode(a.modes)
	if !ok || a.done {
		return refuse(errnoInvalid, MethodCephx), nil
	}
	var secret []byte
	if mode == msgr2.ModeSecure {
		secret = make([]byte, secretSize)
		fillRandom(secret)
	}
	reply, errno, err := a.answer(payload, secret, true)
	if err != nil {
		return msgr2.AuthStep{}, err
	}
	if errno != 0 {
		return refuse(errno, MethodCephx), nil
	}
	a.done = true
	return msgr2.AuthStep{
		Done: true, Mode: mode, GlobalID: a.gid, Payload: reply,
		SessionKey: a.session.Secret, ConnectionSecret: secret,
	}, nil
}

// Renew answers the payload of an MAuth message on the live session: the
// payload of the MAuthReply, and its result, 0 or a positive errno.
func (a *MonAuth) Renew(payload []byte) (reply []byte, errno int32, err error) {
	if !a.done {
		return nil, errnoAccess, nil
	}
	if len(payload) >= 2 && binary.LittleEndian.Uint16(payload) == requestPrincipalSession {
		return a.renewServices(payload)
	}
	return a.answer(payload, nil, false)
}

// answer checks a proof and makes tickets. withSecret says that the reply
// carries the connection secret, which is empty in crc mode.
func (a *MonAuth) answer(payload, secret []byte, withSecret bool) ([]byte, int32, error) {
	r := denc.NewReader(payload)
	request := r.U16()
	var auth Authenticate
	auth.Decode(r)
	switch {
	case r.Err() != nil: // as of a client that has no key
		return nil, errnoPermission, nil
	case request != requestAuthSession:
		return nil, errnoInvalid, nil
	}
	e, ok := a.server.lookup(a.hello.Name)
	if !ok {
		return nil, errnoAccess, nil
	}
	want, err := e.Key.proof(a.challenge, auth.ClientChallenge)
	if err != nil {
		return nil, 0, err
	}
	if !equalU64(want, auth.Proof) || e.Caps[entity.TypeMon.String()] == "" {
		return nil, errnoAccess, nil
	}
	gid, old, errno := a.reclaim(auth)
	if errno != 0 {
		return nil, errno, nil
	}
	ticket, err := a.server.newTicket(entity.TypeAuth, a.hello.Name, e, gid)
	if err != nil {
		return nil, 0, err
	}
	a.entry, a.session, a.gid = e, ticket.SessionKey, gid
	reply, err := a.compose(ticket, old, auth, secret, withSecret)
	return reply, 0, err
}

func (a *MonAuth) compose(ticket Ticket, old *Key, auth Authenticate, secret []byte, withSecret bool) ([]byte, error) {
	head := responseHead{Request: requestAuthSession}
	b, err := appendTickets(head.Append(nil), []Ticket{ticket}, a.entry.Key, old)
	if err != nil {
		return nil, err
	}
	var sealed []byte
	if withSecret {
		if sealed, err = a.session.appendSealed(nil, usageConnectionSecret, denc.AppendBytes(nil, secret)); err != nil {
			return nil, err
		}
	}
	b = denc.AppendBytes(b, sealed)
	var extra []byte
	if auth.Services&^entity.TypeAuth != 0 {
		if extra, err = a.server.serviceTickets(auth.Services, a.hello.Name, a.entry, a.gid, a.session); err != nil {
			return nil, err
		}
	}
	return denc.AppendBytes(b, extra), nil
}

// reclaim decides which global id the client gets: a new one, or its old one if
// it shows a ticket for it. old is that ticket's session key.
func (a *MonAuth) reclaim(auth Authenticate) (gid uint64, old *Key, errno int32) {
	claimed := a.hello.GlobalID
	if a.done {
		claimed = a.gid
	}
	if auth.OldTicket.IsZero() {
		if claimed != 0 && auth.V >= authenticateVersion {
			return 0, nil, errnoAccess
		}
		if claimed != 0 {
			return claimed, nil, 0
		}
		return a.server.NewGlobalID(), nil, 0
	}
	if claimed == 0 {
		return 0, nil, errnoInvalid
	}
	info, err := a.server.openTicket(entity.TypeAuth, auth.OldTicket)
	if err != nil || info.GlobalID != claimed {
		return 0, nil, errnoAccess
	}
	return claimed, &info.SessionKey, 0
}

// renewServices answers a request for service tickets.
func (a *MonAuth) renewServices(payload []byte) ([]byte, int32, error) {
	r := denc.NewReader(payload)
	r.U16()
	var head AuthorizerHead
	head.Decode(r)
	sealed := r.Bytes()
	r.U8()
	mask := entity.Type(r.U32())
	if r.Err() != nil {
		return nil, errnoInvalid, nil
	}
	info, err := a.server.openTicket(entity.TypeAuth, head.Ticket)
	if err != nil || info.Name != a.hello.Name {
		return nil, errnoAccess, nil
	}
	if _, err := info.SessionKey.open(usageAuthorize, sealed); err != nil {
		return nil, errnoAccess, nil
	}
	e, ok := a.server.lookup(info.Name)
	if !ok {
		return nil, errnoAccess, nil
	}
	list, err := a.server.serviceTickets(mask, info.Name, e, info.GlobalID, info.SessionKey)
	if err != nil {
		return nil, 0, err
	}
	rh := responseHead{Request: requestPrincipalSession}
	return append(rh.Append(nil), list...), 0, nil
}

func equalU64(a, b uint64) bool {
	var x, y [8]byte
	binary.LittleEndian.PutUint64(x[:], a)
	binary.LittleEndian.PutUint64(y[:], b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
