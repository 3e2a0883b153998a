package cls

import (
	"maps"
	"slices"
	"testing"
	"time"

	journal "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rados/errno"
	rados "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd/wire"
)

func TestAMethodOfALaterReleaseIsNotThere(t *testing.T) {
	const method = wire.MethodMirrorRemoteNamespaceGet
	if _, r := Standard(18).Writes(wire.Class, method); r != errno.ErrNotSupported.Result() {
		t.Errorf("18.2 has %s: %d", method, r)
	}
	if w, r := Standard(20).Writes(wire.Class, method); r != 0 || w {
		t.Errorf("20.2 lacks %s: %d", method, r)
	}
	if _, r := Standard(20).Call(newMemory(), "nothing", "x", nil); r != errno.ErrPermission.Result() {
		t.Error(r)
	}
}

func TestLock(t *testing.T) {
	c, o := caller{t, Standard(20), lock.Class}, newMemory()
	l := lock.Lock{Name: "rbd_lock", Type: lock.Exclusive, Cookie: "auto 1", Tag: "internal"}
	c.ok(o, lock.MethodLock, l)
	c.fails(errno.ErrExists, o, lock.MethodLock, l)
	o.client.Num++
	c.fails(errno.ErrBusy, o, lock.MethodLock, l)
	c.fails(errno.ErrNotFound, o, lock.MethodUnlock, lock.Unlock{Name: "rbd_lock", Cookie: "auto 1"})
	var info lock.Info
	info.Decode(c.ok(o, lock.MethodGetInfo, lock.GetInfo{Name: "rbd_lock"}))
	if len(info.Lockers) != 1 || info.Lockers[0].Addr.Type != entity.AddrLegacy || info.Tag != "internal" {
		t.Fatalf("%+v", info)
	}
	c.ok(o, lock.MethodBreakLock, lock.BreakLock{Name: "rbd_lock", Locker: info.Lockers[0].Name, Cookie: "auto 1"})
	l.Duration = denc.Time{Sec: 5}
	c.ok(o, lock.MethodLock, l)
	c.ok(o, lock.MethodSetCookie, lock.SetCookie{Name: "rbd_lock", Type: lock.Exclusive, Cookie: "auto 1", Tag: "internal", NewCookie: "auto 2"})
	a := lock.AssertLocked{Name: "rbd_lock", Type: lock.Exclusive, Cookie: "auto 2", Tag: "internal"}
	c.ok(o, lock.MethodAssertLocked, a)
	o.now = o.now.Add(6 * time.Second)
	c.fails(errno.ErrBusy, o, lock.MethodAssertLocked, a)
}

// newImage makes an image's header of four objects.
func newImage(c caller, features uint64) *memory {
	o := newMemory()
	c.ok(o, wire.MethodCreate, uint64(16<<20), uint8(22), features, "rbd_data.1", int64(-1))
	return o
}

func TestSnapshots(t *testing.T) {
	c := caller{t, Standard(20), wire.Class}
	o := newImage(c, wire.FeatureLayering)
	c.fails(errno.ErrExists, o, wire.MethodCreate, uint64(1), uint8(22), uint64(1), "x", int64(-1))
	user := wire.SnapshotNamespace{}
	c.ok(o, wire.MethodSnapshotAdd, "a", uint64(4), user)
	c.fails(errno.ErrStale, o, wire.MethodSnapshotAdd, "b", uint64(3), user)
	c.fails(errno.ErrExists, o, wire.MethodSnapshotAdd, "a", uint64(5), user)
	c.fails(errno.ErrExists, o, wire.MethodSnapshotAdd, "b", uint64(4), user)
	mirror := wire.SnapshotNamespace{Type: wire.SnapMirror, PeerUUIDs: []string{"p", "q"}}
	c.ok(o, wire.MethodSnapshotAdd, "m", uint64(6), mirror)
	c.ok(o, wire.MethodMirrorImageSnapshotUnlinkPeer, uint64(6), "p")
	c.fails(errno.ErrNotFound, o, wire.MethodMirrorImageSnapshotUnlinkPeer, uint64(6), "p")
	c.fails(errno.ErrInvalid, o, wire.MethodMirrorImageSnapshotUnlinkPeer, uint64(4), "q")
	c.ok(o, wire.MethodMirrorImageSnapshotSetCopyProgress, uint64(6), true, uint64(9))
	var info wire.SnapshotInfo
	info.Decode(c.ok(o, wire.MethodSnapshotGet, uint64(6)))
	if n := info.Namespace; len(n.PeerUUIDs) != 1 || !n.Complete || n.LastCopiedObject != 0 {
		t.Errorf("%+v", info)
	}
	r := c.ok(o, wire.MethodGetSnapcontext)
	if seq, ids := r.U64(), denc.Slice(r, 8, u64); seq != 6 || len(ids) != 2 || ids[0] != 6 {
		t.Errorf("snap context %d %v", seq, ids)
	}
	c.fails(errno.ErrRange, o, wire.MethodSnapshotSetLimit, uint64(1))
	c.ok(o, wire.MethodSnapshotSetLimit, uint64(2))
	c.fails(errno.ErrQuota, o, wire.MethodSnapshotAdd, "z", uint64(9), user)
	c.ok(o, wire.MethodSetProtectionStatus, uint64(4), wire.Protected)
	c.fails(errno.ErrBusy, o, wire.MethodSnapshotRemove, uint64(4))
	c.ok(o, wire.MethodSetProtectionStatus, uint64(4), wire.Unprotected)
	c.ok(o, wire.MethodSnapshotTrashAdd, uint64(4))
	if f := c.ok(o, wire.MethodOpFeaturesGet).U64(); f != wire.OpFeatureSnapTrash {
		t.Errorf("op features %#x", f)
	}
	c.ok(o, wire.MethodSnapshotRemove, uint64(4))
	if f := c.ok(o, wire.MethodGetFeatures, wire.NoSnap, false).U64(); f != wire.FeatureLayering {
		t.Errorf("features %#x", f)
	}
}

