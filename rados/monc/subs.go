package monc

import (
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// priorityDefault is CEPH_MSG_PRIO_DEFAULT.
const priorityDefault = 127

// message wraps a front into a message.
func message(f wire.Front, tid uint64) *msgr2.Message {
	h := f.Header()
	return &msgr2.Message{
		Type: h.Type, Version: h.Version, Compat: h.Compat, Priority: priorityDefault,
		TID: tid, Front: f.Append(nil),
	}
}

// subscription is one wish; it outlives sessions.
type subscription struct {
	start uint64
	once  bool
}

// Subscribe asks the monitors to push what ("osdmap", "mgrmap", "servicemap",
// "kv:PREFIX") from epoch start on; 0 is the newest full state. With once the
// wish ends with the first answer. The owner tells by Got which epochs came, so
// that a later session goes on behind them.
func (c *Client) Subscribe(what string, start uint64, once bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.subs[what]; ok && s.start >= start && s.once == once && start != 0 {
		return
	}
	c.subs[what] = &subscription{start, once}
	if c.session != nil {
		c.send(map[string]wire.Subscription{what: c.subs[what].wire()})
	}
}

// Unsubscribe takes a wish back. Monitors go on with a subscription that they
// have until the session ends.
func (c *Client) Unsubscribe(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subs, what)
}

// Got notes that epoch of what has arrived. It must be called for every epoch
// that a subscription brought.
func (c *Client) Got(what string, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gotSub(what, epoch)
}

func (c *Client) gotSub(what string, epoch uint64) {
	s, ok := c.subs[what]
	if !ok || epoch < s.start {
		return
	}
	if s.once {
		delete(c.subs, what)
		return
	}
	if what != "config" { // it has no epochs: always all of it
		s.start = epoch + 1
	}
}

func (s *subscription) wire() wire.Subscription {
	w := wire.Subscription{Start: s.start}
	if s.once {
		w.Flags = wire.SubscribeOnce
	}
	return w
}

// sendSubs sends all wishes. The caller holds mu.
func (c *Client) sendSubs() {
	all := make(map[string]wire.Subscription, len(c.subs))
	for what, s := range c.subs {
		all[what] = s.wire()
	}
	c.send(all)
}

func (c *Client) send(what map[string]wire.Subscription) {
	if c.session == nil || len(what) == 0 {
		return
	}
	_ = c.session.conn.Send(message(&wire.MonSubscribe{What: what, Hostname: c.cfg.Conf.Hostname()}, 0))
}
