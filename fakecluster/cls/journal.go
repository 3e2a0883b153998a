package cls

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// journalClass is the class journal.
func journalClass() class {
	num := func(key string) method {
		return rd(func(o *pg.Object, _ *denc.Reader) ([]byte, error) { return get(o, key) })
	}
	return class{
		"create": wr(journalCreate), "get_order": num("order"), "get_splay_width": num("splay_width"), "get_pool_id": num("pool_id"),
		"get_minimum_set": num("minimum_set"), "get_active_set": num("active_set"), "get_next_tag_tid": num("next_tag_tid"),
		"set_minimum_set": wr(journalSetMinimum), "set_active_set": wr(journalSetActive),
		"get_client": rd(journalGetClient), "client_register": wr(clientRegister), "client_update_data": wr(clientUpdateData),
		"client_update_state": wr(clientUpdateState), "client_unregister": wr(clientUnregister), "client_commit": wr(clientCommit),
		"client_list": rd(clientList), "get_tag": rd(journalGetTag), "tag_create": wr(tagCreate), "tag_list": rd(tagList),
		"guard_append": wr(guardAppend), "append": wr(journalAppend),
	}
}

func journalCreate(o *pg.Object, r *denc.Reader) ([]byte, error) {
	order, splay, pool := r.U8(), r.U8(), r.S64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if has(o, "order") {
		return nil, errno.ErrExists
	}
	o.SetOmap("order", []byte{order})
	o.SetOmap("splay_width", []byte{splay})
	o.SetOmap("pool_id", denc.AppendS64(nil, pool))
	for _, k := range []string{"minimum_set", "active_set", "next_tag_tid", "next_tag_class"} {
		setU64(o, k, 0)
	}
	return nil, nil
}

func journalSetMinimum(o *pg.Object, r *denc.Reader) ([]byte, error) {
	set := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	active, err := getU64(o, "active_set")
	if err != nil {
		return nil, err
	}
	if set > active {
		return nil, errno.ErrInvalid
	}
	return nil, raise(o, "minimum_set", set)
}

func raise(o *pg.Object, key string, v uint64) error {
	old, err := getU64(o, key)
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

func journalSetActive(o *pg.Object, r *denc.Reader) ([]byte, error) {
	set := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	minimum, err := getU64(o, "minimum_set")
	if err != nil {
		return nil, err
	}
	if set < minimum {
		return nil, errno.ErrInvalid
	}
	return nil, raise(o, "active_set", set)
}

// position is an ObjectPosition.
type position struct{ object, tag, entry uint64 }

// journalClient is a registered client.
type journalClient struct {
	id     string
	data   []byte
	commit []position
	state  uint8
}

func appendPositions(b []byte, l []position) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(b, l, func(b []byte, p position) []byte {
		b, at := denc.Begin(b, 1, 1)
		return denc.End(denc.AppendU64(denc.AppendU64(denc.AppendU64(b, p.object), p.tag), p.entry), at)
	})
	return denc.End(b, at)
}

func readPositions(r *denc.Reader) []position {
	s := r.Enter("ObjectSetPosition", 1)
	l := denc.Slice(r, 6, func(r *denc.Reader) position {
		s := r.Enter("ObjectPosition", 1)
		p := position{r.U64(), r.U64(), r.U64()}
		r.Leave(s)
		return p
	})
	r.Leave(s)
	return l
}

func (c *journalClient) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendBytes(denc.AppendString(b, c.id), c.data)
	return denc.End(append(appendPositions(b, c.commit), c.state), at)
}

func readClient(o *pg.Object, id string) (*journalClient, error) {
	v, err := get(o, "client_"+id)
	if err != nil {
		return nil, err
	}
	return decodeClient(v)
}

func decodeClient(v []byte) (*journalClient, error) {
	r := denc.NewReader(v)
	s := r.Enter("Client", 1)
	c := &journalClient{id: r.String(), data: slices.Clone(r.Bytes())}
	c.commit = readPositions(r)
	c.state = r.U8()
	r.Leave(s)
	return c, ioErr(r)
}

func (c *journalClient) write(o *pg.Object) { o.SetOmap("client_"+c.id, c.append(nil)) }

func journalGetClient(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, "client_"+id)
}

