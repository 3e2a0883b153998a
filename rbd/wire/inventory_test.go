package wire

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

func of[T any, P interface {
	*T
	denctest.Codec
}]() denctest.Codec {
	return P(new(T))
}

// types are all codecs of this package.
var types = denctest.Types{
	"ChildImageSpec": of[ChildImageSpec], "EntityInst": of[EntityInst], "GroupImageSpec": of[GroupImageSpec], "GroupImageStatus": of[GroupImageStatus],
	"GroupSnapshot": of[GroupSnapshot], "GroupSpec": of[GroupSpec], "ImageSnapshotSpec": of[ImageSnapshotSpec], "ImageState": of[ImageState],
	"ImageStateHeader": of[ImageStateHeader], "InstanceAck": of[InstanceAck], "InstanceMessage": of[InstanceMessage], "LeaderMessage": of[LeaderMessage],
	"MigrationSpec": of[MigrationSpec], "MirrorImage": of[MirrorImage], "MirrorImageMap": of[MirrorImageMap], "MirrorImageStatus": of[MirrorImageStatus],
	"MirrorPeer": of[MirrorPeer], "MirrorSiteStatus": of[MirrorSiteStatus], "MirrorStoredStatus": of[MirrorStoredStatus],
	"MirroringMessage": of[MirroringMessage], "NotifyMessage": of[NotifyMessage], "NotifyResponse": of[NotifyResponse], "ObjectMap": of[ObjectMap],
	"Parent": of[Parent], "ParentImageSpec": of[ParentImageSpec], "SnapState": of[SnapState], "SnapshotInfo": of[SnapshotInfo],
	"SnapshotNamespace": of[SnapshotNamespace], "SnapshotRecord": of[SnapshotRecord], "TrashImageSpec": of[TrashImageSpec],
	"ClientID":  func() denctest.Codec { v := &ClientID{}; return denctest.Wrap(v, v.appendTo, v.decode) },
	"RequestID": func() denctest.Codec { v := &RequestID{}; return denctest.Wrap(v, v.appendTo, v.decode) },
}

func (c *ClientID) appendTo(b []byte) []byte  { return c.append(b) }
func (q *RequestID) appendTo(b []byte) []byte { return q.append(b) }

