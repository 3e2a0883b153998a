package fakecluster

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/crush"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// history keeps every epoch of the OSD map, and their encoded forms.
type history struct {
	fsid denc.UUID

	mu      sync.Mutex
	maps    []*osdmap.Map // from epoch 1 on
	incs    []*osdmap.Incremental
	encoded map[encodedKey][]byte
}

type encodedKey struct {
	epoch    uint32
	full     bool
	features uint64
}

// encodingFeatures are the features by which encodings of maps differ.
const encodingFeatures = osdmap.FeatureReef | osdmap.FeatureTentacle | osdmap.FeatureCrushMSR

// maxMapsPerMessage is osd_map_message_max.
const maxMapsPerMessage = 40

func (h *history) add(m *osdmap.Map, inc *osdmap.Incremental) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maps = append(h.maps, m)
	h.incs = append(h.incs, inc)
}

func (h *history) oldest() uint32 { return 1 }

func (h *history) last() uint32 { return uint32(len(h.maps)) }

// epoch returns a map of the past, or nil.
func (h *history) epoch(e uint32) *osdmap.Map {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e < 1 || e > h.last() {
		return nil
	}
	return h.maps[e-1]
}

func (h *history) encode(e uint32, full bool, features uint64) []byte {
	k := encodedKey{e, full, features & encodingFeatures}
	if b := h.encoded[k]; b != nil {
		return b
	}
	var b []byte
	if full {
		b = h.maps[e-1].Append(nil, features)
	} else {
		b = h.incs[e-1].Append(nil, features)
	}
	if h.encoded == nil {
		h.encoded = map[encodedKey][]byte{}
	}
	h.encoded[k] = b
	return b
}

// newest returns a message with the newest map, whole.
func (h *history) newest(features uint64) *wire.OSDMapMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.last()
	return &wire.OSDMapMessage{
		FSID: h.fsid, Full: map[uint32][]byte{e: h.encode(e, true, features)}, Oldest: h.oldest(), Newest: e,
	}
}

// since returns messages with the changes from epoch from on.
func (h *history) since(from uint32, features uint64) []*wire.OSDMapMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*wire.OSDMapMessage
	for e := max(from, 1); e <= h.last(); {
		m := &wire.OSDMapMessage{FSID: h.fsid, Incrementals: map[uint32][]byte{}, Oldest: h.oldest(), Newest: h.last()}
		if e == 1 {
			m.Full = map[uint32][]byte{1: h.encode(1, true, features)}
			e++
		}
		for ; e <= h.last() && len(m.Incrementals) < maxMapsPerMessage; e++ {
			m.Incrementals[e] = h.encode(e, false, features)
		}
		out = append(out, m)
	}
	return out
}

// firstMap makes epoch 1: all OSDs up, no pools.
func (c *Cluster) firstMap() {
	m := osdmap.New(c.fsid)
	now := denc.TimeOf(c.clock.Now())
	m.Epoch, m.Created, m.Modified, m.LastUpChange, m.LastInChange = 1, now, now, now, now
	m.Flags = osdmap.FlagSortBitwise | osdmap.FlagRecoveryDeletes | osdmap.FlagPurgedSnapdirs | osdmap.FlagPGLogHardLimit
	m.OSDOnly.RequireRelease = c.release().number
	m.OSDOnly.MinCompatClient = 12
	var hosts [][]int32
	for _, o := range c.osds {
		hosts = append(hosts, []int32{o.id})
		m.State = append(m.State, osdmap.StateExists|osdmap.StateUp)
		m.Weight = append(m.Weight, osdmap.InWeight)
		m.Addrs = append(m.Addrs, o.addrs())
		m.OSDOnly.OSDs = append(m.OSDOnly.OSDs, osdmap.OSDDetail{
			Cluster: o.addrs(), HBBack: o.addrs(), HBFront: o.addrs(),
			Info: osdmap.OSDInfo{UpFrom: 1, UpThru: 1}, UUID: c.uuid(),
			XInfo: osdmap.OSDXInfo{Features: c.features(), OldWeight: 0},
		})
	}
	m.Crush = crush.Build(hosts, len(c.osds) < 3)
	m.ErasureCodes = map[string]map[string]string{"default": c.defaultProfile()}
	c.osdmap = m
	c.history.add(m, nil)
	c.view.Store(c.newView(m, true))
}

// defaultProfile returns the erasure code profile for pools that ask for none.
func (c *Cluster) defaultProfile() map[string]string {
	p := map[string]string{"k": "2", "m": "2", "plugin": "jerasure", "technique": "reed_sol_van"}
	if c.opt.release >= 20 {
		p["plugin"] = "isa"
	}
	return p
}

// ownProfile is the erasure code profile of pools that the cluster begins with: two
// chunks of data and one more are the least that Ceph takes.
const ownProfile = "fake"

// makeOwnProfile sees to it that ownProfile is there.
func (c *Cluster) makeOwnProfile() {
	if c.osdmap.ErasureCodes[ownProfile] != nil {
		return
	}
	p := c.newProfile(map[string]string{"k": "2", "m": "1"})
	c.change(func(inc *osdmap.Incremental) { inc.NewErasureCodes = map[string]map[string]string{ownProfile: p} })
}

