// Package user holds the arguments and results of object class "user": the
// buckets of a user of the object gateway with their sizes, and from 20.2 on
// what belongs to an account, in an object's omap (src/cls/user of Ceph 16.2 to
// 20.2).
package user

import (
	"strconv"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Class is the object class's name; the others are its methods'.
const (
	Class               = "user"
	MethodSetBuckets    = "set_buckets_info"
	MethodCompleteSync  = "complete_stats_sync"
	MethodRemoveBucket  = "remove_bucket"
	MethodListBuckets   = "list_buckets"
	MethodGetHeader     = "get_header"
	MethodResetStats    = "reset_user_stats"
	MethodResetStats2   = "reset_user_stats2"
	MethodAccountAdd    = "account_resource_add"
	MethodAccountGet    = "account_resource_get"
	MethodAccountRemove = "account_resource_rm"
	MethodAccountList   = "account_resource_list"
	MaxEntries          = 1000
	minEntry            = 60
	minResource         = 18
)

// Bucket is a bucket (cls_user_bucket).
type Bucket struct {
	Name, Marker, ID string
	// Placement is where newer gateways say the data are; if it is empty the
	// pools do.
	Placement                      string
	DataPool, IndexPool, ExtraPool string
}

// Append appends k: version 9 with a placement, else version 7, which older
// gateways read.
func (k Bucket) Append(b []byte) []byte {
	if k.Placement != "" {
		b, at := denc.Begin(b, 9, 8)
		b = denc.AppendString(denc.AppendString(b, k.Name), k.Marker)
		return denc.End(denc.AppendString(denc.AppendString(b, k.ID), k.Placement), at)
	}
	b, at := denc.Begin(b, 7, 3)
	b = denc.AppendString(denc.AppendString(b, k.Name), k.DataPool)
	b = denc.AppendString(denc.AppendString(b, k.Marker), k.ID)
	return denc.End(denc.AppendString(denc.AppendString(b, k.IndexPool), k.ExtraPool), at)
}

// Decode reads version 3 and later of k.
func (k *Bucket) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_bucket", 8)
	*k = Bucket{Name: r.String()}
	if s.V < 3 && r.Err() == nil {
		r.Failf("cls_user_bucket version %d", s.V)
	}
	if s.V < 8 {
		k.DataPool = r.String()
	}
	k.Marker = r.String()
	if s.V <= 3 {
		k.ID = strconv.FormatUint(r.U64(), 10)
	} else {
		k.ID = r.String()
	}
	switch {
	case s.V >= 8:
		k.Placement = r.String()
		if s.V == 8 && k.Placement == "" {
			k.DataPool, k.IndexPool, k.ExtraPool = r.String(), r.String(), r.String()
		}
	case s.V >= 5:
		k.IndexPool = r.String()
	default:
		k.IndexPool = k.DataPool
	}
	if s.V == 7 {
		k.ExtraPool = r.String()
	}
	r.Leave(s)
}

// Entry is a bucket with its size (cls_user_bucket_entry, version 9).
type Entry struct {
	Bucket        Bucket
	Size, Rounded uint64 // bytes; rounded up to blocks
	Created       denc.Time
	Count         uint64
	// Synced says that the header's sums have this bucket.
	Synced bool
}

// Append appends e.
func (e Entry) Append(b []byte) []byte {
	b, at := denc.Begin(b, 9, 5)
	b = denc.AppendU32(denc.AppendU64(denc.AppendString(b, ""), e.Size), e.Created.Sec)
	b = e.Bucket.Append(denc.AppendU64(b, e.Count))
	return denc.End(denc.AppendTime(denc.AppendBool(denc.AppendU64(b, e.Rounded), e.Synced), e.Created), at)
}

// Decode reads version 5 and later of e.
func (e *Entry) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_bucket_entry", 9)
	if s.V < 5 && r.Err() == nil {
		r.Failf("cls_user_bucket_entry version %d", s.V)
	}
	_ = r.String()
	*e = Entry{Size: r.U64(), Created: denc.Time{Sec: r.U32()}, Count: r.U64()}
	e.Bucket.Decode(r)
	e.Rounded = r.U64()
	if s.V >= 6 {
		e.Synced = r.Bool()
	}
	if s.V >= 7 {
		e.Created = r.Time()
	}
	if s.V == 8 {
		_ = r.String()
	}
	r.Leave(s)
}

func readEntry(r *denc.Reader) (e Entry) { e.Decode(r); return e }

func appendEntry(b []byte, e Entry) []byte { return e.Append(b) }

// Stats are sums over all buckets (cls_user_stats).
type Stats struct{ Entries, Bytes, Rounded uint64 }

// Append appends s.
func (s Stats) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(denc.AppendU64(denc.AppendU64(b, s.Entries), s.Bytes), s.Rounded), at)
}

// Decode reads s.
func (s *Stats) Decode(r *denc.Reader) {
	e := r.Enter("cls_user_stats", 1)
	s.Entries, s.Bytes, s.Rounded = r.U64(), r.U64(), r.U64()
	r.Leave(e)
}

