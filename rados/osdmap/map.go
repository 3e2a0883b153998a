package osdmap

import (
	"fmt"
	"net/netip"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/crush"
)

// Map is OSDMap. It is immutable once published: fields are exported for
// reading and for building a first map, after which Apply makes new ones.
type Map struct {
	FSID              denc.UUID
	Epoch             uint32
	Created, Modified denc.Time
	Pools             map[int64]*Pool
	PoolNames         map[int64]string
	// PoolMax is the highest pool id ever given.
	PoolMax int32
	Flags   uint32

	// State, Weight and Addrs have one entry for each OSD number below MaxOSD;
	// Affinity has as many, or none when all are DefaultAffinity.
	State    []uint32
	Weight   []uint32
	Addrs    []entity.AddrVec
	Affinity []uint32

	PGTemp       map[PG][]int32
	PrimaryTemp  map[PG]int32
	Upmap        map[PG][]int32
	UpmapItems   map[PG][]UpmapItem
	UpmapPrimary map[PG]int32
	Crush        *crush.Map
	CrushVersion uint32
	ErasureCodes map[string]map[string]string
	NewRemoved   map[int64]IntervalSet
	NewPurged    map[int64]IntervalSet
	LastUpChange denc.Time
	LastInChange denc.Time
	OSDOnly      OSDOnly
	poolIDs      map[string]int64
	lowAffinity  bool
}

// OSDOnly is the part of a map that OSDs and monitors use; of it a client needs
// the blocklist.
type OSDOnly struct {
	// OSDs has one entry for each OSD number.
	OSDs      []OSDDetail
	Blocklist map[entity.Addr]denc.Time
	// RangeBlocklist holds networks: an entry's nonce is the prefix length.
	RangeBlocklist               map[entity.Addr]denc.Time
	SnapshotEpoch                uint32
	Snapshot                     string
	NearFull, Full, BackfillFull float32
	// MinCompatClient and RequireRelease are release numbers: 16 is Pacific.
	MinCompatClient, RequireRelease uint8
	RemovedSnapsQueue               map[int64]IntervalSet
	NodeFlags, ClassFlags           map[int32]uint32
	Stretch                         Stretch
	AllowCrimson                    bool
}

// OSDDetail is what a map's OSD-only part tells of one OSD.
type OSDDetail struct {
	Cluster, HBBack, HBFront entity.AddrVec
	Info                     OSDInfo
	UUID                     denc.UUID
	XInfo                    OSDXInfo
}

// OSDInfo is osd_info_t: epochs of an OSD's life.
type OSDInfo struct {
	LastCleanBegin, LastCleanEnd, UpFrom, UpThru, DownAt, LostAt uint32
}

// OSDXInfo is osd_xinfo_t.
type OSDXInfo struct {
	DownStamp           denc.Time
	LaggyProbability    uint32 // 16.16 of 2^32
	LaggyInterval       uint32 // seconds
	Features            uint64
	OldWeight           uint32
	LastPurgedSnapScrub denc.Time
	DeadEpoch           uint32
}

// Stretch is the state of stretch mode.
type Stretch struct {
	Enabled                           bool
	BucketCount, Degraded, Recovering uint32
	Bucket                            int32
}

// UpmapItem moves a PG's copy from one OSD to another.
type UpmapItem struct{ From, To int32 }

// New returns an empty map of epoch 0 with everything allocated that Apply
// expects. The fake monitor fills it or applies a first Incremental to it.
func New(fsid denc.UUID) *Map {
	return &Map{
		FSID: fsid, Pools: map[int64]*Pool{}, PoolNames: map[int64]string{},
		Crush: crush.Build(nil, false), poolIDs: map[string]int64{},
		ErasureCodes: map[string]map[string]string{}, CrushVersion: 1,
		OSDOnly: OSDOnly{NearFull: 0.85, Full: 0.95, BackfillFull: 0.9},
	}
}

// MaxOSD returns one more than the highest OSD number the map has room for.
func (m *Map) MaxOSD() int { return len(m.State) }

// Exists reports whether OSD osd is part of the cluster.
func (m *Map) Exists(osd int32) bool {
	return osd >= 0 && int(osd) < len(m.State) && m.State[osd]&StateExists != 0
}

// IsUp reports whether OSD osd is part of the cluster and running.
func (m *Map) IsUp(osd int32) bool {
	const both = StateExists | StateUp
	return osd >= 0 && int(osd) < len(m.State) && m.State[osd]&both == both
}

// OSDAddrs returns the addresses at which clients reach an OSD, and false if it
// is not up.
func (m *Map) OSDAddrs(osd int32) (entity.AddrVec, bool) {
	if !m.IsUp(osd) || int(osd) >= len(m.Addrs) {
		return nil, false
	}
	return m.Addrs[osd], true
}

// HasFlag reports whether all bits of f are set.
func (m *Map) HasFlag(f uint32) bool { return m.Flags&f == f }

// Pool returns a pool, or nil.
func (m *Map) Pool(id int64) *Pool { return m.Pools[id] }

// PoolByName returns the id of the pool of that name.
func (m *Map) PoolByName(name string) (int64, bool) {
	id, ok := m.poolIDs[name]
	return id, ok
}

// PoolName returns the name of a pool.
func (m *Map) PoolName(id int64) (string, bool) {
	name, ok := m.PoolNames[id]
	return name, ok
}

// IsBlocklisted reports whether the client or daemon at a may not touch the
// cluster: its instance, its IP address as a whole or a network with it is on
// the blocklist. The type of a does not matter.
func (m *Map) IsBlocklisted(a entity.Addr) bool {
	o := &m.OSDOnly
	if len(o.Blocklist) == 0 && len(o.RangeBlocklist) == 0 || a.IsBlank() {
		return false
	}
	a.Type = entity.AddrAny
	if o.OnBlocklist(a) {
		return true
	}
	ip := a.IP.Addr()
	if o.OnBlocklist(entity.Addr{Type: entity.AddrAny, IP: netip.AddrPortFrom(ip, 0)}) {
		return true
	}
	for net := range o.RangeBlocklist {
		p, err := net.IP.Addr().WithZone("").Prefix(int(min(net.Nonce, 128)))
		if err == nil && p.Contains(ip.WithZone("")) {
			return true
		}
	}
	return false
}

// OnBlocklist reports whether exactly this address is an entry, as type any or
// as the msgr1 address of old clusters.
func (o *OSDOnly) OnBlocklist(a entity.Addr) bool {
	if _, ok := o.Blocklist[a.WithType(entity.AddrAny)]; ok {
		return true
	}
	_, ok := o.Blocklist[a.WithType(entity.AddrLegacy)]
	return ok
}

// index fills what is derived from the encoded fields and checks that they fit
// each other.
func (m *Map) index() error {
	n := len(m.State)
	if len(m.Weight) != n || len(m.Addrs) != n || len(m.Affinity) != 0 && len(m.Affinity) != n {
		return fmt.Errorf("%w: OSD map: %d states, %d weights, %d addresses, %d affinities",
			denc.ErrValue, n, len(m.Weight), len(m.Addrs), len(m.Affinity))
	}
	if m.Crush == nil {
		return fmt.Errorf("%w: OSD map without a CRUSH map", denc.ErrValue)
	}
	m.poolIDs = make(map[string]int64, len(m.PoolNames))
	for id, name := range m.PoolNames {
		m.poolIDs[name] = id
	}
	m.lowAffinity = false
	for _, a := range m.Affinity {
		m.lowAffinity = m.lowAffinity || a != DefaultAffinity
	}
	return nil
}
