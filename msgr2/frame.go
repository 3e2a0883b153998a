package msgr2

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Frame tags (src/msg/async/frames_v2.h).
const (
	tagHello              = 1
	tagAuthRequest        = 2
	tagAuthBadMethod      = 3
	tagAuthReplyMore      = 4
	tagAuthRequestMore    = 5
	tagAuthDone           = 6
	tagAuthSignature      = 7
	tagClientIdent        = 8
	tagServerIdent        = 9
	tagIdentMissing       = 10
	tagSessionReconnect   = 11
	tagSessionReset       = 12
	tagSessionRetry       = 13
	tagSessionRetryGlobal = 14
	tagSessionReconnectOK = 15
	tagWait               = 16
	tagMessage            = 17
	tagKeepalive2         = 18
	tagKeepalive2Ack      = 19
	tagAck                = 20
	tagCompressionRequest = 21
	tagCompressionDone    = 22
)

const (
	preambleSize   = 32
	maxSegments    = 4
	dataSegment    = 3
	epilogueCRC0   = 17 // late flags, four CRCs
	epilogueCRC1   = 13 // late status, CRCs of segments 2 to 4
	flagCompressed = 1
	lateComplete   = 0xe
	lateAborted    = 0x1
	lateStatusMask = 0xf
	dataAlignment  = 4096
	plainAlignment = 8
	flag0Aborted   = 1
)

// Limits on what a peer may announce. They are checked before anything is
// allocated. Until a connection is authenticated only frames of at most
// MaxControl bytes are taken.
const (
	// MaxControl bounds a frame that is no message.
	MaxControl = 1 << 20
	// MaxFront bounds the front of a message; the largest real ones are maps of
	// very large clusters. MaxMiddle bounds the middle, which nothing we speak
	// to uses.
	MaxFront  = 128 << 20
	MaxMiddle = 16 << 20
	// MaxData bounds the data of a message. OSDs refuse writes of more than
	// 90 MiB and objects of more than 128 MiB by default.
	MaxData = 256 << 20

	maxHeader = 4 << 10 // of a message; 41 bytes in every release, maybe compressed
)

// limits returns the largest size of each segment.
func limits(tag uint8) [maxSegments]uint32 {
	if tag == tagMessage {
		return [maxSegments]uint32{maxHeader, MaxFront, MaxMiddle, MaxData}
	}
	return [maxSegments]uint32{MaxControl, 0, 0, 0}
}

// preamble is the head of every frame.
type preamble struct {
	tag   uint8
	n     int
	sizes [maxSegments]uint32
	flags uint8
}

// appendPreamble appends the 32 bytes.
func appendPreamble(b []byte, p preamble) []byte {
	at := len(b)
	b = append(b, p.tag, uint8(p.n))
	for i := range maxSegments {
		align := uint16(0)
		if i < p.n {
			align = plainAlignment
			if i == dataSegment {
				align = dataAlignment
			}
		}
		b = denc.AppendU32(b, p.sizes[i])
		b = denc.AppendU16(b, align)
	}
	b = append(b, p.flags, 0)
	return denc.AppendU32(b, denc.CRC32C(0, b[at:at+28]))
}

// parsePreamble checks and reads 32 bytes. early means that only frames of the
// handshake may come.
func parsePreamble(b []byte, early bool) (preamble, error) {
	if got, want := denc.CRC32C(0, b[:28]), binary.LittleEndian.Uint32(b[28:]); got != want {
		return preamble{}, fmt.Errorf("%w: checksum of the preamble is %#x, announced %#x", ErrFrame, got, want)
	}
	p := preamble{tag: b[0], n: int(b[1]), flags: b[26]}
	if early && p.tag >= tagMessage && p.tag <= tagAck {
		return preamble{}, fmt.Errorf("%w: tag %d within the handshake", ErrFrame, p.tag)
	}
	if p.n < 1 || p.n > maxSegments {
		return preamble{}, fmt.Errorf("%w: %d segments", ErrFrame, p.n)
	}
	limits := limits(p.tag)
	for i := range p.n {
		p.sizes[i] = binary.LittleEndian.Uint32(b[2+6*i:])
		if p.sizes[i] > limits[i] {
			return preamble{}, fmt.Errorf("%w: segment %d of tag %d is %d bytes long, limit %d", ErrFrame, i, p.tag, p.sizes[i], limits[i])
		}
	}
	if p.n > 1 && p.sizes[p.n-1] == 0 {
		return preamble{}, fmt.Errorf("%w: empty last segment", ErrFrame)
	}
	return p, nil
}

// inFrame is a frame as received: its segments alias bufs. The reader of a
// connection fills the same one again and again.
type inFrame struct {
	preamble
	seg  [maxSegments][]byte
	crc  [maxSegments]uint32 // of the segments, where crcs says so
	crcs bool
	bufs [2]*buffer // the small segments' and the data's
}

// reset forgets the previous frame, whose buffers have another owner now.
func (f *inFrame) reset() { *f = inFrame{} }

// release gives the buffers back.
func (f *inFrame) release() {
	for i, b := range f.bufs {
		b.free()
		f.bufs[i] = nil
	}
}

// outFrame is a frame to send: small segments, and data behind them that is
// passed on as it is.
type outFrame struct {
	tag   uint8
	flags uint8
	seg   [dataSegment][]byte
	data  Data
}

// preamble returns the frame's head. Trailing empty segments are dropped: a
// frame ends at its last byte.
func (f *outFrame) preamble() preamble {
	p := preamble{tag: f.tag, n: 1, flags: f.flags}
	for i := range maxSegments {
		n := f.size(i)
		p.sizes[i] = uint32(n)
		if n > 0 {
			p.n = i + 1
		}
	}
	return p
}

func (f *outFrame) size(i int) int {
	if i == dataSegment {
		return f.data.Len()
	}
	return len(f.seg[i])
}

// codec turns frames into bytes and back in one mode of one revision. appendTo
// is called by the writer alone and read by the reader alone.
type codec interface {
	// appendTo adds the frame's bytes to out. Data may be referred to; all else
	// is copied or referred to where it is large.
	appendTo(out *outBuffers, f *outFrame) error
	// read reads one frame into f, whose old content it forgets. On an error
	// no buffer is left in f. early is parsePreamble's.
	read(in io.Reader, f *inFrame, early bool) error
}
