package rbd

import (
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// NoSnap is the id of the head in place of a snapshot's.
const NoSnap = wire.NoSnap

// The feature bits of an image (include/rbd/features.h).
const (
	FeatureLayering      = wire.FeatureLayering
	FeatureStriping      = wire.FeatureStriping
	FeatureExclusiveLock = wire.FeatureExclusiveLock
	FeatureObjectMap     = wire.FeatureObjectMap
	FeatureFastDiff      = wire.FeatureFastDiff
	FeatureDeepFlatten   = wire.FeatureDeepFlatten
	FeatureJournaling    = wire.FeatureJournaling
	FeatureDataPool      = wire.FeatureDataPool
	FeatureOperations    = wire.FeatureOperations
	FeatureMigrating     = wire.FeatureMigrating
	FeatureNonPrimary    = wire.FeatureNonPrimary
	FeatureDirtyCache    = wire.FeatureDirtyCache
)

// Masks of features.
const (
	// FeaturesMutable can be turned on and off later.
	FeaturesMutable = wire.FeaturesMutable
	// FeaturesDisableOnly can only be turned off later.
	FeaturesDisableOnly = wire.FeaturesDisableOnly
	// FeaturesInternal are set by other means than a request for the feature.
	FeaturesInternal = wire.FeaturesInternal
	// FeaturesImplicit follow from other properties of an image.
	FeaturesImplicit = FeatureStriping | FeatureDataPool | FeatureFastDiff
	// FeaturesDefault is rbd_default_features of every release.
	FeaturesDefault = FeatureLayering | FeatureExclusiveLock | FeatureObjectMap | FeatureFastDiff | FeatureDeepFlatten
	// featuresAll is what this package knows.
	featuresAll = wire.FeaturesAll
	// featuresSingleClient need a single writer.
	featuresSingleClient = FeatureExclusiveLock | FeatureObjectMap | FeatureFastDiff | FeatureJournaling | FeatureDirtyCache
)

// The bits of op features: operations in use that older clients do not know.
const (
	OpFeatureCloneParent = wire.OpFeatureCloneParent // has clones of format 2
	OpFeatureCloneChild  = wire.OpFeatureCloneChild  // is a clone of format 2
	OpFeatureGroup       = wire.OpFeatureGroup       // is in a group
	OpFeatureSnapTrash   = wire.OpFeatureSnapTrash   // has snapshots in the trash
)

// The bits of an image's flags, of the head and of every snapshot.
const (
	FlagObjectMapInvalid = wire.FlagObjectMapInvalid
	FlagFastDiffInvalid  = wire.FlagFastDiffInvalid
)

// featureNames is in the order of the bits.
var featureNames = [...]string{"layering", "striping", "exclusive-lock", "object-map", "fast-diff", "deep-flatten",
	"journaling", "data-pool", "operations", "migrating", "non-primary", "dirty-cache"}

// FeatureNames returns the names of the bits of mask in ascending order, as
// `rbd info` prints them.
func FeatureNames(mask uint64) []string {
	var names []string
	for i, n := range featureNames {
		if mask&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// ParseFeatures reads a number or names with commas between them.
func ParseFeatures(s string) (uint64, error) {
	var n uint64
	if _, err := fmt.Sscanf(s, "%d", &n); err == nil && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0 {
		return n, nil
	}
	var mask uint64
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		found := false
		for i, f := range featureNames {
			if f == name {
				mask |= 1 << i
				found = true
			}
		}
		if !found {
			return 0, fmt.Errorf("%q is no image feature: %w", name, rados.ErrInvalid)
		}
	}
	return mask, nil
}

// checkFeatures refuses combinations that cannot work.
func checkFeatures(f uint64) error {
	switch {
	case f&^featuresAll != 0:
		return fmt.Errorf("unknown image features %#x: %w", f&^featuresAll, rados.ErrNotImplemented)
	case f&FeatureFastDiff != 0 && f&FeatureObjectMap == 0:
		return fmt.Errorf("fast-diff needs object-map: %w", rados.ErrInvalid)
	case f&FeatureObjectMap != 0 && f&FeatureExclusiveLock == 0:
		return fmt.Errorf("object-map needs exclusive-lock: %w", rados.ErrInvalid)
	case f&FeatureJournaling != 0 && f&FeatureExclusiveLock == 0:
		return fmt.Errorf("journaling needs exclusive-lock: %w", rados.ErrInvalid)
	}
	return nil
}
