// Package pg is what an OSD does with one placement group: it keeps objects
// with their snapshots, executes the operation vectors of clients atomically,
// recognises repeated requests, keeps watches and runs notifies. Behaviour is
// that of Ceph 16.2 to 20.2's PrimaryLogPG as clients see it.
//
// A Group locks itself; every exported method is safe for concurrent use.
// Nothing here knows about sockets, maps or other groups.
package pg

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// Clock tells the time and wakes up.
type Clock interface {
	Now() time.Time
	// AfterFunc runs f once after d, on any goroutine, unless stop is called
	// before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// Name names an object within a pool.
type Name struct {
	Namespace, Object, Key string
}

// content is the state of an object, or of a clone of it.
type content struct {
	data    store.Bytes
	omap    store.Omap
	hasOmap bool              // it counts as one with an omap, even if that is empty
	xattrs  map[string][]byte // replaced, never changed, once a clone exists
	mtime   denc.Time
	version uint64 // user version

	// What CephFS's clients last said of where the file was cut.
	truncSeq  uint32
	truncSize uint64
}

// clone is an older state of an object, kept for snapshots.
type clone struct {
	id      uint64
	snaps   []uint64     // descending
	overlap store.Ranges // equal in the next newer state
	content content
}

// object is a head with its clones. It exists for Group as long as one of both
// does.
type object struct {
	name   Name
	hash   uint32
	exists bool // the head; clones may be there without it
	// whiteout says that an OSD's store has the removed head, empty, as it does
	// while there are clones.
	whiteout bool
	head     content
	seq      uint64
	clones   []*clone // ascending
	watches  map[watchKey]*watch
}

// stored reports whether an OSD's store has the head, be it empty and removed.
func (o *object) stored() bool { return o.exists || o.whiteout }

// dup remembers an answer, for requests that are sent again.
type dup struct {
	result      int32
	version     wire.EVersion
	userVersion uint64
	ops         []wire.Op
}

// maxDups is how many answers a group remembers, as osd_pg_log_dups_tracked.
const maxDups = 3000

// Group is one placement group.
type Group struct {
	pg    wire.PG
	clock Clock
	ids   *NotifyIDs

	mu      sync.Mutex
	objects map[Name]*object
	// watched are objects that are not there, but are watched: who begins to watch what
	// the same vector makes and removes stays connected, and hears of the next object
	// of that name.
	watched map[Name]*object
	// trimmed has, of objects of which trimming has left nothing, the newest snapshot
	// that they had seen. An OSD knows it for as long as it has them in its cache.
	trimmed     map[Name]uint64
	trimmedLast []Name    // of trimmed, the last ones last
	sorted      []*object // of objects, in listing order; nil when stale
	version     uint64
	userVersion uint64
	dups        map[wire.ReqID]*dup
	dupRing     []wire.ReqID
	dupNext     int
	closed      bool
	unacked     []*Write // in the order in which they were made
}

// NotifyIDs hands out the ids of notifies for a whole cluster.
type NotifyIDs struct {
	mu   sync.Mutex
	last uint64
}

func (n *NotifyIDs) next(epoch uint32) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	return uint64(epoch)<<32 | n.last&0xffffffff
}

// New returns an empty group.
func New(id wire.PG, clock Clock, ids *NotifyIDs) *Group {
	return &Group{
		pg: id, clock: clock, ids: ids,
		objects: map[Name]*object{}, watched: map[Name]*object{}, trimmed: map[Name]uint64{}, dups: map[wire.ReqID]*dup{},
	}
}

// Close stops all timers. The group answers no more.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, o := range g.all() {
		for _, w := range o.watches {
			w.stopTimer()
			for _, n := range w.pending {
				n.stop()
			}
		}
	}
}

// Stats is what a group holds.
type Stats struct {
	Objects, Clones uint64
	Bytes           uint64 // sizes of all objects and clones
	Stored          uint64 // bytes that are not holes
	OmapBytes       uint64
	OmapKeys        uint64
}

