package wire

// The features of an image (include/rbd/features.h).
const (
	FeatureLayering      uint64 = 1 << 0
	FeatureStriping      uint64 = 1 << 1
	FeatureExclusiveLock uint64 = 1 << 2
	FeatureObjectMap     uint64 = 1 << 3
	FeatureFastDiff      uint64 = 1 << 4
	FeatureDeepFlatten   uint64 = 1 << 5
	FeatureJournaling    uint64 = 1 << 6
	FeatureDataPool      uint64 = 1 << 7
	FeatureOperations    uint64 = 1 << 8
	FeatureMigrating     uint64 = 1 << 9
	FeatureNonPrimary    uint64 = 1 << 10
	FeatureDirtyCache    uint64 = 1 << 11

	// FeaturesAll are those that class rbd knows.
	FeaturesAll uint64 = 1<<12 - 1
	// FeaturesIncompatible must be known to read an image.
	FeaturesIncompatible = FeatureLayering | FeatureStriping | FeatureDataPool | FeatureDirtyCache
	// FeaturesWriteIncompatible must be known to write it.
	FeaturesWriteIncompatible = FeaturesIncompatible | FeatureExclusiveLock | FeatureObjectMap | FeatureFastDiff |
		FeatureDeepFlatten | FeatureJournaling | FeatureOperations | FeatureMigrating | FeatureNonPrimary
	// FeaturesMutable can be turned on and off by set_features.
	FeaturesMutable = FeatureExclusiveLock | FeatureObjectMap | FeatureFastDiff | FeatureJournaling | FeatureNonPrimary | FeatureDirtyCache
	// FeaturesDisableOnly can only be turned off.
	FeaturesDisableOnly = FeatureDeepFlatten
	// FeaturesInternal are changed by other methods than set_features.
	FeaturesInternal = FeatureOperations | FeatureMigrating
)

// The operation features of an image: what makes FeatureOperations set.
const (
	OpFeatureCloneParent uint64 = 1 << 0
	OpFeatureCloneChild  uint64 = 1 << 1
	OpFeatureGroup       uint64 = 1 << 2
	OpFeatureSnapTrash   uint64 = 1 << 3
	OpFeaturesAll        uint64 = 1<<4 - 1
)

// The flags of an image and of its snapshots.
const (
	FlagObjectMapInvalid uint64 = 1 << 0
	FlagFastDiffInvalid  uint64 = 1 << 1
)

// The states of an object in an object map.
const (
	ObjectNonexistent uint8 = 0
	ObjectExists      uint8 = 1
	ObjectPending     uint8 = 2
	ObjectExistsClean uint8 = 3
)

// The states of protection of a snapshot.
const (
	Unprotected  uint8 = 0
	Unprotecting uint8 = 1
	Protected    uint8 = 2
)

// The states of a directory.
const (
	DirReady       uint8 = 0
	DirAddDisabled uint8 = 1
)

// The states that assert_snapc_seq asks for: the writer's snap context is newer
// than the object's, or not.
const (
	SnapContextNewer    uint8 = 0
	SnapContextNotNewer uint8 = 1
)

const (
	// NoSnap is the id that stands for the head.
	NoSnap uint64 = 1<<64 - 2
	// MaxSnap is the highest id that a snapshot can have.
	MaxSnap uint64 = 1<<64 - 3
)
