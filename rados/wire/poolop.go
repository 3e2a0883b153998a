package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Types of pool operations.
const (
	TypePoolOpReply uint16 = 48
	TypePoolOp      uint16 = 49
)

// Operations on a pool (POOL_OP_* in src/include/ceph_fs.h).
const (
	PoolOpCreate              uint32 = 0x01
	PoolOpDelete              uint32 = 0x02
	PoolOpCreateSnap          uint32 = 0x11
	PoolOpDeleteSnap          uint32 = 0x12
	PoolOpCreateUnmanagedSnap uint32 = 0x21
	PoolOpDeleteUnmanagedSnap uint32 = 0x22
)

// PoolOp is MPoolOp, version 4. Real clients leave Paxos.Version 0.
type PoolOp struct {
	Paxos
	FSID denc.UUID
	Pool uint32
	Op   uint32
	// SnapID is the snapshot to remove.
	SnapID uint64
	// Name is that of a new pool or pool snapshot.
	Name string
	// CrushRule is the rule of a new pool; -1 is the cluster's default.
	CrushRule int16
}

// Header implements Front.
func (*PoolOp) Header() Header { return Header{TypePoolOp, 4, 2} }

// Append implements Front.
func (m *PoolOp) Append(b []byte) []byte {
	b = denc.AppendUUID(m.Paxos.Append(b), m.FSID)
	b = denc.AppendU32(b, m.Pool)
	b = denc.AppendU32(b, m.Op)
	b = denc.AppendU64(b, 0) // auid, gone since 12.2
	b = denc.AppendU64(b, m.SnapID)
	b = denc.AppendString(b, m.Name)
	b = denc.AppendU8(b, 0) // crush rule of version 3
	return denc.AppendU16(b, uint16(m.CrushRule))
}

// Decode implements Front.
func (m *PoolOp) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID = r.UUID()
	m.Pool = r.U32()
	m.Op = r.U32()
	r.U64()
	m.SnapID = r.U64()
	m.Name = r.String()
	r.U8()
	m.CrushRule = int16(r.U16())
}

// PoolOpReply is MPoolOpReply.
type PoolOpReply struct {
	Paxos
	FSID denc.UUID
	// Result is 0 or a negative errno.
	Result int32
	// Epoch is the OSD map epoch in which the operation shows.
	Epoch uint32
	// Data is u64 snapshot id for PoolOpCreateUnmanagedSnap, else nil.
	Data []byte
}

// Header implements Front.
func (*PoolOpReply) Header() Header { return Header{TypePoolOpReply, 1, 1} }

// Append implements Front.
func (m *PoolOpReply) Append(b []byte) []byte {
	b = denc.AppendUUID(m.Paxos.Append(b), m.FSID)
	b = denc.AppendS32(b, m.Result)
	b = denc.AppendU32(b, m.Epoch)
	b = denc.AppendBool(b, len(m.Data) > 0)
	if len(m.Data) > 0 {
		b = denc.AppendBytes(b, m.Data)
	}
	return b
}

// Decode implements Front. Data aliases the reader's bytes.
func (m *PoolOpReply) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID = r.UUID()
	m.Result = r.S32()
	m.Epoch = r.U32()
	m.Data = nil
	if r.Bool() {
		m.Data = r.Bytes()
	}
}
