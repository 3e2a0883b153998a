package cephx

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

const stateVersion = 1

// AppendState appends all that a KeyServer knows: the entities with their keys
// and capabilities, the rotating keys, so that tickets stay good, and the last
// global id. The form is our own. It is full of secrets.
func (s *KeyServer) AppendState(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, at := denc.Begin(b, stateVersion, stateVersion)
	names := slices.SortedFunc(maps.Keys(s.entries), func(a, b entity.AuthName) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	b = denc.AppendSlice(b, names, func(b []byte, n entity.AuthName) []byte {
		e := s.entries[n]
		b = n.Append(b)
		b = denc.AppendBytes(b, e.Key.Append(nil))
		return denc.AppendMap(b, e.Caps, denc.AppendString, denc.AppendString)
	})
	b = denc.AppendMap(b, s.rotating,
		func(b []byte, t entity.Type) []byte { return denc.AppendU32(b, uint32(t)) },
		func(b []byte, rk *rotatingKeys) []byte {
			b = denc.AppendU64(b, rk.current)
			return denc.AppendMap(b, rk.keys, denc.AppendU64, func(b []byte, k Key) []byte { return denc.AppendBytes(b, k.Append(nil)) })
		})
	b = denc.AppendU64(b, s.lastGID)
	return denc.End(b, at)
}

// RestoreState replaces all that a KeyServer knows by what AppendState wrote.
// When r has an error after it, the KeyServer is as it was.
func (s *KeyServer) RestoreState(r *denc.Reader) {
	entries, rotating := Keyring{}, map[entity.Type]*rotatingKeys{}
	v := r.Enter("KeyServer", stateVersion)
	for range r.Count(16) {
		var n entity.AuthName
		n.Decode(r)
		e := Entry{Key: readStateKey(r), Caps: denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).String)}
		entries[n] = e
	}
	for range r.Count(16) {
		t := entity.Type(r.U32())
		rk := &rotatingKeys{current: r.U64(), keys: denc.Map(r, 12, (*denc.Reader).U64, readStateKey)}
		if rk.keys[rk.current].IsZero() {
			r.Failf("service %s has no current key", t)
		}
		rotating[t] = rk
	}
	gid := r.U64()
	r.Leave(v)
	if r.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.rotating, s.lastGID = entries, rotating, gid
}

// readStateKey reads a key, or that there is none.
func readStateKey(r *denc.Reader) (k Key) {
	d := denc.NewReader(r.Bytes())
	if r.Err() != nil {
		return Key{}
	}
	if k.Decode(d); d.Done() != nil {
		r.Fail(d.Done())
	}
	return k
}
