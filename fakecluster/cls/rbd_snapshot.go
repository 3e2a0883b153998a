package cls

import (
	"cmp"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func snapshotMethods() map[string]method {
	return map[string]method{
		wire.MethodGetSnapcontext:                     read(snapContext),
		wire.MethodGetSnapshotName:                    read(snapshotName),
		wire.MethodGetSnapshotTimestamp:               read(snapshotTime),
		wire.MethodSnapshotGet:                        read(snapshotGet),
		wire.MethodSnapshotAdd:                        write(snapshotAdd),
		wire.MethodSnapshotRename:                     write(snapshotRename),
		wire.MethodSnapshotRemove:                     write(snapshotRemove),
		wire.MethodSnapshotTrashAdd:                   write(snapshotTrashAdd),
		wire.MethodSnapshotGetLimit:                   read(snapshotGetLimit),
		wire.MethodSnapshotSetLimit:                   write(snapshotSetLimit),
		wire.MethodGetProtectionStatus:                read(protectionGet),
		wire.MethodSetProtectionStatus:                write(protectionSet),
		wire.MethodChildAttach:                        write(childAttach),
		wire.MethodChildDetach:                        write(childDetach),
		wire.MethodChildrenList:                       read(childrenList),
		wire.MethodMirrorImageSnapshotUnlinkPeer:      write(mirrorSnapshotUnlink),
		wire.MethodMirrorImageSnapshotSetCopyProgress: write(mirrorSnapshotProgress),
	}
}

func readSnapshot(o Object, id uint64) (wire.SnapshotRecord, error) {
	return value(o, wire.SnapshotKey(id), one[wire.SnapshotRecord])
}

// writeSnapshot stores a record in the newest form. A parent that an old record
// held itself moves to the header.
func writeSnapshot(o Object, s wire.SnapshotRecord) error {
	if s.OldParent.Exists() {
		p, err := readParent(o)
		if err != nil && !missing(err) {
			return err
		}
		if !p.Exists() {
			p = s.OldParent
			p.Overlap = nil
			o.SetOmap(wire.KeyParent, p.Append(nil))
		}
	}
	o.SetOmap(wire.SnapshotKey(s.ID), s.Append(nil))
	return nil
}

// eachSnapshot calls f for every snapshot in the order of their ids until f
// wants no more.
func eachSnapshot(o Object, f func(s wire.SnapshotRecord) (more bool, err error)) error {
	return each(o, wire.PrefixSnapshot, "", func(_ string, v []byte) (bool, error) {
		r := denc.NewReader(v)
		s := one[wire.SnapshotRecord](r)
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		return f(s)
	})
}

func snapContext(o Object, _ *denc.Reader) ([]byte, error) {
	var ids []uint64
	err := each(o, wire.PrefixSnapshot, "", func(name string, _ []byte) (bool, error) {
		id, err := strconv.ParseUint(name, 16, 64)
		if err == nil {
			ids = append(ids, id)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	seq, err := value(o, wire.KeySnapSeq, u64)
	if err != nil {
		return nil, err
	}
	slices.Reverse(ids)
	return denc.AppendSlice(denc.AppendU64(nil, seq), ids, denc.AppendU64), nil
}

// snapshotArg reads a snapshot's id and its record.
func snapshotArg(o Object, in *denc.Reader) (s wire.SnapshotRecord, err error) {
	id := in.U64()
	if in.Err() != nil || id == wire.NoSnap {
		return s, errno.ErrInvalid
	}
	return readSnapshot(o, id)
}

func snapshotName(o Object, in *denc.Reader) ([]byte, error) {
	s, err := snapshotArg(o, in)
	if err != nil {
		return nil, err
	}
	return denc.AppendString(nil, s.Name), nil
}

func snapshotTime(o Object, in *denc.Reader) ([]byte, error) {
	s, err := snapshotArg(o, in)
	if err != nil {
		return nil, err
	}
	return denc.AppendTime(nil, s.Timestamp), nil
}

func snapshotGet(o Object, in *denc.Reader) ([]byte, error) {
	s, err := snapshotArg(o, in)
	if err != nil {
		return nil, err
	}
	return wire.SnapshotInfo{ID: s.ID, Namespace: s.Namespace, Name: s.Name, Size: s.Size, Timestamp: s.Timestamp, Children: s.Children}.Append(nil), nil
}

// newSnapshot reads the arguments of snapshot_add and what the record takes over
// from the header.
func newSnapshot(o Object, in *denc.Reader) (s wire.SnapshotRecord, err error) {
	s.OldParent = wire.NoParent()
	s.Name, s.ID = in.String(), in.U64()
	if in.Len() > 0 {
		s.Namespace.Decode(in)
	}
	if in.Err() != nil || s.Namespace.Type > wire.SnapMirror || s.ID > wire.MaxSnap {
		return s, errno.ErrInvalid
	}
	seq, err := value(o, wire.KeySnapSeq, u64)
	if err != nil {
		return s, err
	}
	if s.ID < seq {
		return s, errno.ErrStale
	}
	if s.Size, err = value(o, wire.KeySize, u64); err != nil {
		return s, err
	}
	s.Flags, err = readFlags(o, wire.NoSnap)
	s.Timestamp = now(o)
	return s, err
}

func snapshotAdd(o Object, in *denc.Reader) ([]byte, error) {
	s, err := newSnapshot(o, in)
	if err != nil {
		return nil, err
	}
	limit, err := readLimit(o)
	if err != nil {
		return nil, err
	}
	kind := string(s.Namespace.Append(nil))
	count := uint64(0)
	err = eachSnapshot(o, func(old wire.SnapshotRecord) (bool, error) {
		if count++; count >= limit {
			return false, errno.ErrQuota
		}
		if old.ID == s.ID || old.Name == s.Name && string(old.Namespace.Append(nil)) == kind {
			return false, errno.ErrExists
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	p, err := readParent(o)
	switch {
	case err == nil:
		s.ParentOverlap = p.Overlap
	case !missing(err):
		return nil, err
	}
	if s.Namespace.Type == wire.SnapTrash {
		if err := setOpFeatures(o, wire.OpFeatureSnapTrash, wire.OpFeatureSnapTrash); err != nil {
			return nil, err
		}
	}
	setU64(o, wire.KeySnapSeq, s.ID)
	return nil, writeSnapshot(o, s)
}

func snapshotRename(o Object, in *denc.Reader) ([]byte, error) {
	id, name := in.U64(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	err := eachSnapshot(o, func(s wire.SnapshotRecord) (bool, error) {
		if s.Namespace.Type == wire.SnapUser && s.Name == name {
			return false, errno.ErrExists
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	if s.Namespace.Type != wire.SnapUser {
		return nil, errno.ErrInvalid
	}
	s.Name = name
	return nil, writeSnapshot(o, s)
}

func snapshotRemove(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	if s.Protection != wire.Unprotected || s.Children > 0 {
		return nil, errno.ErrBusy
	}
	o.RemoveOmap(wire.SnapshotKey(id))
	clones, trash := false, false
	err = eachSnapshot(o, func(s wire.SnapshotRecord) (bool, error) {
		if s.ID != id {
			clones = clones || s.HasParent()
			trash = trash || s.Namespace.Type == wire.SnapTrash
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	p, err := readParent(o)
	if err != nil && !missing(err) {
		return nil, err
	}
	headIsClone := p.Exists() && p.Overlap != nil
	if p.Exists() && !headIsClone && !clones {
		o.RemoveOmap(wire.KeyParent)
	}
	mask := uint64(0)
	if !clones && !headIsClone {
		mask |= wire.OpFeatureCloneChild
	}
	if !trash {
		mask |= wire.OpFeatureSnapTrash
	}
	if mask == 0 {
		return nil, nil
	}
	return nil, setOpFeatures(o, 0, mask)
}

func snapshotTrashAdd(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := readSnapshot(o, id)
	switch {
	case err != nil:
		return nil, err
	case s.Protection != wire.Unprotected:
		return nil, errno.ErrBusy
	case s.Namespace.Type == wire.SnapTrash:
		return nil, errno.ErrExists
	}
	if err := setOpFeatures(o, wire.OpFeatureSnapTrash, wire.OpFeatureSnapTrash); err != nil {
		return nil, err
	}
	s.Namespace = wire.SnapshotNamespace{Type: wire.SnapTrash, OriginalName: s.Name, OriginalType: s.Namespace.Type}
	s.Name = newUUID()
	return nil, writeSnapshot(o, s)
}

// newUUID returns a random UUID.
func newUUID() string {
	var u denc.UUID
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u.String()
}

func readLimit(o Object) (uint64, error) {
	limit, err := value(o, wire.KeySnapLimit, u64)
	return otherwise(limit, err, math.MaxUint64)
}

func snapshotGetLimit(o Object, _ *denc.Reader) ([]byte, error) {
	limit, err := readLimit(o)
	if err != nil {
		return nil, err
	}
	return denc.AppendU64(nil, limit), nil
}

func snapshotSetLimit(o Object, in *denc.Reader) ([]byte, error) {
	limit := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	if limit == math.MaxUint64 {
		return nil, removeKey(o, wire.KeySnapLimit)
	}
	count := uint64(0)
	old, err := readOldHeader(o)
	if errors.Is(err, errLies) {
		err = nil // their number is all that matters here
	} else if errors.Is(err, errno.ErrInvalid) { // the format is 2
		err = each(o, wire.PrefixSnapshot, "", func(string, []byte) (bool, error) {
			count++
			return true, nil
		})
	}
	if err != nil {
		return nil, err
	}
	if limit < count+old.count {
		return nil, errno.ErrRange
	}
	setU64(o, wire.KeySnapLimit, limit)
	return nil, nil
}

func protectionGet(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := exists(o); err != nil {
		return nil, err
	}
	if id == wire.NoSnap {
		return nil, errno.ErrInvalid
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	if s.Protection > wire.Protected {
		return nil, errno.ErrIO
	}
	return []byte{s.Protection}, nil
}

func protectionSet(o Object, in *denc.Reader) ([]byte, error) {
	id, status := in.U64(), in.U8()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := exists(o); err != nil {
		return nil, err
	}
	if err := needFeature(o, wire.FeatureLayering); err != nil {
		return nil, err
	}
	if id == wire.NoSnap || status > wire.Protected {
		return nil, errno.ErrInvalid
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	s.Protection = status
	return nil, writeSnapshot(o, s)
}

// mirrorSnapshot reads a snapshot of kind mirror.
func mirrorSnapshot(o Object, id uint64) (wire.SnapshotRecord, error) {
	s, err := readSnapshot(o, id)
	if err == nil && s.Namespace.Type != wire.SnapMirror {
		err = errno.ErrInvalid
	}
	return s, err
}

func mirrorSnapshotUnlink(o Object, in *denc.Reader) ([]byte, error) {
	id, peer := in.U64(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := mirrorSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	i := slices.Index(s.Namespace.PeerUUIDs, peer)
	if i < 0 {
		return nil, errno.ErrNotFound
	}
	s.Namespace.PeerUUIDs = slices.Delete(s.Namespace.PeerUUIDs, i, i+1)
	return nil, writeSnapshot(o, s)
}

func mirrorSnapshotProgress(o Object, in *denc.Reader) ([]byte, error) {
	id, complete, last := in.U64(), in.Bool(), in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := mirrorSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	s.Namespace.Complete = complete
	if s.Namespace.State == wire.MirrorSnapNonPrimary || s.Namespace.State == wire.MirrorSnapNonPrimaryDemoted {
		s.Namespace.LastCopiedObject = last
	}
	return nil, writeSnapshot(o, s)
}

// readClones returns the clones of a snapshot, as encoded sets are kept: sorted.
func readClones(o Object, id uint64) ([]wire.ChildImageSpec, error) {
	return value(o, wire.SnapChildrenKey(id), func(r *denc.Reader) []wire.ChildImageSpec {
		return denc.Slice(r, 6, one[wire.ChildImageSpec])
	})
}

func appendClones(b []byte, l []wire.ChildImageSpec) []byte {
	return denc.AppendSlice(b, l, func(b []byte, c wire.ChildImageSpec) []byte { return c.Append(b) })
}

func childAttach(o Object, in *denc.Reader) ([]byte, error) {
	id, child := in.U64(), one[wire.ChildImageSpec](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	if s.Namespace.Type == wire.SnapTrash {
		return nil, errno.ErrNotFound
	}
	clones, err := readClones(o, id)
	if err != nil && !missing(err) {
		return nil, err
	}
	i, found := slices.BinarySearchFunc(clones, child, compareChildren)
	if found {
		return nil, errno.ErrExists
	}
	o.SetOmap(wire.SnapChildrenKey(id), appendClones(nil, slices.Insert(clones, i, child)))
	s.Children++
	if err := writeSnapshot(o, s); err != nil {
		return nil, err
	}
	return nil, setOpFeatures(o, wire.OpFeatureCloneParent, wire.OpFeatureCloneParent)
}

func childDetach(o Object, in *denc.Reader) ([]byte, error) {
	id, child := in.U64(), one[wire.ChildImageSpec](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	clones, err := readClones(o, id)
	if err != nil && !missing(err) {
		return nil, err
	}
	if int(s.Children) != len(clones) {
		return nil, errno.ErrInvalid
	}
	i, found := slices.BinarySearchFunc(clones, child, compareChildren)
	if !found {
		return nil, errno.ErrNotFound
	}
	if clones = slices.Delete(clones, i, i+1); len(clones) == 0 {
		o.RemoveOmap(wire.SnapChildrenKey(id))
	} else {
		o.SetOmap(wire.SnapChildrenKey(id), appendClones(nil, clones))
	}
	s.Children--
	if err := writeSnapshot(o, s); err != nil || s.Children > 0 {
		return nil, err
	}
	others := false
	err = eachSnapshot(o, func(s wire.SnapshotRecord) (bool, error) {
		others = s.ID != id && s.Children > 0
		return !others, nil
	})
	if err != nil || others {
		return nil, err
	}
	return nil, setOpFeatures(o, 0, wire.OpFeatureCloneParent)
}

func childrenList(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, err := readSnapshot(o, id); err != nil {
		return nil, err
	}
	clones, err := readClones(o, id)
	if err != nil {
		return nil, err
	}
	return appendClones(nil, clones), nil
}

// compareChildren orders clones as Ceph's set does.
func compareChildren(a, b wire.ChildImageSpec) int {
	return cmp.Or(cmp.Compare(a.Pool, b.Pool), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.ImageID, b.ImageID))
}
