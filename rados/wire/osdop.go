package wire

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Message types of OSD operations.
const (
	TypeOSDOp      uint16 = 42
	TypeOSDOpReply uint16 = 43
)

const (
	osdOpVersion     = 8  // spoken unless both sides have SERVER_SQUID
	osdOpVersionOtel = 9  // the same with an OpenTelemetry context
	blkinTraceSize   = 24 // blkin_trace_info, always zero
)

// ReqID is osd_reqid_t: what an OSD recognises a repeated request by. hdr(2,2).
// librados leaves it zero in an OSDOp: then the sender's name and the message's
// tid take its place.
type ReqID struct {
	Name entity.Name
	TID  uint64
	Inc  int32
}

func (q *ReqID) append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 2)
	b = q.Name.Append(b)
	b = denc.AppendU64(b, q.TID)
	b = denc.AppendS32(b, q.Inc)
	return denc.End(b, at)
}

func (q *ReqID) decode(r *denc.Reader) {
	s := r.Enter("osd_reqid_t", 2)
	q.Name.Decode(r)
	q.TID = r.U64()
	q.Inc = r.S32()
	r.Leave(s)
}

// OSDOp is MOSDOp: a vector of operations on one object, from a client to the
// primary of the object's placement group.
type OSDOp struct {
	PG       SPG    // the placement group that the object is in
	Hash     uint32 // the object's full hash
	Epoch    uint32 // of the map by which the client chose the OSD
	Flags    ReqFlag
	ReqID    ReqID
	ModTime  denc.Time // set by writes
	Locator  ObjectLocator
	Object   string
	Ops      []Op
	Snap     uint64 // what is read: SnapHead, SnapDir or a snapshot's id
	SnapC    SnapContext
	Retry    int32  // how often it was sent before; -1 is never, too
	Features uint64 // the client's

	// Version is the version of the message's header: 8, or 9 between ends that
	// both have SERVER_SQUID. Set it before Decode; 0 means 8.
	Version uint16
}

// Header is (42, version 8 or 9, compat 3).
func (m *OSDOp) Header() Header { return Header{TypeOSDOp, max(m.Version, osdOpVersion), 3} }

// Append appends the front. The payload is Payload's.
func (m *OSDOp) Append(b []byte) []byte {
	b = m.PG.Append(b)
	b = denc.AppendU32(b, m.Hash)
	b = denc.AppendU32(b, m.Epoch)
	b = denc.AppendU32(b, uint32(m.Flags))
	b = m.ReqID.append(b)
	b = append(b, make([]byte, blkinTraceSize)...)
	if m.Version == osdOpVersionOtel {
		var at int
		b, at = denc.Begin(b, 1, 1)
		b = denc.End(denc.AppendBool(b, false), at) // no span
	}
	b = denc.AppendU32(b, 0) // client incarnation
	b = denc.AppendTime(b, m.ModTime)
	b = m.Locator.Append(b)
	b = denc.AppendString(b, m.Object)
	b = denc.AppendU16(b, uint16(len(m.Ops)))
	for i := range m.Ops {
		b = m.Ops[i].Append(b)
	}
	b = denc.AppendU64(b, m.Snap)
	b = m.SnapC.Append(b)
	b = denc.AppendS32(b, m.Retry)
	return denc.AppendU64(b, m.Features)
}

// Decode reads a front of versions 8 and 9. The operations' payloads come by
// SplitPayload.
func (m *OSDOp) Decode(r *denc.Reader) {
	if m.Version != 0 && (m.Version < osdOpVersion || m.Version > osdOpVersionOtel) {
		r.Failf("MOSDOp version %d", m.Version)
		return
	}
	m.PG.Decode(r)
	m.Hash = r.U32()
	m.Epoch = r.U32()
	m.Flags = ReqFlag(r.U32())
	m.ReqID.decode(r)
	r.Skip(blkinTraceSize)
	if m.Version == osdOpVersionOtel {
		r.Leave(r.Enter("jspan_context", 1))
	}
	r.U32()
	m.ModTime = r.Time()
	m.Locator.Decode(r)
	m.Object = r.String()
	m.Ops = decodeOps(r, m.Ops, int(r.U16()))
	m.Snap = r.U64()
	m.SnapC.Decode(r)
	m.Retry = r.S32()
	m.Features = r.U64()
}

// Payload returns the data segment: the inputs of all operations.
func (m *OSDOp) Payload() msgr2.Data { return joinPayload(m.Ops) }

// SplitPayload gives each operation its part of the data segment.
func (m *OSDOp) SplitPayload(d msgr2.Data) error { return splitPayload(m.Ops, d) }

// EVersion is eversion_t: a position in a placement group's log.
type EVersion struct {
	Version uint64
	Epoch   uint32
}

func (v EVersion) append(b []byte) []byte {
	return denc.AppendU32(denc.AppendU64(b, v.Version), v.Epoch)
}

func (v *EVersion) decode(r *denc.Reader) { *v = EVersion{r.U64(), r.U32()} }

