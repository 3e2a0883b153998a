package cephx

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/denc/denctest"
	"github.com/rbdm/rbdm/msgr2/entity"
)

func of[T any, P interface {
	*T
	denctest.Codec
}]() denctest.Codec {
	return P(new(T))
}

// types are all codecs of this package.
var types = denctest.Types{
	"Authenticate": of[Authenticate], "Authorize": of[Authorize], "AuthorizeReply": of[AuthorizeReply], "AuthorizerHead": of[AuthorizerHead],
	"Hello": of[Hello], "Key": of[Key], "ServerChallenge": of[ServerChallenge], "ServiceTicket": of[ServiceTicket], "TicketBlob": of[TicketBlob],
	"TicketInfo": of[TicketInfo], "responseHead": of[responseHead],
}

// requestRotating is CEPHX_GET_ROTATING_KEY, which only daemons ask.
const requestRotating uint16 = 0x0400

// login is how a real client or daemon authenticated one connection to a monitor, an OSD or
// a manager, and how it got more tickets on it later. The keys were of a
// cluster that lived for it only. TestCaptureGolden renews them.
type login struct {
	Peer              string         `json:"peer"`
	Name              string         `json:"name"`
	GlobalID          uint64         `json:"global_id"`
	Sent, Received    []denctest.Hex // payloads of the handshake
	Requests, Replies []denctest.Hex // of MAuth and MAuthReply
}

// recorded is what the logins of a release reveal of each other's secrets.
type recorded struct {
	inv      *denctest.Inventory
	release  string
	keys     Keyring
	rotating map[uint64]Key
	tickets  map[entity.Type]Ticket // the client's newest
	opened   int                    // tickets that the services' keys open
}

// TestEveryTypeHasGoldenBytes follows real logins: everything that was sealed is
// opened with the keys, read, and written to the same bytes; proofs are computed
// again.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	files, err := filepath.Glob("testdata/*/logins.json")
	if err != nil || len(files) < len(denctest.Releases) {
		t.Fatal(files, err)
	}
	inv := denctest.New(Key{})
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			p, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var all struct {
				Keyring string
				Logins  []login
			}
			if err := json.Unmarshal(p, &all); err != nil {
				t.Fatal(err)
			}
			w := &recorded{inv: inv, release: filepath.Base(filepath.Dir(file)), rotating: map[uint64]Key{}, tickets: map[entity.Type]Ticket{}}
			if w.keys, err = ParseKeyring(strings.NewReader(all.Keyring)); err != nil {
				t.Fatal(err)
			}
			for i := range all.Logins {
				if all.Logins[i].Peer == "mon" {
					w.monitor(t, &all.Logins[i])
				} else {
					w.service(t, &all.Logins[i])
				}
			}
			if w.opened == 0 {
				t.Errorf("none of the tickets opens with one of the %d rotating keys", len(w.rotating))
			}
		})
	}
	inv.Complete(t, types, nil)
}

// value reads one value from r and holds what it encodes to against the bytes.
func (w *recorded) value(t *testing.T, r *denc.Reader, v denctest.Codec) {
	t.Helper()
	look := *r
	all, at := look.Rest(), r.Offset()
	v.Decode(r)
	if r.Err() != nil {
		t.Fatalf("%T: %v", v, r.Err())
	}
	p := all[:r.Offset()-at]
	if again := v.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("%T %+v: %x became %x", v, v, p, again)
	}
	w.inv.Note(w.release, v)
}

// open opens what was sealed; a type 1 key seals it to the same bytes again.
func (w *recorded) open(t *testing.T, k Key, u usage, p []byte) *denc.Reader {
	t.Helper()
	plain, err := k.open(u, p)
	if err != nil {
		t.Fatalf("use %#x: %v", u, err)
	}
	if again, err := k.seal(u, plain); err != nil || len(again) != len(p) || k.Type == KeyAES && !bytes.Equal(again, p) {
		t.Errorf("use %#x: %x is sealed as %x, %v", u, p, again, err)
	}
	return denc.NewReader(plain)
}

// monitor follows a login to a monitor and the requests after it.
func (w *recorded) monitor(t *testing.T, l *login) {
	var hello Hello
	w.value(t, denc.NewReader(l.Sent[0]), &hello)
	e, err := w.keys.Lookup(hello.Name)
	if err != nil || hello.Name.String() != l.Name {
		t.Fatalf("%s, %s: %v", hello.Name, l.Name, err)
	}
	var c ServerChallenge
	w.value(t, denc.NewReader(l.Received[0]), &c)
	r := denc.NewReader(l.Sent[1])
	if n := r.U16(); n != requestAuthSession {
		t.Fatalf("request %#x", n)
	}
	w.authenticate(t, r, e.Key, c.Challenge)
	auth := w.session(t, l.Received[1], e.Key, Key{})
	for i, p := range l.Requests {
		if i >= len(l.Replies) {
			break
		}
		r := denc.NewReader(p)
		switch request := r.U16(); request {
		case requestAuthSession:
			if old := w.authenticate(t, r, e.Key, c.Challenge); old.OldTicket.IsZero() {
				t.Error("no old ticket is shown")
			}
			auth = w.session(t, l.Replies[i], e.Key, auth.SessionKey)
		case requestPrincipalSession:
			var head AuthorizerHead
			var a Authorize
			w.value(t, r, &head)
			w.value(t, w.open(t, auth.SessionKey, usageAuthorize, r.Bytes()), &a)
			if head.Service != entity.TypeAuth || head.GlobalID != l.GlobalID || a.Answered {
				t.Errorf("%+v %+v", head, a)
			}
			rep := denc.NewReader(l.Replies[i])
			w.head(t, rep, request)
			w.list(t, rep, auth.SessionKey, Key{})
		case requestRotating:
			w.rotatingKeys(t, l.Replies[i], e.Key)
		default:
			t.Errorf("request %#x", request)
		}
	}
}

