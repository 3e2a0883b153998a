package cephx

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

var (
	admin   = entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	nobody  = entity.AuthName{Type: entity.TypeClient, ID: "nobody"}
	allowed = map[string]string{"mon": "allow *", "osd": "profile rbd"}
)

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// handshake runs both halves against each other as msgr2 does, and checks that
// they end with the same keys.
func handshake(t *testing.T, c msgr2.ClientAuth, s msgr2.ServerAuth, modes ...msgr2.Mode) (msgr2.AuthStep, error) {
	t.Helper()
	p, err := c.Start(modes)
	if err != nil {
		return msgr2.AuthStep{}, err
	}
	step, err := s.Begin(c.Method(), modes, entity.TypeClient, p)
	for ; err == nil; step, err = s.Continue(p) {
		if step.Errno != 0 {
			return step, c.BadMethod(-step.Errno, step.AllowedMethods, []uint32{2, 1})
		}
		if step.Done {
			break
		}
		if p, err = c.More(step.More); err != nil {
			return step, err
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Done(step.GlobalID, step.Mode, step.Payload)
	if err == nil && (!bytes.Equal(res.SessionKey, step.SessionKey) || !bytes.Equal(res.ConnectionSecret, step.ConnectionSecret)) {
		t.Fatalf("client has %x %x, server %x %x", res.SessionKey, res.ConnectionSecret, step.SessionKey, step.ConnectionSecret)
	}
	return step, err
}

// world is a server with one entity and a client that is it.
type world struct {
	*clock
	server *KeyServer
	client *Client
	key    Key
}

func newWorld(kt KeyType, opts ...ServerOption) *world {
	w := &world{clock: &clock{time.Unix(1700000000, 0)}, key: NewKey(kt)}
	ring := Keyring{admin: {Key: w.key, Caps: allowed}}
	w.server = NewKeyServer(ring, append([]ServerOption{WithServerClock(w.now), WithTTL(10*time.Hour, time.Hour)}, opts...)...)
	w.client = NewClient(admin, func() (Key, error) { return w.key, nil }, WithClock(w.now))
	return w
}

func (w *world) login(t *testing.T, modes ...msgr2.Mode) *MonAuth {
	t.Helper()
	h, err := w.client.Handshake()
	if err != nil {
		t.Fatal(err)
	}
	s := w.server.MonAuth()
	if _, err := handshake(t, h, s, modes...); err != nil {
		t.Fatal(err)
	}
	h.Commit()
	return s
}

// renew runs one renewal on the live session and returns whether one was due.
func (w *world) renew(t *testing.T, s *MonAuth) bool {
	t.Helper()
	p, err := w.client.Renewal()
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return false
	}
	reply, errno, err := s.Renew(p)
	if err != nil || errno != 0 {
		t.Fatalf("renewal gives errno %d, %v", errno, err)
	}
	if err := w.client.HandleReply(reply); err != nil {
		t.Fatal(err)
	}
	return true
}

func (w *world) useService(t *testing.T, service entity.Type, modes ...msgr2.Mode) error {
	t.Helper()
	a, err := w.client.Authorizer(service)
	if err != nil {
		return err
	}
	s := w.server.ServiceAuth(service)
	_, err = handshake(t, a, s, modes...)
	if err == nil {
		if n, id := s.Entity(); n != admin || id != w.client.GlobalID() || s.Caps() != allowed[service.String()] {
			t.Errorf("service sees %v, %d, caps %q", n, id, s.Caps())
		}
	}
	return err
}

func forEachType(t *testing.T, f func(t *testing.T, kt KeyType)) {
	for _, kt := range []KeyType{KeyAES, KeyAES256K} {
		t.Run(kt.String(), func(t *testing.T) { f(t, kt) })
	}
}

func TestLoginAndServices(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		for _, cipher := range []KeyType{KeyAES, KeyAES256K} {
			for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
				w := newWorld(kt, WithCiphers(cipher), WithFirstGlobalID(4500))
				s := w.login(t, mode)
				if n, id := s.Entity(); n != admin || id != 4500 || w.client.GlobalID() != 4500 {
					t.Errorf("monitor sees %v, %d", n, id)
				}
				for _, service := range []entity.Type{entity.TypeOSD, entity.TypeMgr} {
					if err := w.useService(t, service, mode); err != nil {
						t.Error(err)
					}
				}
				if err := w.useService(t, entity.TypeMDS, mode); !errors.Is(err, ErrNoTicket) {
					t.Errorf("a ticket that was not asked for: %v", err)
				}
			}
		}
	})
}

