package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// Recorder appends entries to a journal. There must be one only, that of the
// owner of the image's exclusive lock. It is safe for concurrent use.
//
// Entries are sent in one append to a data object as long as none is under way
// there; what comes meanwhile is sent together when it returns, or when Options
// say that it is enough. When an object is full the whole set is closed: what is
// under way is awaited, the next set becomes the active one, and what did not fit
// goes there.
type Recorder struct {
	j    *Journal
	ctx  context.Context // of the appends; ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // the goroutine that changes the set

	ended   chan struct{} // closed: what Done of a finished Future returns
	buffers sync.Pool     // *[]byte, of the small parts of the appends' arguments

	mu        sync.Mutex
	batch     batch
	set       uint64
	objects   []objectRecorder // by splay offset
	seq       uint64           // of the last Future
	chain     []*Future        // appended and not finished, in order
	inFlight  int              // appends under way
	bytes     int64            // of what is in chain
	room      chan struct{}    // closed when bytes fell; made when somebody waits
	idle      chan struct{}    // closed when inFlight falls to 0; made by Close
	advancing bool             // the set is being changed: nothing is sent
	closed    bool
	err       error // why nothing more is recorded
}

// batch says when to send more although an append is under way.
type batch struct {
	entries, bytes int
	age            time.Duration
}

// NewRecorder returns a Recorder that goes on in the active object set. Entries
// that others wrote under the same tag must have been played before by a Player
// of the same Journal; a new tag has none.
func (j *Journal) NewRecorder(ctx context.Context) (*Recorder, error) {
	if err := j.Refresh(ctx); err != nil {
		return nil, err
	}
	r := &Recorder{j: j, set: j.activeSet.Load(), objects: make([]objectRecorder, j.layout.SplayWidth)}
	r.SetBatch(j.opts.FlushEntries, j.opts.FlushBytes, j.opts.FlushAge)
	r.ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.ended = make(chan struct{})
	close(r.ended)
	for i := range r.objects {
		r.objects[i].object = j.layout.Object(r.set, i)
	}
	return r, nil
}

// SetBatch replaces Options.FlushEntries, FlushBytes and FlushAge. All zero sends
// every entry at once, as rbd_journal_object_writethrough_until_flush wants it
// until the image's user flushes.
func (r *Recorder) SetBatch(entries, bytes int, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch = batch{entries: entries, bytes: bytes, age: age}
}

// Append adds an entry behind all that were appended before. It waits, as long as
// ctx lets it, while too many bytes are under way. It fails with
// rados.ErrInvalid when the payload is larger than Layout.MaxPayload, and when
// an earlier entry failed. payload is kept, and must not change, until the Future
// is done.
func (r *Recorder) Append(ctx context.Context, tagTID uint64, payload []byte) (*Future, error) {
	fs, err := r.AppendAll(ctx, tagTID, []msgr2.Data{msgr2.NewData(payload)})
	if err != nil {
		return nil, err
	}
	return &fs[0], nil
}

// AppendAll is Append of entries that stand one behind the other, all or none of
// them. What of them goes to the same data object goes there together. The parts of
// the payloads are not copied on their way but for small ones.
func (r *Recorder) AppendAll(ctx context.Context, tagTID uint64, payloads []msgr2.Data) ([]Future, error) {
	fs, n := make([]Future, len(payloads)), int64(0)
	for i, p := range payloads {
		if p.Len() > r.j.layout.MaxPayload() {
			return nil, fmt.Errorf("journal %s: entry of %d bytes: %w", r.j.id, p.Len(), rados.ErrInvalid)
		}
		fs[i] = Future{r: r, tag: tagTID, payload: p, crc: p.CRC()}
		n += int64(p.Len()) + wire.EntryOverhead
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && !r.closed && r.bytes > 0 && r.bytes+n > r.j.opts.MaxBufferedBytes {
		if r.room == nil {
			r.room = make(chan struct{})
		}
		if err := r.sleep(ctx, r.room); err != nil {
			return nil, err
		}
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case r.closed:
		return nil, ErrClosed
	}
	for i := range fs {
		r.add(&fs[i])
	}
	if r.j.activeSet.Load() > r.set {
		r.advance() // somebody else closed the set
	}
	for i := range fs[:min(len(fs), len(r.objects))] {
		r.send(r.objectOf(&fs[i]), false)
	}
	return fs, nil
}

// objectOf returns where an entry goes. r.mu is held.
func (r *Recorder) objectOf(f *Future) *objectRecorder {
	return &r.objects[f.tid%uint64(len(r.objects))]
}

// add puts an entry behind all others. r.mu is held.
func (r *Recorder) add(f *Future) {
	r.seq++
	f.seq, f.tid = r.seq, r.j.allocate(f.tag)
	o := r.objectOf(f)
	r.j.track(&f.mark, wire.ObjectPosition{Object: o.object, TagTID: f.tag, EntryTID: f.tid})
	r.chain = append(r.chain, f)
	n := int64(f.payload.Len()) + wire.EntryOverhead
	r.bytes += n
	o.add(f, n)
}

// sleep gives r.mu up until c is closed.
func (r *Recorder) sleep(ctx context.Context, c <-chan struct{}) error {
	r.mu.Unlock()
	defer r.mu.Lock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flush sends everything and waits until all that was appended before the call is
// safe.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	if len(r.chain) == 0 {
		err := r.err
		r.mu.Unlock()
		return err
	}
	last := r.chain[len(r.chain)-1]
	for i := range r.objects {
		r.send(&r.objects[i], true)
	}
	r.mu.Unlock()
	return last.Wait(ctx)
}

