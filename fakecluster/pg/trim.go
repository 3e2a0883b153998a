package pg

import "slices"

// Trim removes a snapshot from all objects: clones that no other snapshot needs
// go. It returns how many clones went.
func (g *Group) Trim(snap uint64) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle(len(g.unacked))
	gone := 0
	for _, o := range g.objects {
		for i, c := range o.clones {
			if !slices.Contains(c.snaps, snap) {
				continue
			}
			g.version += 2 // the clone's and the head's entries in an OSD's log
			c.snaps = slices.DeleteFunc(slices.Clone(c.snaps), func(s uint64) bool { return s == snap })
			if len(c.snaps) > 0 {
				break
			}
			if i > 0 {
				// What the older clone has in common with this one and this one
				// with the next, it has in common with the next.
				o.clones[i-1].overlap = o.clones[i-1].overlap.Intersect(c.overlap)
			}
			o.clones = slices.Delete(slices.Clone(o.clones), i, i+1)
			o.whiteout = o.whiteout && len(o.clones) > 0
			gone++
			break
		}
		seq := o.seq
		if g.drop(o); g.objects[o.name] == nil {
			g.noteTrimmed(o.name, seq)
		}
	}
	return gone
}

// maxTrimmed is osd_pg_object_context_cache_count, how many objects an OSD keeps in
// its cache.
const maxTrimmed = 64

func (g *Group) noteTrimmed(n Name, seq uint64) {
	if _, known := g.trimmed[n]; !known {
		g.trimmedLast = append(g.trimmedLast, n)
	}
	g.trimmed[n] = seq
	for len(g.trimmedLast) > maxTrimmed {
		delete(g.trimmed, g.trimmedLast[0])
		g.trimmedLast = g.trimmedLast[1:]
	}
}

// HasSnap reports whether a clone is kept for the snapshot.
func (g *Group) HasSnap(snap uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.objects {
		for _, c := range o.clones {
			if slices.Contains(c.snaps, snap) {
				return true
			}
		}
	}
	return false
}