// methods says what the methods of class rbd take and give.
var methods = denctest.Schemas{
	MethodAddChild: {"s64 str u64 str"}, MethodRemoveChild: {"s64 str u64 str"}, MethodGetChildren: {"s64 str u64", "[]str"},
	MethodAssertSnapcSeq: {"u64 u8"}, MethodChildAttach: {"u64 ChildImageSpec"}, MethodChildDetach: {"u64 ChildImageSpec"},
	MethodChildrenList: {"u64", "[]ChildImageSpec"}, MethodCreate: {"u64 u8 u64 str s64"},
	MethodDirAddImage: {"str str"}, MethodDirRemoveImage: {"str str"}, MethodDirRenameImage: {"str str str"}, MethodDirGetID: {"str", "str"},
	MethodDirGetName: {"str", "str"}, MethodDirList: {"str u64", "{str:str}"}, MethodDirStateAssert: {"u8"}, MethodDirStateSet: {"u8"},
	MethodGetAccessTimestamp: {"", "time"}, MethodGetCreateTimestamp: {"", "time"}, MethodGetModifyTimestamp: {"", "time"},
	MethodSetAccessTimestamp: {""}, MethodSetModifyTimestamp: {""},
	MethodGetAllFeatures: {"", "u64"}, MethodGetDataPool: {"", "s64"}, MethodGetFeatures: {"u64 bool", "u64 u64"}, MethodGetFlags: {"u64", "u64"},
	MethodGetID: {"", "str"}, MethodSetID: {"str"}, MethodGetObjectPrefix: {"", "str"}, MethodGetProtectionStatus: {"u64", "u8"},
	MethodSetProtectionStatus: {"u64 u8"}, MethodGetSize: {"u64", "u8 u64"}, MethodSetSize: {"u64"}, MethodGetSnapcontext: {"", "u64 []u64"},
	MethodGetStripeUnitCount: {"", "u64 u64"}, MethodSetStripeUnitCount: {"u64 u64"}, MethodSetFeatures: {"u64 u64"}, MethodSetFlags: {"u64 u64 u64"},
	MethodOpFeaturesGet: {"", "u64"}, MethodOpFeaturesSet: {"u64 u64"},
	MethodGroupDirAdd: {"str str"}, MethodGroupDirRemove: {"str str"}, MethodGroupDirRename: {"str str str"}, MethodGroupDirList: {"str u64", "{str:str}"},
	MethodGroupImageList: {"GroupImageSpec u64", "[]GroupImageStatus"}, MethodGroupImageRemove: {"GroupImageSpec"}, MethodGroupImageSet: {"GroupImageStatus"},
	MethodGroupSnapList: {"GroupSnapshot u64", "[]GroupSnapshot"}, MethodGroupSnapListOrder: {"str u64", "{str:u64}"}, MethodGroupSnapRemove: {"str"},
	MethodGroupSnapSet: {"GroupSnapshot"}, MethodGroupSnapGetByID: {"str", "GroupSnapshot"},
	MethodImageGroupAdd: {"GroupSpec"}, MethodImageGroupGet: {"", "GroupSpec"}, MethodImageGroupRemove: {"GroupSpec"},
	MethodMetadataGet: {"str", "str"}, MethodMetadataList: {"str u64", "{str:str}"}, MethodMetadataRemove: {"str"}, MethodMetadataSet: {"{str:str}"},
	MethodMigrationGet: {"", "MigrationSpec"}, MethodMigrationRemove: {""}, MethodMigrationSet: {"MigrationSpec"}, MethodMigrationSetState: {"u8 str"},
	MethodMirrorImageGet: {"str", "MirrorImage"}, MethodMirrorImageGetImageID: {"str", "str"}, MethodMirrorImageInstanceGet: {"str", "EntityInst"},
	MethodMirrorImageInstanceList: {"str u64", "{str:EntityInst}"}, MethodMirrorImageList: {"str u64", "{str:str}"},
	MethodMirrorImageMapList: {"str u64", "{str:MirrorImageMap}"}, MethodMirrorImageMapRemove: {"str"}, MethodMirrorImageMapUpdate: {"str MirrorImageMap"},
	MethodMirrorImageRemove: {"str"}, MethodMirrorImageSet: {"str MirrorImage"}, MethodMirrorImageSnapshotSetCopyProgress: {"u64 bool u64"},
	MethodMirrorImageSnapshotUnlinkPeer: {"u64 str"}, MethodMirrorImageStatusGet: {"str", "MirrorImageStatus"},
	MethodMirrorImageStatusList:       {"str u64", "{str:MirrorImage} {str:MirrorImageStatus}"},
	MethodMirrorImageStatusGetSummary: {"[]MirrorPeer", "{u8:u32}"}, MethodMirrorImageStatusRemove: {"str"}, MethodMirrorImageStatusRemoveDown: {""},
	MethodMirrorImageStatusSet: {"str MirrorSiteStatus"}, MethodMirrorInstancesAdd: {"str"}, MethodMirrorInstancesList: {"", "[]str"},
	MethodMirrorInstancesRemove: {"str"}, MethodMirrorModeGet: {"", "u32"}, MethodMirrorModeSet: {"u32"}, MethodMirrorPeerAdd: {"MirrorPeer"},
	MethodMirrorPeerList: {"", "[]MirrorPeer"}, MethodMirrorPeerPing: {"str str u8"}, MethodMirrorPeerSetClient: {"str str"}, MethodMirrorPeerRemove: {"str"},
	MethodMirrorPeerSetCluster: {"str str"}, MethodMirrorPeerSetDirection: {"str u8"}, MethodMirrorRemoteNamespaceGet: {"", "str"},
	MethodMirrorUUIDGet: {"", "str"}, MethodMirrorUUIDSet: {"str"}, MethodNamespaceAdd: {"str"}, MethodNamespaceRemove: {"str"},
	MethodNamespaceList: {"str u64", "[]str"}, MethodObjectMapLoad: {"", "ObjectMap"}, MethodObjectMapResize: {"u64 u8"}, MethodObjectMapSave: {"ObjectMap"},
	MethodObjectMapSnapAdd: {""}, MethodObjectMapSnapRemove: {"ObjectMap"}, MethodObjectMapUpdate: {"u64 u64 u8 ?u8"},
	MethodParentAttach: {"ParentImageSpec u64 bool"}, MethodParentDetach: {""}, MethodParentGet: {"", "ParentImageSpec"}, MethodParentOverlapGet: {"u64", "?u64"},
	MethodSnapshotAdd: {"str u64 SnapshotNamespace"}, MethodSnapshotGet: {"u64", "SnapshotInfo"}, MethodSnapshotGetLimit: {"", "u64"},
	MethodSnapshotSetLimit: {"u64"}, MethodSnapshotRemove: {"u64"}, MethodSnapshotRename: {"u64 str"}, MethodSnapshotTrashAdd: {"u64"},
	MethodSparseCopyup: {"{u64:u64} str"}, MethodCopyup: {"rest"}, MethodSparsify: {"u64 bool"}, MethodTrashAdd: {"str TrashImageSpec"},
	MethodTrashGet: {"str", "TrashImageSpec"}, MethodTrashList: {"str u64", "{str:TrashImageSpec}"}, MethodTrashRemove: {"str"}, MethodTrashStateSet: {"str u8 u8"},
}

