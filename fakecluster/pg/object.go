package pg

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Object is the object that a class method works on, within the vector that
// called it. It is valid until the method returns. Slices that it returns must
// not be changed.
//
// An operation that is refused fails the method: what a class gets of an OSD as an
// error, it returns.
type Object struct {
	t *txn
	// failed is the result of the first operation that was refused. What the
	// method does after it has no effect.
	failed int32
	// blind says that it was a read, so that there is nothing to put out.
	blind bool
}

// refused reports whether an operation with this result, or one before it, was
// refused.
func (o *Object) refused(result int32) bool {
	if o.failed == 0 && result < 0 {
		o.failed = result
	}
	return o.failed != 0
}

// Exists reports whether the object is there.
func (o *Object) Exists() bool { return o.t.there() }

// Stored reports whether the object was there, be it as a removed one, before the
// vector.
func (o *Object) Stored() bool { return o.t.onClone || o.t.stored }

// Name returns the object's name and namespace.
func (o *Object) Name() Name { return o.t.o.name }

// Stat returns the size in bytes and the time of the last change.
func (o *Object) Stat() (size uint64, mtime time.Time) {
	return o.t.size(), o.t.now().mtime.Std()
}

// Version returns the object's user version.
func (o *Object) Version() uint64 { return o.t.at.version }

// Read returns up to n bytes from off; n 0 means all. Of what the same vector has
// made nothing is there: ErrNotFound.
//
// The shards of erasure coded pools are not read while a method waits.
func (o *Object) Read(off, n uint64) ([]byte, error) {
	if o.t.req.Pool.Erasure {
		return nil, errno.ErrNotSupported
	}
	size := o.t.size()
	if n == 0 {
		n = size
	}
	if !o.t.stored && off < size {
		return nil, errno.ErrNotFound
	}
	return o.t.readData(off, n).Bytes(), nil
}

// Extents returns the written parts of a range.
func (o *Object) Extents(off, n uint64) []wire.Range {
	var out []wire.Range
	for _, r := range o.t.at.data.Extents(off, n) {
		out = append(out, wire.Range{Off: r.Off, Len: r.Len})
	}
	return out
}

// Create makes the object if it is not there.
func (o *Object) Create() {
	if !o.refused(0) {
		o.t.create()
	}
}

// Write writes p at off, and makes the object if need be.
func (o *Object) Write(off uint64, p []byte) {
	if !o.refused(0) {
		r, _ := o.t.writeExtent(wire.Extent{Off: off, Len: uint64(len(p))}, msgr2.NewData(slices.Clone(p)))
		o.refused(r)
	}
}

// WriteFull replaces the object's bytes.
func (o *Object) WriteFull(p []byte) {
	if !o.refused(0) {
		o.refused(o.t.writeFull(uint64(len(p)), msgr2.NewData(slices.Clone(p))))
	}
}

// Truncate sets the size of an object that is there.
func (o *Object) Truncate(size uint64) {
	if !o.refused(0) {
		o.refused(o.t.stepTruncate(wire.Extent{Off: size}))
	}
}

// Zero makes a hole.
func (o *Object) Zero(off, n uint64) {
	if !o.refused(0) {
		op := wire.Op{Code: wire.OpZero}
		op.SetExtent(wire.Extent{Off: off, Len: n})
		o.refused(o.t.stepZero(&op))
	}
}

// Remove removes the object.
func (o *Object) Remove() {
	if !o.refused(0) {
		o.refused(o.t.remove())
	}
}

// Xattr returns the value of an attribute.
func (o *Object) Xattr(name string) ([]byte, bool) {
	v, ok := o.t.at.xattrs[name]
	return v, ok
}

// Xattrs returns all attributes.
func (o *Object) Xattrs() map[string][]byte {
	if !o.t.attributed() {
		o.blind = o.refused(noent)
	}
	return maps.Clone(o.t.at.xattrs)
}

// SetXattr sets an attribute.
func (o *Object) SetXattr(name string, v []byte) {
	if !o.refused(0) {
		o.t.setXattr(name, v)
	}
}

