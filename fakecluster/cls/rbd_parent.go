package cls

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// parent is the value of the key parent, version 2.
type parent struct {
	pool    int64
	ns, id  string
	snap    uint64
	overlap *uint64 // of the head; nil when it has none any more
}

func (p *parent) write(o *pg.Object) {
	b, at := denc.Begin(nil, 2, 2)
	b = denc.AppendS64(b, p.pool)
	b = denc.AppendString(denc.AppendString(b, p.ns), p.id)
	o.SetOmap("parent", denc.End(appendOptU64(denc.AppendU64(b, p.snap), p.overlap), at))
}

func readParent(o *pg.Object) (*parent, error) {
	v, err := get(o, "parent")
	if err != nil {
		return nil, err
	}
	r := denc.NewReader(v)
	p := &parent{}
	s := r.Enter("cls_rbd_parent", 2)
	p.pool = r.S64()
	if s.V >= 2 {
		p.ns = r.String()
	}
	p.id, p.snap = r.String(), r.U64()
	if s.V >= 2 {
		p.overlap = readOptU64(r)
	} else {
		n := r.U64()
		p.overlap = &n
	}
	r.Leave(s)
	return p, ioErr(r)
}

// appendSpec appends a ParentImageSpec.
func (p *parent) appendSpec(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(denc.AppendString(denc.AppendS64(b, p.pool), p.ns), p.id)
	return denc.End(denc.AppendU64(b, p.snap), at)
}

func (p *parent) decodeSpec(r *denc.Reader) {
	s := r.Enter("ParentImageSpec", 1)
	p.pool, p.ns, p.id, p.snap = r.S64(), r.String(), r.String(), r.U64()
	r.Leave(s)
}

// dropUnusedParent forgets the parent when neither the head nor a snapshot has
// something in common with it.
func dropUnusedParent(o *pg.Object) error {
	p, err := readParent(o)
	if err != nil || p.overlap != nil {
		return nil
	}
	list, err := snaps(o)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s *snapRecord) bool { return s.overlap != nil }) {
		o.RemoveOmap("parent")
	}
	return nil
}

func parentMethods() class {
	return class{
		"parent_get": rd(parentGet), "parent_overlap_get": rd(parentOverlap), "parent_attach": wr(parentAttach), "parent_detach": wr(parentDetach),
		"get_parent": rd(legacyParent), "set_parent": wr(legacySetParent), "remove_parent": wr(parentDetach),
		"child_attach": wr(childAttach), "child_detach": wr(childDetach), "children_list": rd(childrenList),
		"add_child": wr(addChild), "remove_child": wr(removeChild), "get_children": rd(getChildren),
	}
}

func parentGet(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	if !has(o, "size") {
		return nil, errno.ErrNotFound
	}
	p, err := readParent(o)
	if err != nil {
		p = &parent{pool: -1, snap: noSnap}
	}
	return p.appendSpec(nil), nil
}

func parentOverlap(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if !has(o, "size") {
		return nil, errno.ErrNotFound
	}
	if id == noSnap {
		if p, err := readParent(o); err == nil {
			return appendOptU64(nil, p.overlap), nil
		}
		return appendOptU64(nil, nil), nil
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	return appendOptU64(nil, s.overlap), nil
}

func attach(o *pg.Object, p *parent, reattach bool) error {
	if err := needFeature(o, featLayering); err != nil {
		return err
	}
	if p.id == "" || p.pool < 0 || p.snap == noSnap || p.overlap == nil || *p.overlap == 0 {
		return errno.ErrInvalid
	}
	old, err := readParent(o)
	if err == nil {
		same := old.pool == p.pool && old.ns == p.ns && old.id == p.id && old.snap == p.snap
		if !reattach && old.overlap != nil || !same && !reattach {
			return errno.ErrExists
		}
		if reattach && old.overlap == nil {
			p.overlap = nil
		}
	}
	if p.overlap != nil {
		size, err := getU64(o, "size")
		if err != nil {
			return err
		}
		n := min(*p.overlap, size)
		p.overlap = &n
	}
	p.write(o)
	return nil
}

func parentAttach(o *pg.Object, r *denc.Reader) ([]byte, error) {
	p := &parent{}
	p.decodeSpec(r)
	overlap := r.U64()
	reattach := r.Bool()
	if r.Err() != nil {
		return nil, r.Err()
	}
	p.overlap = &overlap
	return nil, attach(o, p, reattach)
}

func legacySetParent(o *pg.Object, r *denc.Reader) ([]byte, error) {
	p := &parent{pool: r.S64(), id: r.String(), snap: r.U64()}
	overlap := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	p.overlap = &overlap
	return nil, attach(o, p, false)
}

func parentDetach(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	if err := needFeature(o, featLayering); err != nil {
		return nil, err
	}
	p, err := readParent(o)
	if err != nil {
		return nil, err
	}
	if p.overlap == nil {
		return nil, errno.ErrNotFound
	}
	p.overlap = nil
	p.write(o)
	return nil, dropUnusedParent(o)
}

func legacyParent(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if !has(o, "size") {
		return nil, errno.ErrNotFound
	}
	p, err := readParent(o)
	var overlap *uint64
	if err == nil {
		overlap = p.overlap
		if id != noSnap {
			s, err := readSnap(o, id)
			if err != nil {
				return nil, err
			}
			overlap = s.overlap
		}
	}
	if overlap == nil {
		p = &parent{pool: -1, snap: noSnap}
		overlap = new(uint64)
	}
	b := denc.AppendU64(denc.AppendString(denc.AppendS64(nil, p.pool), p.id), p.snap)
	return denc.AppendU64(b, *overlap), nil
}

// child is a ChildImageSpec.
type child struct {
	pool   int64
	id, ns string
}

func (c child) append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendString(denc.AppendString(denc.AppendS64(b, c.pool), c.id), c.ns), at)
}

