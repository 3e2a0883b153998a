package msgr2

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// crcCodec is crc mode: segments in the clear, each with a checksum (seed -1).
// Revision 0 (msgr2.0) puts all checksums into an epilogue that every frame has;
// revision 1 puts that of the first segment right behind it.
type crcCodec struct{ rev0 bool }

func (c crcCodec) appendTo(out *outBuffers, f *outFrame) error {
	p := f.preamble()
	head := out.room(preambleSize + len(f.seg[0]) + 4)
	head = appendPreamble(head, p)
	var crcs [maxSegments]uint32
	for i := range min(p.n, dataSegment) {
		crcs[i] = denc.CRC32C(^uint32(0), f.seg[i])
	}
	if p.n == maxSegments {
		crcs[dataSegment] = f.data.CRC()
	}
	head = append(head, f.seg[0]...)
	if !c.rev0 && len(f.seg[0]) > 0 {
		head = denc.AppendU32(head, crcs[0])
	}
	out.set(head)
	out.put(f.seg[1])
	out.put(f.seg[2])
	out.putData(f.data)
	if c.rev0 {
		tail := append(out.room(epilogueCRC0), 0)
		for _, crc := range crcs {
			tail = denc.AppendU32(tail, crc)
		}
		out.set(tail)
	} else if p.n > 1 {
		tail := append(out.room(epilogueCRC1), lateComplete)
		for _, crc := range crcs[1:] {
			tail = denc.AppendU32(tail, crc)
		}
		out.set(tail)
	}
	return nil
}

func (c crcCodec) read(in io.Reader, f *inFrame, early bool) error {
	f.reset()
	head := newBuffer(preambleSize)
	defer head.free()
	if _, err := io.ReadFull(in, head.b); err != nil {
		return err
	}
	var err error
	if f.preamble, err = parsePreamble(head.b, early); err != nil {
		return err
	}
	f.crcs = true
	if err := c.readBody(in, f); err != nil {
		f.release()
		return err
	}
	return nil
}

func (c crcCodec) readBody(in io.Reader, f *inFrame) error {
	first := int(f.sizes[0])
	trailer := 0
	if !c.rev0 && first > 0 {
		trailer = 4
	}
	small := first + trailer + int(f.sizes[1]) + int(f.sizes[2])
	buf := newBuffer(small + epilogueCRC0)
	f.bufs[0] = buf
	b := buf.b[:small]
	if _, err := io.ReadFull(in, b); err != nil {
		return noEOF(err)
	}
	f.seg[0] = b[:first:first]
	rest := b[first+trailer:]
	f.seg[1] = rest[:f.sizes[1]:f.sizes[1]]
	rest = rest[f.sizes[1]:]
	f.seg[2] = rest[:len(rest):len(rest)]
	if n := int(f.sizes[dataSegment]); n > 0 {
		data := newBuffer(n)
		f.bufs[1] = data
		f.seg[dataSegment] = data.b[:n:n]
		var err error
		if f.crc[dataSegment], err = readChecked(in, data.b); err != nil {
			return err
		}
	}
	for i := range min(f.n, dataSegment) {
		f.crc[i] = denc.CRC32C(^uint32(0), f.seg[i])
	}
	if trailer > 0 {
		if err := matchCRC(f, 0, b[first:]); err != nil {
			return err
		}
	}
	if !c.rev0 && f.n == 1 {
		return nil
	}
	return c.readEpilogue(in, f, buf.b[small:])
}

// readChecked fills b and returns its CRC, computed piece by piece while a piece
// is still in the processor's cache.
func readChecked(in io.Reader, b []byte) (uint32, error) {
	const piece = 128 << 10
	crc := ^uint32(0)
	for len(b) > 0 {
		p := b[:min(piece, len(b))]
		if _, err := io.ReadFull(in, p); err != nil {
			return 0, noEOF(err)
		}
		crc = denc.CRC32C(crc, p)
		b = b[len(p):]
	}
	return crc, nil
}

func (c crcCodec) readEpilogue(in io.Reader, f *inFrame, room []byte) error {
	size, from := epilogueCRC1, 1
	if c.rev0 {
		size, from = epilogueCRC0, 0
	}
	e := room[:size]
	if _, err := io.ReadFull(in, e); err != nil {
		return noEOF(err)
	}
	for i := from; i < f.n; i++ {
		if err := matchCRC(f, i, e[1+4*(i-from):]); err != nil {
			return err
		}
	}
	if c.rev0 {
		return checkLateRev0(e[0])
	}
	return checkLate(e[0])
}

func matchCRC(f *inFrame, i int, p []byte) error {
	if want := binary.LittleEndian.Uint32(p); f.crc[i] != want {
		return fmt.Errorf("%w: checksum of segment %d (%d bytes) is %#x, announced %#x", ErrFrame, i, len(f.seg[i]), f.crc[i], want)
	}
	return nil
}

// checkLate reads the status that ends a frame of revision 1.
func checkLate(status uint8) error {
	switch status & lateStatusMask {
	case lateComplete:
		return nil
	case lateAborted:
		return errAborted
	}
	return fmt.Errorf("%w: late status %#x", ErrFrame, status)
}

// checkLateRev0 reads the flags that end a frame of revision 0. No checksum
// covers them, so that an unknown one is taken for damage.
func checkLateRev0(flags uint8) error {
	switch flags {
	case 0:
		return nil
	case flag0Aborted:
		return errAborted
	}
	return fmt.Errorf("%w: late flags %#x", ErrFrame, flags)
}

// noEOF turns the end of the stream within a frame into an unexpected one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
