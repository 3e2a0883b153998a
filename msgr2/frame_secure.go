package msgr2

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	gcmTag     = 16
	inlineSize = 48 // of the first segment, sealed together with the preamble
	cryptBlock = 16
	// secretSize is how much of the connection secret secure mode uses: the key
	// and one nonce a direction.
	secretSize = 40
)

// gcmStream is one direction of secure mode: AES-128-GCM with a nonce that
// counts up by message.
type gcmStream struct {
	aead  cipher.AEAD
	block cipher.Block
	nonce [12]byte
	first [12]byte
	rev0  bool
	spent bool // the nonce has come round to where it began
}

func newStream(key, nonce []byte, rev0 bool) (*gcmStream, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &gcmStream{aead: aead, block: block, rev0: rev0}
	copy(s.nonce[:], nonce)
	s.first = s.nonce
	return s, nil
}

// advance steps the nonce: revision 0 counts in its first four bytes, revision 1
// in its last eight.
func (s *gcmStream) advance() {
	if s.rev0 {
		binary.LittleEndian.PutUint32(s.nonce[:4], binary.LittleEndian.Uint32(s.nonce[:4])+1)
	} else {
		binary.LittleEndian.PutUint64(s.nonce[4:], binary.LittleEndian.Uint64(s.nonce[4:])+1)
	}
	s.spent = s.spent || s.nonce == s.first
}

// seal encrypts b in place and appends the tag, for which b has the capacity.
func (s *gcmStream) seal(b []byte) []byte {
	out := s.aead.Seal(b[:0], s.nonce[:], b, nil)
	s.advance()
	return out
}

// open decrypts b, tag included, in place.
func (s *gcmStream) open(b []byte) ([]byte, error) {
	out, err := s.aead.Open(b[:0], s.nonce[:], b, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: authentication of an encrypted frame failed", ErrFrame)
	}
	s.advance()
	return out, nil
}

// secureCodec is secure mode. Each direction has a stream of its own.
type secureCodec struct {
	tx, rx *gcmStream
	rev0   bool
}

// newSecureCodec splits the connection secret: key, nonce of what the server
// sends, nonce of what the client sends.
func newSecureCodec(secret []byte, client, rev0 bool) (*secureCodec, error) {
	if len(secret) < secretSize {
		return nil, fmt.Errorf("%w: connection secret of %d bytes", ErrFrame, len(secret))
	}
	server, err := newStream(secret[:16], secret[16:28], rev0)
	if err != nil {
		return nil, err
	}
	own, err := newStream(secret[:16], secret[28:40], rev0)
	if err != nil {
		return nil, err
	}
	c := &secureCodec{tx: own, rx: server, rev0: rev0}
	if !client {
		c.tx, c.rx = c.rx, c.tx
	}
	return c, nil
}

func padded(n int) int { return (n + cryptBlock - 1) &^ (cryptBlock - 1) }

// pad appends zeros up to the next block.
func pad(b []byte, n int) []byte {
	var zeros [cryptBlock]byte
	return append(b, zeros[:padded(n)-n]...)
}

func appendSegment(b []byte, f *outFrame, i int) []byte {
	if i < dataSegment {
		return pad(append(b, f.seg[i]...), len(f.seg[i]))
	}
	for p := range f.data.Parts() {
		b = append(b, p...)
	}
	return pad(b, f.data.Len())
}

// appendTo gathers the frame in one pooled buffer and encrypts it there.
func (c *secureCodec) appendTo(out *outBuffers, f *outFrame) error {
	if c.tx.spent {
		return errNonceExhausted
	}
	p := f.preamble()
	total := preambleSize + inlineSize + 3*gcmTag + cryptBlock
	for i := range p.n {
		total += padded(int(p.sizes[i]))
	}
	b := out.room(total)
	if c.rev0 {
		out.set(c.appendRev0(b, p, f))
	} else {
		out.set(c.appendRev1(b, p, f))
	}
	return nil
}

// sealFrom encrypts what b holds from at on.
func (c *secureCodec) sealFrom(b []byte, at int) []byte {
	return b[:at+len(c.tx.seal(b[at:]))]
}

func (c *secureCodec) appendRev0(b []byte, p preamble, f *outFrame) []byte {
	at := len(b)
	b = appendPreamble(b, p)
	for i := range p.n {
		b = appendSegment(b, f, i)
	}
	var epilogue [cryptBlock]byte // late flags, padded
	return c.sealFrom(append(b, epilogue[:]...), at)
}

