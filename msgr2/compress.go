package msgr2

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Algorithm is a way to compress frames (Compressor::CompressionAlgorithm).
type Algorithm uint32

// The algorithms that Ceph has, without brotli (5), which none of its builds
// contains.
const (
	Snappy Algorithm = 1
	Zlib   Algorithm = 2
	Zstd   Algorithm = 3
	LZ4    Algorithm = 4
)

// String returns Ceph's name of the algorithm.
func (a Algorithm) String() string {
	switch a {
	case Snappy:
		return "snappy"
	case Zlib:
		return "zlib"
	case Zstd:
		return "zstd"
	case LZ4:
		return "lz4"
	}
	return "algorithm" + strconv.Itoa(int(a))
}

// compressor compresses and decompresses whole segments in the formats of Ceph's
// own compressors (src/compressor). compress appends to dst; decompress returns
// a buffer of at most limit bytes. One serves one direction of a connection.
type compressor interface {
	compress(dst, src []byte) ([]byte, error)
	decompress(src []byte, limit int) (*buffer, error)
}

func newCompressor(a Algorithm) (compressor, error) {
	switch a {
	case Snappy:
		return snappyCompressor{}, nil
	case Zlib:
		return &zlibCompressor{}, nil
	case Zstd:
		return &zstdCompressor{}, nil
	case LZ4:
		return &lz4Compressor{}, nil
	}
	return nil, fmt.Errorf("%w: compression by %s", ErrFrame, a)
}

func errTooLong(n uint64, limit int) error {
	return fmt.Errorf("%w: %d bytes once decompressed, limit %d", ErrFrame, n, limit)
}

func errCompressed(a Algorithm, err error) error {
	return fmt.Errorf("%w: decompressing %s: %w", ErrFrame, a, err)
}

// snappyCompressor is snappy's block format.
type snappyCompressor struct{}

func (snappyCompressor) compress(dst, src []byte) ([]byte, error) {
	at, room := len(dst), snappy.MaxEncodedLen(len(src))
	if room < 0 {
		return nil, fmt.Errorf("segment of %d bytes cannot be compressed", len(src))
	}
	dst = append(dst, make([]byte, room)...)
	return dst[:at+len(s2.EncodeSnappy(dst[at:], src))], nil
}

func (snappyCompressor) decompress(src []byte, limit int) (*buffer, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, errCompressed(Snappy, err)
	}
	if n > limit {
		return nil, errTooLong(uint64(n), limit)
	}
	buf := newBuffer(n)
	if _, err := snappy.Decode(buf.b, src); err != nil {
		buf.free()
		return nil, errCompressed(Snappy, err)
	}
	return buf, nil
}

// zlibCompressor is a byte that names the variation (0 zlib, 1 isa-l; readers
// ignore it) and a raw deflate stream.
type zlibCompressor struct {
	w   *flate.Writer
	out bytes.Buffer
	r   io.ReadCloser
}

func (c *zlibCompressor) compress(dst, src []byte) ([]byte, error) {
	c.out.Reset()
	if c.w == nil {
		w, err := flate.NewWriter(&c.out, 5)
		if err != nil {
			return nil, err
		}
		c.w = w
	} else {
		c.w.Reset(&c.out)
	}
	if _, err := c.w.Write(src); err != nil {
		return nil, err
	}
	if err := c.w.Close(); err != nil {
		return nil, err
	}
	return append(append(dst, 0), c.out.Bytes()...), nil
}

func (c *zlibCompressor) decompress(src []byte, limit int) (*buffer, error) {
	if len(src) < 1 {
		return nil, errCompressed(Zlib, io.ErrUnexpectedEOF)
	}
	in := bytes.NewReader(src[1:])
	if c.r == nil {
		c.r = flate.NewReader(in)
	} else if err := c.r.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	// The stream does not say how long it becomes: it grows with what is there.
	buf := newBuffer(min(4*len(src), limit))
	n := 0
	for {
		m, err := io.ReadFull(c.r, buf.b[n:])
		n += m
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			if !c.ended() {
				buf.free()
				return nil, errCompressed(Zlib, io.ErrUnexpectedEOF)
			}
			buf.b = buf.b[:n]
			return buf, nil
		}
		if err != nil {
			buf.free()
			return nil, errCompressed(Zlib, err)
		}
		if n >= limit {
			var one [1]byte
			if _, err := io.ReadFull(c.r, one[:]); err == io.EOF {
				return buf, nil
			}
			buf.free()
			return nil, errTooLong(uint64(n)+1, limit)
		}
		bigger := newBuffer(min(2*n, limit))
		copy(bigger.b, buf.b[:n])
		buf.free()
		buf = bigger
	}
}

