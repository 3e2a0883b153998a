package wire

import "fmt"

// The keys in the omap of an image's header (rbd_header.<id>).
const (
	KeySize            = "size"             // u64
	KeyOrder           = "order"            // u8
	KeyFeatures        = "features"         // u64
	KeyObjectPrefix    = "object_prefix"    // string
	KeySnapSeq         = "snap_seq"         // u64
	KeyCreateTimestamp = "create_timestamp" // time
	KeyAccessTimestamp = "access_timestamp" // time
	KeyModifyTimestamp = "modify_timestamp" // time
	KeyFlags           = "flags"            // u64
	KeyOpFeatures      = "op_features"      // u64
	KeyDataPoolID      = "data_pool_id"     // s64
	KeyStripeUnit      = "stripe_unit"      // u64
	KeyStripeCount     = "stripe_count"     // u64
	KeyParent          = "parent"           // Parent
	KeySnapLimit       = "snap_limit"       // u64
	KeyMigration       = "migration"        // MigrationSpec
	KeyGroupRef        = "rbd_group_ref"    // GroupSpec
)

// What the keys of repeated entries begin with.
const (
	PrefixSnapshot     = "snapshot_"      // 16 hex digits: SnapshotRecord
	PrefixSnapChildren = "snap_children_" // 16 hex digits: set of ChildImageSpec
	PrefixMetadata     = "metadata_"      // bytes
	PrefixName         = "name_"          // directories: string id
	PrefixID           = "id_"            // directories: string name; rbd_trash: TrashImageSpec
)

// The keys of rbd_directory, rbd_mirroring and rbd_mirror_leader.
const (
	KeyDirState        = "state"            // u8
	KeyMirrorUUID      = "mirror_uuid"      // bytes, without a length
	KeyMirrorMode      = "mirror_mode"      // u32
	KeyRemoteNamespace = "remote_namespace" // string

	PrefixMirrorPeer         = "mirror_peer_"          // uuid: MirrorPeer
	PrefixMirrorImage        = "image_"                // image id: MirrorImage
	PrefixMirrorGlobal       = "global_"               // global id: string image id
	PrefixMirrorStatus       = "status_global_"        // global id: MirrorStoredStatus
	PrefixMirrorRemoteStatus = "remote_status_global_" // global id "_" mirror uuid: MirrorStoredStatus
	PrefixMirrorInstance     = "instance_"             // instance id: nothing
	PrefixMirrorImageMap     = "image_map_"            // global id: MirrorImageMap
)

// The keys of a group's header (rbd_group_header.<id>).
const (
	PrefixGroupImage     = "image_"      // 16 hex digits "_" image id: u8 state
	PrefixGroupSnap      = "snapshot_"   // id: GroupSnapshot
	PrefixGroupSnapOrder = "snap_order_" // id: u64

	KeyGroupSnapMaxOrder = "snap_max_order" // u64
)

// SnapshotKey returns the key of a snapshot's record.
func SnapshotKey(id uint64) string { return fmt.Sprintf("%s%016x", PrefixSnapshot, id) }

// SnapChildrenKey returns the key of the set of a snapshot's clones.
func SnapChildrenKey(id uint64) string { return fmt.Sprintf("%s%016x", PrefixSnapChildren, id) }

// MirrorStatusKey returns the key of an image's status; mirrorUUID is empty for
// the local site's.
func MirrorStatusKey(globalID, mirrorUUID string) string {
	if mirrorUUID == "" {
		return PrefixMirrorStatus + globalID
	}
	return PrefixMirrorRemoteStatus + globalID + "_" + mirrorUUID
}
