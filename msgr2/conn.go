package msgr2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// ErrClosed says that the connection was closed at this end.
var ErrClosed = errors.New("connection is closed")

// Handler gets what a connection receives.
type Handler interface {
	// HandleMessage runs in order on the connection's reading goroutine.
	HandleMessage(c *Conn, m *Message)
	// HandleReset runs once, after the connection died.
	HandleReset(c *Conn, err error)
}

// Config is what connections are made of.
type Config struct {
	// Type is our kind.
	Type entity.Type
	// Addrs is our address; a client's has no IP, only the nonce of the process
	// instance.
	Addrs entity.AddrVec
	// GlobalID returns our id for CLIENT_IDENT; nil means the one that the
	// authentication gives.
	GlobalID           func() uint64
	Features, Required uint64
	Modes              []Mode
	Lossy              bool
	Handler            Handler
	Logger             *slog.Logger
	// KeepaliveInterval is the pause between pings, KeepaliveTimeout how long
	// the peer may be silent; 0 means never.
	KeepaliveInterval, KeepaliveTimeout time.Duration
	// Dialer makes the transport; nil means TCP.
	Dialer func(ctx context.Context, a entity.Addr) (net.Conn, error)
}

// Conn is an authenticated connection. It is safe for concurrent use.
type Conn struct {
	cfg   Config
	nc    net.Conn
	in    *bufio.Reader
	codec codec

	peerAddrs entity.AddrVec
	peerName  entity.Name
	features  uint64
	local     entity.Addr
	mode      Mode
	gid       uint64

	done    chan struct{}
	lastIn  atomic.Int64
	lastAck atomic.Int64
	recvSeq atomic.Uint64

	mu      sync.Mutex
	queue   []*outFrame
	msgs    []*Message
	control []*outFrame
	seq     uint64
	err     error
	dead    bool
	wake    chan struct{}
}

// Done is closed when the connection is dead.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection died.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// PeerAddrs returns the peer's addresses.
func (c *Conn) PeerAddrs() entity.AddrVec { return c.peerAddrs }

// PeerName returns the peer's kind and number.
func (c *Conn) PeerName() entity.Name { return c.peerName }

// Features returns the features of both ends.
func (c *Conn) Features() uint64 { return c.features }

// LocalAddr returns our address as the peer sees it, with our nonce.
func (c *Conn) LocalAddr() entity.Addr { return c.local }

// Mode returns the connection's mode.
func (c *Conn) Mode() Mode { return c.mode }

// GlobalID returns the id that the authentication gave.
func (c *Conn) GlobalID() uint64 { return c.gid }

// LastKeepaliveAck returns when the peer last answered a ping.
func (c *Conn) LastKeepaliveAck() time.Time { return time.Unix(0, c.lastAck.Load()) }

// Send queues m.
func (c *Conn) Send(m *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return c.err
	}
	c.msgs = append(c.msgs, m)
	c.signal()
	return nil
}

func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.die(ErrClosed)
	return nil
}

func (c *Conn) die(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	c.dead, c.err = true, err
	_ = c.nc.Close()
	close(c.done)
}

func (c *Conn) start() {
	c.wake = make(chan struct{}, 1)
	c.done = make(chan struct{})
	c.lastIn.Store(time.Now().UnixNano())
	go c.writeLoop()
	go func() {
		err := c.readLoop()
		c.die(err)
		if c.cfg.Handler != nil {
			c.cfg.Handler.HandleReset(c, c.Err())
		}
	}()
}

func (c *Conn) writeLoop() {
	var tick <-chan time.Time
	if c.cfg.KeepaliveInterval > 0 {
		t := time.NewTicker(c.cfg.KeepaliveInterval)
		defer t.Stop()
		tick = t.C
	}
	var out outBuffers
	for {
		select {
		case <-c.done:
			return
		case <-tick:
			if c.cfg.KeepaliveTimeout > 0 && time.Since(time.Unix(0, c.lastIn.Load())) > c.cfg.KeepaliveTimeout {
				c.die(errors.New("peer is silent"))
				return
			}
			now := denc.TimeOf(time.Now())
			c.push(&outFrame{tag: tagKeepalive2, seg: [3][]byte{denc.AppendTime(nil, now)}})
		case <-c.wake:
		}
		c.mu.Lock()
		msgs, control := c.msgs, c.control
		c.msgs, c.control = nil, nil
		c.mu.Unlock()
		for _, f := range control {
			c.codec.appendTo(&out, f)
		}
		for _, m := range msgs {
			c.seq++
			m.Seq, m.AckSeq = c.seq, c.recvSeq.Load()
			if m.Priority == 0 {
				m.Priority = defaultPriority
			}
			m.Flags |= flagComplete | flagNoCRC
			c.codec.appendTo(&out, &outFrame{tag: tagMessage, seg: [3][]byte{m.appendHeader(nil), m.Front, m.Middle}, data: m.Data})
		}
		out.close()
		bufs := net.Buffers(out.list)
		if _, err := bufs.WriteTo(c.nc); err != nil {
			c.die(err)
			return
		}
		out.reset()
	}
}

func (c *Conn) push(f *outFrame) {
	c.mu.Lock()
	c.control = append(c.control, f)
	c.mu.Unlock()
	c.signal()
}

func (c *Conn) readLoop() error {
	for {
		f, err := c.codec.read(c.in)
		if errors.Is(err, errAborted) {
			continue
		}
		if err != nil {
			return err
		}
		c.lastIn.Store(time.Now().UnixNano())
		switch f.tag {
		case tagKeepalive2:
			c.push(&outFrame{tag: tagKeepalive2Ack, seg: [3][]byte{append([]byte(nil), f.seg[0]...)}})
			f.release()
		case tagKeepalive2Ack:
			c.lastAck.Store(time.Now().UnixNano())
			f.release()
		case tagMessage:
			m := &Message{Front: f.seg[1], Middle: f.seg[2], bufs: f.bufs}
			if err := m.decodeHeader(f.seg[0]); err != nil {
				return err
			}
			if f.crcs {
				m.Data = checkedData(f.seg[3], f.crc[3])
			} else {
				m.Data = NewData(f.seg[3])
			}
			if m.Seq <= c.recvSeq.Load() {
				m.Release()
				continue
			}
			c.recvSeq.Store(m.Seq)
			c.cfg.Handler.HandleMessage(c, m)
		case tagAck:
			f.release()
		default:
			return fmt.Errorf("%w: tag %d", ErrFrame, f.tag)
		}
	}
}
