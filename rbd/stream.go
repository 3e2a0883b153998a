package rbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/rbdm/rbdm/rados"
)

// The parts of rbd's stream formats (tools/rbd/Utils.h, doc/dev/rbd-diff.rst and
// rbd-export.rst of Ceph). In version 2 every record but the end says its length.
const (
	bannerDiff1  = "rbd diff v1\n"
	bannerDiff2  = "rbd diff v2\n"
	bannerImage2 = "rbd image v2\n"
	bannerDiffs2 = "rbd image diffs v2\n"

	tagFrom      = 'f'
	tagTo        = 't'
	tagProtected = 'p'
	tagSize      = 's'
	tagWrite     = 'w'
	tagZero      = 'z'
	tagEnd       = 'e'

	tagOrder    = 'O'
	tagFeatures = 'T'
	tagUnit     = 'U'
	tagCount    = 'C'
	tagMeta     = 'M'
	tagImageEnd = 'E'
)

// StreamError says what is wrong with a stream, or with what became of it, in
// the words of rbd's own tools. Err is the errno they exit with.
type StreamError struct {
	Text string
	Err  error
	// Banner says that the stream is not of the kind: not even its first line is.
	Banner bool
}

func (e *StreamError) Error() string { return e.Text }

// Unwrap returns the errno.
func (e *StreamError) Unwrap() error { return e.Err }

// ErrTruncated says that a stream ends before it is complete (EDOM, which is
// what librados' helpers for files answer).
const ErrTruncated = rados.Errno(33)

// errBanner says that a stream does not begin as the format that was asked for.
var errBanner = &StreamError{Text: "rbd: invalid or unexpected diff banner", Err: rados.ErrInvalid, Banner: true}

// cannot returns err as the failure to read one part of a stream.
func cannot(part string, err error) error {
	if err == nil {
		return nil
	}
	return &StreamError{Text: "rbd: failed to decode " + part, Err: err}
}

// StreamOptions is for Import and ImportDiff.
type StreamOptions struct {
	// Size is how many bytes the stream has; 0 means that this is not known.
	Size uint64
	// SparseSize is the grain in bytes in which zeros are found, which are then
	// not stored. 0 stores everything.
	SparseSize uint64
	Progress   Progress
}

// streamWriter writes records.
type streamWriter struct {
	out io.Writer
	w   *bufio.Writer
	v   int
	err error
}

func newStreamWriter(w io.Writer, version int) *streamWriter {
	return &streamWriter{out: w, w: bufio.NewWriterSize(w, 1<<20), v: version}
}

func (s *streamWriter) raw(p []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
}

// payload writes data of the image, past the buffer if that spares a copy.
func (s *streamWriter) payload(p []byte) {
	if s.err == nil && len(p) >= s.w.Size()/4 {
		s.err = s.w.Flush()
	}
	if s.err == nil && s.w.Buffered() == 0 && len(p) >= s.w.Size()/4 {
		_, s.err = s.out.Write(p)
		return
	}
	s.raw(p)
}

func (s *streamWriter) u64(v uint64) { s.raw(binary.LittleEndian.AppendUint64(nil, v)) }

func (s *streamWriter) text(v string) {
	s.raw(binary.LittleEndian.AppendUint32(nil, uint32(len(v))))
	s.raw([]byte(v))
}

// tag begins a record whose fields take n bytes.
func (s *streamWriter) tag(t byte, n uint64) {
	s.raw([]byte{t})
	if s.v == 2 {
		s.u64(n)
	}
}

func (s *streamWriter) textRecord(t byte, v string) {
	s.tag(t, uint64(4+len(v)))
	s.text(v)
}

func (s *streamWriter) flush() error {
	if s.err != nil {
		return s.err
	}
	return s.w.Flush()
}

// streamReader reads records.
type streamReader struct {
	r *bufio.Reader
	v int
	n uint64 // bytes read
}

func newStreamReader(r io.Reader, version int) *streamReader {
	return &streamReader{r: bufio.NewReaderSize(r, 1<<20), v: version}
}

func (s *streamReader) full(p []byte) error {
	n, err := io.ReadFull(s.r, p)
	s.n += uint64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

func (s *streamReader) u64() (uint64, error) {
	var b [8]byte
	err := s.full(b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// maxName bounds the names of snapshots in a stream, maxMeta keys and values of
// metadata, in bytes.
const (
	maxName = 4096
	maxMeta = 16 << 20
)

func (s *streamReader) text(limit uint64) (string, error) {
	var b [4]byte
	if err := s.full(b[:]); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(b[:])
	if uint64(n) > limit {
		return "", fmt.Errorf("a text of %d bytes: %w", n, rados.ErrInvalid)
	}
	p := make([]byte, n)
	err := s.full(p)
	return string(p), err
}

// banner reads the line that must come next.
func (s *streamReader) banner(want string) error {
	got, err := s.line(len(want))
	if err == nil && got != want {
		return errBanner
	}
	return err
}

// line reads the n bytes of a banner.
func (s *streamReader) line(n int) (string, error) {
	p := make([]byte, n)
	if err := s.full(p); err != nil {
		return "", &StreamError{Text: "rbd: failed to decode diff banner", Err: err, Banner: true}
	}
	return string(p), nil
}

// tag reads a record's tag and, in version 2, its length.
func (s *streamReader) tag(end byte) (t byte, n uint64, err error) {
	var b [1]byte
	if err = s.full(b[:]); err != nil {
		return 0, 0, cannot("tag", err)
	}
	if b[0] == end || s.v != 2 {
		return b[0], 0, nil
	}
	n, err = s.u64()
	return b[0], n, cannot("tag length", err)
}

// extent reads the range of a record with data.
func (s *streamReader) extent() (off, n uint64, err error) {
	var b [16]byte
	err = s.full(b[:])
	off, n = binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	if err == nil && n > math.MaxInt64-min(off, math.MaxInt64) {
		err = fmt.Errorf("%d bytes at %d: %w", n, off, rados.ErrInvalid)
	}
	return off, n, err
}

// skip reads n bytes over.
func (s *streamReader) skip(n uint64) error {
	got, err := io.CopyN(io.Discard, s.r, int64(min(n, math.MaxInt64)))
	s.n += uint64(got)
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return err
}
