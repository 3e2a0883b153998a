package msgr2

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

func TestBothEndsKnowEachOther(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			c, s := connected(t, v, nil, nil)
			if c.Mode() != v.mode || s.Mode() != v.mode || c.Compression() != v.comp || s.Compression() != v.comp {
				t.Errorf("modes %v %v, compression %v %v", c.Mode(), s.Mode(), c.Compression(), s.Compression())
			}
			if c.GlobalID() != 4123 || s.GlobalID() != 4123 {
				t.Errorf("ids %d %d", c.GlobalID(), s.GlobalID())
			}
			if got, want := c.PeerName(), (entity.Name{Type: entity.TypeOSD, Num: 7}); got != want {
				t.Errorf("server is %v", got)
			}
			if got, want := s.PeerName(), (entity.Name{Type: entity.TypeClient, Num: 4123}); got != want {
				t.Errorf("client is %v", got)
			}
			if !c.PeerAddrs().Equal(entity.AddrVec{testServer}) || s.LocalAddr() != testServer {
				t.Errorf("server is at %v, %v", c.PeerAddrs(), s.LocalAddr())
			}
			if got := s.PeerAddrs(); len(got) != 1 || got[0].Nonce != testClient.Nonce || got[0] != c.LocalAddr() || got[0].IP.Port() != 0 {
				t.Errorf("client is at %v, says %v", got, c.LocalAddr())
			}
			if c.Features() != testFeatures || s.Features() != testFeatures {
				t.Errorf("features %#x %#x", c.Features(), s.Features())
			}
		})
	}
}

func TestMessagesArriveInOrderAndWhole(t *testing.T) {
	sizes := []int{0, 1, 15, 16, 17, 47, 48, 49, 1023, 4096, 4097, 70000, 1 << 20, 9 << 20, 5}
	const count = 60
	var want [count]Message
	for i := range want {
		n := sizes[i%len(sizes)]
		m := Message{Type: uint16(i), TID: uint64(i), Version: 8, Compat: 4, Priority: 63, Front: text(n % 5000)}
		switch i % 4 {
		case 0:
			m.Data = NewData(noise(n, uint64(i)))
		case 1:
			m.Data = NewData(text(n/3), text(n-n/3))
		case 2:
			m.Middle = noise(n%100, 2)
			m.Data = NewData(text(n))
		}
		want[i] = m
	}
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			ci, si := newInbox(), newInbox()
			c, s := connected(t, v, ci, si)
			var wg sync.WaitGroup
			for _, end := range []*Conn{c, s} {
				wg.Go(func() {
					for _, m := range want {
						if err := end.Send(&m); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for _, in := range []*inbox{ci, si} {
				wg.Go(func() {
					for i := range want {
						select {
						case m := <-in.msgs:
							sameMessage(t, m, &want[i])
							if m.Seq != uint64(i+1) {
								t.Errorf("message %d has number %d", i, m.Seq)
							}
							m.Release()
						case err := <-in.reset:
							t.Errorf("connection died: %v", err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestPartsOfSeveralSendersStayWhole(t *testing.T) {
	si := newInbox()
	c, _ := connected(t, variants[0], nil, si)
	const senders, each = 8, 50
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := range each {
				_ = c.Send(&Message{Type: uint16(i), TID: uint64(n), Data: NewData(noise(8192, uint64(i*each+n)))})
			}
		})
	}
	var next [senders]uint64
	for range senders * each {
		m := <-si.msgs
		if m.TID != next[m.Type] {
			t.Fatalf("sender %d: message %d instead of %d", m.Type, m.TID, next[m.Type])
		}
		next[m.Type]++
		sameMessage(t, m, &Message{Type: m.Type, TID: m.TID, Priority: 127, Data: NewData(noise(8192, uint64(m.Type)*each+m.TID))})
		m.Release()
	}
	wg.Wait()
}

// A payload that is passed on goes with the CRC it came with: were it computed
// anew, a byte that went bad in memory in between would not be noticed.
func TestForwardedDataKeepsItsCRC(t *testing.T) {
	si, ti := newInbox(), newInbox()
	a, _ := connected(t, variants[0], nil, si)
	b, _ := connected(t, variants[0], nil, ti)
	if err := a.Send(&Message{TID: 1, Data: NewData(noise(100000, 1))}); err != nil {
		t.Fatal(err)
	}
	m := <-si.msgs
	d := NewData([]byte("in front"))
	d.AppendData(m.Data)
	if err := b.Send(&Message{TID: 2, Data: d}); err != nil {
		t.Fatal(err)
	}
	want := NewData([]byte("in front"), noise(100000, 1))
	sameMessage(t, <-ti.msgs, &Message{TID: 2, Priority: 127, Data: want})
	m.Data.Bytes()[777] ^= 1
	_ = b.Send(&Message{TID: 3, Data: m.Data})
	if err := <-ti.reset; !errors.Is(err, ErrFrame) {
		t.Errorf("a byte changed on the way: %v", err)
	}
}

func TestASilentPeerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() {
			_ = rawServer(b, variants[0], func(h *handshake) error {
				if err := h.send(tagServerIdent, h.c.serverIdent()); err != nil {
					return err
				}
				_, err := io.Copy(io.Discard, b) // reads all, says nothing
				return err
			})
		}()
		in := newInbox()
		cfg := variants[0].client(in)
		cfg.KeepaliveInterval, cfg.KeepaliveTimeout = 10*time.Second, 30*time.Second
		c := dialPipe(t, a, cfg)
		began := time.Now()
		if err := <-in.reset; !errors.Is(err, ErrSilent) {
			t.Errorf("died of %v", err)
		}
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("died after %v", d)
		}
		c.Wait()
	})
}

func TestAPeerThatDoesNotReadIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		hold := make(chan struct{})
		defer close(hold)
		go func() {
			_ = rawServer(b, variants[0], func(h *handshake) error {
				err := h.send(tagServerIdent, h.c.serverIdent())
				<-hold
				return err
			})
		}()
		in := newInbox()
		cfg := variants[0].client(in)
		cfg.KeepaliveInterval, cfg.KeepaliveTimeout = 10*time.Second, 30*time.Second
		c := dialPipe(t, a, cfg)
		_ = c.Send(&Message{Data: NewData(make([]byte, 1<<20))})
		if err := <-in.reset; !errors.Is(err, ErrSilent) {
			t.Errorf("died of %v", err)
		}
		c.Wait()
	})
}

func TestALivePeerIsKept(t *testing.T) {
	for _, v := range variants[:4] {
		synctest.Test(t, func(t *testing.T) {
			ccfg, scfg := v.client(nil), v.server(nil)
			ccfg.KeepaliveInterval, ccfg.KeepaliveTimeout = 10*time.Second, 30*time.Second
			scfg.KeepaliveTimeout = 15 * time.Second
			c, s, cerr, serr := shake(t.Context(), ccfg, scfg, newTestAuth(), newTestAuth(), nil)
			if cerr != nil || serr != nil {
				t.Fatal(cerr, serr)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if c.Err() != nil || s.Err() != nil {
				t.Errorf("died of %v, %v", c.Err(), s.Err())
			}
			if age := time.Since(c.LastKeepaliveAck()); age > 10*time.Second {
				t.Errorf("last answer %v ago", age)
			}
			_, _ = c.Close(), s.Close()
			c.Wait()
			s.Wait()
		})
	}
}

type slowHandler struct{ done chan struct{} }

func (s slowHandler) HandleMessage(*Conn, *Message) { time.Sleep(time.Minute); close(s.done) }
func (s slowHandler) HandleReset(*Conn, error)      {}

func TestASlowHandlerIsNotThePeersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := slowHandler{make(chan struct{})}
		ccfg := variants[0].client(h)
		ccfg.KeepaliveInterval, ccfg.KeepaliveTimeout = 10*time.Second, 30*time.Second
		c, s, cerr, serr := shake(t.Context(), ccfg, variants[0].server(nil), newTestAuth(), newTestAuth(), nil)
		if cerr != nil || serr != nil {
			t.Fatal(cerr, serr)
		}
		_ = s.Send(&Message{})
		<-h.done
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if c.Err() != nil {
			t.Error(c.Err())
		}
		_, _ = c.Close(), s.Close()
	})
}

