package cls

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func mirrorImageMethods() map[string]method {
	return map[string]method{
		wire.MethodMirrorImageList:       read(mirrorImageList),
		wire.MethodMirrorImageGetImageID: read(mirrorImageID),
		wire.MethodMirrorImageGet:        read(mirrorImageGet),
		wire.MethodMirrorImageSet:        write(mirrorImageSet),
		wire.MethodMirrorImageRemove:     write(mirrorImageRemove),
	}
}

// eachMirrorImage calls f for the mirrored images whose ids are above after,
// until f wants no more.
func eachMirrorImage(o Object, after string, f func(id string, i wire.MirrorImage) (more bool, err error)) error {
	return each(o, wire.PrefixMirrorImage, after, func(id string, v []byte) (bool, error) {
		r := denc.NewReader(v)
		i := one[wire.MirrorImage](r)
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		return f(id, i)
	})
}

func readMirrorImage(o Object, id string) (wire.MirrorImage, error) {
	return value(o, wire.PrefixMirrorImage+id, one[wire.MirrorImage])
}

func mirrorImageList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	if limit > 0 {
		err = eachMirrorImage(o, after, func(id string, i wire.MirrorImage) (bool, error) {
			found[id] = i.GlobalID
			return uint64(len(found)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, found, denc.AppendString, denc.AppendString), nil
}

func mirrorImageID(o Object, in *denc.Reader) ([]byte, error) {
	global := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	id, err := value(o, wire.PrefixMirrorGlobal+global, text)
	if err != nil {
		return nil, err
	}
	return denc.AppendString(nil, id), nil
}

func mirrorImageGet(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	i, err := readMirrorImage(o, id)
	if err != nil {
		return nil, err
	}
	return i.Append(nil), nil
}

func mirrorImageSet(o Object, in *denc.Reader) ([]byte, error) {
	id, image := in.String(), one[wire.MirrorImage](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	old, err := readMirrorImage(o, id)
	switch {
	case missing(err):
		if _, err := value(o, wire.PrefixMirrorGlobal+image.GlobalID, text); !missing(err) {
			if err == nil {
				err = errno.ErrExists
			}
			return nil, err
		}
		if image.State == wire.MirrorImageDisabling {
			return nil, errno.ErrNotFound // somebody else disabled it
		}
	case err != nil:
		return nil, err
	case old.GlobalID != image.GlobalID:
		return nil, errno.ErrInvalid
	}
	o.SetOmap(wire.PrefixMirrorImage+id, image.Append(nil))
	o.SetOmap(wire.PrefixMirrorGlobal+image.GlobalID, denc.AppendString(nil, id))
	return nil, nil
}

func mirrorImageRemove(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	i, err := readMirrorImage(o, id)
	if err != nil {
		return nil, err
	}
	if i.State != wire.MirrorImageDisabling {
		return nil, errno.ErrBusy
	}
	o.RemoveOmap(wire.PrefixMirrorImage + id)
	o.RemoveOmap(wire.PrefixMirrorGlobal + i.GlobalID)
	return nil, removeStatuses(o, i.GlobalID)
}
