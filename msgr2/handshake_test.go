package msgr2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

func dialPipe(t *testing.T, nc net.Conn, cfg Config) *Conn {
	t.Helper()
	c, err := tryPipe(t.Context(), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryPipe(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	cfg.Dialer = func(context.Context, entity.Addr) (net.Conn, error) { return nc, nil }
	return Dial(ctx, entity.AddrVec{testServer}, entity.TypeOSD, newTestAuth(), cfg)
}

// faulty is a transport that is cut, or changes a bit, at one byte of one
// direction.
type faulty struct {
	net.Conn
	mu     sync.Mutex
	limit  [2]int // bytes left until the fault, read and written; below 0: none
	flip   bool
	passed [2]int
}

const (
	reading = iota
	writing
)

// pass returns how many of n bytes pass, and where to flip a bit (-1: nowhere).
func (f *faulty) pass(dir, n int) (int, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.limit[dir] - f.passed[dir]
	f.passed[dir] += n
	if f.limit[dir] < 0 || at < 0 || at >= n {
		return n, -1
	}
	if f.flip {
		return n, at
	}
	return at, -1
}

func (f *faulty) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	ok, at := f.pass(reading, n)
	if at >= 0 {
		p[at] ^= 0x10
	}
	if ok < n {
		_ = f.Close()
		return ok, io.ErrClosedPipe
	}
	return n, err
}

func (f *faulty) Write(p []byte) (int, error) {
	ok, at := f.pass(writing, len(p))
	if at >= 0 {
		p = bytes.Clone(p)
		p[at] ^= 0x10
	}
	n, err := f.Conn.Write(p[:ok])
	if err == nil && ok < len(p) {
		_ = f.Close()
		err = io.ErrClosedPipe
	}
	return n, err
}

// handshakeSize counts the bytes of a handshake in both directions.
func handshakeSize(t *testing.T, v variant) [2]int {
	f := &faulty{limit: [2]int{-1, -1}}
	c, s, cerr, serr := shake(t.Context(), v.client(nil), v.server(nil), newTestAuth(), newTestAuth(), func(nc net.Conn) net.Conn {
		f.Conn = nc
		return f
	})
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	_, _ = c.Close(), s.Close()
	return f.passed
}

// faultEverywhere runs one handshake for each of its bytes, each with a fault
// there, in a bubble whose clock jumps over waits and which finds goroutines
// that were left behind.
func faultEverywhere(t *testing.T, v variant, flip bool) {
	sizes := handshakeSize(t, v)
	for dir, name := range []string{"read", "written"} {
		for n := range sizes[dir] {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				c, s, cerr, serr := shake(t.Context(), v.client(nil), v.server(nil), newTestAuth(), newTestAuth(), func(nc net.Conn) net.Conn {
					f := &faulty{Conn: nc, limit: [2]int{-1, -1}, flip: flip}
					f.limit[dir] = n
					return f
				})
				if c != nil {
					_ = c.Close()
				}
				if s != nil {
					_ = s.Close()
				}
				// Revision 0 sends checksums of segments that are not there;
				// what happens to those has no effect.
				harmless := flip && v.rev0 && c != nil && s != nil && c.Features() == s.Features() &&
					c.PeerAddrs().Equal(entity.AddrVec{testServer}) && s.PeerAddrs().Equal(entity.AddrVec{c.LocalAddr()})
				if cerr == nil && serr == nil && !harmless {
					t.Errorf("%v: a fault at byte %d %s went unnoticed", v, n, name)
				}
				if d := time.Since(began); d > 2*defaultHandshakeTimeout {
					t.Errorf("%v: a fault at byte %d %s took %v", v, n, name, d)
				}
			})
		}
	}
}

func TestAHandshakeCutAtAnyByteEnds(t *testing.T) {
	for _, v := range variants[:5] {
		t.Run(v.String(), func(t *testing.T) { faultEverywhere(t, v, false) })
	}
}

func TestAHandshakeWithAChangedBitEnds(t *testing.T) {
	for _, v := range variants[:5] {
		t.Run(v.String(), func(t *testing.T) { faultEverywhere(t, v, true) })
	}
}

