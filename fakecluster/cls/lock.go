package cls

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rados/errno"
)

func lockMethods() map[string]method {
	return map[string]method{
		lock.MethodLock:         write(lockTake),
		lock.MethodUnlock:       write(lockRelease),
		lock.MethodBreakLock:    write(lockBreak),
		lock.MethodGetInfo:      read(lockInfo),
		lock.MethodListLocks:    read(lockList),
		lock.MethodAssertLocked: read(lockAssert),
		lock.MethodSetCookie:    write(lockSetCookie),
	}
}

// readLock returns a lock without the holders whose time is over. A lock that
// was never taken is of type None.
func readLock(o Object, name string) (info lock.Info, err error) {
	if !o.Stored() {
		return info, errno.ErrNotFound
	}
	p, ok := o.Xattr(lock.XattrPrefix + name)
	if !ok {
		return info, nil
	}
	r := denc.NewReader(p)
	info.Decode(r)
	if r.Err() != nil {
		return info, errno.ErrIO
	}
	t := now(o)
	info.Lockers = slices.DeleteFunc(info.Lockers, func(l lock.Locker) bool {
		return !l.Expiration.IsZero() && compareTimes(l.Expiration, t) < 0
	})
	return info, nil
}

func compareTimes(a, b denc.Time) int {
	return cmp.Or(cmp.Compare(a.Sec, b.Sec), cmp.Compare(a.Nsec, b.Nsec))
}

// addTimes returns a + b.
func addTimes(a, b denc.Time) denc.Time {
	n := uint64(a.Nsec) + uint64(b.Nsec)
	return denc.Time{Sec: a.Sec + b.Sec + uint32(n/1e9), Nsec: uint32(n % 1e9)}
}

func writeLock(o Object, name string, info lock.Info) {
	slices.SortFunc(info.Lockers, func(a, b lock.Locker) int {
		return cmp.Or(cmp.Compare(a.Name.Type, b.Name.Type), cmp.Compare(a.Name.Num, b.Name.Num), strings.Compare(a.Cookie, b.Cookie))
	})
	o.SetXattr(lock.XattrPrefix+name, info.Append(nil))
}

func findLocker(info lock.Info, who entity.Name, cookie string) int {
	return slices.IndexFunc(info.Lockers, func(l lock.Locker) bool { return l.Name == who && l.Cookie == cookie })
}

func validLock(t lock.Type) bool {
	return t == lock.Exclusive || t == lock.Shared || t == lock.ExclusiveEphemeral
}

func lockTake(o Object, in *denc.Reader) ([]byte, error) {
	op := one[lock.Lock](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	mayRenew, mustRenew := op.Flags&lock.FlagMayRenew != 0, op.Flags&lock.FlagMustRenew != 0
	if !validLock(op.Type) || op.Name == "" || mayRenew && mustRenew {
		return nil, errno.ErrInvalid
	}
	info, err := readLock(o, op.Name)
	if err != nil && !missing(err) {
		return nil, err
	}
	who, addr := o.Client()
	if len(info.Lockers) > 0 && info.Tag != op.Tag {
		return nil, errno.ErrBusy
	}
	if i := findLocker(info, who, op.Cookie); i >= 0 {
		if !mayRenew && !mustRenew {
			return nil, errno.ErrExists
		}
		info.Lockers = slices.Delete(info.Lockers, i, i+1)
	} else if mustRenew {
		return nil, errno.ErrNotFound
	}
	if len(info.Lockers) > 0 && (op.Type != lock.Shared || info.Type != op.Type) {
		return nil, errno.ErrBusy
	}
	l := lock.Locker{Name: who, Cookie: op.Cookie, Addr: addr.WithType(entity.AddrLegacy), Description: op.Description}
	if !op.Duration.IsZero() {
		l.Expiration = addTimes(now(o), op.Duration)
	}
	info.Type, info.Tag = op.Type, op.Tag
	info.Lockers = append(info.Lockers, l)
	writeLock(o, op.Name, info)
	return nil, nil
}

// removeLocker takes one holder out. The last holder of an ephemeral lock takes
// the object with it.
func removeLocker(o Object, name string, who entity.Name, cookie string) error {
	info, err := readLock(o, name)
	if err != nil {
		return err
	}
	i := findLocker(info, who, cookie)
	if i < 0 {
		return errno.ErrNotFound
	}
	info.Lockers = slices.Delete(info.Lockers, i, i+1)
	if len(info.Lockers) == 0 && info.Type == lock.ExclusiveEphemeral {
		o.Remove()
		return nil
	}
	writeLock(o, name, info)
	return nil
}

func lockRelease(o Object, in *denc.Reader) ([]byte, error) {
	op := one[lock.Unlock](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	who, _ := o.Client()
	return nil, removeLocker(o, op.Name, who, op.Cookie)
}

func lockBreak(o Object, in *denc.Reader) ([]byte, error) {
	op := one[lock.BreakLock](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, removeLocker(o, op.Name, op.Locker, op.Cookie)
}

func lockInfo(o Object, in *denc.Reader) ([]byte, error) {
	op := one[lock.GetInfo](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	info, err := readLock(o, op.Name)
	if err != nil {
		return nil, err
	}
	return info.Append(nil), nil
}

func lockList(o Object, _ *denc.Reader) ([]byte, error) {
	var names []string
	for name := range o.Xattrs() {
		if rest, ok := strings.CutPrefix(name, lock.XattrPrefix); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	b, at := denc.Begin(nil, 1, 1)
	return denc.End(denc.AppendSlice(b, names, denc.AppendString), at), nil
}

// held returns the lock and the caller's place in it; ErrBusy unless the caller
// holds it as described.
func held(o Object, name string, kind lock.Type, tag, cookie string) (info lock.Info, i int, err error) {
	if !validLock(kind) || name == "" {
		return info, 0, errno.ErrInvalid
	}
	if info, err = readLock(o, name); err != nil {
		return info, 0, err
	}
	who, _ := o.Client()
	i = findLocker(info, who, cookie)
	if len(info.Lockers) == 0 || info.Type != kind || info.Tag != tag || i < 0 {
		return info, 0, errno.ErrBusy
	}
	return info, i, nil
}

func lockAssert(o Object, in *denc.Reader) ([]byte, error) {
	op := one[lock.AssertLocked](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	_, _, err := held(o, op.Name, op.Type, op.Tag, op.Cookie)
	return nil, err
}

func lockSetCookie(o Object, in *denc.Reader) ([]byte, error) {
	op := one[lock.SetCookie](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	info, i, err := held(o, op.Name, op.Type, op.Tag, op.Cookie)
	if err != nil {
		return nil, err
	}
	if findLocker(info, info.Lockers[i].Name, op.NewCookie) >= 0 {
		return nil, errno.ErrBusy
	}
	info.Lockers[i].Cookie = op.NewCookie
	writeLock(o, op.Name, info)
	return nil, nil
}

// isZero reports whether p holds nothing but zeros.
func isZero(p []byte) bool {
	var zeros [4096]byte
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}
