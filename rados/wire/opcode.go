package wire

import "fmt"

// OpCode is the code of one operation inside a MOSDOp (CEPH_OSD_OP_* in
// src/include/rados.h). The high nibble says read (1) or write (2), the next
// one the kind: data 2, attribute 3, exec 4, placement group 5.
type OpCode uint16

// Operation codes.
const (
	OpRead           OpCode = 0x1201
	OpStat           OpCode = 0x1202
	OpMapExt         OpCode = 0x1203
	OpSparseRead     OpCode = 0x1205
	OpNotify         OpCode = 0x1206
	OpNotifyAck      OpCode = 0x1207
	OpAssertVer      OpCode = 0x1208
	OpListWatchers   OpCode = 0x1209
	OpListSnaps      OpCode = 0x120a
	OpOmapGetKeys    OpCode = 0x1211
	OpOmapGetVals    OpCode = 0x1212
	OpOmapGetHeader  OpCode = 0x1213
	OpOmapGetByKeys  OpCode = 0x1214
	OpOmapCmp        OpCode = 0x1219
	OpChecksum       OpCode = 0x121f
	OpCmpExt         OpCode = 0x1220
	OpWrite          OpCode = 0x2201
	OpWriteFull      OpCode = 0x2202
	OpTmapUp         OpCode = 0x320a // the directory of images of format 1 is changed by it
	OpTruncate       OpCode = 0x2203
	OpZero           OpCode = 0x2204
	OpDelete         OpCode = 0x2205
	OpAppend         OpCode = 0x2206
	OpTrimTrunc      OpCode = 0x2209
	OpCreate         OpCode = 0x220d
	OpRollback       OpCode = 0x220e
	OpWatch          OpCode = 0x220f
	OpOmapSetVals    OpCode = 0x2215
	OpOmapSetHeader  OpCode = 0x2216
	OpOmapClear      OpCode = 0x2217
	OpOmapRmKeys     OpCode = 0x2218
	OpCopyFrom       OpCode = 0x221a
	OpSetAllocHint   OpCode = 0x2223
	OpWriteSame      OpCode = 0x2226
	OpOmapRmKeyRange OpCode = 0x222c
	OpCopyFrom2      OpCode = 0x222d
	OpGetXattr       OpCode = 0x1301
	OpGetXattrs      OpCode = 0x1302
	OpCmpXattr       OpCode = 0x1303
	OpSetXattr       OpCode = 0x2301
	OpRmXattr        OpCode = 0x2304
	OpCall           OpCode = 0x1401
	OpPgls           OpCode = 0x1501
	OpPgnls          OpCode = 0x1505
	OpPgnlsFilter    OpCode = 0x1506
)

const (
	opModeRead  OpCode = 0x1000
	opModeWrite OpCode = 0x2000
	opModeMask  OpCode = 0xf000
	opTypeMask  OpCode = 0x0f00
	opTypeAttr  OpCode = 0x0300
	opTypePG    OpCode = 0x0500
)

// IsRead reports whether the code is of the reading kind. Call is, whatever the
// method does.
func (c OpCode) IsRead() bool { return c&opModeMask == opModeRead }

// IsWrite reports whether the code is of the writing kind.
func (c OpCode) IsWrite() bool {
	return c&opModeMask == opModeWrite || c&opModeMask == opModeWrite|opModeRead
}

// IsPG reports whether the operation addresses a placement group rather than an
// object.
func (c OpCode) IsPG() bool { return c&opTypeMask == opTypePG }

// IsAttr reports whether the operation works on extended attributes.
func (c OpCode) IsAttr() bool { return c&opTypeMask == opTypeAttr }

// String returns Ceph's word for the operation.
func (c OpCode) String() string {
	if s, ok := opNames[c]; ok {
		return s
	}
	return fmt.Sprintf("op %#04x", uint16(c))
}

// opNames is read-only.
var opNames = map[OpCode]string{
	OpRead: "read", OpStat: "stat", OpMapExt: "mapext", OpSparseRead: "sparse-read",
	OpNotify: "notify", OpNotifyAck: "notify-ack", OpAssertVer: "assert-version",
	OpListWatchers: "list-watchers", OpListSnaps: "list-snaps",
	OpOmapGetKeys: "omap-get-keys", OpOmapGetVals: "omap-get-vals",
	OpOmapGetHeader: "omap-get-header", OpOmapGetByKeys: "omap-get-vals-by-keys",
	OpOmapCmp: "omap-cmp", OpChecksum: "checksum", OpCmpExt: "cmpext",
	OpWrite: "write", OpWriteFull: "writefull", OpTruncate: "truncate", OpZero: "zero",
	OpDelete: "delete", OpAppend: "append", OpCreate: "create", OpRollback: "rollback",
	OpWatch: "watch", OpOmapSetVals: "omap-set-vals", OpOmapSetHeader: "omap-set-header",
	OpOmapClear: "omap-clear", OpOmapRmKeys: "omap-rm-keys", OpCopyFrom: "copy-from",
	OpSetAllocHint: "set-alloc-hint", OpWriteSame: "writesame",
	OpOmapRmKeyRange: "omap-rm-key-range", OpCopyFrom2: "copy-from2",
	OpGetXattr: "getxattr", OpGetXattrs: "getxattrs", OpCmpXattr: "cmpxattr",
	OpSetXattr: "setxattr", OpRmXattr: "rmxattr", OpCall: "call",
	OpTmapUp: "tmapup", OpPgls: "pgls", OpPgnls: "pgnls", OpPgnlsFilter: "pgnls-filter",
}

