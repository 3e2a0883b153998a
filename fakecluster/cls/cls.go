// Package cls holds the object classes of the fake cluster's OSDs: the methods
// that clients call on objects, with the answers and errors of Ceph 20.2's
// rbd, lock and journal classes.
package cls

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// Errors that package errno has no name for.
const (
	errNotExec  errno.Errno = 8 // ENOEXEC: the image lacks the feature
	errBadIndex errno.Errno = 9 // EBADF
)

// method is one method of a class. run decodes its input from r, and gets the
// decoder's error turned into EINVAL when it returns r.Err().
type method struct {
	write bool
	run   func(o *pg.Object, r *denc.Reader) ([]byte, error)
}

// class is a table of methods.
type class map[string]method

// Registry is a set of classes. It implements pg.Classes, never changes and is
// safe for concurrent use.
type Registry struct{ classes map[string]class }

// New returns a registry of all classes.
func New() *Registry {
	return &Registry{map[string]class{"lock": lockClass(), "rbd": rbdClass(), "journal": journalClass()}}
}

// Writes implements pg.Classes.
func (g *Registry) Writes(class, method string) (bool, int32) {
	m, ok := g.classes[class][method]
	if !ok {
		return false, errno.ErrNotSupported.Result()
	}
	return m.write, 0
}

// Call implements pg.Classes.
func (g *Registry) Call(o *pg.Object, class, method string, in []byte) ([]byte, int32) {
	m, ok := g.classes[class][method]
	if !ok {
		return nil, errno.ErrNotSupported.Result()
	}
	out, err := m.run(o, denc.NewReader(in))
	if err == nil {
		return out, 0
	}
	var e errno.Errno
	if errors.As(err, &e) {
		return nil, e.Result()
	}
	return nil, errno.ErrInvalid.Result()
}

// rd and wr make methods.
func rd(run func(o *pg.Object, r *denc.Reader) ([]byte, error)) method { return method{false, run} }
func wr(run func(o *pg.Object, r *denc.Reader) ([]byte, error)) method { return method{true, run} }

func str(r *denc.Reader) string { return r.String() }

// get returns the value of an omap key, or ErrNotFound.
func get(o *pg.Object, key string) ([]byte, error) {
	if v, ok := o.Omap(key); ok {
		return v, nil
	}
	return nil, errno.ErrNotFound
}

func has(o *pg.Object, key string) bool {
	_, ok := o.Omap(key)
	return ok
}

func getU64(o *pg.Object, key string) (uint64, error) {
	v, err := get(o, key)
	if err != nil {
		return 0, err
	}
	r := denc.NewReader(v)
	return r.U64(), ioErr(r)
}

// ioErr turns a stored value that does not decode into EIO.
func ioErr(r *denc.Reader) error {
	if r.Err() != nil {
		return errno.ErrIO
	}
	return nil
}

func setU64(o *pg.Object, key string, v uint64) { o.SetOmap(key, denc.AppendU64(nil, v)) }

// each calls f for every key with the prefix, in order, until f fails.
func each(o *pg.Object, prefix string, f func(rest string, v []byte) error) error {
	after := ""
	for {
		keys, values, more := o.OmapPage(after, prefix, 1024)
		for _, k := range keys {
			if err := f(strings.TrimPrefix(k, prefix), values[k]); err != nil {
				return err
			}
			after = k
		}
		if !more {
			return nil
		}
	}
}

// page returns up to limit values whose keys come after prefix and after.
func page(o *pg.Object, prefix, after string, limit uint64, f func(rest string, v []byte) error) error {
	from := ""
	if after != "" {
		from = prefix + after
	}
	keys, values, _ := o.OmapPage(from, prefix, limit)
	for _, k := range keys {
		if err := f(strings.TrimPrefix(k, prefix), values[k]); err != nil {
			return err
		}
	}
	return nil
}

// hexKey is the form of keys with a number.
func hexKey(prefix string, n uint64) string { return fmt.Sprintf("%s%016x", prefix, n) }

func appendRaw(b, p []byte) []byte { return append(b, p...) }

// now returns the time as stored.
func now(o *pg.Object) []byte { return denc.AppendTime(nil, denc.TimeOf(o.Now())) }