// Redirect is request_redirect_t: where a request is to be sent instead.
// hdr(1,1).
type Redirect struct {
	Locator ObjectLocator
	Object  string // "" keeps the name
}

func (d *Redirect) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = d.Locator.Append(b)
	b = denc.AppendString(b, d.Object)
	b = denc.AppendU32(b, 0)
	return denc.End(b, at)
}

func (d *Redirect) decode(r *denc.Reader) {
	s := r.Enter("request_redirect_t", 1)
	d.Locator.Decode(r)
	d.Object = r.String()
	r.Leave(s)
}

// OSDOpReply is MOSDOpReply: the answer to an OSDOp, by its tid.
type OSDOpReply struct {
	Object        string
	PG            PG
	Flags         ReqFlag
	Result        int32 // of the whole vector
	BadReplay     EVersion
	Epoch         uint32 // of the OSD's map
	Ops           []Op   // with Rval and output
	Retry         int32  // of the request that this answers
	ReplayVersion EVersion
	// UserVersion is the object's version, which assert-version talks about.
	UserVersion uint64
	Redirect    *Redirect
}

// Header is (43, version 8, compat 2).
func (*OSDOpReply) Header() Header { return Header{TypeOSDOpReply, 8, 2} }

// Append appends the front. The payload is Payload's.
func (m *OSDOpReply) Append(b []byte) []byte {
	b = denc.AppendString(b, m.Object)
	b = m.PG.Append(b)
	b = denc.AppendU64(b, uint64(m.Flags))
	b = denc.AppendS32(b, m.Result)
	b = m.BadReplay.append(b)
	b = denc.AppendU32(b, m.Epoch)
	b = denc.AppendU32(b, uint32(len(m.Ops)))
	for i := range m.Ops {
		b = m.Ops[i].Append(b)
	}
	b = denc.AppendS32(b, m.Retry)
	for i := range m.Ops {
		b = denc.AppendS32(b, m.Ops[i].Rval)
	}
	b = m.ReplayVersion.append(b)
	b = denc.AppendU64(b, m.UserVersion)
	b = denc.AppendBool(b, m.Redirect != nil)
	if m.Redirect != nil {
		b = m.Redirect.append(b)
	}
	return append(b, make([]byte, blkinTraceSize)...)
}

// Decode reads a front of version 8; what newer ones append is left unread. It
// reuses the room of m.Ops.
func (m *OSDOpReply) Decode(r *denc.Reader) {
	m.Object = r.String()
	m.decodeAfterObject(r)
}

// DecodeSkipObject is Decode without the object's name, which the client of a
// reply knows by its tid.
func (m *OSDOpReply) DecodeSkipObject(r *denc.Reader) {
	m.Object = ""
	r.Bytes()
	m.decodeAfterObject(r)
}

func (m *OSDOpReply) decodeAfterObject(r *denc.Reader) {
	m.PG.Decode(r)
	m.Flags = ReqFlag(r.U64())
	m.Result = r.S32()
	m.BadReplay.decode(r)
	m.Epoch = r.U32()
	m.Ops = decodeOps(r, m.Ops, int(r.U32()))
	m.Retry = r.S32()
	for i := range m.Ops {
		m.Ops[i].Rval = r.S32()
	}
	m.ReplayVersion.decode(r)
	m.UserVersion = r.U64()
	m.Redirect = nil
	if r.Bool() {
		m.Redirect = &Redirect{}
		m.Redirect.decode(r)
	}
	r.Skip(blkinTraceSize)
}

// Payload returns the data segment: the outputs of all operations.
func (m *OSDOpReply) Payload() msgr2.Data { return joinPayload(m.Ops) }

// SplitPayload gives each operation its part of the data segment.
func (m *OSDOpReply) SplitPayload(d msgr2.Data) error { return splitPayload(m.Ops, d) }

func decodeOps(r *denc.Reader, ops []Op, n int) []Op {
	if r.Err() != nil || n < 0 || n > r.Len()/OpSize {
		r.Fail(denc.ErrShort)
		return nil
	}
	if cap(ops) < n {
		ops = make([]Op, n)
	}
	ops = ops[:n]
	for i := range ops {
		ops[i] = Op{}
		ops[i].Decode(r)
	}
	return ops
}

func joinPayload(ops []Op) msgr2.Data {
	var d msgr2.Data
	for i := range ops {
		d.AppendData(ops[i].Data)
	}
	return d
}

func splitPayload(ops []Op, d msgr2.Data) error {
	off := 0
	for i := range ops {
		n := uint64(ops[i].payloadLen)
		if n > uint64(d.Len()-off) {
			return fmt.Errorf("payload of %s: %w", ops[i].Code, denc.ErrShort)
		}
		switch {
		case n == 0:
			ops[i].Data = msgr2.Data{}
		case off == 0 && n == uint64(d.Len()):
			ops[i].Data = d
		default:
			ops[i].Data = d.Slice(off, int(n))
		}
		off += int(n)
	}
	if off != d.Len() {
		return fmt.Errorf("%w: %d bytes of payload belong to no operation", denc.ErrValue, d.Len()-off)
	}
	return nil
}
