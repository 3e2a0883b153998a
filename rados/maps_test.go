package rados

import (
	"testing"
	"testing/synctest"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// fullMap encodes the plain map of an epoch.
func fullMap(epoch uint32) []byte { return mapSpec{epoch: epoch}.build().Append(nil, Features) }

// incremental encodes a change that sets the flags.
func incremental(t *testing.T, from *osdmap.Map, flags int32) (p []byte, next *osdmap.Map) {
	t.Helper()
	inc := from.NewIncremental()
	inc.NewFlags = flags
	next, _, p, err := from.Next(inc, Features)
	if err != nil {
		t.Fatal(err)
	}
	return p, next
}

func (b *bench) push(m wire.OSDMapMessage) {
	_ = b.o.monMap(&msgr2.Message{Type: wire.TypeOSDMap, Front: m.Append(nil)})
	synctest.Wait()
}

func (b *bench) epoch() uint32 { return b.o.current().epoch() }

func TestMapsAreTakenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1<<30, 1<<20)
		b.push(wire.OSDMapMessage{Full: map[uint32][]byte{3: fullMap(3), 4: fullMap(4)}, Newest: 4})
		if b.epoch() != 4 {
			t.Fatalf("epoch %d", b.epoch())
		}
		m4 := b.o.current().m
		p5, m5 := incremental(t, m4, int32(osdmap.FlagSortBitwise|osdmap.FlagPauseWrite))
		p6, m6 := incremental(t, m5, int32(osdmap.FlagSortBitwise))
		// A gap: the newer one alone is of no use, and the older is asked for.
		b.push(wire.OSDMapMessage{Incrementals: map[uint32][]byte{6: p6}, Newest: 6})
		if b.epoch() != 4 || !b.asked(5) {
			t.Errorf("epoch %d", b.epoch())
		}
		w := b.write("o")
		b.one(0)
		b.push(wire.OSDMapMessage{Incrementals: map[uint32][]byte{5: p5, 6: p6}, Newest: 6})
		// Paused in 5 and not in 6: what was sent before may have been dropped.
		s := b.one(0)
		if b.epoch() != 6 || s.Epoch != 6 {
			t.Errorf("epoch %d, request of %d", b.epoch(), s.Epoch)
		}
		// Old and repeated ones change nothing.
		b.push(wire.OSDMapMessage{Incrementals: map[uint32][]byte{5: p5}, Full: map[uint32][]byte{4: fullMap(4)}, Newest: 6})
		b.none(0)
		// Epochs that are not to be had any more are skipped, with care.
		b.push(wire.OSDMapMessage{Full: map[uint32][]byte{20: fullMap(20), 21: fullMap(21)}, Oldest: 20, Newest: 21})
		if s := b.one(0); b.epoch() != 21 || s.Retry != 2 {
			t.Errorf("epoch %d, retry %d", b.epoch(), s.Retry)
		} else {
			s.reply(0)
		}
		w.wantDone(0)
		_ = m6
	})
}

func TestMapsThatCannotBeReadOrAreOfAnotherClusterAreNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.o.setFSID(denc.UUID{1})
		b.push(wire.OSDMapMessage{FSID: denc.UUID{2}, Full: map[uint32][]byte{2: fullMap(2)}, Newest: 2})
		b.push(wire.OSDMapMessage{FSID: denc.UUID{1}, Full: map[uint32][]byte{2: fullMap(2)[:100]}, Newest: 2})
		b.push(wire.OSDMapMessage{FSID: denc.UUID{1}, Incrementals: map[uint32][]byte{2: []byte("x")}, Newest: 2})
		if b.o.monMap(&msgr2.Message{Type: wire.TypeOSDMap, Front: []byte("x")}) == nil {
			t.Error("a broken message was taken")
		}
		if synctest.Wait(); b.epoch() != 1 {
			t.Errorf("epoch %d", b.epoch())
		}
		if n := len(b.unreadable); n != 2 {
			t.Errorf("the monitor was complained about %d times", n)
		}
		b.push(wire.OSDMapMessage{FSID: denc.UUID{1}, Full: map[uint32][]byte{2: fullMap(2)}, Newest: 2})
		if b.epoch() != 2 {
			t.Errorf("epoch %d", b.epoch())
		}
	})
}
