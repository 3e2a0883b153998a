package cephx

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

var (
	// ErrDenied says that a monitor refused to let the entity in.
	ErrDenied = errors.New("authentication refused")
	// ErrTicketRefused says that a service refused a ticket: it expired, or the
	// key it was sealed with is gone. New tickets from a monitor may help.
	ErrTicketRefused = errors.New("ticket refused")
	// ErrNoTicket says that there is no valid ticket for a service yet.
	ErrNoTicket = errors.New("no valid ticket")
	// ErrPeer says that the other side does not prove that it knows the shared
	// key, or breaks the protocol.
	ErrPeer = errors.New("peer fails to authenticate itself")
)

// Services is the mask of services that a RADOS client wants tickets for.
const Services = entity.TypeAuth | entity.TypeMon | entity.TypeOSD | entity.TypeMgr

// renewFraction of a ticket's validity may pass before it is renewed: 3/4.
const (
	renewNumerator   = 3
	renewDenominator = 4
)

// Client holds one entity's tickets and global id through all of its monitor
// sessions. It is safe for concurrent use.
type Client struct {
	name entity.AuthName
	key  func() (Key, error)
	want entity.Type
	now  func() time.Time

	mu        sync.Mutex
	globalID  uint64
	auth      heldTicket                 // guarded by mu
	held      map[entity.Type]heldTicket // guarded by mu
	sessKey   Key                        // the entity key of the live session
	challenge uint64                     // the monitor's in the live session
}

// heldTicket is a Ticket with the local times that matter for it.
type heldTicket struct {
	Ticket
	renew, expires time.Time
}

// valid reports whether t exists and has not expired at now.
func (t heldTicket) valid(now time.Time) bool {
	return !t.Blob.IsZero() && now.Before(t.expires)
}

// ClientOption changes a Client.
type ClientOption func(*Client)

// WithClock makes the Client take the time from now; by default time.Now.
func WithClock(now func() time.Time) ClientOption { return func(c *Client) { c.now = now } }

// WithServices sets the mask of services to get tickets for; by default
// Services.
func WithServices(mask entity.Type) ClientOption {
	return func(c *Client) { c.want = mask | entity.TypeAuth }
}

// NewClient returns a Client for name. key is asked once for every handshake,
// so that a key file that changed is noticed.
func NewClient(name entity.AuthName, key func() (Key, error), opts ...ClientOption) *Client {
	c := &Client{name: name, key: key, want: Services, now: time.Now, held: map[entity.Type]heldTicket{}}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Name returns the entity's name.
func (c *Client) Name() entity.AuthName { return c.name }

// GlobalID returns the id that the monitors gave, 0 before the first session.
func (c *Client) GlobalID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.globalID
}

// Reset forgets all tickets and the global id: the next handshake starts from
// scratch. It is the answer to a monitor that refuses the old ticket.
func (c *Client) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.globalID = 0
	c.auth = heldTicket{}
	clear(c.held)
}

// InvalidateServices forgets the tickets for services but not the one for the
// monitors: they are due for renewal at once.
func (c *Client) InvalidateServices() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.held)
}

// Resumable reports whether the next handshake would show an old ticket.
func (c *Client) Resumable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auth.valid(c.now())
}

// NextRenewal returns when Renewal will have something to ask for; it is in the
// past when it has now. The zero time means never: there is no session.
func (c *Client) NextRenewal() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.auth.Blob.IsZero() {
		return time.Time{}
	}
	next := c.auth.renew
	for service := range serviceBits(c.want) {
		t, ok := c.held[service]
		if !ok {
			return c.now()
		}
		if t.renew.Before(next) {
			next = t.renew
		}
	}
	return next
}

// serviceBits yields every service of mask but AUTH itself.
func serviceBits(mask entity.Type) func(yield func(entity.Type) bool) {
	return func(yield func(entity.Type) bool) {
		mask &^= entity.TypeAuth
		for bit := entity.Type(1); mask != 0; bit <<= 1 {
			if mask&bit != 0 && !yield(bit) {
				return
			}
			mask &^= bit
		}
	}
}

// Renewal returns the payload of an MAuth message that renews what is due, or
// nil when nothing is. It may only be used on the session whose Handshake was
// committed last.
func (c *Client) Renewal() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.auth.Blob.IsZero() {
		return nil, nil
	}
	if !now.Before(c.auth.renew) {
		return c.renewAuth()
	}
	var due entity.Type
	for service := range serviceBits(c.want) {
		if t, ok := c.held[service]; !ok || !now.Before(t.renew) {
			due |= service
		}
	}
	if due == 0 {
		return nil, nil
	}
	return c.renewServices(due)
}

// renewAuth repeats the proof of the handshake over the same server challenge.
func (c *Client) renewAuth() ([]byte, error) {
	return authenticate(c.sessKey, c.challenge, c.auth.Blob, c.want)
}

// authenticate builds the answer to a monitor's challenge.
func authenticate(key Key, challenge uint64, old TicketBlob, want entity.Type) ([]byte, error) {
	a := Authenticate{V: authenticateVersion, ClientChallenge: randomU64(), OldTicket: old, Services: want}
	var err error
	if a.Proof, err = key.proof(challenge, a.ClientChallenge); err != nil {
		return nil, err
	}
	return a.Append(denc.AppendU16(nil, requestAuthSession)), nil
}

