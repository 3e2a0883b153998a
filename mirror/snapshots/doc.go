// Package snapshots makes and reads mirror snapshots: the snapshots, in a
// namespace of their own, by which snapshot-mode mirroring says what an image was
// like at one moment, who still needs that, and how far a copy of it has come
// (librbd/mirror/snapshot of Ceph 16.2 to 20.2).
//
// A primary snapshot is complete once its image state was written; a non-primary
// one once all data was copied. Anything incomplete must be ignored by readers.
package snapshots

import (
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// IsMirror reports whether s is a mirror snapshot.
func IsMirror(s *rbd.Snapshot) bool { return s.Namespace.Type == wire.SnapMirror }

// IsPrimary reports whether the snapshot was made by the primary, demoted or not.
func IsPrimary(s *rbd.Snapshot) bool {
	return s.Namespace.State == wire.MirrorSnapPrimary || s.Namespace.State == wire.MirrorSnapPrimaryDemoted
}

// IsDemoted reports whether the snapshot is the last one of a primary, or a copy
// of that.
func IsDemoted(s *rbd.Snapshot) bool {
	return s.Namespace.State == wire.MirrorSnapPrimaryDemoted || s.Namespace.State == wire.MirrorSnapNonPrimaryDemoted
}

// IsOrphan reports whether the snapshot is the mark that a forced promotion leaves.
func IsOrphan(s *rbd.Snapshot) bool {
	return !IsPrimary(s) && s.Namespace.PrimaryMirrorUUID == "" && s.Namespace.PrimarySnapID == rbd.NoSnap
}

// Mirror returns an image's mirror snapshots, oldest first.
func Mirror(img *rbd.Image) []rbd.Snapshot {
	var out []rbd.Snapshot
	for _, s := range img.Snapshots() {
		if IsMirror(&s) {
			out = append(out, s)
		}
	}
	return out
}

// Newest returns the newest mirror snapshot, nil without any.
func Newest(img *rbd.Image) *rbd.Snapshot {
	all := Mirror(img)
	if len(all) == 0 {
		return nil
	}
	return &all[len(all)-1]
}

// NewUUID makes a random uuid (version 4) in its usual form.
func NewUUID() string { return rbd.NewUUID() }
