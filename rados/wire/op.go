package wire

import (
	"encoding/binary"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// OpSize is the length of an encoded Op head (struct ceph_osd_op).
const OpSize = 38

const unionSize = 28

// Op is Op: one operation of a MOSDOp with its input, or of a
// MOSDOpReply with its output. On the wire the head stands in the message's
// front and the payload in its data segment, all payloads back to back.
type Op struct {
	Code  OpCode
	Flags OpFlag
	// Union is the argument block; which fields it holds depends on Code. Use
	// the accessors.
	Union [unionSize]byte
	// Data is the input in a request and the output in a reply.
	Data msgr2.Data
	// Rval is the operation's own result, in a reply: negative for an error.
	Rval int32

	// payloadLen is what a decoded head announced.
	payloadLen uint32
}

// PayloadLen returns the payload length that a decoded head announced.
func (o *Op) PayloadLen() uint32 { return o.payloadLen }

// Append appends the 38-byte head.
func (o *Op) Append(b []byte) []byte {
	b = denc.AppendU16(b, uint16(o.Code))
	b = denc.AppendU32(b, uint32(o.Flags))
	b = append(b, o.Union[:]...)
	return denc.AppendU32(b, uint32(o.Data.Len()))
}

// Decode reads a head. The payload comes by the message's data segment.
func (o *Op) Decode(r *denc.Reader) {
	o.Code = OpCode(r.U16())
	o.Flags = OpFlag(r.U32())
	copy(o.Union[:], r.Raw(unionSize))
	o.payloadLen = r.U32()
}

func (o *Op) u64(at int) uint64       { return binary.LittleEndian.Uint64(o.Union[at:]) }
func (o *Op) u32(at int) uint32       { return binary.LittleEndian.Uint32(o.Union[at:]) }
func (o *Op) putU64(at int, v uint64) { binary.LittleEndian.PutUint64(o.Union[at:], v) }
func (o *Op) putU32(at int, v uint32) { binary.LittleEndian.PutUint32(o.Union[at:], v) }

// Extent is the argument of read, sparse-read, write, writefull, zero,
// truncate, append and cmpext. All in bytes.
type Extent struct {
	Off, Len uint64
	// TruncateSize and TruncateSeq belong to CephFS; 0 in RBD.
	TruncateSize uint64
	TruncateSeq  uint32
}

// Extent returns the argument of an extent operation.
func (o *Op) Extent() Extent {
	return Extent{Off: o.u64(0), Len: o.u64(8), TruncateSize: o.u64(16), TruncateSeq: o.u32(24)}
}

// SetExtent sets the argument of an extent operation.
func (o *Op) SetExtent(e Extent) {
	o.putU64(0, e.Off)
	o.putU64(8, e.Len)
	o.putU64(16, e.TruncateSize)
	o.putU32(24, e.TruncateSeq)
}

// XattrArg is the argument of the attribute operations. The payload is name,
// then value.
type XattrArg struct {
	NameLen, ValueLen uint32
	Op                CmpOp
	Mode              CmpMode
}

// Xattr returns the argument of an attribute operation.
func (o *Op) Xattr() XattrArg {
	return XattrArg{NameLen: o.u32(0), ValueLen: o.u32(4), Op: CmpOp(o.Union[8]), Mode: CmpMode(o.Union[9])}
}

// SetXattr sets the argument of an attribute operation.
func (o *Op) SetXattr(a XattrArg) {
	o.putU32(0, a.NameLen)
	o.putU32(4, a.ValueLen)
	o.Union[8], o.Union[9] = uint8(a.Op), uint8(a.Mode)
}

// XattrNameValue splits the payload of an attribute operation. ok is false
// when the lengths do not fit it.
func (o *Op) XattrNameValue() (name string, value []byte, ok bool) {
	a, p := o.Xattr(), o.Data.Bytes()
	if uint64(a.NameLen)+uint64(a.ValueLen) > uint64(len(p)) {
		return "", nil, false
	}
	return string(p[:a.NameLen]), p[a.NameLen : a.NameLen+a.ValueLen], true
}

// CallArg is the argument of call. The payload is class, method, input.
type CallArg struct {
	ClassLen, MethodLen, ArgCount uint8
	InputLen                      uint32
}

// Call returns the argument of a call.
func (o *Op) Call() CallArg {
	return CallArg{o.Union[0], o.Union[1], o.Union[2], binary.LittleEndian.Uint32(o.Union[3:])}
}

// SetCall sets the argument of a call.
func (o *Op) SetCall(a CallArg) {
	o.Union[0], o.Union[1], o.Union[2] = a.ClassLen, a.MethodLen, a.ArgCount
	binary.LittleEndian.PutUint32(o.Union[3:], a.InputLen)
}

// CallParts splits the payload of a call. ok is false when the lengths do not
// fit it.
func (o *Op) CallParts() (class, method string, input []byte, ok bool) {
	a, p := o.Call(), o.Data.Bytes()
	c, m := int(a.ClassLen), int(a.ClassLen)+int(a.MethodLen)
	if uint64(m)+uint64(a.InputLen) > uint64(len(p)) {
		return "", "", nil, false
	}
	return string(p[:c]), string(p[c:m]), p[m : m+int(a.InputLen)], true
}

// WatchArg is the argument of watch.
type WatchArg struct {
	Cookie uint64 // chosen by the client, unique on it
	Ver    uint64
	Op     WatchOp
	Gen    uint32 // how often this watch was registered anew
	// Timeout is in seconds; 0 means the OSD's default.
	Timeout uint32
}

// Watch returns the argument of a watch.
func (o *Op) Watch() WatchArg {
	return WatchArg{
		Cookie: o.u64(0), Ver: o.u64(8), Op: WatchOp(o.Union[16]),
		Gen: binary.LittleEndian.Uint32(o.Union[17:]), Timeout: binary.LittleEndian.Uint32(o.Union[21:]),
	}
}

// SetWatch sets the argument of a watch.
func (o *Op) SetWatch(a WatchArg) {
	o.putU64(0, a.Cookie)
	o.putU64(8, a.Ver)
	o.Union[16] = uint8(a.Op)
	binary.LittleEndian.PutUint32(o.Union[17:], a.Gen)
	binary.LittleEndian.PutUint32(o.Union[21:], a.Timeout)
}

// NotifyCookie returns the argument of notify: the notifier's own cookie.
func (o *Op) NotifyCookie() uint64 { return o.u64(0) }

// SetNotifyCookie sets the argument of notify.
func (o *Op) SetNotifyCookie(cookie uint64) { o.putU64(0, cookie) }

// AssertVer returns the version that assert-version demands.
func (o *Op) AssertVer() uint64 { return o.u64(8) }

// SetAssertVer sets the version that assert-version demands.
func (o *Op) SetAssertVer(v uint64) { o.putU64(8, v) }

// RollbackSnap returns the snapshot id of a rollback.
func (o *Op) RollbackSnap() uint64 { return o.u64(0) }

// SetRollbackSnap sets the snapshot id of a rollback.
func (o *Op) SetRollbackSnap(snap uint64) { o.putU64(0, snap) }

// AllocHint is the argument of set-alloc-hint: sizes in bytes, flags as in
// CEPH_OSD_ALLOC_HINT_FLAG_*.
type AllocHint struct {
	ObjectSize, WriteSize uint64
	Flags                 uint32
}

// AllocHint returns the argument of set-alloc-hint.
func (o *Op) AllocHint() AllocHint { return AllocHint{o.u64(0), o.u64(8), o.u32(16)} }

// SetAllocHint sets the argument of set-alloc-hint.
func (o *Op) SetAllocHint(h AllocHint) {
	o.putU64(0, h.ObjectSize)
	o.putU64(8, h.WriteSize)
	o.putU32(16, h.Flags)
}

// WriteSameArg is the argument of writesame, in bytes; Len is a multiple of
// DataLen, which is the length of the payload.
type WriteSameArg struct{ Off, Len, DataLen uint64 }

// WriteSame returns the argument of writesame.
func (o *Op) WriteSame() WriteSameArg { return WriteSameArg{o.u64(0), o.u64(8), o.u64(16)} }

// SetWriteSame sets the argument of writesame.
func (o *Op) SetWriteSame(a WriteSameArg) {
	o.putU64(0, a.Off)
	o.putU64(8, a.Len)
	o.putU64(16, a.DataLen)
}

// ChecksumArg is the argument of checksum; the payload is the initial value.
type ChecksumArg struct {
	Off, Len  uint64 // Len 0: to the end of the object
	ChunkSize uint32 // 0: one checksum over all of it
	Type      ChecksumType
}

// Checksum returns the argument of checksum.
func (o *Op) Checksum() ChecksumArg {
	return ChecksumArg{o.u64(0), o.u64(8), o.u32(16), ChecksumType(o.Union[20])}
}

// SetChecksum sets the argument of checksum.
func (o *Op) SetChecksum(a ChecksumArg) {
	o.putU64(0, a.Off)
	o.putU64(8, a.Len)
	o.putU32(16, a.ChunkSize)
	o.Union[20] = uint8(a.Type)
}

// CopyFromArg is the argument of copy-from and copy-from2.
type CopyFromArg struct {
	Snap, SrcVersion uint64
	Flags            uint8
	SrcFadviseFlags  OpFlag
}

// Flags of CopyFromArg.
const (
	CopyFromFlagFlush         uint8 = 1
	CopyFromFlagIgnoreOverlay uint8 = 2
	CopyFromFlagIgnoreCache   uint8 = 4
	CopyFromFlagMapSnapClone  uint8 = 8
	CopyFromFlagRWOrdered     uint8 = 16
	CopyFromFlagTruncateSeq   uint8 = 32
)

// CopyFrom returns the argument of copy-from.
func (o *Op) CopyFrom() CopyFromArg {
	return CopyFromArg{o.u64(0), o.u64(8), o.Union[16], OpFlag(binary.LittleEndian.Uint32(o.Union[17:]))}
}

// SetCopyFrom sets the argument of copy-from.
func (o *Op) SetCopyFrom(a CopyFromArg) {
	o.putU64(0, a.Snap)
	o.putU64(8, a.SrcVersion)
	o.Union[16] = a.Flags
	binary.LittleEndian.PutUint32(o.Union[17:], uint32(a.SrcFadviseFlags))
}

// PglsArg is the argument of pgls and pgnls.
type PglsArg struct {
	Count      uint64 // how many entries are wanted
	StartEpoch uint32
}

// Pgls returns the argument of pgls and pgnls.
func (o *Op) Pgls() PglsArg { return PglsArg{o.u64(0), o.u32(8)} }

// SetPgls sets the argument of pgls and pgnls.
func (o *Op) SetPgls(a PglsArg) {
	o.putU64(0, a.Count)
	o.putU32(8, a.StartEpoch)
}