func (w *recorded) authenticate(t *testing.T, r *denc.Reader, key Key, challenge uint64) Authenticate {
	var a Authenticate
	w.value(t, r, &a)
	if proof, err := key.proof(challenge, a.ClientChallenge); err != nil || proof != a.Proof || a.V != 3 || a.Services&entity.TypeAuth == 0 {
		t.Errorf("%+v, we prove %#x, %v", a, proof, err)
	}
	return a
}

func (w *recorded) head(t *testing.T, r *denc.Reader, request uint16) {
	var head responseHead
	w.value(t, r, &head)
	if head.Request != request || head.Status != 0 {
		t.Errorf("request %#x: %+v", request, head)
	}
}

// session reads the reply with the ticket for monitors and those for services.
func (w *recorded) session(t *testing.T, p []byte, key, old Key) Ticket {
	r := denc.NewReader(p)
	w.head(t, r, requestAuthSession)
	ts := w.list(t, r, key, old)
	if len(ts) != 1 || ts[0].Service != entity.TypeAuth {
		t.Fatalf("tickets %+v", ts)
	}
	secret, more := r.Bytes(), r.Bytes()
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	if len(secret) > 0 {
		if in := w.open(t, ts[0].SessionKey, usageConnectionSecret, denc.NewReader(secret).Bytes()); len(in.Bytes()) != 0 {
			t.Error("a connection secret in crc mode")
		}
	}
	if len(more) > 0 {
		w.list(t, denc.NewReader(more), ts[0].SessionKey, Key{})
	}
	return ts[0]
}

// list reads a list of tickets, and seals it again.
func (w *recorded) list(t *testing.T, r *denc.Reader, owner, previous Key) []Ticket {
	t.Helper()
	look := *r
	all, at := look.Rest(), r.Offset()
	ts, err := readTickets(r, owner, previous)
	if err != nil {
		t.Fatal(err)
	}
	var shown *Key
	if !previous.IsZero() {
		shown = &previous
	}
	p := all[:r.Offset()-at]
	if again, err := appendTickets(nil, ts, owner, shown); err != nil || len(again) != len(p) || owner.Type == KeyAES && !bytes.Equal(again, p) {
		t.Errorf("%d tickets: %x became %x, %v", len(ts), p, again, err)
	}
	for _, ticket := range ts {
		w.tickets[ticket.Service] = ticket
		w.inv.Note(w.release, &ticket)
		if ticket.Validity < 10*time.Second || ticket.SessionKey.Type != owner.Type {
			t.Errorf("%+v", ticket)
		}
	}
	return ts
}

// rotatingKeys reads the keys that an OSD gets to open tickets with.
func (w *recorded) rotatingKeys(t *testing.T, p []byte, key Key) {
	r := denc.NewReader(p)
	w.head(t, r, requestRotating)
	in := w.open(t, key, usageRotatingSecrets, r.Bytes())
	in.U8()
	for range in.U32() {
		id := in.U64()
		in.U8()
		var k Key
		w.value(t, in, &k)
		in.Time()
		w.rotating[id] = k
	}
}

// service follows a login to an OSD or a manager.
func (w *recorded) service(t *testing.T, l *login) {
	r := denc.NewReader(l.Sent[0])
	var head AuthorizerHead
	w.value(t, r, &head)
	sealed := r.Bytes()
	if k, ok := w.rotating[head.Ticket.SecretID]; ok && head.Service == entity.TypeOSD {
		var info TicketInfo
		w.value(t, w.open(t, k, usageTicketInfo, head.Ticket.Blob), &info)
		if info.GlobalID != l.GlobalID || info.Name.String() != "client.admin" || !bytes.Contains(info.Caps, []byte("allow *")) {
			t.Errorf("ticket of %+v", info)
		}
		w.follow(t, l, sealed, info.SessionKey)
		w.opened++
		return
	}
	if ticket := w.tickets[head.Service]; bytes.Equal(ticket.Blob.Blob, head.Ticket.Blob) {
		w.follow(t, l, sealed, ticket.SessionKey)
	}
}

// follow checks both rounds of an authorizer whose session key is known.
func (w *recorded) follow(t *testing.T, l *login, sealed []byte, key Key) {
	var first, second Authorize
	w.value(t, w.open(t, key, usageAuthorize, sealed), &first)
	var c ServerChallenge
	w.value(t, w.open(t, key, usageAuthorizeChallenge, l.Received[0]), &c)
	r := denc.NewReader(l.Sent[1])
	var head AuthorizerHead
	w.value(t, r, &head)
	w.value(t, w.open(t, key, usageAuthorize, r.Bytes()), &second)
	var reply AuthorizeReply
	w.value(t, w.open(t, key, usageAuthorizeReply, denc.NewReader(l.Received[1]).Bytes()), &reply)
	if first.Answered || !second.Answered || second.Nonce != first.Nonce || second.ChallengePlusOne != c.Challenge+1 || reply.NoncePlusOne != first.Nonce+1 {
		t.Errorf("%+v, challenge %d, %+v, %+v", first, c.Challenge, second, reply)
	}
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"CephXAuthenticate": "Authenticate", "CephXAuthorize": "Authorize", "CephXAuthorizeChallenge": "ServerChallenge",
		"CephXAuthorizeReply": "AuthorizeReply", "CephXResponseHeader": "responseHead", "CephXServerChallenge": "ServerChallenge",
		"CephXServiceTicket": "ServiceTicket", "CephXServiceTicketInfo": "TicketInfo", "CephXTicketBlob": "TicketBlob", "CryptoKey": "Key",
	}, nil)
}