func TestAStatusIsUpWhileItsWriterWatches(t *testing.T) {
	c, o := caller{t, Standard(20), wire.Class}, newMemory()
	c.fails(errno.ErrInvalid, o, wire.MethodMirrorModeSet, wire.MirrorModeImage)
	c.ok(o, wire.MethodMirrorUUIDSet, "ours")
	c.ok(o, wire.MethodMirrorModeSet, wire.MirrorModeImage)
	image := wire.MirrorImage{GlobalID: "g", State: wire.MirrorImageDisabling, Mode: wire.MirrorImageSnapshot}
	c.fails(errno.ErrNotFound, o, wire.MethodMirrorImageSet, "i", image)
	status := wire.MirrorSiteStatus{State: wire.MirrorStatusReplaying, Description: "replaying", Up: true}
	c.ok(o, wire.MethodMirrorImageStatusSet, "g", status)
	c.fails(errno.ErrNotFound, o, wire.MethodMirrorImageStatusGet, "g")
	image.State = wire.MirrorImageEnabled
	c.ok(o, wire.MethodMirrorImageSet, "i", image)
	c.fails(errno.ErrExists, o, wire.MethodMirrorImageSet, "other", image)
	c.ok(o, wire.MethodMirrorImageStatusSet, "g", status)
	remote := status
	remote.MirrorUUID = "theirs"
	c.ok(o, wire.MethodMirrorImageStatusSet, "g", remote)
	get := func() (s wire.MirrorImageStatus) {
		s.Decode(c.ok(o, wire.MethodMirrorImageStatusGet, "g"))
		return s
	}
	if s := get(); !s.LocalValid || s.Local.Up || len(s.Remotes) != 1 || s.Remotes[0].MirrorUUID != "theirs" {
		t.Errorf("%+v", s)
	}
	o.watchers = []rados.Watcher{{Name: o.client, Addr: o.addr}}
	if s := get(); !s.Local.Up || !s.Remotes[0].Up {
		t.Errorf("%+v", s)
	}
	c.ok(o, wire.MethodMirrorImageStatusRemoveDown)
	o.watchers[0].Addr.Nonce++
	if s := get(); s.Local.Up {
		t.Errorf("up with another client's watch: %+v", s)
	}
	c.fails(errno.ErrStale, o, wire.MethodMirrorImageInstanceGet, "g")
	c.ok(o, wire.MethodMirrorImageStatusRemoveDown)
	c.fails(errno.ErrNotFound, o, wire.MethodMirrorImageStatusGet, "g")
	c.fails(errno.ErrBusy, o, wire.MethodMirrorImageRemove, "i")
}

func TestPeers(t *testing.T) {
	c, o := caller{t, Standard(20), wire.Class}, newMemory()
	p := wire.MirrorPeer{UUID: "p", SiteName: "b", ClientName: "client.x"}
	c.fails(errno.ErrInvalid, o, wire.MethodMirrorPeerAdd, p)
	c.ok(o, wire.MethodMirrorUUIDSet, "ours")
	c.ok(o, wire.MethodMirrorModeSet, wire.MirrorModeImage)
	c.ok(o, wire.MethodMirrorPeerAdd, p)
	c.fails(errno.ErrStale, o, wire.MethodMirrorPeerAdd, p)
	p.UUID = "q"
	c.fails(errno.ErrExists, o, wire.MethodMirrorPeerAdd, p)
	p.SiteName, p.Direction = "c", wire.MirrorPeerTX
	c.fails(errno.ErrInvalid, o, wire.MethodMirrorPeerAdd, p)
	c.ok(o, wire.MethodMirrorPeerPing, "b", "theirs", wire.MirrorPeerTX)
	c.ok(o, wire.MethodMirrorPeerPing, "new", "other", wire.MirrorPeerTX)
	peers := denc.Slice(c.ok(o, wire.MethodMirrorPeerList), 6, one[wire.MirrorPeer])
	if len(peers) != 2 {
		t.Fatalf("%+v", peers)
	}
	for _, p := range peers {
		want := wire.MirrorPeerTX
		if p.UUID == "p" {
			want = wire.MirrorPeerRXTX
		}
		if p.Direction != want || p.MirrorUUID == "" || p.LastSeen.IsZero() {
			t.Errorf("%+v", p)
		}
	}
	c.fails(errno.ErrBusy, o, wire.MethodMirrorModeSet, wire.MirrorModeDisabled)
}

