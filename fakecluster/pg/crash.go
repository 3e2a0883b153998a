package pg

import (
	"slices"

	"github.com/rbdm/rbdm/rados/wire"
)

// Write is a change that a group has made and that nobody knows to be made: its
// client has no answer, and nobody has seen the object since. A crash may take
// it.
type Write struct {
	ID   wire.ReqID
	Name Name

	g    *Group
	o    *object
	undo []func()
}

// Ack tells the group that the client gets its answer: the write is one that has
// to stay, and with it all that the group did before. It may be called on nil.
func (w *Write) Ack() {
	if w == nil {
		return
	}
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	if i := slices.Index(w.g.unacked, w); i >= 0 {
		w.g.settle(i + 1)
	}
}

// settle makes the first n writes without an answer stay.
func (g *Group) settle(n int) {
	g.unacked = slices.Delete(g.unacked, 0, n)
	if len(g.unacked) == 0 {
		g.unacked = nil
	}
}

// seen makes the writes stay whose object somebody sees.
func (g *Group) seen(o *object) { g.seenName(o.name) }

func (g *Group) seenName(n Name) {
	for i := len(g.unacked) - 1; i >= 0; i-- {
		if g.unacked[i].Name == n {
			g.settle(i + 1)
			return
		}
	}
}

// hold keeps what is needed to undo a vector, if it is one that can be undone:
// watches and notifies cannot, for others know of them.
func (g *Group) hold(t *txn) *Write {
	e := &t.effects
	if !t.req.Hold || len(e.connects)+len(e.disconnects)+len(e.notifies)+len(e.acks) > 0 {
		g.settle(len(g.unacked))
		t.undo = nil
		return nil
	}
	w := &Write{ID: t.req.Op.ReqID, Name: t.o.name, g: g, o: t.o, undo: t.undo}
	t.undo = nil
	g.unacked = append(g.unacked, w)
	return w
}

// Crash is what happens to a group when its OSD crashes. Of the writes that have
// to be answered yet, the last may be lost: keep is told how many there are and
// says how many of them, from the first, stay. Notifies are gone. Watches wait,
// without their time running, until Recover.
func (g *Group) Crash(keep func(n int) int) (kept, lost []*Write) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.unacked); n > 0 {
		k := min(max(keep(n), 0), n)
		kept, lost = slices.Clone(g.unacked[:k]), slices.Clone(g.unacked[k:])
	}
	g.unacked = nil
	for _, w := range slices.Backward(lost) {
		g.undo(w)
	}
	for _, o := range g.all() {
		for _, w := range o.watches {
			w.stopTimer()
			w.peer = nil
			for _, n := range w.pending {
				n.stop()
			}
			w.pending = nil
		}
	}
	clear(g.watched)
	clear(g.trimmed)
	g.trimmedLast = nil
	return kept, lost
}

// undo takes the newest write back.
func (g *Group) undo(w *Write) {
	o := w.o
	for _, f := range slices.Backward(w.undo) {
		f()
	}
	o.head.data.Seal()
	if o.stored() || len(o.clones) > 0 {
		g.objects[o.name] = o
		delete(g.watched, o.name)
	} else if g.objects[o.name] == o {
		delete(g.objects, o.name)
	}
	g.sorted = nil
	delete(g.dups, w.ID)
	if i := slices.Index(g.dupRing, w.ID); i >= 0 {
		g.dupRing[i] = wire.ReqID{}
	}
}

// Recover lets the time of watches run again, from its beginning, as an OSD does
// that starts or takes a group over.
func (g *Group) Recover() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	for _, o := range g.objects {
		for _, w := range o.watches {
			w.arm()
		}
	}
}
