package cls

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/cls/cas"
	"github.com/rbdm/rbdm/rados/cls/cmpomap"
	"github.com/rbdm/rbdm/rados/cls/log"
	"github.com/rbdm/rbdm/rados/cls/otp"
	"github.com/rbdm/rbdm/rados/cls/queue"
	"github.com/rbdm/rbdm/rados/cls/refcount"
	"github.com/rbdm/rbdm/rados/cls/semset"
	"github.com/rbdm/rbdm/rados/cls/timeindex"
	"github.com/rbdm/rbdm/rados/cls/user"
	"github.com/rbdm/rbdm/rados/cls/version"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Object is the object that a method was called on, within the vector of
// operations that called it: what a method did is undone when the vector fails.
// Writing to an object that does not exist makes it. Slices that it returns must
// not be changed; those given to it are copied. What the object's pool refuses, such
// as keys where there are none, fails the method whatever it returns.
type Object interface {
	Exists() bool
	// Stored reports whether the object was there, be it as a removed one, before the
	// vector: then its attributes can be read.
	Stored() bool
	Create()
	Remove()
	Stat() (size uint64, mtime time.Time)
	Version() uint64

	// Read returns up to n bytes from off; n 0 means all.
	//
	// What the same vector has made is not there to be read: ErrNotFound.
	Read(off, n uint64) ([]byte, error)
	Write(off uint64, p []byte)
	WriteFull(p []byte)
	Truncate(size uint64)
	Zero(off, n uint64)

	Xattr(name string) ([]byte, bool)
	Xattrs() map[string][]byte
	SetXattr(name string, v []byte)
	RemoveXattr(name string)

	Omap(key string) ([]byte, bool)
	// OmapPage returns up to limit pairs whose keys are above after and begin
	// with prefix, and whether there are more.
	//
	// The keys of an object that the same vector has made cannot be listed.
	OmapPage(after, prefix string, limit uint64) (keys []string, values map[string][]byte, more bool, err error)
	SetOmap(key string, v []byte)
	// SetOmaps sets the values of keys, which may be none.
	SetOmaps(values map[string][]byte)
	RemoveOmap(key string)
	OmapHeader() []byte
	SetOmapHeader(v []byte)
	ClearOmap()
	// RemoveOmapRange removes the keys from first up to but without end.
	RemoveOmapRange(first, end string)

	// Client is who called, and from where.
	Client() (entity.Name, entity.Addr)
	Watchers() []wire.Watcher
	Now() time.Time
	// SnapSeq is the newest snapshot that the object has seen.
	// ok is false when there never was one, or nothing is left of the object.
	SnapSeq() (seq uint64, ok bool)
	SnapContext() wire.SnapContext
	// Unique is a text that no other operation on the placement group has had;
	// it has in it how many operations Nested was told of.
	Unique() string
	// Nested says that the method has done n operations on the object.
	Nested(n int)
}

// handler is one method: its output, or an errno.Errno.
type handler func(o Object, in *denc.Reader) ([]byte, error)

// method is a handler and what it may do.
type method struct {
	write bool
	run   handler
	// since is the first release that has the method.
	since int
}

// defaultList is osd_class_load_list's default; 20.2 adds sem_set. Some of these
// classes are not here, and have no methods.
const defaultList = "cephfs hello journal lock log numops otp rbd refcount rgw rgw_gc timeindex user version cas cmpomap queue 2pc_queue fifo"

// Registry holds the classes of one release. But for Load it is read-only once
// made.
type Registry struct {
	classes map[string]map[string]method
	release int
	list    atomic.Pointer[[]string]
}

// Load says which classes the OSDs may load, as option osd_class_load_list does:
// names with spaces between, "*" for all; the default is "".
func (g *Registry) Load(list string) {
	if list == "" {
		list = defaultList
		if g.release >= 20 {
			list += " " + semset.Class
		}
	}
	names := strings.Fields(list)
	g.list.Store(&names)
}

// loads reports whether OSDs may load a class.
func (g *Registry) loads(class string) bool {
	l := *g.list.Load()
	return slices.Contains(l, "*") || slices.Contains(l, class)
}

// Standard returns the classes that the OSDs of a release (16, 18 or 20) have.
func Standard(release int) *Registry {
	r := &Registry{release: release, classes: map[string]map[string]method{}}
	r.classes["lock"] = lockMethods()
	r.classes["journal"] = journalMethods()
	r.classes["rbd"] = rbdMethods(release)
	r.classes["hello"] = helloMethods()
	r.classes["numops"] = numopsMethods()
	r.classes["sdk"] = sdkMethods()
	r.classes[version.Class] = versionMethods()
	r.classes[refcount.Class] = refcountMethods()
	r.classes[log.Class] = logMethods(release)
	r.classes[timeindex.Class] = timeindexMethods()
	r.classes[user.Class] = userMethods(release)
	r.classes[cmpomap.Class] = cmpomapMethods()
	r.classes[cas.Class] = casMethods()
	r.classes[otp.Class] = otpMethods()
	r.classes[queue.Class] = queueMethods(release)
	r.classes[queue.TwoPhaseClass] = twoPhaseMethods(release)
	if release >= 20 {
		r.classes[semset.Class] = semsetMethods()
	}
	r.Load("")
	return r
}

