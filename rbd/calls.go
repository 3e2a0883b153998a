package rbd

import (
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// rbdClass is the object class of RBD's metadata.
const rbdClass = "rbd"

// decode reads a result.
func decode(b *rados.Bytes) *denc.Reader { return denc.NewReader(b.Bytes()) }

func callGetFeatures(op *rados.Op, snapID uint64, readOnly bool) *rados.Bytes {
	return op.Call(rbdClass, "get_features", denc.AppendBool(denc.AppendU64(nil, snapID), readOnly))
}

func callGetSize(op *rados.Op, snapID uint64) *rados.Bytes {
	return op.Call(rbdClass, "get_size", denc.AppendU64(nil, snapID))
}

func callGetObjectPrefix(op *rados.Op) *rados.Bytes {
	return op.Call(rbdClass, "get_object_prefix", nil)
}

func callGetSnapContext(op *rados.Op) *rados.Bytes {
	return op.Call(rbdClass, "get_snapcontext", nil)
}

func callGetFlags(op *rados.Op, snapID uint64) *rados.Bytes {
	return op.Call(rbdClass, "get_flags", denc.AppendU64(nil, snapID))
}

// optional adds a read whose failure does not fail the others.
func optional(op *rados.Op, method string, in []byte) *rados.Bytes {
	b := op.Call(rbdClass, method, in)
	op.FailOK()
	return b
}

func callOpFeaturesGet(op *rados.Op) *rados.Bytes { return optional(op, "op_features_get", nil) }

func callParentGet(op *rados.Op) *rados.Bytes { return optional(op, "parent_get", nil) }

func callParentOverlapGet(op *rados.Op, snapID uint64) *rados.Bytes {
	return optional(op, "parent_overlap_get", denc.AppendU64(nil, snapID))
}

func callGetStripe(op *rados.Op) *rados.Bytes { return optional(op, "get_stripe_unit_count", nil) }

func callGetDataPool(op *rados.Op) *rados.Bytes { return optional(op, "get_data_pool", nil) }

// callGetTimestamp asks for the "create", "access" or "modify" timestamp.
func callGetTimestamp(op *rados.Op, which string) *rados.Bytes {
	return optional(op, "get_"+which+"_timestamp", nil)
}

func callSnapshotGet(op *rados.Op, snapID uint64) *rados.Bytes {
	return op.Call(rbdClass, "snapshot_get", denc.AppendU64(nil, snapID))
}

func callGetProtection(op *rados.Op, snapID uint64) *rados.Bytes {
	return op.Call(rbdClass, "get_protection_status", denc.AppendU64(nil, snapID))
}

// decodeParent reads the result of parent_get; nil without a parent.
func decodeParent(b *rados.Bytes) (*Parent, error) {
	r := decode(b)
	s := r.Enter("ParentImageSpec", 1)
	p := &Parent{Pool: r.S64(), PoolNamespace: r.String(), ImageID: r.String(), SnapID: r.U64()}
	r.Leave(s)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("parent: %w", err)
	}
	if p.Pool < 0 || p.ImageID == "" {
		return nil, nil
	}
	return p, nil
}

// decodeOverlap reads the result of parent_overlap_get.
func decodeOverlap(b *rados.Bytes) (n uint64, there bool, err error) {
	if err := b.Err(); err != nil {
		if errors.Is(err, rados.ErrNotFound) {
			return 0, false, nil
		}
		return 0, false, fmt.Errorf("parent overlap: %w", err)
	}
	r := decode(b)
	if r.Bool() {
		n, there = r.U64(), true
	}
	return n, there, r.Err()
}

// decodeSnapshot reads the result of snapshot_get.
func decodeSnapshot(b *rados.Bytes) (Snapshot, error) {
	r := decode(b)
	var s Snapshot
	sec := r.Enter("SnapshotInfo", 1)
	s.ID = r.U64()
	s.Namespace.Decode(r)
	s.Name = r.String()
	s.Size = r.U64()
	s.Timestamp = r.Time().Std()
	s.Children = r.U32()
	r.Leave(sec)
	return s, r.Err()
}

func callObjectMapUpdate(op *rados.Op, first, end uint64, state, expect uint8) {
	b := denc.AppendU8(denc.AppendU64(denc.AppendU64(nil, first), end), state)
	b = denc.AppendBool(b, expect != anyState)
	if expect != anyState {
		b = denc.AppendU8(b, expect)
	}
	op.CallWrite(rbdClass, "object_map_update", b)
}

