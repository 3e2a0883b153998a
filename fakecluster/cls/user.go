package cls

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/user"
	"github.com/rbdm/rbdm/rados/errno"
)

func userMethods(release int) map[string]method {
	return map[string]method{
		user.MethodSetBuckets:    write(taking(userSetBuckets)),
		user.MethodCompleteSync:  write(taking(userCompleteSync)),
		user.MethodRemoveBucket:  write(taking(userRemoveBucket)),
		user.MethodListBuckets:   read(taking(userListBuckets)),
		user.MethodGetHeader:     read(taking(userGetHeader)),
		user.MethodResetStats:    write(taking(userResetStats)),
		user.MethodResetStats2:   write(taking(userResetStats2(release))),
		user.MethodAccountAdd:    write(taking(accountAdd)).from(20),
		user.MethodAccountGet:    read(taking(accountGet)).from(20),
		user.MethodAccountRemove: write(taking(accountRemove)).from(20),
		user.MethodAccountList:   read(taking(accountList)).from(20),
	}
}

func userHeader(o Object) (h user.Header, err error) {
	p := o.OmapHeader()
	if len(p) == 0 {
		return h, nil
	}
	return parse[user.Header](p)
}

func userBucket(o Object, name string) (e user.Entry, err error) {
	if name == "" {
		return e, errno.ErrInvalid
	}
	p, err := stored(o, name)
	if err != nil {
		return e, err
	}
	return parse[user.Entry](p)
}

func addStats(s *user.Stats, e user.Entry) {
	s.Entries, s.Bytes, s.Rounded = s.Entries+e.Count, s.Bytes+e.Size, s.Rounded+e.Rounded
}

func dropStats(s *user.Stats, e user.Entry) {
	s.Entries, s.Bytes, s.Rounded = s.Entries-e.Count, s.Bytes-e.Size, s.Rounded-e.Rounded
}

func later(a, b denc.Time) denc.Time {
	if b = realTime(b); compareTimes(realTime(a), b) < 0 {
		return b
	}
	return realTime(a)
}

func userSetBuckets(o Object, op user.SetBuckets) ([]byte, error) {
	h, err := userHeader(o)
	if err != nil {
		return nil, err
	}
	for _, update := range op.Entries {
		e, err := userBucket(o, update.Bucket.Name)
		if missing(err) {
			if !op.Add {
				continue
			}
			e, err = update, nil
		}
		if err != nil {
			return nil, err
		}
		if e.Synced {
			dropStats(&h.Stats, e)
		}
		if op.Add {
			e.Bucket.ID, e.Created = update.Bucket.ID, update.Created
		} else {
			e.Size, e.Rounded, e.Count = update.Size, update.Rounded, update.Count
		}
		e.Synced, e.Created = true, realTime(e.Created)
		o.SetOmap(update.Bucket.Name, e.Append(nil))
		addStats(&h.Stats, e)
	}
	h.Sync, h.Update = realTime(h.Sync), later(h.Update, op.Time)
	o.SetOmapHeader(h.Append(nil))
	return nil, nil
}

func userCompleteSync(o Object, op user.At) ([]byte, error) {
	h, err := userHeader(o)
	if err != nil {
		return nil, err
	}
	h.Sync, h.Update = later(h.Sync, op.Time), realTime(h.Update)
	o.SetOmapHeader(h.Append(nil))
	return nil, nil
}

