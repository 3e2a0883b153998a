// Package semset holds the arguments and results of object class "sem_set":
// counters by name in an object's omap that go when they reach zero
// (src/cls/sem_set of Ceph 20.2; older releases do not have it). All of them are
// version 1.
package semset

import (
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Class is the object class's name; the others are its methods'.
const (
	Class           = "sem_set"
	MethodIncrement = "increment"
	MethodDecrement = "decrement"
	MethodReset     = "reset"
	MethodList      = "list"
)

// Prefix comes before the names in the omap.
const Prefix = "CLS_SEM_SET_"

// MaxKeys is how many names one call may have.
const MaxKeys = 1000

// Increment is the argument of increment.
type Increment struct{ Keys []string }

// Append appends i; the keys must be in order.
func (i Increment) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, i.Keys, denc.AppendString), at)
}

// Decode reads i.
func (i *Increment) Decode(r *denc.Reader) {
	s := r.Enter("sem_set::increment", 1)
	i.Keys = denc.Slice(r, 4, (*denc.Reader).String)
	r.Leave(s)
}

// Decrement is the argument of decrement. A counter that was decremented less
// than Grace ago is left alone.
type Decrement struct {
	Keys  []string
	Grace time.Duration
}

// Append appends d; the keys must be in order.
func (d Decrement) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(b, d.Keys, denc.AppendString)
	return denc.End(denc.AppendU32(denc.AppendU32(b, uint32(d.Grace/time.Second)), uint32(d.Grace%time.Second)), at)
}

// Decode reads d.
func (d *Decrement) Decode(r *denc.Reader) {
	s := r.Enter("sem_set::decrement", 1)
	d.Keys = denc.Slice(r, 4, (*denc.Reader).String)
	d.Grace = time.Duration(r.S32())*time.Second + time.Duration(r.S32())
	r.Leave(s)
}

// Reset is the argument of reset.
type Reset struct{ Keys map[string]uint64 }

// Append appends s.
func (s Reset) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendMap(b, s.Keys, denc.AppendString, denc.AppendU64), at)
}

// Decode reads s.
func (s *Reset) Decode(r *denc.Reader) {
	e := r.Enter("sem_set::reset", 1)
	s.Keys = denc.Map(r, 12, (*denc.Reader).String, (*denc.Reader).U64)
	r.Leave(e)
}

// List is the argument of list: up to Count counters after the name Cursor.
type List struct {
	Count  uint64
	Cursor string
}

// Append appends l.
func (l List) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendU64(b, l.Count), l.Cursor), at)
}

// Decode reads l.
func (l *List) Decode(r *denc.Reader) {
	s := r.Enter("sem_set::list_op", 1)
	l.Count, l.Cursor = r.U64(), r.String()
	r.Leave(s)
}

// Page is the result of list. Cursor is empty when there are no more.
type Page struct {
	Values map[string]uint64
	Cursor string
}

// Append appends p.
func (p Page) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendMap(b, p.Values, denc.AppendString, denc.AppendU64), p.Cursor), at)
}

// Decode reads p.
func (p *Page) Decode(r *denc.Reader) {
	s := r.Enter("sem_set::list_ret", 1)
	p.Values, p.Cursor = denc.Map(r, 12, (*denc.Reader).String, (*denc.Reader).U64), r.String()
	r.Leave(s)
}

// Value is a counter as the omap has it.
type Value struct {
	Value uint64
	// Decremented is when it was decremented last.
	Decremented denc.Time
}

// Append appends v.
func (v Value) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(denc.AppendU64(b, v.Value), v.Decremented), at)
}

// Decode reads v.
func (v *Value) Decode(r *denc.Reader) {
	s := r.Enter("sem_set::sem_val", 1)
	v.Value, v.Decremented = r.U64(), r.Time()
	r.Leave(s)
}
