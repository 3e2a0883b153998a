package cephx

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// echo sends every message back.
type echo struct{}

func (echo) HandleMessage(c *msgr2.Conn, m *msgr2.Message) {
	_ = c.Send(&msgr2.Message{Type: m.Type, TID: m.TID, Front: bytes.Clone(m.Front), Data: m.Data})
}
func (echo) HandleReset(*msgr2.Conn, error) {}

type collect chan *msgr2.Message

func (c collect) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) { c <- m }
func (c collect) HandleReset(*msgr2.Conn, error)                {}

// connect runs the messenger's handshake of both halves over a socket in
// memory.
func connect(t *testing.T, kind entity.Type, c msgr2.ClientAuth, s msgr2.ServerAuth, modes ...msgr2.Mode) (*msgr2.Conn, collect, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	addr := entity.Addr{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort("127.0.0.1:3300")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *msgr2.Conn, 1)
	go func() {
		defer close(accepted)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		if conn, err := msgr2.Accept(ctx, nc, s, msgr2.Config{Type: kind, Addrs: entity.AddrVec{addr}, Features: 7, Handler: echo{}}); err == nil {
			accepted <- conn
		}
	}()
	got := make(collect, 1)
	conn, err := msgr2.Dial(ctx, entity.AddrVec{addr}, kind, c, msgr2.Config{
		Type: entity.TypeClient, Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: 5}}, Features: 3, Modes: modes, Handler: got,
		Dialer: func(ctx context.Context, _ entity.Addr) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		},
	})
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Cleanup(func() {
		if s := <-accepted; s != nil {
			_ = s.Close()
		}
	})
	return conn, got, nil
}

func TestMessengerWithTickets(t *testing.T) {
	forEachType(t, func(t *testing.T, kt KeyType) {
		for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
			w := newWorld(kt)
			h, err := w.client.Handshake()
			if err != nil {
				t.Fatal(err)
			}
			conn, got, err := connect(t, entity.TypeMon, h, w.server.MonAuth(), mode)
			if err != nil {
				t.Fatal(err)
			}
			h.Commit()
			if conn.Mode() != mode || conn.GlobalID() != w.client.GlobalID() || conn.Features() != 3 || conn.LocalAddr().Nonce != 5 {
				t.Errorf("mode %v, id %d, features %#x, local %v", conn.Mode(), conn.GlobalID(), conn.Features(), conn.LocalAddr())
			}
			exchange(t, conn, got)
			a, err := w.client.Authorizer(entity.TypeOSD)
			if err != nil {
				t.Fatal(err)
			}
			conn, got, err = connect(t, entity.TypeOSD, a, w.server.ServiceAuth(entity.TypeOSD), mode)
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, conn, got)
		}
	})
}

func exchange(t *testing.T, conn *msgr2.Conn, got collect) {
	t.Helper()
	for i, n := range []int{0, 1, 100, 5000, 1 << 20} {
		data := bytes.Repeat([]byte{byte(i + 1)}, n)
		if err := conn.Send(&msgr2.Message{Type: 9, TID: uint64(i), Front: []byte("front"), Data: msgr2.NewData(data)}); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			if m.TID != uint64(i) || string(m.Front) != "front" || !bytes.Equal(m.Data.Bytes(), data) {
				t.Errorf("%d bytes: got tid %d, %q and %d bytes", n, m.TID, m.Front, m.Data.Len())
			}
		case <-conn.Done():
			t.Fatal(conn.Err())
		}
	}
}

func TestMessengerRefusesAWrongKey(t *testing.T) {
	w := newWorld(KeyAES256K)
	w.key = NewKey(KeyAES256K)
	h, err := w.client.Handshake()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := connect(t, entity.TypeMon, h, w.server.MonAuth(), msgr2.ModeSecure); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}