// TestEveryTypeHasGoldenBytes holds every codec to what librbd and rbd-mirror of
// the releases said to each other and called, and to what they stored.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(ObjectMap{})
	ops := map[NotifyOp]bool{}
	inv.Golden(t, types, func(t *testing.T, release string, val denctest.Value, c denctest.Codec) {
		if m, ok := c.(*NotifyMessage); ok {
			ops[m.Op] = true
		}
		checkMessage(t, val, c)
	})
	for op := range NotifyMetadataUpdate + 1 {
		if unseen := []NotifyOp{NotifySnapRename, NotifySnapProtect, NotifySnapUnprotect, NotifyMigrate}; !ops[op] && !slices.Contains(unseen, op) {
			t.Errorf("no notification of kind %d", op)
		}
	}
	inv.Calls(t, types, methods)
	for release, objects := range golden(t) {
		for _, o := range objects {
			noteObject(t, inv, release, o)
		}
	}
	inv.Complete(t, types, nil)
}

// noteObject counts what the other tests of this package hold to their bytes.
func noteObject(t *testing.T, inv *denctest.Inventory, release string, o goldenObject) {
	for _, quoted := range slices.Sorted(maps.Keys(o.Omap)) {
		key, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil {
			t.Fatal(err)
		}
		if c, _ := typeOf(o.Name, key); c != nil {
			inv.Note(release, reencode(t, o.Name, c, unhex(t, o.Omap[quoted])))
		}
	}
	if strings.HasPrefix(o.Name, "rbd_mirror_snapshot.") {
		r := denc.NewReader(unhex(t, o.Data))
		var h ImageStateHeader
		h.Decode(r)
		inv.Note(release, h)
		inv.Note(release, reencode(t, o.Name, &ImageState{}, r.Rest()))
	}
}

// checkMessage checks what is known of what scripts/golden-traffic did.
func checkMessage(t *testing.T, val denctest.Value, c denctest.Codec) {
	ok := true
	switch v := c.(type) {
	case *NotifyMessage:
		switch v.Op {
		case NotifyAcquiredLock, NotifyReleasedLock, NotifyRequestLock:
			ok = v.Client.GID > 0 && v.Client.Handle > 0 && !v.Force
		case NotifyHeaderUpdate:
		case NotifyAsyncProgress:
			ok = v.Total >= v.Offset && v.Total > 0
		case NotifyAsyncComplete:
			ok = v.Result == 0
		case NotifyResize:
			ok = v.Size == 72<<20 && !v.AllowShrink
		case NotifySnapCreate:
			ok = v.Name == "one" && v.Namespace.Type == SnapUser && v.Flags == 0
		case NotifySnapRemove:
			ok = v.Name == "two"
		case NotifyRename:
			ok = v.Name == "common"
		case NotifyUpdateFeatures:
			ok = v.Features == FeatureFastDiff && !v.Enabled
		case NotifySparsify:
			ok = v.Size == 4096
		case NotifyMetadataUpdate:
			ok = v.Name == "k" && (v.Value == nil || *v.Value == "v")
		}
		if v.Op > NotifyHeaderUpdate {
			ok = ok && v.Request.ID > 0 && v.Request.Client.GID > 0
		}
	case *NotifyResponse:
		ok = v.Result == 0
	case *LeaderMessage:
		ok = v.Op <= LeaderLockReleased
	case *MirroringMessage:
		ok = v.Op == MirroringModeUpdated && v.Mode <= MirrorModePool || v.Op == MirroringImageUpdated && len(v.GlobalID) == 36 && v.ImageID != ""
	case *InstanceMessage:
		ok = len(v.GlobalID) == 36 || v.SyncID != ""
	case *InstanceAck:
		ok = v.InstanceID != "" && v.RequestID > 0 && v.Result == 0
	}
	if !ok {
		t.Errorf("%s: unexpected %+v", val.From, c)
	}
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	names := map[string]string{
		"BitVector<2>": "ObjectMap", "ceph::BitVector<2>": "ObjectMap", "cls_rbd_parent": "Parent", "cls_rbd_snap": "SnapshotRecord",
		"entity_inst_t": "EntityInst", "librbd::mirroring_watcher::NotifyMessage": "MirroringMessage", "librbd::watch_notify::NotifyMessage": "NotifyMessage",
		"librbd::watch_notify::ResponseMessage": "NotifyResponse", "ResponseMessage": "NotifyResponse", "ImageState": "ImageState",
		"ImageStateHeader": "ImageStateHeader", "MirrorImageSiteStatus": "MirrorSiteStatus", "cls::rbd::MirrorImageSiteStatus": "MirrorSiteStatus",
		"MirrorImageSiteStatusOnDisk": "MirrorStoredStatus", "cls::rbd::MirrorImageSiteStatusOnDisk": "MirrorStoredStatus",
	}
	for _, name := range []string{"ChildImageSpec", "GroupImageSpec", "GroupImageStatus", "GroupSnapshot", "GroupSpec", "ImageSnapshotSpec", "MigrationSpec",
		"MirrorImage", "MirrorImageMap", "MirrorImageStatus", "MirrorPeer", "ParentImageSpec", "SnapshotInfo", "SnapshotNamespace", "TrashImageSpec"} {
		names[name], names["cls::rbd::"+name] = name, name
	}
	denctest.Corpus(t, types, names, nil)
}
