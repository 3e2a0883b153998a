package cls

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// locker is one holder of a lock.
type locker struct {
	name        entity.Name
	cookie      string
	expiration  denc.Time
	addr        entity.Addr
	description string
}

// lockInfo is a lock as it is stored in its attribute and told by get_info.
type lockInfo struct {
	lockers []locker
	kind    uint8
	tag     string
}

const (
	lockExclusive = 1
	lockShared    = 2
	lockEphemeral = 3

	lockMayRenew  = 1
	lockMustRenew = 2

	lockPrefix = "lock."
)

func (i *lockInfo) append(b []byte) []byte {
	slices.SortFunc(i.lockers, func(a, c locker) int {
		return cmp.Or(cmp.Compare(a.name.Type, c.name.Type), cmp.Compare(a.name.Num, c.name.Num), cmp.Compare(a.cookie, c.cookie))
	})
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(b, i.lockers, func(b []byte, l locker) []byte {
		b, id := denc.Begin(b, 1, 1)
		b = denc.End(denc.AppendString(l.name.Append(b), l.cookie), id)
		b, info := denc.Begin(b, 1, 1)
		b = l.addr.Append(denc.AppendTime(b, l.expiration))
		return denc.End(denc.AppendString(b, l.description), info)
	})
	b = denc.AppendU8(b, i.kind)
	return denc.End(denc.AppendString(b, i.tag), at)
}

func (i *lockInfo) decode(r *denc.Reader) {
	s := r.Enter("lock_info_t", 1)
	i.lockers = denc.Slice(r, 12, func(r *denc.Reader) (l locker) {
		id := r.Enter("locker_id_t", 1)
		l.name.Decode(r)
		l.cookie = r.String()
		r.Leave(id)
		info := r.Enter("locker_info_t", 1)
		l.expiration = r.Time()
		l.addr.Decode(r)
		l.description = r.String()
		r.Leave(info)
		return l
	})
	i.kind = r.U8()
	i.tag = r.String()
	r.Leave(s)
}

// readLock returns a lock without the holders whose time is over.
func readLock(o *pg.Object, name string) (*lockInfo, error) {
	i := &lockInfo{}
	v, ok := o.Xattr(lockPrefix + name)
	if !ok {
		return i, nil
	}
	r := denc.NewReader(v)
	i.decode(r)
	if r.Err() != nil {
		return nil, errno.ErrIO
	}
	i.lockers = slices.DeleteFunc(i.lockers, func(l locker) bool {
		return !l.expiration.IsZero() && l.expiration.Std().Before(o.Now())
	})
	return i, nil
}

func (i *lockInfo) write(o *pg.Object, name string) { o.SetXattr(lockPrefix+name, i.append(nil)) }

func (i *lockInfo) find(n entity.Name, cookie string) int {
	return slices.IndexFunc(i.lockers, func(l locker) bool { return l.name == n && l.cookie == cookie })
}

func validLock(kind uint8) bool { return kind >= lockExclusive && kind <= lockEphemeral }

func lockClass() class {
	return class{
		"lock": wr(lockLock), "unlock": wr(lockUnlock), "break_lock": wr(lockBreak),
		"get_info": rd(lockGetInfo), "list_locks": rd(lockList), "assert_locked": rd(lockAssert), "set_cookie": wr(lockSetCookie),
	}
}