// Header is the omap header of a user's buckets (cls_user_header).
type Header struct {
	Stats        Stats
	Sync, Update denc.Time
}

// Append appends h.
func (h Header) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(denc.AppendTime(h.Stats.Append(b), h.Sync), h.Update), at)
}

// Decode reads h.
func (h *Header) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_header", 1)
	h.Stats.Decode(r)
	h.Sync, h.Update = r.Time(), r.Time()
	r.Leave(s)
}

// SetBuckets is the argument of set_buckets_info (cls_user_set_buckets_op).
// Without Add, buckets that are not there are passed over.
type SetBuckets struct {
	Entries []Entry
	Add     bool
	Time    denc.Time
}

// Append appends s.
func (s SetBuckets) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(denc.AppendBool(denc.AppendSlice(b, s.Entries, appendEntry), s.Add), s.Time), at)
}

// Decode reads s.
func (s *SetBuckets) Decode(r *denc.Reader) {
	e := r.Enter("cls_user_set_buckets_op", 1)
	s.Entries, s.Add, s.Time = denc.Slice(r, minEntry, readEntry), r.Bool(), r.Time()
	r.Leave(e)
}

// RemoveBucket is the argument of remove_bucket (cls_user_remove_bucket_op).
type RemoveBucket struct{ Bucket Bucket }

// Append appends m.
func (m RemoveBucket) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(m.Bucket.Append(b), at)
}

// Decode reads m.
func (m *RemoveBucket) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_remove_bucket_op", 1)
	m.Bucket.Decode(r)
	r.Leave(s)
}

// ListBuckets is the argument of list_buckets (cls_user_list_buckets_op, version
// 2; version 1 has no End).
type ListBuckets struct {
	Marker, End string
	Max         int32
}

// Append appends l.
func (l ListBuckets) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendString(denc.AppendS32(denc.AppendString(b, l.Marker), l.Max), l.End), at)
}

// Decode reads l.
func (l *ListBuckets) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_list_buckets_op", 2)
	l.Marker, l.Max, l.End = r.String(), r.S32(), ""
	if s.V >= 2 {
		l.End = r.String()
	}
	r.Leave(s)
}

// Buckets is the result of list_buckets (cls_user_list_buckets_ret).
type Buckets struct {
	Entries   []Entry
	Marker    string
	Truncated bool
}

// Append appends u.
func (u Buckets) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(denc.AppendSlice(b, u.Entries, appendEntry), u.Marker)
	return denc.End(denc.AppendBool(b, u.Truncated), at)
}

// Decode reads u.
func (u *Buckets) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_list_buckets_ret", 1)
	u.Entries, u.Marker, u.Truncated = denc.Slice(r, minEntry, readEntry), r.String(), r.Bool()
	r.Leave(s)
}

// GetHeader is the argument of get_header (cls_user_get_header_op): nothing.
type GetHeader struct{}

// Append appends g.
func (g GetHeader) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(b, at)
}

// Decode reads g.
func (g *GetHeader) Decode(r *denc.Reader) { r.Leave(r.Enter("cls_user_get_header_op", 1)) }

// HeaderResult is the result of get_header (cls_user_get_header_ret).
type HeaderResult struct{ Header Header }

// Append appends h.
func (h HeaderResult) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(h.Header.Append(b), at)
}

// Decode reads h.
func (h *HeaderResult) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_get_header_ret", 1)
	h.Header.Decode(r)
	r.Leave(s)
}

// At is the argument of complete_stats_sync and reset_user_stats
// (cls_user_complete_stats_sync_op, cls_user_reset_stats_op).
type At struct{ Time denc.Time }

// Append appends a.
func (a At) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(b, a.Time), at)
}

// Decode reads a.
func (a *At) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_complete_stats_sync_op", 1)
	a.Time = r.Time()
	r.Leave(s)
}

// Reset is the argument of reset_user_stats2 (cls_user_reset_stats2_op).
type Reset struct {
	Time   denc.Time
	Marker string
	Stats  Stats
}

// Append appends t.
func (t Reset) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(t.Stats.Append(denc.AppendString(denc.AppendTime(b, t.Time), t.Marker)), at)
}

// Decode reads t.
func (t *Reset) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_reset_stats2_op", 1)
	t.Time, t.Marker = r.Time(), r.String()
	t.Stats.Decode(r)
	r.Leave(s)
}

// ResetResult is the result of reset_user_stats2 (cls_user_reset_stats2_ret).
type ResetResult struct {
	Marker    string
	Stats     Stats
	Truncated bool
}

// Append appends t.
func (t ResetResult) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBool(t.Stats.Append(denc.AppendString(b, t.Marker)), t.Truncated), at)
}

// Decode reads t.
func (t *ResetResult) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_reset_stats2_ret", 1)
	t.Marker = r.String()
	t.Stats.Decode(r)
	t.Truncated = r.Bool()
	r.Leave(s)
}
