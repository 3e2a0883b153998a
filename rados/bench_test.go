package rados

import (
	"context"
	"log/slog"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// echoConn answers every request at once with the same bytes.
type echoConn struct {
	l     *link
	front []byte
	data  msgr2.Data
}

func (c *echoConn) Send(m *msgr2.Message) error {
	go c.l.handle(c, &msgr2.Message{Type: wire.TypeOSDOpReply, TID: m.TID, Front: c.front, Data: c.data})
	return nil
}

// Wait implements osdConn.
func (c *echoConn) Wait() {}

// Close implements osdConn.
func (c *echoConn) Close() error { return nil }

// noMonitors is for tests that need none.
type noMonitors struct{}

func (noMonitors) WantOSDMap(uint32, bool)                      {}
func (noMonitors) GotOSDMap(uint32)                             {}
func (noMonitors) Unreadable(error)                             {}
func (noMonitors) NewestOSDMap(context.Context) (uint32, error) { return 1, nil }

// echoClient is a client whose OSDs answer at once.
func echoClient(t testing.TB, out []byte) *IoCtx {
	rep := wire.OSDOpReply{Object: "o", Retry: -1, Ops: []wire.Op{{Code: wire.OpRead, Data: msgr2.NewData(out)}}}
	dial := func(_ context.Context, _ int32, _ entity.AddrVec, l *link) (osdConn, error) {
		return &echoConn{l: l, front: rep.Append(nil), data: rep.Payload()}, nil
	}
	o := newObjecter(slog.New(slog.DiscardHandler), func() uint64 { return 1 }, dial, noMonitors{}, newThrottle(1<<30, 1<<20))
	t.Cleanup(o.close)
	o.install(newMapView(mapSpec{epoch: 1}.build()), false)
	return (&Client{osds: o, log: o.log}).IoCtx(1)
}

// maxAllocs bounds what one read allocates, the test's own message and
// goroutine included.
const maxAllocs = 9

func TestAReadAllocatesLittle(t *testing.T) {
	io, ctx := echoClient(t, make([]byte, 4096)), context.Background()
	n := testing.AllocsPerRun(2000, func() {
		if p, err := io.Read(ctx, "rbd_data.1234.0000000000000007", 0, 4096); err != nil || len(p) != 4096 {
			t.Fatal(err)
		}
	})
	if n > maxAllocs {
		t.Errorf("%v allocations, want at most %d", n, maxAllocs)
	}
}

func BenchmarkRead4K(b *testing.B) {
	io, ctx := echoClient(b, make([]byte, 4096)), context.Background()
	b.SetBytes(4096)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := io.Read(ctx, "rbd_data.1234.0000000000000007", 0, 4096); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkWrite4MDepth16(b *testing.B) {
	io, ctx := echoClient(b, nil), context.Background()
	payload := msgr2.NewData(make([]byte, 4<<20))
	slots := make(chan struct{}, 16)
	b.SetBytes(4 << 20)
	b.ReportAllocs()
	for b.Loop() {
		slots <- struct{}{}
		op := NewOp()
		op.Write(0, payload)
		io.Go(ctx, "rbd_data.1234.0000000000000007", op, func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		})
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
