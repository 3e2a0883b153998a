// Package otp holds the arguments and results of object class "otp": one-time
// passwords by time whose seeds an object keeps in its omap (src/cls/otp of
// Ceph 16.2 to 20.2). All of them are version 1.
package otp

import "github.com/rbdm/rbdm/msgr2/denc"

// Class is the object class's name; the others are its methods'.
const (
	Class        = "otp"
	MethodSet    = "otp_set"
	MethodGet    = "otp_get"
	MethodCheck  = "otp_check"
	MethodResult = "otp_get_result"
	MethodRemove = "otp_remove"
	MethodTime   = "get_current_time"
	KeyHeader    = "header"
	KeyPrefix    = "otp/"
	MaxTries     = 5 // within one step
	TypeTOTP     = 2
	SeedHex      = 1
	SeedBase32   = 2
	CheckUnknown = 0
	CheckSuccess = 1
	CheckFail    = 2
)

// Info is one seed (otp_info_t).
type Info struct {
	Type     uint8
	ID, Seed string
	SeedType uint8  // SeedBase32, else hexadecimal
	Bin      []byte // the seed's bytes; the OSD makes them
	Offset   int32  // seconds
	Step     uint32 // seconds
	Window   uint32 // steps before and after that are right as well
}

// Append appends i.
func (i Info) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(denc.AppendString(denc.AppendU8(b, i.Type), i.ID), i.Seed)
	b = denc.AppendBytes(denc.AppendU8(b, i.SeedType), i.Bin)
	return denc.End(denc.AppendU32(denc.AppendU32(denc.AppendS32(b, i.Offset), i.Step), i.Window), at)
}

// Decode reads i.
func (i *Info) Decode(r *denc.Reader) {
	s := r.Enter("otp_info_t", 1)
	i.Type, i.ID, i.Seed, i.SeedType, i.Bin = r.U8(), r.String(), r.String(), r.U8(), r.Bytes()
	i.Offset, i.Step, i.Window = r.S32(), r.U32(), r.U32()
	r.Leave(s)
}

func readInfo(r *denc.Reader) (i Info) { i.Decode(r); return i }

func appendInfo(b []byte, i Info) []byte { return i.Append(b) }

// Set is the argument of otp_set (cls_otp_set_otp_op) and the result of otp_get
// (cls_otp_get_otp_reply).
type Set struct{ Entries []Info }

// Append appends s.
func (s Set) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, s.Entries, appendInfo), at)
}

// Decode reads s.
func (s *Set) Decode(r *denc.Reader) {
	e := r.Enter("cls_otp_set_otp_op", 1)
	s.Entries = denc.Slice(r, 32, readInfo)
	r.Leave(e)
}

// Try is the argument of otp_check and otp_get_result (cls_otp_check_otp_op):
// what was entered, and a token by which to find the result.
type Try struct{ ID, Value, Token string }

// Append appends t.
func (t Try) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendString(denc.AppendString(b, t.ID), t.Value), t.Token), at)
}

// Decode reads t.
func (t *Try) Decode(r *denc.Reader) {
	s := r.Enter("cls_otp_check_otp_op", 1)
	t.ID, t.Value, t.Token = r.String(), r.String(), r.String()
	r.Leave(s)
}

// Check is what came of a Try (otp_check_t).
type Check struct {
	Token  string
	Time   denc.Time
	Result uint8
}

// Append appends c.
func (c Check) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU8(denc.AppendTime(denc.AppendString(b, c.Token), c.Time), c.Result), at)
}

// Decode reads c.
func (c *Check) Decode(r *denc.Reader) {
	s := r.Enter("otp_check_t", 1)
	c.Token, c.Time, c.Result = r.String(), r.Time(), r.U8()
	r.Leave(s)
}

// Result is the result of otp_get_result (cls_otp_get_result_reply).
type Result struct{ Check Check }

// Append appends u.
func (u Result) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(u.Check.Append(b), at)
}

// Decode reads u.
func (u *Result) Decode(r *denc.Reader) {
	s := r.Enter("cls_otp_get_result_reply", 1)
	u.Check.Decode(r)
	r.Leave(s)
}

// Remove is the argument of otp_remove (cls_otp_remove_otp_op), and as KeyHeader
// has it the set of all ids.
type Remove struct{ IDs []string }

// Append appends m.
func (m Remove) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, m.IDs, denc.AppendString), at)
}

// Decode reads m.
func (m *Remove) Decode(r *denc.Reader) {
	s := r.Enter("cls_otp_remove_otp_op", 1)
	m.IDs = denc.Slice(r, 4, (*denc.Reader).String)
	r.Leave(s)
}

// Get is the argument of otp_get (cls_otp_get_otp_op).
type Get struct {
	All bool
	IDs []string
}

// Append appends g.
func (g Get) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(denc.AppendBool(b, g.All), g.IDs, denc.AppendString), at)
}

// Decode reads g.
func (g *Get) Decode(r *denc.Reader) {
	s := r.Enter("cls_otp_get_otp_op", 1)
	g.All, g.IDs = r.Bool(), denc.Slice(r, 4, (*denc.Reader).String)
	r.Leave(s)
}

// GetTime is the argument of get_current_time (cls_otp_get_current_time_op):
// nothing.
type GetTime struct{}

// Append appends g.
func (g GetTime) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(b, at)
}

// Decode reads g.
func (g *GetTime) Decode(r *denc.Reader) { r.Leave(r.Enter("cls_otp_get_current_time_op", 1)) }

// Time is the result of get_current_time (cls_otp_get_current_time_reply).
type Time struct{ Time denc.Time }

// Append appends t.
func (t Time) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(b, t.Time), at)
}

// Decode reads t.
func (t *Time) Decode(r *denc.Reader) {
	s := r.Enter("cls_otp_get_current_time_reply", 1)
	t.Time = r.Time()
	r.Leave(s)
}

// Instance is a seed with the tries at it, as the omap has it (otp_instance).
type Instance struct {
	Info   Info
	Checks []Check
	// Last is the step of the last success.
	Last uint64
}

// Append appends i.
func (i Instance) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(i.Info.Append(b), i.Checks, func(b []byte, c Check) []byte { return c.Append(b) })
	return denc.End(denc.AppendU64(b, i.Last), at)
}

// Decode reads i.
func (i *Instance) Decode(r *denc.Reader) {
	s := r.Enter("otp_instance", 1)
	i.Info.Decode(r)
	i.Checks = denc.Slice(r, 19, func(r *denc.Reader) (c Check) { c.Decode(r); return c })
	i.Last = r.U64()
	r.Leave(s)
}
