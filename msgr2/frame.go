package msgr2

import (
	"encoding/binary"
	"errors"
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
	preambleSize    = 32
	maxSegments     = 4
	epilogueCRC0    = 17 // late flags, four CRCs
	epilogueCRC1    = 13 // late status, CRCs of segments 2 to 4
	flagCompressed  = 1
	lateComplete    = 0xe
	lateStatusMask  = 0xf
	dataAlignment   = 4096
	plainAlignment  = 8
	flag0Aborted    = 1
	messageSegments = 4
)

// Limits on what a peer may announce. They are checked before anything is
// allocated.
const (
	// maxControl bounds each segment of a frame that is no message.
	maxControl = 1 << 20
	// maxFront bounds the payload of a message; the largest real ones are maps.
	maxFront = 128 << 20
	// maxData bounds the data of a message. OSDs refuse more than 90 MiB a
	// write and objects of more than 128 MiB by default.
	maxData = 256 << 20
)

var (
	// ErrFrame says that the peer sent bytes that are no valid frame: a wrong
	// checksum, an impossible length, an unexpected tag.
	ErrFrame = errors.New("malformed msgr2 frame")
	// errAborted marks a frame whose sender gave it up half-way; it is dropped.
	errAborted = errors.New("frame aborted by its sender")
)

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
			if i == messageSegments-1 {
				align = dataAlignment
			}
		}
		b = denc.AppendU32(b, p.sizes[i])
		b = denc.AppendU16(b, align)
	}
	b = append(b, p.flags, 0)
	return denc.AppendU32(b, denc.CRC32C(0, b[at:at+28]))
}

// parsePreamble checks and reads 32 bytes.
func parsePreamble(b []byte) (preamble, error) {
	if got, want := denc.CRC32C(0, b[:28]), binary.LittleEndian.Uint32(b[28:]); got != want {
		return preamble{}, fmt.Errorf("%w: checksum of the preamble is %#x, announced %#x", ErrFrame, got, want)
	}
	p := preamble{tag: b[0], n: int(b[1]), flags: b[26]}
	if p.n < 1 || p.n > maxSegments {
		return preamble{}, fmt.Errorf("%w: %d segments", ErrFrame, p.n)
	}
	limits := [maxSegments]uint32{maxControl, maxControl, maxControl, maxControl}
	if p.tag == tagMessage {
		limits = [maxSegments]uint32{headerSize + 1024, maxFront, maxFront, maxData}
	}
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

// segments drops trailing empty ones: a frame ends at its last byte.
func newPreamble(tag uint8, sizes [maxSegments]int) preamble {
	p := preamble{tag: tag, n: 1}
	for i, n := range sizes {
		p.sizes[i] = uint32(n)
		if n > 0 {
			p.n = i + 1
		}
	}
	return p
}

// inFrame is a frame as received: its segments alias bufs.
type inFrame struct {
	preamble
	seg  [maxSegments][]byte
	crc  [maxSegments]uint32 // of the segments, where hasCRC
	crcs bool
	bufs []*buffer
}

func (f *inFrame) release() {
	for _, b := range f.bufs {
		b.free()
	}
	f.bufs = nil
}

// outFrame is a frame to send: small segments, and data behind them that is
// passed on as it is.
type outFrame struct {
	tag  uint8
	seg  [3][]byte
	data Data
}

func (f *outFrame) sizes() [maxSegments]int {
	return [maxSegments]int{len(f.seg[0]), len(f.seg[1]), len(f.seg[2]), f.data.Len()}
}

// codec turns frames into bytes and back in one mode of one revision. appendTo
// is called by the writer alone and read by the reader alone.
type codec interface {
	// appendTo adds the frame's bytes to out. Small parts are copied into out's
	// buffers, data is referred to.
	appendTo(out *outBuffers, f *outFrame)
	// read reads one frame. Reads go through in, which may keep a record.
	read(in io.Reader) (*inFrame, error)
}

// outBuffers gathers what one write call sends.
type outBuffers struct {
	list  [][]byte
	cur   []byte // the open small buffer, last in list once closed
	bufs  []*buffer
	bytes int
}

const smallBuffer = 64 << 10

// room returns the open buffer with n bytes of capacity left.
func (o *outBuffers) room(n int) []byte {
	if cap(o.cur)-len(o.cur) < n {
		o.close()
		b := newBuffer(max(n, smallBuffer))
		o.bufs = append(o.bufs, b)
		o.cur = b.b[:0]
	}
	return o.cur
}

// set replaces the open buffer by what it grew to.
func (o *outBuffers) set(b []byte) { o.cur = b }

// close ends the open buffer's current run.
func (o *outBuffers) close() {
	if len(o.cur) > 0 {
		o.list = append(o.list, o.cur)
		o.bytes += len(o.cur)
		o.cur = o.cur[len(o.cur):]
	}
}

// refer adds p without copying it.
func (o *outBuffers) refer(p []byte) {
	o.close()
	o.list = append(o.list, p)
	o.bytes += len(p)
}

func (o *outBuffers) reset() {
	for _, b := range o.bufs {
		b.free()
	}
	clear(o.list)
	clear(o.bufs)
	o.list, o.bufs, o.cur, o.bytes = o.list[:0], o.bufs[:0], nil, 0
}

// copyLimit is the size up to which a part is copied into the small buffer:
// below it a copy is cheaper than one more entry of the vector.
const copyLimit = 4 << 10

func (o *outBuffers) put(p []byte) {
	if len(p) <= copyLimit {
		o.set(append(o.room(len(p)), p...))
		return
	}
	o.refer(p)
}

func (o *outBuffers) putData(d Data) {
	for p := range d.Parts() {
		o.put(p)
	}
}
