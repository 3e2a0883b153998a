package cls

import (
	"errors"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func directoryMethods() map[string]method {
	return map[string]method{
		wire.MethodGetID:           read(idGet),
		wire.MethodSetID:           write(idSet),
		wire.MethodDirGetID:        read(dirGet(wire.PrefixName)),
		wire.MethodDirGetName:      read(dirGet(wire.PrefixID)),
		wire.MethodDirList:         read(dirList),
		wire.MethodDirAddImage:     write(dirAdd),
		wire.MethodDirRemoveImage:  write(dirRemove),
		wire.MethodDirRenameImage:  write(dirRename),
		wire.MethodDirStateAssert:  read(dirStateAssert),
		wire.MethodDirStateSet:     write(dirStateSet),
		wire.MethodTrashAdd:        write(trashAdd),
		wire.MethodTrashRemove:     write(trashRemove),
		wire.MethodTrashList:       read(trashList),
		wire.MethodTrashGet:        read(trashGet),
		wire.MethodTrashStateSet:   write(trashStateSet),
		wire.MethodNamespaceAdd:    write(namespaceAdd),
		wire.MethodNamespaceRemove: write(namespaceRemove),
		wire.MethodNamespaceList:   read(namespaceList),
		wire.MethodGroupDirList:    read(dirList),
		wire.MethodGroupDirAdd:     write(dirAdd),
		wire.MethodGroupDirRemove:  write(dirRemove),
		wire.MethodGroupDirRename:  write(dirRename),
	}
}

// validID reports whether id is made of letters and digits.
func validID(id string) bool {
	for _, c := range []byte(id) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return false
		}
	}
	return id != ""
}

func idGet(o Object, _ *denc.Reader) ([]byte, error) {
	if size, _ := o.Stat(); !o.Exists() || size == 0 {
		return nil, errno.ErrNotFound
	}
	p, err := o.Read(0, 0)
	if err != nil {
		return nil, err
	}
	r := denc.NewReader(p)
	id := r.String()
	if r.Err() != nil {
		return nil, errno.ErrIO
	}
	return denc.AppendString(nil, id), nil
}

func idSet(o Object, in *denc.Reader) ([]byte, error) {
	if err := exists(o); err != nil {
		return nil, err
	}
	id := in.String()
	if in.Err() != nil || !validID(id) {
		return nil, errno.ErrInvalid
	}
	if size, _ := o.Stat(); size != 0 {
		return nil, errno.ErrExists
	}
	o.Write(0, denc.AppendString(nil, id))
	return nil, nil
}

// dirGet looks up a name or an id.
func dirGet(prefix string) handler {
	return func(o Object, in *denc.Reader) ([]byte, error) {
		key := in.String()
		if err := bad(in); err != nil {
			return nil, err
		}
		v, err := value(o, prefix+key, text)
		if err != nil {
			return nil, err
		}
		return denc.AppendString(nil, v), nil
	}
}

