//go:build interop

package fakecluster_test

import (
	"fmt"
	"slices"
	"strings"

	journal "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rados/wire"
	rbd "github.com/rbdm/rbdm/rbd/wire"
)

// argument makes a part of a class method's input.
type argument func(m *maker) []byte

// method is a method of a class that a script may call.
type method struct {
	name  string
	write bool
	blind bool // its output has times, addresses or random names
	args  []argument
}

func (m *maker) small() uint64 {
	switch m.r.IntN(12) {
	case 0:
		return ^uint64(1) // CEPH_NOSNAP
	case 1:
		return ^uint64(0)
	case 2:
		return m.r.Uint64()
	}
	return m.r.Uint64N(6)
}

func num(m *maker) []byte   { return denc.AppendU64(nil, m.small()) }
func count(m *maker) []byte { return denc.AppendU64(nil, pick[uint64](m, 0, 1, 2, 3, 100)) }
func octet(m *maker) []byte { return []byte{pick(m, 0, 1, 2, 3, byte(m.r.IntN(256)))} }
func flag(m *maker) []byte  { return []byte{byte(m.r.IntN(2))} }
func word(m *maker) []byte  { return denc.AppendU32(nil, m.r.Uint32N(5)) }
func order(m *maker) []byte { return []byte{pick[byte](m, 22, 12, 25)} }
func size(m *maker) []byte {
	return denc.AppendU64(nil, pick[uint64](m, 0, 1, 1<<20, 4<<20, 10<<20, m.small()))
}

// nothing is an argument that is left out, as are all behind it.
func maybe(a argument) argument {
	return func(m *maker) []byte {
		if m.chance(50) {
			return nil
		}
		return a(m)
	}
}

func (m *maker) id() string {
	if m.chance(4) {
		return pick(m, "", "with space", "a.b")
	}
	return fmt.Sprint("i", m.r.IntN(4))
}

func id(m *maker) []byte   { return denc.AppendString(nil, m.id()) }
func name(m *maker) []byte { return denc.AppendString(nil, m.key()) }
func blob(m *maker) []byte { return denc.AppendBytes(nil, m.value()) }
func raw(m *maker) []byte {
	p := make([]byte, m.r.IntN(120))
	for i := range p {
		p[i] = m.letter()
	}
	return p
}

func features(m *maker) []byte {
	return denc.AppendU64(nil, pick[uint64](m, 1, 61, 125, 3, 63, 61|128, 256|61, 0, 1<<20, m.r.Uint64N(4096)))
}
func pool(m *maker) []byte { return denc.AppendS64(nil, pick[int64](m, 1, 2, -1, 0)) }

func snapNamespace(m *maker) []byte {
	n := rbd.SnapshotNamespace{Type: m.r.Uint32N(4)}
	switch n.Type {
	case rbd.SnapGroup:
		n.GroupPool, n.GroupID, n.GroupSnapID = int64(m.r.IntN(3)), m.id(), m.id()
	case rbd.SnapTrash:
		n.OriginalName, n.OriginalType = m.key(), m.r.Uint32N(4)
	case rbd.SnapMirror:
		n.State, n.Complete, n.PrimaryMirrorUUID, n.PrimarySnapID = uint8(m.r.IntN(4)), m.chance(50), m.id(), m.r.Uint64N(5)
		if m.chance(60) {
			n.PeerUUIDs = []string{m.id()}
			if l := m.id(); l > n.PeerUUIDs[0] {
				n.PeerUUIDs = append(n.PeerUUIDs, l)
			}
		}
	}
	return n.Append(nil)
}

