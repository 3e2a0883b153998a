// Package savefile is the container in which the state of a fake cluster is
// kept: a head, frames that each carry a checksum, and an end that says how many
// there were, with a checksum of everything before. It knows nothing of what is
// in the frames. The format is our own; Ceph has none like it.
//
//	"FAKECEPH"  u32 version
//	u32 kind    u32 length   payload   u32 crc32c of kind, length and payload
//	…
//	u32 0       u32 16       u64 frames, u64 xxhash of all before   u32 crc32c
//
// All numbers are little-endian. A Reader believes no length before the bytes
// are there.
package savefile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Version is the version of the container and of what fakecluster puts into it.
// Files of other versions are refused.
const Version = 1

const (
	magic = "FAKECEPH"
	// maxFrame bounds a frame's payload: an object's largest value fits.
	maxFrame = 256 << 20
	// firstRead is how much is allocated on the word of a length alone.
	firstRead = 1 << 20
	headSize  = 8
	kindEnd   = 0
	endSize   = 16
)

var (
	// ErrFormat says that something is no file of a saved cluster, or a damaged
	// one.
	ErrFormat = errors.New("not a sound file of a saved cluster")
	// ErrVersion says that a file was written by another version.
	ErrVersion = errors.New("file of a saved cluster has another version")
)

// Writer writes a file. Its first error sticks. It is not safe for concurrent
// use.
type Writer struct {
	w      *bufio.Writer
	all    *xxhash.Digest
	frames uint64
	err    error
}

// NewWriter begins a file on w.
func NewWriter(w io.Writer) *Writer {
	f := &Writer{w: bufio.NewWriterSize(w, 1<<18), all: xxhash.New()}
	f.put([]byte(magic))
	f.put(denc.AppendU32(nil, Version))
	return f
}

func (f *Writer) put(p []byte) {
	if f.err == nil {
		_, f.err = f.w.Write(p)
		_, _ = f.all.Write(p)
	}
}

// Frame writes one frame. kind must not be 0.
func (f *Writer) Frame(kind uint32, payload []byte) {
	if len(payload) > maxFrame && f.err == nil {
		f.err = fmt.Errorf("saved cluster: a frame of %d bytes is too large", len(payload))
	}
	f.frames++
	f.frame(kind, payload)
}

func (f *Writer) frame(kind uint32, payload []byte) {
	var head [headSize]byte
	binary.LittleEndian.PutUint32(head[:], kind)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(payload)))
	crc := denc.CRC32C(denc.CRC32C(math.MaxUint32, head[:]), payload)
	f.put(head[:])
	f.put(payload)
	f.put(denc.AppendU32(nil, crc))
}

// Close ends the file and returns the first error of all. It does not close what
// it wrote to.
func (f *Writer) Close() error {
	end := denc.AppendU64(nil, f.frames)
	f.frame(kindEnd, denc.AppendU64(end, f.all.Sum64()))
	if f.err == nil {
		f.err = f.w.Flush()
	}
	return f.err
}

// Reader reads a file. Its first error sticks. It is not safe for concurrent
// use.
type Reader struct {
	r      io.Reader
	all    *xxhash.Digest
	frames uint64
	err    error
}

// NewReader begins to read a file. It fails with ErrFormat or ErrVersion when r
// is none that can be read.
func NewReader(r io.Reader) (*Reader, error) {
	f := &Reader{r: bufio.NewReaderSize(r, 1<<18), all: xxhash.New()}
	head := make([]byte, len(magic)+4)
	f.read(head)
	switch {
	case f.err != nil:
	case string(head[:len(magic)]) != magic:
		f.err = fmt.Errorf("%w: it does not begin with %q", ErrFormat, magic)
	default:
		if v := binary.LittleEndian.Uint32(head[len(magic):]); v != Version {
			f.err = fmt.Errorf("%w: %d, not %d", ErrVersion, v, Version)
		}
	}
	return f, f.err
}

func (f *Reader) read(p []byte) {
	if f.err != nil {
		return
	}
	if _, err := io.ReadFull(f.r, p); err != nil {
		f.err = fmt.Errorf("%w: it ends too early: %w", ErrFormat, err)
		return
	}
	_, _ = f.all.Write(p)
}

// payload reads n bytes without allocating more than twice what is there.
func (f *Reader) payload(n int) []byte {
	p := make([]byte, min(n, firstRead))
	f.read(p)
	for len(p) < n && f.err == nil {
		more := make([]byte, min(n, 2*len(p)))
		copy(more, p)
		f.read(more[len(p):])
		p = more
	}
	return p
}

// Next returns the next frame. At the end, which was then found sound, it
// returns io.EOF. The payload is the caller's.
func (f *Reader) Next() (kind uint32, payload []byte, err error) {
	sum := f.all.Sum64()
	var head [headSize]byte
	f.read(head[:])
	kind, n := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if n > maxFrame && f.err == nil {
		f.err = fmt.Errorf("%w: a frame of %d bytes", ErrFormat, n)
	}
	if f.err != nil {
		return 0, nil, f.err
	}
	payload = f.payload(int(n))
	var tail [4]byte
	f.read(tail[:])
	if f.err != nil {
		return 0, nil, f.err
	}
	if crc := denc.CRC32C(denc.CRC32C(math.MaxUint32, head[:]), payload); crc != binary.LittleEndian.Uint32(tail[:]) {
		f.err = fmt.Errorf("%w: wrong checksum of frame %d", ErrFormat, f.frames)
		return 0, nil, f.err
	}
	if kind != kindEnd {
		f.frames++
		return kind, payload, nil
	}
	f.err = io.EOF
	if len(payload) != endSize || binary.LittleEndian.Uint64(payload) != f.frames || binary.LittleEndian.Uint64(payload[8:]) != sum {
		f.err = fmt.Errorf("%w: frames are missing or not this file's", ErrFormat)
	} else if _, err := io.ReadFull(f.r, tail[:1]); err != io.EOF {
		f.err = fmt.Errorf("%w: something follows its end", ErrFormat)
	}
	return 0, nil, f.err
}

// Want returns the payload of the next frame, which must be of a kind.
func (f *Reader) Want(kind uint32) ([]byte, error) {
	got, p, err := f.Next()
	if err == io.EOF {
		return nil, fmt.Errorf("%w: it ends where kind %d has to be", ErrFormat, kind)
	}
	if err == nil && got != kind {
		f.err = fmt.Errorf("%w: frame of kind %d where %d has to be", ErrFormat, got, kind)
		err = f.err
	}
	return p, err
}