func userRemoveBucket(o Object, op user.RemoveBucket) ([]byte, error) {
	h, err := userHeader(o)
	if err != nil {
		return nil, err
	}
	e, err := userBucket(o, op.Bucket.Name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := removeKey(o, op.Bucket.Name); err != nil || !e.Synced {
		return nil, err
	}
	dropStats(&h.Stats, e)
	h.Sync, h.Update = realTime(h.Sync), realTime(h.Update)
	o.SetOmapHeader(h.Append(nil))
	return nil, nil
}

// pageSize is how many entries a list may have whose argument is a signed number.
func pageSize(n int32) uint64 {
	if n < 0 {
		return user.MaxEntries
	}
	return min(uint64(n), user.MaxEntries)
}

func userListBuckets(o Object, op user.ListBuckets) ([]byte, error) {
	var u user.Buckets
	keys, values, more, err := o.OmapPage(op.Marker, "", pageSize(op.Max))
	if err != nil {
		return nil, err
	}
	u.Truncated = more
	marker := ""
	for _, k := range keys {
		marker = k
		if op.End != "" && op.End <= k {
			u.Truncated = false
			break
		}
		if e, err := parse[user.Entry](values[k]); err == nil {
			e.Created = realTime(e.Created)
			u.Entries = append(u.Entries, e)
		}
	}
	if u.Truncated {
		u.Marker = marker
	}
	return u.Append(nil), nil
}

func userGetHeader(o Object, _ user.GetHeader) ([]byte, error) {
	h, err := userHeader(o)
	if err != nil {
		return nil, err
	}
	h.Sync, h.Update = realTime(h.Sync), realTime(h.Update)
	return user.HeaderResult{Header: h}.Append(nil), nil
}

// sumBuckets adds up the buckets of a page.
func sumBuckets(o Object, after string) (s user.Stats, last string, more bool, err error) {
	keys, values, more, err := o.OmapPage(after, "", user.MaxEntries)
	if err != nil {
		return s, "", false, err
	}
	for _, k := range keys {
		e, err := parse[user.Entry](values[k])
		if err != nil {
			return s, k, more, err
		}
		addStats(&s, e)
		last = k
	}
	return s, last, more, nil
}

func userResetStats(o Object, op user.At) ([]byte, error) {
	h, after := user.Header{Update: realTime(op.Time)}, ""
	for {
		s, last, more, err := sumBuckets(o, after)
		if err != nil {
			return nil, err
		}
		addStats(&h.Stats, user.Entry{Count: s.Entries, Size: s.Bytes, Rounded: s.Rounded})
		if after = last; !more {
			break
		}
	}
	o.SetOmapHeader(h.Append(nil))
	return nil, nil
}

// userResetStats2 does one page a call. As in Ceph the sums of the pages before
// it, which the argument has, do not count. 16.2 says where the last page ends, too.
func userResetStats2(release int) func(o Object, op user.Reset) ([]byte, error) {
	return func(o Object, op user.Reset) ([]byte, error) {
		var u user.ResetResult
		var err error
		if u.Stats, u.Marker, u.Truncated, err = sumBuckets(o, op.Marker); err != nil {
			return nil, err
		}
		if !u.Truncated {
			if release > 16 {
				u.Marker = ""
			}
			o.SetOmapHeader(user.Header{Stats: u.Stats, Update: realTime(op.Time)}.Append(nil))
		}
		return u.Append(nil), nil
	}
}

// accountKey is a resource's key: names differ by more than their case.
func accountKey(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func accountHeader(o Object) (h user.AccountHeader, err error) {
	p := o.OmapHeader()
	if len(p) == 0 {
		return h, nil
	}
	return parse[user.AccountHeader](p)
}

func accountAdd(o Object, op user.AccountAdd) ([]byte, error) {
	key := accountKey(op.Resource.Name)
	if _, ok := o.Omap(key); ok {
		if op.Exclusive {
			return nil, errno.ErrExists
		}
		o.SetOmap(key, op.Resource.Append(nil))
		return nil, nil
	}
	h, err := accountHeader(o)
	if err != nil {
		return nil, err
	}
	if h.Count >= op.Limit {
		return nil, errno.ErrTooManyUsers
	}
	h.Count++
	o.SetOmapHeader(h.Append(nil))
	o.SetOmap(key, op.Resource.Append(nil))
	return nil, nil
}

func accountGet(o Object, op user.AccountName) ([]byte, error) {
	p, err := stored(o, accountKey(op.Name))
	if err != nil {
		return nil, err
	}
	s, err := parse[user.Resource](p)
	if err != nil {
		return nil, err
	}
	return user.AccountGet{Resource: s}.Append(nil), nil
}

func accountRemove(o Object, op user.AccountName) ([]byte, error) {
	key := accountKey(op.Name)
	if _, err := stored(o, key); err != nil {
		return nil, err
	}
	o.RemoveOmap(key)
	h, err := accountHeader(o)
	if err != nil {
		return nil, err
	}
	if h.Count > 0 {
		h.Count--
	}
	o.SetOmapHeader(h.Append(nil))
	return nil, nil
}

func accountList(o Object, op user.AccountList) ([]byte, error) {
	var p user.AccountPage
	keys, values, more, err := o.OmapPage(op.Marker, "", min(uint64(op.Max), user.MaxEntries))
	if err != nil {
		return nil, err
	}
	p.Truncated = more
	for _, k := range keys {
		s, err := parse[user.Resource](values[k])
		if err != nil {
			return nil, err
		}
		if len(s.Path) >= len(op.PathPrefix) && s.Path[:len(op.PathPrefix)] == op.PathPrefix {
			p.Resources = append(p.Resources, s)
		}
		p.Marker = k
	}
	return p.Append(nil), nil
}
