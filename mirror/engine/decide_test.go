package engine

import (
	"slices"
	"testing"

	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

var us = sites{localUUID: "here", remoteUUID: "there", peerUUID: "peer"}

// prim is a complete primary snapshot that lists the local site's peer entry.
func prim(id uint64, state uint8) rbd.Snapshot {
	var s rbd.Snapshot
	s.ID = id
	s.Namespace.Type = wire.SnapMirror
	s.Namespace.State = state
	s.Namespace.Complete = true
	s.Namespace.PeerUUIDs = []string{"peer"}
	return s
}

// repl is a snapshot copied from snapshot of of the site from.
func repl(id uint64, state uint8, from string, of uint64, complete bool, last uint64) rbd.Snapshot {
	s := prim(id, state)
	s.Namespace.PeerUUIDs = nil
	s.Namespace.PrimaryMirrorUUID, s.Namespace.PrimarySnapID = from, of
	s.Namespace.Complete, s.Namespace.LastCopiedObject = complete, last
	return s
}

func TestDecide(t *testing.T) {
	const (
		P, PD = wire.MirrorSnapPrimary, wire.MirrorSnapPrimaryDemoted
		N, ND = wire.MirrorSnapNonPrimary, wire.MirrorSnapNonPrimaryDemoted
	)
	half := prim(9, P)
	half.Namespace.Complete = false
	unlinked := prim(9, P)
	unlinked.Namespace.PeerUUIDs = []string{"another"}
	type snaps = []rbd.Snapshot
	for name, c := range map[string]struct {
		local, remote                 snaps
		want                          verdict
		base, target, resume, discard uint64
	}{
		"first sync":                      {nil, snaps{prim(5, P)}, verdictSync, 0, 5, 0, 0},
		"first sync takes the newest":     {nil, snaps{prim(5, P), prim(7, P)}, verdictSync, 0, 7, 0, 0},
		"no remote snapshot":              {nil, nil, verdictWait, 0, 0, 0, 0},
		"delta":                           {snaps{repl(3, N, "there", 5, true, 1)}, snaps{prim(5, P), prim(7, P)}, verdictSync, 3, 7, 0, 0},
		"in step":                         {snaps{repl(3, N, "there", 5, true, 1)}, snaps{prim(5, P)}, verdictIdle, 3, 0, 0, 0},
		"incomplete primary is ignored":   {snaps{repl(3, N, "there", 5, true, 1)}, snaps{prim(5, P), half}, verdictIdle, 3, 0, 0, 0},
		"snapshot for another peer":       {snaps{repl(3, N, "there", 5, true, 1)}, snaps{prim(5, P), unlinked}, verdictIdle, 3, 0, 0, 0},
		"demotion is copied":              {snaps{repl(3, N, "there", 5, true, 1)}, snaps{prim(5, P), prim(7, PD)}, verdictSync, 3, 7, 0, 0},
		"demotion was copied":             {snaps{repl(3, ND, "there", 7, true, 1)}, snaps{prim(7, PD)}, verdictDemoted, 3, 0, 0, 0},
		"local is primary":                {snaps{repl(3, ND, "there", 7, true, 1), prim(4, P)}, snaps{prim(7, PD)}, verdictPrimary, 0, 0, 0, 0},
		"orphan":                          {snaps{repl(3, N, "there", 5, true, 1), repl(4, N, "", rbd.NoSnap, true, 0)}, snaps{prim(5, P)}, verdictOrphan, 0, 0, 0, 0},
		"failback by delta":               {snaps{prim(7, PD)}, snaps{repl(3, ND, "here", 7, true, 1), prim(4, P)}, verdictSync, 7, 4, 0, 0},
		"both demoted, ours not copied":   {snaps{prim(7, PD)}, snaps{repl(3, N, "here", 6, true, 1)}, verdictWait, 0, 0, 0, 0},
		"promoted without our demotion":   {snaps{prim(7, PD)}, snaps{repl(3, N, "here", 6, true, 1), prim(4, P)}, verdictSplit, 0, 0, 0, 0},
		"half a copy is no common point":  {snaps{prim(7, PD)}, snaps{repl(3, ND, "here", 7, false, 1), prim(4, P)}, verdictSplit, 0, 0, 0, 0},
		"base is gone":                    {snaps{repl(3, N, "there", 5, true, 1)}, snaps{prim(7, P)}, verdictSplit, 0, 0, 0, 0},
		"copy of a third site":            {snaps{repl(3, N, "third", 5, true, 1)}, snaps{prim(5, P)}, verdictSplit, 0, 0, 0, 0},
		"resume the first copy":           {snaps{repl(3, N, "there", 5, false, 2)}, snaps{prim(5, P), prim(7, P)}, verdictSync, 0, 5, 3, 0},
		"resume a delta":                  {snaps{repl(3, N, "there", 5, true, 1), repl(4, N, "there", 7, false, 2)}, snaps{prim(5, P), prim(7, P)}, verdictSync, 3, 7, 4, 0},
		"discard: nothing was copied":     {snaps{repl(3, N, "there", 5, true, 1), repl(4, N, "there", 7, false, 0)}, snaps{prim(5, P), prim(7, P)}, verdictDiscard, 3, 0, 0, 4},
		"discard: its source is gone":     {snaps{repl(3, N, "there", 5, true, 1), repl(4, N, "there", 7, false, 2)}, snaps{prim(5, P), prim(9, P)}, verdictDiscard, 3, 0, 0, 4},
		"discard: begun from a third one": {snaps{repl(3, N, "third", 5, false, 2)}, snaps{prim(5, P)}, verdictDiscard, 0, 0, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(c.local, c.remote, us, nil)
			id := func(s *rbd.Snapshot) uint64 {
				if s == nil {
					return 0
				}
				return s.ID
			}
			want := []uint64{c.base, c.target, c.resume, c.discard}
			got := []uint64{id(d.baseLocal), id(d.target), id(d.resume), id(d.discard)}
			if d.verdict != c.want || !slices.Equal(got, want) {
				t.Fatalf("verdict %d %v, want %d %v", d.verdict, got, c.want, want)
			}
		})
	}
}
