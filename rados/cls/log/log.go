// Package log holds the arguments and results of object class "log": entries by
// time in an object's omap (src/cls/log of Ceph 16.2 to 20.2).
package log

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Class is the object class's name; the others are its methods'.
const (
	Class      = "log"
	MethodAdd  = "add"
	MethodList = "list"
	MethodTrim = "trim"
	MethodInfo = "info"
)

// Prefix comes before the keys of all entries.
const Prefix = "1_"

// MaxEntries is how many entries a list gives at most.
const MaxEntries = 1000

// Key returns how the keys of entries of a time begin.
func Key(t denc.Time) string {
	return fmt.Sprintf("%s%010d.%06d_", Prefix, t.Sec, t.Nsec/1000)
}

// Entry is an entry (cls_log_entry, version 2; version 1 has no ID).
type Entry struct {
	ID, Section, Name string
	Time              denc.Time
	Data              []byte
}

// Append appends e.
func (e Entry) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendTime(denc.AppendString(denc.AppendString(b, e.Section), e.Name), e.Time)
	return denc.End(denc.AppendString(denc.AppendBytes(b, e.Data), e.ID), at)
}

// Decode reads e.
func (e *Entry) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_entry", 2)
	e.Section, e.Name, e.Time, e.Data, e.ID = r.String(), r.String(), r.Time(), r.Bytes(), ""
	if s.V >= 2 {
		e.ID = r.String()
	}
	r.Leave(s)
}

func readEntry(r *denc.Reader) (e Entry) { e.Decode(r); return e }

func appendEntry(b []byte, e Entry) []byte { return e.Append(b) }

// Add is the argument of add (cls_log_add_op, version 2; version 1 is
// monotonic). Monotonic gives an entry that is older than the newest the
// newest's time in its key.
type Add struct {
	Entries   []Entry
	Monotonic bool
}

// Append appends a.
func (a Add) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendBool(denc.AppendSlice(b, a.Entries, appendEntry), a.Monotonic), at)
}

// Decode reads a.
func (a *Add) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_add_op", 2)
	a.Entries, a.Monotonic = denc.Slice(r, 26, readEntry), true
	if s.V >= 2 {
		a.Monotonic = r.Bool()
	}
	r.Leave(s)
}

// List is the argument of list (cls_log_list_op). Marker, a key, counts before
// From; entries of To and later are not given.
type List struct {
	From   denc.Time
	Marker string
	To     denc.Time
	Max    int32
}

// Append appends l.
func (l List) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendTime(denc.AppendString(denc.AppendTime(b, l.From), l.Marker), l.To)
	return denc.End(denc.AppendS32(b, l.Max), at)
}

// Decode reads l.
func (l *List) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_list_op", 1)
	l.From, l.Marker, l.To, l.Max = r.Time(), r.String(), r.Time(), r.S32()
	r.Leave(s)
}

// Page is the result of list (cls_log_list_ret).
type Page struct {
	Entries   []Entry
	Marker    string
	Truncated bool
}

// Append appends p.
func (p Page) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(denc.AppendSlice(b, p.Entries, appendEntry), p.Marker)
	return denc.End(denc.AppendBool(b, p.Truncated), at)
}

// Decode reads p.
func (p *Page) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_list_ret", 1)
	p.Entries, p.Marker, p.Truncated = denc.Slice(r, 26, readEntry), r.String(), r.Bool()
	r.Leave(s)
}

// Trim is the argument of trim (cls_log_trim_op, version 2; version 1 has no
// markers). Markers, which are keys, count before times; To is trimmed as well.
type Trim struct {
	From, To             denc.Time
	FromMarker, ToMarker string
}

// Append appends t.
func (t Trim) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendTime(denc.AppendTime(b, t.From), t.To)
	return denc.End(denc.AppendString(denc.AppendString(b, t.FromMarker), t.ToMarker), at)
}

// Decode reads t.
func (t *Trim) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_trim_op", 2)
	*t = Trim{From: r.Time(), To: r.Time()}
	if s.V >= 2 {
		t.FromMarker, t.ToMarker = r.String(), r.String()
	}
	r.Leave(s)
}

// Info is the argument of info (cls_log_info_op): nothing.
type Info struct{}

// Append appends i.
func (i Info) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(b, at)
}

// Decode reads i.
func (i *Info) Decode(r *denc.Reader) { r.Leave(r.Enter("cls_log_info_op", 1)) }

// Header is the omap header of a log (cls_log_header).
type Header struct {
	MaxMarker string
	MaxTime   denc.Time
}

// Append appends h.
func (h Header) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(denc.AppendString(b, h.MaxMarker), h.MaxTime), at)
}

// Decode reads h.
func (h *Header) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_header", 1)
	h.MaxMarker, h.MaxTime = r.String(), r.Time()
	r.Leave(s)
}

// InfoResult is the result of info (cls_log_info_ret).
type InfoResult struct{ Header Header }

// Append appends i.
func (i InfoResult) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(i.Header.Append(b), at)
}

// Decode reads i.
func (i *InfoResult) Decode(r *denc.Reader) {
	s := r.Enter("cls_log_info_ret", 1)
	i.Header.Decode(r)
	r.Leave(s)
}