// OpFlag modifies one operation inside a MOSDOp (CEPH_OSD_OP_FLAG_*).
type OpFlag uint32

// Flags of one operation.
const (
	OpFlagExcl             OpFlag = 0x01 // create: fail when the object exists
	OpFlagFailOK           OpFlag = 0x02 // go on with the vector when this fails
	OpFlagFadviseRandom    OpFlag = 0x04
	OpFlagFadviseSequent   OpFlag = 0x08
	OpFlagFadviseWillNeed  OpFlag = 0x10
	OpFlagFadviseDontNeed  OpFlag = 0x20
	OpFlagFadviseNoCache   OpFlag = 0x40
	OpFlagWithReference    OpFlag = 0x80
	OpFlagBypassCleanCache OpFlag = 0x100
)

// ReqFlag is a flag of a whole MOSDOp or MOSDOpReply (CEPH_OSD_FLAG_*).
type ReqFlag uint32

// Flags of a request.
const (
	FlagAck             ReqFlag = 0x0001
	FlagOnDisk          ReqFlag = 0x0004
	FlagRetry           ReqFlag = 0x0008
	FlagRead            ReqFlag = 0x0010
	FlagWrite           ReqFlag = 0x0020
	FlagOrderSnap       ReqFlag = 0x0040
	FlagBalanceReads    ReqFlag = 0x0100
	FlagParallelExec    ReqFlag = 0x0200
	FlagPGOp            ReqFlag = 0x0400
	FlagExec            ReqFlag = 0x0800
	FlagLocalizeReads   ReqFlag = 0x2000
	FlagRWOrdered       ReqFlag = 0x4000
	FlagIgnoreCache     ReqFlag = 0x8000
	FlagSkipRWLocks     ReqFlag = 0x10000
	FlagIgnoreOverlay   ReqFlag = 0x20000
	FlagEnforceSnapC    ReqFlag = 0x100000
	FlagRedirected      ReqFlag = 0x200000
	FlagKnownRedir      ReqFlag = 0x400000
	FlagFullTry         ReqFlag = 0x800000
	FlagFullForce       ReqFlag = 0x1000000
	FlagIgnoreRedirect  ReqFlag = 0x2000000
	FlagReturnVec       ReqFlag = 0x4000000
	FlagSupportsPoolEIO ReqFlag = 0x8000000

	// FlagsAlways is set on every request, as librados does.
	FlagsAlways = FlagOnDisk | FlagKnownRedir | FlagSupportsPoolEIO
)

// Snapshot ids with a meaning of their own.
const (
	SnapHead uint64 = 1<<64 - 2 // CEPH_NOSNAP: the object itself
	SnapDir  uint64 = 1<<64 - 1 // CEPH_SNAPDIR: the object with all its clones
)

// WatchOp is the sub-operation of OpWatch.
type WatchOp uint8

// Sub-operations of OpWatch.
const (
	WatchOpUnwatch   WatchOp = 0
	WatchOpLegacy    WatchOp = 1
	WatchOpWatch     WatchOp = 3
	WatchOpReconnect WatchOp = 5
	WatchOpPing      WatchOp = 7
)

// CmpOp says how a stored value is compared with a given one, for OpCmpXattr
// and OpOmapCmp: the stored value stands on the right, as in Ceph.
type CmpOp uint8

// Comparisons.
const (
	CmpEQ CmpOp = 1
	CmpNE CmpOp = 2
	CmpGT CmpOp = 3
	CmpGE CmpOp = 4
	CmpLT CmpOp = 5
	CmpLE CmpOp = 6
)

// CmpMode says whether OpCmpXattr compares bytes or numbers.
type CmpMode uint8

// Modes of OpCmpXattr.
const (
	CmpModeString CmpMode = 1
	CmpModeU64    CmpMode = 2
)

// ChecksumType is the algorithm of OpChecksum.
type ChecksumType uint8

// Checksum algorithms. The initial value and each result have 4, 8 and 4 bytes.
const (
	ChecksumXXHash32 ChecksumType = 0
	ChecksumXXHash64 ChecksumType = 1
	ChecksumCRC32C   ChecksumType = 2
)

// Size returns the length of a value of type t, 0 when t is not known.
func (t ChecksumType) Size() int {
	switch t {
	case ChecksumXXHash32, ChecksumCRC32C:
		return 4
	case ChecksumXXHash64:
		return 8
	}
	return 0
}
