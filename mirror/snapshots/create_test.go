package snapshots

import (
	"testing"

	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// snap is a mirror snapshot for tests.
func snap(id uint64, state uint8, complete bool, peers ...string) rbd.Snapshot {
	n := wire.SnapshotNamespace{Type: wire.SnapMirror, State: state, Complete: complete, PeerUUIDs: peers}
	if state >= wire.MirrorSnapNonPrimary {
		n.PrimaryMirrorUUID, n.PrimarySnapID = "remote", id+100
	}
	return rbd.Snapshot{ID: id, Namespace: n}
}

const (
	p  = wire.MirrorSnapPrimary
	pd = wire.MirrorSnapPrimaryDemoted
	n  = wire.MirrorSnapNonPrimary
	nd = wire.MirrorSnapNonPrimaryDemoted
)

func TestWhatComesBeforeAPromotion(t *testing.T) {
	tests := map[string]struct {
		snaps          []rbd.Snapshot
		demoted, force bool
		want           Plan
		refused        bool
	}{
		"first":                          {},
		"primary":                        {snaps: []rbd.Snapshot{snap(1, p, true)}},
		"demoted":                        {snaps: []rbd.Snapshot{snap(1, pd, true)}, refused: true},
		"demoted, promoting":             {snaps: []rbd.Snapshot{snap(1, pd, true)}, force: true},
		"copy of a demotion":             {snaps: []rbd.Snapshot{snap(1, nd, true)}, force: true},
		"replica":                        {snaps: []rbd.Snapshot{snap(1, n, true)}, refused: true},
		"replica, demoting":              {snaps: []rbd.Snapshot{snap(1, n, true)}, demoted: true, force: true, refused: true},
		"replica by force":               {snaps: []rbd.Snapshot{snap(1, n, true)}, force: true, want: Plan{Orphan: true}},
		"half-copied":                    {snaps: []rbd.Snapshot{snap(1, n, true), snap(2, n, false)}, force: true, want: Plan{Orphan: true, Rollback: 1}},
		"half-copied demotion":           {snaps: []rbd.Snapshot{snap(1, n, true), snap(2, nd, false)}, force: true, want: Plan{Orphan: true, Rollback: 1}},
		"half-copied over our own":       {snaps: []rbd.Snapshot{snap(1, pd, true), snap(2, n, false)}, force: true, want: Plan{Orphan: true, Rollback: 1}},
		"half-copied, nothing before it": {snaps: []rbd.Snapshot{snap(1, n, false)}, force: true, refused: true},
	}
	for name, tt := range tests {
		got, err := CanCreatePrimary(tt.snaps, tt.demoted, tt.force)
		if (err != nil) != tt.refused || err == nil && got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v, refused %v", name, got, err, tt.want, tt.refused)
		}
	}
}

func TestSurplusSnapshots(t *testing.T) {
	many := func(k int, peers ...string) (out []rbd.Snapshot) {
		for i := range k {
			out = append(out, snap(uint64(i+1), p, true, peers...))
		}
		return out
	}
	tests := map[string]struct {
		snaps []rbd.Snapshot
		id    uint64
	}{
		"as many as allowed": {many(5, "a"), 0},
		// The oldest stays: the peer has to have a base.
		"one more":                {many(6, "a"), 5},
		"nobody's, older":         {append(many(1), snap(2, p, true, "a")), 1},
		"nobody's, but newest":    {many(1), 0},
		"begun, older":            {append([]rbd.Snapshot{snap(1, p, false, "a")}, snap(2, p, true, "a")), 1},
		"newest, seen as begun":   {[]rbd.Snapshot{snap(1, p, true, "a"), snap(2, p, false, "a")}, 0},
		"another peer's":          {many(6, "b"), 0},
		"counted since promotion": {append(many(5, "a"), snap(6, nd, true, "a"), snap(7, p, true, "a")), 0},
	}
	for name, tt := range tests {
		id, peer := surplus(tt.snaps, []string{"a"}, 5, tt.snaps[len(tt.snaps)-1].ID)
		if id != tt.id || id != 0 && peer != "a" {
			t.Errorf("%s: %d of %q, want %d", name, id, peer, tt.id)
		}
	}
}

func TestUUIDsAreRandomAndWellFormed(t *testing.T) {
	a, b := NewUUID(), NewUUID()
	if a == b || len(a) != 36 || a[14] != '4' {
		t.Errorf("%s, %s", a, b)
	}
}
