package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal/wire"
)

// preamble is how every entry begins.
var preamble = wire.Entry{}.Append(nil)[:9]

// entryHead is what of an entry comes before its data.
const entryHead = wire.EntryOverhead - 4

// segment is what the bytes of a data object were found to be.
type segment struct {
	entries []wire.Entry
	// used is how many bytes need not be read again: whole entries and padding.
	used int
	// need is how many bytes from used on an entry takes of which only the
	// beginning is there; 0 when there is none.
	need int
}

// parse splits what was read of a data object at offset off into entries. Zeros
// are padding. It fails with ErrCorrupt, together with the entries before, at
// what is neither an entry nor the beginning of one.
func (l Layout) parse(p []byte, off uint64) (seg segment, err error) {
	for seg.used < len(p) {
		rest := p[seg.used:]
		if rest[0] == 0 {
			seg.used += zeros(rest)
			continue
		}
		var e wire.Entry
		n, err := e.Scan(rest)
		switch {
		case err == nil && len(e.Data) <= l.MaxPayload():
			seg.entries = append(seg.entries, e)
			seg.used += n
			continue
		case errors.Is(err, wire.ErrEntryShort) && l.mayBegin(rest):
			seg.need = wire.EntryOverhead
			if len(rest) >= entryHead {
				seg.need += int(binary.LittleEndian.Uint32(rest[entryHead-4:]))
			}
			return seg, nil
		}
		return seg, fmt.Errorf("%w: no entry at offset %d", ErrCorrupt, off+uint64(seg.used))
	}
	return seg, nil
}

// zeros returns how many zero bytes p begins with.
func zeros(p []byte) int {
	for i, c := range p {
		if c != 0 {
			return i
		}
	}
	return len(p)
}

// mayBegin reports whether p, which is too short for an entry, can be the
// beginning of one.
func (l Layout) mayBegin(p []byte) bool {
	if n := min(len(p), len(preamble)); !bytes.Equal(p[:n], preamble[:n]) {
		return false
	}
	return len(p) < entryHead || int64(binary.LittleEndian.Uint32(p[entryHead-4:])) <= int64(l.MaxPayload())
}

// maxHidden bounds how many preambles hidden follows up: an entry that was cut off
// holds hardly one, by chance.
const maxHidden = 256

// hidden reports whether there is a whole entry somewhere in p, the bytes of an
// entry that is cut off: then it was not cut off, but damaged.
func (l Layout) hidden(p []byte) bool {
	for range maxHidden {
		i := bytes.Index(p[min(1, len(p)):], preamble)
		if i < 0 {
			return false
		}
		p = p[1+i:]
		var e wire.Entry
		if _, err := e.Scan(p); err == nil {
			return true
		}
	}
	return true
}
