package pg

import (
	"cmp"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// Read reads a state that Write wrote: the frame of kind KindGroup that is given,
// and what follows it. known says which pools there are, place which group of
// such a pool an object of some hash belongs to. It believes nothing: an error
// wraps savefile.ErrFormat.
func Read(frame []byte, r *savefile.Reader, known func(pool int64) bool, place func(pool int64, hash uint32) (seed uint32)) (*Saved, error) {
	d := denc.NewReader(frame)
	v := d.Enter("saved group", 1)
	s := &Saved{pg: wire.PG{Pool: d.S64(), Seed: d.U32()}, version: d.U64(), userVersion: d.U64()}
	s.dups = denc.Slice(d, 9+8+4+4+12+8+4, readDup)
	n := d.U32()
	d.Leave(v)
	if err := d.Done(); err != nil {
		return nil, bad("group: %v", err)
	}
	if len(s.dups) > maxDups {
		return nil, bad("group %d.%x remembers %d answers", s.pg.Pool, s.pg.Seed, len(s.dups))
	}
	if !known(s.pg.Pool) {
		return nil, bad("a group of pool %d, which is not there", s.pg.Pool)
	}
	names := map[Name]bool{}
	for range n {
		o, err := readObject(r)
		if err != nil {
			return nil, err
		}
		switch {
		case names[o.name]:
			return nil, bad("object %q is there twice", o.name.Object)
		case place(s.pg.Pool, o.hash) != s.pg.Seed:
			return nil, bad("object %q is not of group %d.%x", o.name.Object, s.pg.Pool, s.pg.Seed)
		}
		names[o.name] = true
		s.objects = append(s.objects, o)
	}
	return s, nil
}

func readObject(r *savefile.Reader) (o savedObject, err error) {
	p, err := r.Want(kindObject)
	if err != nil {
		return o, err
	}
	d := denc.NewReader(p)
	v := d.Enter("saved object", objectVersion)
	o.name = Name{d.String(), d.String(), d.String()}
	o.hash, o.exists, o.seq = d.U32(), d.Bool(), d.U64()
	o.watches = denc.Slice(d, 8+9+1+4, func(r *denc.Reader) (w savedWatch) {
		w.key.cookie = r.U64()
		w.key.name.Decode(r)
		w.addr.Decode(r)
		w.timeout = r.U32()
		return w
	})
	o.clones = denc.Slice(d, 8+4+4, readClone)
	old := v.V < 2
	if !old {
		o.whiteout = d.Bool()
	}
	d.Leave(v)
	if err := d.Done(); err != nil {
		return o, bad("object: %v", err)
	}
	if err := o.check(); err != nil {
		return o, err
	}
	var older *content
	for _, c := range o.clones {
		if err := c.content.read(r, older); err != nil {
			return o, err
		}
		older = &c.content
		if err := checkOverlap(c.overlap, c.content.data.Size()); err != nil {
			return o, err
		}
	}
	if old {
		o.whiteout = !o.exists
	}
	if o.exists || o.whiteout && !old {
		err = o.head.read(r, older)
	}
	return o, err
}

func readClone(r *denc.Reader) *clone {
	c := &clone{id: r.U64(), snaps: denc.Slice(r, 8, (*denc.Reader).U64)}
	c.overlap = denc.Slice(r, 16, func(r *denc.Reader) store.Range { return store.Range{Off: r.U64(), Len: r.U64()} })
	return c
}

// check checks what later code takes for granted.
func (o *savedObject) check() error {
	n := o.name
	if len(n.Object) > maxObjectName || len(n.Key) > maxObjectName || len(n.Namespace) > maxNamespace || n.Object == "" || n.Key == n.Object {
		return bad("object name %q", n.Object)
	}
	if !o.stored() && len(o.clones) == 0 || o.exists && o.whiteout {
		return bad("nothing is left of object %q", n.Object)
	}
	descending := func(a, b uint64) int { return cmp.Compare(b, a) }
	for i, c := range o.clones {
		if i > 0 && o.clones[i-1].id >= c.id || c.id > o.seq || !slices.IsSortedFunc(c.snaps, descending) || len(c.snaps) == 0 {
			return bad("clones of object %q", n.Object)
		}
	}
	seen := map[watchKey]bool{}
	for _, w := range o.watches {
		if seen[w.key] || w.timeout == 0 || !o.stored() {
			return bad("watches of object %q", n.Object)
		}
		seen[w.key] = true
	}
	return nil
}

// checkOverlap checks that ranges ascend within a size.
func checkOverlap(ranges store.Ranges, size uint64) error {
	var end uint64
	for _, r := range ranges {
		if r.Len == 0 || r.Off < end || r.Off > size || r.Len > size-r.Off {
			return bad("overlap of a clone")
		}
		end = r.End()
	}
	return nil
}

// read reads a state; older is the next older one, or nil.
func (c *content) read(r *savefile.Reader, older *content) error {
	p, err := r.Want(kindContent)
	if err != nil {
		return err
	}
	d := denc.NewReader(p)
	v := d.Enter("saved content", contentVersion)
	c.mtime, c.version = d.Time(), d.U64()
	size := d.U64()
	c.xattrs = denc.Map(d, 8, (*denc.Reader).String, (*denc.Reader).Bytes)
	c.omap.Header = d.Bytes()
	same, keys, pieces := d.Bool(), d.U64(), d.U64()
	if v.V >= 2 {
		c.hasOmap, c.truncSeq, c.truncSize = d.Bool(), d.U32(), d.U64()
	}
	d.Leave(v)
	switch {
	case d.Done() != nil:
		return bad("state of an object: %v", d.Done())
	case size > maxObjectSize:
		return bad("an object of %d bytes", size)
	case same && (older == nil || keys > 0):
		return bad("keys that are nowhere")
	}
	if same {
		header := c.omap.Header
		c.omap = older.omap.Clone()
		c.omap.Header = header
	}
	if err := c.readPairs(r, keys); err != nil {
		return err
	}
	c.hasOmap = c.hasOmap || c.omap.Len() > 0 || len(c.omap.Header) > 0
	c.data.Truncate(size)
	return c.readRuns(r, pieces, older)
}

func (c *content) readPairs(r *savefile.Reader, keys uint64) error {
	for keys > 0 {
		p, err := r.Want(kindPairs)
		if err != nil {
			return err
		}
		d := denc.NewReader(p)
		n := uint64(0)
		for ; d.Len() > 0 && d.Err() == nil; n++ {
			if err := c.omap.Put(d.String(), d.Bytes()); err != nil {
				return bad("keys: %v", err)
			}
		}
		if d.Err() != nil || n == 0 || n > keys {
			return bad("%d keys where %d have to be: %v", n, keys, d.Err())
		}
		keys -= n
	}
	return nil
}

func (c *content) readRuns(r *savefile.Reader, pieces uint64, older *content) error {
	var from *store.Bytes
	if older != nil {
		from = &older.data
	}
	for pieces > 0 {
		p, err := r.Want(kindData)
		if err != nil {
			return err
		}
		d := denc.NewReader(p)
		n := uint64(0)
		for ; d.Len() > 0 && d.Err() == nil; n++ {
			run := store.Run{Off: d.U64(), Same: d.U64(), P: d.Bytes()}
			if len(run.P) == 0 {
				run.P = nil
			}
			if d.Err() != nil {
				break
			}
			if err := c.data.Put(run, from); err != nil {
				return bad("data: %v", err)
			}
		}
		if d.Err() != nil || n == 0 || n > pieces {
			return bad("%d pieces of data where %d have to be: %v", n, pieces, d.Err())
		}
		pieces -= n
	}
	return nil
}
