package fakecluster

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Link describes the transport between clients and daemons.
type Link struct {
	// Latency is added to every write, in each direction.
	Latency time.Duration
	// Bandwidth is in bytes a second, in each direction and connection; 0 is
	// without a limit.
	Bandwidth int64
	// CutAfter breaks a connection when so many bytes went to the client; 0 is
	// never.
	CutAfter int64
	// CorruptAt flips a bit of that byte on its way to the client; 0 is never.
	CorruptAt int64
	// CutAfterIn and CorruptAtIn are the same for what comes from the client.
	// A request that is cut in its midst is not executed.
	CutAfterIn, CorruptAtIn int64
	// Refuse breaks new connections at once.
	Refuse bool
	// Freeze lets nothing through, in no direction, and breaks nothing.
	Freeze bool
}

type linkRule struct {
	daemon string
	link   Link
}

// SetLink sets the transport of connections to a daemon ("osd.0"), or to all
// when daemon is empty. It returns how to take it back. Connections that are
// there are affected by all but Refuse.
func (c *Cluster) SetLink(daemon string, l Link) (remove func()) {
	r := &linkRule{daemon, l}
	c.faults.mu.Lock()
	c.faults.links = append(c.faults.links, r)
	c.faults.mu.Unlock()
	return func() {
		c.faults.mu.Lock()
		defer c.faults.mu.Unlock()
		c.faults.links = slices.DeleteFunc(c.faults.links, func(o *linkRule) bool { return o == r })
	}
}

// link returns the transport in force for a daemon's connections.
func (fs *faults) link(daemon string) Link {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, r := range slices.Backward(fs.links) {
		if r.daemon == "" || r.daemon == daemon {
			return r.link
		}
	}
	return Link{}
}

// frozenPoll is how often a frozen connection looks whether it may go on.
const frozenPoll = 5 * time.Millisecond

// linkConn is a daemon's end of a connection with its link's faults.
type linkConn struct {
	net.Conn
	fs     *faults
	daemon string
	sent   int64 // used by the one writing goroutine
	got    int64 // used by the one reading goroutine
	once   sync.Once
	closed chan struct{}
}

func (fs *faults) wrap(daemon string, nc net.Conn) net.Conn {
	l := &linkConn{Conn: nc, fs: fs, daemon: daemon, closed: make(chan struct{})}
	if fs.link(daemon).Refuse {
		_ = l.Close()
	}
	return l
}

func (l *linkConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}

// wait lets real time pass; transport does not follow the cluster's clock.
func (l *linkConn) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.closed:
		return false
	}
}

func (l *linkConn) thaw() bool {
	for l.fs.link(l.daemon).Freeze {
		if !l.wait(frozenPoll) {
			return false
		}
	}
	return true
}

func (l *linkConn) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	from := l.got
	l.got += int64(n)
	k := l.fs.link(l.daemon)
	if k == (Link{}) {
		return n, err
	}
	if !l.thaw() {
		return 0, net.ErrClosed
	}
	l.pass(k, n)
	if at := k.CorruptAtIn; at > from && at <= l.got {
		p[at-from-1] ^= 1
	}
	if k.CutAfterIn > 0 && l.got > k.CutAfterIn {
		_ = l.Close()
		return int(max(0, k.CutAfterIn-from)), io.ErrUnexpectedEOF
	}
	return n, err
}

func (l *linkConn) pass(k Link, n int) {
	d := k.Latency
	if k.Bandwidth > 0 {
		d += time.Duration(int64(n) * int64(time.Second) / k.Bandwidth)
	}
	l.wait(d)
}

func (l *linkConn) Write(p []byte) (int, error) {
	k := l.fs.link(l.daemon)
	if k == (Link{}) {
		l.sent += int64(len(p))
		return l.Conn.Write(p)
	}
	if !l.thaw() {
		return 0, net.ErrClosed
	}
	l.pass(k, len(p))
	from := l.sent
	l.sent += int64(len(p))
	if at := k.CorruptAt; at > from && at <= l.sent {
		p = slices.Clone(p)
		p[at-from-1] ^= 1
	}
	if k.CutAfter > 0 && l.sent > k.CutAfter {
		n, _ := l.Conn.Write(p[:max(0, k.CutAfter-from)])
		_ = l.Close()
		return n, io.ErrClosedPipe
	}
	return l.Conn.Write(p)
}
