package fakecluster

import (
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// Kinds of frames of a saved cluster, in the order in which they come; the
// groups of package pg follow.
const (
	kindShape  uint32 = 1 // what the cluster is
	kindKeys   uint32 = 2 // users, tickets' keys
	kindMap    uint32 = 3 // the first epoch of the OSD map
	kindChange uint32 = 4 // each further epoch
	kindTables uint32 = 5 // what monitors and the manager keep besides
)

// allFeatures are those by which maps are saved: with all that they have.
const allFeatures = math.MaxUint64

// savedShape is what a cluster is, apart from what it keeps.
type savedShape struct {
	name             string
	release, keyType int
	fsid             denc.UUID
	started          time.Time
	// Where the daemons listen, or did last.
	mons, osds     []savedDaemon
	mgr            savedDaemon
	monmap, mgrmap uint32 // epochs
	epochs         uint32 // of the OSD map
	mapCRC         uint32 // of the last one
	holdTrim       bool
	groups         uint64
}

type savedDaemon struct {
	running bool
	addr    netip.AddrPort
}

// Save writes the whole state of the cluster to w, for Load: pools with their
// objects, snapshots and watches, users and keys, the OSD map with all its
// epochs and the blocklist, configuration, schedules, tasks, the service map and
// the cluster log. Faults, links and records are not part of it, nor is what is
// under way. It is the state of one moment; clients may go on meanwhile. The
// file is full of secrets, and its format, which carries a version and
// checksums, is our own.
func (c *Cluster) Save(w io.Writer) error {
	c.mu.Lock()
	var groups []*pg.Group
	for _, id := range slices.Sorted(maps.Keys(c.groups)) {
		groups = append(groups, c.groups[id]...)
	}
	saved := pg.Save(groups)
	shape := c.shape()
	shape.groups = uint64(len(saved))
	keys := c.keys.AppendState(nil)
	first, changes := c.history.saved()
	tables := c.tables()
	c.mu.Unlock()

	f := savefile.NewWriter(w)
	f.Frame(kindShape, shape.append(nil))
	f.Frame(kindKeys, keys)
	f.Frame(kindMap, first)
	for _, b := range changes {
		f.Frame(kindChange, b)
	}
	f.Frame(kindTables, tables)
	for _, s := range saved {
		s.Write(f)
	}
	return f.Close()
}

// saved returns the first map and all changes since, encoded.
func (h *history) saved() (first []byte, changes [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := uint32(2); e <= h.last(); e++ {
		changes = append(changes, h.incs[e-1].Append(nil, allFeatures))
	}
	return h.maps[0].Append(nil, allFeatures), changes
}

// shape is called with Cluster.mu held.
func (c *Cluster) shape() savedShape {
	s := savedShape{
		name: c.opt.name, release: c.opt.release, keyType: int(c.opt.keyType), fsid: c.fsid, started: c.started,
		monmap: uint32(c.monmap.Epoch), mgrmap: uint32(c.mgrmap.Epoch), epochs: c.osdmap.Epoch, holdTrim: c.holdTrim,
		mapCRC: mapCRC(c.osdmap.Append(nil, allFeatures)), mgr: c.saved(&c.mgr.daemon),
	}
	for _, m := range c.mons {
		s.mons = append(s.mons, c.saved(&m.daemon))
	}
	for _, o := range c.osds {
		s.osds = append(s.osds, c.saved(&o.daemon))
	}
	return s
}

// saved counts a daemon that crashed as one that runs.
func (c *Cluster) saved(d *daemon) savedDaemon {
	return savedDaemon{d.running() || c.crashed[d], d.address().IP}
}

// mapCRC is a checksum of a whole encoded map.
func mapCRC(p []byte) uint32 { return denc.CRC32C(math.MaxUint32, p) }

func appendDaemon(b []byte, d savedDaemon) []byte {
	where := ""
	if d.addr.IsValid() {
		where = d.addr.String()
	}
	return denc.AppendString(denc.AppendBool(b, d.running), where)
}

func readDaemon(r *denc.Reader) (d savedDaemon) {
	d.running = r.Bool()
	where := r.String()
	if where == "" {
		return d
	}
	var err error
	if d.addr, err = netip.ParseAddrPort(where); err != nil {
		r.Fail(err)
	}
	return d
}

func (s *savedShape) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(b, s.name)
	b = denc.AppendU32(b, uint32(s.release))
	b = denc.AppendU32(b, uint32(s.keyType))
	b = denc.AppendUUID(b, s.fsid)
	b = denc.AppendTime(b, denc.TimeOf(s.started))
	b = denc.AppendSlice(b, s.mons, appendDaemon)
	b = denc.AppendSlice(b, s.osds, appendDaemon)
	b = appendDaemon(b, s.mgr)
	for _, v := range []uint32{s.monmap, s.mgrmap, s.epochs, s.mapCRC} {
		b = denc.AppendU32(b, v)
	}
	b = denc.AppendBool(b, s.holdTrim)
	b = denc.AppendU64(b, s.groups)
	return denc.End(b, at)
}

func (s *savedShape) decode(r *denc.Reader) {
	v := r.Enter("saved cluster", 1)
	s.name = r.String()
	s.release, s.keyType = int(r.U32()), int(r.U32())
	s.fsid, s.started = r.UUID(), r.Time().Std()
	s.mons, s.osds = denc.Slice(r, 5, readDaemon), denc.Slice(r, 5, readDaemon)
	s.mgr = readDaemon(r)
	for _, p := range []*uint32{&s.monmap, &s.mgrmap, &s.epochs, &s.mapCRC} {
		*p = r.U32()
	}
	s.holdTrim = r.Bool()
	s.groups = r.U64()
	r.Leave(v)
}
