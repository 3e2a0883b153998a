package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// goldenObject is an object that a real cluster stored; see capture_test.go.
type goldenObject struct {
	Name string
	Data string
	Omap map[string]string
}

// golden returns the objects that each release stored.
func golden(t *testing.T) map[string][]goldenObject {
	t.Helper()
	all := map[string][]goldenObject{}
	for _, release := range []string{"16.2", "20.2"} {
		p, err := os.ReadFile(filepath.Join("testdata", release, "objects.json"))
		if err != nil {
			t.Fatal(err)
		}
		var l []goldenObject
		if err := json.Unmarshal(p, &l); err != nil {
			t.Fatal(err)
		}
		all[release] = l
	}
	return all
}

// The types of stored values that are no structs.
type (
	num8     struct{ V uint8 }
	num32    struct{ V uint32 }
	num64    struct{ V uint64 }
	str      struct{ V string }
	stamp    struct{ V denc.Time }
	raw      struct{ V []byte }
	children struct{ V []ChildImageSpec }
	strs     struct{ V []string }
)

func (v *num8) Append(b []byte) []byte  { return denc.AppendU8(b, v.V) }
func (v *num8) Decode(r *denc.Reader)   { v.V = r.U8() }
func (v *num32) Append(b []byte) []byte { return denc.AppendU32(b, v.V) }
func (v *num32) Decode(r *denc.Reader)  { v.V = r.U32() }
func (v *num64) Append(b []byte) []byte { return denc.AppendU64(b, v.V) }
func (v *num64) Decode(r *denc.Reader)  { v.V = r.U64() }
func (v *str) Append(b []byte) []byte   { return denc.AppendString(b, v.V) }
func (v *str) Decode(r *denc.Reader)    { v.V = r.String() }
func (v *stamp) Append(b []byte) []byte { return denc.AppendTime(b, v.V) }
func (v *stamp) Decode(r *denc.Reader)  { v.V = r.Time() }
func (v *raw) Append(b []byte) []byte   { return append(b, v.V...) }
func (v *raw) Decode(r *denc.Reader)    { v.V = r.Rest() }
func (v *strs) Append(b []byte) []byte  { return denc.AppendSlice(b, v.V, denc.AppendString) }
func (v *strs) Decode(r *denc.Reader)   { v.V = denc.Slice(r, 4, (*denc.Reader).String) }
func (v *children) Append(b []byte) []byte {
	return denc.AppendSlice(b, v.V, func(b []byte, c ChildImageSpec) []byte { return c.Append(b) })
}
func (v *children) Decode(r *denc.Reader) {
	v.V = denc.Slice(r, 6, func(r *denc.Reader) (c ChildImageSpec) {
		c.Decode(r)
		return c
	})
}

// headerTypes are the types of the values in a header whose keys do not repeat.
var headerTypes = map[string]codec{
	KeySize: &num64{}, KeyOrder: &num8{}, KeyFeatures: &num64{}, KeyObjectPrefix: &str{}, KeySnapSeq: &num64{}, KeyCreateTimestamp: &stamp{},
	KeyAccessTimestamp: &stamp{}, KeyModifyTimestamp: &stamp{}, KeyFlags: &num64{}, KeyOpFeatures: &num64{}, KeyDataPoolID: &num64{},
	KeyStripeUnit: &num64{}, KeyStripeCount: &num64{}, KeyParent: &Parent{}, KeySnapLimit: &num64{}, KeyMigration: &MigrationSpec{}, KeyGroupRef: &GroupSpec{},
}

// prefixType is the type of the values whose keys begin with a prefix.
type prefixType struct {
	prefix string
	v      codec
}

// repeated lists, for every kind of object, the types of the values whose keys
// repeat; the longest prefix comes first.
var repeated = map[string][]prefixType{
	"rbd_header.":         {{PrefixSnapChildren, &children{}}, {PrefixSnapshot, &SnapshotRecord{}}, {PrefixMetadata, &raw{}}},
	"rbd_directory":       {{PrefixName, &str{}}, {PrefixID, &str{}}, {KeyDirState, &num8{}}},
	"rbd_group_directory": {{PrefixName, &str{}}, {PrefixID, &str{}}},
	"rbd_trash":           {{PrefixID, &TrashImageSpec{}}},
	"rbd_namespace":       {{PrefixName, &raw{}}},
	"rbd_children":        {{"", &strs{}}},
	"rbd_group_header.":   {{PrefixGroupImage, &num8{}}, {PrefixGroupSnapOrder, &num64{}}, {KeyGroupSnapMaxOrder, &num64{}}, {PrefixGroupSnap, &GroupSnapshot{}}},
	"rbd_mirror_leader":   {{PrefixMirrorImageMap, &MirrorImageMap{}}},
	"rbd_mirroring": {{KeyMirrorUUID, &raw{}}, {KeyMirrorMode, &num32{}}, {KeyRemoteNamespace, &str{}}, {PrefixMirrorPeer, &MirrorPeer{}},
		{PrefixMirrorImage, &MirrorImage{}}, {PrefixMirrorGlobal, &str{}}, {PrefixMirrorStatus, &MirrorStoredStatus{}}, {PrefixMirrorRemoteStatus, &MirrorStoredStatus{}}},
}

// typeOf returns the type of a value, and "" or the kind of object for reports.
func typeOf(object, key string) (codec, string) {
	if strings.HasPrefix(object, "rbd_header.") && headerTypes[key] != nil {
		return headerTypes[key], key
	}
	for kind, types := range repeated {
		if object != kind && !(strings.HasSuffix(kind, ".") && strings.HasPrefix(object, kind)) {
			continue
		}
		for _, p := range types {
			if strings.HasPrefix(key, p.prefix) {
				return p.v, kind + " " + p.prefix
			}
		}
	}
	return nil, ""
}