func child(m *maker) []byte {
	return rbd.ChildImageSpec{Pool: int64(m.r.IntN(3)), ImageID: m.id(), Namespace: pick(m, "", "n")}.Append(nil)
}
func parent(m *maker) []byte {
	return rbd.ParentImageSpec{Pool: int64(m.r.IntN(3)), Namespace: pick(m, "", "n"), ImageID: m.id(), SnapID: m.small()}.Append(nil)
}
func group(m *maker) []byte {
	return rbd.GroupSpec{Pool: int64(m.r.IntN(3)) - 1, ID: m.id()}.Append(nil)
}
func groupImage(m *maker) []byte {
	return rbd.GroupImageSpec{ImageID: m.id(), Pool: int64(m.r.IntN(3)) - 1}.Append(nil)
}
func groupImageStatus(m *maker) []byte {
	return rbd.GroupImageStatus{Spec: rbd.GroupImageSpec{ImageID: m.id(), Pool: int64(m.r.IntN(2))}, State: uint8(m.r.IntN(3))}.Append(nil)
}
func groupSnap(m *maker) []byte {
	return rbd.GroupSnapshot{ID: m.id(), Name: m.key(), State: uint8(m.r.IntN(2))}.Append(nil)
}
func trash(m *maker) []byte {
	return rbd.TrashImageSpec{Source: uint8(m.r.IntN(4)), Name: m.key(), Deleted: denc.Time{Sec: 5}, Until: denc.Time{Sec: 9}, State: uint8(m.r.IntN(4))}.Append(nil)
}
func peer(m *maker) []byte {
	return rbd.MirrorPeer{UUID: m.id(), SiteName: m.id(), ClientName: m.id(), Direction: uint8(m.r.IntN(3)), MirrorUUID: pick(m, "", m.id())}.Append(nil)
}
func mirrorImage(m *maker) []byte {
	return rbd.MirrorImage{GlobalID: pick(m, "g1", "g2", "g3", ""), State: uint8(m.r.IntN(4)), Mode: uint8(m.r.IntN(2))}.Append(nil)
}
func global(m *maker) []byte { return denc.AppendString(nil, pick(m, "g1", "g2", "g3", "g4", "")) }
func imageMap(m *maker) []byte {
	return rbd.MirrorImageMap{InstanceID: m.id(), Mapped: denc.Time{Sec: 7}, Data: m.value()}.Append(nil)
}
func status(m *maker) []byte {
	return rbd.MirrorSiteStatus{MirrorUUID: pick(m, "", "", "u1"), State: uint8(m.r.IntN(7)), Description: m.key(), Up: m.chance(50)}.Append(nil)
}
func migration(m *maker) []byte {
	return rbd.MigrationSpec{Header: uint8(1 + m.r.IntN(2)), Pool: 1, ImageName: m.key(), ImageID: m.id(), State: uint8(m.r.IntN(4))}.Append(nil)
}
func objectMap(m *maker) []byte {
	n := uint64(m.r.IntN(20))
	p := make([]byte, (n+3)/4)
	for i := range p {
		p[i] = byte(m.r.IntN(256))
	}
	return rbd.ObjectMap{Objects: n, Packed: p}.Append(nil)
}
func position(m *maker) []byte {
	var c journal.CommitPosition
	for i := range m.r.IntN(5) {
		c = append(c, journal.ObjectPosition{Object: uint64(i), TagTID: m.r.Uint64N(4), EntryTID: m.r.Uint64N(9)})
	}
	return c.Append(nil)
}
func tagList(m *maker) []byte {
	l := journal.TagList{After: m.r.Uint64N(5), Max: pick[uint64](m, 0, 1, 2, 10), Client: m.id()}
	if m.chance(50) {
		c := m.r.Uint64N(3)
		l.Class = &c
	}
	return l.Append(nil)
}
func lockName(m *maker) string    { return pick(m, "l1", "l1", "l2", "") }
func cookie(m *maker) string      { return pick(m, "c1", "c2", "") }
func lockTag(m *maker) string     { return pick(m, "", "", "t") }
func lockType(m *maker) lock.Type { return lock.Type(pick(m, 1, 1, 2, 3, 0, 4)) }

// role is an object and the methods of the class that are called on it.
type role struct {
	object, class string
	methods       []method
}