func TestObjectMap(t *testing.T) {
	c, o := caller{t, Standard(20), wire.Class}, newMemory()
	c.ok(o, wire.MethodObjectMapResize, uint64(9), wire.ObjectNonexistent)
	c.ok(o, wire.MethodObjectMapUpdate, uint64(2), uint64(5), wire.ObjectExists, false)
	c.ok(o, wire.MethodObjectMapSnapAdd)
	c.ok(o, wire.MethodObjectMapUpdate, uint64(3), uint64(4), wire.ObjectPending, true, wire.ObjectExists)
	c.fails(errno.ErrRange, o, wire.MethodObjectMapUpdate, uint64(3), uint64(10), wire.ObjectExists, false)
	c.fails(errno.ErrStale, o, wire.MethodObjectMapResize, uint64(2), wire.ObjectNonexistent)
	var m wire.ObjectMap
	m.Decode(c.ok(o, wire.MethodObjectMapLoad))
	for i, want := range []uint8{0, 0, 3, 2, 3, 0, 0, 0, 0} {
		if got := m.Get(uint64(i)); got != want {
			t.Errorf("object %d is %d, want %d", i, got, want)
		}
	}
	c.ok(o, wire.MethodObjectMapSnapRemove, m)
}

func TestJournalTagsExpire(t *testing.T) {
	c, o := caller{t, Standard(20), journal.Class}, newMemory()
	c.ok(o, journal.MethodCreate, uint8(24), uint8(4), int64(-1))
	c.ok(o, journal.MethodClientRegister, "", "")
	c.ok(o, journal.MethodTagCreate, uint64(0), journal.NewTagClass, "")
	c.fails(errno.ErrStale, o, journal.MethodTagCreate, uint64(2), uint64(0), "")
	c.ok(o, journal.MethodTagCreate, uint64(1), uint64(0), "")
	c.ok(o, journal.MethodClientCommit, "", journal.CommitPosition{{Object: 0, TagTID: 1, EntryTID: 5}})
	c.ok(o, journal.MethodClientRegister, "peer", "data")
	c.ok(o, journal.MethodTagCreate, uint64(2), uint64(0), "")
	c.fails(errno.ErrNotFound, o, journal.MethodGetTag, uint64(0))
	tags := denc.Slice(c.ok(o, journal.MethodTagList, journal.TagList{Max: 9, Client: "peer"}), 26, one[journal.Tag])
	if len(tags) != 2 || tags[0].TID != 1 || tags[1].TID != 2 {
		t.Errorf("%+v", tags)
	}
	var peer journal.Client
	peer.Decode(c.ok(o, journal.MethodGetClient, "peer"))
	if len(peer.Commit) != 1 || peer.Commit[0].EntryTID != 5 {
		t.Errorf("%+v", peer)
	}
	d := newMemory()
	c.ok(d, journal.MethodAppend, uint64(4), "entry")
	c.fails(errno.ErrOverflow, d, journal.MethodGuardAppend, uint64(4))
}

// FuzzCall calls every method with anything: none may panic.
func FuzzCall(f *testing.F) {
	f.Add(uint16(0), in("a", uint64(4), wire.SnapshotNamespace{}))
	f.Add(uint16(7), in(lock.Lock{Name: "l", Type: lock.Shared}))
	g := Standard(20)
	type target struct{ class, method string }
	var all []target
	for _, class := range slices.Sorted(maps.Keys(g.classes)) {
		for _, m := range slices.Sorted(maps.Keys(g.classes[class])) {
			all = append(all, target{class, m})
		}
	}
	f.Fuzz(func(_ *testing.T, n uint16, p []byte) {
		for _, o := range []*memory{newMemory(), {exists: true, data: p, xattrs: map[string][]byte{"lock.l": p}, omap: map[string][]byte{
			wire.KeyFeatures: {0xff, 0, 0, 0, 0, 0, 0, 0}, wire.KeySize: p, wire.KeySnapSeq: make([]byte, 8), wire.KeyParent: p, wire.SnapshotKey(4): p, "client_": p,
		}}} {
			for i := range 8 {
				to := all[(int(n)+i)%len(all)]
				g.Call(o, to.class, to.method, p)
			}
		}
	})
}