func (g *Registry) find(class, name string) (method, bool) {
	m, ok := g.classes[class][name]
	return m, ok && m.since <= g.release && g.loads(class)
}

// missing returns the result of a call of a method that is not there: an OSD
// may not even load a class that its configuration does not list.
func (g *Registry) missing(class string) int32 {
	if !g.loads(class) {
		return errno.ErrPermission.Result()
	}
	return errno.ErrNotSupported.Result()
}

// Writes reports whether a method may change its object, or the result of a
// call of one that does not exist.
func (g *Registry) Writes(class, name string) (write bool, result int32) {
	m, ok := g.find(class, name)
	if !ok {
		return false, g.missing(class)
	}
	return m.write, 0
}

// Flags reports what a method may do, as it was registered, or the result of a
// call of one that does not exist.
func (g *Registry) Flags(class, name string) (read, write bool, result int32) {
	m, ok := g.find(class, name)
	if !ok {
		return false, false, g.missing(class)
	}
	// Methods that write read as well, but for those that only show how to.
	return !m.write || class != "hello", m.write, 0
}

// Call executes a method on an object: its output, and its result, negative for
// an error.
func (g *Registry) Call(o Object, class, name string, in []byte) (out []byte, result int32) {
	m, ok := g.find(class, name)
	if !ok {
		return nil, g.missing(class)
	}
	out, err := m.run(o, denc.NewReader(in))
	if err == nil {
		return out, 0
	}
	var p positive
	if errors.As(err, &p) {
		return out, int32(p)
	}
	var e errno.Errno
	if !errors.As(err, &e) {
		e = errno.ErrIO
	}
	return out, e.Result()
}

// read and write make methods of handlers.
func read(h handler) method  { return method{run: h} }
func write(h handler) method { return method{run: h, write: true} }

func (m method) from(release int) method {
	m.since = release
	return m
}

// stored returns the value of a key, ErrNotFound without one.
func stored(o Object, key string) ([]byte, error) {
	v, ok := o.Omap(key)
	if !ok {
		return nil, errno.ErrNotFound
	}
	return v, nil
}

// value decodes the value of a key: ErrNotFound without one, ErrIO when it does
// not decode.
func value[T any](o Object, key string, decode func(*denc.Reader) T) (v T, err error) {
	p, err := stored(o, key)
	if err != nil {
		return v, err
	}
	r := denc.NewReader(p)
	v = decode(r)
	if r.Err() != nil {
		return v, errno.ErrIO
	}
	return v, nil
}

// decoder is a type with a Decode method.
type decoder[T any] interface {
	*T
	Decode(r *denc.Reader)
}

// one makes a function of a Decode method.
func one[T any, P decoder[T]](r *denc.Reader) (v T) {
	P(&v).Decode(r)
	return v
}

func u8(r *denc.Reader) uint8       { return r.U8() }
func u32(r *denc.Reader) uint32     { return r.U32() }
func u64(r *denc.Reader) uint64     { return r.U64() }
func text(r *denc.Reader) string    { return r.String() }
func blob(r *denc.Reader) []byte    { return r.Bytes() }
func when(r *denc.Reader) denc.Time { return r.Time() }

// otherwise returns v, or def when err says that there is none.
func otherwise[T any](v T, err error, def T) (T, error) {
	if errors.Is(err, errno.ErrNotFound) {
		return def, nil
	}
	return v, err
}

// missing reports whether err is ErrNotFound.
func missing(err error) bool { return errors.Is(err, errno.ErrNotFound) }

// removeKey removes a key. As in an OSD, a missing key is no error and a missing
// object is.
func removeKey(o Object, key string) error {
	there := o.Exists()
	o.RemoveOmap(key)
	if !there {
		return errno.ErrNotFound
	}
	return nil
}

// each calls f for the pairs whose keys begin with prefix and are above after,
// in order, until f wants no more. The keys' prefix is cut off. An object
// that is missing has none: requests that only read do not get so far.
func each(o Object, prefix, after string, f func(name string, v []byte) (more bool, err error)) error {
	const page = 64
	last := prefix + after
	for {
		keys, values, more, err := o.OmapPage(last, prefix, page)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if on, err := f(k[len(prefix):], values[k]); err != nil || !on {
				return err
			}
			last = k
		}
		if !more || len(keys) == 0 {
			return nil
		}
	}
}

// pageArgs reads the arguments of most lists.
func pageArgs(in *denc.Reader) (after string, limit uint64, err error) {
	after, limit = in.String(), in.U64()
	return after, limit, bad(in)
}

// bad returns ErrInvalid when the arguments did not decode.
func bad(in *denc.Reader) error {
	if in.Err() != nil {
		return errno.ErrInvalid
	}
	return nil
}

// exists returns ErrNotFound when the object is missing.
func exists(o Object) error {
	if !o.Exists() {
		return errno.ErrNotFound
	}
	return nil
}

func now(o Object) denc.Time { return denc.TimeOf(o.Now()) }
