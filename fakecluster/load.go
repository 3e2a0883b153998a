package fakecluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/fakecluster/savefile"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/crush"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// loaded is a saved cluster, read and checked.
type loaded struct {
	shape   savedShape
	keys    []byte
	maps    []*osdmap.Map
	changes []*osdmap.Incremental
	tables  savedTables
	groups  map[int64]map[uint32]*pg.Saved
}

// Load starts a cluster with the state that Save wrote. It is as if all daemons
// had been restarted: they listen on the same ports where these are free, so
// that clients that were left waiting go on, and those of OSDs are told by new
// epochs of the map. OSDs that were stopped stay so. Options may change how the
// cluster is reached and what time it is, its name, and add pools; what it is
// made of must be as saved when it is given at all. A file that is no sound one
// gives an error that wraps savefile.ErrFormat or savefile.ErrVersion.
func Load(ctx context.Context, r io.Reader, opts ...Option) (*Cluster, error) {
	l, err := readSaved(r)
	if err != nil {
		return nil, fmt.Errorf("fakecluster: load: %w", err)
	}
	return start(ctx, l, opts)
}

func unsound(format string, args ...any) error {
	return fmt.Errorf("%w: %s", savefile.ErrFormat, fmt.Sprintf(format, args...))
}

func readSaved(src io.Reader) (*loaded, error) {
	r, err := savefile.NewReader(src)
	if err != nil {
		return nil, err
	}
	l := &loaded{groups: map[int64]map[uint32]*pg.Saved{}}
	for _, read := range []func(*savefile.Reader) error{l.readShape, l.readKeys, l.readMaps, l.readTables, l.readGroups} {
		if err := read(r); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *loaded) readShape(r *savefile.Reader) error {
	p, err := r.Want(kindShape)
	if err != nil {
		return err
	}
	d := denc.NewReader(p)
	if l.shape.decode(d); d.Done() != nil {
		return unsound("%v", d.Done())
	}
	o := options{osds: len(l.shape.osds), mons: len(l.shape.mons), release: l.shape.release, keyType: cephx.KeyType(l.shape.keyType)}
	if err := o.validate(); err != nil {
		return unsound("%v", err)
	}
	if o.keyType != cephx.KeyAES && o.keyType != cephx.KeyAES256K {
		return unsound("keys of %s", o.keyType)
	}
	return nil
}

func (l *loaded) readKeys(r *savefile.Reader) (err error) {
	if l.keys, err = r.Want(kindKeys); err != nil {
		return err
	}
	d := denc.NewReader(l.keys)
	if cephx.NewKeyServer(nil).RestoreState(d); d.Done() != nil {
		return unsound("%v", d.Done())
	}
	return nil
}

func (l *loaded) readMaps(r *savefile.Reader) error {
	p, err := r.Want(kindMap)
	if err != nil {
		return err
	}
	m, err := osdmap.Decode(p)
	if err != nil {
		return unsound("%v", err)
	}
	if m.Epoch != 1 || m.FSID != l.shape.fsid {
		return unsound("the first OSD map is of epoch %d of %s", m.Epoch, m.FSID)
	}
	l.maps, l.changes = append(l.maps, m), append(l.changes, nil)
	for e := uint32(2); e <= l.shape.epochs; e++ {
		if p, err = r.Want(kindChange); err != nil {
			return err
		}
		inc, err := osdmap.DecodeIncremental(p)
		if err != nil {
			return unsound("%v", err)
		}
		if len(inc.FullMap) > 0 {
			return unsound("epoch %d is a whole map", e)
		}
		if m, err = m.Apply(inc); err != nil {
			return unsound("%v", err)
		}
		l.maps, l.changes = append(l.maps, m), append(l.changes, inc)
	}
	if mapCRC(m.Append(nil, allFeatures)) != l.shape.mapCRC {
		return unsound("the OSD map of epoch %d is not what it was", m.Epoch)
	}
	return l.checkMap(m)
}

// Bounds of what a sound cluster has.
const (
	maxPGs   = 1 << 16
	maxTries = 1000
)

// checkMap checks that the map is one that a cluster of this shape can have, and
// that placing objects by it comes to an end.
func (l *loaded) checkMap(m *osdmap.Map) error {
	t := m.Crush.Tunables
	for _, n := range []uint32{t.ChooseLocalTries, t.ChooseLocalFallbackTries, t.ChooseTotalTries, t.MSRDescents, t.MSRCollisionTries} {
		if n > maxTries {
			return unsound("%d tries to place an object", n)
		}
	}
	for _, rule := range m.Crush.Rules {
		if rule == nil {
			continue
		}
		for _, s := range rule.Steps {
			if s.Op >= crush.OpSetChooseTries && s.Arg1 > maxTries {
				return unsound("%d tries to place an object", s.Arg1)
			}
		}
	}
	if m.MaxOSD() < len(l.shape.osds) {
		return unsound("%d OSDs in a map for %d", len(l.shape.osds), m.MaxOSD())
	}
	for id, p := range m.Pools {
		if _, named := m.PoolNames[id]; !named || p.PGNum < 1 || p.PGNum > maxPGs || p.Size < 1 || p.Size > 20 {
			return unsound("pool %d of %d groups and %d copies", id, p.PGNum, p.Size)
		}
	}
	return nil
}

func (l *loaded) readTables(r *savefile.Reader) error {
	p, err := r.Want(kindTables)
	if err != nil {
		return err
	}
	d := denc.NewReader(p)
	if l.tables.decode(d); d.Done() != nil {
		return unsound("%v", d.Done())
	}
	return nil
}

func (l *loaded) readGroups(r *savefile.Reader) error {
	m := l.maps[len(l.maps)-1]
	place := func(pool int64, hash uint32) uint32 {
		return m.Pools[pool].Fold(osdmap.PG{Pool: pool, Seed: hash}).Seed
	}
	for n := uint64(0); ; n++ {
		kind, p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return l.checkGroups(m, n)
		}
		if err != nil {
			return err
		}
		if kind != pg.KindGroup {
			return unsound("frame of kind %d", kind)
		}
		s, err := pg.Read(p, r, func(pool int64) bool { return m.Pools[pool] != nil }, place)
		if err != nil {
			return err
		}
		id := s.PG()
		if id.Seed >= m.Pools[id.Pool].PGNum || l.groups[id.Pool][id.Seed] != nil {
			return unsound("group %d.%x", id.Pool, id.Seed)
		}
		if l.groups[id.Pool] == nil {
			l.groups[id.Pool] = map[uint32]*pg.Saved{}
		}
		l.groups[id.Pool][id.Seed] = s
	}
}