func dirList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	if limit > 0 {
		err = each(o, wire.PrefixName, after, func(name string, v []byte) (bool, error) {
			r := denc.NewReader(v)
			found[name] = r.String()
			if r.Err() != nil {
				return false, errno.ErrIO
			}
			return uint64(len(found)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, found, denc.AppendString, denc.AppendString), nil
}

func dirAdd(o Object, in *denc.Reader) ([]byte, error) {
	o.Create()
	name, id := in.String(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, addName(o, name, id, true)
}

func addName(o Object, name, id string, uniqueID bool) error {
	if name == "" || !validID(id) {
		return errno.ErrInvalid
	}
	if _, ok := o.Omap(wire.PrefixName + name); ok {
		return errno.ErrExists
	}
	if _, ok := o.Omap(wire.PrefixID + id); ok && uniqueID {
		return errBadFile
	}
	o.SetOmap(wire.PrefixName+name, denc.AppendString(nil, id))
	o.SetOmap(wire.PrefixID+id, denc.AppendString(nil, name))
	return nil
}

// hasName fails unless name and id belong together.
func hasName(o Object, name, id string) error {
	storedID, err := value(o, wire.PrefixName+name, text)
	if err != nil {
		return err
	}
	storedName, err := value(o, wire.PrefixID+id, text)
	if err != nil {
		return err
	}
	if storedName != name || storedID != id {
		return errno.ErrStale
	}
	return nil
}

func dirRemove(o Object, in *denc.Reader) ([]byte, error) {
	name, id := in.String(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := hasName(o, name, id); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixName + name)
	o.RemoveOmap(wire.PrefixID + id)
	return nil, nil
}

// dirRename checks everything before it changes anything: in an OSD a method
// does not see its own changes.
func dirRename(o Object, in *denc.Reader) ([]byte, error) {
	from, to, id := in.String(), in.String(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := hasName(o, from, id); err != nil {
		return nil, err
	}
	if err := addName(o, to, id, false); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixName + from)
	return nil, nil
}

func dirStateAssert(o Object, in *denc.Reader) ([]byte, error) {
	want := in.U8()
	if err := bad(in); err != nil {
		return nil, err
	}
	state, err := value(o, wire.KeyDirState, u8)
	if err == nil && state != want {
		err = errno.ErrNotFound
	}
	return nil, err
}

func dirStateSet(o Object, in *denc.Reader) ([]byte, error) {
	state := in.U8()
	if in.Err() != nil || state > wire.DirAddDisabled {
		return nil, errno.ErrInvalid
	}
	if state == wire.DirAddDisabled {
		if err := exists(o); err != nil {
			return nil, err
		}
		err := each(o, wire.PrefixName, "", func(string, []byte) (bool, error) { return false, errno.ErrBusy })
		if err != nil {
			return nil, err
		}
	}
	o.SetOmap(wire.KeyDirState, []byte{state})
	return nil, nil
}

func trashAdd(o Object, in *denc.Reader) ([]byte, error) {
	o.Create()
	id, spec := in.String(), one[wire.TrashImageSpec](in)
	if in.Err() != nil || !validID(id) {
		return nil, errno.ErrInvalid
	}
	_, err := value(o, wire.PrefixID+id, one[wire.TrashImageSpec])
	switch {
	case err == nil:
		return nil, errno.ErrExists
	case !missing(err):
		return nil, err
	}
	o.SetOmap(wire.PrefixID+id, spec.Append(nil))
	return nil, nil
}

func trashRemove(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, err := stored(o, wire.PrefixID+id); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixID + id)
	return nil, nil
}

func trashList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	found := map[string]wire.TrashImageSpec{}
	if limit > 0 {
		err = each(o, wire.PrefixID, after, func(id string, v []byte) (bool, error) {
			r := denc.NewReader(v)
			found[id] = one[wire.TrashImageSpec](r)
			if r.Err() != nil {
				return false, errno.ErrIO
			}
			return uint64(len(found)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, found, denc.AppendString, func(b []byte, s wire.TrashImageSpec) []byte { return s.Append(b) }), nil
}

func trashGet(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	return stored(o, wire.PrefixID+id)
}

func trashStateSet(o Object, in *denc.Reader) ([]byte, error) {
	id, state, expect := in.String(), in.U8(), in.U8()
	if err := bad(in); err != nil {
		return nil, err
	}
	spec, err := value(o, wire.PrefixID+id, one[wire.TrashImageSpec])
	switch {
	case err != nil:
		return nil, err
	case spec.State == expect:
		spec.State = state
		o.SetOmap(wire.PrefixID+id, spec.Append(nil))
	case spec.State != state:
		return nil, errno.ErrStale
	}
	return nil, nil
}

func namespaceAdd(o Object, in *denc.Reader) ([]byte, error) {
	name := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, ok := o.Omap(wire.PrefixName + name); ok {
		return nil, errno.ErrExists
	}
	o.SetOmap(wire.PrefixName+name, nil)
	return nil, nil
}

func namespaceRemove(o Object, in *denc.Reader) ([]byte, error) {
	name := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, err := stored(o, wire.PrefixName+name); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixName + name)
	return nil, nil
}

func namespaceList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	var names []string
	if limit > 0 {
		err = each(o, wire.PrefixName, after, func(name string, _ []byte) (bool, error) {
			names = append(names, name)
			return uint64(len(names)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, names, denc.AppendString), nil
}

// notFoundIsNone makes "nothing there" no error.
func notFoundIsNone(err error) error {
	if errors.Is(err, errno.ErrNotFound) {
		return nil
	}
	return err
}
