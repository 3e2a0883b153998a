package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
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
	value := "v"
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

func FuzzDecode(f *testing.F) {
	f.Add(mirrorSnap.Append(nil))
	f.Add(NotifyMessage{Op: NotifySnapCreate, Name: "s", Namespace: mirrorSnap}.Append(nil))
	f.Add(ObjectMap{Objects: 5, Packed: []byte{0xc0, 0}}.Append(nil))
	f.Add(ImageState{Name: "n"}.Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, v := range []codec{&SnapshotNamespace{}, &SnapshotInfo{}, &ParentImageSpec{}, &ChildImageSpec{}, &TrashImageSpec{}, &ObjectMap{},
			&NotifyMessage{}, &NotifyResponse{}, &MirrorPeer{}, &MirrorImage{}, &MirrorSiteStatus{}, &MirrorImageStatus{}, &MirrorImageMap{},
			&MirroringMessage{}, &ImageState{}} {
			v.Decode(denc.NewReader(p))
			v.Append(nil)
		}
	})
}
