// Package lock holds the arguments and results of object class "lock": advisory
// locks that an object keeps in the xattr "lock.<name>"
// (src/cls/lock/cls_lock_ops.h, cls_lock_types.h of Ceph 16.2 to 20.2). All of
// them are version 1.
package lock

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Class is the object class's name; the others are its methods'.
const (
	Class              = "lock"
	MethodLock         = "lock"
	MethodUnlock       = "unlock"
	MethodBreakLock    = "break_lock"
	MethodGetInfo      = "get_info"
	MethodListLocks    = "list_locks"
	MethodAssertLocked = "assert_locked"
	MethodSetCookie    = "set_cookie"
)

// XattrPrefix comes before a lock's name in the xattr that holds it.
const XattrPrefix = "lock."

// Type is how a lock excludes.
type Type uint8

// The types of locks.
const (
	None               Type = 0
	Exclusive          Type = 1
	Shared             Type = 2
	ExclusiveEphemeral Type = 3
)

// The flags of Lock.
const (
	FlagMayRenew  uint8 = 1
	FlagMustRenew uint8 = 2
)

// Lock is the argument of lock (cls_lock_lock_op).
type Lock struct {
	Name        string
	Type        Type
	Cookie, Tag string
	Description string
	Duration    denc.Time // zero: for ever
	Flags       uint8
}

// Append appends l.
func (l Lock) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU8(denc.AppendString(b, l.Name), uint8(l.Type))
	b = denc.AppendString(denc.AppendString(denc.AppendString(b, l.Cookie), l.Tag), l.Description)
	return denc.End(denc.AppendU8(denc.AppendTime(b, l.Duration), l.Flags), at)
}

// Decode reads l.
func (l *Lock) Decode(r *denc.Reader) {
	s := r.Enter("cls_lock_lock_op", 1)
	l.Name, l.Type = r.String(), Type(r.U8())
	l.Cookie, l.Tag, l.Description = r.String(), r.String(), r.String()
	l.Duration, l.Flags = r.Time(), r.U8()
	r.Leave(s)
}

// Unlock is the argument of unlock (cls_lock_unlock_op).
type Unlock struct{ Name, Cookie string }

// Append appends u.
func (u Unlock) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendString(b, u.Name), u.Cookie), at)
}

// Decode reads u.
func (u *Unlock) Decode(r *denc.Reader) {
	s := r.Enter("cls_lock_unlock_op", 1)
	u.Name, u.Cookie = r.String(), r.String()
	r.Leave(s)
}

// BreakLock is the argument of break_lock (cls_lock_break_op).
type BreakLock struct {
	Name   string
	Locker entity.Name
	Cookie string
}

// Append appends k.
func (k BreakLock) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = k.Locker.Append(denc.AppendString(b, k.Name))
	return denc.End(denc.AppendString(b, k.Cookie), at)
}

// Decode reads k.
func (k *BreakLock) Decode(r *denc.Reader) {
	s := r.Enter("cls_lock_break_op", 1)
	k.Name = r.String()
	k.Locker.Decode(r)
	k.Cookie = r.String()
	r.Leave(s)
}

// GetInfo is the argument of get_info (cls_lock_get_info_op).
type GetInfo struct{ Name string }

// Append appends g.
func (g GetInfo) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(b, g.Name), at)
}

// Decode reads g.
func (g *GetInfo) Decode(r *denc.Reader) {
	s := r.Enter("cls_lock_get_info_op", 1)
	g.Name = r.String()
	r.Leave(s)
}

// AssertLocked is the argument of assert_locked (cls_lock_assert_op).
type AssertLocked struct {
	Name        string
	Type        Type
	Cookie, Tag string
}

// Append appends a.
func (a AssertLocked) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU8(denc.AppendString(b, a.Name), uint8(a.Type))
	return denc.End(denc.AppendString(denc.AppendString(b, a.Cookie), a.Tag), at)
}

// Decode reads a.
func (a *AssertLocked) Decode(r *denc.Reader) {
	s := r.Enter("cls_lock_assert_op", 1)
	a.Name, a.Type, a.Cookie, a.Tag = r.String(), Type(r.U8()), r.String(), r.String()
	r.Leave(s)
}

// SetCookie is the argument of set_cookie (cls_lock_set_cookie_op).
type SetCookie struct {
	Name        string
	Type        Type
	Cookie, Tag string
	NewCookie   string
}

// Append appends c.
func (c SetCookie) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU8(denc.AppendString(b, c.Name), uint8(c.Type))
	return denc.End(denc.AppendString(denc.AppendString(denc.AppendString(b, c.Cookie), c.Tag), c.NewCookie), at)
}

// Decode reads c.
func (c *SetCookie) Decode(r *denc.Reader) {
	s := r.Enter("cls_lock_set_cookie_op", 1)
	c.Name, c.Type, c.Cookie, c.Tag, c.NewCookie = r.String(), Type(r.U8()), r.String(), r.String(), r.String()
	r.Leave(s)
}

// Locker is one holder of a lock: locker_id_t and locker_info_t.
type Locker struct {
	Name        entity.Name
	Cookie      string
	Expiration  denc.Time
	Addr        entity.Addr
	Description string
}

// Info is the result of get_info (cls_lock_get_info_reply) and, encoded the same
// way, what the xattr holds (lock_info_t).
type Info struct {
	// Lockers in ascending order of name and cookie.
	Lockers []Locker
	Type    Type
	Tag     string
}

// Append appends i.
func (i Info) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(b, i.Lockers, func(b []byte, l Locker) []byte {
		b, id := denc.Begin(b, 1, 1)
		b = denc.End(denc.AppendString(l.Name.Append(b), l.Cookie), id)
		b, info := denc.Begin(b, 1, 1)
		b = l.Addr.Append(denc.AppendTime(b, l.Expiration))
		return denc.End(denc.AppendString(b, l.Description), info)
	})
	return denc.End(denc.AppendString(denc.AppendU8(b, uint8(i.Type)), i.Tag), at)
}

// Decode reads i.
func (i *Info) Decode(r *denc.Reader) {
	s := r.Enter("lock_info_t", 1)
	i.Lockers = denc.Slice(r, 12, func(r *denc.Reader) (l Locker) {
		id := r.Enter("locker_id_t", 1)
		l.Name.Decode(r)
		l.Cookie = r.String()
		r.Leave(id)
		info := r.Enter("locker_info_t", 1)
		l.Expiration = r.Time()
		l.Addr.Decode(r)
		l.Description = r.String()
		r.Leave(info)
		return l
	})
	i.Type, i.Tag = Type(r.U8()), r.String()
	r.Leave(s)
}
