package osdmap

import (
	"math"
	"math/bits"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Kinds of pools.
const (
	PoolReplicated uint8 = 1
	PoolErasure    uint8 = 3
)

// Pool flags (pg_pool_t::FLAG_*).
const (
	PoolHashPSPool       uint64 = 1 << 0
	PoolFull             uint64 = 1 << 1
	PoolECOverwrites     uint64 = 1 << 2
	PoolFullQuota        uint64 = 1 << 10
	PoolNearFull         uint64 = 1 << 11
	PoolBackfillFull     uint64 = 1 << 12
	PoolSelfManagedSnaps uint64 = 1 << 13
	PoolPoolSnaps        uint64 = 1 << 14
	PoolCreating         uint64 = 1 << 15
	PoolEIO              uint64 = 1 << 16
	PoolBulk             uint64 = 1 << 17
	PoolECOptimizations  uint64 = 1 << 19
)

// Pool is pg_pool_t (src/osd/osd_types.h), versions 29 to 32; older ones are
// read back to 21, the oldest that a cluster of 16.2 can still hold.
type Pool struct {
	Type, Size, CrushRule, ObjectHash uint8
	MinSize                           uint8
	PGNum, PGPNum                     uint32
	LastChange                        uint32
	SnapSeq                           uint64
	SnapEpoch                         uint32
	// Snaps are the pool snapshots, not those of images.
	Snaps        map[uint64]PoolSnap
	RemovedSnaps IntervalSet
	AUID, Flags  uint64

	QuotaBytes, QuotaObjects uint64
	// Tiers and what follows describe cache tiering. ReadTier and WriteTier
	// are -1 as a rule.
	Tiers                      []uint64
	TierOf                     int64
	CacheMode                  uint8
	ReadTier, WriteTier        int64
	Properties                 map[string]string
	HitSet                     HitSet
	StripeWidth                uint32
	TargetMaxBytes             uint64
	TargetMaxObjects           uint64
	CacheDirtyRatio            uint32
	CacheFullRatio             uint32
	CacheDirtyHighRatio        uint32
	CacheMinFlushAge           uint32
	CacheMinEvictAge           uint32
	ErasureProfile             string
	LastForceResendPreLuminous uint32
	LastForceResendPreNautilus uint32
	LastForceResend            uint32
	MinReadRecency             int32
	MinWriteRecency            int32
	ExpectedObjects            uint64
	FastRead                   bool
	Options                    []PoolOption
	Applications               map[string]map[string]string
	Created                    denc.Time
	PGNumTarget, PGPNumTarget  uint32
	PGNumPending               uint32
	AutoscaleMode              uint8
	LastMerge                  MergeMeta
	Peering                    PeeringCrush
	NonPrimaryShards           [2]uint64
}

// HitSet holds the parameters of cache tiering's hit sets, which RBD never
// uses; Params is the undecoded section.
type HitSet struct {
	Params          []byte
	Period, Count   uint32
	GMT             bool
	GradeDecayRate  int32
	SearchLastCount int32
}

// PeeringCrush holds the peering rules of pools in stretch mode; BucketCount 0
// means none.
type PeeringCrush struct {
	BucketCount, BucketTarget, BucketBarrier uint32
	MandatoryMember                          int32
}

// PoolSnap is pool_snap_info_t.
type PoolSnap struct {
	ID    uint64
	Stamp denc.Time
	Name  string
}

// MergeMeta is pg_merge_meta_t: the last merge of two PGs.
type MergeMeta struct {
	SourcePG                               PG
	ReadyEpoch, LastStarted, LastClean     uint32
	SourceVersionEpoch, TargetVersionEpoch uint32
	SourceVersion, TargetVersion           uint64
}

// NewPool returns a pool with Ceph's defaults of its kind; the caller sets the
// crush rule.
func NewPool(kind, size, minSize uint8, pgNum uint32) *Pool {
	p := &Pool{
		Type: kind, Size: size, MinSize: minSize, ObjectHash: HashRjenkins, Flags: PoolHashPSPool,
		TierOf: -1, ReadTier: -1, WriteTier: -1,
		HitSet:          HitSet{Params: []byte{1, 1, 1, 0, 0, 0, 0}},
		CacheDirtyRatio: 400000, CacheDirtyHighRatio: 600000, CacheFullRatio: 800000,
		PGNumTarget: pgNum, PGPNumTarget: pgNum, PGNumPending: pgNum,
	}
	p.PGNum, p.PGPNum = pgNum, pgNum
	return p
}

// IsErasure reports whether the pool's positions have a meaning, so that a
// missing OSD leaves a hole.
func (p *Pool) IsErasure() bool { return p.Type == PoolErasure }

// canShift reports whether a missing OSD's place is taken by the next one.
func (p *Pool) canShift() bool { return p.Type == PoolReplicated }

// HasFlag reports whether all bits of f are set.
func (p *Pool) HasFlag(f uint64) bool { return p.Flags&f == f }

// Hash returns the 32-bit placement hash of a locator key in a namespace.
func (p *Pool) Hash(ns, key string) uint32 { return HashName(p.ObjectHash, ns, key) }

// foldMask is the next power of two not below n, less one.
func foldMask(n uint32) uint32 {
	if n <= 1 {
		return 0
	}
	return 1<<bits.Len32(n-1) - 1
}

// Fold turns a raw PG (full hash) into one that exists.
func (p *Pool) Fold(pg PG) PG {
	pg.Seed = stableMod(pg.Seed, p.PGNum, foldMask(p.PGNum))
	return pg
}

// isNonPrimary reports whether a shard may never be the primary
// (EC_OPTIMIZATIONS pools of 20.2).
func (p *Pool) isNonPrimary(shard int) bool {
	return shard < 128 && p.NonPrimaryShards[shard/64]>>(shard%64)&1 != 0
}

const (
	poolVersion = 32
	poolCompat  = 5
	poolOldest  = 21
)

// version returns the struct version that readers with features take: what
// real monitors choose.
func (p *Pool) version(features uint64) uint8 {
	switch {
	case hasFeature(features, FeatureTentacle):
		return poolVersion
	case p.Peering.BucketCount != 0:
		return 30
	}
	return 29
}

// Append appends the pool as monitors do for readers with features.
func (p *Pool) Append(b []byte, features uint64) []byte {
	v := p.version(features)
	b, at := denc.Begin(b, v, poolCompat)
	b = append(b, p.Type, p.Size, p.CrushRule, p.ObjectHash)
	b = denc.AppendU32(b, p.PGNum)
	b = denc.AppendU32(b, p.PGPNum)
	b = denc.AppendU64(b, 0) // localised PGs, long gone
	b = denc.AppendU32(b, p.LastChange)
	b = denc.AppendU64(b, p.SnapSeq)
	b = denc.AppendU32(b, p.SnapEpoch)
	b = denc.AppendMap(b, p.Snaps, denc.AppendU64, func(b []byte, s PoolSnap) []byte { return s.Append(b) })
	b = p.RemovedSnaps.Append(b)
	b = denc.AppendU64(b, p.AUID)
	b = denc.AppendU64(b, p.Flags)
	b = denc.AppendU32(b, 0) // crash replay interval
	b = denc.AppendU8(b, p.MinSize)
	b = denc.AppendU64(b, p.QuotaBytes)
	b = denc.AppendU64(b, p.QuotaObjects)
	b = p.appendTiering(b)
	b = denc.AppendString(b, p.ErasureProfile)
	b = denc.AppendU32(b, p.LastForceResendPreLuminous)
	b = denc.AppendS32(b, p.MinReadRecency)
	b = denc.AppendU64(b, p.ExpectedObjects)
	b = denc.AppendU32(b, p.CacheDirtyHighRatio)
	b = denc.AppendS32(b, p.MinWriteRecency)
	b = denc.AppendBool(b, p.HitSet.GMT)
	b = denc.AppendBool(b, p.FastRead)
	b = denc.AppendS32(b, p.HitSet.GradeDecayRate)
	b = denc.AppendS32(b, p.HitSet.SearchLastCount)
	b = appendPoolOptions(b, p.Options)
	b = denc.AppendU32(b, p.LastForceResendPreNautilus)
	b = denc.AppendMap(b, p.Applications, denc.AppendString, appendStringMap)
	b = denc.AppendTime(b, p.Created)
	b = denc.AppendU32(b, p.PGNumTarget)
	b = denc.AppendU32(b, p.PGPNumTarget)
	b = denc.AppendU32(b, p.PGNumPending)
	b = denc.AppendU64(b, 0) // two epochs of 14.1
	b = denc.AppendU32(b, p.LastForceResend)
	b = denc.AppendU8(b, p.AutoscaleMode)
	b = p.LastMerge.Append(b)
	return denc.End(p.appendNewer(b, v), at)
}

func (p *Pool) appendTiering(b []byte) []byte {
	b = denc.AppendSlice(b, p.Tiers, denc.AppendU64)
	b = denc.AppendS64(b, p.TierOf)
	b = denc.AppendU8(b, p.CacheMode)
	b = denc.AppendS64(b, p.ReadTier)
	b = denc.AppendS64(b, p.WriteTier)
	b = appendStringMap(b, p.Properties)
	b = append(b, p.HitSet.Params...)
	b = denc.AppendU32(b, p.HitSet.Period)
	b = denc.AppendU32(b, p.HitSet.Count)
	b = denc.AppendU32(b, p.StripeWidth)
	b = denc.AppendU64(b, p.TargetMaxBytes)
	b = denc.AppendU64(b, p.TargetMaxObjects)
	b = denc.AppendU32(b, p.CacheDirtyRatio)
	b = denc.AppendU32(b, p.CacheFullRatio)
	b = denc.AppendU32(b, p.CacheMinFlushAge)
	return denc.AppendU32(b, p.CacheMinEvictAge)
}

// appendNewer appends what came after version 29: the peering rules plain in
// version 30, optional from 31, the shards that cannot be primary from 32.
func (p *Pool) appendNewer(b []byte, v uint8) []byte {
	if v >= 31 {
		b = denc.AppendBool(b, p.Peering.BucketCount != 0)
	}
	if v >= 30 && p.Peering.BucketCount != 0 {
		b = denc.AppendU32(b, p.Peering.BucketCount)
		b = denc.AppendU32(b, p.Peering.BucketTarget)
		b = denc.AppendU32(b, p.Peering.BucketBarrier)
		b = denc.AppendS32(b, p.Peering.MandatoryMember)
	}
	if v >= 32 {
		b = appendVarint(b, p.NonPrimaryShards[0])
		b = appendVarint(b, p.NonPrimaryShards[1])
	}
	return b
}

// Decode reads versions 21 and later.
func (p *Pool) Decode(r *denc.Reader) {
	s := r.Enter("pg_pool_t", poolVersion)
	if s.V < poolOldest && r.Err() == nil {
		r.Failf("pg_pool_t version %d", s.V)
	}
	*p = Pool{Type: r.U8(), Size: r.U8(), CrushRule: r.U8(), ObjectHash: r.U8(), PGNum: r.U32(), PGPNum: r.U32()}
	if r.Err() == nil && (p.PGNum == 0 || p.PGPNum == 0 || p.PGNum > 1<<31 || p.PGPNum > 1<<31) {
		r.Failf("pg_num %d, pgp_num %d", p.PGNum, p.PGPNum)
	}
	r.Skip(8)
	p.LastChange = r.U32()
	p.SnapSeq = r.U64()
	p.SnapEpoch = r.U32()
	p.Snaps = denc.Map(r, 8+6, (*denc.Reader).U64, func(r *denc.Reader) (s PoolSnap) { s.Decode(r); return s })
	p.RemovedSnaps = readIntervals(r)
	p.AUID = r.U64()
	p.Flags = r.U64()
	r.Skip(4)
	p.MinSize = r.U8()
	p.QuotaBytes = r.U64()
	p.QuotaObjects = r.U64()
	p.decodeTiering(r)
	p.ErasureProfile = r.String()
	p.LastForceResendPreLuminous = r.U32()
	p.MinReadRecency = r.S32()
	p.ExpectedObjects = r.U64()
	p.CacheDirtyHighRatio = r.U32()
	p.MinWriteRecency = r.S32()
	p.HitSet.GMT = r.Bool()
	p.decodeNewer(r, s.V)
	r.Leave(s)
	if p.SnapSeq > 0 && p.Flags&(PoolSelfManagedSnaps|PoolPoolSnaps) == 0 {
		if len(p.RemovedSnaps) > 0 {
			p.Flags |= PoolSelfManagedSnaps
		} else {
			p.Flags |= PoolPoolSnaps
		}
	}
}

func (p *Pool) decodeTiering(r *denc.Reader) {
	p.Tiers = denc.Slice(r, 8, (*denc.Reader).U64)
	p.TierOf = r.S64()
	p.CacheMode = r.U8()
	p.ReadTier = r.S64()
	p.WriteTier = r.S64()
	p.Properties = readStringMap(r)
	p.HitSet.Params = readRawSection(r)
	p.HitSet.Period = r.U32()
	p.HitSet.Count = r.U32()
	p.StripeWidth = r.U32()
	p.TargetMaxBytes = r.U64()
	p.TargetMaxObjects = r.U64()
	p.CacheDirtyRatio = r.U32()
	p.CacheFullRatio = r.U32()
	p.CacheMinFlushAge = r.U32()
	p.CacheMinEvictAge = r.U32()
}

func (p *Pool) decodeNewer(r *denc.Reader, v uint8) {
	p.PGNumTarget, p.PGPNumTarget, p.PGNumPending = p.PGNum, p.PGPNum, p.PGNum
	p.HitSet.SearchLastCount = 1
	p.LastForceResendPreNautilus = p.LastForceResendPreLuminous
	if v >= 22 {
		p.FastRead = r.Bool()
	}
	if v >= 23 {
		p.HitSet.GradeDecayRate = r.S32()
		p.HitSet.SearchLastCount = r.S32()
	}
	if v >= 24 {
		p.Options = readPoolOptions(r)
	}
	if v >= 25 {
		p.LastForceResendPreNautilus = r.U32()
	}
	p.LastForceResend = p.LastForceResendPreNautilus
	if v >= 26 {
		p.Applications = denc.Map(r, 8, (*denc.Reader).String, readStringMap)
	}
	if v >= 27 {
		p.Created = r.Time()
	}
	if v >= 28 {
		p.PGNumTarget = r.U32()
		p.PGPNumTarget = r.U32()
		p.PGNumPending = r.U32()
		p.LastMerge.LastStarted, p.LastMerge.LastClean = r.U32(), r.U32()
		p.LastForceResend = r.U32()
		p.AutoscaleMode = r.U8()
	}
	if v >= 29 {
		p.LastMerge.Decode(r)
	}
	p.Peering.MandatoryMember = math.MaxInt32
	if v == 30 || v >= 31 && r.Bool() {
		p.Peering = PeeringCrush{r.U32(), r.U32(), r.U32(), r.S32()}
	}
	if v >= 32 {
		p.NonPrimaryShards = [2]uint64{readVarint(r), readVarint(r)}
	}
}

// Append appends section (2,2): u64 id, time, str name.
func (s PoolSnap) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 2)
	b = denc.AppendU64(b, s.ID)
	b = denc.AppendTime(b, s.Stamp)
	b = denc.AppendString(b, s.Name)
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (s *PoolSnap) Decode(r *denc.Reader) {
	sec := r.Enter("pool_snap_info_t", 2)
	*s = PoolSnap{ID: r.U64(), Stamp: r.Time(), Name: r.String()}
	r.Leave(sec)
}

// Append appends section (1,1).
func (m MergeMeta) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = m.SourcePG.Append(b)
	b = denc.AppendU32(b, m.ReadyEpoch)
	b = denc.AppendU32(b, m.LastStarted)
	b = denc.AppendU32(b, m.LastClean)
	b = denc.AppendU64(b, m.SourceVersion)
	b = denc.AppendU32(b, m.SourceVersionEpoch)
	b = denc.AppendU64(b, m.TargetVersion)
	b = denc.AppendU32(b, m.TargetVersionEpoch)
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (m *MergeMeta) Decode(r *denc.Reader) {
	s := r.Enter("pg_merge_meta_t", 1)
	m.SourcePG.Decode(r)
	m.ReadyEpoch, m.LastStarted, m.LastClean = r.U32(), r.U32(), r.U32()
	m.SourceVersion, m.SourceVersionEpoch = r.U64(), r.U32()
	m.TargetVersion, m.TargetVersionEpoch = r.U64(), r.U32()
	r.Leave(s)
}