func TestStrangersAreToldApart(t *testing.T) {
	for name, tc := range map[string]struct {
		says string
		want error
	}{
		"msgr1":          {"ceph v027\x00\x00\x00\x00", ErrMsgr1},
		"web server":     {"HTTP/1.1 400 Bad Request\r\n\r\n", ErrNotCeph},
		"ssh":            {"SSH-2.0-OpenSSH_9.2\r\n", ErrNotCeph},
		"garbage":        {"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a", ErrNotCeph},
		"few bytes":      {"ceph", io.ErrUnexpectedEOF},
		"nothing":        {"", io.EOF},
		"short banner":   {"ceph v2\n\x02\x00ab", ErrNotCeph},
		"endless banner": {"ceph v2\n\xff\xffab", ErrNotCeph},
		"cut banner":     {"ceph v2\n\x10\x00abc", io.ErrUnexpectedEOF},
		"needs more":     {"ceph v2\n\x10\x00\x0f\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00", ErrFeatures},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			go func() {
				go func() { _, _ = io.Copy(io.Discard, b) }()
				_, _ = b.Write([]byte(tc.says))
				_ = b.Close()
			}()
			if _, err := tryPipe(t.Context(), a, variants[0].client(nil)); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestAPeerThatSaysNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		began := time.Now()
		_, err := tryPipe(t.Context(), a, variants[0].client(nil))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != defaultHandshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a, b = net.Pipe()
		defer b.Close()
		began = time.Now()
		if _, err = tryPipe(ctx, a, variants[0].client(nil)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// failing runs a handshake that must fail at the client.
func failing(t *testing.T, ccfg, scfg Config, ca, sa *testAuth) (cerr, serr error) {
	t.Helper()
	c, s, cerr, serr := shake(t.Context(), ccfg, scfg, ca, sa, nil)
	if c != nil {
		t.Error("the client got in")
		_ = c.Close()
	}
	if s != nil {
		_ = s.Close()
	}
	return cerr, serr
}

func TestRefusals(t *testing.T) {
	v := variants[0]
	t.Run("bad method", func(t *testing.T) {
		sa := newTestAuth()
		sa.errno = 13
		if err, _ := failing(t, v.client(nil), v.server(nil), newTestAuth(), sa); !errors.Is(err, errTestRefused) || err.Error() != errTestRefused.Error()+": -13 [2] [2 1]" {
			t.Error(err)
		}
	})
	t.Run("other key", func(t *testing.T) {
		for _, v := range variants[:4] {
			sa := newTestAuth()
			sa.key = []byte("another byte key")
			if _, err := failing(t, v.client(nil), v.server(nil), newTestAuth(), sa); !errors.Is(err, ErrSignature) {
				t.Errorf("%v: %v", v, err)
			}
		}
	})
	t.Run("other secret", func(t *testing.T) {
		sa := newTestAuth()
		sa.secret = noise(64, 5)
		if _, err := failing(t, variants[1].client(nil), variants[1].server(nil), newTestAuth(), sa); !errors.Is(err, ErrFrame) {
			t.Error(err)
		}
	})
	t.Run("mode not offered", func(t *testing.T) {
		sa := newTestAuth()
		sa.mode = ModeCRC
		if err, _ := failing(t, variants[1].client(nil), variants[1].server(nil), newTestAuth(), sa); !errors.Is(err, ErrFrame) {
			t.Error(err)
		}
	})
	t.Run("kind of daemon", func(t *testing.T) {
		scfg := v.server(nil)
		scfg.Type = entity.TypeMon
		if err, _ := failing(t, v.client(nil), scfg, newTestAuth(), newTestAuth()); !errors.Is(err, ErrPeerType) {
			t.Error(err)
		}
	})
	t.Run("server requires more", func(t *testing.T) {
		ccfg, scfg := v.client(nil), v.server(nil)
		ccfg.Features &^= 1 << 59
		scfg.Required = 1 << 59
		if err, _ := failing(t, ccfg, scfg, newTestAuth(), newTestAuth()); !errors.Is(err, ErrFeatures) {
			t.Error(err)
		}
	})
	t.Run("other address", func(t *testing.T) {
		scfg := v.server(nil)
		other := testServer
		other.Nonce++
		scfg.Addrs = entity.AddrVec{other}
		if err, _ := failing(t, v.client(nil), scfg, newTestAuth(), newTestAuth()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	t.Run("no msgr2 address", func(t *testing.T) {
		target := entity.AddrVec{testServer.WithType(entity.AddrLegacy)}
		if _, err := Dial(t.Context(), target, entity.TypeOSD, newTestAuth(), v.client(nil)); !errors.Is(err, ErrMsgr1) {
			t.Error(err)
		}
	})
}

func TestRequestsToTryAgain(t *testing.T) {
	for _, tag := range []uint8{tagWait, tagSessionRetry, tagSessionRetryGlobal, tagSessionReset} {
		a, b := net.Pipe()
		go func() {
			_ = rawServer(b, variants[0], func(h *handshake) error {
				if tag == tagWait {
					return h.send(tag, nil)
				}
				return h.send(tag, word(1))
			})
		}()
		if _, err := tryPipe(t.Context(), a, variants[0].client(nil)); !errors.Is(err, ErrRetry) {
			t.Errorf("tag %d: %v", tag, err)
		}
	}
}

// rawClient shakes hands up to the signatures and leaves the rest to then.
func rawClient(nc net.Conn, v variant, then func(*handshake) error) error {
	h := &handshake{c: newConn(nc, v.client(nil).withDefaults()), record: true}
	if err := h.banners(false); err != nil {
		return err
	}
	hello := helloPayload{entity.TypeClient, testServer}
	if err := h.send(tagHello, hello); err != nil {
		return err
	}
	if err := h.expect(tagHello, "hello", &hello); err != nil {
		return err
	}
	res, err := h.authenticate(newTestAuth())
	if err != nil {
		return err
	}
	if err := h.signatures(res, true); err != nil {
		return err
	}
	return then(h)
}

func TestAReconnectIsAnsweredByAReset(t *testing.T) {
	for _, v := range variants[:4] {
		a, b := net.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- rawClient(a, v, func(h *handshake) error {
				if err := h.send(tagSessionReconnect, sessionReconnect{addrs: entity.AddrVec{testClient}, serverCookie: 9, msgSeq: 3}); err != nil {
					return err
				}
				var reset sessionReset
				if err := h.expect(tagSessionReset, "reset", &reset); err != nil || !reset.full {
					return fmt.Errorf("reset %v, %v", reset, err)
				}
				return h.identify(testServer, entity.TypeOSD)
			})
		}()
		s, err := Accept(t.Context(), b, newTestAuth(), v.server(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = s.Close()
	}
}

func TestAHandshakeWithoutEndIsCut(t *testing.T) {
	a, b := net.Pipe()
	go func() {
		_ = rawClient(a, variants[0], func(h *handshake) error {
			for {
				if err := h.send(tagSessionReconnect, sessionReconnect{}); err != nil {
					return err
				}
				h.frames = 0
				if _, _, err := h.recv("reset"); err != nil {
					return err
				}
			}
		})
	}()
	if _, err := Accept(t.Context(), b, newTestAuth(), variants[0].server(nil)); !errors.Is(err, ErrFrame) {
		t.Error(err)
	}
}

func TestNoMessageBeforeTheIdent(t *testing.T) {
	a, b := net.Pipe()
	go func() {
		_ = rawClient(a, variants[0], func(h *handshake) error { return h.send(tagMessage, word(0)) })
		_ = a.Close()
	}()
	if _, err := Accept(t.Context(), b, newTestAuth(), variants[0].server(nil)); !errors.Is(err, ErrFrame) {
		t.Error(err)
	}
}

func TestCompressionIsNotForced(t *testing.T) {
	for name, tc := range map[string]struct {
		client, server []Algorithm
		mode           Mode
		want           Algorithm
	}{
		"the client's order":    {[]Algorithm{LZ4, Snappy}, []Algorithm{Snappy, LZ4}, ModeCRC, LZ4},
		"the first of both":     {[]Algorithm{5, LZ4, Zlib}, []Algorithm{Snappy, Zlib}, ModeCRC, Zlib},
		"nothing in common":     {[]Algorithm{LZ4}, []Algorithm{Snappy}, ModeCRC, 0},
		"client does not offer": {nil, []Algorithm{Snappy}, ModeCRC, 0},
		"server does not offer": {[]Algorithm{Snappy}, nil, ModeCRC, 0},
		"not when encrypted":    {[]Algorithm{Snappy}, []Algorithm{Snappy}, ModeSecure, 0},
	} {
		v := variant{mode: tc.mode}
		ccfg, scfg := v.client(nil), v.server(nil)
		ccfg.Compression, scfg.Compression = tc.client, tc.server
		c, s, cerr, serr := shake(t.Context(), ccfg, scfg, newTestAuth(), newTestAuth(), nil)
		if cerr != nil || serr != nil {
			t.Fatalf("%s: %v, %v", name, cerr, serr)
		}
		if c.Compression() != tc.want || s.Compression() != tc.want {
			t.Errorf("%s: %v, %v", name, c.Compression(), s.Compression())
		}
		_, _ = c.Close(), s.Close()
	}
}

func TestPayloadsTakeWhatNewerPeersAppend(t *testing.T) {
	h := &handshake{stage: "ident"}
	p := serverIdent{ident{addrs: entity.AddrVec{testServer}, gid: 3, supported: 5}}
	var got serverIdent
	if err := h.decode(denc.NewReader(append(p.Append(nil), "more"...)), &got); err != nil || got.gid != 3 || got.supported != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := h.decode(denc.NewReader(p.Append(nil)[:20]), &got); !errors.Is(err, ErrFrame) {
		t.Error(err)
	}
}

func TestTransportsOfBothFamilies(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		own := entity.Addr{Type: entity.AddrMsgr2, Nonce: 7, IP: netip.MustParseAddrPort(l.Addr().String())}
		both := entity.AddrVec{own, {Type: entity.AddrLegacy, Nonce: 7, IP: netip.AddrPortFrom(own.IP.Addr(), 1)}}
		ch := make(chan accepted, 1)
		go func() {
			nc, err := l.Accept()
			if err != nil {
				ch <- accepted{nil, err}
				return
			}
			cfg := variants[0].server(nil)
			cfg.Addrs = both
			s, err := Accept(t.Context(), nc, newTestAuth(), cfg)
			ch <- accepted{s, err}
		}()
		c, err := Dial(t.Context(), both, entity.TypeOSD, newTestAuth(), variants[0].client(nil))
		s := <-ch
		if err != nil || s.err != nil {
			t.Fatal(ip, err, s.err)
		}
		if !c.PeerAddrs().Equal(both) || c.LocalAddr().IP.Addr().String() != ip || s.c.LocalAddr() != own {
			t.Errorf("%s: server %v, client %v, server's view %v", ip, c.PeerAddrs(), c.LocalAddr(), s.c.LocalAddr())
		}
		_, _ = c.Close(), s.c.Close()
		_ = l.Close()
	}
}
