package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// sites says who is who for one image: the mirror uuids of both pools, and the
// uuid of the remote pool's peer entry that stands for the local site.
type sites struct {
	localUUID, remoteUUID string
	peerUUID              string
}

// verdict is what is to be done next for a replica.
type verdict int

const (
	// verdictIdle: the replica is as new as the primary's newest snapshot.
	verdictIdle verdict = iota
	// verdictSync: copy target, starting from base.
	verdictSync
	// verdictDiscard: the local snapshot discard was begun but cannot be resumed.
	verdictDiscard
	// verdictPrimary: the local image is primary.
	verdictPrimary
	// verdictOrphan: the local image is being promoted by force.
	verdictOrphan
	// verdictDemoted: all is copied up to the remote's demotion.
	verdictDemoted
	// verdictWait: the remote image is not primary.
	verdictWait
	// verdictSplit: both have been written since they were equal.
	verdictSplit
)

// decision is a verdict with the snapshots that it is about.
type decision struct {
	verdict verdict
	// baseLocal and baseRemote are the snapshots at which both sites are equal; 0
	// means before the beginning.
	baseLocal, baseRemote *rbd.Snapshot
	// target is the remote snapshot to copy.
	target *rbd.Snapshot
	// resume is the local snapshot of target, where a copy of it was begun.
	resume *rbd.Snapshot
	// discard is the local snapshot to remove.
	discard *rbd.Snapshot
}

// String is for logs.
func (d decision) String() string {
	names := [...]string{"idle", "sync", "discard", "primary", "orphan", "demoted", "wait", "split-brain"}
	id := func(s *rbd.Snapshot) uint64 {
		if s == nil {
			return 0
		}
		return s.ID
	}
	return fmt.Sprintf("%s base %d=%d target %d resume %d discard %d", names[d.verdict], id(d.baseLocal), id(d.baseRemote), id(d.target), id(d.resume), id(d.discard))
}

// brief are mirror snapshots for a log.
type brief []rbd.Snapshot

// String returns what counts for decisions.
func (b brief) String() string {
	var out strings.Builder
	for _, s := range b {
		n := s.Namespace
		fmt.Fprintf(&out, "[%d state:%d complete:%v of:%d peers:%d]", s.ID, n.State, n.Complete, n.PrimarySnapID, len(n.PeerUUIDs))
	}
	return out.String()
}

// decide compares the mirror snapshots of both sites, each oldest first. It is
// how src/tools/rbd_mirror/image_replayer/snapshot/Replayer.cc of Ceph chooses,
// but that it takes the newest snapshot of the primary where that takes the next.
//
// begun reports whether this daemon remembers that it began to fill a snapshot; nil
// is a daemon that remembers nothing.
func decide(local, remote []rbd.Snapshot, s sites, begun func(*rbd.Snapshot) bool) decision {
	d, settled := decideBase(local, remote, s, begun)
	if settled {
		return d
	}
	if d.resume != nil {
		d.verdict = verdictSync
		return d
	}
	if len(remote) == 0 || !snapshots.IsPrimary(&remote[len(remote)-1]) {
		d.verdict = verdictWait
		return d
	}
	for i := range slices.Backward(remote) {
		r := &remote[i]
		if d.baseRemote != nil && r.ID <= d.baseRemote.ID {
			break
		}
		if snapshots.IsPrimary(r) && r.Namespace.Complete && slices.Contains(r.Namespace.PeerUUIDs, s.peerUUID) {
			d.verdict, d.target = verdictSync, r
			return d
		}
	}
	d.verdict = verdictIdle
	if last := &remote[len(remote)-1]; d.baseRemote != nil && d.baseRemote.ID == last.ID && snapshots.IsDemoted(last) {
		d.verdict = verdictDemoted
	}
	return d
}

// decideBase finds where both sites were equal. settled says that the verdict
// follows from the local snapshots alone, or from there being no such point.
func decideBase(local, remote []rbd.Snapshot, s sites, begun func(*rbd.Snapshot) bool) (d decision, settled bool) {
	if len(local) == 0 {
		return d, false
	}
	last := &local[len(local)-1]
	switch {
	case last.Namespace.State == wire.MirrorSnapPrimary:
		return decision{verdict: verdictPrimary}, true
	case snapshots.IsOrphan(last):
		return decision{verdict: verdictOrphan}, true
	}
	older := local
	if !snapshots.IsPrimary(last) && !last.Namespace.Complete {
		older = local[:len(local)-1]
		d.resume = last
	}
	for i := range slices.Backward(older) {
		l := &older[i]
		if !snapshots.IsPrimary(l) && !l.Namespace.Complete {
			continue
		}
		r := counterpart(l, remote, s)
		if r == nil {
			return unrelated(remote), true
		}
		d.baseLocal, d.baseRemote = l, r
		break
	}
	if d.resume == nil {
		return d, false
	}
	return decideResume(d, remote, s, begun != nil && begun(d.resume))
}

// decideResume looks at a copy that was begun.
func decideResume(d decision, remote []rbd.Snapshot, s sites, remembered bool) (decision, bool) {
	n := &d.resume.Namespace
	at := slices.IndexFunc(remote, func(r rbd.Snapshot) bool { return r.ID == n.PrimarySnapID })
	if n.PrimaryMirrorUUID == s.remoteUUID && at >= 0 && (n.LastCopiedObject > 0 || remembered) {
		d.target = &remote[at]
		return d, false
	}
	// Its source is gone, or nothing was copied: its image state may be missing.
	d.verdict, d.discard, d.resume = verdictDiscard, d.resume, nil
	return d, true
}

// counterpart returns the remote snapshot that equals a complete local one.
func counterpart(l *rbd.Snapshot, remote []rbd.Snapshot, s sites) *rbd.Snapshot {
	for i := range remote {
		r := &remote[i]
		n := &r.Namespace
		switch {
		case snapshots.IsPrimary(l):
			// Our last one as the primary: the remote site has a copy of it.
			if !snapshots.IsPrimary(r) && n.Complete && n.PrimaryMirrorUUID == s.localUUID && n.PrimarySnapID == l.ID {
				return r
			}
		case l.Namespace.PrimaryMirrorUUID == s.remoteUUID && l.Namespace.PrimarySnapID == r.ID:
			return r
		}
	}
	return nil
}

// unrelated is the verdict where no remote snapshot equals a local one: as long
// as the remote image is not primary it may still copy ours.
func unrelated(remote []rbd.Snapshot) decision {
	if len(remote) == 0 || !snapshots.IsPrimary(&remote[len(remote)-1]) {
		return decision{verdict: verdictWait}
	}
	return decision{verdict: verdictSplit}
}

// snapSeqs returns the map of the primary's snapshot ids to the local ones for a
// base that is l here and r there.
func snapSeqs(l, r *rbd.Snapshot) map[uint64]uint64 {
	seqs := make(map[uint64]uint64)
	if l == nil {
		return seqs
	}
	if snapshots.IsPrimary(l) {
		// The remote site copied us: its map leads from our ids to its own.
		for ours, theirs := range r.Namespace.SnapSeqs {
			if theirs != rbd.NoSnap {
				seqs[theirs] = ours
			}
		}
		return seqs
	}
	for theirs, ours := range l.Namespace.SnapSeqs {
		if ours != rbd.NoSnap {
			seqs[theirs] = ours
		}
	}
	return seqs
}
