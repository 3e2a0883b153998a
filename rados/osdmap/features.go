package osdmap

// Feature masks by which maps are encoded (src/include/ceph_features.h). The
// bits of releases up to Nautilus are taken for granted: no older peer is
// spoken to.
const (
	// FeatureReef is SERVER_REEF as peers send it: readers take
	// pg_upmap_primaries.
	FeatureReef uint64 = 1<<33 | 1<<57 | 1<<28
	// FeatureTentacle is SERVER_TENTACLE: readers take version 32 of pools.
	FeatureTentacle uint64 = 1 << 50
	// FeatureCrushMSR is CRUSH_MSR: readers take multi-step-retry rules.
	FeatureCrushMSR uint64 = 1 << 38

	// FeaturesPacific, FeaturesReef and FeaturesTentacle are the masks that
	// daemons of 16.2, 18.2 and 20.2 send.
	FeaturesPacific  uint64 = 0x3f01cfbdfffdffff
	FeaturesReef     uint64 = 0x3f01cfbffffdffff
	FeaturesTentacle uint64 = 0x3f07fffffffdffff
)

func hasFeature(mask, f uint64) bool { return mask&f == f }

// Bits by which readers of 18.2 and later, who take pg_upmap_primaries, are
// told from those of 16.2.
const (
	featureUID        uint64 = 1 << 0      // every peer has it, no stored mask
	featureStoredReef uint64 = 1 << 31     // in the masks stored in maps
	featurePeerReef          = FeatureReef // in the masks that peers send
)

// takesUpmapPrimaries reports whether readers with mask know version 10 of the
// client part. A mask is either what a peer sent or what an incremental carries
// (EncodeFeatures, only the bits that matter to encodings); 16.2 still sends
// bit 31 with an older meaning.
func takesUpmapPrimaries(mask uint64) bool {
	return hasFeature(mask, featurePeerReef) ||
		!hasFeature(mask, featureUID) && hasFeature(mask, featureStoredReef)
}

// Map flags (CEPH_OSDMAP_*) that clients act on.
const (
	FlagNearFull        uint32 = 1 << 0
	FlagFull            uint32 = 1 << 1
	FlagPauseRead       uint32 = 1 << 2
	FlagPauseWrite      uint32 = 1 << 3
	FlagPauseRecovery   uint32 = 1 << 4
	FlagNoUp            uint32 = 1 << 5
	FlagNoDown          uint32 = 1 << 6
	FlagNoOut           uint32 = 1 << 7
	FlagNoIn            uint32 = 1 << 8
	FlagNoBackfill      uint32 = 1 << 9
	FlagNoRecover       uint32 = 1 << 10
	FlagNoScrub         uint32 = 1 << 11
	FlagNoDeepScrub     uint32 = 1 << 12
	FlagNoTierAgent     uint32 = 1 << 13
	FlagNoRebalance     uint32 = 1 << 14
	FlagSortBitwise     uint32 = 1 << 15
	FlagRequireJewel    uint32 = 1 << 16
	FlagRequireKraken   uint32 = 1 << 17
	FlagRequireLuminous uint32 = 1 << 18
	FlagRecoveryDeletes uint32 = 1 << 19
	FlagPurgedSnapdirs  uint32 = 1 << 20
	FlagNoSnapTrim      uint32 = 1 << 21
	FlagPGLogHardLimit  uint32 = 1 << 22
	FlagNoAutoscale     uint32 = 1 << 23
)

// OSD state bits (CEPH_OSD_*).
const (
	StateExists       uint32 = 1 << 0
	StateUp           uint32 = 1 << 1
	StateAutoOut      uint32 = 1 << 2
	StateNew          uint32 = 1 << 3
	StateFull         uint32 = 1 << 4
	StateNearFull     uint32 = 1 << 5
	StateBackfillFull uint32 = 1 << 6
	StateDestroyed    uint32 = 1 << 7
	StateStop         uint32 = 1 << 12
)

const (
	// InWeight is the reweight of an OSD that takes its full share.
	InWeight uint32 = 0x10000
	// DefaultAffinity is the primary affinity of an OSD that was not given one.
	DefaultAffinity uint32 = 0x10000
	// NoOSD stands for a missing OSD in a set of OSDs (CRUSH_ITEM_NONE).
	NoOSD int32 = 0x7fffffff
)