// reencode decodes p as v's type, whole, and compares what it encodes to.
func reencode(t *testing.T, what string, v codec, p []byte) codec {
	t.Helper()
	got := reflect.New(reflect.TypeOf(v).Elem()).Interface().(codec)
	r := denc.NewReader(p)
	got.Decode(r)
	if err := r.Done(); err != nil {
		t.Errorf("%s: %v: %x", what, err, p)
	} else if again := got.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("%s: %+v\nhas  %x\ngave %x", what, got, p, again)
	}
	return got
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOmapsOfRealClusters decodes every value in the omaps of a pool that 16.2
// and 20.2 filled, and encodes it to the same bytes.
func TestOmapsOfRealClusters(t *testing.T) {
	for release, objects := range golden(t) {
		seen := map[string]bool{}
		for _, o := range objects {
			for quoted, v := range o.Omap {
				key, err := strconv.Unquote(`"` + quoted + `"`)
				if err != nil {
					t.Fatal(err)
				}
				c, kind := typeOf(o.Name, key)
				if c == nil {
					t.Errorf("%s: %s: unknown key %q", release, o.Name, key)
					continue
				}
				seen[kind] = true
				checkValue(t, o.Name, key, reencode(t, release+" "+o.Name+" "+quoted, c, unhex(t, v)))
			}
		}
		for _, kind := range []string{KeyParent, KeyMigration, KeyGroupRef, KeyDataPoolID, KeyStripeUnit, KeySnapLimit, KeyOpFeatures, "rbd_header. snapshot_",
			"rbd_header. snap_children_", "rbd_header. metadata_", "rbd_children ", "rbd_trash id_", "rbd_mirroring mirror_peer_", "rbd_mirroring image_",
			"rbd_mirroring status_global_", "rbd_mirroring remote_status_global_", "rbd_mirror_leader image_map_", "rbd_group_header. snapshot_"} {
			if !seen[kind] {
				t.Errorf("%s: no value of kind %q", release, kind)
			}
		}
	}
}

// checkValue checks what is known of the values: what scripts/populate-pool asked
// for.
func checkValue(t *testing.T, object, key string, v codec) {
	t.Helper()
	ok := true
	switch v := v.(type) {
	case *MirrorPeer:
		ok = v.SiteName == "remote" && v.ClientName == "client.x" && v.Direction == MirrorPeerRXTX && v.MirrorUUID == "" && key == PrefixMirrorPeer+v.UUID
	case *MirrorImage:
		ok = v.State == MirrorImageEnabled && v.Mode <= MirrorImageSnapshot && len(v.GlobalID) == 36
	case *MirrorStoredStatus:
		ok = v.Status.State == MirrorStatusReplaying && v.Status.Description == "replaying" && !v.Status.Up && v.Status.MirrorUUID == "" &&
			v.Origin.Addr.Type == 3 && v.Origin.Name.Num > 0 && !v.Status.LastUpdate.IsZero()
	case *MirrorImageMap:
		ok = v.InstanceID == "4193" && v.Mapped == denc.Time{Sec: 5}
	case *SnapshotRecord:
		ok = key == SnapshotKey(v.ID) && v.Name != "" && v.Size > 0 && !v.Timestamp.IsZero() && v.Namespace.Type <= SnapMirror
		if v.Namespace.Type == SnapMirror {
			ok = ok && v.Namespace.State <= MirrorSnapPrimaryDemoted && v.Namespace.Complete
		}
	case *TrashImageSpec:
		ok = (v.Name == "trashed" && v.Source == TrashSourceUser || v.Name == "clone2" && v.Source == TrashSourceMigration) && v.State == TrashStateNormal && !v.Deleted.IsZero()
	case *GroupSnapshot:
		ok = v.Name == "gs" && v.State == GroupSnapComplete && len(v.Snaps) == 1
	case *Parent:
		ok = v.Exists() && v.Pool > 0
	case *MigrationSpec:
		ok = v.Pool > 0 && (v.Header == MigrationSource || v.Header == MigrationDestination)
	}
	if !ok {
		t.Errorf("%s %s: unexpected %+v", object, key, v)
	}
}

// TestBodiesOfRealClusters does the same with object maps, ids and the image
// states of mirror snapshots.
func TestBodiesOfRealClusters(t *testing.T) {
	for release, objects := range golden(t) {
		kinds := map[string]int{}
		for _, o := range objects {
			what, p := release+" "+o.Name, unhex(t, o.Data)
			switch {
			case strings.HasPrefix(o.Name, "rbd_object_map."):
				kinds["map"]++
				reencode(t, what, &ObjectMap{}, p)
			case strings.HasPrefix(o.Name, "rbd_id."):
				kinds["id"]++
				reencode(t, what, &str{}, p)
			case strings.HasPrefix(o.Name, "rbd_mirror_snapshot."):
				kinds["state"]++
				r := denc.NewReader(p)
				var h ImageStateHeader
				h.Decode(r)
				if h.Objects != 1 {
					t.Errorf("%s: over %d objects", what, h.Objects)
				}
				if s := reencode(t, what, &ImageState{}, r.Rest()).(*ImageState); s.Name != "mir" || len(s.Snaps) > 1 {
					t.Errorf("%s: %+v", what, s)
				}
			}
		}
		if kinds["map"] < 3 || kinds["id"] < 5 || kinds["state"] < 2 {
			t.Errorf("%s: only %v", release, kinds)
		}
	}
}