func (c *secureCodec) appendRev1(b []byte, p preamble, f *outFrame) []byte {
	at := len(b)
	b = appendPreamble(b, p)
	first := f.seg[0]
	var inline [inlineSize]byte
	n := copy(inline[:], first)
	b = c.sealFrom(append(b, inline[:]...), at)
	if rest := first[n:]; len(rest) > 0 {
		at = len(b)
		b = c.sealFrom(pad(append(b, rest...), len(rest)), at)
	}
	if p.n > 1 {
		at = len(b)
		for i := 1; i < p.n; i++ {
			b = appendSegment(b, f, i)
		}
		var epilogue [cryptBlock]byte
		epilogue[0] = lateComplete
		b = c.sealFrom(append(b, epilogue[:]...), at)
	}
	return b
}

func (c *secureCodec) read(in io.Reader, f *inFrame, early bool) error {
	f.reset()
	if c.rx.spent {
		return errNonceExhausted
	}
	var err error
	if c.rev0 {
		err = c.readRev0(in, f, early)
	} else {
		err = c.readRev1(in, f, early)
	}
	if err != nil {
		f.release()
	}
	return err
}

func (c *secureCodec) readRev1(in io.Reader, f *inFrame, early bool) error {
	const headSize = preambleSize + inlineSize + gcmTag
	head := newBuffer(headSize)
	defer head.free()
	if _, err := io.ReadFull(in, head.b); err != nil {
		return err
	}
	plain, err := c.rx.open(head.b)
	if err != nil {
		return err
	}
	if f.preamble, err = parsePreamble(plain, early); err != nil {
		return err
	}
	n := int(f.sizes[0])
	buf := newBuffer(max(padded(n), inlineSize) + gcmTag)
	f.bufs[0] = buf
	copy(buf.b, plain[preambleSize:])
	if padded(n) > inlineSize {
		rest := buf.b[inlineSize : padded(n)+gcmTag]
		if _, err := io.ReadFull(in, rest); err != nil {
			return noEOF(err)
		}
		if _, err := c.rx.open(rest); err != nil {
			return err
		}
	}
	f.seg[0] = buf.b[:n:n]
	if f.n == 1 {
		return nil
	}
	late, err := c.readSegments(in, f, 1)
	if err != nil {
		return err
	}
	return checkLate(late)
}

// readSegments reads and opens one message that holds the segments from first
// on and the epilogue, and returns the epilogue's first byte.
func (c *secureCodec) readSegments(in io.Reader, f *inFrame, first int) (uint8, error) {
	size := cryptBlock + gcmTag
	for i := first; i < f.n; i++ {
		size += padded(int(f.sizes[i]))
	}
	buf := newBuffer(size)
	f.bufs[1] = buf
	if _, err := io.ReadFull(in, buf.b); err != nil {
		return 0, noEOF(err)
	}
	b, err := c.rx.open(buf.b)
	if err != nil {
		return 0, err
	}
	return f.cut(b, first), nil
}

// cut sets the segments from first on to where they stand in b, each padded, and
// returns the byte behind the last one.
func (f *inFrame) cut(b []byte, first int) uint8 {
	for i := first; i < f.n; i++ {
		n := int(f.sizes[i])
		f.seg[i] = b[:n:n]
		b = b[padded(n):]
	}
	return b[0]
}

func (c *secureCodec) readRev0(in io.Reader, f *inFrame, early bool) error {
	head := newBuffer(preambleSize)
	defer head.free()
	if _, err := io.ReadFull(in, head.b); err != nil {
		return err
	}
	// The length stands inside the one message that the frame is, so its first
	// blocks are decrypted before they can be authenticated: GCM is a counter
	// mode that starts at 2.
	var iv [cryptBlock]byte
	copy(iv[:], c.rx.nonce[:])
	iv[15] = 2
	var plain [preambleSize]byte
	cipher.NewCTR(c.rx.block, iv[:]).XORKeyStream(plain[:], head.b)
	p, err := parsePreamble(plain[:], early)
	if err != nil {
		return err
	}
	f.preamble = p
	size := preambleSize + cryptBlock + gcmTag
	for i := range p.n {
		size += padded(int(p.sizes[i]))
	}
	buf := newBuffer(size)
	f.bufs[0] = buf
	copy(buf.b, head.b)
	if _, err := io.ReadFull(in, buf.b[preambleSize:]); err != nil {
		return noEOF(err)
	}
	b, err := c.rx.open(buf.b)
	if err != nil {
		return err
	}
	return checkLateRev0(f.cut(b[preambleSize:], 0))
}
