package monc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

// hunt tries the monitors, several at once, until one lets us in. One that sent what
// cannot be read comes after all others.
func (c *Client) hunt(ctx context.Context) (*session, error) {
	targets := c.targets()
	if len(targets) == 0 {
		return nil, conf.ErrNoMon
	}
	parallel := int(max(1, c.cfg.Conf.Int("mon_client_hunt_parallel")))
	var errs []error
	for _, batch := range c.batches(targets, parallel) {
		s, err := c.huntBatch(ctx, batch)
		if err == nil || ctx.Err() != nil || errors.Is(err, cephx.ErrDenied) || isConfError(err) {
			return s, err
		}
		errs = append(errs, err)
	}
	return nil, hunted(errs)
}

// batches cuts targets into what is tried at once.
func (c *Client) batches(targets []conf.Mon, parallel int) [][]conf.Mon {
	c.mu.Lock()
	avoid := c.avoid
	c.mu.Unlock()
	i := slices.IndexFunc(targets, func(m conf.Mon) bool { return m.Addr == avoid })
	if i < 0 {
		return slices.Collect(slices.Chunk(targets, parallel))
	}
	last := targets[i]
	return append(slices.Collect(slices.Chunk(slices.Delete(slices.Clone(targets), i, i+1), parallel)), []conf.Mon{last})
}

// targets returns the monitors in the order in which to try them: by priority,
// among equals by chance after their weights, the one that just died last.
func (c *Client) targets() []conf.Mon {
	c.mu.Lock()
	defer c.mu.Unlock()
	mons := slices.Clone(c.mons)
	if c.monmap != nil {
		mons = mons[:0]
		for name, m := range c.monmap.Mons {
			if a, ok := m.Addrs.Msgr2(); ok {
				mons = append(mons, conf.Mon{Name: name, Addr: a, Priority: m.Priority, Weight: m.Weight})
			}
		}
		if len(mons) == 0 {
			mons = slices.Clone(c.mons)
		}
	}
	return order(mons, c.lastMon, rand.Float64)
}

// order sorts mons; chance returns numbers in [0,1).
func order(mons []conf.Mon, last entity.Addr, chance func() float64) []conf.Mon {
	slices.SortFunc(mons, func(a, b conf.Mon) int {
		if d := int(a.Priority) - int(b.Priority); d != 0 {
			return d
		}
		return a.Addr.IP.Compare(b.Addr.IP)
	})
	for start := 0; start < len(mons); {
		end := start
		for end < len(mons) && mons[end].Priority == mons[start].Priority {
			end++
		}
		shuffle(mons[start:end], chance)
		start = end
	}
	for i, m := range mons {
		if m.Addr == last {
			mons = append(slices.Delete(mons, i, i+1), m)
			break
		}
	}
	return mons
}

// shuffle puts mons in a random order in which heavier ones tend to the front.
// A weight of 0 counts as little; if all are 0, all count the same.
func shuffle(mons []conf.Mon, chance func() float64) {
	for i := range mons {
		total := 0.0
		for _, m := range mons[i:] {
			total += weight(m)
		}
		pick := chance() * total
		for j := i; j < len(mons); j++ {
			if pick -= weight(mons[j]); pick < 0 {
				mons[i], mons[j] = mons[j], mons[i]
				break
			}
		}
	}
}

func weight(m conf.Mon) float64 { return float64(m.Weight) + 0.01 }

// denialGrace is how long a hunt goes on after a monitor refused us.
const denialGrace = time.Second

// attempt is the outcome of one connection.
type attempt struct {
	s   *session
	err error
}

