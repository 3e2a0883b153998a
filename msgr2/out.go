package msgr2

// outBuffers gathers what one write call sends: runs of small things copied one
// behind the other into pooled buffers, and payloads that are only referred to.
type outBuffers struct {
	list  [][]byte
	cur   []byte // the open run, last in list once closed
	bufs  []*buffer
	bytes int
}

const (
	smallBuffer = 64 << 10
	// copyLimit is the size up to which a part is copied into the small buffer:
	// below it a copy is cheaper than one more entry of the vector.
	copyLimit = 4 << 10
)

// room returns the open run with n bytes of capacity left. Runs never move once
// they are begun.
func (o *outBuffers) room(n int) []byte {
	if cap(o.cur)-len(o.cur) < n {
		o.close()
		b := newBuffer(max(n, smallBuffer))
		o.bufs = append(o.bufs, b)
		o.cur = b.b[:0:len(b.b)]
	}
	return o.cur
}

// set replaces the open run by what it grew to.
func (o *outBuffers) set(b []byte) { o.cur = b }

// close ends the open run.
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

// pending returns how many bytes are gathered.
func (o *outBuffers) pending() int { return o.bytes + len(o.cur) }

func (o *outBuffers) reset() {
	for _, b := range o.bufs {
		b.free()
	}
	clear(o.list)
	clear(o.bufs)
	o.list, o.bufs, o.cur, o.bytes = o.list[:0], o.bufs[:0], nil, 0
}

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