// closer closes its connection from within the Handler.
type closer struct{ resets chan error }

func (h closer) HandleMessage(c *Conn, _ *Message) { _ = c.Close() }
func (h closer) HandleReset(_ *Conn, err error)    { h.resets <- err }

func TestCloseFromTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := closer{make(chan error, 2)}
		c, s, cerr, serr := shake(t.Context(), variants[0].client(h), variants[0].server(nil), newTestAuth(), newTestAuth(), nil)
		if cerr != nil || serr != nil {
			t.Fatal(cerr, serr)
		}
		for range 10 {
			_ = s.Send(&Message{})
		}
		c.Wait()
		if err := <-h.resets; !errors.Is(err, ErrClosed) || len(h.resets) != 0 {
			t.Errorf("reset with %v, %d more", err, len(h.resets))
		}
		if err := c.Send(&Message{}); !errors.Is(err, ErrClosed) {
			t.Errorf("send after close: %v", err)
		}
		<-s.Done()
		_ = s.Close()
		s.Wait()
		if !errors.Is(s.Err(), io.EOF) && !errors.Is(s.Err(), io.ErrClosedPipe) {
			t.Errorf("the peer died of %v", s.Err())
		}
	})
}

func TestManyPingsAreAnsweredByTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() {
			_ = rawServer(b, variants[0], func(h *handshake) error {
				if err := h.send(tagServerIdent, h.c.serverIdent()); err != nil {
					return err
				}
				for i := range uint32(1000) {
					if err := h.send(tagKeepalive2, keepalive{denc.Time{Sec: i}}); err != nil {
						return err
					}
				}
				var last keepalive
				h.frames = 0
				for last.stamp.Sec != 999 {
					var f inFrame
					if err := h.codec.read(b, &f, false); err != nil || f.tag != tagKeepalive2Ack {
						t.Errorf("tag %d, %v", f.tag, err)
						return err
					}
					last.Decode(denc.NewReader(f.seg[0]))
				}
				return nil
			})
		}()
		c := dialPipe(t, a, variants[0].client(nil))
		<-c.Done()
		c.Wait()
	})
}

func TestTagsThatMayNotComeEndTheConnection(t *testing.T) {
	for _, tag := range []uint8{tagHello, tagClientIdent, tagSessionReset, tagWait, tagCompressionDone, 0, 23, 255} {
		a, b := net.Pipe()
		go func() {
			_ = rawServer(b, variants[0], func(h *handshake) error {
				_ = h.send(tagServerIdent, h.c.serverIdent())
				return h.send(tag, word(1))
			})
		}()
		in := newInbox()
		c := dialPipe(t, a, variants[0].client(in))
		if err := <-in.reset; !errors.Is(err, ErrFrame) {
			t.Errorf("tag %d: %v", tag, err)
		}
		c.Wait()
	}
}
