package pg

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// Kinds of frames in which groups are saved. An object is followed by its
// states, oldest first, and each of these by its pairs and its data.
const (
	KindGroup   uint32 = 16
	kindObject  uint32 = 17
	kindContent uint32 = 18
	kindPairs   uint32 = 19
	kindData    uint32 = 20
)

// Versions of frames. From the second on an object says whether it is a whiteout
// (before, a removed head with clones was one, of which nothing was kept), and a
// state whether it counts as one with an omap, and where CephFS cut it.
const (
	objectVersion  = 2
	contentVersion = 2
)

// frameSize is about how large a frame of many small things gets.
const frameSize = 1 << 20

// Saved is the state of a group at one moment: its objects with their clones and
// watches, and the answers that it remembers. Notifies under way are not in it.
// It does not change.
type Saved struct {
	pg                   wire.PG
	version, userVersion uint64
	dups                 []savedDup
	objects              []savedObject
}

type savedDup struct {
	id wire.ReqID
	*dup
}

type savedObject struct {
	object
	watches []savedWatch
}

type savedWatch struct {
	key     watchKey
	addr    entity.Addr
	timeout uint32
}

// PG returns which group it is.
func (s *Saved) PG() wire.PG { return s.pg }

// Insider is a peer within the cluster's own process, as the manager is one. Its
// watches end with it and are not saved.
type Insider interface{ Inside() }

// Save returns the state of all groups at one and the same moment. No group may
// be there twice.
func Save(groups []*Group) []*Saved {
	for _, g := range groups {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	out := make([]*Saved, len(groups))
	for i, g := range groups {
		out[i] = g.save()
	}
	return out
}

func (g *Group) save() *Saved {
	s := &Saved{pg: g.pg, version: g.version, userVersion: g.userVersion}
	for i := range g.dupRing { // oldest first
		id := g.dupRing[(g.dupNext+i)%len(g.dupRing)]
		if d := g.dups[id]; d != nil {
			s.dups = append(s.dups, savedDup{id, d})
		}
	}
	for _, o := range g.inOrder() {
		c := savedObject{object: *o}
		c.object.head = o.head.clone()
		c.object.watches, c.object.clones = nil, nil
		for _, k := range o.clones {
			n := *k
			n.content = k.content.clone()
			c.object.clones = append(c.object.clones, &n)
		}
		for _, k := range slices.SortedFunc(maps.Keys(o.watches), watchKey.compare) {
			w := o.watches[k]
			if _, inside := w.peer.(Insider); inside {
				continue
			}
			c.watches = append(c.watches, savedWatch{k, w.addr, w.timeout})
		}
		s.objects = append(s.objects, c)
	}
	return s
}

// Restore puts a saved state into an empty group. Watches wait for their clients
// from now on.
func (g *Group) Restore(s *Saved) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version, g.userVersion = s.version, s.userVersion
	for _, d := range s.dups {
		g.remember(d.id, d.dup)
	}
	for i := range s.objects {
		o := s.objects[i].object
		g.objects[o.name] = &o
		for _, sw := range s.objects[i].watches {
			w := &watch{key: sw.key, group: g, object: &o, addr: sw.addr, timeout: sw.timeout}
			if o.watches == nil {
				o.watches = map[watchKey]*watch{}
			}
			o.watches[sw.key] = w
			w.arm()
		}
	}
	g.sorted = nil
}

// Write writes the state to a file.
func (s *Saved) Write(w *savefile.Writer) {
	b, at := denc.Begin(nil, 1, 1)
	b = denc.AppendS64(b, s.pg.Pool)
	b = denc.AppendU32(b, s.pg.Seed)
	b = denc.AppendU64(b, s.version)
	b = denc.AppendU64(b, s.userVersion)
	b = denc.AppendSlice(b, s.dups, appendDup)
	b = denc.AppendU32(b, uint32(len(s.objects)))
	w.Frame(KindGroup, denc.End(b, at))
	for i := range s.objects {
		s.objects[i].write(w)
	}
}

func appendDup(b []byte, d savedDup) []byte {
	b = d.id.Name.Append(b)
	b = denc.AppendU64(b, d.id.TID)
	b = denc.AppendS32(b, d.id.Inc)
	b = denc.AppendS32(b, d.result)
	b = denc.AppendU64(b, d.version.Version)
	b = denc.AppendU32(b, d.version.Epoch)
	b = denc.AppendU64(b, d.userVersion)
	return denc.AppendSlice(b, d.ops, func(b []byte, op wire.Op) []byte {
		b = op.Append(b)
		b = append(b, op.Data.Bytes()...)
		return denc.AppendS32(b, op.Rval)
	})
}

