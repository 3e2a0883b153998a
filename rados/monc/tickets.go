package monc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// renewalTimeout is how long a monitor may take to renew tickets before the
// session counts as dead.
const renewalTimeout = 30 * time.Second

// untilRenewal returns how long the tickets need no renewal.
func (s *session) untilRenewal() time.Duration {
	next := s.client.auth.NextRenewal()
	if next.IsZero() { // authentication "none"
		return 24 * time.Hour
	}
	return max(next.Sub(s.client.cfg.Clock()), 0)
}

// renew asks for new tickets if some are due. It returns when it did, zero if
// nothing is due.
func (s *session) renew(asked time.Time) (time.Time, error) {
	if !asked.IsZero() && time.Since(asked) >= renewalTimeout {
		return asked, errors.New("monitor does not renew tickets")
	}
	if _, keyed := s.auth.(*cephx.Handshake); !keyed || !asked.IsZero() {
		return asked, nil
	}
	p, err := s.client.auth.Renewal()
	if err != nil || p == nil {
		return time.Time{}, err
	}
	epoch := uint32(0)
	if m := s.client.MonMap(); m != nil {
		epoch = m.Epoch
	}
	_ = s.conn.Send(message(&wire.Auth{Protocol: cephx.MethodCephx, Payload: p, MonMapEpoch: epoch}, 0))
	return time.Now(), nil
}

// renewed takes the answer to a renewal. A refusal drops all tickets and ends
// the session: the next one starts from scratch.
func (s *session) renewed(reply wire.AuthReply) error {
	c := s.client
	err := errno.FromResult(reply.Result)
	if err == nil {
		err = c.auth.HandleReply(reply.Payload)
	}
	if err != nil {
		c.log.Warn("monitor does not renew tickets", "mon", s.target.Addr, "err", err)
		c.auth.Reset()
		return fmt.Errorf("%w: %w", errReauth, err)
	}
	c.mu.Lock()
	c.touch()
	c.mu.Unlock()
	return nil
}

// kickRenewal makes the session look whether tickets are due.
func (c *Client) kickRenewal() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// ServiceAuth returns an authenticator for one connection to a service. It
// waits for a ticket if there is none.
func (c *Client) ServiceAuth(ctx context.Context, service entity.Type) (msgr2.ClientAuth, error) {
	var auth msgr2.ClientAuth
	err := c.wait(ctx, func() (bool, error) {
		if c.useNone {
			auth = cephx.NewNone(c.cfg.Conf.Name(), true, c.noneID)
			return c.noneID != 0, nil
		}
		a, err := c.auth.Authorizer(service)
		if err != nil {
			c.kickRenewal()
			return false, c.fatal
		}
		auth = a
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("ticket for service %s: %w", service, err)
	}
	return auth, nil
}

// RefreshTickets fetches new tickets for services and waits for the one for
// service. It is for a service that refused the old one.
func (c *Client) RefreshTickets(ctx context.Context, service entity.Type) error {
	c.auth.InvalidateServices()
	c.kickRenewal()
	_, err := c.ServiceAuth(ctx, service)
	return err
}

// Dial connects to a daemon of a service with our ticket. When the daemon
// refuses the ticket, new ones are fetched and the connection tried once more.
// The handler, modes and keepalive are those of cfg; our type and id are filled
// in.
func (c *Client) Dial(ctx context.Context, service entity.Type, target entity.AddrVec, cfg msgr2.Config) (*msgr2.Conn, error) {
	cfg.Type = entity.TypeClient
	cfg.GlobalID = c.GlobalID
	for attempt := 0; ; attempt++ {
		auth, err := c.ServiceAuth(ctx, service)
		if err != nil {
			return nil, err
		}
		conn, err := msgr2.Dial(ctx, target, service, auth, cfg)
		if err == nil {
			return conn, nil
		}
		switch {
		case !errors.Is(err, cephx.ErrTicketRefused):
			return nil, fmt.Errorf("%s %s: %w", service, target, err)
		case attempt > 0:
			return nil, fmt.Errorf("%s %s refuses a fresh ticket as well: %w", service, target, err)
		}
		c.log.Info("ticket refused; fetching new ones", "service", service, "addr", target)
		if err := c.RefreshTickets(ctx, service); err != nil {
			return nil, err
		}
	}
}