func callObjectMapResize(op *rados.Op, n uint64, state uint8) {
	op.CallWrite(rbdClass, "object_map_resize", denc.AppendU8(denc.AppendU64(nil, n), state))
}

func callObjectMapSnapAdd(op *rados.Op) { op.CallWrite(rbdClass, "object_map_snap_add", nil) }

func callObjectMapLoad(op *rados.Op) *rados.Bytes { return op.Call(rbdClass, "object_map_load", nil) }

func callSetFlags(op *rados.Op, snapID, flags, mask uint64) {
	op.CallWrite(rbdClass, "set_flags", denc.AppendU64(denc.AppendU64(denc.AppendU64(nil, flags), mask), snapID))
}

func callCreate(op *rados.Op, size uint64, order uint8, features uint64, prefix string, dataPool int64) {
	b := denc.AppendU8(denc.AppendU64(nil, size), order)
	b = denc.AppendString(denc.AppendU64(b, features), prefix)
	op.CallWrite(rbdClass, "create", denc.AppendS64(b, dataPool))
}

func callSetSize(op *rados.Op, size uint64) {
	op.CallWrite(rbdClass, "set_size", denc.AppendU64(nil, size))
}

func callSetSnapLimit(op *rados.Op, n uint64) {
	op.CallWrite(rbdClass, "snapshot_set_limit", denc.AppendU64(nil, n))
}

func callSnapshotRename(op *rados.Op, id uint64, name string) {
	op.CallWrite(rbdClass, "snapshot_rename", denc.AppendString(denc.AppendU64(nil, id), name))
}

func callSnapshotRemove(op *rados.Op, id uint64) {
	op.CallWrite(rbdClass, "snapshot_remove", denc.AppendU64(nil, id))
}

func callSnapshotTrashAdd(op *rados.Op, id uint64) {
	op.CallWrite(rbdClass, "snapshot_trash_add", denc.AppendU64(nil, id))
}

func callOpFeaturesSet(op *rados.Op, features, mask uint64) {
	op.CallWrite(rbdClass, "op_features_set", denc.AppendU64(denc.AppendU64(nil, features), mask))
}

func callSnapshotAdd(op *rados.Op, name string, id uint64, ns SnapshotNamespace) {
	op.CallWrite(rbdClass, "snapshot_add", ns.Append(denc.AppendU64(denc.AppendString(nil, name), id)))
}

func callSetFeatures(op *rados.Op, features, mask uint64) {
	op.CallWrite(rbdClass, "set_features", denc.AppendU64(denc.AppendU64(nil, features), mask))
}

func callMetadataSet(op *rados.Op, pairs map[string][]byte) {
	op.CallWrite(rbdClass, "metadata_set", denc.AppendMap(nil, pairs, denc.AppendString, denc.AppendBytes))
}

func callDirGetID(op *rados.Op, name string) *rados.Bytes {
	return op.Call(rbdClass, "dir_get_id", denc.AppendString(nil, name))
}

func appendParentSpec(b []byte, p Parent) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU64(denc.AppendString(denc.AppendString(denc.AppendS64(b, p.Pool), p.PoolNamespace), p.ImageID), p.SnapID)
	return denc.End(b, at)
}

func callParentAttach(op *rados.Op, p Parent) { attachCall(op, p, false) }

func callParentReattach(op *rados.Op, p Parent) { attachCall(op, p, true) }

func attachCall(op *rados.Op, p Parent, again bool) {
	op.CallWrite(rbdClass, "parent_attach", denc.AppendBool(denc.AppendU64(appendParentSpec(nil, p), p.Overlap), again))
}

func appendChildSpec(b []byte, c Child) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendString(denc.AppendString(denc.AppendS64(b, c.Pool), c.ImageID), c.PoolNamespace)
	return denc.End(b, at)
}

func callChildAttach(op *rados.Op, snapID uint64, c Child) {
	op.CallWrite(rbdClass, "child_attach", appendChildSpec(denc.AppendU64(nil, snapID), c))
}

func callChildDetach(op *rados.Op, snapID uint64, c Child) {
	op.CallWrite(rbdClass, "child_detach", appendChildSpec(denc.AppendU64(nil, snapID), c))
}

