package cls

import (
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func groupMethods(release int) map[string]method {
	return map[string]method{
		wire.MethodGroupImageSet:      write(groupImageSet),
		wire.MethodGroupImageRemove:   write(groupImageRemove),
		wire.MethodGroupImageList:     read(groupImageList),
		wire.MethodImageGroupAdd:      write(imageGroupAdd),
		wire.MethodImageGroupRemove:   write(imageGroupRemove),
		wire.MethodImageGroupGet:      read(imageGroupGet),
		wire.MethodGroupSnapSet:       write(groupSnapSet(release >= 20)),
		wire.MethodGroupSnapRemove:    write(groupSnapRemove),
		wire.MethodGroupSnapGetByID:   read(groupSnapGet),
		wire.MethodGroupSnapList:      read(groupSnapList(release >= 20)),
		wire.MethodGroupSnapListOrder: read(groupSnapListOrder).from(20),
	}
}

func groupImageSet(o Object, in *denc.Reader) ([]byte, error) {
	s := one[wire.GroupImageStatus](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	o.SetOmap(s.Spec.Key(), []byte{s.State})
	return nil, nil
}

func groupImageRemove(o Object, in *denc.Reader) ([]byte, error) {
	s := one[wire.GroupImageSpec](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, removeKey(o, s.Key())
}

func groupImageList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit := one[wire.GroupImageSpec](in), in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	from := ""
	if key := after.Key(); key != "" {
		from = key[len(wire.PrefixGroupImage):]
	}
	var found []wire.GroupImageStatus
	err := each(o, wire.PrefixGroupImage, from, func(name string, v []byte) (bool, error) {
		if uint64(len(found)) >= limit {
			return false, nil
		}
		spec, err := wire.ParseGroupImageKey(wire.PrefixGroupImage + name)
		if err != nil || len(v) == 0 {
			return false, errno.ErrIO
		}
		if words := strings.Fields(spec.ImageID); len(words) > 0 {
			spec.ImageID = words[0] // as an OSD reads the key
		}
		found = append(found, wire.GroupImageStatus{Spec: spec, State: v[0]})
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, found, func(b []byte, s wire.GroupImageStatus) []byte { return s.Append(b) }), nil
}

func readGroupRef(o Object) (g wire.GroupSpec, err error) {
	p, err := stored(o, wire.KeyGroupRef)
	if err != nil {
		return g, err
	}
	r := denc.NewReader(p)
	g.Decode(r)
	return g, bad(r)
}

func imageGroupAdd(o Object, in *denc.Reader) ([]byte, error) {
	g := one[wire.GroupSpec](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	old, err := readGroupRef(o)
	switch {
	case err == nil && old != g:
		return nil, errno.ErrExists
	case err == nil:
		return nil, nil
	case !missing(err):
		return nil, err
	}
	if err := setOpFeatures(o, wire.OpFeatureGroup, wire.OpFeatureGroup); err != nil {
		return nil, err
	}
	o.SetOmap(wire.KeyGroupRef, g.Append(nil))
	return nil, nil
}

func imageGroupRemove(o Object, in *denc.Reader) ([]byte, error) {
	g := one[wire.GroupSpec](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	old, err := readGroupRef(o)
	if err != nil {
		return nil, err
	}
	if old != g {
		return nil, errBadFile
	}
	o.RemoveOmap(wire.KeyGroupRef)
	return nil, setOpFeatures(o, 0, wire.OpFeatureGroup)
}

func imageGroupGet(o Object, _ *denc.Reader) ([]byte, error) {
	g, err := readGroupRef(o)
	if missing(err) {
		g, err = wire.GroupSpec{Pool: -1}, nil
	}
	if err != nil {
		return nil, err
	}
	return g.Append(nil), nil
}

// readGroupSnaps returns a group's snapshots ordered by their ids.
func readGroupSnaps(o Object) (found []wire.GroupSnapshot, err error) {
	err = each(o, wire.PrefixGroupSnap, "", func(_ string, v []byte) (bool, error) {
		r := denc.NewReader(v)
		found = append(found, one[wire.GroupSnapshot](r))
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		return true, nil
	})
	return found, err
}

// groupSnapSet stores a snapshot's record. From 20.2 on the order in which
// snapshots are made is kept too.
func groupSnapSet(ordered bool) handler {
	return func(o Object, in *denc.Reader) ([]byte, error) {
		g := one[wire.GroupSnapshot](in)
		if in.Err() != nil || g.Name == "" || g.ID == "" {
			return nil, errno.ErrInvalid
		}
		snaps, err := readGroupSnaps(o)
		if err != nil {
			return nil, err
		}
		for _, s := range snaps {
			if s.Name == g.Name && s.ID != g.ID {
				return nil, errno.ErrExists
			}
		}
		if g.State == wire.GroupSnapIncomplete {
			if err := newGroupSnap(o, g.ID, ordered); err != nil {
				return nil, err
			}
		}
		o.SetOmap(wire.PrefixGroupSnap+g.ID, g.Append(nil))
		return nil, nil
	}
}

// newGroupSnap fails with ErrExists if there is a snapshot of this id, and gives
// it the next number.
func newGroupSnap(o Object, id string, ordered bool) error {
	if _, ok := o.Omap(wire.PrefixGroupSnap + id); ok {
		return errno.ErrExists
	}
	if !ordered {
		return nil
	}
	highest, err := value(o, wire.KeyGroupSnapMaxOrder, u64)
	if highest, err = otherwise(highest, err, 0); err != nil {
		return err
	}
	setU64(o, wire.PrefixGroupSnapOrder+id, highest+1)
	setU64(o, wire.KeyGroupSnapMaxOrder, highest+1)
	return nil
}

func groupSnapRemove(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := removeKey(o, wire.PrefixGroupSnap+id); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixGroupSnapOrder + id)
	return nil, nil
}

func groupSnapGet(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	g, err := value(o, wire.PrefixGroupSnap+id, one[wire.GroupSnapshot])
	if err != nil {
		return nil, err
	}
	return g.Append(nil), nil
}

// groupSnapList lists a group's snapshots by their ids. Until 20.2 it does not care
// about errors: what was listed before one is all there is.
func groupSnapList(careful bool) handler {
	return func(o Object, in *denc.Reader) ([]byte, error) {
		after, limit := one[wire.GroupSnapshot](in), in.U64()
		if err := bad(in); err != nil {
			return nil, err
		}
		var snaps []wire.GroupSnapshot
		err := each(o, wire.PrefixGroupSnap, after.ID, func(_ string, v []byte) (bool, error) {
			if uint64(len(snaps)) >= limit {
				return false, nil
			}
			r := denc.NewReader(v)
			s := one[wire.GroupSnapshot](r)
			if r.Err() != nil {
				return false, errno.ErrIO
			}
			snaps = append(snaps, s)
			return true, nil
		})
		if err != nil && careful {
			return nil, err
		}
		return denc.AppendSlice(nil, snaps, func(b []byte, s wire.GroupSnapshot) []byte { return s.Append(b) }), nil
	}
}

// groupSnapListOrder tells in what order a group's snapshots were made.
func groupSnapListOrder(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	orders := map[string]uint64{}
	if limit == 0 { // an OSD asks for a page of none
		_, _, _, err = o.OmapPage(wire.PrefixGroupSnapOrder+after, wire.PrefixGroupSnapOrder, 0)
	} else {
		err = each(o, wire.PrefixGroupSnapOrder, after, func(id string, v []byte) (bool, error) {
			r := denc.NewReader(v)
			orders[id] = r.U64()
			if r.Err() != nil {
				return false, errno.ErrIO
			}
			return uint64(len(orders)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, orders, denc.AppendString, denc.AppendU64), nil
}
