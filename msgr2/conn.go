package msgr2

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Conn is an authenticated connection. It is safe for concurrent use.
//
// It has one goroutine that reads and calls the Handler, and one that writes.
type Conn struct {
	cfg   Config
	nc    net.Conn
	in    *bufio.Reader
	codec codec
	began time.Time // times below are nanoseconds since then

	// Set by the handshake.
	peerAddrs entity.AddrVec
	peerName  entity.Name
	features  uint64
	local     entity.Addr
	mode      Mode
	algorithm Algorithm // 0: frames are not compressed
	gid       uint64

	done     chan struct{} // closed when dead
	wake     chan struct{} // tells the writer of something in the queues
	pumps    sync.WaitGroup
	watchdog *time.Timer
	lastIn   atomic.Int64
	// flushes counts the writes to the socket. The reader looks at it so that the
	// memory model knows, too, that an answer comes after its request was read.
	flushes atomic.Uint64
	lastAck atomic.Int64
	recvSeq atomic.Uint64

	sendSeq uint64 // the writer's

	mu      sync.Mutex
	idle    sync.Cond // reading or writing became false
	msgs    []*Message
	ack     keepalive // owed to the peer if ackDue
	ackDue  bool
	reading bool // the reader is not within the Handler
	writing bool // the writer runs
	dead    bool
	err     error
}

// Done is closed when the connection is dead.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection died, nil while it lives and ErrClosed after
// Close.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// PeerAddrs returns the addresses that the peer says it has.
func (c *Conn) PeerAddrs() entity.AddrVec { return c.peerAddrs }

// PeerName returns the peer's kind and number: a client's global id, a monitor's
// rank, an OSD's number.
func (c *Conn) PeerName() entity.Name { return c.peerName }

// Features returns the features that both ends have.
func (c *Conn) Features() uint64 { return c.features }

// LocalAddr returns our address as the peer sees it, with our nonce. On a server
// it is the one that the client dialled.
func (c *Conn) LocalAddr() entity.Addr { return c.local }

// Mode returns the connection's mode.
func (c *Conn) Mode() Mode { return c.mode }

// Compression returns the algorithm that was agreed on, 0 for none.
func (c *Conn) Compression() Algorithm { return c.algorithm }

// GlobalID returns the id that the authentication gave.
func (c *Conn) GlobalID() uint64 { return c.gid }

// LastKeepaliveAck returns when the peer last answered a ping; before the first
// answer, when the connection began.
func (c *Conn) LastKeepaliveAck() time.Time {
	return c.began.Add(time.Duration(c.lastAck.Load()))
}

// Send queues m behind what was sent before, and returns at once. m is the
// Conn's from then on. It fails, with the reason of the death, on a dead
// connection only; that it succeeds says nothing about m's arrival.
func (c *Conn) Send(m *Message) error {
	c.mu.Lock()
	if c.dead {
		defer c.mu.Unlock()
		return c.err
	}
	c.msgs = append(c.msgs, m)
	c.mu.Unlock()
	c.signal()
	return nil
}

func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close ends the connection and waits until neither the socket nor the bytes of
// any message are in use. What was queued and not yet written is lost. Close
// does not wait for a Handler that runs, so it may be called from one, and under
// locks that the Handler takes; Wait does. It always returns nil.
func (c *Conn) Close() error {
	c.die(ErrClosed)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.reading || c.writing {
		c.idle.Wait()
	}
	return nil
}

// Wait returns when the connection is dead and its goroutines have ended, the
// Handler's last call included. It must not be called from the Handler.
func (c *Conn) Wait() { c.pumps.Wait() }

// die ends the connection for a reason; the first one counts.
func (c *Conn) die(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	c.dead, c.err, c.msgs = true, err, nil
	if c.watchdog != nil {
		c.watchdog.Stop()
	}
	_ = c.nc.Close()
	close(c.done)
}

// now returns the time since the connection began, in nanoseconds.
func (c *Conn) now() int64 { return int64(time.Since(c.began)) }

// start sets the goroutines off.
func (c *Conn) start() {
	c.lastIn.Store(c.now())
	c.lastAck.Store(c.now())
	c.reading, c.writing = true, true
	if every := c.cfg.KeepaliveTimeout; every > 0 {
		c.watchdog = time.AfterFunc(every, c.watch)
	}
	c.pumps.Go(c.writeLoop)
	c.pumps.Go(func() {
		c.die(c.readLoop())
		c.setReading(false)
		c.cfg.Handler.HandleReset(c, c.Err())
	})
}

// watch runs when the peer might have been silent for too long.
func (c *Conn) watch() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	limit := c.cfg.KeepaliveTimeout
	silent := time.Duration(c.now() - c.lastIn.Load())
	if c.reading && silent >= limit {
		c.mu.Unlock()
		c.die(silentError{limit})
		return
	}
	// While the Handler runs nothing is read, which is not the peer's fault.
	if !c.reading {
		silent = 0
	}
	c.watchdog.Reset(limit - silent)
	c.mu.Unlock()
}

// silentError is ErrSilent with the time.
type silentError struct{ limit time.Duration }

func (e silentError) Error() string { return "nothing came from the peer for " + e.limit.String() }
func (e silentError) Is(target error) bool {
	return target == ErrSilent
}

// setReading tells Close and the watchdog where the reader is. It reports false
// when the connection is dead.
func (c *Conn) setReading(on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		on = false
	}
	if c.reading = on; !on {
		c.idle.Broadcast()
	}
	return !c.dead
}

// timedReader is the socket; it notes when bytes came.
type timedReader struct{ c *Conn }

// Read implements io.Reader.
func (r timedReader) Read(p []byte) (int, error) {
	n, err := r.c.nc.Read(p)
	if n > 0 {
		r.c.lastIn.Store(r.c.now())
	}
	return n, err
}

// readBuffer is the size of the buffer that small frames are read through;
// larger segments go past it, but for their beginning.
const readBuffer = 32 << 10

// newConn returns a Conn that is about to shake hands.
func newConn(nc net.Conn, cfg Config) *Conn {
	c := &Conn{
		cfg: cfg, nc: nc, began: time.Now(),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	c.idle.L = &c.mu
	c.in = bufio.NewReaderSize(timedReader{c}, readBuffer)
	return c
}
