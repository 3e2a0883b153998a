package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// codec is what every type here has.
type codec interface {
	Append(b []byte) []byte
	Decode(r *denc.Reader)
}

var mirrorSnap = SnapshotNamespace{Type: SnapMirror, State: MirrorSnapNonPrimary, Complete: true, PeerUUIDs: []string{"a", "b"},
	PrimaryMirrorUUID: "u", PrimarySnapID: 7, LastCopiedObject: 5, SnapSeqs: map[uint64]uint64{7: 1<<64 - 2}}

func TestRoundTrips(t *testing.T) {
	q := RequestID{ClientID{1, 2}, 3}
	value, overlap := "v", uint64(77)
	for _, v := range []codec{
		&SnapshotNamespace{}, &mirrorSnap,
		&SnapshotNamespace{Type: SnapGroup, GroupPool: 3, GroupID: "g", GroupSnapID: "s"},
		&SnapshotNamespace{Type: SnapTrash, OriginalName: "n", OriginalType: SnapUser},
		&SnapshotInfo{ID: 4, Namespace: mirrorSnap, Name: "n", Size: 9, Timestamp: denc.Time{Sec: 1, Nsec: 2}, Children: 1},
		&ParentImageSpec{Pool: -1, Namespace: "ns", ImageID: "i", SnapID: 4},
		&ChildImageSpec{Pool: 2, ImageID: "i", Namespace: "ns"},
		&TrashImageSpec{Source: 1, Name: "n", Deleted: denc.Time{Sec: 1}, Until: denc.Time{Sec: 2}, State: 3},
		&ObjectMap{Objects: 5, Packed: []byte{0xc0, 0}},
		&ObjectMap{Objects: 40000, Packed: bytes.Repeat([]byte{0x1b}, 10000)},
		&ObjectMap{Objects: 1, Packed: []byte{0x40}, NoChecksums: true},
		&NotifyMessage{Op: NotifyHeaderUpdate},
		&NotifyMessage{Op: NotifyReleasedLock, Client: q.Client},
		&NotifyMessage{Op: NotifyRequestLock, Client: q.Client, Force: true},
		&NotifyMessage{Op: NotifyAsyncProgress, Request: q, Offset: 1, Total: 2},
		&NotifyMessage{Op: NotifyAsyncComplete, Request: q, Result: -16},
		&NotifyMessage{Op: NotifyResize, Request: q, Size: 9, AllowShrink: true},
		&NotifyMessage{Op: NotifySnapCreate, Request: q, Name: "s", Namespace: mirrorSnap, Flags: SnapCreateSkipQuiesce},
		&NotifyMessage{Op: NotifySnapRename, Request: q, Name: "s", SnapID: 3},
		&NotifyMessage{Op: NotifyRename, Request: q, Name: "s"},
		&NotifyMessage{Op: NotifyUpdateFeatures, Request: q, Features: 8, Enabled: true},
		&NotifyMessage{Op: NotifySparsify, Request: q, Size: 4096},
		&NotifyMessage{Op: NotifyMetadataUpdate, Request: q, Name: "k", Value: &value},
		&NotifyResponse{Result: -30},
		&MirrorPeer{UUID: "u", SiteName: "s", ClientName: "client.x", Direction: MirrorPeerTX, MirrorUUID: "m", LastSeen: denc.Time{Sec: 4}},
		&MirrorImage{GlobalID: "g", State: MirrorImageEnabled, Mode: MirrorImageSnapshot},
		&MirrorSiteStatus{MirrorUUID: "m", State: 4, Description: "d", LastUpdate: denc.Time{Sec: 9}, Up: true},
		&MirrorSiteStatus{State: 4, Description: "d", LastUpdate: denc.Time{Sec: 9}},
		&MirrorImageStatus{LocalValid: true, Local: MirrorSiteStatus{State: 4}, Remotes: []MirrorSiteStatus{{MirrorUUID: "r", State: 6}}},
		&MirrorImageMap{InstanceID: "4", Mapped: denc.Time{Sec: 1}, Data: []byte("x")},
		&MirroringMessage{Op: MirroringImageUpdated, State: 1, ImageID: "i", GlobalID: "g"},
		&MirroringMessage{Op: MirroringModeUpdated, Mode: 1},
		&ImageState{Name: "n", Features: 0x2d, SnapLimit: 1<<64 - 1, Snaps: map[uint64]SnapState{3: {Name: "s", Protection: 2}}, Metadata: map[string][]byte{"k": []byte("v")}},
		&Parent{ParentImageSpec: ParentImageSpec{Pool: 1, Namespace: "ns", ImageID: "p", SnapID: 4}, Overlap: &overlap},
		&SnapshotRecord{ID: 4, Name: "s", Size: 9, Protection: Protected, Namespace: mirrorSnap, Children: 2, ParentOverlap: &overlap},
		&MigrationSpec{Header: MigrationSource, Pool: 1, ImageName: "n", ImageID: "i", SnapSeqs: map[uint64]uint64{1: 2}, Overlap: 5, State: 2},
		&GroupSpec{Pool: 1, ID: "g"},
		&GroupImageStatus{Spec: GroupImageSpec{ImageID: "i", Pool: 2}, State: GroupImageIncomplete},
		&GroupSnapshot{ID: "i", Name: "n", State: GroupSnapComplete, Snaps: []ImageSnapshotSpec{{Pool: 1, ImageID: "i", SnapID: 3}}},
		&MirrorStoredStatus{Origin: EntityInst{Name: entity.Name{Type: entity.TypeClient, Num: 4}}, Status: MirrorSiteStatus{State: 4, Description: "d"}},
	} {
		b := v.Append(nil)
		got := reflect.New(reflect.TypeOf(v).Elem()).Interface().(codec)
		r := denc.NewReader(b)
		got.Decode(r)
		if err := r.Done(); err != nil {
			t.Errorf("%T %+v: %v", v, v, err)
			continue
		}
		if again := got.Append(nil); !bytes.Equal(b, again) {
			t.Errorf("%T: %x became %x", v, b, again)
		}
	}
}