// Add adds o.
func (s *Stats) Add(o Stats) {
	s.Objects += o.Objects
	s.Clones += o.Clones
	s.Bytes += o.Bytes
	s.Stored += o.Stored
	s.OmapBytes += o.OmapBytes
	s.OmapKeys += o.OmapKeys
}

func (s *Stats) count(c *content) {
	s.Objects++
	s.Bytes += c.data.Size()
	s.Stored += c.data.Stored()
	s.OmapKeys += uint64(c.omap.Len())
}

// Stats counts the group's objects.
func (g *Group) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	var s Stats
	for _, o := range g.objects {
		if o.exists {
			s.count(&o.head)
		}
		for _, c := range o.clones {
			s.count(&c.content)
			s.Clones++
		}
	}
	return s
}

// Version returns how many changes the group has seen.
func (g *Group) Version() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version
}

func (g *Group) remember(id wire.ReqID, d *dup) {
	if len(g.dupRing) < maxDups {
		g.dupRing = append(g.dupRing, id)
	} else {
		delete(g.dups, g.dupRing[g.dupNext])
		g.dupRing[g.dupNext] = id
		g.dupNext = (g.dupNext + 1) % maxDups
	}
	g.dups[id] = d
}

// object returns the object of the name, made if need be.
func (g *Group) object(n Name, hash uint32) *object {
	o := g.objects[n]
	if o == nil {
		if o = g.watched[n]; o == nil {
			o = &object{name: n, hash: hash}
		}
		o.seq = g.trimmed[n]
		delete(g.watched, n)
		g.objects[n] = o
		g.sorted = nil
	}
	return o
}

// all yields the objects, those included that are only watched.
func (g *Group) all() iter.Seq2[Name, *object] {
	return func(yield func(Name, *object) bool) {
		for _, m := range []map[Name]*object{g.objects, g.watched} {
			for n, o := range m {
				if !yield(n, o) {
					return
				}
			}
		}
	}
}

// drop forgets an object of which nothing is left.
func (g *Group) drop(o *object) {
	if !o.stored() && len(o.clones) == 0 && g.objects[o.name] == o {
		if o.head, o.seq = (content{}), 0; len(o.watches) > 0 {
			g.watched[o.name] = o
		}
		delete(g.objects, o.name)
		g.sorted = nil
	}
}

// inOrder returns all objects in the order of listings.
func (g *Group) inOrder() []*object {
	if g.sorted == nil {
		g.sorted = make([]*object, 0, len(g.objects))
		for _, o := range g.objects {
			g.sorted = append(g.sorted, o)
		}
		slices.SortFunc(g.sorted, func(a, b *object) int {
			return cmp.Or(cmp.Compare(bits.Reverse32(a.hash), bits.Reverse32(b.hash)), a.position(0).compare(b.position(0)))
		})
	}
	return g.sorted
}

type position struct{ wire.HObject }

func (p position) compare(o position) int { return p.HObject.Compare(o.HObject) }

// position returns where the head stands in the order.
func (o *object) position(pool int64) position {
	return position{wire.HObject{
		Key: o.name.Key, OID: o.name.Object, Snap: wire.SnapHead, Hash: o.hash, Namespace: o.name.Namespace, Pool: pool,
	}}
}

// Split moves the objects for which belongs returns false out of the group,
// with their watches and all answers that are remembered, and hands each to
// target. Used when a pool gets more placement groups.
func (g *Group) Split(target func(hash uint32) *Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle(len(g.unacked))
	for n, o := range g.all() {
		t := target(o.hash)
		if t == g {
			continue
		}
		t.mu.Lock()
		if g.objects[n] == o {
			t.objects[n] = o
		} else {
			t.watched[n] = o
		}
		t.sorted = nil
		t.version = max(t.version, g.version)
		t.userVersion = max(t.userVersion, g.userVersion)
		for _, id := range g.dupRing {
			if _, known := t.dups[id]; !known {
				t.remember(id, g.dups[id])
			}
		}
		for _, w := range o.watches {
			w.group = t
		}
		t.mu.Unlock()
		delete(g.objects, n)
		delete(g.watched, n)
		g.sorted = nil
	}
}
