package pg

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Defaults of timeouts: osd_client_watch_timeout and
// osd_default_notify_timeout.
const (
	defaultWatchTimeout  = 30 * time.Second
	defaultNotifyTimeout = 30 * time.Second
)

type watchKey struct {
	cookie uint64
	name   entity.Name
}

func (k watchKey) compare(o watchKey) int {
	return cmp.Or(cmp.Compare(k.cookie, o.cookie), cmp.Compare(k.name.Num, o.name.Num), cmp.Compare(k.name.Type, o.name.Type))
}

// watch is a client's interest in an object. It outlives its connection for
// its timeout.
type watch struct {
	key     watchKey
	group   *Group
	object  *object
	addr    entity.Addr
	timeout uint32 // seconds
	// hidden says that the object's own list does not have it: it was registered and
	// given up in one vector, which leaves it connected.
	hidden  bool
	peer    Peer // nil when not connected
	pending map[uint64]*notify
	stop    func() bool
	turn    int // of the timer; an old timer's firing is recognised by it
}

// notify is a message on its way to the watchers of an object.
type notify struct {
	id      uint64
	cookie  uint64
	peer    Peer
	gid     uint64
	version uint64
	payload []byte
	waiting map[watchKey]*watch
	acks    []wire.NotifyAck
	timer   func() bool
	done    bool
}

func (n *notify) stop() {
	if n.timer != nil {
		n.timer()
	}
	n.done = true
}

func (w *watch) stopTimer() {
	w.turn++
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// arm starts the timeout anew.
func (w *watch) arm() {
	w.stopTimer()
	turn := w.turn
	w.stop = w.group.clock.AfterFunc(time.Duration(w.timeout)*time.Second, func() { w.expire(turn) })
}

func (w *watch) expire(turn int) {
	for {
		g := w.group
		g.mu.Lock()
		if g != w.group {
			g.mu.Unlock()
			continue
		}
		if !g.closed && w.turn == turn && w.object.watches[w.key] == w {
			g.removeWatch(w, true)
			g.version++ // an OSD notes it in its log
		}
		g.mu.Unlock()
		return
	}
}

// removeWatch ends a watch. tell says that its client gets to know.
func (g *Group) removeWatch(w *watch, tell bool) {
	w.stopTimer()
	delete(w.object.watches, w.key)
	if len(w.object.watches) == 0 {
		delete(g.watched, w.object.name)
	}
	if tell && w.peer != nil {
		w.peer.Send(&wire.WatchNotify{Event: wire.WatchEventDisconnect, Cookie: w.key.cookie}, msgr2.Data{})
	}
	for _, id := range slices.Sorted(maps.Keys(w.pending)) {
		n := w.pending[id]
		delete(n.waiting, w.key)
		g.complete(n, false)
	}
	w.pending = nil
}

// effects are what a vector does besides changing the object, once it has
// succeeded.
type effects struct {
	disconnects []disconnect
	connects    []*watch
	notifies    []*notify
	acks        []ack
}

// disconnect is the end of a watch; tell says that its client gets to know.
type disconnect struct {
	key  watchKey
	tell bool
}

type ack struct {
	id     uint64
	cookie uint64
	any    bool // of whatever cookie
	reply  []byte
}

func (t *txn) watchKey(cookie uint64) watchKey {
	return watchKey{cookie, t.req.Op.ReqID.Name}
}

// watchers returns who watches the object by what the vector has done so far.
// Nobody watches a clone.
func (t *txn) watchers() map[watchKey]bool {
	if t.registered == nil {
		t.registered = map[watchKey]bool{}
		for k, w := range t.o.watches {
			if !w.hidden && !t.onClone {
				t.registered[k] = true
			}
		}
	}
	return t.registered
}

// watching returns the watches that were there before the vector, in order.
func (t *txn) watching() []watchKey {
	if t.onClone {
		return nil
	}
	return slices.SortedFunc(maps.Keys(t.o.watches), watchKey.compare)
}

// unwatchAll ends all watches, as the removal of an object does.
func (t *txn) unwatchAll() {
	if len(t.o.watches)+len(t.registered) == 0 {
		return
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.watchers()), watchKey.compare) {
		t.effects.disconnects = append(t.effects.disconnects, disconnect{k, true})
	}
	clear(t.registered)
}

