package rados

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

func TestARequestSaysWhatTheOSDNeeds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		io := b.io().WithNamespace("ns").WithSnapContext(9, []uint64{9, 3})
		p := b.goCtx(context.Background(), io, "foo", func(op *Op) {
			op.AssertExists()
			op.Write(4096, msgr2.NewData([]byte("ab"), []byte("c")))
		})
		s := b.one(0)
		if s.Object != "foo" || s.Locator.Namespace != "ns" || s.Locator.Pool != 1 || s.Epoch != 1 || s.Retry != 0 || s.Snap != wire.SnapHead {
			t.Errorf("%+v", s.OSDOp)
		}
		if s.Hash != osdmap.HashName(2, "ns", "foo") || s.PG.Seed != s.Hash%8 || s.PG.Shard != wire.NoShard {
			t.Errorf("hash %x, pg %v", s.Hash, s.PG)
		}
		if s.Flags != wire.FlagsAlways|wire.FlagWrite || s.ReqID.Name.Num != testGID || s.ReqID.TID != s.tid || s.ModTime.IsZero() {
			t.Errorf("flags %#x, reqid %+v", s.Flags, s.ReqID)
		}
		if s.SnapC.Seq != 9 || len(s.SnapC.Snaps) != 2 || len(s.Ops) != 2 || string(s.Ops[1].Data.Bytes()) != "abc" || s.Ops[1].Extent() != (wire.Extent{Off: 4096, Len: 3}) {
			t.Errorf("%+v", s.OSDOp)
		}
		s.reply(0)
		p.wantDone(0)
		if p.op.Version() != 7 {
			t.Error(p.op.Version())
		}
	})
}

func TestResultsReachTheirOperations(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var data *Bytes
		var st *StatResult
		p := b.goCtx(context.Background(), b.io(), "o", func(op *Op) { data, st = op.Read(0, 3), op.Stat() })
		b.one(0).reply(0, []byte("xyz"), wire.StatOutput{Size: 3}.Append(nil))
		p.wantDone(0)
		if string(data.Bytes()) != "xyz" || st.Size != 3 {
			t.Errorf("%q %+v", data.Bytes(), st)
		}
		p = b.goCtx(context.Background(), b.io(), "o", func(op *Op) { data, st = op.Read(0, 3), op.Stat() })
		b.one(0).reply(-2)
		p.wantDone(ErrNotFound)
		if !errors.Is(data.Err(), ErrNotFound) || !errors.Is(st.Err(), ErrNotFound) {
			t.Error(data.Err(), st.Err())
		}
		// What was not reached has no result.
		var before, failing, after *Bytes
		p = b.goCtx(context.Background(), b.io(), "o", func(op *Op) {
			before, failing, after = op.Read(0, 3), op.GetXattr("a"), op.Read(0, 3)
		})
		s := b.one(0)
		rep := wire.OSDOpReply{Result: -61, Retry: -1, Ops: make([]wire.Op, 3)}
		rep.Ops[0].Data, rep.Ops[1].Rval = msgr2.NewData([]byte("abc")), -61
		s.conn.l.handle(s.conn, &msgr2.Message{Type: wire.TypeOSDOpReply, TID: s.tid, Front: rep.Append(nil), Data: rep.Payload()})
		p.wantDone(ErrNoData)
		if before.Err() != nil || string(before.Bytes()) != "abc" || !errors.Is(failing.Err(), ErrNoData) || !errors.Is(after.Err(), ErrNoData) {
			t.Error(before.Err(), failing.Err(), after.Err())
		}
		// An output that cannot be read is an error, not zeros.
		p = b.goCtx(context.Background(), b.io(), "o", func(op *Op) { st = op.Stat() })
		b.one(0).reply(0, []byte("short"))
		if synctest.Wait(); p.err == nil || st.Err() == nil {
			t.Error("a broken output was taken")
		}
	})
}

func TestALostConnectionSendsAgainInOrderWithTheSameTIDs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var ps []*pending
		for i := range 20 {
			ps = append(ps, b.write(fmt.Sprintf("o%d", i)))
		}
		first := b.take(0)
		first[3].reply(0)
		ps[3].wantDone(0)
		b.cut(0)
		again := b.take(0)
		if len(first) != 20 || len(again) != 19 {
			t.Fatalf("%d, then %d", len(first), len(again))
		}
		last := uint64(0)
		for _, s := range again {
			if s.tid <= last || s.Retry != 1 || s.ReqID.TID != s.tid || s.Flags&wire.FlagRetry == 0 {
				t.Errorf("tid %d after %d, retry %d", s.tid, last, s.Retry)
			}
			last = s.tid
		}
		// The answer to the first attempt that comes late over the new
		// connection is not the second one's.
		again[0].answer(wire.OSDOpReply{Retry: 0})
		ps[0].wantPending()
		for _, s := range again {
			s.reply(0)
		}
		for _, p := range ps {
			p.wantDone(0)
		}
	})
}

func TestAnswersOfADeadConnectionAreNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		old := b.one(0)
		b.cut(0)
		b.one(0)
		old.answer(wire.OSDOpReply{Retry: -1})
		p.wantPending()
	})
}

func TestRefusedConnectionsAreTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.refuse[0] = true
		p := b.write("o")
		time.Sleep(10 * time.Second)
		p.wantPending()
		if !b.asked(2) {
			t.Error("no newer map was asked for")
		}
		if b.dials < 5 || b.dials > 30 {
			t.Errorf("%d attempts in 10 s", b.dials)
		}
		b.mu.Lock()
		b.refuse[0] = false
		b.mu.Unlock()
		time.Sleep(2 * time.Second)
		b.one(0).reply(0)
		p.wantDone(0)
	})
}

func TestAMapMovesOnlyWhatItAffects(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		for i := range 50 {
			b.write(fmt.Sprintf("o%d", i))
		}
		first := b.take(0)
		b.setMap(mapSpec{epoch: 2, acting: map[uint32][]int32{3: {2, 0}}})
		moved := b.take(2)
		n := 0
		for _, s := range first {
			if s.PG.Seed != 3 {
				continue
			}
			if n >= len(moved) || moved[n].tid != s.tid || moved[n].Epoch != 2 || moved[n].Retry != 1 {
				t.Fatalf("request %d was not moved in order", s.tid)
			}
			n++
		}
		if n == 0 || n != len(moved) {
			t.Errorf("%d of %d", n, len(moved))
		}
		b.none(0)
		// Another replica, same primary: a new interval, so all go again.
		b.setMap(mapSpec{epoch: 3, acting: map[uint32][]int32{3: {2, 1}}})
		if again := b.take(2); len(again) != n {
			t.Errorf("%d of %d were sent again", len(again), n)
		}
		b.none(0)
	})
}

func TestASplitSendsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		first := b.one(0)
		b.setMap(mapSpec{epoch: 2, pool: osdmap.Pool{PGNum: 16}})
		s := b.one(0)
		if s.tid != first.tid || s.PG.Seed != s.Hash%16 {
			t.Errorf("%v", s.PG)
		}
		s.reply(0)
		p.wantDone(0)
	})
}

func TestForcedAndSkippedMapsSendAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		b.one(0)
		b.setMap(mapSpec{epoch: 2})
		b.none(0)
		b.setMap(mapSpec{epoch: 3, pool: osdmap.Pool{LastForceResend: 3}})
		b.one(0)
		b.setMap(mapSpec{epoch: 4, pool: osdmap.Pool{LastForceResend: 3}})
		b.none(0)
		b.setMap(mapSpec{epoch: 9, skipped: true, pool: osdmap.Pool{LastForceResend: 3}})
		b.one(0).reply(0)
		p.wantDone(0)
	})
}

func TestAnOSDThatGoesDownOrMovesLosesItsSession(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		b.one(0)
		b.setMap(mapSpec{epoch: 2, acting: everywhere(1), down: []int32{0}})
		s := b.one(1)
		old := b.conn(1)
		b.setMap(mapSpec{epoch: 3, acting: everywhere(1), down: []int32{0}, nonce: 5}) // OSD 1 was restarted
		again := b.one(1)
		if b.conn(1) == old || !old.dead || again.tid != s.tid {
			t.Error("the old connection is still used")
		}
		again.reply(0)
		p.wantDone(0)
	})
}

func TestWithoutAPrimaryRequestsWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.setMap(mapSpec{epoch: 2, acting: everywhere()})
		p := b.write("o")
		time.Sleep(time.Minute)
		p.wantPending()
		if !b.asked(3) {
			t.Error("no newer map was asked for")
		}
		b.setMap(mapSpec{epoch: 3, acting: everywhere(2)})
		b.one(2).reply(0)
		p.wantDone(0)
	})
}

func TestAMissingPoolIsAnErrorOnlyByTheNewestMap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.setMap(mapSpec{epoch: 2, noPool: true})
		b.newest = 3
		p := b.write("o")
		p.wantPending()
		b.setMap(mapSpec{epoch: 3}) // it is there by now
		b.one(0).reply(0)
		p.wantDone(0)
		p = b.write("o")
		b.one(0)
		b.setMap(mapSpec{epoch: 4, noPool: true}) // it goes away under a request
		p.wantDone(ErrNotFound)
		if MaybeApplied(p.err) {
			t.Error("what is gone was not written")
		}
		b.none(0)
	})
}

func TestPausesHoldAndLetGo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.setMap(mapSpec{epoch: 2, flags: osdmap.FlagPauseWrite})
		w, r := b.write("w"), b.read("r")
		b.one(0).reply(0, []byte("x"))
		r.wantDone(0)
		w.wantPending()
		b.setMap(mapSpec{epoch: 3, flags: osdmap.FlagPauseRead})
		b.one(0).reply(0)
		w.wantDone(0)
		r = b.read("r")
		r.wantPending()
		b.none(0)
		b.setMap(mapSpec{epoch: 4})
		b.one(0).reply(0, []byte("x"))
		r.wantDone(0)
	})
}

