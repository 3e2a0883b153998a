package store

import (
	"errors"
	"iter"
)

// ErrOrder says that something is put behind what it does not belong behind.
var ErrOrder = errors.New("store: out of order or out of bounds")

// Run is a piece of Bytes as it is saved: the bytes themselves or, when P is
// nil, so many bytes that are the older state's at the same place.
type Run struct {
	Off, Same uint64
	P         []byte
}

// Runs yields the content of b, ascending, without holes. What b shares with
// older (which may be nil) in memory is not yielded as bytes. Buffers must not be
// changed.
func (b *Bytes) Runs(older *Bytes) iter.Seq[Run] {
	if older == nil {
		older = &Bytes{}
	}
	return func(yield func(Run) bool) {
		for _, e := range b.ext {
			for off := e.off; off < e.end(); {
				r := run(e, off, older)
				if !yield(r) {
					return
				}
				off += max(r.Same, uint64(len(r.P)))
			}
		}
	}
}

// run returns the longest run of e from off that is either all shared with older
// or all not.
func run(e extent, off uint64, older *Bytes) Run {
	i := older.find(off)
	p := e.p[off-e.off:]
	for ; i < len(older.ext) && older.ext[i].off < e.end(); i++ {
		o := older.ext[i]
		at := max(off, o.off)
		if &e.p[at-e.off] != &o.p[at-o.off] {
			continue
		}
		if at > off {
			return Run{Off: off, P: p[:at-off]}
		}
		return Run{Off: off, Same: min(e.end(), o.end()) - off}
	}
	return Run{Off: off, P: p}
}

// Put appends a run of which b has the place: within its size, and behind all
// that was put before. older is the state that Runs was given. It keeps r.P.
func (b *Bytes) Put(r Run, older *Bytes) error {
	n := max(r.Same, uint64(len(r.P)))
	var end uint64
	if k := len(b.ext); k > 0 {
		end = b.ext[k-1].end()
	}
	if n == 0 || r.Off < end || r.Off > b.size || n > b.size-r.Off || r.Same > 0 && len(r.P) > 0 {
		return ErrOrder
	}
	b.own()
	if r.P != nil {
		b.ext = append(b.ext, extent{off: r.Off, p: r.P[:len(r.P):len(r.P)]})
		return nil
	}
	if older == nil {
		return ErrOrder
	}
	for i := older.find(r.Off); n > 0; i++ {
		if i == len(older.ext) || older.ext[i].off > r.Off {
			return ErrOrder // it shares what is not there
		}
		o := older.ext[i]
		m := min(n, o.end()-r.Off)
		p := o.p[r.Off-o.off:][:m:m]
		b.ext = append(b.ext, extent{off: r.Off, p: p})
		r.Off += m
		n -= m
	}
	return nil
}

// Equal reports whether both maps hold the same.
func (o *Omap) Equal(p *Omap) bool {
	if len(o.keys) != len(p.keys) || string(o.Header) != string(p.Header) {
		return false
	}
	for i, k := range o.keys {
		if p.keys[i] != k || string(o.vals[k]) != string(p.vals[k]) {
			return false
		}
	}
	return true
}

// Put sets the value of a key that comes behind all others. It keeps v.
func (o *Omap) Put(key string, v []byte) error {
	if n := len(o.keys); n > 0 && o.keys[n-1] >= key {
		return ErrOrder
	}
	o.own()
	o.keys = append(o.keys, key)
	o.vals[key] = v
	return nil
}
