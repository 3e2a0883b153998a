package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What the programs that read rbd's answers declare, field by field: the storage
// drivers and exporters of Kubernetes and LXD. A number that they take for whole
// must be written as one.

// replayStatus is the tail of a description as go-ceph and ceph-csi read it.
type replayStatus struct {
	ReplayState              string  `json:"replay_state"`
	RemoteSnapshotTimestamp  int64   `json:"remote_snapshot_timestamp"`
	LocalSnapshotTimestamp   int64   `json:"local_snapshot_timestamp"`
	SyncingSnapshotTimestamp int64   `json:"syncing_snapshot_timestamp"`
	SyncingPercent           int     `json:"syncing_percent"`
	BytesPerSecond           float64 `json:"bytes_per_second"`
	BytesPerSnapshot         float64 `json:"bytes_per_snapshot"`
	LastSnapshotSyncSeconds  *int64  `json:"last_snapshot_sync_seconds"`
	LastSnapshotBytes        int64   `json:"last_snapshot_bytes"`
}

// journalStatus is the tail of a description in journal mode.
type journalStatus struct {
	BytesPerSecond       float64         `json:"bytes_per_second"`
	EntriesBehindPrimary int64           `json:"entries_behind_primary"`
	EntriesPerSecond     float64         `json:"entries_per_second"`
	NonPrimaryPosition   journalPosition `json:"non_primary_position"`
	PrimaryPosition      journalPosition `json:"primary_position"`
	SecondsUntilSynced   int64           `json:"seconds_until_synced"`
}

type journalPosition struct {
	EntryTID     int64 `json:"entry_tid"`
	ObjectNumber int64 `json:"object_number"`
	TagTID       int64 `json:"tag_tid"`
}

// imageAnswer is `mirror image status`, and an image of `mirror pool status
// --verbose`, as the exporter of OpenShift Data Foundation and LXD read it.
type imageAnswer struct {
	Name          string `json:"name"`
	GlobalID      string `json:"global_id"`
	State         string `json:"state"`
	Description   string `json:"description"`
	DaemonService struct {
		ServiceID  string `json:"service_id"`
		InstanceID string `json:"instance_id"`
		DaemonID   string `json:"daemon_id"`
		Hostname   string `json:"hostname"`
	} `json:"daemon_service"`
	LastUpdate string `json:"last_update"`
	PeerSites  []struct {
		SiteName    string `json:"site_name"`
		MirrorUUIDs string `json:"mirror_uuids"`
		State       string `json:"state"`
		Description string `json:"description"`
		LastUpdate  string `json:"last_update"`
	} `json:"peer_sites"`
	Snapshots []struct {
		ID              uint64   `json:"id"`
		Name            string   `json:"name"`
		Demoted         bool     `json:"demoted"`
		MirrorPeerUUIDs []string `json:"mirror_peer_uuids"`
	} `json:"snapshots"`
}

// poolAnswer is `mirror pool status` as Rook and the exporter read it.
type poolAnswer struct {
	Summary struct {
		Health       string `json:"health"`
		DaemonHealth string `json:"daemon_health"`
		ImageHealth  string `json:"image_health"`
		States       struct {
			Unknown        int `json:"unknown"`
			Error          int `json:"error"`
			Syncing        int `json:"syncing"`
			StartingReplay int `json:"starting_replay"`
			Replaying      int `json:"replaying"`
			StoppingReplay int `json:"stopping_replay"`
			Stopped        int `json:"stopped"`
		} `json:"states"`
	} `json:"summary"`
	Daemons []struct {
		ServiceID   string `json:"service_id"`
		InstanceID  string `json:"instance_id"`
		ClientID    string `json:"client_id"`
		Hostname    string `json:"hostname"`
		CephVersion string `json:"ceph_version"`
		Leader      bool   `json:"leader"`
		Health      string `json:"health"`
	} `json:"daemons"`
	Images []imageAnswer `json:"images"`
}

