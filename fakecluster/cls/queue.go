package cls

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/queue"
	"github.com/rbdm/rbdm/rados/errno"
)

// queueMethods are those of class queue. A release of 20 and later knows where a
// list is to end.
func queueMethods(release int) map[string]method {
	return map[string]method{
		queue.MethodInit:        write(taking(queueInit)),
		queue.MethodGetCapacity: read(queueCapacity),
		queue.MethodEnqueue: write(taking(func(o Object, op queue.Enqueue) ([]byte, error) {
			return nil, changeHead(o, func(h *queue.Head) error { return enqueue(o, h, op.Data) })
		})),
		queue.MethodList: read(queueList(release)),
		queue.MethodRemove: write(taking(func(o Object, op queue.Remove) ([]byte, error) {
			return nil, changeHead(o, func(h *queue.Head) error { return dequeue(o, h, op.End) })
		})),
	}
}

// changeHead writes what change makes of a queue's head.
func changeHead(o Object, change func(*queue.Head) error) error {
	h, err := readHead(o)
	if err != nil {
		return err
	}
	if err := change(&h); err != nil {
		return err
	}
	return writeHead(o, h)
}

func writeHead(o Object, h queue.Head) error {
	p := h.Append(nil)
	b := denc.AppendU64(denc.AppendU16(nil, queue.HeadStart), uint64(len(p)))
	o.Write(0, append(b, p...))
	return nil
}

// headChunk is how much of a head the class reads first.
const headChunk = 1024

func readHead(o Object) (h queue.Head, err error) {
	p, err := o.Read(0, headChunk)
	if err != nil {
		return h, err
	}
	if len(p) < queue.Overhead || binary.LittleEndian.Uint16(p) != queue.HeadStart {
		return h, errno.ErrInvalid
	}
	if n := binary.LittleEndian.Uint64(p[2:]); n > headChunk-queue.Overhead {
		rest, err := o.Read(headChunk, n-(headChunk-queue.Overhead))
		if err != nil {
			return h, err
		}
		p = append(slices.Clip(p), rest...)
	}
	r := denc.NewReader(p[queue.Overhead:])
	if h.Decode(r); r.Err() != nil {
		return h, errno.ErrInvalid
	}
	return h, nil
}

func queueInit(o Object, op queue.Init) ([]byte, error) {
	return nil, initQueue(o, op)
}

func initQueue(o Object, op queue.Init) error {
	switch _, err := readHead(o); {
	case err == nil:
		return errno.ErrExists
	case !errors.Is(err, errno.ErrInvalid):
		return err
	}
	h := queue.Head{MaxHeadSize: queue.HeadSize + op.MaxUrgentSize, MaxUrgentSize: op.MaxUrgentSize, Urgent: op.Urgent}
	h.Size = op.Size + h.MaxHeadSize
	h.Front.Offset, h.Tail.Offset = h.MaxHeadSize, h.MaxHeadSize
	return writeHead(o, h)
}

func queueCapacity(o Object, _ *denc.Reader) ([]byte, error) {
	h, err := readHead(o)
	if err != nil {
		return nil, err
	}
	return queue.Capacity{Capacity: h.Size - h.MaxHeadSize}.Append(nil), nil
}

// enqueue appends entries to the ring; the last may go round its end.
func enqueue(o Object, h *queue.Head, data [][]byte) error {
	if h.Front.Offset == h.Tail.Offset && h.Tail.Gen == h.Front.Gen+1 {
		return errno.ErrNoSpace
	}
	for _, d := range data {
		p := denc.AppendU64(denc.AppendU16(make([]byte, 0, queue.Overhead+len(d)), queue.EntryStart), uint64(len(d)))
		p = append(p, d...)
		n := uint64(len(p))
		end := h.Size
		if h.Tail.Offset < h.Front.Offset {
			end = h.Front.Offset
		}
		switch {
		case h.Tail.Offset+n <= end:
			o.Write(h.Tail.Offset, p)
			h.Tail.Offset += n
		case h.Tail.Offset < h.Front.Offset || n > h.Size-h.Tail.Offset+h.Front.Offset-h.MaxHeadSize:
			return errno.ErrNoSpace
		default:
			first := min(h.Size-h.Tail.Offset, n)
			o.Write(h.Tail.Offset, p[:first])
			h.Tail.Offset, h.Tail.Gen = h.MaxHeadSize, h.Tail.Gen+1
			o.Write(h.Tail.Offset, p[first:])
			h.Tail.Offset += n - first
		}
		if h.Tail.Offset == h.Size {
			h.Tail.Offset, h.Tail.Gen = h.MaxHeadSize, h.Tail.Gen+1
		}
	}
	return nil
}

// dequeue takes away what is before a marker, and writes zeros over it.
func dequeue(o Object, h *queue.Head, marker string) error {
	if h.Front == h.Tail {
		return nil
	}
	end := queue.ParseMarker(marker)
	switch {
	case end.Offset > h.Front.Offset && end.Gen == h.Front.Gen:
		zeros(o, h.Front.Offset, end.Offset-h.Front.Offset)
	case h.Front.Offset >= end.Offset && end.Gen == h.Front.Gen+1:
		zeros(o, h.Front.Offset, h.Size-h.Front.Offset)
		zeros(o, h.MaxHeadSize, end.Offset-h.MaxHeadSize)
	case end != h.Front:
		return errno.ErrInvalid
	}
	if h.Front = end; h.Front.Offset == h.Size {
		h.Front.Offset, h.Front.Gen = h.MaxHeadSize, h.Front.Gen+1
	}
	return nil
}

