package fakecluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/monc"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// rawCluster is a cluster, real or fake, to whose OSDs messages are sent as they
// are: nothing is checked, corrected or sent again on the way, and answers are
// seen whole.
type rawCluster struct {
	name string
	mon  *monc.Client
	tid  atomic.Uint64

	mu    sync.Mutex
	m     *osdmap.Map
	conns map[int32]*rawConn
}

// rawConn is the connection to an OSD.
type rawConn struct {
	conn *msgr2.Conn

	mu      sync.Mutex
	waiting map[uint64]chan *wire.OSDOpReply
	watches map[uint64]chan *wire.WatchNotify // by the part of cookies that a script has
	dead    chan struct{}
	why     error // of its end; before dead is closed
}

// errNoAnswer says that an OSD did not answer for a while, errDied that its
// connection ended.
var (
	errNoAnswer = errors.New("no answer")
	errDied     = errors.New("the connection died")
)

func rawMessenger(dial monc.Dialer) msgr2.Config {
	return msgr2.Config{
		Type: entity.TypeClient, Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: uint32(os.Getpid())}},
		Features: rados.Features, Lossy: true, Dialer: dial, Modes: []msgr2.Mode{msgr2.ModeCRC},
	}
}

func openRaw(t testing.TB, name string, cfg *conf.Config, dial monc.Dialer) *rawCluster {
	t.Helper()
	mon, err := monc.New(monc.Config{Conf: cfg, Msgr: rawMessenger(dial)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mon.Close() })
	if err := mon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &rawCluster{name: name, mon: mon, conns: map[int32]*rawConn{}}
}

// openRawFake connects to a cluster in memory.
func openRawFake(t testing.TB, c *fakecluster.Cluster) *rawCluster {
	t.Helper()
	key, err := c.Key("client.admin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	for k, v := range map[string]string{"mon_host": c.MonHost(), "key": key} {
		if err := cfg.Set(conf.LevelOverride, k, v); err != nil {
			t.Fatal(err)
		}
	}
	return openRaw(t, "fake", cfg, monc.Dialer(c.Dialer()))
}

func (c *rawCluster) command(ctx context.Context, cmd map[string]any) ([]byte, error) {
	out, status, err := c.mon.Command(ctx, cmd, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %v: %w: %s", c.name, cmd, err, status)
	}
	return out, nil
}

// refresh fetches the newest map.
func (c *rawCluster) refresh(ctx context.Context) error {
	out, err := c.command(ctx, map[string]any{"prefix": "osd getmap"})
	if err != nil {
		return err
	}
	m, err := osdmap.Decode(out)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || m.Epoch > c.m.Epoch { // several ask at once
		c.m = m
	}
	return nil
}

func (c *rawCluster) osdMap() *osdmap.Map {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m
}

func (c *rawCluster) osd(ctx context.Context, id int32) (*rawConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.conns[id]; r != nil {
		select {
		case <-r.dead:
		default:
			return r, nil
		}
	}
	addrs, ok := c.m.OSDAddrs(id)
	if !ok {
		return nil, fmt.Errorf("osd.%d has no address", id)
	}
	r := &rawConn{waiting: map[uint64]chan *wire.OSDOpReply{}, watches: map[uint64]chan *wire.WatchNotify{}, dead: make(chan struct{})}
	cfg := rawMessenger(nil)
	cfg.Handler = r
	conn, err := c.mon.Dial(ctx, entity.TypeOSD, addrs, cfg)
	if err != nil {
		return nil, err
	}
	r.conn = conn
	c.conns[id] = r
	return r, nil
}

func (c *rawCluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.conns {
		_ = r.conn.Close()
	}
}

// cookieBits is how much of a cookie belongs to the watch within a script.
const cookieBits = 8

// HandleMessage implements msgr2.Handler.
func (r *rawConn) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) {
	rd := denc.NewReader(m.Front)
	switch m.Type {
	case wire.TypeOSDOpReply:
		rep := &wire.OSDOpReply{}
		if rep.Decode(rd); rd.Err() != nil {
			return
		}
		if err := rep.SplitPayload(m.Data); err != nil {
			return
		}
		r.mu.Lock()
		ch := r.waiting[m.TID]
		delete(r.waiting, m.TID)
		r.mu.Unlock()
		if ch != nil {
			ch <- rep
		}
	case wire.TypeWatchNotify:
		w := &wire.WatchNotify{}
		if w.Decode(rd); rd.Err() != nil {
			return
		}
		if w.Event == wire.WatchEventComplete {
			w.Payload = m.Data.Bytes()
		}
		r.mu.Lock()
		ch := r.watches[w.Cookie>>cookieBits]
		r.mu.Unlock()
		if ch != nil {
			select {
			case ch <- w:
			default:
			}
		}
	}
}

// HandleReset implements msgr2.Handler.
func (r *rawConn) HandleReset(_ *msgr2.Conn, err error) {
	r.why = err
	close(r.dead)
}

// do sends m to the OSD of its group and returns the answer. The tid is the
// request's when that is not 0.
func (c *rawCluster) do(ctx context.Context, m *wire.OSDOp, patience time.Duration) (*wire.OSDOpReply, error) {
	om := c.osdMap()
	_, _, acting, primary := om.PGToUpActing(m.PG.PG)
	r, err := c.osd(ctx, primary)
	if err != nil {
		return nil, err
	}
	if m.ReqID.TID == 0 {
		m.ReqID = wire.ReqID{Name: entity.Name{Type: entity.TypeClient, Num: int64(c.mon.GlobalID())}, TID: c.tid.Add(1)}
	}
	m.Epoch, m.Features = om.Epoch, rados.Features
	m.PG.Shard = om.PrimaryShard(m.PG.PG, acting, primary)
	ch := make(chan *wire.OSDOpReply, 1)
	r.mu.Lock()
	r.waiting[m.ReqID.TID] = ch
	r.mu.Unlock()
	h := m.Header()
	err = r.conn.Send(&msgr2.Message{
		Type: h.Type, Version: h.Version, Compat: h.Compat, Priority: 63, TID: m.ReqID.TID,
		Front: m.Append(nil), Data: m.Payload(),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errDied, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case rep := <-ch:
		return rep, nil
	case <-r.dead:
		return nil, fmt.Errorf("%w: %v", errDied, r.why)
	case <-timer.C:
		return nil, errNoAnswer
	}
}
