package rados

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// garble answers a request by what cannot be read.
func (s *sentOp) garble() {
	s.conn.l.handle(s.conn, &msgr2.Message{Type: wire.TypeOSDOpReply, TID: s.tid, Front: []byte{1, 2, 3}})
	synctest.Wait()
}

// shorten answers a request, but for the end of the message.
func (s *sentOp) shorten(data string) {
	rep := wire.OSDOpReply{Retry: s.Retry, Ops: make([]wire.Op, len(s.Ops))}
	rep.Ops[0].Data = msgr2.NewData([]byte(data))
	d := rep.Payload()
	s.conn.l.handle(s.conn, &msgr2.Message{Type: wire.TypeOSDOpReply, TID: s.tid, Front: rep.Append(nil), Data: d.Slice(0, d.Len()-1)})
	synctest.Wait()
}

// soon lets the pauses between attempts pass.
func soon() { time.Sleep(5 * time.Second); synctest.Wait() }

func TestUnreadableRepliesBreakTheConnection(t *testing.T) {
	for name, answer := range map[string]func(*sentOp){
		"garbage": (*sentOp).garble, "cut": func(s *sentOp) { s.shorten("data") },
		"backoff": func(s *sentOp) {
			s.conn.l.handle(s.conn, &msgr2.Message{Type: wire.TypeOSDBackoff, Front: []byte{1}})
		},
		"map": func(s *sentOp) {
			s.conn.l.handle(s.conn, &msgr2.Message{Type: wire.TypeOSDMap, Front: []byte{1}})
		},
		"map inside": func(s *sentOp) {
			s.conn.push(&wire.OSDMapMessage{Full: map[uint32][]byte{2: []byte("x")}, Newest: 2}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				p, q := b.read("p"), b.write("q")
				s := b.take(0)
				old, tids := b.conn(0), [2]uint64{s[0].tid, s[1].tid}
				answer(s[0])
				p.wantPending()
				q.wantPending()
				if soon(); !old.dead || b.conn(0) == old {
					t.Fatal("the connection was kept")
				}
				s = b.take(0)
				if len(s) != 2 || s[0].tid != tids[0] || s[1].tid != tids[1] || s[1].Retry != 1 || s[1].ReqID.TID != tids[1] {
					t.Fatalf("sent again: %+v", s)
				}
				s[0].reply(0, []byte("x"))
				s[1].reply(0)
				p.wantDone(0)
				q.wantDone(0)
			})
		})
	}
}

func TestGarbageForEverEndsItsRequestOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p, q, r := b.write("p"), b.write("q"), b.read("r")
		tries, start := 0, time.Now()
		for !p.done || !r.done {
			s := b.take(0)
			if tries++; tries > 20 {
				t.Fatal("it never ends")
			}
			for _, s := range s {
				if s.Object == "p" || s.Object == "r" && p.done {
					s.garble()
					break
				}
			}
			soon()
		}
		if tries != 2*5 {
			t.Errorf("%d attempts", tries)
		}
		if !errors.Is(p.err, ErrGarbage) || !MaybeApplied(p.err) || !strings.Contains(p.err.Error(), "osd.0") {
			t.Errorf("%v", p.err)
		}
		if !errors.Is(r.err, ErrGarbage) || MaybeApplied(r.err) {
			t.Errorf("%v", r.err)
		}
		q.wantPending()
		b.one(0).reply(0)
		q.wantDone(0)
		if err := b.c.Settle(context.Background()); err != nil {
			t.Error(err)
		}
		t.Log(p.err, time.Since(start))
	})
}

func TestAttemptsAfterGarbageGetSlower(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.write("p")
		b.one(0).garble()
		b.none(0)
		time.Sleep(redialFirst)
		b.one(0).garble()
		time.Sleep(redialFirst)
		b.none(0)
		time.Sleep(redialFirst)
		b.one(0)
	})
}

func TestWatchThatCannotBeRegisteredForGarbage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		done := make(chan error, 1)
		go func() {
			_, err := b.io().Watch(context.Background(), "o", func(*Notification) {})
			done <- err
		}()
		synctest.Wait()
		for range 5 {
			b.one(0).garble()
			soon()
		}
		if err := <-done; !errors.Is(err, ErrGarbage) {
			t.Error(err)
		}
		if soon(); len(b.o.lingers.all) != 0 {
			t.Error("it is still known")
		}
	})
}

func TestWatchIsLostByGarbageOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var lost error
		var w *Watch
		go func() {
			var err error
			w, err = b.io().Watch(context.Background(), "o", func(*Notification) {}, OnError(func(err error) { lost = err }))
			if err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		b.one(0).reply(0)
		garbage := func() {
			c := b.conn(0)
			c.l.handle(c, &msgr2.Message{Type: wire.TypeWatchNotify, Front: []byte{1}})
			soon()
		}
		for range 4 {
			garbage()
			for _, s := range b.take(0) { // reconnects and pings
				s.reply(0)
			}
		}
		if lost != nil {
			t.Fatal(lost)
		}
		if garbage(); !errors.Is(lost, ErrGarbage) || !errors.Is(w.Err(), ErrGarbage) {
			t.Errorf("%v", lost)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestNotifyWhoseResultIsGarbage(t *testing.T) {
	for _, many := range []int{1, 5} {
		inBubble(t, func(t *testing.T, b *bench) {
			var res *NotifyResult
			var err error
			done := make(chan bool)
			go func() {
				res, err = b.io().Notify(context.Background(), "o", nil, time.Hour)
				close(done)
			}()
			complete := func(id byte, data []byte) {
				synctest.Wait()
				s := b.one(0)
				s.reply(0, []byte{id, 0, 0, 0, 0, 0, 0, 0})
				b.conn(0).push(&wire.WatchNotify{Cookie: s.Ops[0].NotifyCookie(), NotifyID: uint64(id), Event: wire.WatchEventComplete}, data)
			}
			for i := range many {
				complete(byte(i+1), []byte{9})
				soon()
			}
			if many == 1 {
				complete(9, (&wire.NotifyReply{}).Append(nil))
			}
			<-done
			if many == 1 && (err != nil || res == nil) || many > 1 && !errors.Is(err, ErrGarbage) {
				t.Errorf("%d: %v, %v", many, res, err)
			}
		})
	}
}

func TestMapsThatCanNeverBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1<<30, 1<<20)
		done := make(chan error, 1)
		go func() { done <- b.o.waitMap(context.Background(), 1) }()
		for range 5 {
			b.push(wire.OSDMapMessage{Full: map[uint32][]byte{1: fullMap(1)[:100]}, Newest: 1})
		}
		if err := <-done; !errors.Is(err, ErrGarbage) {
			t.Error(err)
		}
		b.push(wire.OSDMapMessage{Full: map[uint32][]byte{1: fullMap(1)}, Newest: 1})
		if err := b.o.waitMap(context.Background(), 1); err != nil {
			t.Error(err)
		}
	})
}
