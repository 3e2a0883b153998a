package cls

import (
	"crypto/rand"
	"encoding/base64"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/refcount"
	"github.com/rbdm/rbdm/rados/cls/version"
	"github.com/rbdm/rbdm/rados/errno"
)

// xattr returns the value of an attribute as a class sees it: ErrNotFound
// without the object, or when the vector has made it, and ErrNoData without the
// attribute.
func xattr(o Object, name string) ([]byte, error) {
	if !o.Stored() {
		return nil, errno.ErrNotFound
	}
	if v, ok := o.Xattr(name); ok {
		return v, nil
	}
	return nil, errno.ErrNoData
}

// argument reads a method's argument: ErrInvalid when it does not decode.
func argument[T any, P decoder[T]](in *denc.Reader) (v T, err error) {
	P(&v).Decode(in)
	return v, bad(in)
}

// taking makes a handler of a method whose argument is a T.
func taking[T any, P decoder[T]](run func(o Object, op T) ([]byte, error)) handler {
	return func(o Object, in *denc.Reader) ([]byte, error) {
		op, err := argument[T, P](in)
		if err != nil {
			return nil, err
		}
		return run(o, op)
	}
}

// parse reads what a class has stored: ErrIO when it does not decode.
func parse[T any, P decoder[T]](p []byte) (v T, err error) {
	r := denc.NewReader(p)
	if P(&v).Decode(r); r.Err() != nil {
		return v, errno.ErrIO
	}
	return v, nil
}

// realTime is a time as Ceph's clocks count it, in nanoseconds.
func realTime(t denc.Time) denc.Time {
	return denc.Time{Sec: t.Sec + t.Nsec/1e9, Nsec: t.Nsec % 1e9}
}

func versionMethods() map[string]method {
	return map[string]method{
		version.MethodSet: write(taking(func(o Object, op version.Set) ([]byte, error) {
			o.SetXattr(version.Xattr, op.Version.Append(nil))
			return nil, nil
		})),
		version.MethodInc:        write(taking(versionInc)),
		version.MethodIncConds:   write(taking(versionInc)),
		version.MethodRead:       read(versionRead),
		version.MethodCheckConds: read(taking(versionCheck)),
	}
}

// readVersion returns an object's version, the zero one without.
func readVersion(o Object) (v version.Version, there bool, err error) {
	p, err := xattr(o, version.Xattr)
	if err != nil {
		return v, false, nil
	}
	v, err = parse[version.Version](p)
	return v, true, err
}

func meets(v version.Version, conds []version.Cond) error {
	for _, c := range conds {
		if !c.Holds(v) {
			return errno.ErrCanceled
		}
	}
	return nil
}

func versionInc(o Object, op version.Conds) ([]byte, error) {
	v, there, err := readVersion(o)
	if err != nil {
		return nil, err
	}
	if !there {
		tag := make([]byte, version.TagLen)
		_, _ = rand.Read(tag)
		v = version.Version{Ver: 1, Tag: base64.StdEncoding.EncodeToString(tag)[:version.TagLen]}
		o.SetXattr(version.Xattr, v.Append(nil))
	}
	if err := meets(v, op.Conds); err != nil {
		return nil, err
	}
	v.Ver++
	o.SetXattr(version.Xattr, v.Append(nil))
	return nil, nil
}

func versionRead(o Object, _ *denc.Reader) ([]byte, error) {
	v, _, err := readVersion(o)
	if err != nil {
		return nil, err
	}
	return version.Read{Version: v}.Append(nil), nil
}

func versionCheck(o Object, op version.Conds) ([]byte, error) {
	v, _, err := readVersion(o)
	if err != nil {
		return nil, err
	}
	return nil, meets(v, op.Conds)
}

func refcountMethods() map[string]method {
	return map[string]method{
		refcount.MethodGet:  write(taking(refGet)),
		refcount.MethodPut:  write(taking(refPut)),
		refcount.MethodSet:  write(taking(refSet)),
		refcount.MethodRead: read(taking(refRead)),
	}
}

// readRefs returns an object's references: with implicit the wildcard when there
// are none.
func readRefs(o Object, implicit bool) (f refcount.Refs, err error) {
	p, err := xattr(o, refcount.Xattr)
	if err == errno.ErrNoData {
		f.Tags = map[string]bool{}
		if implicit {
			f.Tags[""] = true
		}
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f, err = parse[refcount.Refs](p)
	if f.Tags == nil {
		f.Tags = map[string]bool{}
	}
	slices.Sort(f.Retired)
	f.Retired = slices.Compact(f.Retired)
	return f, err
}

func refGet(o Object, op refcount.Ref) ([]byte, error) {
	f, err := readRefs(o, op.Implicit)
	if err != nil {
		return nil, err
	}
	f.Tags[op.Tag] = true
	o.SetXattr(refcount.Xattr, f.Append(nil))
	return nil, nil
}

func refPut(o Object, op refcount.Ref) ([]byte, error) {
	f, err := readRefs(o, op.Implicit)
	if err != nil {
		return nil, err
	}
	if len(f.Tags) == 0 {
		return nil, errno.ErrInvalid
	}
	tag := op.Tag
	_, found := f.Tags[tag]
	if !found && op.Implicit {
		tag = ""
		_, found = f.Tags[tag]
	}
	at, retired := slices.BinarySearch(f.Retired, op.Tag)
	if !found || retired {
		return nil, nil
	}
	f.Retired = slices.Insert(f.Retired, at, op.Tag)
	if delete(f.Tags, tag); len(f.Tags) == 0 {
		return nil, remove(o)
	}
	o.SetXattr(refcount.Xattr, f.Append(nil))
	return nil, nil
}

func refSet(o Object, op refcount.List) ([]byte, error) {
	if len(op.Tags) == 0 {
		return nil, remove(o)
	}
	f := refcount.Refs{Tags: map[string]bool{}}
	for _, tag := range op.Tags {
		f.Tags[tag] = true
	}
	o.SetXattr(refcount.Xattr, f.Append(nil))
	return nil, nil
}

// remove removes the object: ErrNotFound without one.
func remove(o Object) error {
	if !o.Exists() {
		return errno.ErrNotFound
	}
	o.Remove()
	return nil
}

func refRead(o Object, op refcount.Read) ([]byte, error) {
	f, err := readRefs(o, op.Implicit)
	if err != nil {
		return nil, err
	}
	l := refcount.List{}
	for tag := range f.Tags {
		l.Tags = append(l.Tags, tag)
	}
	slices.Sort(l.Tags)
	return l.Append(nil), nil
}
