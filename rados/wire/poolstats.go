package wire

import (
	"encoding/binary"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Types of the messages that ask a monitor how much pools hold.
const (
	TypeGetPoolStats      uint16 = 58
	TypeGetPoolStatsReply uint16 = 59
)

// GetPoolStats is MGetPoolStats: a client asks for the usage of pools by name.
type GetPoolStats struct {
	Paxos
	FSID  denc.UUID
	Pools []string
}

// Header is (58, version 1, compat 1).
func (*GetPoolStats) Header() Header { return Header{TypeGetPoolStats, 1, 1} }

// Append appends the front.
func (m *GetPoolStats) Append(b []byte) []byte {
	return appendStrings(denc.AppendUUID(m.Paxos.Append(b), m.FSID), m.Pools)
}

// Decode reads a front.
func (m *GetPoolStats) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID, m.Pools = r.UUID(), readStrings(r)
}

// GetPoolStatsReply is MGetPoolStatsReply.
type GetPoolStatsReply struct {
	Paxos
	FSID  denc.UUID
	Stats map[string]PoolStat
	// PerPool says that the OSDs' store statistics are by pool.
	PerPool bool
}

// Header is (59, version 2, compat 1).
func (*GetPoolStatsReply) Header() Header { return Header{TypeGetPoolStatsReply, 2, 1} }

// Append appends the front.
func (m *GetPoolStatsReply) Append(b []byte) []byte {
	b = denc.AppendUUID(m.Paxos.Append(b), m.FSID)
	b = denc.AppendMap(b, m.Stats, denc.AppendString, func(b []byte, s PoolStat) []byte { return s.Append(b) })
	return denc.AppendBool(b, m.PerPool)
}

// Decode reads a front.
func (m *GetPoolStatsReply) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID = r.UUID()
	m.Stats = denc.Map(r, 10, readString, func(r *denc.Reader) (s PoolStat) {
		s.Decode(r)
		return s
	})
	m.PerPool = r.Bool()
}

const (
	poolStatVersion       = 7
	statCollectionVersion = 2
	statSumVersion        = 20
	statSumCompat         = 14
	storeStatVersion      = 1
)

// PoolStat is pool_stat_t (version 7): what a pool holds.
type PoolStat struct {
	// Sum is object_stat_sum_t (version 20): about forty counters, of which
	// StoredBytes and Objects are the first.
	Sum []byte
	// LogSize and LogOnDisk count entries of the placement groups' logs.
	LogSize, LogOnDisk int64
	Up, Acting         int32
	// Store is store_statfs_t (version 1).
	Store      []byte
	StoreStats uint32 // how many OSDs are in Store
}

// StoredBytes returns how many bytes the objects have.
func (s *PoolStat) StoredBytes() int64 { return s.counter(0) }

// Objects returns how many objects there are, clones included.
func (s *PoolStat) Objects() int64 { return s.counter(1) }

func (s *PoolStat) counter(i int) int64 {
	if len(s.Sum) < 8*(i+1) {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(s.Sum[8*i:]))
}

// Append appends s.
func (s *PoolStat) Append(b []byte) []byte {
	b, pool := denc.Begin(b, poolStatVersion, 5)
	b, stats := denc.Begin(b, statCollectionVersion, 2)
	b, sum := denc.Begin(b, statSumVersion, statSumCompat)
	b = denc.End(append(b, s.Sum...), sum)
	b = denc.End(denc.AppendU32(b, 0), stats) // sums by category, gone since 0.94
	b = denc.AppendS64(denc.AppendS64(b, s.LogSize), s.LogOnDisk)
	b = denc.AppendS32(denc.AppendS32(b, s.Up), s.Acting)
	b, store := denc.Begin(b, storeStatVersion, 1)
	b = denc.End(append(b, s.Store...), store)
	return denc.End(denc.AppendU32(b, s.StoreStats), pool)
}

// Decode reads s; Sum and Store alias the reader's bytes.
func (s *PoolStat) Decode(r *denc.Reader) {
	pool := r.Enter("pool_stat_t", poolStatVersion)
	if r.Err() == nil && pool.V < poolStatVersion {
		r.Failf("pool_stat_t version %d is older than Ceph 14.2", pool.V)
	}
	stats := r.Enter("object_stat_collection_t", statCollectionVersion)
	sum := r.Enter("object_stat_sum_t", statSumVersion)
	s.Sum = r.Rest()
	r.Leave(sum)
	r.Leave(stats)
	s.LogSize, s.LogOnDisk, s.Up, s.Acting = r.S64(), r.S64(), r.S32(), r.S32()
	store := r.Enter("store_statfs_t", storeStatVersion)
	s.Store = r.Rest()
	r.Leave(store)
	s.StoreStats = r.U32()
	r.Leave(pool)
}
