package rbd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// recording is the entries of one change and the bytes that they are made of.
type recording struct {
	*eventBuffer
	futures [][]journal.Future
	// lost says that the bytes may still be on their way.
	lost bool
}

// eventBuffer is the memory of a recording.
type eventBuffer struct {
	data     []byte       // copy of what is written
	small    []byte       // the rest of the events
	payloads []msgr2.Data // of the events that are not recorded yet
}

// maxKeptData is the largest buffer of data that is kept for the next write, bytes.
const maxKeptData = 4 << 20

func (o *imageJournal) newRecording() *recording {
	b, _ := o.buffers.Get().(*eventBuffer)
	if b == nil {
		b = &eventBuffer{}
	}
	return &recording{eventBuffer: b}
}

// release gives the memory back.
func (c *recording) release(o *imageJournal) {
	b := c.eventBuffer
	if c.lost || cap(b.data) > maxKeptData {
		return
	}
	clear(b.payloads)
	b.data, b.small, b.payloads = b.data[:0], b.small[:0], b.payloads[:0]
	o.buffers.Put(b)
}

// last returns the entry that is behind all others.
func (c *recording) last() *journal.Future {
	fs := c.futures[len(c.futures)-1]
	return &fs[len(fs)-1]
}

// copyOf returns a copy of d that lasts as long as the recording.
func (c *recording) copyOf(d msgr2.Data) []byte {
	c.data = slices.Grow(c.data[:0], d.Len())[:d.Len()]
	d.CopyTo(c.data)
	return c.data
}

// around adds an event around its data.
func (c *recording) around(ev *jwire.Event, data msgr2.Data) {
	from := len(c.small)
	small, at := ev.AppendAround(c.small, data.Len())
	c.small = small
	var p msgr2.Builder
	p.Grow(2)
	p.Append(small[from:at])
	p.AppendData(data)
	p.Append(small[at:])
	c.payloads = append(c.payloads, p.Data())
}

// record records one event.
func (o *imageJournal) record(ctx context.Context, c *recording, ev *jwire.Event) error {
	ev.Time = denc.TimeOf(time.Now())
	from := len(c.small)
	c.small = ev.Append(c.small)
	c.payloads = append(c.payloads, msgr2.NewData(c.small[from:]))
	return o.recordAll(ctx, c)
}

// recordAll records the events that were added.
func (o *imageJournal) recordAll(ctx context.Context, c *recording) error {
	if o.spoiled.Load() {
		return errSpoiled
	}
	fs, err := o.rec.AppendAll(ctx, o.tag, c.payloads)
	if err != nil {
		if ctx.Err() == nil {
			o.spoil("the journal takes no more", err)
		}
		return fmt.Errorf("record in the journal: %w", err)
	}
	c.futures = append(c.futures, fs)
	c.payloads = c.payloads[:0]
	return nil
}
