package fakecluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// network is where daemons listen: real loopback sockets, or pipes inside the
// process.
type network interface {
	// listen takes the port of prefer if there is one and it is free, else any.
	listen(prefer netip.AddrPort) (net.Listener, netip.AddrPort, error)
	dial(ctx context.Context, a netip.AddrPort) (net.Conn, error)
}

// sockets listens on free ports of one address.
type sockets struct{ host string }

func (s sockets) listen(prefer netip.AddrPort) (net.Listener, netip.AddrPort, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(s.host, strconv.Itoa(int(prefer.Port()))))
	if err != nil && prefer.Port() != 0 {
		l, err = net.Listen("tcp", net.JoinHostPort(s.host, "0"))
	}
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	ap := l.Addr().(*net.TCPAddr).AddrPort()
	return l, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func (s sockets) dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", a.String())
}

// pipes connects within the process. Its addresses look like IPv4 ones but
// exist nowhere else.
type pipes struct {
	mu        sync.Mutex
	host      netip.Addr
	next      uint16
	listeners map[netip.AddrPort]*pipeListener
}

func newPipes(host netip.Addr) *pipes {
	return &pipes{host: host, next: 6800, listeners: map[netip.AddrPort]*pipeListener{}}
}

func (p *pipes) port() uint16 {
	p.next++
	return p.next
}

func (p *pipes) listen(prefer netip.AddrPort) (net.Listener, netip.AddrPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ap := prefer
	if ap.Addr() != p.host || p.listeners[ap] != nil {
		ap = netip.AddrPortFrom(p.host, p.port())
	}
	l := &pipeListener{net: p, addr: ap, conns: make(chan net.Conn), done: make(chan struct{})}
	p.listeners[ap] = l
	return l, ap, nil
}

func (p *pipes) dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[a]
	from := netip.AddrPortFrom(p.host, p.port())
	p.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: connection refused", a)
	}
	client, server := newPipe(from, a)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, fmt.Errorf("dial %s: connection refused", a)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	net   *pipes
	addr  netip.AddrPort
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// pipeBuffer is how many bytes one direction of a pipe holds before writers
// wait.
const pipeBuffer = 4 << 20

// half is one direction of a pipe.
type half struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      []byte
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) expired() bool { return !h.deadline.IsZero() && !time.Now().Before(h.deadline) }

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 {
		switch {
		case h.closed:
			return 0, io.EOF
		case h.expired():
			return 0, os.ErrDeadlineExceeded
		}
		h.cond.Wait()
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	if len(h.buf) == 0 {
		h.buf = nil
	}
	h.cond.Broadcast()
	return n, nil
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) >= pipeBuffer && !h.closed {
		h.cond.Wait()
	}
	if h.closed {
		return 0, io.ErrClosedPipe
	}
	h.buf = append(h.buf, p...)
	h.cond.Broadcast()
	return len(p), nil
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	h.cond.Broadcast()
}

func (h *half) setDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	if !t.IsZero() && !h.closed {
		h.timer = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.cond.Broadcast()
		})
	}
	h.cond.Broadcast()
}

// pipe is one end of a connection within the process.
type pipe struct {
	in, out       *half
	local, remote netip.AddrPort
}

func newPipe(client, server netip.AddrPort) (*pipe, *pipe) {
	a, b := newHalf(), newHalf()
	return &pipe{a, b, client, server}, &pipe{b, a, server, client}
}

func (p *pipe) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.write(b) }

func (p *pipe) Close() error {
	p.in.close()
	p.out.close()
	return nil
}

func (p *pipe) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(p.local) }
func (p *pipe) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(p.remote) }

func (p *pipe) SetDeadline(t time.Time) error {
	p.in.setDeadline(t)
	return nil
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.setDeadline(t)
	return nil
}

func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// Dialer returns how to reach the cluster: over loopback sockets or, with
// InProcess, over pipes. It fits msgr2.Config.Dialer.
func (c *Cluster) Dialer() func(ctx context.Context, a entity.Addr) (net.Conn, error) {
	return func(ctx context.Context, a entity.Addr) (net.Conn, error) { return c.net.dial(ctx, a.IP) }
}
