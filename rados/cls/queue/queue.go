// Package queue holds the arguments and results of object classes "queue", a
// ring of entries in an object's data, and "2pc_queue", which reserves space in
// one first (src/cls/queue and src/cls/2pc_queue of Ceph 16.2 to 20.2).
package queue

import (
	"errors"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Class is the object class's name; the others are its methods'.
const (
	Class             = "queue"
	MethodInit        = "queue_init"
	MethodGetCapacity = "queue_get_capacity"
	MethodEnqueue     = "queue_enqueue"
	MethodList        = "queue_list_entries"
	MethodRemove      = "queue_remove_entries"
)

const (
	// HeadStart and EntryStart are what a queue and its entries begin with.
	HeadStart  = 0xDEAD
	EntryStart = 0xBEEF
	// Overhead is what an entry takes besides its data, and a head: its start
	// and its length.
	Overhead = 2 + 8
	// HeadSize is the room for a head without urgent data.
	HeadSize = 1024
)

// Marker is a place in a queue (cls_queue_marker): Gen rises when it goes round.
type Marker struct{ Offset, Gen uint64 }

// Append appends m.
func (m Marker) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(denc.AppendU64(b, m.Gen), m.Offset), at)
}

// Decode reads m.
func (m *Marker) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_marker", 1)
	m.Gen, m.Offset = r.U64(), r.U64()
	r.Leave(s)
}

// String returns the marker as clients get it: GEN/OFFSET.
func (m Marker) String() string {
	return strconv.FormatUint(m.Gen, 10) + "/" + strconv.FormatUint(m.Offset, 10)
}

// ParseMarker reads a marker as an OSD does, which passes over what does not
// belong there: the number before it counts.
func ParseMarker(s string) (m Marker) {
	s, _, _ = strings.Cut(s, "\x00")
	var rest string
	var ok bool
	if m.Gen, rest, ok = parseNumber(s); !ok || !strings.HasPrefix(rest, "/") {
		return m
	}
	m.Offset, _, _ = parseNumber(rest[1:])
	return m
}

// parseNumber reads a number as C's strtoull does.
func parseNumber(s string) (n uint64, rest string, ok bool) {
	t := strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(t, "-")
	if negative || strings.HasPrefix(t, "+") {
		t = t[1:]
	}
	end := 0
	for end < len(t) && t[end] >= '0' && t[end] <= '9' {
		end++
	}
	if end == 0 {
		return 0, s, false
	}
	n, err := strconv.ParseUint(t[:end], 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return ^uint64(0), t[end:], false
	}
	if negative {
		n = -n
	}
	return n, t[end:], true
}

// Head is the head of a queue (cls_queue_head).
type Head struct {
	MaxHeadSize uint64
	Front, Tail Marker
	// Size is that of the queue with its head.
	Size          uint64
	MaxUrgentSize uint64
	Urgent        []byte
}

// Append appends h.
func (h Head) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = h.Tail.Append(h.Front.Append(denc.AppendU64(b, h.MaxHeadSize)))
	return denc.End(denc.AppendBytes(denc.AppendU64(denc.AppendU64(b, h.Size), h.MaxUrgentSize), h.Urgent), at)
}

// Decode reads h.
func (h *Head) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_head", 1)
	h.MaxHeadSize = r.U64()
	h.Front.Decode(r)
	h.Tail.Decode(r)
	h.Size, h.MaxUrgentSize, h.Urgent = r.U64(), r.U64(), r.Bytes()
	r.Leave(s)
}

// Init is the argument of queue_init and 2pc_queue_init (cls_queue_init_op).
type Init struct {
	Size          uint64
	MaxUrgentSize uint64
	Urgent        []byte
}

// Append appends i.
func (i Init) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendU64(denc.AppendU64(b, i.Size), i.MaxUrgentSize), i.Urgent), at)
}

// Decode reads i.
func (i *Init) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_init_op", 1)
	i.Size, i.MaxUrgentSize, i.Urgent = r.U64(), r.U64(), r.Bytes()
	r.Leave(s)
}

// Enqueue is the argument of queue_enqueue (cls_queue_enqueue_op).
type Enqueue struct{ Data [][]byte }

// Append appends q.
func (q Enqueue) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, q.Data, denc.AppendBytes), at)
}

// Decode reads q.
func (q *Enqueue) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_enqueue_op", 1)
	q.Data = denc.Slice(r, 4, (*denc.Reader).Bytes)
	r.Leave(s)
}

// List is the argument of queue_list_entries and 2pc_queue_list_entries
// (cls_queue_list_op, version 2; version 1, which 16.2 and 18.2 read, has no
// End).
type List struct {
	Max        uint64
	Start, End string
}

// Append appends l.
func (l List) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendString(denc.AppendString(denc.AppendU64(b, l.Max), l.Start), l.End), at)
}

// Decode reads l.
func (l *List) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_list_op", 2)
	l.Max, l.Start, l.End = r.U64(), r.String(), ""
	if s.V >= 2 {
		l.End = r.String()
	}
	r.Leave(s)
}

// Entry is an entry (cls_queue_entry).
type Entry struct {
	Data   []byte
	Marker string
}

// Append appends e.
func (e Entry) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendBytes(b, e.Data), e.Marker), at)
}

// Decode reads e.
func (e *Entry) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_entry", 1)
	e.Data, e.Marker = r.Bytes(), r.String()
	r.Leave(s)
}

// Page is the result of a list (cls_queue_list_ret).
type Page struct {
	Truncated bool
	Next      string
	Entries   []Entry
}

// Append appends p.
func (p Page) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(denc.AppendBool(b, p.Truncated), p.Next)
	return denc.End(denc.AppendSlice(b, p.Entries, func(b []byte, e Entry) []byte { return e.Append(b) }), at)
}

// Decode reads p.
func (p *Page) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_list_ret", 1)
	p.Truncated, p.Next = r.Bool(), r.String()
	p.Entries = denc.Slice(r, 14, func(r *denc.Reader) (e Entry) { e.Decode(r); return e })
	r.Leave(s)
}

// Remove is the argument of queue_remove_entries (cls_queue_remove_op).
type Remove struct{ End string }

// Append appends m.
func (m Remove) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(b, m.End), at)
}

// Decode reads m.
func (m *Remove) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_remove_op", 1)
	m.End = r.String()
	r.Leave(s)
}

// Capacity is the result of queue_get_capacity and 2pc_queue_get_capacity
// (cls_queue_get_capacity_ret).
type Capacity struct{ Capacity uint64 }

// Append appends c.
func (c Capacity) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(b, c.Capacity), at)
}

// Decode reads c.
func (c *Capacity) Decode(r *denc.Reader) {
	s := r.Enter("cls_queue_get_capacity_ret", 1)
	c.Capacity = r.U64()
	r.Leave(s)
}

// Stats is the result of 2pc_queue_get_topic_stats (cls_queue_get_stats_ret).
type Stats struct {
	Size    uint64
	Entries uint32
}

// Append appends s.
func (s Stats) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(denc.AppendU64(b, s.Size), s.Entries), at)
}

// Decode reads s.
func (s *Stats) Decode(r *denc.Reader) {
	e := r.Enter("cls_queue_get_stats_ret", 1)
	s.Size, s.Entries = r.U64(), r.U32()
	r.Leave(e)
}