// TestObjectMapOfARealCluster is what 20.2 wrote for five objects, the first
// unchanged since a snapshot.
func TestObjectMapOfARealCluster(t *testing.T) {
	p, _ := hex.DecodeString("0e0000000101080000000500000000000000c0000c0000001845968201000000fd3cd404")
	var m ObjectMap
	r := denc.NewReader(p)
	m.Decode(r)
	if err := r.Done(); err != nil || m.Objects != 5 || m.Packed[0] != 0xc0 {
		t.Fatalf("%+v, %v", m, err)
	}
	if got := m.Append(nil); !bytes.Equal(got, p) {
		t.Fatalf("%x", got)
	}
	p[18] = 0x80
	r = denc.NewReader(p)
	m.Decode(r)
	if r.Err() == nil {
		t.Fatal("a changed bit went unnoticed")
	}
}

// TestSnapshotRecordOfAnOldRelease reads a record of version 7, whose parent is
// in the record itself.
func TestSnapshotRecordOfAnOldRelease(t *testing.T) {
	overlap := uint64(500)
	parent := Parent{ParentImageSpec: ParentImageSpec{Pool: 1, ImageID: "p", SnapID: 4}, Overlap: &overlap}
	b, at := denc.Begin(nil, 7, 1)
	b = denc.AppendU64(denc.AppendU64(denc.AppendString(denc.AppendU64(b, 9), "s"), 1000), 1)
	b = parent.Append(b)
	b = denc.AppendU64(denc.AppendU8(b, Protected), 3)
	b = denc.AppendTime(SnapshotNamespace{}.Append(b), denc.Time{Sec: 1})
	b = denc.End(denc.AppendU32(b, 2), at)
	var s SnapshotRecord
	r := denc.NewReader(b)
	s.Decode(r)
	if err := r.Done(); err != nil || !s.HasParent() || !s.OldParent.Exists() || *s.OldParent.Overlap != overlap || s.Children != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	var again SnapshotRecord
	again.Decode(denc.NewReader(s.Append(nil)))
	if again.ParentOverlap == nil || *again.ParentOverlap != overlap {
		t.Fatalf("%+v", again)
	}
}

func TestKeys(t *testing.T) {
	if k := SnapshotKey(0x1f); k != "snapshot_000000000000001f" {
		t.Error(k)
	}
	spec := GroupImageSpec{ImageID: "a1", Pool: 2}
	if got, err := ParseGroupImageKey(spec.Key()); err != nil || got != spec {
		t.Errorf("%+v, %v", got, err)
	}
	if k := MirrorStatusKey("g", "u"); k != "remote_status_global_g_u" {
		t.Error(k)
	}
}
