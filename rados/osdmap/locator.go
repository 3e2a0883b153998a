package osdmap

import "github.com/rbdm/rbdm/msgr2/denc"

// ObjectLocator is object_locator_t: where in the cluster an object's name is
// to be looked up.
type ObjectLocator struct {
	Pool int64
	// Key replaces the object's name in placement when it is not empty.
	Key       string
	Namespace string
	// Hash, if not negative, replaces the hash of key and namespace.
	Hash int64
}

// NewLocator returns the locator of a pool and namespace without an own key.
func NewLocator(pool int64, namespace string) ObjectLocator {
	return ObjectLocator{Pool: pool, Namespace: namespace, Hash: -1}
}

// Append appends section (6, 3 or 6): s64 pool, s32 -1, str key, str
// namespace, s64 hash. Only a hash demands a version 6 reader.
func (l ObjectLocator) Append(b []byte) []byte {
	compat := uint8(3)
	if l.Hash != -1 {
		compat = 6
	}
	b, at := denc.Begin(b, 6, compat)
	b = denc.AppendS64(b, l.Pool)
	b = denc.AppendS32(b, -1)
	b = denc.AppendString(b, l.Key)
	b = denc.AppendString(b, l.Namespace)
	b = denc.AppendS64(b, l.Hash)
	return denc.End(b, at)
}

// Decode reads versions 5 and later.
func (l *ObjectLocator) Decode(r *denc.Reader) {
	s := r.Enter("object_locator_t", 6)
	if s.V < 5 && r.Err() == nil {
		r.Failf("object_locator_t version %d", s.V)
	}
	*l = ObjectLocator{Pool: r.S64(), Hash: -1}
	r.Skip(4)
	l.Key = r.String()
	l.Namespace = r.String()
	if s.V >= 6 {
		l.Hash = r.S64()
	}
	r.Leave(s)
}