func TestServerChoosesTheClientsFirstModeThatItAllows(t *testing.T) {
	for _, c := range []struct {
		server, client []msgr2.Mode
		want           msgr2.Mode
	}{
		{[]msgr2.Mode{1, 2}, []msgr2.Mode{2, 1}, 2},
		{[]msgr2.Mode{2, 1}, []msgr2.Mode{1, 2}, 1},
		{[]msgr2.Mode{2}, []msgr2.Mode{1, 2}, 2},
	} {
		w := newWorld(KeyAES, WithServerModes(c.server...))
		h, _ := w.client.Handshake()
		step, err := handshake(t, h, w.server.MonAuth(), c.client...)
		if err != nil || step.Mode != c.want {
			t.Errorf("%v: mode %d, %v", c, step.Mode, err)
		}
	}
}

func TestWrongKeyAndUnknownUserReadTheSame(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		w := newWorld(kt)
		var texts []string
		for name, key := range map[entity.AuthName]Key{admin: NewKey(kt), nobody: w.key} {
			c := NewClient(name, func() (Key, error) { return key, nil })
			h, err := c.Handshake()
			if err != nil {
				t.Fatal(err)
			}
			_, err = handshake(t, h, w.server.MonAuth(), msgr2.ModeCRC)
			if !errors.Is(err, ErrDenied) {
				t.Fatalf("%v: %v", name, err)
			}
			texts = append(texts, strings.ReplaceAll(err.Error(), name.String(), "X"))
		}
		if texts[0] != texts[1] {
			t.Errorf("differ: %q", texts)
		}
	})
}

func TestServerRefusesAKeyTypeThatIsNotAllowed(t *testing.T) {
	w := newWorld(KeyAES, WithCiphers(KeyAES256K, KeyAES256K))
	h, _ := w.client.Handshake()
	if _, err := handshake(t, h, w.server.MonAuth(), msgr2.ModeCRC); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}

func TestClientNoticesAMonitorThatDoesNotKnowTheKey(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		w, evil := newWorld(kt), newWorld(kt)
		h, _ := w.client.Handshake()
		p, _ := h.Start(nil)
		s := evil.server.MonAuth()
		step, _ := s.Begin(MethodCephx, []msgr2.Mode{msgr2.ModeCRC}, entity.TypeClient, p)
		if _, err := h.More(step.More); err != nil {
			t.Fatal(err)
		}
		// The other server answers its own client's proof.
		own, _ := evil.client.Handshake()
		proof, _ := own.More(step.More)
		step, err := s.Continue(proof)
		if err != nil || !step.Done {
			t.Fatal(err, step)
		}
		if _, err := h.Done(step.GlobalID, step.Mode, step.Payload); !errors.Is(err, ErrPeer) {
			t.Errorf("client takes tickets from a stranger: %v", err)
		}
	})
}

func TestReconnectKeepsTheGlobalID(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		w := newWorld(kt)
		w.login(t, msgr2.ModeSecure)
		id := w.client.GlobalID()
		for range 3 {
			w.login(t, msgr2.ModeSecure)
			if w.client.GlobalID() != id {
				t.Fatalf("id %d became %d", id, w.client.GlobalID())
			}
			if err := w.useService(t, entity.TypeOSD, msgr2.ModeCRC); err != nil {
				t.Fatal(err)
			}
		}
		w.client.Reset()
		w.login(t, msgr2.ModeCRC)
		if w.client.GlobalID() == id {
			t.Error("a client without tickets got the old id")
		}
	})
}

