package cls

import (
	"math"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

func journalMethods() map[string]method {
	return map[string]method{
		wire.MethodCreate:            write(journalCreate),
		wire.MethodGetOrder:          read(journalGet(wire.KeyOrder)),
		wire.MethodGetSplayWidth:     read(journalGet(wire.KeySplayWidth)),
		wire.MethodGetPoolID:         read(journalGet(wire.KeyPoolID)),
		wire.MethodGetMinimumSet:     read(journalGet(wire.KeyMinimumSet)),
		wire.MethodSetMinimumSet:     write(journalSetMinimum),
		wire.MethodGetActiveSet:      read(journalGet(wire.KeyActiveSet)),
		wire.MethodSetActiveSet:      write(journalSetActive),
		wire.MethodGetNextTagTID:     read(journalGet(wire.KeyNextTagTID)),
		wire.MethodGetClient:         read(clientGet),
		wire.MethodClientRegister:    write(clientRegister),
		wire.MethodClientUpdateData:  write(clientSetData),
		wire.MethodClientUpdateState: write(clientSetState),
		wire.MethodClientUnregister:  write(clientUnregister),
		wire.MethodClientCommit:      write(clientCommit),
		wire.MethodClientList:        read(clientList),
		wire.MethodGetTag:            read(tagGet),
		wire.MethodTagCreate:         write(tagCreate),
		wire.MethodTagList:           read(tagList),
		wire.MethodGuardAppend:       write(guardAppend),
		wire.MethodAppend:            write(journalAppend),
	}
}

func journalCreate(o Object, in *denc.Reader) ([]byte, error) {
	order, splay, pool := in.U8(), in.U8(), in.S64()
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, ok := o.Omap(wire.KeyOrder); ok {
		return nil, errno.ErrExists
	}
	o.SetOmap(wire.KeyOrder, []byte{order})
	o.SetOmap(wire.KeySplayWidth, []byte{splay})
	o.SetOmap(wire.KeyPoolID, denc.AppendS64(nil, pool))
	for _, key := range []string{wire.KeyMinimumSet, wire.KeyActiveSet, wire.KeyNextTagTID, wire.KeyNextTagClass} {
		setU64(o, key, 0)
	}
	return nil, nil
}

// journalGet answers with a number as it is stored.
func journalGet(key string) handler {
	return func(o Object, _ *denc.Reader) ([]byte, error) { return stored(o, key) }
}

// raise sets a number that only grows.
func raise(o Object, key string, v uint64) error {
	old, err := value(o, key, u64)
	switch {
	case err != nil:
		return err
	case v < old:
		return errno.ErrStale
	case v > old:
		setU64(o, key, v)
	}
	return nil
}

func journalSetMinimum(o Object, in *denc.Reader) ([]byte, error) {
	set := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	active, err := value(o, wire.KeyActiveSet, u64)
	if err != nil {
		return nil, err
	}
	if active < set {
		return nil, errno.ErrInvalid
	}
	return nil, raise(o, wire.KeyMinimumSet, set)
}

func journalSetActive(o Object, in *denc.Reader) ([]byte, error) {
	set := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	minimum, err := value(o, wire.KeyMinimumSet, u64)
	if err != nil {
		return nil, err
	}
	if minimum > set {
		return nil, errno.ErrInvalid
	}
	return nil, raise(o, wire.KeyActiveSet, set)
}

func readClient(o Object, id string) (wire.Client, error) {
	return value(o, wire.PrefixClient+id, one[wire.Client])
}

func writeClient(o Object, c wire.Client) { o.SetOmap(wire.PrefixClient+c.ID, c.Append(nil)) }

// eachClient calls f for the clients whose ids are above after. The image's own
// client, whose id is empty, is the first.
func eachClient(o Object, after string, f func(c wire.Client) (more bool, err error)) error {
	call := func(v []byte) (bool, error) {
		r := denc.NewReader(v)
		c := one[wire.Client](r)
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		return f(c)
	}
	if v, ok := o.Omap(wire.PrefixClient); ok && after == "" {
		if more, err := call(v); err != nil || !more {
			return err
		}
	}
	return each(o, wire.PrefixClient, after, func(_ string, v []byte) (bool, error) { return call(v) })
}

func clientGet(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	return c.Append(nil), nil
}

// clientRegister adds a client. It begins where the connected client that is
// furthest behind is.
func clientRegister(o Object, in *denc.Reader) ([]byte, error) {
	c := wire.Client{ID: in.String(), Data: in.Bytes()}
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, err := stored(o, wire.KeyOrder); err != nil {
		return nil, err
	}
	if _, ok := o.Omap(wire.PrefixClient + c.ID); ok {
		return nil, errno.ErrExists
	}
	found := false
	err := eachClient(o, "", func(other wire.Client) (bool, error) {
		if other.State == wire.ClientDisconnected {
			return true, nil
		}
		if len(other.Commit) == 0 {
			c.Commit = nil
			return false, nil
		}
		first, lowest := other.Commit[0], wire.ObjectPosition{}
		if found {
			lowest = c.Commit[0]
		}
		if !found || lowest.TagTID > first.TagTID || lowest.TagTID == first.TagTID && lowest.EntryTID > first.EntryTID {
			c.Commit, found = other.Commit, true
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	writeClient(o, c)
	return nil, nil
}

func clientSetData(o Object, in *denc.Reader) ([]byte, error) {
	id, data := in.String(), in.Bytes()
	if err := bad(in); err != nil {
		return nil, err
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	c.Data = data
	writeClient(o, c)
	return nil, nil
}

func clientSetState(o Object, in *denc.Reader) ([]byte, error) {
	id, state := in.String(), in.U8()
	if err := bad(in); err != nil {
		return nil, err
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	c.State = state
	writeClient(o, c)
	return nil, nil
}

func clientUnregister(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, err := stored(o, wire.PrefixClient+id); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixClient + id)
	return nil, expireTags(o)
}

func clientCommit(o Object, in *denc.Reader) ([]byte, error) {
	id, commit := in.String(), one[wire.CommitPosition](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	splay, err := value(o, wire.KeySplayWidth, u8)
	if err != nil {
		return nil, err
	}
	if len(commit) > int(splay) {
		return nil, errno.ErrInvalid
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	if !c.Commit.Equal(commit) {
		c.Commit = commit
		writeClient(o, c)
	}
	return nil, nil
}

func clientList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	var found []wire.Client
	if limit > 0 {
		err = eachClient(o, after, func(c wire.Client) (bool, error) {
			found = append(found, c)
			return uint64(len(found)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, found, func(b []byte, c wire.Client) []byte { return c.Append(b) }), nil
}

func tagGet(o Object, in *denc.Reader) ([]byte, error) {
	tid := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	t, err := value(o, wire.TagKey(tid), one[wire.Tag])
	if err != nil {
		return nil, err
	}
	return t.Append(nil), nil
}

func readTags(o Object) (tags []wire.Tag, err error) {
	err = each(o, wire.PrefixTag, "", func(_ string, v []byte) (bool, error) {
		r := denc.NewReader(v)
		tags = append(tags, one[wire.Tag](r))
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		return true, nil
	})
	return tags, notFoundIsNone(err)
}

func tagCreate(o Object, in *denc.Reader) ([]byte, error) {
	t := wire.Tag{TID: in.U64(), Class: in.U64(), Data: in.Bytes()}
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, ok := o.Omap(wire.TagKey(t.TID)); ok {
		return nil, errno.ErrExists
	}
	next, err := value(o, wire.KeyNextTagTID, u64)
	if err != nil {
		return nil, err
	}
	if t.TID != next {
		return nil, errno.ErrStale
	}
	class, err := value(o, wire.KeyNextTagClass, u64)
	switch {
	case err != nil:
		return nil, err
	case t.Class == wire.NewTagClass:
		t.Class = class
		setU64(o, wire.KeyNextTagClass, class+1)
	case t.Class >= class:
		return nil, errno.ErrInvalid
	}
	if err := expireTags(o); err != nil {
		return nil, err
	}
	setU64(o, wire.KeyNextTagTID, t.TID+1)
	o.SetOmap(wire.TagKey(t.TID), t.Append(nil))
	return nil, nil
}

// lowestTag returns the lowest tag in commit positions, and whether there is
// any.
func lowestTag(commit wire.CommitPosition, lowest uint64) uint64 {
	for _, p := range commit {
		lowest = min(lowest, p.TagTID)
	}
	return lowest
}

// neededTags returns, for every class, its newest tag up to the first one at or
// above lowest: older ones of the class are not needed.
func neededTags(tags []wire.Tag, lowest uint64) map[uint64]uint64 {
	needed := map[uint64]uint64{}
	for _, t := range tags {
		needed[t.Class] = t.TID
		if t.TID >= lowest {
			break
		}
	}
	return needed
}

// expireTags removes the tags that no connected client needs any more. A client
// that never committed anything needs all.
func expireTags(o Object) error {
	lowest, all := uint64(math.MaxUint64), false
	err := eachClient(o, "", func(c wire.Client) (bool, error) {
		if c.State != wire.ClientDisconnected {
			all = len(c.Commit) == 0
			lowest = lowestTag(c.Commit, lowest)
		}
		return !all, nil
	})
	if notFoundIsNone(err) != nil || all || lowest == math.MaxUint64 {
		return notFoundIsNone(err)
	}
	tags, err := readTags(o)
	if err != nil {
		return err
	}
	needed := neededTags(tags, lowest)
	for _, t := range tags {
		if t.TID < needed[t.Class] {
			o.RemoveOmap(wire.TagKey(t.TID))
		}
		if t.TID >= lowest {
			break
		}
	}
	return nil
}

func tagList(o Object, in *denc.Reader) ([]byte, error) {
	l := one[wire.TagList](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	c, err := readClient(o, l.Client)
	if err != nil {
		return nil, err
	}
	tags, err := readTags(o)
	if err != nil {
		return nil, err
	}
	needed := map[uint64]uint64{}
	if lowest := lowestTag(c.Commit, math.MaxUint64); lowest != math.MaxUint64 {
		needed = neededTags(tags, lowest)
	}
	// The limit is only looked at behind a tag.
	var found []wire.Tag
	for _, t := range tags {
		if l.After != 0 && t.TID <= l.After {
			continue
		}
		if t.TID >= needed[t.Class] && (l.Class == nil || *l.Class == t.Class) {
			found = append(found, t)
		}
		if uint64(len(found)) >= l.Max {
			break
		}
	}
	return denc.AppendSlice(nil, found, func(b []byte, t wire.Tag) []byte { return t.Append(b) }), nil
}

// notFull fails with ErrOverflow when a data object has reached its size.
func notFull(o Object, limit uint64) error {
	if size, _ := o.Stat(); o.Exists() && size >= limit {
		return errno.ErrOverflow
	}
	return nil
}

func guardAppend(o Object, in *denc.Reader) ([]byte, error) {
	limit := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, notFull(o, limit)
}

func journalAppend(o Object, in *denc.Reader) ([]byte, error) {
	limit, data := in.U64(), in.Bytes()
	if err := bad(in); err != nil {
		return nil, err
	}
	size, _ := o.Stat()
	if size >= limit { // whether it exists or not, unlike guard_append
		return nil, errno.ErrOverflow
	}
	o.Write(size, data)
	return nil, nil
}