func TestAFullPoolHoldsWritesButNotRemovals(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		sent := b.write("early")
		b.one(0)
		full := osdmap.Pool{Flags: osdmap.PoolFullQuota}
		b.setMap(mapSpec{epoch: 2, pool: full})
		b.none(0)
		w, try := b.write("w"), b.write("try", FullTry())
		s := b.one(0)
		if s.Flags&wire.FlagFullTry == 0 || s.Object != "try" {
			t.Errorf("%+v", s.OSDOp)
		}
		s.reply(-122)
		try.wantDone(ErrQuota)
		w.wantPending()
		b.setMap(mapSpec{epoch: 3})
		// What was sent before the pool was full may have been dropped.
		again := b.take(0)
		if len(again) != 2 || again[0].Object != "early" || again[1].Object != "w" {
			t.Fatalf("%d requests", len(again))
		}
		for _, s := range again {
			s.reply(0)
		}
		sent.wantDone(0)
		w.wantDone(0)
	})
}

func TestAPoolMarkedEIOFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		b.one(0)
		b.setMap(mapSpec{epoch: 2, pool: osdmap.Pool{Flags: osdmap.PoolEIO}})
		p.wantDone(ErrIO)
		b.read("o").wantDone(ErrIO)
	})
}

func TestBackoffsHoldObjectsUntilTheyAreLifted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		early := b.write("held")
		s := b.one(0)
		at := wire.HObject{OID: "held", Snap: wire.SnapHead, Hash: s.Hash, Pool: 1}
		block := wire.OSDBackoff{PG: s.PG, Epoch: 1, Op: wire.BackoffBlock, ID: 77, Begin: at, End: at}
		c := b.conn(0)
		c.push(&block, nil)
		if len(c.acks) != 1 || c.acks[0].Op != wire.BackoffAckBlock || c.acks[0].ID != 77 || c.acks[0].Epoch != 1 {
			t.Fatalf("%+v", c.acks)
		}
		late, free := b.write("held"), b.write("free")
		if s := b.one(0); s.Object != "free" {
			t.Errorf("%s was sent", s.Object)
		} else {
			s.reply(0)
		}
		free.wantDone(0)
		late.wantPending()
		block.Op = wire.BackoffUnblock
		c.push(&block, nil)
		again := b.take(0)
		if len(again) != 2 || again[0].tid != s.tid || again[1].tid < s.tid {
			t.Fatalf("%d requests", len(again))
		}
		for _, s := range again {
			s.reply(0)
		}
		early.wantDone(0)
		late.wantDone(0)

		// A new connection knows of no backoffs.
		block.Op = wire.BackoffBlock
		c.push(&block, nil)
		p := b.write("held")
		b.none(0)
		b.cut(0)
		b.one(0).reply(0)
		p.wantDone(0)
	})
}

func TestNotHereAndNotNow(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		first := b.one(0)
		first.reply(-11)
		second := b.one(0)
		if second.tid == first.tid || second.Retry != 0 {
			t.Errorf("tid %d after %d, retry %d", second.tid, first.tid, second.Retry)
		}
		to := &wire.Redirect{Locator: wire.ObjectLocator{Pool: 1, Namespace: "x", Hash: -1}, Object: "other"}
		second.answer(wire.OSDOpReply{Redirect: to, Retry: -1})
		time.Sleep(time.Second)
		third := b.one(0)
		want := wire.FlagRedirected | wire.FlagIgnoreCache | wire.FlagIgnoreOverlay
		if third.Object != "other" || third.Locator.Namespace != "x" || third.Flags&want != want || third.Hash != osdmap.HashName(2, "x", "other") {
			t.Errorf("%+v", third.OSDOp)
		}
		third.reply(0)
		p.wantDone(0)
	})
}

func TestSlowAnswersMakeUsLookForANewerMap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		p := b.write("o")
		time.Sleep(tickInterval)
		if b.asked(2) {
			t.Error("too early")
		}
		time.Sleep(3 * tickInterval)
		if !b.asked(2) {
			t.Error("no newer map was asked for")
		}
		b.one(0).reply(0)
		p.wantDone(0)
	})
}

func TestAnErasureCodedPoolIsAddressedByShard(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.setMap(mapSpec{epoch: 2, erasure: true, acting: everywhere(osdmap.NoOSD, 2)})
		p := b.write("o")
		s := b.one(2)
		if s.PG.Shard != 1 {
			t.Errorf("shard %d", s.PG.Shard)
		}
		s.reply(0)
		p.wantDone(0)
	})
}

func TestWaitingForAMap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		done := make(chan error, 1)
		go func() { done <- b.c.WaitForOSDMap(context.Background(), 5) }()
		b.setMap(mapSpec{epoch: 4})
		if !b.asked(5) || len(done) != 0 {
			t.Error("too early")
		}
		b.setMap(mapSpec{epoch: 6})
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := b.c.WaitForOSDMap(ctx, 99); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