// huntBatch connects to all of batch at once and keeps the first that lets us
// in.
func (c *Client) huntBatch(ctx context.Context, batch []conf.Mon) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.huntTimeout())
	defer cancel()
	results := make(chan attempt, len(batch))
	for _, m := range batch {
		go func() {
			s, err := c.connect(ctx, m)
			results <- attempt{s, err}
		}()
	}
	var winner *session
	var errs []error
	for range batch {
		switch r := <-results; {
		case r.err != nil:
			errs = append(errs, r.err)
			if errors.Is(r.err, cephx.ErrDenied) {
				// A monitor that lags behind may not know a new user that
				// another one lets in; but not for long.
				defer time.AfterFunc(denialGrace, cancel).Stop()
			}
		case winner == nil:
			winner = r.s
			cancel()
		default:
			_ = r.s.conn.Close()
		}
	}
	if winner != nil {
		return winner, nil
	}
	for _, err := range errs {
		if errors.Is(err, cephx.ErrDenied) || isConfError(err) {
			return nil, err
		}
	}
	return nil, hunted(errs)
}

func (c *Client) huntTimeout() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(time.Duration(float64(c.cfg.Conf.Duration("mon_client_hunt_interval"))*c.multiple), 10*time.Millisecond)
}

// connect makes one authenticated connection. An old ticket that is refused is
// dropped, and the monitor asked again from scratch.
func (c *Client) connect(ctx context.Context, m conf.Mon) (*session, error) {
	auth, err := c.monAuth()
	if err != nil {
		return nil, err
	}
	s, err := c.connectOnce(ctx, m, auth)
	if err == nil || !errors.Is(err, cephx.ErrDenied) {
		return s, err
	}
	h, _ := auth.(*cephx.Handshake)
	var wants *cephx.MethodError
	switch {
	case errors.As(err, &wants):
		if !c.switchMethod(wants) {
			return nil, err
		}
	case h != nil && h.Resumes():
		c.log.Info("monitor does not take the old ticket; authenticating from scratch", "mon", m.Addr)
		c.auth.Reset()
	default:
		return nil, err
	}
	if auth, err = c.monAuth(); err != nil {
		return nil, err
	}
	return c.connectOnce(ctx, m, auth)
}

// switchMethod takes up a method that the server wants, if it is one of ours.
func (c *Client) switchMethod(wants *cephx.MethodError) bool {
	for _, m := range wants.Allowed {
		if m != wants.Method && slices.Contains(c.methods, m) {
			c.mu.Lock()
			c.useNone = m == cephx.MethodNone
			c.mu.Unlock()
			return true
		}
	}
	return false
}

func (c *Client) connectOnce(ctx context.Context, m conf.Mon, auth msgr2.ClientAuth) (*session, error) {
	s := newSession(c, m, auth)
	cfg := c.cfg.Msgr
	cfg.Type = entity.TypeClient
	cfg.Modes = c.cfg.Conf.MonModes()
	cfg.Lossy = true
	cfg.Handler = s
	cfg.KeepaliveInterval = c.cfg.Conf.Duration("mon_client_ping_interval")
	cfg.KeepaliveTimeout = c.cfg.Conf.Duration("mon_client_ping_timeout")
	conn, err := msgr2.Dial(ctx, entity.AddrVec{m.Addr}, entity.TypeMon, auth, cfg)
	if err != nil {
		return nil, fmt.Errorf("monitor %s: %w", m.Addr, err)
	}
	s.conn = conn
	return s, nil
}

// monAuth returns the authenticator for a connection to a monitor: cephx when
// we have a key, else "none" if that is allowed.
func (c *Client) monAuth() (msgr2.ClientAuth, error) {
	c.mu.Lock()
	none, id := c.useNone, c.noneID
	c.mu.Unlock()
	if none || !slices.Contains(c.methods, cephx.MethodCephx) {
		return cephx.NewNone(c.cfg.Conf.Name(), false, id), nil
	}
	h, err := c.auth.Handshake()
	if errors.Is(err, conf.ErrNoKeyring) && slices.Contains(c.methods, cephx.MethodNone) {
		return &noneWithoutKey{cephx.NewNone(c.cfg.Conf.Name(), false, id), err}, nil
	}
	return h, err
}

// noneWithoutKey is "none" for want of a key: when the cluster refuses it, the
// missing key is what to tell.
type noneWithoutKey struct {
	*cephx.None
	missing error
}

// BadMethod implements msgr2.ClientAuth.
func (n *noneWithoutKey) BadMethod(result int32, methods, modes []uint32) error {
	_ = n.None.BadMethod(result, methods, modes)
	return n.missing
}