func decodeChildren(b *rados.Bytes, snapID uint64) ([]Child, error) {
	r := decode(b)
	cs := denc.Slice(r, 6, func(r *denc.Reader) Child {
		s := r.Enter("ChildImageSpec", 2)
		c := Child{Pool: r.S64(), ImageID: r.String(), SnapID: snapID}
		if s.V >= 2 {
			c.PoolNamespace = r.String()
		}
		r.Leave(s)
		return c
	})
	return cs, r.Err()
}

// appendChildKey appends the parent as rbd_children's methods want it.
func appendChildKey(b []byte, p Parent) []byte {
	return denc.AppendU64(denc.AppendString(denc.AppendS64(b, p.Pool), p.ImageID), p.SnapID)
}

func callAddChild(op *rados.Op, p Parent, id string) {
	op.CallWrite(rbdClass, "add_child", denc.AppendString(appendChildKey(nil, p), id))
}

func callRemoveChild(op *rados.Op, p Parent, id string) {
	op.CallWrite(rbdClass, "remove_child", denc.AppendString(appendChildKey(nil, p), id))
}

func callGetChildren(op *rados.Op, p Parent) *rados.Bytes {
	return op.Call(rbdClass, "get_children", appendChildKey(nil, p))
}

func callSparseCopyup(op *rados.Op, extents []rados.Extent, payload msgr2.Data) {
	b := denc.AppendU32(make([]byte, 0, 8+16*len(extents)+payload.Len()), uint32(len(extents)))
	for _, e := range extents {
		b = denc.AppendU64(denc.AppendU64(b, e.Off), e.Len)
	}
	b = denc.AppendU32(b, uint32(payload.Len()))
	for p := range payload.Parts() {
		b = append(b, p...)
	}
	op.CallWrite(rbdClass, "sparse_copyup", b)
}

func callTrashAdd(op *rados.Op, e TrashEntry) {
	b := denc.AppendString(nil, e.ID)
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendString(denc.AppendU8(b, e.Source), e.Name)
	b = denc.AppendTime(denc.AppendTime(b, denc.TimeOf(e.Deleted)), denc.TimeOf(e.Until))
	b = denc.AppendU8(b, e.State)
	op.CallWrite(rbdClass, "trash_add", denc.End(b, at))
}

func readTrashEntry(r *denc.Reader) TrashEntry {
	s := r.Enter("TrashImageSpec", 2)
	e := TrashEntry{Source: r.U8(), Name: r.String(), Deleted: r.Time().Std(), Until: r.Time().Std()}
	if s.V >= 2 {
		e.State = r.U8()
	}
	r.Leave(s)
	return e
}

func decodeTrashEntry(id string, b *rados.Bytes) (TrashEntry, error) {
	r := decode(b)
	e := readTrashEntry(r)
	e.ID = id
	return e, r.Err()
}

func decodeTrashPage(b *rados.Bytes) ([]TrashEntry, error) {
	r := decode(b)
	var es []TrashEntry
	for id, e := range denc.Map(r, 10, (*denc.Reader).String, readTrashEntry) {
		e.ID = id
		es = append(es, e)
	}
	return es, r.Err()
}

func appendObjectMap(b []byte, bits objectmap.Bits) []byte {
	head, at := denc.Begin(nil, 1, 1)
	head = denc.End(denc.AppendU64(head, bits.Len()), at)
	b = denc.AppendBytes(b, head)
	data := bits.Packed()
	b = append(b, data...)
	foot := denc.AppendU32(nil, denc.CRC32C(0, head))
	n := (len(data) + 4095) / 4096
	foot = denc.AppendU32(foot, uint32(n))
	for i := range n {
		foot = denc.AppendU32(foot, denc.CRC32C(0, data[i*4096:min(len(data), (i+1)*4096)]))
	}
	return denc.AppendBytes(b, foot)
}