func TestReclaimNeedsAValidTicket(t *testing.T) {
	w := newWorld(KeyAES256K)
	w.login(t, msgr2.ModeCRC)
	h, _ := w.client.Handshake()
	h.old = heldTicket{} // claims its id without a ticket
	if _, err := handshake(t, h, w.server.MonAuth(), msgr2.ModeCRC); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	h, _ = w.client.Handshake()
	h.globalID = 0 // shows a ticket without claiming an id
	if _, err := handshake(t, h, w.server.MonAuth(), msgr2.ModeCRC); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	w.server.Rotate(entity.TypeAuth)
	w.server.Rotate(entity.TypeAuth)
	h, _ = w.client.Handshake()
	if !h.Resumes() {
		t.Error("the handshake does not resume")
	}
	if _, err := handshake(t, h, w.server.MonAuth(), msgr2.ModeCRC); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}

func TestTicketsAreRenewedAtThreeQuarters(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		w := newWorld(kt)
		s := w.login(t, msgr2.ModeSecure)
		start := w.t
		if got := w.client.NextRenewal(); got != start.Add(45*time.Minute) {
			t.Errorf("next renewal at %v", got.Sub(start))
		}
		if w.renew(t, s) {
			t.Error("renewed at once")
		}
		authRenewed := 0
		for w.t.Sub(start) < 30*time.Hour {
			w.t = w.client.NextRenewal()
			before := w.client.auth.SessionKey.Secret
			if !w.renew(t, s) {
				t.Fatalf("nothing due at %v", w.t.Sub(start))
			}
			if !bytes.Equal(before, w.client.auth.SessionKey.Secret) {
				authRenewed++
			}
			if err := w.useService(t, entity.TypeOSD, msgr2.ModeCRC); err != nil {
				t.Fatalf("at %v: %v", w.t.Sub(start), err)
			}
		}
		if authRenewed < 3 || authRenewed > 4 {
			t.Errorf("AUTH ticket renewed %d times in 30 hours", authRenewed)
		}
	})
}

func TestInvalidatedServiceTicketsAreDueAtOnce(t *testing.T) {
	w := newWorld(KeyAES)
	s := w.login(t, msgr2.ModeCRC)
	w.client.InvalidateServices()
	if w.client.HasTicket(entity.TypeOSD) || w.client.NextRenewal().After(w.t) {
		t.Error("still has a ticket")
	}
	if !w.renew(t, s) || !w.client.HasTicket(entity.TypeOSD) {
		t.Error("no new ticket")
	}
}

func TestServiceRefusesExpiredAndRotatedTickets(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		w := newWorld(kt)
		s := w.login(t, msgr2.ModeCRC)
		w.server.Rotate(entity.TypeOSD)
		if err := w.useService(t, entity.TypeOSD, msgr2.ModeCRC); err != nil {
			t.Errorf("the key before is refused: %v", err)
		}
		w.server.Rotate(entity.TypeOSD)
		if err := w.useService(t, entity.TypeOSD, msgr2.ModeCRC); !errors.Is(err, ErrTicketRefused) {
			t.Errorf("the key two before: %v", err)
		}
		w.client.InvalidateServices()
		w.renew(t, s)
		if err := w.useService(t, entity.TypeOSD, msgr2.ModeCRC); err != nil {
			t.Error(err)
		}
		a, err := w.client.Authorizer(entity.TypeOSD)
		if err != nil {
			t.Fatal(err)
		}
		w.t = w.t.Add(2 * time.Hour)
		if _, err := handshake(t, a, w.server.ServiceAuth(entity.TypeOSD), msgr2.ModeCRC); !errors.Is(err, ErrTicketRefused) {
			t.Errorf("an expired one: %v", err)
		}
	})
}