// RemoveXattr removes an attribute.
func (o *Object) RemoveXattr(name string) {
	if !o.refused(0) && o.t.o.exists {
		o.t.removeXattr(name)
	}
}

// Omap returns the value of a key.
func (o *Object) Omap(key string) ([]byte, bool) { return o.t.omap().Get(key) }

// OmapPage returns up to limit pairs whose keys are above after and begin with
// prefix, and whether there are more. It fails for an object that the same vector
// has made.
func (o *Object) OmapPage(after, prefix string, limit uint64) (keys []string, values map[string][]byte, more bool, err error) {
	switch {
	case o.t.newOmap() && o.t.req.Release >= emptyOmapPages:
		return nil, nil, false, errno.ErrIO // a class cannot make sense of nothing
	case o.t.newOmap():
		return nil, nil, false, errno.ErrNotFound
	}
	p := o.t.omapPage(after, prefix, limit)
	return p.Keys, p.Values, p.More, nil
}

// OmapHeader returns the omap's header.
func (o *Object) OmapHeader() []byte { return o.t.omap().Header }

// SetOmapHeader sets the omap's header.
func (o *Object) SetOmapHeader(v []byte) {
	if !o.refused(o.t.keyless()) {
		o.t.setOmapHeader(v)
	}
}

// SetOmap sets the value of a key.
func (o *Object) SetOmap(key string, v []byte) {
	if !o.refused(o.t.keyless()) {
		o.t.setOmap(key, v)
	}
}

// SetOmaps sets the values of keys, which may be none.
func (o *Object) SetOmaps(values map[string][]byte) {
	if !o.refused(o.t.keyless()) {
		o.t.markOmap()
		for k, v := range values {
			o.t.setOmap(k, v)
		}
	}
}

// RemoveOmap removes a key, if the object is there.
func (o *Object) RemoveOmap(key string) {
	if !o.refused(o.t.keyless()) && o.t.o.exists {
		o.t.removeOmap(key)
	}
}

// RemoveOmapRange removes the keys from first up to but without end.
func (o *Object) RemoveOmapRange(first, end string) {
	if !o.refused(o.t.keyless()) && o.t.o.exists {
		o.t.removeOmapRange(first, end)
	}
}

// ClearOmap removes all keys and the header.
func (o *Object) ClearOmap() {
	if !o.refused(o.t.keyless()) && o.t.o.exists {
		o.t.clearOmap()
	}
}

// Unique returns the placement group's newest user version and how many
// operations the vector has executed, those within class methods included, as far
// as Nested has told of them.
func (o *Object) Unique() string {
	return fmt.Sprintf("%d.%d", o.t.g.userVersion, o.t.index+o.t.nested)
}

// Nested says that a class method has done n operations on the object.
func (o *Object) Nested(n int) { o.t.nested += n }

// Client returns who called, and from where.
func (o *Object) Client() (entity.Name, entity.Addr) { return o.t.req.Op.ReqID.Name, o.t.req.Addr }

// Now returns the time.
func (o *Object) Now() time.Time { return o.t.g.clock.Now() }

// SnapContext returns the snap context of the request.
func (o *Object) SnapContext() wire.SnapContext { return o.t.req.Op.SnapC }

// SnapSeq returns the newest snapshot that the object had seen before the vector;
// ok is false when neither the object nor a clone of it is there.
func (o *Object) SnapSeq() (seq uint64, ok bool) {
	h := o.t.o
	return h.seq, o.t.onClone || h.exists || h.whiteout && len(h.clones) > 0
}

// Features returns the features of the client.
func (o *Object) Features() uint64 { return o.t.req.Op.Features }

// Watchers lists who watches the object.
func (o *Object) Watchers() []wire.Watcher {
	var l []wire.Watcher
	for _, k := range o.t.watching() {
		w := o.t.o.watches[k]
		l = append(l, wire.Watcher{Name: k.name, Cookie: k.cookie, Timeout: w.timeout, Addr: w.addr})
	}
	return l
}
