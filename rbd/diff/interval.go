package diff

import "slices"

// Range is bytes [Off, Off+Len) of an object.
type Range struct{ Off, Len uint64 }

// End returns the first byte after the range.
func (r Range) End() uint64 { return r.Off + r.Len }

// Set is a set of bytes: sorted ranges that neither touch nor overlap. The nil
// Set is empty. Its methods do not change it but return a new one, which may
// share memory with it.
type Set []Range

// Of returns the set of the given ranges, which may be in any order and overlap.
func Of(rs ...Range) Set {
	s := make([]Range, 0, len(rs))
	for _, r := range rs {
		if r.Len > 0 {
			s = append(s, r)
		}
	}
	slices.SortFunc(s, func(a, b Range) int {
		switch {
		case a.Off < b.Off:
			return -1
		case a.Off > b.Off:
			return 1
		}
		return 0
	})
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && r.Off <= out[n-1].End() {
			if r.End() > out[n-1].End() {
				out[n-1].Len = r.End() - out[n-1].Off
			}
			continue
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Upto returns the set of bytes [0, n).
func Upto(n uint64) Set {
	if n == 0 {
		return nil
	}
	return Set{{0, n}}
}

// Union returns the bytes in s or t.
func (s Set) Union(t Set) Set {
	switch {
	case len(s) == 0:
		return t
	case len(t) == 0:
		return s
	}
	return Of(slices.Concat(s, t)...)
}

// Intersect returns the bytes in both s and t.
func (s Set) Intersect(t Set) Set {
	var out Set
	for i, j := 0, 0; i < len(s) && j < len(t); {
		lo, hi := max(s[i].Off, t[j].Off), min(s[i].End(), t[j].End())
		if lo < hi {
			out = append(out, Range{lo, hi - lo})
		}
		if s[i].End() < t[j].End() {
			i++
		} else {
			j++
		}
	}
	return out
}

// Minus returns the bytes in s but not in t.
func (s Set) Minus(t Set) Set {
	var out Set
	j := 0
	for _, r := range s {
		at := r.Off
		for j < len(t) && t[j].End() <= at {
			j++
		}
		for k := j; k < len(t) && t[k].Off < r.End(); k++ {
			if t[k].Off > at {
				out = append(out, Range{at, t[k].Off - at})
			}
			at = max(at, t[k].End())
		}
		if at < r.End() {
			out = append(out, Range{at, r.End() - at})
		}
	}
	return out
}

// Bytes returns how many bytes the set holds.
func (s Set) Bytes() (n uint64) {
	for _, r := range s {
		n += r.Len
	}
	return n
}

// Contains reports whether all bytes of t are in s.
func (s Set) Contains(t Set) bool { return len(t.Minus(s)) == 0 }
