package cls

import (
	"bytes"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/cas"
	"github.com/rbdm/rbdm/rados/errno"
)

func casMethods() map[string]method {
	return map[string]method{
		cas.MethodCreateOrGet: write(taking(casCreateOrGet)),
		cas.MethodGet:         write(taking(casGet)),
		cas.MethodPut:         write(taking(casPut)),
		cas.MethodReferences:  read(casReferences),
	}
}

func readChunkRefs(o Object) (f cas.Refs, err error) {
	p, err := xattr(o, cas.Xattr)
	if err == errno.ErrNoData {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	return parse[cas.Refs](p)
}

func casCreateOrGet(o Object, op cas.CreateOrGet) ([]byte, error) {
	f, err := readChunkRefs(o)
	switch {
	case missing(err):
		o.WriteFull(op.Data)
	case err != nil:
		return nil, err
	case op.Flags&cas.FlagVerify != 0:
		if p, _ := o.Read(0, 0); !bytes.Equal(p, op.Data) {
			return nil, errno.ErrNoMessage
		}
	}
	f.Get(op.Source)
	o.SetXattr(cas.Xattr, f.Append(nil))
	return nil, nil
}

func casGet(o Object, op cas.Ref) ([]byte, error) {
	f, err := readChunkRefs(o)
	if err != nil {
		return nil, err
	}
	f.Get(op.Source)
	o.SetXattr(cas.Xattr, f.Append(nil))
	return nil, nil
}

func casPut(o Object, op cas.Ref) ([]byte, error) {
	f, err := readChunkRefs(o)
	if err != nil {
		return nil, err
	}
	if !f.Put(op.Source) {
		return nil, errno.ErrNoLink
	}
	if f.Len() == 0 {
		return nil, remove(o)
	}
	o.SetXattr(cas.Xattr, f.Append(nil))
	return nil, nil
}

// casReferences finds no object whose manifest refers to a chunk: there are no
// manifests here.
func casReferences(_ Object, in *denc.Reader) ([]byte, error) {
	if _ = in.Bytes(); in.Err() != nil {
		return nil, errno.ErrInvalid
	}
	return nil, errno.ErrNoLink
}

// sdkMethods are those of class sdk, Ceph's other example. An OSD has it only
// if osd_class_load_list says so.
func sdkMethods() map[string]method {
	return map[string]method{
		"test_coverage_write": write(func(o Object, _ *denc.Reader) ([]byte, error) {
			p := []byte("test")
			o.Write(0, p)
			o.SetXattr("foo", p)
			o.SetOmap("foo", p)
			return nil, nil
		}),
		"test_coverage_replay": write(sdkReplay),
	}
}

func sdkReplay(o Object, _ *denc.Reader) ([]byte, error) {
	if err := exists(o); err != nil {
		return nil, err
	}
	size, _ := o.Stat()
	p, err := xattr(o, "foo")
	if err == nil && uint64(len(p)) != size {
		err = errno.ErrIO
	}
	if err != nil {
		return nil, err
	}
	if p, err = stored(o, "foo"); err == nil && uint64(len(p)) != size {
		err = errno.ErrIO
	}
	if err != nil {
		return nil, err
	}
	o.Remove()
	return nil, nil
}
