package osdmap

import (
	"cmp"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Interval is the snapshot ids Start to Start+Len-1.
type Interval struct{ Start, Len uint64 }

// IntervalSet is interval_set<snapid_t>: intervals that neither overlap nor
// touch, ascending.
type IntervalSet []Interval

// Contains reports whether id is in one of the intervals.
func (s IntervalSet) Contains(id uint64) bool {
	i, ok := slices.BinarySearchFunc(s, id, func(v Interval, id uint64) int { return cmp.Compare(v.Start, id) })
	return ok || i > 0 && id-s[i-1].Start < s[i-1].Len
}

// Union returns the ids of both sets. It changes neither.
func (s IntervalSet) Union(o IntervalSet) IntervalSet {
	all := append(slices.Clone(s), o...)
	slices.SortFunc(all, func(a, b Interval) int { return cmp.Compare(a.Start, b.Start) })
	out := all[:0]
	for _, v := range all {
		if n := len(out); n > 0 && v.Start <= out[n-1].Start+out[n-1].Len {
			if end := v.Start + v.Len; end > out[n-1].Start+out[n-1].Len {
				out[n-1].Len = end - out[n-1].Start
			}
			continue
		}
		out = append(out, v)
	}
	return out
}

// Subtract returns the ids of s that are not in o. It changes neither.
func (s IntervalSet) Subtract(o IntervalSet) IntervalSet {
	var out IntervalSet
	for _, v := range s {
		start, end := v.Start, v.Start+v.Len
		for _, w := range o {
			if w.Start+w.Len <= start || w.Start >= end {
				continue
			}
			if w.Start > start {
				out = append(out, Interval{start, w.Start - start})
			}
			start = min(end, w.Start+w.Len)
		}
		if start < end {
			out = append(out, Interval{start, end - start})
		}
	}
	return out
}

// Append appends u32 count and u64 start, u64 length of each.
func (s IntervalSet) Append(b []byte) []byte {
	return denc.AppendSlice(b, s, func(b []byte, v Interval) []byte {
		return denc.AppendU64(denc.AppendU64(b, v.Start), v.Len)
	})
}

// Decode reads what Append wrote.
func (s *IntervalSet) Decode(r *denc.Reader) { *s = readIntervals(r) }

func readIntervals(r *denc.Reader) IntervalSet {
	var last uint64
	return denc.Slice(r, 16, func(r *denc.Reader) Interval {
		v := Interval{r.U64(), r.U64()}
		if r.Err() == nil && (v.Start < last || v.Start+v.Len < v.Start) {
			r.Failf("interval %d~%d out of order", v.Start, v.Len)
		}
		last = v.Start + v.Len
		return v
	})
}

func appendIntervals(b []byte, s IntervalSet) []byte { return s.Append(b) }