func TestServiceWantsTheChallengeAnswered(t *testing.T) {
	w := newWorld(KeyAES)
	w.login(t, msgr2.ModeCRC)
	a, _ := w.client.Authorizer(entity.TypeOSD)
	s := w.server.ServiceAuth(entity.TypeOSD)
	p, _ := a.Start(nil)
	if step, err := s.Begin(MethodCephx, []msgr2.Mode{1}, entity.TypeClient, p); err != nil || step.Done || len(step.More) == 0 {
		t.Fatal(step, err)
	}
	if step, _ := s.Continue(p); step.Errno != errnoAccess { // the same, unanswered
		t.Error(step)
	}
	p, _ = a.build(Authorize{Nonce: a.nonce, Answered: true, ChallengePlusOne: s.challenge})
	if step, _ := s.Continue(p); step.Errno != errnoAccess {
		t.Error(step)
	}
}

func TestNone(t *testing.T) {
	var ids atomic.Uint64
	ids.Store(10)
	c, s := NewNone(admin, false, 0), NewNoneServer(&ids)
	if step, err := handshake(t, c, s, msgr2.ModeSecure, msgr2.ModeCRC); err != nil || step.Mode != msgr2.ModeCRC {
		t.Fatal(step, err)
	}
	if n, id := s.Entity(); n != admin || id != 11 || c.GlobalID() != 11 {
		t.Errorf("server sees %v, %d; client has %d", n, id, c.GlobalID())
	}
	svc := NewNoneServer(&ids)
	if _, err := handshake(t, NewNone(admin, true, 11), svc, msgr2.ModeCRC); err != nil {
		t.Fatal(err)
	}
	if _, id := svc.Entity(); id != 11 {
		t.Errorf("service sees %d", id)
	}
	w := newWorld(KeyAES)
	_, err := handshake(t, NewNone(admin, false, 0), w.server.MonAuth(), msgr2.ModeCRC)
	var me *MethodError
	if !errors.As(err, &me) || len(me.Allowed) != 1 || me.Allowed[0] != MethodCephx {
		t.Error(err)
	}
}

// fronts are the decoders that read what a peer sent.
func fuzzAll(p []byte) {
	for _, d := range []interface{ Decode(*denc.Reader) }{
		&Hello{}, &ServerChallenge{}, &Authenticate{}, &AuthorizerHead{}, &Authorize{}, &AuthorizeReply{},
		&TicketBlob{}, &ServiceTicket{}, &TicketInfo{}, &responseHead{},
	} {
		d.Decode(denc.NewReader(p))
	}
}

func FuzzHandshake(f *testing.F) {
	w := newWorld(KeyAES256K)
	h, _ := w.client.Handshake()
	p, _ := h.Start(nil)
	f.Add(p)
	s := w.server.MonAuth()
	step, _ := s.Begin(MethodCephx, []msgr2.Mode{1}, entity.TypeClient, p)
	f.Add(step.More)
	p, _ = h.More(step.More)
	f.Add(p)
	step, _ = s.Continue(p)
	f.Add(step.Payload)
	f.Fuzz(func(t *testing.T, p []byte) {
		fuzzAll(p)
		h, err := w.client.Handshake()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = h.More(p)
		_, _ = h.Done(1, msgr2.ModeSecure, p)
		_, _ = readTickets(denc.NewReader(p), w.key, w.key)
		s := w.server.MonAuth()
		_, _ = s.Begin(MethodCephx, []msgr2.Mode{1}, entity.TypeClient, p)
		_, _ = s.Continue(p)
		_, _ = w.server.ServiceAuth(entity.TypeOSD).Begin(MethodCephx, []msgr2.Mode{1}, entity.TypeClient, p)
		_ = w.client.HandleReply(p)
	})
}
