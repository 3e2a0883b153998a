package engine

import (
	"fmt"
	"strings"
	"sync"
	"time"

	jwire "github.com/rbdm/rbdm/journal/wire"
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

// entriesBehind returns how many entries lie between two positions, as far as that
// is known: of an older tag nobody knows how many there were.
func entriesBehind(head, here *jwire.ObjectPosition) uint64 {
	switch {
	case head == nil:
		return 0
	case here == nil, here.TagTID < head.TagTID:
		return head.EntryTID + 1
	case here.TagTID > head.TagTID || here.EntryTID >= head.EntryTID:
		return 0
	}
	return head.EntryTID - here.EntryTID
}

// describe returns the description of a replica that follows a journal, in the form
// of Ceph's daemon (src/tools/rbd_mirror/image_replayer/journal/
// ReplayStatusFormatter.cc).
func (s *journalStats) describe(head, here *jwire.ObjectPosition) string {
	entries, bytes := s.rates()
	behind := entriesBehind(head, here)
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
