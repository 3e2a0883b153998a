package pg

import (
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// Classes are the object classes that an OSD has loaded.
type Classes interface {
	// Writes reports whether a method may change the object, or the error of a
	// class or method that does not exist (ErrNotSupported).
	Writes(class, method string) (write bool, result int32)
	// Call executes a method: its output, and its result, negative for an
	// error. Whatever it did to the object is undone when the vector fails.
	Call(o *Object, class, method string, in []byte) (out []byte, result int32)
}

// call executes an object class method.
func (t *txn) call(op *wire.Op) (msgr2.Data, int32) {
	class, method, in, ok := op.CallParts()
	if !ok {
		return msgr2.Data{}, inval
	}
	if t.req.Classes == nil {
		return msgr2.Data{}, notsup
	}
	write, r := t.req.Classes.Writes(class, method)
	if r != 0 {
		return msgr2.Data{}, r
	}
	t.visible = t.visible || write
	o := &Object{t: t}
	out, r := t.req.Classes.Call(o, class, method, in)
	if o.failed != 0 {
		if r < 0 || o.blind {
			out = nil
		}
		r = o.failed // what it had put out before stays
	}
	e := op.Extent()
	e.Len = uint64(len(out)) // where a read has the number of bytes
	op.SetExtent(e)
	return msgr2.NewData(out), r
}
