package msgr2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

const testFeatures = 0x3f01cfbffffdffff

var (
	testServer = entity.Addr{Type: entity.AddrMsgr2, Nonce: 4711, IP: netip.MustParseAddrPort("127.0.0.1:6800")}
	testClient = entity.Addr{Type: entity.AddrMsgr2, Nonce: 12}
)

var errTestRefused = errors.New("refused by the test's server")

// testAuth is both halves of a method in which both ends know the key: three
// frames, like cephx with an authorizer.
type testAuth struct {
	key    []byte
	secret []byte
	mode   Mode // the server's choice; 0 means the client's first
	errno  int32
}

func newTestAuth() *testAuth {
	return &testAuth{key: []byte("sixteen byte key"), secret: bytes.Repeat([]byte{3, 1, 4, 1, 5, 9, 2, 6}, 8)}
}

func (a *testAuth) Method() uint32                 { return 2 }
func (a *testAuth) Start([]Mode) ([]byte, error)   { return []byte("let me in"), nil }
func (a *testAuth) More(in []byte) ([]byte, error) { return append([]byte("answer to "), in...), nil }
func (a *testAuth) Done(_ uint64, mode Mode, _ []byte) (AuthResult, error) {
	return AuthResult{SessionKey: a.key, ConnectionSecret: a.secret}, nil
}

func (a *testAuth) BadMethod(result int32, methods, modes []uint32) error {
	return fmt.Errorf("%w: %d %v %v", errTestRefused, result, methods, modes)
}

func (a *testAuth) Begin(method uint32, modes []Mode, _ entity.Type, payload []byte) (AuthStep, error) {
	if a.errno != 0 {
		return AuthStep{Errno: a.errno, AllowedMethods: []uint32{2}}, nil
	}
	if method != 2 || string(payload) != "let me in" {
		return AuthStep{}, errors.New("strange request")
	}
	if a.mode == 0 {
		a.mode = modes[0]
	}
	return AuthStep{More: []byte("riddle")}, nil
}

func (a *testAuth) Continue(payload []byte) (AuthStep, error) {
	if string(payload) != "answer to riddle" {
		return AuthStep{}, errors.New("strange answer")
	}
	return AuthStep{Done: true, Mode: a.mode, GlobalID: 4123, Payload: []byte("welcome"), SessionKey: a.key, ConnectionSecret: a.secret}, nil
}

// inbox is a Handler that collects.
type inbox struct {
	msgs  chan *Message
	reset chan error
}

func newInbox() *inbox { return &inbox{make(chan *Message, 1000), make(chan error, 2)} }

func (i *inbox) HandleMessage(_ *Conn, m *Message) { i.msgs <- m }
func (i *inbox) HandleReset(_ *Conn, err error)    { i.reset <- err }

// variant is one way to speak.
type variant struct {
	rev0 bool
	mode Mode
	comp Algorithm
}

func (v variant) String() string {
	s := v.mode.String() + " rev1"
	if v.rev0 {
		s = v.mode.String() + " rev0"
	}
	if v.comp != 0 {
		s += " " + v.comp.String()
	}
	return s
}

var variants = []variant{
	{mode: ModeCRC}, {mode: ModeSecure}, {rev0: true, mode: ModeCRC}, {rev0: true, mode: ModeSecure},
	{mode: ModeCRC, comp: Snappy}, {mode: ModeCRC, comp: Zlib}, {mode: ModeCRC, comp: Zstd}, {mode: ModeCRC, comp: LZ4},
}

func (v variant) client(h Handler) Config {
	cfg := Config{Type: entity.TypeClient, Addrs: entity.AddrVec{testClient}, Features: testFeatures, Modes: []Mode{v.mode}, Revision0: v.rev0, Handler: h}
	if v.comp != 0 {
		cfg.Compression = []Algorithm{v.comp}
	}
	return cfg
}

