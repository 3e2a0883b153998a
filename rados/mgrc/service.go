package mgrc

import (
	"errors"
	"maps"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// Service is a registered service daemon. It is safe for concurrent use.
type Service struct {
	client       *Client
	name, daemon string
	metadata     map[string]string

	// guarded by client.mu:
	status map[string]string
	dirty  bool
	closed bool
	left   chan struct{} // closed when the manager echoed the farewell
	gone   bool
}

// ErrRegistered says that the Client has a service daemon already.
var ErrRegistered = errors.New("a service daemon is registered already")

// RegisterService makes this client a daemon of a service, such as
// "rbd-mirror": it shows in "ceph -s" from then on until Close. daemon is its
// name; metadata shows in "ceph service dump". Registering goes on in the
// background and survives the death of a manager. A Client can be one daemon.
func (c *Client) RegisterService(service, daemon string, metadata map[string]string) (*Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service != nil {
		return nil, ErrRegistered
	}
	s := &Service{client: c, name: service, daemon: daemon, metadata: maps.Clone(metadata), left: make(chan struct{})}
	c.service = s
	if c.conn != nil {
		s.reopen(c.conn)
	}
	c.demand()
	return s, nil
}

// reopen introduces the daemon over a new session. The caller holds the
// client's mu.
func (s *Service) reopen(conn *msgr2.Conn) {
	s.dirty = s.status != nil
	_ = conn.Send(message(&wire.MgrOpen{
		DaemonName: s.daemon, ServiceName: s.name, ServiceDaemon: true,
		Metadata: s.metadata, Status: map[string]string{},
	}, 0))
}

// SetStatus replaces the daemon's status, which shows in "ceph service status".
// It is sent with the next report, at once if the manager is there.
func (s *Service) SetStatus(status map[string]string) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed || maps.Equal(s.status, status) && s.status != nil {
		return
	}
	s.status = maps.Clone(status)
	if s.status == nil {
		s.status = map[string]string{}
	}
	s.dirty = true
	if c.conn != nil {
		s.sendReport(c.conn)
	}
}

// sendReport sends the beacon, with the status if it changed. The caller holds
// the client's mu.
func (s *Service) sendReport(conn *msgr2.Conn) {
	r := wire.MgrReport{DaemonName: s.daemon, ServiceName: s.name}
	if s.dirty {
		r.Status = s.status
		s.dirty = false
	}
	_ = conn.Send(message(&r, 0))
}

// Close takes the daemon off the cluster's list. It waits a little for the
// manager's answer.
func (s *Service) Close() {
	c := s.client
	c.mu.Lock()
	if s.closed {
		c.mu.Unlock()
		return
	}
	s.closed = true
	conn := c.conn
	if conn != nil {
		_ = conn.Send(message(&wire.MgrClose{DaemonName: s.daemon, ServiceName: s.name}, 0))
	}
	c.mu.Unlock()
	if conn != nil {
		t := time.NewTimer(c.cfg.CloseTimeout)
		defer t.Stop()
		select {
		case <-s.left:
		case <-t.C:
		case <-conn.Done():
		case <-c.stopped:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service == s {
		c.service = nil
	}
}

// farewell notes that the manager has let the daemon go.
func (c *Client) farewell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.service; s != nil && s.closed && !s.gone {
		s.gone = true
		close(s.left)
	}
}

// configure takes the manager's wish how often to report, and reports.
func (s *session) configure(f wire.MgrConfigure) {
	period := time.Duration(f.Period) * time.Second
	if period == 0 {
		period = never
	}
	s.report.Reset(period)
	if f.Period != 0 {
		s.client.sendReport(s)
	}
}

// sendReport sends a report over s, if it is the session and there is a daemon.
func (c *Client) sendReport(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service != nil && !c.service.closed && s != nil && c.conn == s.conn && c.conn != nil {
		c.service.sendReport(c.conn)
	}
}