// roles are the objects that classes are called on; what others call them does
// not matter. read-only.
var roles = []role{
	{"header", "rbd", []method{
		{"create", true, false, []argument{size, order, features, name, maybe(pool)}},
		{"get_features", false, false, []argument{num, maybe(flag)}},
		{"set_features", true, false, []argument{features, features}},
		{"get_size", false, false, []argument{num}},
		{"set_size", true, false, []argument{size}},
		{"get_object_prefix", false, false, nil},
		{"get_data_pool", false, false, nil},
		{"get_all_features", false, false, []argument{num}},
		{"get_stripe_unit_count", false, false, nil},
		{"set_stripe_unit_count", true, false, []argument{size, count}},
		{"get_create_timestamp", false, true, nil},
		{"get_access_timestamp", false, true, nil},
		{"get_modify_timestamp", false, true, nil},
		{"set_access_timestamp", true, false, nil},
		{"set_modify_timestamp", true, false, nil},
		{"get_flags", false, false, []argument{num}},
		{"set_flags", true, false, []argument{num, num, maybe(num)}},
		{"op_features_get", false, false, nil},
		{"op_features_set", true, false, []argument{num, num}},
		{"metadata_list", false, false, []argument{name, count}},
		{"metadata_set", true, false, []argument{func(m *maker) []byte {
			return denc.AppendMap(nil, map[string][]byte{m.key(): m.value(), m.key(): m.value()}, denc.AppendString, denc.AppendBytes)
		}}},
		{"metadata_remove", true, false, []argument{name}},
		{"metadata_get", false, false, []argument{name}},
		{"migration_set", true, false, []argument{migration}},
		{"migration_set_state", true, false, []argument{octet, name}},
		{"migration_get", false, false, nil},
		{"migration_remove", true, false, nil},
		{"get_snapcontext", false, false, nil},
		{"get_snapshot_name", false, false, []argument{num}},
		{"get_snapshot_timestamp", false, true, []argument{num}},
		{"snapshot_get", false, true, []argument{num}},
		{"snapshot_add", true, false, []argument{name, num, maybe(snapNamespace)}},
		{"snapshot_add", true, false, []argument{name, num, snapNamespace}},
		{"snapshot_rename", true, false, []argument{num, name}},
		{"snapshot_remove", true, false, []argument{num}},
		{"snapshot_trash_add", true, false, []argument{num}},
		{"snapshot_get_limit", false, false, nil},
		{"snapshot_set_limit", true, false, []argument{num}},
		{"get_protection_status", false, false, []argument{num}},
		{"set_protection_status", true, false, []argument{num, octet}},
		{"child_attach", true, false, []argument{num, child}},
		{"child_detach", true, false, []argument{num, child}},
		{"children_list", false, false, []argument{num}},
		{"mirror_image_snapshot_unlink_peer", true, false, []argument{num, id}},
		{"mirror_image_snapshot_set_copy_progress", true, false, []argument{num, flag, num}},
		{"get_parent", false, false, []argument{num}},
		{"set_parent", true, false, []argument{pool, id, num, size}},
		{"remove_parent", true, false, nil},
		{"parent_get", false, false, nil},
		{"parent_overlap_get", false, false, []argument{num}},
		{"parent_attach", true, false, []argument{parent, size, maybe(flag)}},
		{"parent_detach", true, false, nil},
		{"image_group_add", true, false, []argument{group}},
		{"image_group_remove", true, false, []argument{group}},
		{"image_group_get", false, false, nil},
		{"assert_snapc_seq", true, false, []argument{num, octet}},
	}},
	{"directory", "rbd", []method{
		{"add_child", true, false, []argument{num, id, num, id}},
		{"remove_child", true, false, []argument{num, id, num, id}},
		{"get_children", false, false, []argument{num, id, num}},
		{"get_id", false, false, nil},
		{"set_id", true, false, []argument{id}},
		{"dir_get_id", false, false, []argument{name}},
		{"dir_get_name", false, false, []argument{id}},
		{"dir_list", false, false, []argument{name, count}},
		{"dir_add_image", true, false, []argument{name, id}},
		{"dir_remove_image", true, false, []argument{name, id}},
		{"dir_rename_image", true, false, []argument{name, name, id}},
		{"dir_state_assert", false, false, []argument{word}},
		{"dir_state_set", true, false, []argument{word}},
		{"trash_add", true, false, []argument{id, trash}},
		{"trash_remove", true, false, []argument{id}},
		{"trash_list", false, false, []argument{id, count}},
		{"trash_get", false, false, []argument{id}},
		{"trash_state_set", true, false, []argument{id, octet, octet}},
		{"namespace_add", true, false, []argument{name}},
		{"namespace_remove", true, false, []argument{name}},
		{"namespace_list", false, false, []argument{name, count}},
		{"group_dir_list", false, false, []argument{name, count}},
		{"group_dir_add", true, false, []argument{name, id}},
		{"group_dir_remove", true, false, []argument{name, id}},
		{"group_dir_rename", true, false, []argument{name, name, id}},
	}},
	{"group", "rbd", []method{
		{"group_image_set", true, false, []argument{groupImageStatus}},
		{"group_image_remove", true, false, []argument{groupImage}},
		{"group_image_list", false, false, []argument{groupImage, count}},
		{"group_snap_set", true, false, []argument{groupSnap}},
		{"group_snap_remove", true, false, []argument{id}},
		{"group_snap_get_by_id", false, false, []argument{id}},
		{"group_snap_list", false, false, []argument{groupSnap, count}},
		{"group_snap_list_order", false, false, []argument{id, count}},
	}},
	{"mirroring", "rbd", []method{
		{"mirror_uuid_get", false, false, nil},
		{"mirror_uuid_set", true, false, []argument{id}},
		{"mirror_mode_get", false, false, nil},
		{"mirror_mode_set", true, false, []argument{word}},
		{"mirror_remote_namespace_get", false, false, nil},
		{"mirror_remote_namespace_set", true, false, []argument{id}},
		{"mirror_peer_ping", true, false, []argument{id, id, octet}},
		{"mirror_peer_list", false, true, nil},
		{"mirror_peer_add", true, false, []argument{peer}},
		{"mirror_peer_remove", true, false, []argument{id}},
		{"mirror_peer_set_client", true, false, []argument{id, id}},
		{"mirror_peer_set_cluster", true, false, []argument{id, id}},
		{"mirror_peer_set_direction", true, false, []argument{id, octet}},
		{"mirror_image_list", false, false, []argument{id, count}},
		{"mirror_image_get_image_id", false, false, []argument{global}},
		{"mirror_image_get", false, false, []argument{id}},
		{"mirror_image_set", true, false, []argument{id, mirrorImage}},
		{"mirror_image_remove", true, false, []argument{id}},
		{"mirror_image_status_set", true, false, []argument{global, status}},
		{"mirror_image_status_remove", true, false, []argument{global}},
		{"mirror_image_status_get", false, true, []argument{global}},
		{"mirror_image_status_list", false, true, []argument{id, count}},
		{"mirror_image_status_get_summary", false, false, nil},
		{"mirror_image_status_remove_down", true, false, nil},
		{"mirror_image_instance_get", false, true, []argument{global}},
		{"mirror_image_instance_list", false, true, []argument{id, count}},
		{"mirror_instances_list", false, false, nil},
		{"mirror_instances_add", true, false, []argument{id}},
		{"mirror_instances_remove", true, false, []argument{id}},
		{"mirror_image_map_list", false, false, []argument{id, count}},
		{"mirror_image_map_update", true, false, []argument{global, imageMap}},
		{"mirror_image_map_remove", true, false, []argument{global}},
	}},
	{"map", "rbd", []method{
		{"object_map_load", false, false, nil},
		{"object_map_save", true, false, []argument{objectMap}},
		{"object_map_resize", true, false, []argument{func(m *maker) []byte { return denc.AppendU64(nil, m.r.Uint64N(40)) }, octet}},
		{"object_map_update", true, false, []argument{
			func(m *maker) []byte { return denc.AppendU64(nil, m.r.Uint64N(20)) },
			func(m *maker) []byte { return denc.AppendU64(nil, m.r.Uint64N(24)) }, octet,
			func(m *maker) []byte { return pick(m, []byte{0}, []byte{1, byte(m.r.IntN(4))}) }}},
		{"object_map_snap_add", true, false, nil},
		{"object_map_snap_remove", true, false, []argument{objectMap}},
	}},
	{"data", "rbd", []method{
		{"copyup", true, false, []argument{raw}},
		{"sparse_copyup", true, false, []argument{func(m *maker) []byte {
			off, n := m.near(), uint64(m.r.IntN(60))
			b := denc.AppendU32(nil, 1)
			return denc.AppendU64(denc.AppendU64(b, off), n)
		}, func(m *maker) []byte { return denc.AppendBytes(nil, raw(m)) }}},
		// In steps of 0 bytes it never ends, and nor does the OSD.
		{"sparsify", true, false, []argument{func(m *maker) []byte { return denc.AppendU64(nil, pick[uint64](m, 512, 4096, 65536)) }, flag}},
		{"assert_snapc_seq", true, false, []argument{num, octet}},
	}},
	{"oldheader", "rbd", []method{
		{"snap_list", false, false, nil},
		{"snap_add", true, false, []argument{name, num}},
		{"snap_add", true, false, []argument{id, num}},
		{"snap_remove", true, false, []argument{name}},
		{"snap_remove", true, false, []argument{id}},
		{"snap_rename", true, false, []argument{num, name}},
		{"snapshot_set_limit", true, false, []argument{num}},
		{"migration_set", true, false, []argument{migration}},
		{"migration_set_state", true, false, []argument{octet, name}},
		{"migration_get", false, false, nil},
		{"migration_remove", true, false, nil},
	}},
	{"journal", "journal", []method{
		{"create", true, false, []argument{order, octet, pool}},
		{"get_order", false, false, nil}, {"get_splay_width", false, false, nil}, {"get_pool_id", false, false, nil},
		{"get_minimum_set", false, false, nil}, {"get_active_set", false, false, nil}, {"get_next_tag_tid", false, false, nil},
		{"set_minimum_set", true, false, []argument{num}},
		{"set_active_set", true, false, []argument{num}},
		{"get_client", false, false, []argument{id}},
		{"client_register", true, false, []argument{id, blob}},
		{"client_update_data", true, false, []argument{id, blob}},
		{"client_update_state", true, false, []argument{id, octet}},
		{"client_unregister", true, false, []argument{id}},
		{"client_commit", true, false, []argument{id, position}},
		{"client_list", false, false, []argument{id, count}},
		{"get_tag", false, false, []argument{num}},
		{"tag_create", true, false, []argument{num, num, blob}},
		{"tag_list", false, false, []argument{tagList}},
		{"guard_append", true, false, []argument{size}},
		{"append", true, false, []argument{size, blob}},
	}},
	{"lock", "lock", []method{
		{"lock", true, false, []argument{func(m *maker) []byte {
			return lock.Lock{Name: lockName(m), Type: lockType(m), Cookie: cookie(m), Tag: lockTag(m), Description: m.key(), Duration: denc.Time{Sec: pick[uint32](m, 0, 0, 900)}, Flags: byte(m.r.IntN(4))}.Append(nil)
		}}},
		{"unlock", true, false, []argument{func(m *maker) []byte { return lock.Unlock{Name: lockName(m), Cookie: cookie(m)}.Append(nil) }}},
		{"break_lock", true, false, []argument{func(m *maker) []byte {
			return lock.BreakLock{Name: lockName(m), Locker: entity.Name{Type: entity.TypeClient, Num: 77}, Cookie: cookie(m)}.Append(nil)
		}}},
		{"get_info", false, true, []argument{func(m *maker) []byte { return lock.GetInfo{Name: lockName(m)}.Append(nil) }}},
		{"list_locks", false, false, nil},
		{"assert_locked", true, false, []argument{func(m *maker) []byte {
			return lock.AssertLocked{Name: lockName(m), Type: lockType(m), Cookie: cookie(m), Tag: lockTag(m)}.Append(nil)
		}}},
		{"set_cookie", true, false, []argument{func(m *maker) []byte {
			return lock.SetCookie{Name: lockName(m), Type: lockType(m), Cookie: cookie(m), Tag: lockTag(m), NewCookie: cookie(m)}.Append(nil)
		}}},
	}},
	{"hello", "hello", []method{
		{"say_hello", false, false, []argument{raw}},
		{"record_hello", true, false, []argument{raw}},
		{"write_return_data", true, false, []argument{maybe(flag)}},
		{"writes_dont_return_data", true, false, []argument{maybe(flag)}},
		{"write_too_much_return_data", true, false, []argument{maybe(flag)}},
		{"replay", false, false, nil},
		{"turn_it_to_11", true, false, nil},
		{"bad_reader", true, false, nil},
		{"bad_writer", false, false, nil},
	}},
	{"numops", "numops", []method{
		{"add", true, false, []argument{name, func(m *maker) []byte { return denc.AppendString(nil, pick(m, "1", "2.5", "-3", "x", "", "1e400")) }}},
		{"mul", true, false, []argument{name, func(m *maker) []byte { return denc.AppendString(nil, pick(m, "2", "0.5", "-3", "x")) }}},
	}},
	{"other", "nosuchclass", []method{{"x", false, false, nil}}},
	{"other", "rbd", []method{{"nosuchmethod", false, false, nil}}},
}

