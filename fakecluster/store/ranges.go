package store

import (
	"slices"
	"sort"
)

// Ranges is a set of bytes as ascending ranges that neither overlap nor touch.
type Ranges []Range

// Add returns s with the range added.
func (s Ranges) Add(off, n uint64) Ranges {
	if n == 0 {
		return s
	}
	end := off + n
	i := sort.Search(len(s), func(i int) bool { return s[i].End() >= off })
	j := i
	for ; j < len(s) && s[j].Off <= end; j++ {
		off, end = min(off, s[j].Off), max(end, s[j].End())
	}
	return slices.Replace(slices.Clone(s), i, j, Range{off, end - off})
}

// Subtract returns the bytes of s that are not in o.
func (s Ranges) Subtract(o Ranges) Ranges {
	var out Ranges
	k := 0
	for _, r := range s {
		for k < len(o) && o[k].End() <= r.Off {
			k++
		}
		off := r.Off
		for i := k; i < len(o) && o[i].Off < r.End(); i++ {
			if o[i].Off > off {
				out = append(out, Range{off, o[i].Off - off})
			}
			off = max(off, o[i].End())
		}
		if off < r.End() {
			out = append(out, Range{off, r.End() - off})
		}
	}
	return out
}

// Intersect returns the bytes that are in both.
func (s Ranges) Intersect(o Ranges) Ranges {
	var out Ranges
	for i, j := 0, 0; i < len(s) && j < len(o); {
		off, end := max(s[i].Off, o[j].Off), min(s[i].End(), o[j].End())
		if off < end {
			out = append(out, Range{off, end - off})
		}
		if s[i].End() < o[j].End() {
			i++
		} else {
			j++
		}
	}
	return out
}
