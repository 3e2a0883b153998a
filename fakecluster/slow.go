package fakecluster

import (
	"net"
	"slices"
	"time"
)

const (
	// pieceSize is what passes a slow link at once.
	pieceSize = 64 << 10
	// queued is how many pieces are under way at most.
	queued = 1024
)

func (k Link) slow() bool { return k.Latency > 0 || k.Bandwidth > 0 }

// chunk is some bytes under way.
type chunk struct {
	b   []byte
	due time.Time
	err error // what follows them
}

// slowWay is a direction of a connection that is, or was, slow: bytes are under way
// while others already follow them.
type slowWay struct {
	queue chan chunk // nil as long as it never was slow
	free  time.Time  // when the last bytes have left
	rest  chunk      // what has arrived and was not read yet
}

// due says when n bytes arrive that leave as soon as those before them have left.
func (w *slowWay) due(k Link, n int) time.Time {
	if now := time.Now(); w.free.Before(now) {
		w.free = now
	}
	if k.Bandwidth > 0 {
		w.free = w.free.Add(time.Duration(int64(n) * int64(time.Second) / k.Bandwidth))
	}
	return w.free.Add(k.Latency)
}

func (l *linkConn) until(t time.Time) bool { return l.wait(time.Until(t)) }

// readAhead takes what comes from the client, until the connection ends.
func (l *linkConn) readAhead() {
	buf := make([]byte, pieceSize)
	for {
		n, err := l.Conn.Read(buf)
		c := chunk{b: slices.Clone(buf[:n]), due: l.in.due(l.link(), n), err: err}
		select {
		case l.in.queue <- c:
		case <-l.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

// readBehind returns what readAhead has taken, when it has arrived.
func (l *linkConn) readBehind(p []byte) (int, error) {
	if len(l.in.rest.b) == 0 {
		if err := l.in.rest.err; err != nil {
			return 0, err
		}
		select {
		case l.in.rest = <-l.in.queue:
		case <-l.closed:
			return 0, net.ErrClosed
		}
		if !l.until(l.in.rest.due) {
			return 0, net.ErrClosed
		}
	}
	n := copy(p, l.in.rest.b)
	l.in.rest.b = l.in.rest.b[n:]
	if n == 0 {
		return 0, l.in.rest.err
	}
	return l.received(p[:n], nil)
}

// writeBehind writes what was queued when it has arrived, and closes the connection
// behind the last of it.
func (l *linkConn) writeBehind() {
	defer func() { _ = l.Conn.Close() }()
	for {
		var c chunk
		select {
		case c = <-l.out.queue:
		case <-l.closed:
			select {
			case c = <-l.out.queue:
			default:
				return
			}
		}
		t := time.NewTimer(time.Until(c.due))
		select {
		case <-t.C:
		case <-l.fs.c.ctx.Done():
			t.Stop()
			return
		}
		if l.link().Freeze && !l.thaw() {
			return
		}
		if _, err := l.Conn.Write(c.b); err != nil {
			_ = l.Close()
			return
		}
	}
}
