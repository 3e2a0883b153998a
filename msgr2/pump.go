package msgr2

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// flushSize is how many bytes are gathered before they are written although
// more is queued.
const flushSize = 1 << 20

// writer is what the writing goroutine owns.
type writer struct {
	c      *Conn
	out    outBuffers
	frame  outFrame
	header [headerSize]byte
	batch  []*Message
	tick   <-chan time.Time
}

func (c *Conn) writeLoop() {
	w := writer{c: c}
	if c.cfg.KeepaliveInterval > 0 {
		t := time.NewTicker(c.cfg.KeepaliveInterval)
		defer t.Stop()
		w.tick = t.C
	}
	if err := w.run(); err != nil {
		c.die(err)
	}
	c.mu.Lock()
	c.writing = false
	c.idle.Broadcast()
	c.mu.Unlock()
}

// run returns nil when the connection is dead already.
func (w *writer) run() error {
	defer w.out.reset()
	for {
		ping := false
		select {
		case <-w.c.done:
			return nil
		case <-w.tick:
			ping = true
		case <-w.c.wake:
		}
		if err := w.round(ping); err != nil {
			return err
		}
	}
}

// round writes all that is queued.
func (w *writer) round(ping bool) error {
	w.take()
	for i, m := range w.batch {
		if err := w.message(m); err != nil {
			return err
		}
		w.batch[i] = nil
		if w.out.pending() >= flushSize {
			select {
			case <-w.tick:
				ping = true
			default:
			}
			if err := w.control(ping); err != nil {
				return err
			}
			if err := w.flush(); err != nil {
				return err
			}
			ping = false
		}
	}
	w.batch = w.batch[:0]
	if err := w.control(ping); err != nil {
		return err
	}
	return w.flush()
}

// take swaps the queue with the empty batch.
func (w *writer) take() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.batch, w.c.msgs = w.c.msgs, w.batch[:0]
}

func (w *writer) message(m *Message) error {
	w.c.sendSeq++
	m.Seq, m.AckSeq = w.c.sendSeq, w.c.recvSeq.Load()
	if m.Priority == 0 {
		m.Priority = defaultPriority
	}
	m.Flags |= flagComplete | flagNoCRC
	w.frame = outFrame{tag: tagMessage, seg: [dataSegment][]byte{m.appendHeader(w.header[:0]), m.Front, m.Middle}, data: m.Data}
	return w.c.codec.appendTo(&w.out, &w.frame)
}

// control adds the ping, if it is time for it, and the answer to the peer's
// newest one.
func (w *writer) control(ping bool) error {
	w.c.mu.Lock()
	ack, due := w.c.ack, w.c.ackDue
	w.c.ackDue = false
	w.c.mu.Unlock()
	if due {
		if err := w.small(tagKeepalive2Ack, ack.Append(w.header[:0])); err != nil {
			return err
		}
	}
	if ping {
		return w.small(tagKeepalive2, keepalive{denc.TimeOf(time.Now())}.Append(w.header[:0]))
	}
	return nil
}

func (w *writer) small(tag uint8, payload []byte) error {
	w.frame = outFrame{tag: tag, seg: [dataSegment][]byte{payload}}
	return w.c.codec.appendTo(&w.out, &w.frame)
}

func (w *writer) flush() error {
	w.frame = outFrame{}
	w.out.close()
	w.c.flushes.Add(1)
	bufs := net.Buffers(w.out.list)
	_, err := bufs.WriteTo(w.c.nc)
	w.out.reset()
	return err
}

// readLoop returns why reading ended.
func (c *Conn) readLoop() error {
	var f inFrame
	for {
		err := c.codec.read(c.in, &f, false)
		switch {
		case errors.Is(err, errAborted):
			continue
		case err == io.EOF:
			return errClosedByPeer
		case err != nil:
			return err
		}
		if err := c.dispatch(&f); err != nil {
			return err
		}
	}
}

var errClosedByPeer = fmt.Errorf("peer closed the connection: %w", io.EOF)

func (c *Conn) dispatch(f *inFrame) error {
	if f.tag == tagMessage {
		return c.deliver(f)
	}
	defer f.release()
	r := denc.NewReader(f.seg[0])
	switch f.tag {
	case tagKeepalive2:
		var k keepalive
		if k.Decode(r); r.Err() != nil {
			return fmt.Errorf("%w: keepalive: %w", ErrFrame, r.Err())
		}
		// A newer ping answers for the older ones: a peer that asks and never
		// reads gains no memory of ours.
		c.mu.Lock()
		c.ack, c.ackDue = k, true
		c.mu.Unlock()
		c.signal()
	case tagKeepalive2Ack:
		c.lastAck.Store(c.now())
	case tagAck: // of peers that keep what they sent; nothing is kept here
	default:
		return fmt.Errorf("%w: tag %d on an open connection", ErrFrame, f.tag)
	}
	return nil
}

// deliver hands a message to the Handler, which owns it.
func (c *Conn) deliver(f *inFrame) error {
	m := &Message{Front: f.seg[1], Middle: f.seg[2], bufs: f.bufs}
	if err := m.decodeHeader(f.seg[0]); err != nil {
		m.Release()
		return fmt.Errorf("%w: message header: %w", ErrFrame, err)
	}
	if f.crcs {
		m.Data = CheckedData(f.seg[dataSegment], f.crc[dataSegment])
	} else {
		m.Data = NewData(f.seg[dataSegment])
	}
	if m.Seq <= c.recvSeq.Load() {
		m.Release()
		return nil
	}
	c.recvSeq.Store(m.Seq)
	if !c.setReading(false) {
		m.Release()
		return c.Err()
	}
	_ = c.flushes.Load()
	c.cfg.Handler.HandleMessage(c, m)
	c.lastIn.Store(c.now())
	if !c.setReading(true) {
		return c.Err()
	}
	return nil
}