func (l *loaded) checkGroups(m *osdmap.Map, n uint64) error {
	if n != l.shape.groups {
		return unsound("%d groups, not %d", n, l.shape.groups)
	}
	for id, p := range m.Pools {
		if len(l.groups[id]) != int(p.PGNum) {
			return unsound("%d groups of pool %d, not %d", len(l.groups[id]), id, p.PGNum)
		}
	}
	return nil
}

// defaults makes what was saved the default of the options.
func (l *loaded) defaults(o *options) {
	o.name, o.osds, o.mons, o.release = l.shape.name, len(l.shape.osds), len(l.shape.mons), l.shape.release
	o.keyType = cephx.KeyType(l.shape.keyType)
}

// agree checks that nobody wants another cluster than was saved.
func (l *loaded) agree(o *options) error {
	var want options
	l.defaults(&want)
	if o.osds != want.osds || o.mons != want.mons || o.release != want.release || o.keyType != want.keyType {
		return fmt.Errorf("fakecluster: load: the saved cluster has %d OSDs, %d monitors, release %d and keys of type %s",
			want.osds, want.mons, want.release, want.keyType)
	}
	return nil
}

// restore gives a cluster whose daemons listen the state that was saved.
// Cluster.mu is held.
func (c *Cluster) restore(l *loaded) {
	last := l.maps[len(l.maps)-1]
	for id, groups := range l.groups {
		c.groups[id] = make([]*pg.Group, len(groups))
		for seed, s := range groups {
			g := pg.New(s.PG(), c.clock, &c.notifyIDs)
			g.Restore(s)
			c.groups[id][seed] = g
		}
	}
	c.history.maps, c.history.incs = l.maps, l.changes
	c.osdmap = last
	c.view.Store(c.newView(last, true))
	var running []*osd
	for i, o := range c.osds {
		if l.shape.osds[i].running {
			running = append(running, o)
		}
	}
	c.boot(running...)
	now := c.clock.Now()
	for a, until := range last.OSDOnly.Blocklist {
		c.expire(a, max(0, until.Std().Sub(now)))
	}
	c.holdTrim = l.shape.holdTrim
	c.restoreTables(&l.tables)
}

// port returns where a daemon listened that is to listen there again.
func (d savedDaemon) port(o *options) netip.AddrPort {
	if o.inProcess {
		return netip.AddrPort{}
	}
	return d.addr
}