func (t *txn) stepWatch(op *wire.Op) (msgr2.Data, int32) {
	switch op.Code {
	case wire.OpNotify:
		return t.stepNotify(op)
	case wire.OpNotifyAck:
		var in wire.NotifyAckInput
		r := reader(op)
		a := ack{any: true, id: op.NotifyCookie()} // as clients of old say which one
		if in.Decode(r); r.Err() == nil {
			a = ack{id: in.NotifyID, cookie: in.Cookie, reply: slices.Clone(in.Reply)}
		}
		t.effects.acks = append(t.effects.acks, a)
		return msgr2.Data{}, 0
	case wire.OpListWatchers:
		var l wire.WatcherList
		for _, k := range slices.SortedFunc(maps.Keys(t.watchers()), watchKey.compare) {
			if w := t.o.watches[k]; w != nil {
				l.Watchers = append(l.Watchers, wire.Watcher{Name: k.name, Cookie: k.cookie, Timeout: w.timeout, Addr: w.addr})
				continue
			}
			i := slices.IndexFunc(t.effects.connects, func(w *watch) bool { return w.key == k })
			w := t.effects.connects[i]
			l.Watchers = append(l.Watchers, wire.Watcher{Name: k.name, Cookie: k.cookie, Timeout: w.timeout, Addr: w.addr})
		}
		return msgr2.NewData(l.Append(nil)), 0
	}
	if !t.onClone && !t.o.stored() {
		return msgr2.Data{}, noent
	}
	return msgr2.Data{}, t.stepWatchOp(op.Watch())
}

func (t *txn) stepWatchOp(a wire.WatchArg) int32 {
	key := t.watchKey(a.Cookie)
	there := t.watchers()[key]
	switch a.Op {
	case wire.WatchOpPing:
		w := t.o.watches[key]
		switch {
		case !there:
			return errno.ErrNotConnected.Result()
		case w == nil || w.peer == nil:
			return errno.ErrTimedOut.Result()
		}
		w.arm()
		return 0
	case wire.WatchOpUnwatch:
		if there {
			t.touch()
			delete(t.registered, key)
			t.effects.disconnects = append(t.effects.disconnects, disconnect{key, false})
		}
		return 0
	case wire.WatchOpReconnect:
		if !there {
			return errno.ErrNotConnected.Result()
		}
		t.effects.connects = append(t.effects.connects, t.newWatch(key, a.Timeout))
		return 0
	case wire.WatchOpWatch, wire.WatchOpLegacy:
		if !there {
			t.touch()
			t.registered[key] = true
		}
		t.effects.connects = append(t.effects.connects, t.newWatch(key, a.Timeout))
		return 0
	}
	return 0 // nobody minds
}

func (t *txn) newWatch(key watchKey, timeout uint32) *watch {
	if timeout == 0 {
		timeout = uint32(defaultWatchTimeout / time.Second)
	}
	return &watch{key: key, group: t.g, object: t.o, addr: t.req.Addr, timeout: timeout, peer: t.req.Peer}
}

func (t *txn) stepNotify(op *wire.Op) (msgr2.Data, int32) {
	var in wire.NotifyInput
	r := reader(op)
	if in.Decode(r); r.Err() != nil {
		in.Timeout = 0 // it is sent nevertheless, with what could be read
	}
	n := &notify{
		id: t.g.ids.next(t.req.Epoch), cookie: op.NotifyCookie(), peer: t.req.Peer,
		gid:     uint64(t.req.Op.ReqID.Name.Num),
		payload: slices.Clone(in.Payload), waiting: map[watchKey]*watch{},
	}
	timeout := time.Duration(in.Timeout) * time.Second
	if timeout == 0 {
		timeout = defaultNotifyTimeout
	}
	g := t.g
	n.timer = func() bool { return true }
	t.effects.notifies = append(t.effects.notifies, n)
	stop := g.clock.AfterFunc(timeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.closed {
			g.complete(n, true)
		}
	})
	n.timer = stop
	return msgr2.NewData(denc.AppendU64(nil, n.id)), 0
}

// apply lets a vector's effects happen, in the order in which an OSD does.
func (g *Group) apply(t *txn) {
	o, e := t.o, &t.effects
	for _, d := range e.disconnects {
		if w := o.watches[d.key]; w != nil {
			g.removeWatch(w, d.tell)
		}
	}
	for _, w := range e.connects {
		if o.watches == nil {
			o.watches = map[watchKey]*watch{}
		}
		if old := o.watches[w.key]; old != nil {
			old.peer = w.peer // its time and address stay
			w = old
		}
		w.hidden = t.registered != nil && !t.registered[w.key]
		o.watches[w.key] = w
		w.arm()
		for _, id := range slices.Sorted(maps.Keys(w.pending)) {
			w.send(w.pending[id])
		}
	}
	for _, n := range e.notifies {
		n.version = t.now().version
		if t.onClone {
			g.complete(n, false)
			continue
		}
		g.start(o, n)
	}
	for _, a := range e.acks {
		g.acknowledge(t, a)
	}
}