func (v variant) server(h Handler) Config {
	cfg := Config{Type: entity.TypeOSD, Addrs: entity.AddrVec{testServer}, GlobalID: func() uint64 { return 7 }, Features: testFeatures, Handler: h}
	if v.comp != 0 {
		cfg.Compression = []Algorithm{Zstd, LZ4, Zlib, Snappy}
	}
	return cfg
}

type accepted struct {
	c   *Conn
	err error
}

// shake runs both ends over net.Pipe. wrap may change the client's end.
func shake(ctx context.Context, ccfg, scfg Config, ca ClientAuth, sa ServerAuth, wrap func(net.Conn) net.Conn) (c, s *Conn, cerr, serr error) {
	a, b := net.Pipe()
	if wrap != nil {
		a = wrap(a)
	}
	ch := make(chan accepted, 1)
	go func() {
		s, err := Accept(ctx, b, sa, scfg)
		ch <- accepted{s, err}
	}()
	ccfg.Dialer = func(context.Context, entity.Addr) (net.Conn, error) { return a, nil }
	c, cerr = Dial(ctx, entity.AddrVec{testServer}, entity.TypeOSD, ca, ccfg)
	got := <-ch
	return c, got.c, cerr, got.err
}

// connected returns both ends of an open connection, closed when t ends.
func connected(t testing.TB, v variant, ch, sh Handler) (c, s *Conn) {
	t.Helper()
	c, s, cerr, serr := shake(t.Context(), v.client(ch), v.server(sh), newTestAuth(), newTestAuth(), nil)
	if cerr != nil || serr != nil {
		t.Fatalf("client: %v; server: %v", cerr, serr)
	}
	t.Cleanup(func() {
		_, _ = c.Close(), s.Close()
		c.Wait()
		s.Wait()
	})
	return c, s
}

// rawServer answers the client on b up to its ident, then calls then.
func rawServer(b net.Conn, v variant, then func(*handshake) error) error {
	defer b.Close()
	h := &handshake{c: newConn(b, v.server(nil).withDefaults()), record: true}
	if err := h.banners(false); err != nil {
		return err
	}
	var hello helloPayload
	if err := h.expect(tagHello, "hello", &hello); err != nil {
		return err
	}
	if err := h.send(tagHello, helloPayload{entity.TypeOSD, testClient}); err != nil {
		return err
	}
	step, err := h.admit(newTestAuth())
	if err != nil {
		return err
	}
	h.c.mode = step.Mode
	if err := h.signatures(AuthResult{SessionKey: step.SessionKey, ConnectionSecret: step.ConnectionSecret}, false); err != nil {
		return err
	}
	var id clientIdent
	if err := h.expect(tagClientIdent, "ident", &id); err != nil {
		return err
	}
	return then(h)
}

// noise returns n bytes that no algorithm makes shorter, the same for each seed.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// text returns n bytes that become shorter.
func text(n int) []byte {
	return slices.Repeat([]byte("a wrong byte marked as synced is the worst; "), n/44+1)[:n]
}

func sameMessage(t testing.TB, got, want *Message) {
	t.Helper()
	if got.Type != want.Type || got.TID != want.TID || got.Version != want.Version || got.Compat != want.Compat || got.Priority != want.Priority {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !bytes.Equal(got.Front, want.Front) || !bytes.Equal(got.Middle, want.Middle) || !bytes.Equal(got.Data.Bytes(), want.Data.Bytes()) {
		t.Errorf("message %d: %d+%d+%d bytes differ from the %d+%d+%d sent", want.TID,
			len(got.Front), len(got.Middle), got.Data.Len(), len(want.Front), len(want.Middle), want.Data.Len())
	}
	if crc := denc.CRC32C(^uint32(0), want.Data.Bytes()); got.Data.CRC() != crc {
		t.Errorf("message %d: CRC %#x, want %#x", want.TID, got.Data.CRC(), crc)
	}
}
