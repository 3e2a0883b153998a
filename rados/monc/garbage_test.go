package monc

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// garble sends a message that cannot be read.
func garble(c *msgr2.Conn, typ uint16, tid uint64) {
	_ = c.Send(&msgr2.Message{Type: typ, Version: 1, Compat: 1, TID: tid, Front: []byte{1, 2, 3}})
}

func TestStartWithAMonitorThatSendsGarbage(t *testing.T) {
	c := newCluster(t, 1)
	var sessions atomic.Int32
	c.onMessage = func(_ *mon, conn *msgr2.Conn, m *msgr2.Message) bool {
		if m.Type == wire.TypeMonSubscribe {
			sessions.Add(1)
			garble(conn, wire.TypeMonMap, 0)
		}
		return true
	}
	if err := c.client().Start(t.Context()); !errors.Is(err, msgr2.ErrGarbage) {
		t.Error(err)
	}
	if n := sessions.Load(); n != 5 {
		t.Errorf("%d sessions", n)
	}
}

func TestMonitorThatSendsGarbageIsLeft(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.started()
	bad := c.at(cl)
	c.mu.Lock()
	c.onMessage = func(m *mon, conn *msgr2.Conn, msg *msgr2.Message) bool {
		if m != bad || msg.Type != wire.TypeMonCommand {
			return false
		}
		garble(conn, wire.TypeMonCommandAck, msg.TID)
		return true
	}
	c.mu.Unlock()
	_, status, err := cl.Command(t.Context(), `{"prefix":"x"}`, nil)
	if err != nil || status == "from "+bad.name {
		t.Error(status, err)
	}
}

func TestCallWhoseAnswersAreGarbage(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.started()
	var calls atomic.Int32
	c.mu.Lock()
	c.onMessage = func(_ *mon, conn *msgr2.Conn, m *msgr2.Message) bool {
		if m.Type == wire.TypeMonCommand {
			calls.Add(1)
			garble(conn, wire.TypeMonCommandAck, m.TID)
		}
		return m.Type == wire.TypeMonCommand
	}
	c.mu.Unlock()
	if _, _, err := cl.Command(t.Context(), `{"prefix":"x"}`, nil); !errors.Is(err, msgr2.ErrGarbage) || calls.Load() != 5 {
		t.Error(calls.Load(), err)
	}
	if v, _, err := cl.GetVersion(t.Context(), "osdmap"); v != 12 || err != nil {
		t.Error(v, err)
	}
}

// TestUnreadablePushesEndTheSession is for messages whose reader is another package.
func TestUnreadablePushesEndTheSession(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.client()
	taken := make(chan bool, 10)
	cl.Register(wire.TypeOSDMap, func(m *msgr2.Message) error {
		var f wire.OSDMapMessage
		err := wire.Decode(&f, m.Front)
		taken <- err == nil
		return err
	})
	var subs atomic.Int32
	c.onMessage = func(_ *mon, conn *msgr2.Conn, m *msgr2.Message) bool {
		var f wire.MonSubscribe
		if m.Type != wire.TypeMonSubscribe || wire.Decode(&f, m.Front) != nil {
			return false
		}
		if _, ok := f.What["osdmap"]; !ok {
			return false
		}
		if subs.Add(1) < 3 {
			garble(conn, wire.TypeOSDMap, 0)
		} else {
			_ = conn.Send(message(&wire.OSDMapMessage{}, 0))
		}
		return false
	}
	if err := cl.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cl.Close() }()
	cl.Subscribe("osdmap", 1, false)
	for i := range 3 {
		if <-taken != (i == 2) {
			t.Errorf("message %d", i)
		}
	}
}