func readDup(r *denc.Reader) (d savedDup) {
	d.id.Name.Decode(r)
	d.id.TID, d.id.Inc = r.U64(), r.S32()
	d.dup = &dup{result: r.S32(), version: wire.EVersion{Version: r.U64(), Epoch: r.U32()}, userVersion: r.U64()}
	d.ops = denc.Slice(r, 38+4, func(r *denc.Reader) (op wire.Op) {
		op.Decode(r)
		if n := int(op.PayloadLen()); n > maxReturnVec {
			r.Failf("an answer of %d bytes", n)
		} else if n > 0 {
			op.Data = msgr2.NewData(r.Raw(n))
		}
		op.Rval = r.S32()
		return op
	})
	return d
}

func (o *savedObject) write(w *savefile.Writer) {
	b, at := denc.Begin(nil, objectVersion, objectVersion)
	b = denc.AppendString(b, o.name.Namespace)
	b = denc.AppendString(b, o.name.Object)
	b = denc.AppendString(b, o.name.Key)
	b = denc.AppendU32(b, o.hash)
	b = denc.AppendBool(b, o.exists)
	b = denc.AppendU64(b, o.seq)
	b = denc.AppendSlice(b, o.watches, func(b []byte, v savedWatch) []byte {
		b = denc.AppendU64(b, v.key.cookie)
		b = v.key.name.Append(b)
		b = v.addr.Append(b)
		return denc.AppendU32(b, v.timeout)
	})
	b = denc.AppendSlice(b, o.clones, func(b []byte, c *clone) []byte {
		b = denc.AppendU64(b, c.id)
		b = denc.AppendSlice(b, c.snaps, denc.AppendU64)
		return denc.AppendSlice(b, c.overlap, func(b []byte, r store.Range) []byte {
			return denc.AppendU64(denc.AppendU64(b, r.Off), r.Len)
		})
	})
	b = denc.AppendBool(b, o.whiteout)
	w.Frame(kindObject, denc.End(b, at))
	var older *content
	for _, c := range o.clones {
		c.content.write(w, older)
		older = &c.content
	}
	if o.stored() {
		o.head.write(w, older)
	}
}

// write writes a state; what it has in common with the next older one is not
// written again.
func (c *content) write(w *savefile.Writer, older *content) {
	var data *store.Bytes
	same := false
	if older != nil {
		data = &older.data
		same = c.omap.Len() > 0 && c.omap.Equal(&older.omap)
	}
	var runs []store.Run
	for r := range c.data.Runs(data) {
		runs = append(runs, r)
	}
	b, at := denc.Begin(nil, contentVersion, 1)
	b = denc.AppendTime(b, c.mtime)
	b = denc.AppendU64(b, c.version)
	b = denc.AppendU64(b, c.data.Size())
	b = denc.AppendMap(b, c.xattrs, denc.AppendString, denc.AppendBytes)
	b = denc.AppendBytes(b, c.omap.Header)
	b = denc.AppendBool(b, same)
	keys := 0
	if !same {
		keys = c.omap.Len()
	}
	b = denc.AppendU64(b, uint64(keys))
	pieces := splitRuns(runs)
	b = denc.AppendU64(b, uint64(len(pieces)))
	b = denc.AppendBool(b, c.hasOmap)
	b = denc.AppendU64(denc.AppendU32(b, c.truncSeq), c.truncSize)
	w.Frame(kindContent, denc.End(b, at))
	if !same {
		c.writePairs(w)
	}
	writeRuns(w, pieces)
}

func (c *content) writePairs(w *savefile.Writer) {
	var b []byte
	for k, v := range c.omap.From("") {
		b = denc.AppendBytes(denc.AppendString(b, k), v)
		if len(b) >= frameSize {
			w.Frame(kindPairs, b)
			b = b[:0]
		}
	}
	if len(b) > 0 {
		w.Frame(kindPairs, b)
	}
}

// splitRuns cuts long runs to what goes into a frame.
func splitRuns(runs []store.Run) []store.Run {
	out := make([]store.Run, 0, len(runs))
	for _, r := range runs {
		for len(r.P) > frameSize {
			out = append(out, store.Run{Off: r.Off, P: r.P[:frameSize]})
			r = store.Run{Off: r.Off + frameSize, P: r.P[frameSize:]}
		}
		out = append(out, r)
	}
	return out
}

func writeRuns(w *savefile.Writer, runs []store.Run) {
	var b []byte
	for i, r := range runs {
		b = denc.AppendU64(b, r.Off)
		b = denc.AppendU64(b, r.Same)
		b = denc.AppendBytes(b, r.P)
		if i == len(runs)-1 || len(b)+len(runs[i+1].P) > frameSize+frameSize/4 {
			w.Frame(kindData, b)
			b = b[:0]
		}
	}
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", savefile.ErrFormat, fmt.Sprintf(format, args...))
}
