package engine

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rateAge is how long the speed of the last copy is shown, as Ceph's daemon shows
// the mean of so long.
const rateAge = 30 * time.Second

// replayStats is what a replica's status says besides its state. The copy's
// reporter and the replayer both use it.
type replayStats struct {
	mu                      sync.Mutex
	localTime, remoteTime   time.Time
	syncingTime             time.Time
	began                   time.Time
	lastBytes               uint64
	lastDuration            time.Duration
	totalBytes, totalSynced uint64
	rate                    float64
	ended                   time.Time // of the last copy
}

// at notes the snapshots that a decision is about.
func (s *replayStats) at(d decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncingTime = time.Time{}
	if d.baseLocal != nil {
		s.localTime = d.baseRemote.Timestamp
		s.remoteTime = d.baseRemote.Timestamp
	}
	if d.target != nil {
		s.remoteTime, s.syncingTime, s.began = d.target.Timestamp, d.target.Timestamp, time.Now()
	}
}

// synced notes a copy that is complete.
func (s *replayStats) synced(d decision, p progress, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.localTime, s.syncingTime = d.target.Timestamp, time.Time{}
	s.lastBytes, s.lastDuration = p.bytes, took
	s.totalBytes += p.bytes
	s.totalSynced++
	s.rate, s.ended = float64(p.bytes)/max(took.Seconds(), 0.001), time.Now()
}

// describe returns the description of a replica that is being replayed: the word,
// a comma and JSON with sorted keys, the form that Ceph's daemon writes and that
// other programs parse. p is the copy under way, nil for none.
func (s *replayStats) describe(p *progress) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	b.WriteString(`replaying, {"bytes_per_second":`)
	rate, average := s.rate, 0.0
	if time.Since(s.ended) >= rateAge {
		rate = 0
	}
	if p != nil {
		rate = float64(p.bytes) / max(time.Since(s.began).Seconds(), 0.001)
	}
	if s.totalSynced > 0 {
		average = float64(s.totalBytes) / float64(s.totalSynced)
	}
	b.WriteString(decimal(rate) + `,"bytes_per_snapshot":` + decimal(average))
	b.WriteString(`,"last_snapshot_bytes":` + strconv.FormatUint(s.lastBytes, 10))
	b.WriteString(`,"last_snapshot_sync_seconds":` + strconv.Itoa(int(s.lastDuration.Seconds())))
	stamp := func(key string, t time.Time) {
		if !t.IsZero() {
			b.WriteString(`,"` + key + `":` + strconv.FormatInt(t.Unix(), 10))
		}
	}
	stamp("local_snapshot_timestamp", s.localTime)
	stamp("remote_snapshot_timestamp", s.remoteTime)
	state := "idle"
	if p != nil {
		state = "syncing"
	}
	b.WriteString(`,"replay_state":"` + state + `"`)
	if p != nil {
		percent := uint64(100)
		if p.total > 0 {
			percent = 100 * p.done / p.total
		}
		b.WriteString(`,"syncing_percent":` + strconv.FormatUint(percent, 10))
		stamp("syncing_snapshot_timestamp", s.syncingTime)
	}
	b.WriteByte('}')
	return b.String()
}

// decimal prints a number with at most two decimals and at least one.
func decimal(v float64) string {
	b, err := json.Marshal(math.Round(v*100) / 100)
	if err != nil {
		return "0.0"
	}
	if text := string(b); strings.ContainsAny(text, ".e") {
		return text
	}
	return string(b) + ".0"
}