// classStep makes a step of calls.
func (m *maker) classStep(st *rawStep) {
	m.writes, m.reads, m.copied, m.keyed = false, false, false, false
	role := roles[m.r.IntN(len(roles))]
	if m.chance(15) {
		role = moreRoles[m.r.IntN(len(moreRoles))]
	} else if m.chance(30) {
		role = roles[0]
	}
	if role.object == "directory" {
		role = apart(role, m.chance(30))
	}
	st.Object = role.object
	n, wrote := 1, false
	keepsData := slices.Contains([]string{"map", "oldheader", "hello", "data"}, role.object)
	m.blank = keepsData
	if m.chance(30) {
		n = 1 + m.r.IntN(4)
		if keepsData {
			// An OSD that is to read what the same vector has replaced finds that its
			// checksum is another, and waits for ever for what could repair it. An
			// object that is not there yet has none.
			m.fresh++
			st.Object = fmt.Sprint(role.object, "-", m.fresh)
		}
	}
	for range n {
		f := role.methods[m.r.IntN(len(role.methods))]
		for wrote && listsKeys(role.class, f.name) {
			f = role.methods[m.r.IntN(len(role.methods))]
		}
		wrote = wrote || f.write
		st.Ops = append(st.Ops, m.call(role.class, f))
	}
	if role.object == "oldheader" && m.chance(20) {
		if n == 1 {
			st.Ops = nil
		}
		st.Ops = slices.Insert(st.Ops, 0, m.oldHeader())
	}
	m.keyed = wrote
	if m.chance(10) {
		o := m.readOp()
		if role.class == "hello" {
			o = rawOp{Name: "stat", Code: wire.OpStat} // its attributes tell who we are
		}
		// Times and addresses are in what the classes keep.
		o.Blind = true
		at := m.r.IntN(len(st.Ops) + 1)
		if keepsData {
			at = 0
		}
		st.Ops = slices.Insert(st.Ops, at, o)
	}
	if n == 1 && m.chance(2) && role.object != "trash" {
		st.Object = roles[m.r.IntN(len(roles))].object
	}
	if m.chance(2) || role.object == "data" && m.chance(10) {
		st.Ops = []rawOp{{Name: "delete", Code: wire.OpDelete}}
	}
	m.finish(st)
}

