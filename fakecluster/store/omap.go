package store

import (
	"iter"
	"maps"
	"slices"
)

// Omap is an ordered map of byte values. The zero Omap is empty. Values handed
// in are kept and must not change afterwards.
type Omap struct {
	Header []byte

	keys   []string // ascending
	vals   map[string][]byte
	shared bool // keys and vals belong to somebody else, too
}

// Len returns the number of keys.
func (o *Omap) Len() int { return len(o.keys) }

// Clone returns a copy that shares all memory until one of both is changed.
func (o *Omap) Clone() Omap {
	o.shared = true
	return *o
}

func (o *Omap) own() {
	if o.shared {
		o.keys, o.vals, o.shared = slices.Clone(o.keys), maps.Clone(o.vals), false
	}
	if o.vals == nil {
		o.vals = map[string][]byte{}
	}
}

// Get returns the value of key.
func (o *Omap) Get(key string) ([]byte, bool) {
	v, ok := o.vals[key]
	return v, ok
}

// Set stores a value.
func (o *Omap) Set(key string, v []byte) {
	o.own()
	if _, ok := o.vals[key]; !ok {
		i, _ := slices.BinarySearch(o.keys, key)
		o.keys = slices.Insert(o.keys, i, key)
	}
	o.vals[key] = v
}

// Remove forgets a key.
func (o *Omap) Remove(key string) {
	if _, ok := o.vals[key]; !ok {
		return
	}
	o.own()
	i, _ := slices.BinarySearch(o.keys, key)
	o.keys = slices.Delete(o.keys, i, i+1)
	delete(o.vals, key)
}

// RemoveRange forgets the keys from first up to but without end.
func (o *Omap) RemoveRange(first, end string) {
	i, _ := slices.BinarySearch(o.keys, first)
	j, _ := slices.BinarySearch(o.keys, end)
	if i >= j {
		return
	}
	o.own()
	for _, k := range o.keys[i:j] {
		delete(o.vals, k)
	}
	o.keys = slices.Delete(o.keys, i, j)
}

// Clear forgets all keys and the header.
func (o *Omap) Clear() { *o = Omap{} }

// From yields the pairs whose key is not below first, ascending. The map must
// not change meanwhile.
func (o *Omap) From(first string) iter.Seq2[string, []byte] {
	i, _ := slices.BinarySearch(o.keys, first)
	return func(yield func(string, []byte) bool) {
		for _, k := range o.keys[i:] {
			if !yield(k, o.vals[k]) {
				return
			}
		}
	}
}

// After yields the pairs whose key is above after, ascending: never the key "", which is
// above none.
func (o *Omap) After(after string) iter.Seq2[string, []byte] {
	return o.From(after + "\x00")
}