// Close flushes and ends the Recorder. What is not safe when ctx ends fails with
// ErrClosed. A second call does nothing.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	err := r.Flush(ctx)
	r.mu.Lock()
	r.fail(ErrClosed)
	if r.inFlight > 0 {
		idle := make(chan struct{})
		r.idle = idle
		if r.sleep(ctx, idle) != nil {
			r.stop()
			_ = r.sleep(context.WithoutCancel(ctx), idle)
		}
	}
	for i := range r.objects {
		r.objects[i].stopTimer()
	}
	r.mu.Unlock()
	r.stop()
	r.wg.Wait()
	return err
}

// fail ends what is not finished yet. r.mu is held.
func (r *Recorder) fail(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	for i, f := range r.chain {
		f.finish(err)
		r.chain[i] = nil
	}
	r.chain, r.bytes = nil, 0
	r.freed()
}

// freed wakes who waits for room. r.mu is held.
func (r *Recorder) freed() {
	if r.room != nil {
		close(r.room)
		r.room = nil
	}
}

// settle finishes the entries that are safe together with all before them. r.mu
// is held.
func (r *Recorder) settle() {
	n := 0
	for n < len(r.chain) && r.chain[n].acked {
		f := r.chain[n]
		r.bytes -= int64(f.payload.Len()) + wire.EntryOverhead
		f.finish(nil)
		r.chain[n] = nil
		n++
	}
	if n > 0 {
		r.chain = r.chain[n:]
		r.freed()
	}
}

// advance closes the object set: all objects get what they have room for, and
// when nothing is under way any more the next set becomes the active one. r.mu is
// held.
func (r *Recorder) advance() {
	if r.err != nil {
		return
	}
	if !r.advancing {
		r.advancing = true
		for i := range r.objects {
			r.fill(&r.objects[i])
		}
	}
	if r.inFlight > 0 {
		return // the last append that returns calls again
	}
	r.inFlight++ // nobody else comes here meanwhile
	r.wg.Add(1)
	go r.nextSet(r.set)
}

// nextSet makes the set behind the given one the active one and goes on in it.
func (r *Recorder) nextSet(set uint64) {
	defer r.wg.Done()
	j := r.j
	err := j.io.ExecWrite(r.ctx, j.header, wire.Class, wire.MethodSetActiveSet, denc.AppendU64(nil, set+1))
	if err == nil || errors.Is(err, rados.ErrStale) {
		// When it is stale, somebody else was faster.
		err = j.Refresh(r.ctx)
	}
	r.mu.Lock()
	r.landed()
	if err != nil {
		r.fail(fmt.Errorf("active set of journal %s: %w", j.id, err))
	} else {
		r.reopen(j.activeSet.Load())
	}
	r.mu.Unlock()
	if err == nil {
		j.notify(r.ctx)
	}
}

// reopen goes on in a set. r.mu is held.
func (r *Recorder) reopen(set uint64) {
	r.advancing, r.set = false, set
	for i := range r.objects {
		o := &r.objects[i]
		o.object, o.size, o.full = r.j.layout.Object(set, i), 0, false
		for _, f := range o.pending {
			r.j.moved(&f.mark, o.object)
		}
	}
	for i := range r.objects {
		r.send(&r.objects[i], true)
	}
}

// landed counts an append, or a change of the set, that ended. r.mu is held.
func (r *Recorder) landed() {
	r.inFlight--
	if r.inFlight == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}