// listsKeys reports whether a method lists the keys of its object without their values.
// OSDs die of that when the same vector has made the object.
func listsKeys(class, method string) bool {
	switch method {
	case "get_snapcontext", "snapshot_set_limit", "mirror_instances_list", "mirror_image_status_remove":
		return true
	}
	return class == "log" && method == "trim"
}

// apart leaves of the methods of directories those about the trash, with an object of
// their own, or the others: both have keys that begin with "id_", and OSDs die
// when what trash_list finds there is no image in the trash.
func apart(r role, trash bool) role {
	if trash {
		r.object = "trash"
	}
	r.methods = slices.DeleteFunc(slices.Clone(r.methods), func(f method) bool { return strings.HasPrefix(f.name, "trash_") != trash })
	return r
}

// oldHeader writes the header of an image of format 1, without snapshots (what it
// tells of snapshots that are not there, OSDs believe and crash): mostly one that is
// whole.
func (m *maker) oldHeader() rawOp {
	m.writes = true
	p := make([]byte, 112)
	copy(p, pick(m, "<<< Rados Block Device Image >>>\n", "<<< Rados Block Device Image >>>\n", "<<< Migrating RBD Image      >>>\n", "nothing"))
	copy(p[40:], "rb.0.1234.5678")
	copy(p[64:], "RBD")
	copy(p[68:], "001.005")
	p[76] = 22
	p[82] = byte(m.r.IntN(3))
	if m.chance(10) {
		p = p[:m.r.IntN(len(p))]
	}
	return rawOp{Name: "writefull", Code: wire.OpWriteFull, Union: even(extent(0, uint64(len(p)))), Data: pack(p)}
}

func (m *maker) call(class string, f method) rawOp {
	if f.write {
		m.writes = true
	}
	m.reads = true
	var in []byte
	for _, a := range f.args {
		p := a(m)
		if p == nil {
			break
		}
		in = append(in, p...)
	}
	switch {
	case len(in) > 0 && m.chance(3) && f.name != "sparsify":
		in = in[:m.r.IntN(len(in))]
	case m.chance(2):
		in = append(in, 1, 2, 3)
	}
	w := wire.Op{}
	w.SetCall(wire.CallArg{ClassLen: uint8(len(class)), MethodLen: uint8(len(f.name)), InputLen: uint32(len(in))})
	o := named("call", wire.OpCall, &w, append([]byte(class+f.name), in...))
	o.Blind = f.blind
	// What bad_writer has written though it must not is refused; OSDs that are not to
	// mind that die of it.
	if m.chance(4) && f.name != "bad_writer" {
		o.Flags = wire.OpFlagFailOK
	}
	return o
}