// zeros makes a hole, unless it is empty.
func zeros(o Object, off, n uint64) {
	if n > 0 {
		o.Zero(off, n)
	}
}

// lister reads entries from the ring as the class does: some of them at a time,
// with what is left of an entry carried over, and round the end once.
type lister struct {
	h    queue.Head
	op   queue.List
	page queue.Page
	// chunkSize is how much is read at a time.
	chunkSize uint64

	start, gen, left uint64 // where the next chunk is, and what follows in a row
	wraps            bool

	rest   []byte // of an entry that is not complete
	marker string // its marker, if it is known
	known  bool
	counts bool // more entries than are wanted end it; if not, none wanted means all
	headed bool // its length has been read
	length uint64
}

func newLister(h queue.Head, op queue.List, release int) *lister {
	l := &lister{h: h, op: op, chunkSize: 1024, start: h.Front.Offset, gen: h.Front.Gen}
	if l.page.Truncated = true; release >= 20 {
		l.chunkSize, l.counts = 4<<20, true
	}
	if from := queue.ParseMarker(op.Start); from.Offset != 0 {
		l.start, l.gen = from.Offset, from.Gen
	}
	switch {
	case h.Tail.Offset > h.Front.Offset || l.start < h.Front.Offset && l.start <= h.Tail.Offset:
		l.left = h.Tail.Offset - l.start
	case l.start >= h.Front.Offset:
		l.left, l.wraps = h.Size-l.start, true
	}
	return l
}

// full reports whether there are as many entries as the client wants.
func (l *lister) full() bool { return uint64(len(l.page.Entries)) == l.op.Max }

func (l *lister) run(o Object) error {
	next := queue.Marker{}
	size, _ := o.Stat()
	for {
		n := min(l.left, l.chunkSize)
		if n == 0 {
			next, l.page.Truncated = l.h.Tail, false
			break
		}
		if l.start > size && l.left > l.chunkSize { // nothing is there, however long it takes
			n = l.left
		}
		var p []byte
		if l.start < size {
			var err error
			if p, err = o.Read(l.start, n); err != nil {
				return err
			}
		}
		first := l.start - uint64(len(l.rest))
		used, done, err := l.chunk(append(l.rest, p...), first)
		if err != nil {
			return err
		}
		if l.full() || done {
			if next = (queue.Marker{Offset: first + used, Gen: l.gen}); l.op.End != "" {
				next = queue.ParseMarker(l.op.End) // wherever it got to
			}
			break
		}
		l.start += n
		if l.left -= n; l.left == 0 {
			if !l.wraps {
				next, l.page.Truncated = l.h.Tail, false
				break
			}
			l.start, l.left, l.wraps = l.h.MaxHeadSize, l.h.Tail.Offset-l.h.MaxHeadSize, false
			l.gen++
		}
		if l.counts && uint64(len(l.page.Entries)) >= l.op.Max {
			break
		}
	}
	if next.Offset == l.h.Size {
		next = queue.Marker{Offset: l.h.MaxHeadSize, Gen: next.Gen + 1}
	}
	if next == l.h.Tail {
		l.page.Truncated = false
	}
	l.page.Next = next.String()
	return nil
}

// chunk reads the entries in p, which begins at offset first of the object: how
// far it got, and whether the end is there.
func (l *lister) chunk(p []byte, first uint64) (used uint64, done bool, err error) {
	l.rest = nil
	for {
		marker := l.marker
		if !l.known {
			marker = queue.Marker{Offset: first + used, Gen: l.gen}.String()
		}
		rest := p[used:]
		if !l.headed {
			if len(rest) < queue.Overhead {
				l.rest, l.known, l.marker = slices.Clone(rest), true, marker
				return used, false, nil
			}
			if binary.LittleEndian.Uint16(rest) != queue.EntryStart {
				return 0, false, errno.ErrInvalid
			}
			l.length = binary.LittleEndian.Uint64(rest[2:])
			rest, used = rest[queue.Overhead:], used+queue.Overhead
		}
		if l.op.End != "" && marker == l.op.End {
			return used, true, nil
		}
		if l.length > uint64(len(rest)) {
			l.rest, l.known, l.marker, l.headed = slices.Clone(rest), true, marker, true
			return used, false, nil
		}
		l.page.Entries = append(l.page.Entries, queue.Entry{Data: slices.Clone(rest[:l.length]), Marker: marker})
		used += l.length
		l.known, l.headed, l.marker = false, false, ""
		if l.full() || used >= uint64(len(p)) {
			return used, false, nil
		}
	}
}

func listQueue(o Object, h queue.Head, op queue.List, release int) (queue.Page, error) {
	if h.Front == h.Tail {
		return queue.Page{Next: h.Front.String()}, nil
	}
	l := newLister(h, op, release)
	err := l.run(o)
	return l.page, err
}

func queueList(release int) handler {
	return taking(func(o Object, op queue.List) ([]byte, error) {
		if release < 20 {
			op.End = ""
		}
		h, err := readHead(o)
		if err != nil {
			return nil, err
		}
		p, err := listQueue(o, h, op, release)
		if err != nil {
			return nil, err
		}
		return p.Append(nil), nil
	})
}