func (c *Client) renewServices(due entity.Type) ([]byte, error) {
	b := denc.AppendU16(nil, requestPrincipalSession)
	head := AuthorizerHead{GlobalID: c.globalID, Service: entity.TypeAuth, Ticket: c.auth.Blob}
	b = head.Append(b)
	authorize := Authorize{Nonce: randomU64()}
	b, err := c.auth.SessionKey.appendSealed(b, usageAuthorize, authorize.Append(nil))
	if err != nil {
		return nil, err
	}
	return denc.AppendU32(denc.AppendU8(b, 1), uint32(due)), nil
}

// HandleReply takes the payload of the MAuthReply to a Renewal. An error that
// wraps ErrDenied means that only a new handshake will help.
func (c *Client) HandleReply(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := denc.NewReader(p)
	var head responseHead
	head.Decode(r)
	if r.Err() != nil {
		return fmt.Errorf("reply to a ticket renewal: %w", r.Err())
	}
	if head.Status != 0 {
		return fmt.Errorf("%w: renewal of tickets for %s gives errno %d", ErrDenied, c.name, -head.Status)
	}
	switch head.Request {
	case requestAuthSession:
		s, err := readAuthSession(r, c.sessKey, c.auth.SessionKey)
		if err != nil {
			return fmt.Errorf("renewal of the AUTH ticket: %w", err)
		}
		c.install(s.auth, s.services)
		c.postponeMissing()
	case requestPrincipalSession:
		ts, err := readTickets(r, c.auth.SessionKey, Key{})
		if err != nil {
			return fmt.Errorf("renewal of service tickets: %w", err)
		}
		c.install(Ticket{}, ts)
		c.postponeMissing()
	default:
		return fmt.Errorf("%w: reply to request %#x", ErrPeer, head.Request)
	}
	return nil
}

// install takes over new tickets; auth may be zero. The caller holds mu.
func (c *Client) install(auth Ticket, services []Ticket) {
	now := c.now()
	hold := func(t Ticket) heldTicket {
		return heldTicket{t, now.Add(t.Validity / renewDenominator * renewNumerator), now.Add(t.Validity)}
	}
	if !auth.Blob.IsZero() {
		c.auth = hold(auth)
	}
	for _, t := range services {
		c.held[t.Service] = hold(t)
	}
}

// askAgain is the pause before asking again for a ticket that a monitor did not
// give.
const askAgain = time.Minute

// postponeMissing notes the services for which the monitor gave no ticket, so
// that it is not asked without end. The caller holds mu.
func (c *Client) postponeMissing() {
	for service := range serviceBits(c.want) {
		if _, ok := c.held[service]; !ok {
			c.held[service] = heldTicket{renew: c.now().Add(askAgain)}
		}
	}
}

// authSession is what a monitor's answer to an Authenticate holds.
type authSession struct {
	auth     Ticket
	services []Ticket
	secret   []byte
}

// readAuthSession reads the answer to an Authenticate behind its head. key is
// the entity's key, previous the session key of the old ticket.
func readAuthSession(r *denc.Reader, key, previous Key) (authSession, error) {
	ts, err := readTickets(r, key, previous)
	if err != nil {
		return authSession{}, err
	}
	var s authSession
	for _, t := range ts {
		if t.Service == entity.TypeAuth {
			s.auth = t
		}
	}
	if s.auth.Blob.IsZero() || s.auth.SessionKey.IsZero() {
		return authSession{}, fmt.Errorf("%w: no AUTH ticket in the reply", ErrPeer)
	}
	if r.Len() == 0 {
		return s, nil
	}
	session := s.auth.SessionKey
	if sealed := r.Bytes(); len(sealed) > 0 {
		if s.secret, err = openSecret(session, sealed); err != nil {
			return authSession{}, err
		}
	}
	if extra := r.Bytes(); len(extra) > 0 {
		if s.services, err = readTickets(denc.NewReader(extra), session, Key{}); err != nil {
			return authSession{}, err
		}
	}
	return s, r.Err()
}

// openSecret opens the connection secret of an AUTH_DONE: itself framed, and a
// string inside.
func openSecret(session Key, p []byte) ([]byte, error) {
	sealed := denc.NewReader(p).Bytes()
	plain, err := session.open(usageConnectionSecret, sealed)
	if err != nil {
		return nil, fmt.Errorf("connection secret: %w", err)
	}
	r := denc.NewReader(plain)
	secret := r.Bytes()
	return secret, r.Err()
}

// ticketFor returns the ticket for service, the global id and whether it is
// valid.
func (c *Client) ticketFor(service entity.Type) (heldTicket, uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.held[service]
	return t, c.globalID, ok && t.valid(c.now())
}

// HasTicket reports whether there is a valid ticket for service.
func (c *Client) HasTicket(service entity.Type) bool {
	_, _, ok := c.ticketFor(service)
	return ok
}

func randomU64() uint64 {
	var p [8]byte
	fillRandom(p[:])
	return denc.NewReader(p[:]).U64()
}
