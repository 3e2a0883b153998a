package rados

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// watched is a watch and what it told.
type watched struct {
	w     *Watch
	notes []*Notification
	lost  []error
}

// watchOp takes the one watch operation that was sent to an OSD.
func (b *bench) watchOp(osd int32, want wire.WatchOp) *sentOp {
	b.t.Helper()
	s := b.one(osd)
	if s.Ops[0].Code != wire.OpWatch || s.Ops[0].Watch().Op != want {
		b.t.Fatalf("%s %d was sent, want watch %d", s.Ops[0].Code, s.Ops[0].Watch().Op, want)
	}
	return s
}

func (b *bench) watch(t *testing.T, opts ...WatchOption) *watched {
	t.Helper()
	wd := &watched{}
	opts = append(opts, OnError(func(err error) { wd.lost = append(wd.lost, err) }))
	done := make(chan error, 1)
	go func() {
		var err error
		wd.w, err = b.io().Watch(context.Background(), "o", func(n *Notification) { wd.notes = append(wd.notes, n) }, opts...)
		done <- err
	}()
	s := b.watchOp(0, wire.WatchOpWatch)
	if s.Flags&wire.FlagWrite == 0 {
		t.Error("a registration is a write")
	}
	s.reply(0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return wd
}

func notifyEvent(w *Watch, id uint64, payload string) *wire.WatchNotify {
	return &wire.WatchNotify{Event: wire.WatchEventNotify, Cookie: w.Cookie(), NotifyID: id, NotifierGID: 9, Payload: []byte(payload)}
}

func TestAWatchGetsEachNotificationOnceAndAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t, WatchTimeout(1500*time.Millisecond))
		c := b.conn(0)
		c.push(notifyEvent(wd.w, 100, "hello"), nil)
		c.push(notifyEvent(wd.w, 100, "hello"), nil)
		if len(wd.notes) != 1 || string(wd.notes[0].Payload) != "hello" || wd.notes[0].NotifierGID != 9 {
			t.Fatalf("%+v", wd.notes)
		}
		b.none(0)
		wd.notes[0].Ack([]byte("answer"))
		wd.notes[0].Ack([]byte("again"))
		s := b.one(0)
		var in wire.NotifyAckInput
		r := denc.NewReader(s.Ops[0].Data.Bytes())
		in.Decode(r)
		if s.Ops[0].Code != wire.OpNotifyAck || r.Done() != nil || in.NotifyID != 100 || in.Cookie != wd.w.Cookie() || string(in.Reply) != "answer" {
			t.Errorf("%s %+v", s.Ops[0].Code, in)
		}
		s.reply(0)
		// Repeated by the OSD after the answer: the answer was lost.
		c.push(notifyEvent(wd.w, 100, "hello"), nil)
		if s := b.one(0); s.Ops[0].Code != wire.OpNotifyAck || len(wd.notes) != 1 {
			t.Error("the answer was not repeated")
		}
	})
}

func TestAWatchPings(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t)
		time.Sleep(watchPing)
		s := b.watchOp(0, wire.WatchOpPing)
		if s.Flags&wire.FlagWrite != 0 {
			t.Error("a ping is no write")
		}
		time.Sleep(2 * watchPing)
		b.none(0) // one ping at a time
		s.reply(0)
		if got := time.Since(wd.w.LastSeen()); got != 2*watchPing {
			t.Errorf("last seen %v ago", got)
		}
		time.Sleep(watchPing)
		b.watchOp(0, wire.WatchOpPing).reply(-107)
		if len(wd.lost) != 1 || !errors.Is(wd.lost[0], ErrNotConnected) || !errors.Is(wd.w.Err(), ErrNotConnected) {
			t.Errorf("%v", wd.lost)
		}
		time.Sleep(10 * watchPing)
		b.none(0)
		if err := wd.w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestAWatchReconnects(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t)
		for gen := uint32(1); gen <= 3; gen++ {
			b.cut(0)
			s := b.watchOp(0, wire.WatchOpReconnect)
			if s.Ops[0].Watch().Gen != gen || s.Retry != 0 {
				t.Errorf("generation %d, want %d", s.Ops[0].Watch().Gen, gen)
			}
			s.reply(0)
		}
		// The object moves.
		b.setMap(mapSpec{epoch: 2, acting: everywhere(1)})
		b.none(0)
		s := b.watchOp(1, wire.WatchOpReconnect)
		// The connection dies before the answer: a new attempt, not the same.
		b.cut(1)
		s2 := b.watchOp(1, wire.WatchOpReconnect)
		if s2.tid == s.tid || s2.Ops[0].Watch().Gen != s.Ops[0].Watch().Gen+1 {
			t.Error("the same attempt was repeated")
		}
		s2.reply(0)
		if len(wd.lost) != 0 {
			t.Error(wd.lost)
		}
		b.cut(1)
		b.watchOp(1, wire.WatchOpReconnect).reply(-107)
		if len(wd.lost) != 1 {
			t.Error(wd.lost)
		}
	})
}

func TestAPingThatWasCaughtByAResetSaysNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t)
		time.Sleep(watchPing)
		b.watchOp(0, wire.WatchOpPing)
		b.cut(0)
		b.watchOp(0, wire.WatchOpReconnect).reply(0)
		if len(wd.lost) != 0 {
			t.Error(wd.lost)
		}
		time.Sleep(watchPing)
		b.watchOp(0, wire.WatchOpPing).reply(0)
	})
}

func TestADisconnectEventEndsAWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t)
		b.conn(0).push(&wire.WatchNotify{Event: wire.WatchEventDisconnect, Cookie: wd.w.Cookie()}, nil)
		if len(wd.lost) != 1 || !errors.Is(wd.lost[0], ErrNotConnected) {
			t.Error(wd.lost)
		}
	})
}

func TestClosingAWatchTakesItBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t)
		done := make(chan error, 1)
		go func() { done <- wd.w.Close(context.Background()) }()
		b.watchOp(0, wire.WatchOpUnwatch).reply(0)
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.conn(0).push(notifyEvent(wd.w, 1, "late"), nil)
		time.Sleep(time.Minute)
		b.none(0)
		if len(wd.notes) != 0 {
			t.Error("a closed watch was notified")
		}
	})
}

func TestAWatchIsTakenBackThoughWhoClosesItDoesNotWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wd := b.watch(t)
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		if err := wd.w.Close(gone); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		b.watchOp(0, wire.WatchOpUnwatch).reply(0)
	})
}

func TestARegistrationIsNotRepeatedButMadeAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		done := make(chan error, 1)
		go func() {
			w, err := b.io().Watch(context.Background(), "o", func(*Notification) {})
			if err == nil {
				go w.Close(context.Background())
			}
			done <- err
		}()
		first := b.watchOp(0, wire.WatchOpWatch)
		b.cut(0)
		second := b.watchOp(0, wire.WatchOpWatch)
		if second.tid == first.tid || second.Ops[0].Watch().Cookie != first.Ops[0].Watch().Cookie {
			t.Error("want a new request for the same watch")
		}
		second.reply(-2)
		if err := <-done; !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// startNotify starts a notify and returns the operation that was sent.
func (b *bench) startNotify(t *testing.T) (func() (*NotifyResult, error), *sentOp) {
	type end struct {
		res *NotifyResult
		err error
	}
	done := make(chan end, 1)
	go func() {
		res, err := b.io().Notify(context.Background(), "o", []byte("p"), 1500*time.Millisecond)
		done <- end{res, err}
	}()
	s := b.one(0)
	var in wire.NotifyInput
	r := denc.NewReader(s.Ops[0].Data.Bytes())
	in.Decode(r)
	if s.Ops[0].Code != wire.OpNotify || r.Done() != nil || in.Timeout != 2 || string(in.Payload) != "p" {
		t.Errorf("%s %+v", s.Ops[0].Code, in)
	}
	return func() (*NotifyResult, error) { e := <-done; return e.res, e.err }, s
}

func complete(s *sentOp, id uint64, code int32) {
	rep := wire.NotifyReply{Acks: []wire.NotifyAck{{GID: 1, Cookie: 2, Payload: []byte("r")}}}
	if code != 0 {
		rep.Timeouts = []wire.NotifyAck{{GID: 3, Cookie: 4}}
	}
	s.conn.push(&wire.WatchNotify{Event: wire.WatchEventComplete, Cookie: s.Ops[0].NotifyCookie(), NotifyID: id, ReturnCode: code}, rep.Append(nil))
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func TestANotifyCompletesInEitherOrder(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprint(early), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				wait, s := b.startNotify(t)
				if early {
					complete(s, 55, 0)
				}
				s.reply(0, u64(55))
				if !early {
					complete(s, 54, 0) // another one's
					complete(s, 55, 0)
				}
				res, err := wait()
				if err != nil || len(res.Acks) != 1 || string(res.Acks[0].Payload) != "r" {
					t.Errorf("%+v, %v", res, err)
				}
				if n := len(b.o.lingers.all); n != 0 {
					t.Errorf("%d lingers are left", n)
				}
			})
		})
	}
}

func TestANotifyThatTimesOutTellsWhoAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wait, s := b.startNotify(t)
		s.reply(0, u64(55))
		complete(s, 55, -110)
		res, err := wait()
		if !errors.Is(err, ErrTimedOut) || len(res.Acks) != 1 || len(res.Timeouts) != 1 || res.Timeouts[0].GID != 3 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestANotifyIsMadeAnewWhenItsOSDIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		wait, s := b.startNotify(t)
		b.cut(0) // before the answer
		s = b.one(0)
		s.reply(0, u64(56))
		b.cut(0) // after it
		s = b.one(0)
		s.reply(0, u64(57))
		complete(s, 57, 0)
		if _, err := wait(); err != nil {
			t.Error(err)
		}
		b.none(0)
	})
}

func TestANotifyBeforeThePoolIsKnownIsSentOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.setMap(mapSpec{epoch: 2, noPool: true})
		b.newest = 3
		done := make(chan error, 1)
		go func() {
			_, err := b.io().Notify(context.Background(), "o", nil, time.Second)
			done <- err
		}()
		synctest.Wait()
		b.setMap(mapSpec{epoch: 3})
		s := b.one(0)
		s.reply(0, u64(1))
		b.none(0)
		complete(s, 1, 0)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestListingGoesThroughAllPlacementGroups(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		done := make(chan []string, 1)
		go func() {
			var names []string
			for o, err := range b.io().Objects(context.Background()) {
				if err != nil {
					t.Error(err)
				}
				names = append(names, o.Name)
			}
			done <- names
		}()
		for seed := range uint32(8) {
			for page := range 2 {
				s := b.one(0)
				if s.PG.Seed != seed || s.Hash != seed || s.Ops[0].Code != wire.OpPgnls || s.Flags&wire.FlagPGOp == 0 {
					t.Fatalf("%+v", s.OSDOp)
				}
				rep := wire.PgnlsReply{Next: wire.HObject{OID: "next"}, Entries: []wire.PgnlsEntry{{Name: fmt.Sprintf("%d.%d", seed, page)}}}
				s.reply(int32(page), rep.Append(nil))
			}
		}
		names := <-done
		if len(names) != 16 || !slices.IsSorted(names) {
			t.Errorf("%q", names)
		}
	})
}