func (g *Group) start(o *object, n *notify) {
	keys := slices.SortedFunc(maps.Keys(o.watches), watchKey.compare)
	for _, k := range keys {
		w := o.watches[k]
		n.waiting[k] = w
		if w.pending == nil {
			w.pending = map[uint64]*notify{}
		}
		w.pending[n.id] = n
	}
	for _, k := range keys {
		o.watches[k].send(n)
	}
	g.complete(n, false)
}

func (w *watch) send(n *notify) {
	if w.peer != nil {
		w.peer.Send(&wire.WatchNotify{
			Event: wire.WatchEventNotify, Cookie: w.key.cookie, Version: n.version, NotifyID: n.id,
			Payload: n.payload, NotifierGID: n.gid,
		}, msgr2.Data{})
	}
}

func (g *Group) acknowledge(t *txn, a ack) {
	for _, k := range t.watching() {
		w := t.o.watches[k]
		if k.name != t.req.Op.ReqID.Name || !a.any && a.cookie != k.cookie {
			continue
		}
		n := w.pending[a.id]
		if n == nil {
			continue
		}
		delete(w.pending, a.id)
		delete(n.waiting, k)
		n.acks = append(n.acks, wire.NotifyAck{GID: uint64(k.name.Num), Cookie: k.cookie, Payload: a.reply})
		g.complete(n, false)
	}
}

// complete tells the notifier, when everybody has answered or time is over.
func (g *Group) complete(n *notify, timeout bool) {
	if n.done || (!timeout && len(n.waiting) > 0) {
		return
	}
	n.stop()
	var r wire.NotifyReply
	r.Acks = n.acks
	slices.SortStableFunc(r.Acks, compareAcks)
	for k, w := range n.waiting {
		delete(w.pending, n.id)
		r.Timeouts = append(r.Timeouts, wire.NotifyAck{GID: uint64(k.name.Num), Cookie: k.cookie})
	}
	slices.SortFunc(r.Timeouts, compareAcks)
	m := &wire.WatchNotify{Event: wire.WatchEventComplete, Cookie: n.cookie, Version: n.version, NotifyID: n.id, NotifierGID: n.gid}
	if timeout {
		m.ReturnCode = errno.ErrTimedOut.Result()
	}
	if n.peer != nil {
		n.peer.Send(m, msgr2.NewData(r.Append(nil)))
	}
}

func compareAcks(a, b wire.NotifyAck) int {
	return cmp.Or(cmp.Compare(a.GID, b.GID), cmp.Compare(a.Cookie, b.Cookie))
}

// Disconnect tells the group that a connection is gone: its watches wait for
// their client to come back.
func (g *Group) Disconnect(p Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.all() {
		for _, w := range o.watches {
			if w.peer == p {
				w.peer = nil
			}
			for _, n := range w.pending {
				if n.peer == p {
					n.peer = nil
				}
			}
		}
	}
}

// Evict ends the watches of clients for which gone returns true, as an OSD does
// when a client is blocklisted.
func (g *Group) Evict(gone func(entity.Addr) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.all() {
		for _, k := range slices.SortedFunc(maps.Keys(o.watches), watchKey.compare) {
			if w := o.watches[k]; gone(w.addr) {
				g.removeWatch(w, true)
			}
		}
	}
}

// Watched is an object that somebody watches.
type Watched struct {
	Object  Name
	Watcher wire.Watcher
}

// AllWatchers lists the watches on all objects of the group.
func (g *Group) AllWatchers() []Watched {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Watched
	for name, o := range g.objects {
		for _, k := range slices.SortedFunc(maps.Keys(o.watches), watchKey.compare) {
			w := o.watches[k]
			out = append(out, Watched{name, wire.Watcher{Name: k.name, Cookie: k.cookie, Timeout: w.timeout, Addr: w.addr}})
		}
	}
	slices.SortStableFunc(out, func(a, b Watched) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Object, b.Object.Object))
	})
	return out
}