func decodeObjectMap(b *rados.Bytes) (objectmap.Bits, error) {
	r := decode(b)
	head := r.Bytes()
	hr := denc.NewReader(head)
	s := hr.Enter("BitVector", 1)
	n := hr.U64()
	hr.Leave(s)
	if err := errors.Join(r.Err(), hr.Err()); err != nil {
		return objectmap.Bits{}, fmt.Errorf("object map: %w", err)
	}
	if n > objectmap.MaxObjects {
		return objectmap.Bits{}, fmt.Errorf("object map of %d objects: %w", n, rados.ErrInvalid)
	}
	data := r.Raw(int((n + 3) / 4))
	foot := denc.NewReader(r.Bytes())
	if err := r.Err(); err != nil {
		return objectmap.Bits{}, fmt.Errorf("object map: %w", err)
	}
	if foot.Len() == 0 {
		// The class may answer without checksums.
		return objectmap.FromPacked(n, data), nil
	}
	ok := foot.U32() == denc.CRC32C(0, head)
	blocks := foot.Count(4)
	ok = ok && blocks == (len(data)+4095)/4096
	for i := 0; ok && i < blocks; i++ {
		ok = foot.U32() == denc.CRC32C(0, data[i*4096:min(len(data), (i+1)*4096)])
	}
	if !ok || foot.Err() != nil {
		return objectmap.Bits{}, fmt.Errorf("object map: bad checksum (%x): %w", b.Bytes()[:min(64, len(b.Bytes()))], rados.ErrInvalid)
	}
	return objectmap.FromPacked(n, data), nil
}

func callObjectMapSave(op *rados.Op, bits objectmap.Bits) {
	op.CallWrite(rbdClass, "object_map_save", appendObjectMap(nil, bits))
}

func callObjectMapSnapRemove(op *rados.Op, bits objectmap.Bits) {
	op.CallWrite(rbdClass, "object_map_snap_remove", appendObjectMap(nil, bits))
}

// The methods of class lock.
const (
	lockClass     = "lock"
	lockExclusive = 1
)

func callLock(op *rados.Op, cookie, tag string) {
	b, at := denc.Begin(nil, 1, 1)
	b = denc.AppendU8(denc.AppendString(b, lockName), lockExclusive)
	b = denc.AppendString(denc.AppendString(denc.AppendString(b, cookie), tag), "")
	b = denc.AppendU8(denc.AppendTime(b, denc.Time{}), 0)
	op.CallWrite(lockClass, "lock", denc.End(b, at))
}

func callUnlock(op *rados.Op, cookie string) {
	b, at := denc.Begin(nil, 1, 1)
	op.CallWrite(lockClass, "unlock", denc.End(denc.AppendString(denc.AppendString(b, lockName), cookie), at))
}

func callBreakLock(op *rados.Op, who entity.Name, cookie string) {
	b, at := denc.Begin(nil, 1, 1)
	b = who.Append(denc.AppendString(b, lockName))
	op.CallWrite(lockClass, "break_lock", denc.End(denc.AppendString(b, cookie), at))
}

// callAssertLocked makes op fail with ErrBusy unless this client holds the
// exclusive lock on the object with the cookie and tag.
func callAssertLocked(op *rados.Op, cookie, tag string) {
	b, at := denc.Begin(nil, 1, 1)
	b = denc.AppendU8(denc.AppendString(b, lockName), lockExclusive)
	op.Call(lockClass, "assert_locked", denc.End(denc.AppendString(denc.AppendString(b, cookie), tag), at))
}

func callSetCookie(op *rados.Op, cookie, tag, next string) {
	b, at := denc.Begin(nil, 1, 1)
	b = denc.AppendU8(denc.AppendString(b, lockName), lockExclusive)
	b = denc.AppendString(denc.AppendString(denc.AppendString(b, cookie), tag), next)
	op.CallWrite(lockClass, "set_cookie", denc.End(b, at))
}

func callLockInfo(op *rados.Op) *rados.Bytes {
	b, at := denc.Begin(nil, 1, 1)
	return op.Call(lockClass, "get_info", denc.End(denc.AppendString(b, lockName), at))
}

// decodeLockInfo reads the result of get_info; nil without a holder.
func decodeLockInfo(b *rados.Bytes) (*LockOwner, error) {
	r := decode(b)
	s := r.Enter("lock info", 1)
	n := r.Count(20)
	var o *LockOwner
	for range n {
		one := &LockOwner{}
		id := r.Enter("locker id", 1)
		one.Name.Decode(r)
		one.Cookie = r.String()
		r.Leave(id)
		info := r.Enter("locker info", 1)
		r.Time()
		one.Addr.Decode(r)
		_ = r.String()
		r.Leave(info)
		if o == nil {
			o = one
		}
	}
	kind := r.U8()
	tag := r.String()
	r.Leave(s)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("lock info: %w", err)
	}
	if o != nil {
		o.Managed = n == 1 && kind == lockExclusive && (tag == lockTag)
	}
	return o, nil
}