// newProfile returns the erasure code profile that is kept when some of it is given.
func (c *Cluster) newProfile(given map[string]string) map[string]string {
	p := c.defaultProfile()
	maps.Copy(p, map[string]string{"crush-device-class": "", "crush-root": "default", "crush-failure-domain": "host"})
	if c.opt.release >= 20 {
		maps.Copy(p, map[string]string{"crush-num-failure-domains": "0", "crush-osds-per-failure-domain": "0"})
	}
	maps.Copy(p, given)
	if p["plugin"] == "jerasure" {
		for key, v := range map[string]string{"jerasure-per-chunk-alignment": "false", "w": "8"} {
			if _, ok := given[key]; !ok {
				p[key] = v
			}
		}
	}
	return p
}

// change publishes the next epoch of the OSD map, which fill describes. The
// cluster's mutex is held.
func (c *Cluster) change(fill func(inc *osdmap.Incremental)) {
	inc := c.osdmap.NewIncremental()
	inc.Modified = denc.TimeOf(c.clock.Now())
	fill(inc)
	if len(inc.NewUp)+len(inc.NewState) > 0 {
		inc.LastUpChange = inc.Modified
	}
	inc.OSDOnly.EncodeFeatures = c.features()
	inc.OSDOnly.RequireRelease = 0xff // 0 would be taken for a change by Ceph's clients
	next, _, _, err := c.osdmap.Next(inc, c.features())
	if err != nil {
		// Every incremental is of our own making.
		panic("fakecluster: " + err.Error())
	}
	c.osdmap = next
	c.history.add(next, inc)
	v := c.newView(next, remaps(inc))
	c.view.Store(v)
	c.pushAll("osdmap")
	c.backoffs.published(v)
	if len(inc.OSDOnly.NewBlocklist) > 0 {
		for _, groups := range c.groups {
			for _, g := range groups {
				g.Evict(next.IsBlocklisted)
			}
		}
	}
}

// Epoch returns the epoch of the OSD map.
func (c *Cluster) Epoch() uint32 { return c.view.Load().epoch }

// OSDMap returns the OSD map, which must not be changed.
func (c *Cluster) OSDMap() *osdmap.Map { return c.view.Load().m }

// AdvanceMap publishes n epochs in which nothing changes.
func (c *Cluster) AdvanceMap(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		c.change(func(*osdmap.Incremental) {})
	}
}

// ChangeMap publishes an epoch of the caller's making. fill must leave a map
// that can be; pools are made and removed by commands.
func (c *Cluster) ChangeMap(fill func(m *osdmap.Map, inc *osdmap.Incremental)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(func(inc *osdmap.Incremental) { fill(c.osdmap, inc) })
}

var errNoPool = errors.New("fakecluster: no such pool")

// newPool describes a pool that is to be made.
type newPool struct {
	name    string
	erasure bool
	pgs     uint32
	size    uint8
	profile string
	rule    *uint8
	app     string
	edits   []func(*osdmap.Pool)
}

// createPool makes a pool and returns its id.
func (c *Cluster) createPool(n newPool) int64 {
	size := uint8(min(3, len(c.osds)))
	minSize := size - size/2
	kind, rule := osdmap.PoolReplicated, uint8(crush.ReplicatedRule)
	if n.size > 0 {
		size = n.size
		minSize = size - size/2
	}
	if n.erasure {
		kind = osdmap.PoolErasure
		if n.profile == "" {
			n.profile = "default"
		}
		if n.rule == nil {
			number := uint8(c.erasureRule(n.name, n.profile))
			n.rule = &number
		}
		k, m := profileSizes(c.osdmap.ErasureCodes[n.profile])
		size, minSize = uint8(k+m), uint8(min(k+1, k+m))
	}
	if n.rule != nil {
		rule = *n.rule
	}
	if n.pgs == 0 {
		n.pgs = 8
	}
	id := int64(c.osdmap.PoolMax) + 1
	p := osdmap.NewPool(kind, size, minSize, n.pgs)
	p.CrushRule = rule
	p.Created = denc.TimeOf(c.clock.Now())
	p.LastChange = c.osdmap.Epoch + 1
	p.Applications = map[string]map[string]string{}
	if n.app != "" {
		p.Applications[n.app] = map[string]string{}
	}
	if n.erasure {
		p.ErasureProfile = n.profile
		k, _ := profileSizes(c.osdmap.ErasureCodes[n.profile])
		p.StripeWidth = uint32(4096 * k)
	}
	for _, edit := range n.edits {
		edit(p)
	}
	groups := make([]*pg.Group, n.pgs)
	for i := range groups {
		groups[i] = pg.New(wire.PG{Pool: id, Seed: uint32(i)}, c.clock, &c.notifyIDs)
	}
	c.groups[id] = groups
	c.change(func(inc *osdmap.Incremental) {
		inc.NewPoolMax = id
		inc.NewPools = map[int64]*osdmap.Pool{id: p}
		inc.NewPoolNames = map[int64]string{id: n.name}
	})
	return id
}

