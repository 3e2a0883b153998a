package monc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/wire"
)

// session is one authenticated connection to a monitor. It is msgr2's handler
// for it.
type session struct {
	client *Client
	target conf.Mon
	auth   msgr2.ClientAuth
	conn   *msgr2.Conn

	dead    chan error          // gets the reason once
	replies chan wire.AuthReply // answers to renewals
	// renewSubs is when subscriptions must be renewed, for monitors that ask
	// for it; only serve and the connection's goroutine touch it, through acks.
	acks chan time.Duration
}

func newSession(c *Client, m conf.Mon, auth msgr2.ClientAuth) *session {
	return &session{
		client: c, target: m, auth: auth,
		dead: make(chan error, 1), replies: make(chan wire.AuthReply, 1), acks: make(chan time.Duration, 1),
	}
}

// begin makes s the session: its tickets are ours, subscriptions and unanswered
// calls are sent over it.
func (c *Client) begin(s *session) {
	switch a := s.auth.(type) {
	case *cephx.Handshake:
		a.Commit()
	case interface{ GlobalID() uint64 }:
		c.mu.Lock()
		c.useNone, c.noneID = true, a.GlobalID()
		c.mu.Unlock()
	}
	c.mu.Lock()
	before, id := c.lastID, c.globalID()
	c.lastID = id
	c.mu.Unlock()
	c.log.Info("monitor session", "mon", s.target.Addr, "global_id", id)
	if before != 0 && before != id && c.cfg.OnGlobalID != nil {
		c.cfg.OnGlobalID(before, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.fatal, c.lastErr = s, nil, nil
	c.multiple = max(c.cfg.Conf.Float("mon_client_hunt_interval_min_multiple"), 1)
	c.local = s.conn.LocalAddr()
	c.sendSubs()
	for _, k := range slices.SortedFunc(mapValues(c.calls), func(a, b *call) int { return cmp.Compare(a.tid, b.tid) }) {
		_ = s.conn.Send(k.message(c.monmapFSID()))
	}
	c.touch()
}

func mapValues[K comparable, V any](m map[K]V) func(yield func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// end takes s down.
func (c *Client) end(s *session, err error) {
	c.log.Info("monitor session ended", "mon", s.target.Addr, "err", err)
	c.mu.Lock()
	c.session, c.lastMon = nil, s.target.Addr
	c.touch()
	c.mu.Unlock()
	_ = s.conn.Close()
}

// errReauth ends a session whose tickets the monitor does not accept.
var errReauth = errors.New("authenticating anew")

// serve renews tickets and subscriptions until the session dies.
func (s *session) serve(ctx context.Context) error {
	c := s.client
	tickets := time.NewTimer(0)
	defer tickets.Stop()
	subs := time.NewTimer(time.Hour)
	subs.Stop()
	defer subs.Stop()
	var asked time.Time // when the renewal under way was sent
	for {
		select {
		case <-ctx.Done():
			return ErrClosed
		case err := <-s.dead:
			return err
		case every := <-s.acks:
			subs.Reset(every / 2)
		case <-subs.C:
			c.mu.Lock()
			c.sendSubs()
			c.mu.Unlock()
		case reply := <-s.replies:
			if err := s.renewed(reply); err != nil {
				return err
			}
			asked = time.Time{}
			tickets.Reset(s.untilRenewal())
		case <-c.kick:
			tickets.Reset(0)
		case <-tickets.C:
			var err error
			if asked, err = s.renew(asked); err != nil {
				return err
			}
			if asked.IsZero() {
				tickets.Reset(s.untilRenewal())
			} else {
				tickets.Reset(renewalTimeout)
			}
		}
	}
}

// current reports whether s is the session in use.
func (s *session) current() bool {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.client.session == s
}

// HandleReset implements msgr2.Handler.
func (s *session) HandleReset(_ *msgr2.Conn, err error) {
	select {
	case s.dead <- fmt.Errorf("monitor %s: connection lost: %w", s.target.Addr, err):
	default:
	}
}

// HandleMessage implements msgr2.Handler.
func (s *session) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) {
	if !s.current() {
		m.Release()
		return
	}
	c := s.client
	if c.tap != nil {
		c.tap(m)
	}
	if f, ok := c.handlers[m.Type]; ok {
		if err := f(m); err != nil {
			s.unreadable(err)
		}
		return
	}
	defer m.Release()
	if err := s.dispatch(m); err != nil {
		err = fmt.Errorf("message of type %d: %w", m.Type, err)
		if c.chargeCall(m.TID, err) {
			err = fmt.Errorf("%w: %w", errAnswer, err)
		}
		s.unreadable(err)
	}
}

// unreadable ends the session because of a message.
func (s *session) unreadable(err error) {
	s.client.log.Warn("unreadable message from a monitor", "mon", s.target.Addr, "err", err)
	s.HandleReset(nil, fmt.Errorf("%w: %w", errUnreadable, err))
}

func (s *session) dispatch(m *msgr2.Message) error {
	c := s.client
	switch m.Type {
	case wire.TypeMonMap:
		var f wire.MonMapMessage
		if err := wire.Decode(&f, m.Front); err != nil {
			return err
		}
		return c.handleMonMap(f.Map)
	case wire.TypeConfig:
		var f wire.Config
		if err := wire.Decode(&f, m.Front); err != nil {
			return err
		}
		c.handleConfig(f.Options)
	case wire.TypeAuthReply:
		var f wire.AuthReply
		if err := wire.Decode(&f, m.Front); err != nil {
			return err
		}
		f.Payload = slices.Clone(f.Payload)
		select {
		case s.replies <- f:
		default:
		}
	case wire.TypeMonSubscribeAck:
		var f wire.MonSubscribeAck
		if err := wire.Decode(&f, m.Front); err != nil {
			return err
		}
		select {
		case s.acks <- time.Duration(f.Interval) * time.Second:
		default:
		}
	default:
		return c.handleReply(m)
	}
	return nil
}

// handleMonMap takes over a newer monitor map.
func (c *Client) handleMonMap(p []byte) error {
	m := new(wire.MonMap)
	r := denc.NewReader(p)
	if m.Decode(r); r.Err() != nil {
		return fmt.Errorf("monitor map: %w", r.Err())
	}
	c.mu.Lock()
	old := c.monmap
	if old != nil && old.FSID != m.FSID {
		c.mu.Unlock()
		return fmt.Errorf("monitor map of cluster %s, this client belongs to %s", m.FSID, old.FSID)
	}
	c.gotSub("monmap", uint64(m.Epoch))
	if old != nil && m.Epoch <= old.Epoch {
		c.mu.Unlock()
		return nil
	}
	c.monmap = m
	newKeys := old != nil && m.Auth.Epoch > old.Auth.Epoch
	gone := c.session != nil && !mapHas(m, c.session.target.Addr)
	s := c.session
	c.touch()
	c.mu.Unlock()
	if newKeys {
		c.log.Info("service keys were replaced; fetching new tickets", "auth_epoch", m.Auth.Epoch)
		c.auth.InvalidateServices()
		c.kickRenewal()
	}
	if gone {
		s.HandleReset(nil, errors.New("monitor left the map"))
	}
	if old == nil {
		c.sendCallsHeldBack()
	}
	return nil
}

// mapHas reports whether a monitor with the address is in m. A map without any
// msgr2 address says nothing.
func mapHas(m *wire.MonMap, a entity.Addr) bool {
	any := false
	for _, i := range m.Mons {
		for _, o := range i.Addrs {
			if o.Type != entity.AddrMsgr2 {
				continue
			}
			any = true
			if o.IP == a.IP {
				return true
			}
		}
	}
	return !any
}

func (c *Client) handleConfig(values map[string]string) {
	changed := c.cfg.Conf.SetCentral(values)
	c.mu.Lock()
	c.haveConfig = true
	c.gotSub("config", 0)
	c.touch()
	c.mu.Unlock()
	if c.cfg.OnConfig != nil && len(changed) > 0 {
		c.cfg.OnConfig(changed)
	}
}
