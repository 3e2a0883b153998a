// Package timeindex holds the arguments and results of object class
// "timeindex": values by time in an object's omap (src/cls/timeindex of Ceph
// 16.2 to 20.2). All of them are version 1.
package timeindex

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/log"
)

// Class is the object class's name; the others are its methods'.
const (
	Class      = "timeindex"
	MethodAdd  = "add"
	MethodList = "list"
	MethodTrim = "trim"
)

// Prefix comes before all keys.
const Prefix = "1_"

// MaxEntries is how many entries a list gives, or a trim removes, at most.
const MaxEntries = 1000

// Key returns how the keys of a time begin.
func Key(t denc.Time) string {
	return fmt.Sprintf("%s%010d.%06d_", Prefix, t.Sec, t.Nsec/1000)
}

// Entry is an entry (cls_timeindex_entry): Ext is the rest of its key.
type Entry struct {
	Time  denc.Time
	Ext   string
	Value []byte
}

// Append appends e.
func (e Entry) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendString(denc.AppendTime(b, e.Time), e.Ext), e.Value), at)
}

// Decode reads e.
func (e *Entry) Decode(r *denc.Reader) {
	s := r.Enter("cls_timeindex_entry", 1)
	e.Time, e.Ext, e.Value = r.Time(), r.String(), r.Bytes()
	r.Leave(s)
}

func readEntry(r *denc.Reader) (e Entry) { e.Decode(r); return e }

func appendEntry(b []byte, e Entry) []byte { return e.Append(b) }

// Add is the argument of add (cls_timeindex_add_op).
type Add struct{ Entries []Entry }

// Append appends a.
func (a Add) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, a.Entries, appendEntry), at)
}

// Decode reads a.
func (a *Add) Decode(r *denc.Reader) {
	s := r.Enter("cls_timeindex_add_op", 1)
	a.Entries = denc.Slice(r, 22, readEntry)
	r.Leave(s)
}

// List is the argument of list (cls_timeindex_list_op), which has the bytes of
// class log's: Marker, a key, counts before From; entries of To and later are
// not given.
type List = log.List

// Page is the result of list (cls_timeindex_list_ret).
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
	s := r.Enter("cls_timeindex_list_ret", 1)
	p.Entries, p.Marker, p.Truncated = denc.Slice(r, 22, readEntry), r.String(), r.Bool()
	r.Leave(s)
}

// Trim is the argument of trim (cls_timeindex_trim_op). Markers, which are keys,
// count before times; To is trimmed as well.
type Trim struct {
	From, To             denc.Time
	FromMarker, ToMarker string
}

// Append appends t.
func (t Trim) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendTime(denc.AppendTime(b, t.From), t.To)
	return denc.End(denc.AppendString(denc.AppendString(b, t.FromMarker), t.ToMarker), at)
}

// Decode reads t.
func (t *Trim) Decode(r *denc.Reader) {
	s := r.Enter("cls_timeindex_trim_op", 1)
	*t = Trim{From: r.Time(), To: r.Time(), FromMarker: r.String(), ToMarker: r.String()}
	r.Leave(s)
}