// updatePool publishes a changed copy of a pool.
func (c *Cluster) updatePool(id int64, edit func(p *osdmap.Pool)) {
	p := *c.osdmap.Pools[id]
	p.Applications = cloneApps(p.Applications)
	edit(&p)
	p.LastChange = c.osdmap.Epoch + 1
	if n := int(p.PGNum); n > len(c.groups[id]) {
		c.split(id, &p)
	}
	c.change(func(inc *osdmap.Incremental) { inc.NewPools = map[int64]*osdmap.Pool{id: &p} })
}

// split makes the groups that a pool with more of them needs.
func (c *Cluster) split(id int64, p *osdmap.Pool) {
	old := c.groups[id]
	groups := slices.Clone(old)
	for i := len(old); i < int(p.PGNum); i++ {
		groups = append(groups, pg.New(wire.PG{Pool: id, Seed: uint32(i)}, c.clock, &c.notifyIDs))
	}
	for _, g := range old {
		g.Split(func(hash uint32) *pg.Group { return groups[p.Fold(osdmap.PG{Pool: id, Seed: hash}).Seed] })
	}
	c.groups[id] = groups
}

// removePool removes a pool with all its objects.
func (c *Cluster) removePool(id int64) {
	for _, g := range c.groups[id] {
		g.Close()
	}
	delete(c.groups, id)
	c.change(func(inc *osdmap.Incremental) { inc.OldPools = []int64{id} })
}

func cloneApps(m map[string]map[string]string) map[string]map[string]string {
	out := make(map[string]map[string]string, len(m))
	for app, meta := range m {
		n := make(map[string]string, len(meta))
		for k, v := range meta {
			n[k] = v
		}
		out[app] = n
	}
	return out
}

// removeUnmanagedSnap removes a snapshot that clients manage, as a monitor does:
// before 20.2 that takes a new snapshot id.
func (c *Cluster) removeUnmanagedSnap(pool int64, snap uint64) {
	c.removeSnap(pool, snap, func(p *osdmap.Pool) {
		p.SnapEpoch = c.osdmap.Epoch + 1
		if c.opt.release < 20 {
			p.SnapSeq++
		}
	})
}

// removeSnap marks a snapshot as removed and lets it be trimmed.
func (c *Cluster) removeSnap(pool int64, snap uint64, edit func(p *osdmap.Pool)) {
	p := *c.osdmap.Pools[pool]
	edit(&p)
	p.LastChange = c.osdmap.Epoch + 1
	c.change(func(inc *osdmap.Incremental) {
		inc.NewPools = map[int64]*osdmap.Pool{pool: &p}
		inc.NewRemoved = map[int64]osdmap.IntervalSet{pool: {{Start: snap, Len: 1}}}
	})
	t := heldTrim{pool, snap}
	if c.holdTrim {
		c.heldTrims = append(c.heldTrims, t)
		return
	}
	c.trim(t)
}

// heldTrim is a removed snapshot whose clones are still there.
type heldTrim struct {
	pool int64
	snap uint64
}

func (c *Cluster) trim(t heldTrim) {
	for _, g := range c.groups[t.pool] {
		g.Trim(t.snap)
	}
}

// HoldTrim stops the trimming of removed snapshots, or lets it go on.
func (c *Cluster) HoldTrim(hold bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdTrim = hold
	if !hold {
		for _, t := range c.heldTrims {
			c.trim(t)
		}
		c.heldTrims = nil
	}
}

// defaultBlocklist is how long a client stays blocklisted when nobody says.
const defaultBlocklist = time.Hour

// Blocklist keeps a client from the OSDs for d; 0 is an hour.
func (c *Cluster) Blocklist(a entity.Addr, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocklist(a, d)
}

func (c *Cluster) blocklist(a entity.Addr, d time.Duration) time.Time {
	if d == 0 {
		d = defaultBlocklist
	}
	until := c.clock.Now().Add(d)
	a = a.WithType(entity.AddrAny)
	c.change(func(inc *osdmap.Incremental) {
		inc.OSDOnly.NewBlocklist = map[entity.Addr]denc.Time{a: denc.TimeOf(until)}
	})
	c.expire(a, d)
	return until
}

// expire takes a client off the blocklist after d, if its time is then over.
func (c *Cluster) expire(a entity.Addr, d time.Duration) {
	c.after(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t, ok := c.osdmap.OSDOnly.Blocklist[a]; ok && !t.Std().After(c.clock.Now()) {
			c.unblocklist(a)
		}
	})
}

// Unblocklist takes a client off the blocklist.
func (c *Cluster) Unblocklist(a entity.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unblocklist(a)
}

func (c *Cluster) unblocklist(a entity.Addr) {
	c.change(func(inc *osdmap.Incremental) { inc.OSDOnly.OldBlocklist = []entity.Addr{a.WithType(entity.AddrAny)} })
}
