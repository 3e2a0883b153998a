package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// journalStats is how fast a journal is replayed.
type journalStats struct {
	mu             sync.Mutex
	entries, bytes float64
	// of the last rateAge
	samples []journalSample
}

type journalSample struct {
	at             time.Time
	entries, bytes float64
}

// applied counts an entry.
func (s *journalStats) applied(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries++
	s.bytes += float64(bytes)
}

// rates returns what was applied in a second, on average since rateAge.
func (s *journalStats) rates() (entries, bytes float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.samples = append(s.samples, journalSample{now, s.entries, s.bytes})
	for len(s.samples) > 1 && now.Sub(s.samples[0].at) > rateAge {
		s.samples = s.samples[1:]
	}
	first := s.samples[0]
	if d := now.Sub(first.at).Seconds(); d > 0 {
		return (s.entries - first.entries) / d, (s.bytes - first.bytes) / d
	}
	return 0, 0
}

// behind returns how many entries lie between two positions, as far as the tags that
// the remote journal still has can tell: where one ended is what the next one says of
// its predecessor.
func (j *journalReplica) behind(ctx context.Context, head, here *jwire.ObjectPosition) uint64 {
	return entriesBehind(head, here, func(tag uint64) (p jwire.TagPredecessor) {
		p, ok := j.predecessors[tag]
		if ok {
			return p
		}
		t, err := j.theirs.Tag(ctx, tag)
		if err != nil && !errors.Is(err, rados.ErrNotFound) {
			return p // perhaps the next time
		}
		var data jwire.TagData
		if rd := denc.NewReader(t.Data); err == nil {
			if data.Decode(rd); rd.Err() == nil && (data.Predecessor.MirrorUUID == jwire.LocalOwner || data.Predecessor.MirrorUUID == jwire.OrphanOwner) {
				p = data.Predecessor
			}
		}
		if j.predecessors == nil {
			j.predecessors = make(map[uint64]jwire.TagPredecessor)
		}
		j.predecessors[tag] = p
		return p
	})
}

// entriesBehind is behind; predecessor returns that of a tag.
func entriesBehind(head, here *jwire.ObjectPosition, predecessor func(tag uint64) jwire.TagPredecessor) (n uint64) {
	if head == nil {
		return 0
	}
	at := *head
	for here == nil || at.TagTID > here.TagTID {
		n += at.EntryTID + 1
		p := predecessor(at.TagTID)
		if !p.CommitValid || p.TagTID >= at.TagTID {
			return n
		}
		at = jwire.ObjectPosition{TagTID: p.TagTID, EntryTID: p.EntryTID}
	}
	if at.TagTID == here.TagTID && at.EntryTID > here.EntryTID {
		n += at.EntryTID - here.EntryTID
	}
	return n
}

// describe returns the description of a replica that follows a journal, in the form
// of Ceph's daemon (src/tools/rbd_mirror/image_replayer/journal/
// ReplayStatusFormatter.cc).
func (s *journalStats) describe(head, here *jwire.ObjectPosition, behind uint64) string {
	entries, bytes := s.rates()
	var b strings.Builder
	fmt.Fprintf(&b, `replaying, {"bytes_per_second":%s,"entries_behind_primary":%d,"entries_per_second":%s`, decimal(bytes), behind, decimal(entries))
	fmt.Fprintf(&b, `,"non_primary_position":%s,"primary_position":%s`, position(here), position(head))
	if behind > 0 && entries > 0 {
		fmt.Fprintf(&b, `,"seconds_until_synced":%d`, uint64(float64(behind)/entries))
	}
	b.WriteByte('}')
	return b.String()
}

func position(p *jwire.ObjectPosition) string {
	if p == nil {
		return "{}"
	}
	return fmt.Sprintf(`{"entry_tid":%d,"object_number":%d,"tag_tid":%d}`, p.EntryTID, p.Object, p.TagTID)
}