// infoAnswer is `mirror pool info` as Rook reads it.
type infoAnswer struct {
	Mode            string `json:"mode"`
	SiteName        string `json:"site_name"`
	MirrorUUID      string `json:"mirror_uuid"`
	RemoteNamespace string `json:"remote_namespace"`
	Peers           []struct {
		UUID       string `json:"uuid"`
		Direction  string `json:"direction"`
		SiteName   string `json:"site_name"`
		MirrorUUID string `json:"mirror_uuid"`
		ClientName string `json:"client_name"`
	} `json:"peers"`
}

// scheduleAnswer is `mirror snapshot schedule ls --recursive` as Rook reads it.
type scheduleAnswer []struct {
	Pool      string `json:"pool"`
	Namespace string `json:"namespace"`
	Image     string `json:"image"`
	Items     []struct {
		Interval  string `json:"interval"`
		StartTime string `json:"start_time"`
	} `json:"items"`
}

// strictly reads an answer, which may have no field that nobody knows.
func strictly(t *testing.T, c *console, into any, command string) {
	t.Helper()
	args, _ := c.words(command)
	out, err := c.command(args, "")
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(out)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// tailOf reads what follows the first comma of a description, as ceph-csi does.
func tailOf(t *testing.T, description string) (s replayStatus) {
	t.Helper()
	readTail(t, description, &s)
	return s
}

// readTail reads the tail of a description into a struct that knows all of it.
func readTail(t *testing.T, description string, into any) {
	t.Helper()
	word, tail, _ := strings.Cut(description, ",")
	d := json.NewDecoder(strings.NewReader(tail))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || word != "replaying" {
		t.Fatalf("%q: %v", description, err)
	}
}

// TestProgramsThatReadOurAnswers mirrors an image and reads the answers of both
// sites with the types of programs that know rbd's.
func TestProgramsThatReadOurAnswers(t *testing.T) {
	c := newConsole(t, fakeSites(t))
	for _, command := range []string{
		"ceph --cluster site-a osd pool create data", "ceph --cluster site-b osd pool create data",
		"rbd --cluster site-a pool init data", "rbd --cluster site-b pool init data",
		"rbd --cluster site-a mirror pool enable data image", "rbd --cluster site-b mirror pool enable data image",
		"rbd --cluster site-a mirror pool peer bootstrap create --site-name site-a data > token",
		"rbd --cluster site-b mirror pool peer bootstrap import --site-name site-b data token",
		"rbd --cluster site-a create --size 16M data/disk",
		"rbd --cluster site-a bench --io-type write --io-size 1M --io-total 8M data/disk",
		"rbd --cluster site-a mirror image enable data/disk snapshot",
		"rbd --cluster site-a mirror snapshot schedule add --pool data 24h 14:00:00-05:00",
		"rbd-mirror --cluster site-a", "rbd-mirror --cluster site-b",
	} {
		if err := c.step(consoleStep{command: command}); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	for _, wait := range []consoleStep{
		{command: "rbd --cluster site-b mirror image status data/disk", shown: []string{"...", "  description: replaying, {*\"replay_state\":\"idle\"*", "...", "    description: local image is primary", "..."}},
		{command: "rbd --cluster site-a mirror image status data/disk", shown: []string{"...", "    description: replaying, {*\"replay_state\":\"idle\"*", "..."}},
	} {
		if err := c.step(wait); err != nil {
			t.Fatal(err)
		}
	}
	var a, b imageAnswer
	strictly(t, c, &a, "rbd --cluster site-a mirror image status --format json data/disk")
	strictly(t, c, &b, "rbd --cluster site-b mirror image status --format json --pretty-format data/disk")
	if a.State != "up+stopped" || b.State != "up+replaying" || a.GlobalID != b.GlobalID || len(a.PeerSites) != 1 || len(b.PeerSites) != 1 || len(a.Snapshots) == 0 {
		t.Fatalf("site-a %+v\nsite-b %+v", a, b)
	}
	if b.DaemonService.DaemonID == "" || b.DaemonService.Hostname == "" || a.PeerSites[0].SiteName != "site-b" || a.PeerSites[0].MirrorUUIDs == "" {
		t.Errorf("site-a %+v\nsite-b %+v", a, b)
	}
	// The primary's side asks what the peer says: when its newest snapshot is of.
	for _, description := range []string{b.Description, a.PeerSites[0].Description} {
		s := tailOf(t, description)
		if s.LocalSnapshotTimestamp == 0 || s.LocalSnapshotTimestamp != s.RemoteSnapshotTimestamp || s.ReplayState != "idle" || s.LastSnapshotBytes == 0 || s.LastSnapshotSyncSeconds == nil {
			t.Errorf("%s: %+v", description, s)
		}
	}
	for _, stamp := range []string{a.LastUpdate, b.LastUpdate, a.PeerSites[0].LastUpdate} {
		if _, err := time.ParseInLocation("2006-01-02 15:04:05", stamp, time.Local); err != nil {
			t.Error(err)
		}
	}
	var pool poolAnswer
	strictly(t, c, &pool, "rbd --cluster site-b mirror pool status --verbose --format json data")
	if pool.Summary.DaemonHealth != "OK" || pool.Summary.States.Replaying != 1 || len(pool.Daemons) != 1 || !pool.Daemons[0].Leader || len(pool.Images) != 1 || pool.Images[0].Name != "disk" {
		t.Errorf("%+v", pool)
	}
	var info infoAnswer
	strictly(t, c, &info, "rbd --cluster site-b mirror pool info --format json data")
	if info.Mode != "image" || info.SiteName != "site-b" || len(info.Peers) != 1 || info.Peers[0].Direction != "rx-tx" || info.Peers[0].ClientName != "client.rbd-mirror-peer" || info.Peers[0].MirrorUUID == "" {
		t.Errorf("%+v", info)
	}
	var schedules scheduleAnswer
	strictly(t, c, &schedules, "rbd --cluster site-a mirror snapshot schedule ls --pool data --recursive --format json")
	if len(schedules) != 1 || len(schedules[0].Items) != 1 || schedules[0].Items[0].Interval != "1d" || schedules[0].Items[0].StartTime != "14:00:00-05:00" {
		t.Errorf("%+v", schedules)
	}
}

// TestProgramsThatReadOurAnswersInJournalMode is the same for an image that is
// mirrored by its journal.
func TestProgramsThatReadOurAnswersInJournalMode(t *testing.T) {
	c := newConsole(t, fakeSites(t))
	for _, command := range []string{
		"ceph --cluster site-a osd pool create data", "ceph --cluster site-b osd pool create data",
		"rbd --cluster site-a pool init data", "rbd --cluster site-b pool init data",
		"rbd --cluster site-a mirror pool enable data image", "rbd --cluster site-b mirror pool enable data image",
		"rbd --cluster site-a mirror pool peer bootstrap create --site-name site-a data > token",
		"rbd --cluster site-b mirror pool peer bootstrap import --site-name site-b data token",
		"rbd --cluster site-a create --size 16M data/disk --mirror-image-mode journal",
		"rbd --cluster site-a bench --io-type write --io-size 1M --io-total 8M data/disk",
		"rbd-mirror --cluster site-a", "rbd-mirror --cluster site-b",
	} {
		if err := c.step(consoleStep{command: command}); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	// The pool's summary takes the worse of what both daemons say of the image.
	wait := consoleStep{command: "rbd --cluster site-b mirror image status data/disk", shown: []string{"...", "  description: replaying, {*", "...", "    description: local image is primary", "..."}}
	if err := c.step(wait); err != nil {
		t.Fatal(err)
	}
	var b imageAnswer
	strictly(t, c, &b, "rbd --cluster site-b mirror image status --format json data/disk")
	if b.State != "up+replaying" || b.DaemonService.DaemonID == "" {
		t.Errorf("%+v", b)
	}
	var s journalStatus
	readTail(t, b.Description, &s)
	if s.PrimaryPosition.TagTID == 0 {
		t.Errorf("%s: %+v", b.Description, s)
	}
	var pool poolAnswer
	strictly(t, c, &pool, "rbd --cluster site-b mirror pool status --verbose --format json data")
	if pool.Summary.States.Replaying != 1 || len(pool.Images) != 1 {
		t.Errorf("%+v", pool)
	}
	readTail(t, pool.Images[0].Description, &s)
}
