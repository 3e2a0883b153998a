package rbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

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

// errStream says that a stream is not one of rbd's.
var errStream = fmt.Errorf("bad stream: %w", rados.ErrInvalid)

// ErrBanner says that a stream does not begin as the format that was asked for.
var ErrBanner = fmt.Errorf("%w: wrong banner", errStream)

// streamWriter writes records.
type streamWriter struct {
	w   *bufio.Writer
	v   int
	err error
}

func newStreamWriter(w io.Writer, version int) *streamWriter {
	return &streamWriter{w: bufio.NewWriterSize(w, 1<<20), v: version}
}

func (s *streamWriter) raw(p []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
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
}

func newStreamReader(r io.Reader) *streamReader {
	return &streamReader{r: bufio.NewReaderSize(r, 1<<20)}
}

func (s *streamReader) full(p []byte) error {
	if _, err := io.ReadFull(s.r, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it ends too early", errStream)
		}
		return err
	}
	return nil
}

func (s *streamReader) u64() (uint64, error) {
	var b [8]byte
	err := s.full(b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// maxText bounds names and metadata in a stream.
const maxText = 16 << 20

func (s *streamReader) text() (string, error) {
	var b [4]byte
	if err := s.full(b[:]); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(b[:])
	if n > maxText {
		return "", fmt.Errorf("%w: a text of %d bytes", errStream, n)
	}
	p := make([]byte, n)
	err := s.full(p)
	return string(p), err
}

// banner reads one of the given lines and returns which.
func (s *streamReader) banner(want ...string) (string, error) {
	for _, b := range want {
		p, err := s.r.Peek(len(b))
		if err == nil && string(p) == b {
			_, err = s.r.Discard(len(b))
			return b, err
		}
	}
	return "", fmt.Errorf("%w: it does not begin with %q", ErrBanner, want[0])
}

// tag reads a record's tag and, in version 2, its length.
func (s *streamReader) tag(end byte) (t byte, n uint64, err error) {
	if t, err = s.r.ReadByte(); err != nil {
		return 0, 0, fmt.Errorf("%w: it ends too early", errStream)
	}
	if t == end || s.v != 2 {
		return t, 0, nil
	}
	n, err = s.u64()
	return t, n, err
}

func (s *streamReader) skip(n uint64) error {
	_, err := io.CopyN(io.Discard, s.r, int64(min(n, 1<<62)))
	return err
}
