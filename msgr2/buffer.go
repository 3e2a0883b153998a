package msgr2

import (
	"math/bits"
	"sync"
)

// Receive buffers come in powers of two from 4 KiB to 8 MiB, each with a little
// more, so that a payload of a round size fits together with what a frame adds
// to it. Larger ones are left to the garbage collector.
const (
	minBufferShift = 12
	maxBufferShift = 23
	bufferSlack    = 1 << 10
)

// buffer is a pooled byte slice.
type buffer struct {
	b    []byte
	home *sync.Pool
}

func (b *buffer) free() {
	if b != nil && b.home != nil {
		b.home.Put(b)
	}
}

// bufferPools holds one pool a size class. It is state that never changes what a
// caller sees, which is why one for the process is right.
var bufferPools [maxBufferShift - minBufferShift + 1]sync.Pool

// newBuffer returns a buffer of n bytes with undefined content.
func newBuffer(n int) *buffer {
	shift := max(bits.Len(uint(max(n-bufferSlack, 1)-1)), minBufferShift)
	if shift > maxBufferShift {
		return &buffer{b: make([]byte, n)}
	}
	pool := &bufferPools[shift-minBufferShift]
	if b, ok := pool.Get().(*buffer); ok {
		b.b = b.b[:n]
		return b
	}
	return &buffer{b: make([]byte, n, 1<<shift+bufferSlack), home: pool}
}
