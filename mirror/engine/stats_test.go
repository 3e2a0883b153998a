package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/rbd"
)

func TestDescription(t *testing.T) {
	var s replayStats
	same(t, `replaying, {"bytes_per_second":0.0,"bytes_per_snapshot":0.0,"last_snapshot_bytes":0,"last_snapshot_sync_seconds":0,"replay_state":"idle"}`, s.describe(nil))
	target := rbd.Snapshot{Timestamp: time.Unix(1700000000, 0)}
	s.synced(decision{target: &target}, progress{bytes: 3 << 20}, 2*time.Second)
	s.at(decision{baseLocal: &target, baseRemote: &target})
	same(t, `replaying, {"bytes_per_second":1572864.0,"bytes_per_snapshot":3145728.0,"last_snapshot_bytes":3145728,`+
		`"last_snapshot_sync_seconds":2,"local_snapshot_timestamp":1700000000,"remote_snapshot_timestamp":1700000000,"replay_state":"idle"}`, s.describe(nil))
	s.ended = s.ended.Add(-rateAge)
	if text := s.describe(nil); !strings.Contains(text, `"bytes_per_second":0.0`) {
		t.Errorf("the rate of a copy long ago: %s", text)
	}
}

func same(t *testing.T, want, got string) {
	t.Helper()
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}