func clientRegister(o *pg.Object, r *denc.Reader) ([]byte, error) {
	c := &journalClient{id: r.String(), data: slices.Clone(r.Bytes())}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if !has(o, "order") {
		return nil, errno.ErrNotFound
	}
	if has(o, "client_"+c.id) {
		return nil, errno.ErrExists
	}
	// A new client starts behind what is committed by all: at the lowest
	// position of the splay objects in the minimum set.
	minimum, err := getU64(o, "minimum_set")
	if err != nil {
		return nil, err
	}
	if minimum > 0 {
		err = each(o, "client_", func(_ string, v []byte) error {
			other, err := decodeClient(v)
			if err == nil && len(c.commit) == 0 {
				c.commit = other.commit
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	c.write(o)
	return nil, nil
}

func clientUpdateData(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, data := r.String(), r.Bytes()
	if r.Err() != nil {
		return nil, r.Err()
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	c.data = slices.Clone(data)
	c.write(o)
	return nil, nil
}

func clientUpdateState(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, state := r.String(), r.U8()
	if r.Err() != nil || state > 1 {
		return nil, errno.ErrInvalid
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	c.state = state
	c.write(o)
	return nil, nil
}

func clientUnregister(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if !has(o, "client_"+id) {
		return nil, errno.ErrNotFound
	}
	o.RemoveOmap("client_" + id)
	return nil, expireTags(o, id)
}

func clientCommit(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, commit := r.String(), readPositions(r)
	if r.Err() != nil {
		return nil, r.Err()
	}
	splay, err := get(o, "splay_width")
	if err != nil {
		return nil, err
	}
	if len(commit) > int(splay[0]) {
		return nil, errno.ErrInvalid
	}
	c, err := readClient(o, id)
	if err != nil {
		return nil, err
	}
	if slices.Equal(c.commit, commit) {
		return nil, nil
	}
	c.commit = commit
	c.write(o)
	return nil, nil
}

func clientList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	var l [][]byte
	if err := page(o, "client_", after, limit, func(_ string, v []byte) error { l = append(l, v); return nil }); err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, l, appendRaw), nil
}

// journalTag is a Tag.
type journalTag struct {
	tid, class uint64
	data       []byte
}

func decodeTag(v []byte) (*journalTag, error) {
	r := denc.NewReader(v)
	s := r.Enter("Tag", 1)
	t := &journalTag{r.U64(), r.U64(), r.Bytes()}
	r.Leave(s)
	return t, ioErr(r)
}

func (t *journalTag) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendU64(denc.AppendU64(b, t.tid), t.class), t.data), at)
}

func journalGetTag(o *pg.Object, r *denc.Reader) ([]byte, error) {
	tid := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, hexKey("tag_", tid))
}

const newTagClass = 1<<64 - 1

func tagCreate(o *pg.Object, r *denc.Reader) ([]byte, error) {
	t := &journalTag{r.U64(), r.U64(), slices.Clone(r.Bytes())}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if has(o, hexKey("tag_", t.tid)) {
		return nil, errno.ErrExists
	}
	next, err := getU64(o, "next_tag_tid")
	if err != nil {
		return nil, err
	}
	if t.tid != next {
		return nil, errno.ErrStale
	}
	classes, err := getU64(o, "next_tag_class")
	if err != nil {
		return nil, err
	}
	if t.class == newTagClass {
		t.class = classes
	} else if t.class >= classes {
		return nil, errno.ErrInvalid
	}
	if err := expireTags(o, ""); err != nil {
		return nil, err
	}
	o.SetOmap(hexKey("tag_", t.tid), t.append(nil))
	setU64(o, "next_tag_tid", t.tid+1)
	setU64(o, "next_tag_class", max(classes, t.class+1))
	return nil, nil
}

// expireTags forgets the tags that no client's commit position refers to any
// more: of each class, those below the lowest one in use.
func expireTags(o *pg.Object, without string) error {
	lowest := uint64(newTagClass)
	err := each(o, "client_", func(id string, v []byte) error {
		if id == without && without != "" {
			return nil
		}
		c, err := decodeClient(v)
		if err != nil {
			return err
		}
		if len(c.commit) == 0 {
			lowest = 0
		}
		for _, p := range c.commit {
			lowest = min(lowest, p.tag)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if lowest == newTagClass {
		return nil
	}
	last, err := lastTags(o, lowest)
	if err != nil {
		return err
	}
	var gone []string
	err = each(o, "tag_", func(k string, v []byte) error {
		t, err := decodeTag(v)
		if err == nil && t.tid < last[t.class] {
			gone = append(gone, "tag_"+k)
		}
		return err
	})
	for _, k := range gone {
		o.RemoveOmap(k)
	}
	return err
}

// lastTags returns, of each class, the newest tag that is not above lowest:
// entries of a class may still refer to it.
func lastTags(o *pg.Object, lowest uint64) (map[uint64]uint64, error) {
	last := map[uint64]uint64{}
	err := each(o, "tag_", func(_ string, v []byte) error {
		t, err := decodeTag(v)
		if err == nil && t.tid <= lowest {
			last[t.class] = t.tid
		}
		return err
	})
	return last, err
}

func tagList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit, client := r.U64(), r.U64(), r.String()
	class := readOptU64(r)
	if r.Err() != nil {
		return nil, r.Err()
	}
	c, err := readClient(o, client)
	if err != nil {
		return nil, err
	}
	minimum := uint64(newTagClass)
	for _, p := range c.commit {
		minimum = min(minimum, p.tag)
	}
	if len(c.commit) == 0 {
		minimum = 0
	}
	last, err := lastTags(o, minimum)
	if err != nil {
		return nil, err
	}
	var l []*journalTag
	err = each(o, "tag_", func(_ string, v []byte) error {
		t, err := decodeTag(v)
		if err != nil {
			return err
		}
		if (after == 0 || t.tid > after) && t.tid >= last[t.class] && (class == nil || *class == t.class) && uint64(len(l)) < limit {
			l = append(l, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, l, func(b []byte, t *journalTag) []byte { return t.append(b) }), nil
}

func guard(o *pg.Object, limit uint64) error {
	if size, _ := o.Stat(); o.Exists() && size >= limit {
		return errno.ErrOverflow
	}
	return nil
}

func guardAppend(o *pg.Object, r *denc.Reader) ([]byte, error) {
	limit := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return nil, guard(o, limit)
}

func journalAppend(o *pg.Object, r *denc.Reader) ([]byte, error) {
	limit, data := r.U64(), r.Bytes()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if err := guard(o, limit); err != nil {
		return nil, err
	}
	size, _ := o.Stat()
	o.Write(size, data)
	return nil, nil
}