// ended reports whether the stream came to its own end: a read after it says so
// again, whereas a stream that was cut stays an error.
func (c *zlibCompressor) ended() bool {
	var one [1]byte
	_, err := c.r.Read(one[:])
	return err == io.EOF
}

// zstdCompressor is a u32 with the length and a zstd frame.
type zstdCompressor struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func (c *zstdCompressor) compress(dst, src []byte) ([]byte, error) {
	if c.enc == nil {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, err
		}
		c.enc = enc
	}
	return c.enc.EncodeAll(src, denc.AppendU32(dst, uint32(len(src)))), nil
}

func (c *zstdCompressor) decompress(src []byte, limit int) (*buffer, error) {
	if len(src) < 4 {
		return nil, errCompressed(Zstd, io.ErrUnexpectedEOF)
	}
	n := uint64(binary.LittleEndian.Uint32(src))
	if n > uint64(limit) {
		return nil, errTooLong(n, limit)
	}
	if c.dec == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxData+1<<20), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
		c.dec = dec
	}
	buf := newBuffer(int(n))
	out, err := c.dec.DecodeAll(src[4:], buf.b[:0:n])
	if err == nil && uint64(len(out)) != n {
		err = fmt.Errorf("%d bytes instead of %d", len(out), n)
	}
	if err != nil {
		buf.free()
		return nil, errCompressed(Zstd, err)
	}
	return buf, nil
}

// lz4Compressor is a u32 with the number of blocks, for each a u32 with its
// length and one with its compressed length, and the blocks, each of which may
// refer to what the ones before it became.
type lz4Compressor struct{ c lz4.Compressor }

func (c *lz4Compressor) compress(dst, src []byte) ([]byte, error) {
	const head = 12
	at := len(dst)
	dst = append(dst, make([]byte, head+lz4.CompressBlockBound(len(src)))...)
	n, err := c.c.CompressBlock(src, dst[at+head:])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("segment of %d bytes cannot be compressed", len(src))
	}
	binary.LittleEndian.PutUint32(dst[at:], 1)
	binary.LittleEndian.PutUint32(dst[at+4:], uint32(len(src)))
	binary.LittleEndian.PutUint32(dst[at+8:], uint32(n))
	return dst[:at+head+n], nil
}

func (c *lz4Compressor) decompress(src []byte, limit int) (*buffer, error) {
	r := denc.NewReader(src)
	type block struct{ plain, packed uint32 }
	blocks := denc.Slice(r, 8, func(r *denc.Reader) block { return block{r.U32(), r.U32()} })
	total := uint64(0)
	for _, b := range blocks {
		total += uint64(b.plain)
	}
	if r.Err() != nil {
		return nil, errCompressed(LZ4, r.Err())
	}
	if total > uint64(limit) {
		return nil, errTooLong(total, limit)
	}
	buf := newBuffer(int(total))
	out := 0
	for _, b := range blocks {
		if uint64(b.packed) > uint64(r.Len()) {
			buf.free()
			return nil, errCompressed(LZ4, io.ErrUnexpectedEOF)
		}
		p := r.Raw(int(b.packed))
		end := out + int(b.plain)
		n, err := lz4.UncompressBlockWithDict(p, buf.b[out:end:end], buf.b[:out])
		if err == nil && n != int(b.plain) {
			err = fmt.Errorf("%d bytes instead of %d", n, b.plain)
		}
		if err != nil {
			buf.free()
			return nil, errCompressed(LZ4, err)
		}
		out = end
	}
	return buf, nil
}
