package rados

import (
	"fmt"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Result is the part that all results share.
type Result struct{ err error }

// Err returns the operation's own error: an Errno, or what was wrong with its
// output. A vector fails as a whole unless the operation was marked by FailOK.
func (r *Result) Err() error { return r.err }

func (r *Result) fail(err error) { r.err = err }

// decode runs f over the output when the operation succeeded.
func (r *Result) decode(what string, rval int32, data msgr2.Data, f func(*denc.Reader)) {
	if r.err = errno.FromResult(rval); r.err != nil {
		return
	}
	rd := denc.NewReader(data.Bytes())
	f(rd)
	if err := rd.Err(); err != nil {
		r.err = fmt.Errorf("output of %s: %w", what, err)
	}
}

// Bytes is an operation's raw output.
type Bytes struct {
	Result
	data msgr2.Data
	rval int32
}

// Data returns the output; it aliases the receive buffer.
func (b *Bytes) Data() msgr2.Data { return b.data }

// Bytes returns the output in one piece; it aliases the receive buffer when it
// came in one piece.
func (b *Bytes) Bytes() []byte { return b.data.Bytes() }

// Return returns the operation's return code, which some class methods use for
// a value of their own when it is not negative.
func (b *Bytes) Return() int32 { return b.rval }

func (b *Bytes) complete(rval int32, data msgr2.Data) {
	b.err, b.data, b.rval = errno.FromResult(rval), data, rval
}

// Extent is a range of bytes.
type Extent struct{ Off, Len uint64 }

// Sparse is the output of SparseRead.
type Sparse struct {
	Result
	// Extents lists the ranges that hold data, ascending, with offsets of the
	// object.
	Extents []Extent
	data    msgr2.Data
}

// Data returns the bytes of all extents, back to back; it aliases the receive
// buffer.
func (s *Sparse) Data() msgr2.Data { return s.data }

func (s *Sparse) complete(rval int32, data msgr2.Data) {
	if s.err = errno.FromResult(rval); s.err != nil {
		return
	}
	var out wire.SparseReadOutput
	if err := out.Split(data); err != nil {
		s.err = fmt.Errorf("output of sparse-read: %w", err)
		return
	}
	s.data = out.Data
	s.Extents = make([]Extent, len(out.Extents))
	for i, e := range out.Extents {
		s.Extents[i] = Extent(e)
	}
}

// StatResult is the output of Stat.
type StatResult struct {
	Result
	Size    uint64 // bytes
	ModTime time.Time
}

func (s *StatResult) complete(rval int32, data msgr2.Data) {
	s.decode("stat", rval, data, func(r *denc.Reader) {
		var out wire.StatOutput
		out.Decode(r)
		s.Size, s.ModTime = out.Size, out.ModTime.Std()
	})
}

// Map is an output of names and values.
type Map struct {
	Result
	Values map[string][]byte
}

func (m *Map) complete(rval int32, data msgr2.Data) {
	m.decode("map", rval, data, func(r *denc.Reader) { m.Values = wire.DecodeOmap(r) })
}

// OmapPage is the output of OmapGet.
type OmapPage struct {
	Result
	// Keys lists the keys in ascending order, Values holds their values.
	Keys   []string
	Values map[string][]byte
	// More says that the OSD has further pairs: go on after the last key.
	More bool
}

func (p *OmapPage) complete(rval int32, data msgr2.Data) {
	p.decode("omap-get-vals", rval, data, func(r *denc.Reader) {
		var out wire.OmapGetValsOutput
		out.Decode(r)
		p.Keys, p.Values, p.More = out.Keys, out.Values, out.More
	})
}

// OmapKeys is the output of OmapGetKeys.
type OmapKeys struct {
	Result
	Keys []string // ascending
	More bool
}

func (k *OmapKeys) complete(rval int32, data msgr2.Data) {
	k.decode("omap-get-keys", rval, data, func(r *denc.Reader) {
		var out wire.OmapGetKeysOutput
		out.Decode(r)
		k.Keys, k.More = out.Keys, out.More
	})
}

// Checksums is the output of Checksum.
type Checksums struct {
	Result
	Values []uint64 // one for each chunk
	typ    wire.ChecksumType
}

func (c *Checksums) complete(rval int32, data msgr2.Data) {
	c.decode("checksum", rval, data, func(r *denc.Reader) { c.Values = wire.DecodeChecksums(r, c.typ) })
}

// SnapSet is the output of ListSnaps.
type SnapSet struct {
	Result
	wire.SnapList
}

// Clone is one state of an object in a SnapSet: see wire.SnapClone.
type Clone = wire.SnapClone

func (s *SnapSet) complete(rval int32, data msgr2.Data) {
	s.decode("list-snaps", rval, data, s.SnapList.Decode)
}

// Watcher is one watcher of an object: see wire.Watcher.
type Watcher = wire.Watcher

// Watchers is the output of ListWatchers.
type Watchers struct {
	Result
	Watchers []Watcher
}

func (w *Watchers) complete(rval int32, data msgr2.Data) {
	w.decode("list-watchers", rval, data, func(r *denc.Reader) {
		var out wire.WatcherList
		out.Decode(r)
		w.Watchers = out.Watchers
	})
}

// CompareError is the failure of CompareExtent.
type CompareError struct {
	// Offset of the first byte that differs, within the compared data.
	Offset uint64
}

// Error names the offset.
func (e *CompareError) Error() string {
	return fmt.Sprintf("object differs from the compared data at its byte %d", e.Offset)
}

// maxErrno is the end of the error numbers; results below its negative carry
// the offset of a failed comparison.
const maxErrno = 4095

// resultError turns a vector's result into an error.
func resultError(r int32) error {
	if r <= -maxErrno {
		return &CompareError{Offset: uint64(-int64(r) - maxErrno)}
	}
	return errno.FromResult(r)
}
