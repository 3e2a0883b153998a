package cls

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

func directoryMethods() class {
	return class{
		"dir_get_id": rd(dirGet("name_")), "dir_get_name": rd(dirGet("id_")), "dir_list": rd(dirList),
		"dir_add_image": wr(dirAdd), "dir_remove_image": wr(dirRemove), "dir_rename_image": wr(dirRename),
		"dir_state_assert": rd(dirStateAssert), "dir_state_set": wr(dirStateSet),
		"trash_add": wr(trashAdd), "trash_remove": wr(trashRemove), "trash_list": rd(trashList), "trash_get": rd(trashGet),
		"trash_state_set": wr(trashStateSet),
		"namespace_add":   wr(namespaceAdd), "namespace_remove": wr(namespaceRemove), "namespace_list": rd(namespaceList),
	}
}

func dirGet(prefix string) func(*pg.Object, *denc.Reader) ([]byte, error) {
	return func(o *pg.Object, r *denc.Reader) ([]byte, error) {
		k := r.String()
		if r.Err() != nil {
			return nil, r.Err()
		}
		return get(o, prefix+k)
	}
}

func dirList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m := map[string][]byte{}
	if err := page(o, "name_", after, limit, func(k string, v []byte) error { m[k] = v; return nil }); err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, m, denc.AppendString, appendRaw), nil
}

func dirStateByte(o *pg.Object) uint8 {
	if v, ok := o.Omap("state"); ok && len(v) > 0 {
		return v[0]
	}
	return 0
}

const dirAddDisabled = 1

func addImage(o *pg.Object, name, id string, checkID bool) error {
	switch {
	case name == "" || !validID(id):
		return errno.ErrInvalid
	case dirStateByte(o) == dirAddDisabled:
		return errno.ErrBusy
	case has(o, "name_"+name):
		return errno.ErrExists
	case checkID && has(o, "id_"+id):
		return errBadIndex
	}
	o.SetOmap("name_"+name, denc.AppendString(nil, id))
	o.SetOmap("id_"+id, denc.AppendString(nil, name))
	return nil
}

func dirAdd(o *pg.Object, r *denc.Reader) ([]byte, error) {
	name, id := r.String(), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return nil, addImage(o, name, id, true)
}

func removeImage(o *pg.Object, name, id string) error {
	n, err := get(o, "name_"+name)
	if err != nil {
		return err
	}
	i, err := get(o, "id_"+id)
	if err != nil {
		return err
	}
	if denc.NewReader(n).String() != id || denc.NewReader(i).String() != name {
		return errno.ErrStale
	}
	o.RemoveOmap("name_" + name)
	o.RemoveOmap("id_" + id)
	return nil
}

func dirRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	name, id := r.String(), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return nil, removeImage(o, name, id)
}

func dirRename(o *pg.Object, r *denc.Reader) ([]byte, error) {
	src, dst, id := r.String(), r.String(), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if err := removeImage(o, src, id); err != nil {
		return nil, err
	}
	return nil, addImage(o, dst, id, false)
}

func dirStateAssert(o *pg.Object, r *denc.Reader) ([]byte, error) {
	want := r.U8()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if dirStateByte(o) != want {
		return nil, errno.ErrBusy
	}
	return nil, nil
}

func dirStateSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	state := r.U8()
	if r.Err() != nil || state > dirAddDisabled {
		return nil, errno.ErrInvalid
	}
	if state != dirAddDisabled {
		if o.Exists() {
			o.RemoveOmap("state")
		}
		return nil, nil
	}
	if !o.Exists() {
		return nil, errno.ErrNotFound
	}
	if keys, _, _ := o.OmapPage("", "name_", 1); len(keys) > 0 {
		return nil, errno.ErrBusy
	}
	o.SetOmap("state", []byte{state})
	return nil, nil
}

func trashAdd(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	spec := slices.Clone(r.Rest())
	if r.Err() != nil {
		return nil, r.Err()
	}
	if has(o, "id_"+id) {
		return nil, errno.ErrExists
	}
	o.SetOmap("id_"+id, spec)
	return nil, nil
}

func trashRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if !has(o, "id_"+id) {
		return nil, errno.ErrNotFound
	}
	o.RemoveOmap("id_" + id)
	return nil, nil
}

func trashList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m := map[string][]byte{}
	if err := page(o, "id_", after, limit, func(k string, v []byte) error { m[k] = v; return nil }); err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, m, denc.AppendString, appendRaw), nil
}

func trashGet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, "id_"+id)
}

func trashStateSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, fresh, expect := r.String(), r.U8(), r.U8()
	if r.Err() != nil {
		return nil, r.Err()
	}
	v, err := get(o, "id_"+id)
	if err != nil {
		return nil, err
	}
	t := denc.NewReader(v)
	s := t.Enter("TrashImageSpec", 2)
	source, name, deleted, end, state := t.U8(), t.String(), t.Time(), t.Time(), uint8(0)
	if s.V >= 2 {
		state = t.U8()
	}
	t.Leave(s)
	if t.Err() != nil {
		return nil, errno.ErrIO
	}
	if state != expect && state != fresh {
		return nil, errno.ErrStale
	}
	b, at := denc.Begin(nil, 2, 1)
	b = denc.AppendString(append(b, source), name)
	b = denc.AppendTime(denc.AppendTime(b, deleted), end)
	o.SetOmap("id_"+id, denc.End(append(b, fresh), at))
	return nil, nil
}

func namespaceAdd(o *pg.Object, r *denc.Reader) ([]byte, error) {
	name := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if has(o, "name_"+name) {
		return nil, errno.ErrExists
	}
	o.SetOmap("name_"+name, nil)
	return nil, nil
}

func namespaceRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	name := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if !has(o, "name_"+name) {
		return nil, errno.ErrNotFound
	}
	o.RemoveOmap("name_" + name)
	return nil, nil
}

func namespaceList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	var names []string
	if err := page(o, "name_", after, limit, func(k string, _ []byte) error { names = append(names, k); return nil }); err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, names, denc.AppendString), nil
}

// groupMethods are those methods of consistency groups that every image's
// refresh needs, and the directory of groups.
func groupMethods() class {
	return class{
		"image_group_get": rd(func(o *pg.Object, _ *denc.Reader) ([]byte, error) {
			if !has(o, "size") {
				return nil, errno.ErrNotFound
			}
			if v, ok := o.Omap("rbd_group_ref"); ok {
				return v, nil
			}
			b, at := denc.Begin(nil, 1, 1)
			return denc.End(denc.AppendString(denc.AppendS64(b, -1), ""), at), nil
		}),
		"image_group_add": wr(func(o *pg.Object, r *denc.Reader) ([]byte, error) {
			spec := slices.Clone(r.Rest())
			if old, ok := o.Omap("rbd_group_ref"); ok && !slices.Equal(old, spec) {
				return nil, errno.ErrExists
			}
			o.SetOmap("rbd_group_ref", spec)
			return nil, setOpFeatures(o, 4, 4)
		}),
		"image_group_remove": wr(func(o *pg.Object, r *denc.Reader) ([]byte, error) {
			old, err := get(o, "rbd_group_ref")
			if err != nil {
				return nil, err
			}
			if !slices.Equal(old, r.Rest()) {
				return nil, errBadIndex
			}
			o.RemoveOmap("rbd_group_ref")
			return nil, setOpFeatures(o, 0, 4)
		}),
		"group_dir_list": rd(dirList),
	}
}
