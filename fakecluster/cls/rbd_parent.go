package cls

import (
	"errors"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func parentMethods() map[string]method {
	return map[string]method{
		wire.MethodGetParent:        read(oldGetParent),
		wire.MethodSetParent:        write(oldSetParent),
		wire.MethodRemoveParent:     write(oldRemoveParent),
		wire.MethodParentGet:        read(parentGet),
		wire.MethodParentOverlapGet: read(parentOverlapGet),
		wire.MethodParentAttach:     write(parentAttach),
		wire.MethodParentDetach:     write(parentDetach),
		wire.MethodAddChild:         write(childrenAdd),
		wire.MethodRemoveChild:      write(childrenRemove),
		wire.MethodGetChildren:      read(childrenGet),
	}
}

// readParent returns the parent in the header; NoParent with ErrNotFound without
// one.
func readParent(o Object) (wire.Parent, error) {
	p, err := value(o, wire.KeyParent, one[wire.Parent])
	if err != nil {
		p = wire.NoParent()
	}
	return p, err
}

// overlapOf returns what a snapshot shares with its parent, in either form.
func overlapOf(s wire.SnapshotRecord) *uint64 {
	if s.ParentOverlap == nil && s.OldParent.Exists() {
		return s.OldParent.Overlap
	}
	return s.ParentOverlap
}

// oldGetParent answers in the form from before namespaces.
func oldGetParent(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := exists(o); err != nil {
		return nil, err
	}
	p := wire.NoParent()
	if needFeature(o, wire.FeatureLayering) == nil {
		var err error
		if p, err = readParent(o); err != nil && !missing(err) {
			return nil, err
		}
		if p.Namespace != "" {
			return nil, errno.ErrCrossDevice
		}
		if id != wire.NoSnap {
			if p, err = parentOfSnapshot(o, id, p); err != nil {
				return nil, err
			}
		}
	}
	overlap := uint64(0)
	if p.Overlap != nil {
		overlap = *p.Overlap
	}
	b := denc.AppendString(denc.AppendS64(nil, p.Pool), p.ImageID)
	return denc.AppendU64(denc.AppendU64(b, p.SnapID), overlap), nil
}

// parentOfSnapshot returns the parent of a snapshot of an image whose head's is p.
func parentOfSnapshot(o Object, id uint64, p wire.Parent) (wire.Parent, error) {
	s, err := readSnapshot(o, id)
	switch {
	case err != nil && !missing(err):
		return p, err
	case err == nil && s.OldParent.Exists():
		return s.OldParent, nil
	case err == nil && s.ParentOverlap != nil:
		if !p.Exists() {
			return p, errno.ErrInvalid
		}
		p.Overlap = s.ParentOverlap
		return p, nil
	}
	return wire.NoParent(), nil
}

func oldSetParent(o Object, in *denc.Reader) ([]byte, error) {
	p := wire.Parent{ParentImageSpec: wire.ParentImageSpec{Pool: in.S64(), ImageID: in.String(), SnapID: in.U64()}}
	overlap := in.U64()
	p.Overlap = &overlap
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, attachParent(o, p, false)
}

func oldRemoveParent(o Object, _ *denc.Reader) ([]byte, error) { return nil, detachParent(o, true) }

func parentDetach(o Object, _ *denc.Reader) ([]byte, error) { return nil, detachParent(o, false) }

func parentGet(o Object, _ *denc.Reader) ([]byte, error) {
	if err := exists(o); err != nil {
		return nil, err
	}
	p := wire.NoParent()
	if needFeature(o, wire.FeatureLayering) == nil {
		var err error
		p, err = readParent(o)
		if missing(err) {
			// The parent may still be in the records of snapshots.
			err = eachSnapshot(o, func(s wire.SnapshotRecord) (bool, error) {
				if s.OldParent.Exists() {
					p = s.OldParent
				}
				return true, nil
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return p.ParentImageSpec.Append(nil), nil
}

func parentOverlapGet(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	var overlap *uint64
	if needFeature(o, wire.FeatureLayering) == nil {
		if id == wire.NoSnap {
			p, err := readParent(o)
			if err != nil && !missing(err) {
				return nil, err
			}
			overlap = p.Overlap
		} else {
			s, err := readSnapshot(o, id)
			if err != nil {
				return nil, err
			}
			overlap = overlapOf(s)
		}
	}
	return wire.AppendOptionalU64(nil, overlap), nil
}

func parentAttach(o Object, in *denc.Reader) ([]byte, error) {
	p := wire.Parent{ParentImageSpec: one[wire.ParentImageSpec](in)}
	overlap, again := in.U64(), false
	if in.Len() > 0 {
		again = in.Bool()
	}
	p.Overlap = &overlap
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, attachParent(o, p, again)
}

func attachParent(o Object, p wire.Parent, again bool) error {
	if err := exists(o); err != nil {
		return err
	}
	if err := needFeature(o, wire.FeatureLayering); err != nil {
		return err
	}
	if !p.Exists() || *p.Overlap == 0 {
		return errno.ErrInvalid
	}
	old, err := readParent(o)
	if err != nil && !missing(err) {
		return err
	}
	if err == nil && !again && (old.Overlap != nil || old.ParentImageSpec != p.ParentImageSpec) {
		return errno.ErrExists
	}
	size, err := value(o, wire.KeySize, u64)
	if err != nil {
		return err
	}
	size = min(size, *p.Overlap)
	p.Overlap = &size
	o.SetOmap(wire.KeyParent, p.Append(nil))
	return nil
}

// detachParent makes the head independent of its parent, and its snapshots too
// if the image has deep-flatten.
func detachParent(o Object, old bool) error {
	if err := exists(o); err != nil {
		return err
	}
	features, err := value(o, wire.KeyFeatures, u64)
	if err != nil && !missing(err) {
		return err
	}
	if missing(err) || features&wire.FeatureLayering == 0 {
		return errNoExec
	}
	p, err := readParent(o)
	switch {
	case err != nil:
		return err
	case old && p.Namespace != "":
		return errno.ErrCrossDevice
	case p.Overlap == nil:
		return errno.ErrNotFound
	}
	clones, err := detachSnapshots(o, features&wire.FeatureDeepFlatten != 0)
	if err != nil {
		return err
	}
	if clones {
		p.Overlap = nil
		o.SetOmap(wire.KeyParent, p.Append(nil))
		return nil
	}
	o.RemoveOmap(wire.KeyParent)
	return setOpFeatures(o, 0, wire.OpFeatureCloneChild)
}

// detachSnapshots reports whether snapshots still need the parent. With deep it
// makes them independent.
func detachSnapshots(o Object, deep bool) (clones bool, err error) {
	err = eachSnapshot(o, func(s wire.SnapshotRecord) (bool, error) {
		if !s.HasParent() {
			return true, nil
		}
		if !deep {
			return false, errno.ErrExists
		}
		s.OldParent, s.ParentOverlap = wire.NoParent(), nil
		return true, writeSnapshot(o, s)
	})
	if errors.Is(err, errno.ErrExists) {
		return true, nil
	}
	return false, err
}

// childKey reads the key of rbd_children's methods: the parent as it came.
func childKey(in *denc.Reader) string {
	pool, image, snap := in.U64(), in.String(), in.U64()
	return string(denc.AppendU64(denc.AppendString(denc.AppendU64(nil, pool), image), snap))
}

func readChildren(o Object, key string) ([]string, error) {
	return value(o, key, func(r *denc.Reader) []string { return denc.Slice(r, 4, text) })
}

func childrenAdd(o Object, in *denc.Reader) ([]byte, error) {
	key, child := childKey(in), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	l, err := readChildren(o, key)
	if err != nil && !missing(err) {
		return nil, err
	}
	i, found := slices.BinarySearch(l, child)
	if found {
		return nil, errno.ErrExists
	}
	o.SetOmap(key, denc.AppendSlice(nil, slices.Insert(l, i, child), denc.AppendString))
	return nil, nil
}

func childrenRemove(o Object, in *denc.Reader) ([]byte, error) {
	key, child := childKey(in), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	l, err := readChildren(o, key)
	if err != nil {
		return nil, err
	}
	i, found := slices.BinarySearch(l, child)
	if !found {
		return nil, errno.ErrNotFound
	}
	if l = slices.Delete(l, i, i+1); len(l) == 0 {
		o.RemoveOmap(key)
	} else {
		o.SetOmap(key, denc.AppendSlice(nil, l, denc.AppendString))
	}
	return nil, nil
}

func childrenGet(o Object, in *denc.Reader) ([]byte, error) {
	key := childKey(in)
	if err := bad(in); err != nil {
		return nil, err
	}
	l, err := readChildren(o, key)
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, l, denc.AppendString), nil
}
