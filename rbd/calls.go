package rbd

import (
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rbd/objectmap"
	"github.com/rbdm/rbdm/rbd/wire"
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
	var p wire.ParentImageSpec
	p.Decode(r)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("parent: %w", err)
	}
	if p.Pool < 0 || p.ImageID == "" {
		return nil, nil
	}
	return &Parent{Pool: p.Pool, PoolNamespace: p.Namespace, ImageID: p.ImageID, SnapID: p.SnapID}, nil
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
	var s wire.SnapshotInfo
	s.Decode(r)
	return Snapshot{ID: s.ID, Name: s.Name, Namespace: s.Namespace, Size: s.Size, Timestamp: s.Timestamp.Std(), Children: s.Children}, r.Err()
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

func callParentAttach(op *rados.Op, p Parent) { attachCall(op, p, false) }

func callParentReattach(op *rados.Op, p Parent) { attachCall(op, p, true) }

func attachCall(op *rados.Op, p Parent, again bool) {
	spec := wire.ParentImageSpec{Pool: p.Pool, Namespace: p.PoolNamespace, ImageID: p.ImageID, SnapID: p.SnapID}
	op.CallWrite(rbdClass, "parent_attach", denc.AppendBool(denc.AppendU64(spec.Append(nil), p.Overlap), again))
}

func childSpec(c Child) wire.ChildImageSpec {
	return wire.ChildImageSpec{Pool: c.Pool, ImageID: c.ImageID, Namespace: c.PoolNamespace}
}

func callChildAttach(op *rados.Op, snapID uint64, c Child) {
	op.CallWrite(rbdClass, "child_attach", childSpec(c).Append(denc.AppendU64(nil, snapID)))
}

func callChildDetach(op *rados.Op, snapID uint64, c Child) {
	op.CallWrite(rbdClass, "child_detach", childSpec(c).Append(denc.AppendU64(nil, snapID)))
}

func decodeChildren(b *rados.Bytes, snapID uint64) ([]Child, error) {
	r := decode(b)
	cs := denc.Slice(r, 6, func(r *denc.Reader) Child {
		var c wire.ChildImageSpec
		c.Decode(r)
		return Child{Pool: c.Pool, PoolNamespace: c.Namespace, ImageID: c.ImageID, SnapID: snapID}
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
	spec := wire.TrashImageSpec{Source: e.Source, Name: e.Name, Deleted: denc.TimeOf(e.Deleted), Until: denc.TimeOf(e.Until), State: e.State}
	op.CallWrite(rbdClass, "trash_add", spec.Append(denc.AppendString(nil, e.ID)))
}

func readTrashEntry(r *denc.Reader) TrashEntry {
	var t wire.TrashImageSpec
	t.Decode(r)
	return TrashEntry{Source: t.Source, State: t.State, Name: t.Name, Deleted: t.Deleted.Std(), Until: t.Until.Std()}
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

func appendObjectMap(bits objectmap.Bits) []byte {
	return wire.ObjectMap{Objects: bits.Len(), Packed: bits.Packed()}.Append(nil)
}

func decodeObjectMap(b *rados.Bytes) (objectmap.Bits, error) {
	r := decode(b)
	var m wire.ObjectMap
	m.Decode(r)
	if err := r.Err(); err != nil {
		return objectmap.Bits{}, fmt.Errorf("%w: %w", err, rados.ErrInvalid)
	}
	return objectmap.FromPacked(m.Objects, m.Packed), nil
}

func callObjectMapSave(op *rados.Op, bits objectmap.Bits) {
	op.CallWrite(rbdClass, "object_map_save", appendObjectMap(bits))
}

func callObjectMapSnapRemove(op *rados.Op, bits objectmap.Bits) {
	op.CallWrite(rbdClass, "object_map_snap_remove", appendObjectMap(bits))
}

func callLock(op *rados.Op, cookie, tag string) {
	in := lock.Lock{Name: lockName, Type: lock.Exclusive, Cookie: cookie, Tag: tag}
	op.CallWrite(lock.Class, lock.MethodLock, in.Append(nil))
}

func callUnlock(op *rados.Op, cookie string) {
	op.CallWrite(lock.Class, lock.MethodUnlock, lock.Unlock{Name: lockName, Cookie: cookie}.Append(nil))
}

func callBreakLock(op *rados.Op, who entity.Name, cookie string) {
	in := lock.BreakLock{Name: lockName, Locker: who, Cookie: cookie}
	op.CallWrite(lock.Class, lock.MethodBreakLock, in.Append(nil))
}

// callAssertLocked makes op fail with ErrBusy unless this client holds the
// exclusive lock on the object with the cookie and tag.
func callAssertLocked(op *rados.Op, cookie, tag string) {
	in := lock.AssertLocked{Name: lockName, Type: lock.Exclusive, Cookie: cookie, Tag: tag}
	op.Call(lock.Class, lock.MethodAssertLocked, in.Append(nil))
}

func callSetCookie(op *rados.Op, cookie, tag, next string) {
	in := lock.SetCookie{Name: lockName, Type: lock.Exclusive, Cookie: cookie, Tag: tag, NewCookie: next}
	op.CallWrite(lock.Class, lock.MethodSetCookie, in.Append(nil))
}

func callLockInfo(op *rados.Op) *rados.Bytes {
	return op.Call(lock.Class, lock.MethodGetInfo, lock.GetInfo{Name: lockName}.Append(nil))
}

// decodeLockInfo reads the result of get_info; nil without a holder.
func decodeLockInfo(b *rados.Bytes) (*LockOwner, error) {
	r := decode(b)
	var info lock.Info
	info.Decode(r)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("lock info: %w", err)
	}
	if len(info.Lockers) == 0 {
		return nil, nil
	}
	l := info.Lockers[0]
	return &LockOwner{Name: l.Name, Cookie: l.Cookie, Addr: l.Addr,
		Managed: len(info.Lockers) == 1 && info.Type == lock.Exclusive && info.Tag == lockTag}, nil
}
