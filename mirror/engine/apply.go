package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// metadataPrefix marks metadata that belongs to one site alone.
const metadataPrefix = ".rbd"

// mirroredFeatures are those that a replica takes over from its primary; the
// others follow from how the image was made.
const mirroredFeatures = rbd.FeatureExclusiveLock | rbd.FeatureObjectMap | rbd.FeatureFastDiff | rbd.FeatureDeepFlatten

// applyState makes the local image's name, features, limit and metadata those of
// the remote image at a mirror snapshot. Its user snapshots were copied before.
func applyState(ctx context.Context, img *rbd.Image, s wire.ImageState) error {
	if s.Name != "" && s.Name != img.Name() {
		if err := img.Rename(ctx, s.Name); err != nil {
			return fmt.Errorf("rename to %s: %w", s.Name, err)
		}
	}
	if err := applyFeatures(ctx, img, s.Features); err != nil {
		return err
	}
	limit, err := img.SnapshotLimit(ctx)
	if err != nil {
		return err
	}
	if limit != s.SnapLimit {
		if err := img.SetSnapshotLimit(ctx, s.SnapLimit); err != nil {
			return fmt.Errorf("snapshot limit: %w", err)
		}
	}
	return applyMetadata(ctx, img, s.Metadata)
}

func applyFeatures(ctx context.Context, img *rbd.Image, want uint64) error {
	have := img.Features() & mirroredFeatures
	// Fast-diff is left out of the state. It comes and goes with the object map; a
	// replica that was made without it stays so.
	if want&rbd.FeatureObjectMap != 0 && have&(rbd.FeatureObjectMap|rbd.FeatureFastDiff) != rbd.FeatureObjectMap {
		want |= rbd.FeatureFastDiff
	}
	want &= mirroredFeatures
	if off := have &^ want &^ rbd.FeatureExclusiveLock; off&rbd.FeaturesMutable != 0 {
		if err := img.DisableFeatures(ctx, off&rbd.FeaturesMutable); err != nil {
			return fmt.Errorf("disable features %v: %w", rbd.FeatureNames(off), err)
		}
	}
	if on := want &^ have & rbd.FeaturesMutable; on != 0 {
		if err := img.EnableFeatures(ctx, on); err != nil {
			return fmt.Errorf("enable features %v: %w", rbd.FeatureNames(on), err)
		}
	}
	return nil
}

func applyMetadata(ctx context.Context, img *rbd.Image, want map[string][]byte) error {
	have, err := img.Metadata(ctx)
	if err != nil {
		return err
	}
	for k := range have {
		if _, keep := want[k]; !keep && !strings.HasPrefix(k, metadataPrefix) {
			if err := img.MetadataRemove(ctx, k); err != nil {
				return fmt.Errorf("metadata %s: %w", k, err)
			}
		}
	}
	for k, v := range want {
		if old, ok := have[k]; (ok && string(old) == string(v)) || strings.HasPrefix(k, metadataPrefix) {
			continue
		}
		if err := img.MetadataSet(ctx, k, v); err != nil {
			return fmt.Errorf("metadata %s: %w", k, err)
		}
	}
	return nil
}