func lockLock(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := r.Enter("cls_lock_lock_op", 1)
	name, kind, cookie, tag, desc := r.String(), r.U8(), r.String(), r.String(), r.String()
	duration, flags := r.Time(), r.U8()
	r.Leave(s)
	if r.Err() != nil || name == "" || !validLock(kind) || flags&lockMayRenew != 0 && flags&lockMustRenew != 0 {
		return nil, errno.ErrInvalid
	}
	i, err := readLock(o, name)
	if err != nil {
		return nil, err
	}
	client, addr := o.Client()
	at := i.find(client, cookie)
	if len(i.lockers) > 0 && i.tag != tag {
		return nil, errno.ErrBusy
	}
	switch {
	case at >= 0 && flags == 0:
		return nil, errno.ErrExists
	case at >= 0:
		i.lockers = slices.Delete(i.lockers, at, at+1)
	case flags&lockMustRenew != 0:
		return nil, errno.ErrNotFound
	}
	if len(i.lockers) > 0 && (kind != lockShared || i.kind != lockShared) {
		return nil, errno.ErrBusy
	}
	l := locker{name: client, cookie: cookie, addr: addr.WithType(entity.AddrLegacy), description: desc}
	if !duration.IsZero() {
		l.expiration = denc.TimeOf(o.Now().Add(time.Duration(duration.Sec)*time.Second + time.Duration(duration.Nsec)))
	}
	i.kind, i.tag = kind, tag
	i.lockers = append(i.lockers, l)
	i.write(o, name)
	return nil, nil
}

func removeLocker(o *pg.Object, name string, n entity.Name, cookie string) error {
	i, err := readLock(o, name)
	if err != nil {
		return err
	}
	at := i.find(n, cookie)
	if at < 0 {
		return errno.ErrNotFound
	}
	i.lockers = slices.Delete(i.lockers, at, at+1)
	if i.kind == lockEphemeral && len(i.lockers) == 0 {
		o.Remove()
		return nil
	}
	i.write(o, name)
	return nil
}

func lockUnlock(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := r.Enter("cls_lock_unlock_op", 1)
	name, cookie := r.String(), r.String()
	r.Leave(s)
	if r.Err() != nil {
		return nil, r.Err()
	}
	client, _ := o.Client()
	return nil, removeLocker(o, name, client, cookie)
}

func lockBreak(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := r.Enter("cls_lock_break_op", 1)
	name := r.String()
	var n entity.Name
	n.Decode(r)
	cookie := r.String()
	r.Leave(s)
	if r.Err() != nil {
		return nil, r.Err()
	}
	return nil, removeLocker(o, name, n, cookie)
}

func lockGetInfo(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := r.Enter("cls_lock_get_info_op", 1)
	name := r.String()
	r.Leave(s)
	if r.Err() != nil {
		return nil, r.Err()
	}
	i, err := readLock(o, name)
	if err != nil {
		return nil, err
	}
	return i.append(nil), nil
}

func lockList(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	var names []string
	for k := range o.Xattrs() {
		if after, ok := strings.CutPrefix(k, lockPrefix); ok {
			names = append(names, after)
		}
	}
	slices.Sort(names)
	b, at := denc.Begin(nil, 1, 1)
	return denc.End(denc.AppendSlice(b, names, denc.AppendString), at), nil
}

func lockAssert(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := r.Enter("cls_lock_assert_op", 1)
	name, kind, cookie, tag := r.String(), r.U8(), r.String(), r.String()
	r.Leave(s)
	if r.Err() != nil || !validLock(kind) || name == "" {
		return nil, errno.ErrInvalid
	}
	i, err := readLock(o, name)
	if err != nil {
		return nil, err
	}
	client, _ := o.Client()
	if len(i.lockers) == 0 || i.kind != kind || i.tag != tag || i.find(client, cookie) < 0 {
		return nil, errno.ErrBusy
	}
	return nil, nil
}

func lockSetCookie(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := r.Enter("cls_lock_set_cookie_op", 1)
	name, kind, cookie, tag, fresh := r.String(), r.U8(), r.String(), r.String(), r.String()
	r.Leave(s)
	if r.Err() != nil || !validLock(kind) || name == "" {
		return nil, errno.ErrInvalid
	}
	if !o.Exists() {
		return nil, errno.ErrNotFound
	}
	i, err := readLock(o, name)
	if err != nil {
		return nil, err
	}
	client, _ := o.Client()
	at := i.find(client, cookie)
	if len(i.lockers) == 0 || i.kind != kind || i.tag != tag || at < 0 || i.find(client, fresh) >= 0 {
		return nil, errno.ErrBusy
	}
	i.lockers[at].cookie = fresh
	i.write(o, name)
	return nil, nil
}
