package msgr2

import (
	"fmt"
	"io"
	"sync/atomic"
)

// compressCodec compresses frames on their way into another codec. Every
// segment of a frame is compressed on its own, checksums and encryption are over
// the compressed bytes, and a bit in the preamble marks the frame
// (src/msg/async/compression_onwire.cc). Frames below minSize go as they are.
type compressCodec struct {
	codec
	tx, rx  compressor
	minSize int
	scratch []byte
	// proven says that the peer can do what it agreed to. A client waits for the
	// first compressed frame from the server: daemons of 20.2 agree to what
	// their configuration names, without the plug-in for it, too, and abort when
	// a compressed frame comes.
	proven atomic.Bool
}

// newCompressCodec compresses at once if proven.
func newCompressCodec(inner codec, a Algorithm, minSize int, proven bool) (*compressCodec, error) {
	tx, err := newCompressor(a)
	if err != nil {
		return nil, err
	}
	rx, err := newCompressor(a)
	if err != nil {
		return nil, err
	}
	c := &compressCodec{codec: inner, tx: tx, rx: rx, minSize: minSize}
	c.proven.Store(proven)
	return c, nil
}

func (c *compressCodec) appendTo(out *outBuffers, f *outFrame) error {
	total := 0
	for i := range maxSegments {
		total += f.size(i)
	}
	if total >= c.minSize && c.proven.Load() {
		if packed, ok := c.pack(f); ok {
			return c.codec.appendTo(out, packed)
		}
	}
	return c.codec.appendTo(out, f)
}

// pack compresses all segments of f, or none where one cannot be. The result
// stays valid until it is written: what is compressed has memory of its own.
func (c *compressCodec) pack(f *outFrame) (*outFrame, bool) {
	packed := &outFrame{tag: f.tag, flags: f.flags | flagCompressed}
	for i := range maxSegments {
		src := f.data.Bytes()
		if i < dataSegment {
			src = f.seg[i]
		}
		if len(src) == 0 {
			continue
		}
		var err error
		if c.scratch, err = c.tx.compress(c.scratch[:0], src); err != nil {
			return nil, false
		}
		p := append([]byte(nil), c.scratch...)
		if i < dataSegment {
			packed.seg[i] = p
		} else {
			packed.data = NewData(p)
		}
	}
	return packed, true
}

func (c *compressCodec) read(in io.Reader, f *inFrame, early bool) error {
	if err := c.codec.read(in, f, early); err != nil {
		return err
	}
	if f.flags&flagCompressed == 0 {
		return nil
	}
	if err := c.unpack(f); err != nil {
		f.release()
		return err
	}
	c.proven.Store(true)
	return nil
}

// unpack replaces the segments of f by what they decompress to.
func (c *compressCodec) unpack(f *inFrame) error {
	limits := limits(f.tag)
	var plain [maxSegments]*buffer
	fail := func(err error) error {
		for _, b := range plain {
			b.free()
		}
		return err
	}
	small := 0
	for i := range f.n {
		if len(f.seg[i]) == 0 {
			continue
		}
		b, err := c.rx.decompress(f.seg[i], int(limits[i]))
		if err != nil {
			return fail(err)
		}
		plain[i] = b
		if i < dataSegment {
			small += len(b.b)
		}
	}
	// The small segments share one buffer, as in every other frame.
	joined := newBuffer(small)
	b := joined.b
	for i := range dataSegment {
		f.seg[i] = nil
		if plain[i] == nil {
			continue
		}
		n := copy(b, plain[i].b)
		f.seg[i], b = b[:n:n], b[n:]
		plain[i].free()
	}
	f.release()
	f.crcs = false
	f.bufs = [2]*buffer{joined, plain[dataSegment]}
	f.seg[dataSegment] = nil
	if d := plain[dataSegment]; d != nil {
		f.seg[dataSegment] = d.b[:len(d.b):len(d.b)]
	}
	return nil
}

// checkPlain refuses a compressed frame where no compression was agreed on.
func (f *inFrame) checkPlain() error {
	if f.flags&flagCompressed != 0 {
		return fmt.Errorf("%w: compressed, but no compression was agreed on", ErrFrame)
	}
	return nil
}
