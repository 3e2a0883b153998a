package wire

import (
	"encoding/binary"
	"errors"

	"github.com/rbdm/rbdm/msgr2/denc"
)

const (
	entryPreamble uint64 = 0x3141592653589793
	entryVersion  uint8  = 1
	entryHead            = 8 + 1 + 8 + 8 + 4
	// EntryOverhead is how many bytes an entry takes besides its data.
	EntryOverhead = entryHead + 4
)

var (
	// ErrEntryShort says that the bytes end within an entry.
	ErrEntryShort = errors.New("incomplete journal entry")
	// ErrEntryBad says that the bytes are no entry: the preamble, version or
	// checksum is wrong.
	ErrEntryBad = errors.New("not a journal entry")
)

// Entry is one entry of a journal's data object (journal::Entry): preamble,
// version, entry TID, tag TID, data and a CRC-32C (seed 0) of all that.
type Entry struct {
	TagTID   uint64
	EntryTID uint64 // counts from 0 for every tag
	Data     []byte // RBD: an EventEntry
}

// Append appends e.
func (e Entry) Append(b []byte) []byte {
	start := len(b)
	b = append(e.appendHead(b, len(e.Data)), e.Data...)
	return denc.AppendU32(b, denc.CRC32C(0, b[start:]))
}

func (e Entry) appendHead(b []byte, n int) []byte {
	b = denc.AppendU8(denc.AppendU64(b, entryPreamble), entryVersion)
	return denc.AppendU32(denc.AppendU64(denc.AppendU64(b, e.EntryTID), e.TagTID), uint32(n))
}

// AppendAround appends what stands around the data of e, which e itself lacks: n
// bytes that belong at index at of the result and whose CRC-32C (seed -1) is crc.
func (e Entry) AppendAround(b []byte, n int, crc uint32) (out []byte, at int) {
	start := len(b)
	b = e.appendHead(b, n)
	at = len(b)
	return denc.AppendU32(b, denc.CombineCRC32C(denc.CRC32C(0, b[start:]), crc, ^uint32(0), n)), at
}

// Decode reads e; Data aliases the Reader's bytes.
func (e *Entry) Decode(r *denc.Reader) {
	look := *r
	n, err := e.Scan(look.Rest())
	if err != nil {
		r.Fail(err)
	}
	r.Skip(n)
}

// Scan reads an entry at the beginning of p and returns its length: ErrEntryShort
// when more bytes may complete it, ErrEntryBad when none can. Data aliases p.
func (e *Entry) Scan(p []byte) (int, error) {
	if len(p) >= 9 && (binary.LittleEndian.Uint64(p) != entryPreamble || p[8] != entryVersion) {
		return 0, ErrEntryBad
	}
	if len(p) < entryHead {
		return 0, ErrEntryShort
	}
	n := uint64(binary.LittleEndian.Uint32(p[entryHead-4:]))
	if uint64(len(p)) < EntryOverhead+n {
		return 0, ErrEntryShort
	}
	end := entryHead + int(n)
	if denc.CRC32C(0, p[:end]) != binary.LittleEndian.Uint32(p[end:]) {
		return 0, ErrEntryBad
	}
	e.EntryTID, e.TagTID = binary.LittleEndian.Uint64(p[9:]), binary.LittleEndian.Uint64(p[17:])
	e.Data = p[entryHead:end:end]
	return end + 4, nil
}
