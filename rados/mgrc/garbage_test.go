package mgrc

import (
	"errors"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// garble sends a message that cannot be read.
func (e event) garble(typ uint16, tid uint64) {
	_ = e.conn.Send(&msgr2.Message{Type: typ, Version: 1, Compat: 1, TID: tid, Front: []byte{1}})
}

// TestUnreadableAnswers costs the session each time, and the command in the end.
func TestUnreadableAnswers(t *testing.T) {
	w := newWorld(t)
	w.activate(w.mgrs[0])
	var cmd wire.MgrCommand
	done := w.command(`{"prefix":"x"}`)
	e := w.next(t, &cmd)
	e.garble(wire.TypeMgrCommandReply, e.msg.TID)
	again := w.next(t, &cmd)
	if again.conn == e.conn {
		t.Error("the session was kept")
	}
	again.garble(wire.TypeMgrConfigure, 0)
	w.next(t, &cmd).answer(0)
	if err := <-done; err != nil {
		t.Error(err)
	}
	done = w.command(`{"prefix":"y"}`)
	for range 5 {
		e = w.next(t, &cmd)
		e.garble(wire.TypeMgrCommandReply, e.msg.TID)
	}
	if err := <-done; !errors.Is(err, msgr2.ErrGarbage) {
		t.Error(err)
	}
	done = w.command(`{"prefix":"z"}`)
	w.next(t, &cmd).answer(0)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
