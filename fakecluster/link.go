package fakecluster

import (
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Link describes the transport between clients and daemons.
type Link struct {
	// Latency is how long a byte is under way, in each direction.
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
	user, daemon string // "" is every one
	link         Link
}

// SetLink sets the transport of connections to a daemon ("osd.0"), or to all
// when daemon is empty. It returns how to take it back. Connections that are
// there are affected by all but Refuse.
func (c *Cluster) SetLink(daemon string, l Link) (remove func()) { return c.SetLinkOf("", daemon, l) }

// SetLinkOf is SetLink for the connections of one user ("client.admin") only. Who
// a connection is of shows when it was authenticated: until then, links of users
// do not count.
func (c *Cluster) SetLinkOf(user, daemon string, l Link) (remove func()) {
	return c.faults.setLinks([]*linkRule{{user, daemon, l}})
}

// Partition lets nothing through between some users and some daemons, in no
// direction, and breaks nothing; no users or no daemons are all of them. It returns
// how to heal it. Connections are taken in up to authentication, and then silent.
func (c *Cluster) Partition(users, daemons []string) (heal func()) {
	all := func(l []string) []string {
		if len(l) == 0 {
			return []string{""}
		}
		return l
	}
	var rules []*linkRule
	for _, u := range all(users) {
		for _, d := range all(daemons) {
			rules = append(rules, &linkRule{u, d, Link{Freeze: true}})
		}
	}
	return c.faults.setLinks(rules)
}

func (fs *faults) setLinks(rules []*linkRule) (remove func()) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.links = append(fs.links, rules...)
	fs.changed()
	return func() {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		fs.links = slices.DeleteFunc(fs.links, func(o *linkRule) bool { return slices.Contains(rules, o) })
		fs.changed()
	}
}

// link returns the transport in force between a user and a daemon.
func (fs *faults) link(user, daemon string) Link {
	if !fs.linked.Load() {
		return Link{}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, r := range slices.Backward(fs.links) {
		if (r.daemon == "" || r.daemon == daemon) && (r.user == "" || r.user == user) {
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
	user   atomic.Pointer[string] // once it is known
	in     slowWay                // used by the reading goroutine, and readAhead
	out    slowWay                // used by the writing goroutine
	behind atomic.Bool            // writeBehind closes the connection
	sent   int64                  // used by the one writing goroutine
	got    int64                  // used by the one reading goroutine
	once   sync.Once
	closed chan struct{}
	// What a fault does to a message: corrupt is about the next bytes that are
	// written, and cut, when it is not 0, is how many of them still pass.
	corrupt atomic.Bool
	cut     atomic.Int64
}

func (fs *faults) wrap(daemon string, nc net.Conn) *linkConn {
	l := &linkConn{Conn: nc, fs: fs, daemon: daemon, closed: make(chan struct{})}
	l.of("")
	return l
}

// of says whose connection it is.
func (l *linkConn) of(user string) {
	l.user.Store(&user)
	if l.link().Refuse {
		_ = l.Close()
	}
}

func (l *linkConn) link() Link { return l.fs.link(*l.user.Load(), l.daemon) }

// Close ends the connection. What is under way on a slow link still arrives.
func (l *linkConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	if l.behind.Load() {
		return l.SetReadDeadline(time.Unix(1, 0)) // writeBehind closes it
	}
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
	for l.link().Freeze {
		if !l.wait(frozenPoll) {
			return false
		}
	}
	return true
}

func (l *linkConn) Read(p []byte) (int, error) {
	if l.in.queue != nil {
		return l.readBehind(p)
	}
	n, err := l.Conn.Read(p)
	if k := l.link(); n > 0 && k.slow() {
		due := l.in.due(k, n)
		l.in.queue = make(chan chunk, queued)
		l.fs.c.spawn(l.readAhead)
		if !l.until(due) {
			return 0, net.ErrClosed
		}
	}
	return l.received(p[:n], err)
}

// received counts bytes from the client, and does to them what the link does.
func (l *linkConn) received(p []byte, err error) (int, error) {
	n, from := len(p), l.got
	l.got += int64(n)
	k := l.link()
	if k == (Link{}) {
		return n, err
	}
	if !l.thaw() {
		return 0, net.ErrClosed
	}
	if at := k.CorruptAtIn; at > from && at <= l.got {
		p[at-from-1] ^= 1
	}
	if k.CutAfterIn > 0 && l.got > k.CutAfterIn {
		_ = l.Close()
		return int(max(0, k.CutAfterIn-from)), io.ErrUnexpectedEOF
	}
	return n, err
}

func (l *linkConn) Write(p []byte) (int, error) {
	p, whole := l.damaged(p)
	k := l.link()
	from := l.sent
	l.sent += int64(len(p))
	if k != (Link{}) {
		if !l.thaw() {
			return 0, net.ErrClosed
		}
		if at := k.CorruptAt; at > from && at <= l.sent {
			p = slices.Clone(p)
			p[at-from-1] ^= 1
		}
		if k.CutAfter > 0 && l.sent > k.CutAfter {
			p, whole = p[:max(0, k.CutAfter-from)], false
		}
	}
	n, err := l.write(p, k, whole)
	if !whole {
		_ = l.Close()
		return n, io.ErrClosedPipe
	}
	return n, err
}

// write lets bytes go: at once, or when what is slow has let them through.
func (l *linkConn) write(p []byte, k Link, whole bool) (int, error) {
	if l.out.queue == nil {
		if !k.slow() {
			return l.Conn.Write(p)
		}
		l.out.queue = make(chan chunk, queued)
		l.behind.Store(true)
		if !l.fs.c.spawn(l.writeBehind) {
			_ = l.Conn.Close()
			return 0, net.ErrClosed
		}
	}
	for piece := range slices.Chunk(p, pieceSize) {
		select {
		case l.out.queue <- chunk{b: slices.Clone(piece), due: l.out.due(k, len(piece))}:
		case <-l.closed:
			return 0, net.ErrClosed
		}
	}
	return len(p), nil
}

// damaged does to bytes on their way what a fault wants, and reports whether the
// connection goes on behind them.
func (l *linkConn) damaged(p []byte) (_ []byte, whole bool) {
	if len(p) > 0 && l.corrupt.Swap(false) {
		p = slices.Clone(p)
		p[len(p)/2] ^= 1
	}
	switch cut := l.cut.Load(); {
	case cut == 0:
	case int64(len(p)) >= cut:
		return p[:cut], false
	default:
		l.cut.Store(cut - int64(len(p)))
	}
	return p, true
}