func decodeChild(r *denc.Reader) (c child) {
	s := r.Enter("ChildImageSpec", 2)
	c.pool, c.id = r.S64(), r.String()
	if s.V >= 2 {
		c.ns = r.String()
	}
	r.Leave(s)
	return c
}

func readChildren(o *pg.Object, snap uint64) ([]child, error) {
	v, err := get(o, hexKey("snap_children_", snap))
	if err != nil {
		return nil, err
	}
	r := denc.NewReader(v)
	l := denc.Slice(r, 6, decodeChild)
	return l, ioErr(r)
}

func writeChildren(o *pg.Object, snap uint64, l []child) {
	if len(l) == 0 {
		o.RemoveOmap(hexKey("snap_children_", snap))
		return
	}
	slices.SortFunc(l, func(a, b child) int {
		switch {
		case a.pool != b.pool:
			return int(a.pool - b.pool)
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return 0
	})
	o.SetOmap(hexKey("snap_children_", snap), denc.AppendSlice(nil, l, func(b []byte, c child) []byte { return c.append(b) }))
}

func childAttach(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, c := r.U64(), decodeChild(r)
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	if s.ns.kind == nsTrash {
		return nil, errno.ErrNotFound
	}
	l, _ := readChildren(o, id)
	if slices.Contains(l, c) {
		return nil, errno.ErrExists
	}
	l = append(l, c)
	writeChildren(o, id, l)
	s.children = uint32(len(l))
	s.write(o)
	return nil, setOpFeatures(o, opFeatureCloneParent, opFeatureCloneParent)
}

func childDetach(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, c := r.U64(), decodeChild(r)
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	l, err := readChildren(o, id)
	if err != nil {
		return nil, err
	}
	at := slices.Index(l, c)
	if at < 0 {
		return nil, errno.ErrNotFound
	}
	l = slices.Delete(l, at, at+1)
	writeChildren(o, id, l)
	s.children = uint32(len(l))
	s.write(o)
	left := false
	err = each(o, "snap_children_", func(string, []byte) error { left = true; return nil })
	if err != nil || left {
		return nil, err
	}
	return nil, setOpFeatures(o, 0, opFeatureCloneParent)
}

func childrenList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, hexKey("snap_children_", id))
}

// childKey is the key of rbd_children for a parent.
func childKey(r *denc.Reader) string {
	pool, id, snap := r.S64(), r.String(), r.U64()
	return string(denc.AppendU64(denc.AppendString(denc.AppendS64(nil, pool), id), snap))
}

func childIDs(o *pg.Object, key string) ([]string, error) {
	v, err := get(o, key)
	if err != nil {
		return nil, err
	}
	r := denc.NewReader(v)
	l := denc.Slice(r, 4, str)
	return l, ioErr(r)
}

func addChild(o *pg.Object, r *denc.Reader) ([]byte, error) {
	key, id := childKey(r), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	l, _ := childIDs(o, key)
	if slices.Contains(l, id) {
		return nil, errno.ErrExists
	}
	l = append(l, id)
	slices.Sort(l)
	o.SetOmap(key, denc.AppendSlice(nil, l, denc.AppendString))
	return nil, nil
}

func removeChild(o *pg.Object, r *denc.Reader) ([]byte, error) {
	key, id := childKey(r), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	l, err := childIDs(o, key)
	if err != nil {
		return nil, err
	}
	at := slices.Index(l, id)
	if at < 0 {
		return nil, errno.ErrNotFound
	}
	if l = slices.Delete(l, at, at+1); len(l) == 0 {
		o.RemoveOmap(key)
	} else {
		o.SetOmap(key, denc.AppendSlice(nil, l, denc.AppendString))
	}
	return nil, nil
}

func getChildren(o *pg.Object, r *denc.Reader) ([]byte, error) {
	key := childKey(r)
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, key)
}
