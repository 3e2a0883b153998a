package cls

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// Kinds of snapshot namespaces.
const (
	nsUser   = 0
	nsGroup  = 1
	nsTrash  = 2
	nsMirror = 3
)

// snapNS is cls::rbd::SnapshotNamespace: the kind, and the rest still encoded.
type snapNS struct {
	kind uint32
	rest []byte
}

func (n *snapNS) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(append(denc.AppendU32(b, n.kind), n.rest...), at)
}

func (n *snapNS) decode(r *denc.Reader) {
	s := r.Enter("SnapshotNamespace", 1)
	n.kind = r.U32()
	n.rest = slices.Clone(r.Rest())
	r.Leave(s)
}

// snapRecord is the value of a snapshot_ key, version 8.
type snapRecord struct {
	id         uint64
	name       string
	size       uint64
	protection uint8
	flags      uint64
	ns         snapNS
	created    denc.Time
	children   uint32
	overlap    *uint64
}

func (s *snapRecord) write(o *pg.Object) {
	b, at := denc.Begin(nil, 8, 8)
	b = denc.AppendU64(b, s.id)
	b = denc.AppendString(b, s.name)
	b = denc.AppendU64(b, s.size)
	b = denc.AppendU8(b, s.protection)
	b = denc.AppendU64(b, s.flags)
	b = s.ns.append(b)
	b = denc.AppendTime(b, s.created)
	b = denc.AppendU32(b, s.children)
	b = appendOptU64(b, s.overlap)
	o.SetOmap(hexKey("snapshot_", s.id), denc.End(b, at))
}

func appendOptU64(b []byte, v *uint64) []byte {
	if v == nil {
		return append(b, 0)
	}
	return denc.AppendU64(append(b, 1), *v)
}

func readOptU64(r *denc.Reader) *uint64 {
	if !r.Bool() {
		return nil
	}
	v := r.U64()
	return &v
}

func decodeSnap(v []byte) (*snapRecord, error) {
	r := denc.NewReader(v)
	s := &snapRecord{}
	sec := r.Enter("cls_rbd_snap", 8)
	s.id, s.name, s.size, s.protection, s.flags = r.U64(), r.String(), r.U64(), r.U8(), r.U64()
	s.ns.decode(r)
	s.created, s.children = r.Time(), r.U32()
	s.overlap = readOptU64(r)
	r.Leave(sec)
	return s, ioErr(r)
}

func readSnap(o *pg.Object, id uint64) (*snapRecord, error) {
	v, err := get(o, hexKey("snapshot_", id))
	if err != nil {
		return nil, err
	}
	return decodeSnap(v)
}

// snaps returns all snapshots, oldest first.
func snaps(o *pg.Object) (out []*snapRecord, err error) {
	err = each(o, "snapshot_", func(_ string, v []byte) error {
		s, err := decodeSnap(v)
		out = append(out, s)
		return err
	})
	return out, err
}

func snapMethods() class {
	return class{
		"get_snapcontext": rd(getSnapContext), "snapshot_get": rd(snapshotGet), "snapshot_add": wr(snapshotAdd),
		"snapshot_remove": wr(snapshotRemove), "snapshot_rename": wr(snapshotRename), "snapshot_trash_add": wr(snapshotTrash),
		"get_snapshot_name":      rd(snapField(func(s *snapRecord) []byte { return denc.AppendString(nil, s.name) })),
		"get_snapshot_timestamp": rd(snapField(func(s *snapRecord) []byte { return denc.AppendTime(nil, s.created) })),
		"get_snapshot_namespace": rd(snapField(func(s *snapRecord) []byte { return s.ns.append(nil) })),
		"get_protection_status":  rd(snapField(func(s *snapRecord) []byte { return []byte{s.protection} })),
		"set_protection_status":  wr(setProtection),
		"snapshot_get_limit":     rd(snapGetLimit), "snapshot_set_limit": wr(snapSetLimit),
		"mirror_image_snapshot_unlink_peer": wr(unlinkPeer), "mirror_image_snapshot_set_copy_progress": wr(setCopyProgress),
	}
}

func getSnapContext(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	seq, err := getU64(o, "snap_seq")
	if err != nil {
		return nil, err
	}
	list, err := snaps(o)
	if err != nil {
		return nil, err
	}
	slices.Reverse(list)
	return denc.AppendSlice(denc.AppendU64(nil, seq), list, func(b []byte, s *snapRecord) []byte { return denc.AppendU64(b, s.id) }), nil
}

func snapField(f func(*snapRecord) []byte) func(*pg.Object, *denc.Reader) ([]byte, error) {
	return func(o *pg.Object, r *denc.Reader) ([]byte, error) {
		id := r.U64()
		if r.Err() != nil || id == noSnap {
			return nil, errno.ErrInvalid
		}
		s, err := readSnap(o, id)
		if err != nil {
			return nil, err
		}
		return f(s), nil
	}
}

func snapshotGet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.U64()
	if r.Err() != nil || id == noSnap {
		return nil, errno.ErrInvalid
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	b, at := denc.Begin(nil, 1, 1)
	b = s.ns.append(denc.AppendU64(b, s.id))
	b = denc.AppendU64(denc.AppendString(b, s.name), s.size)
	return denc.End(denc.AppendU32(denc.AppendTime(b, s.created), s.children), at), nil
}

func snapshotAdd(o *pg.Object, r *denc.Reader) ([]byte, error) {
	s := &snapRecord{name: r.String(), id: r.U64()}
	if r.Err() == nil && r.Len() > 0 {
		s.ns.decode(r)
	}
	if r.Err() != nil || s.id >= noSnap {
		return nil, errno.ErrInvalid
	}
	seq, err := getU64(o, "snap_seq")
	if err != nil {
		return nil, err
	}
	if s.id < seq {
		return nil, errno.ErrStale
	}
	if s.size, err = getU64(o, "size"); err != nil {
		return nil, err
	}
	s.flags, _ = getU64(o, "flags")
	list, err := snaps(o)
	if err != nil {
		return nil, err
	}
	for _, old := range list {
		if old.id == s.id || old.name == s.name && old.ns.kind == s.ns.kind && slices.Equal(old.ns.rest, s.ns.rest) {
			return nil, errno.ErrExists
		}
	}
	if limit, err := getU64(o, "snap_limit"); err == nil && uint64(len(list)) >= limit {
		return nil, errno.ErrQuota
	}
	if p, err := readParent(o); err == nil {
		s.overlap = p.overlap
	}
	s.created = denc.TimeOf(o.Now())
	setU64(o, "snap_seq", s.id)
	s.write(o)
	return nil, nil
}

func snapshotRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	if s.protection != 0 || s.children > 0 {
		return nil, errno.ErrBusy
	}
	o.RemoveOmap(hexKey("snapshot_", id))
	return nil, dropUnusedParent(o)
}

func snapshotRename(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, name := r.U64(), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	if s.ns.kind != nsUser {
		return nil, errno.ErrInvalid
	}
	list, err := snaps(o)
	if err != nil {
		return nil, err
	}
	for _, old := range list {
		if old.name == name && old.ns.kind == nsUser {
			return nil, errno.ErrExists
		}
	}
	s.name = name
	s.write(o)
	return nil, nil
}

func snapshotTrash(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.U64()
	if r.Err() != nil || id == noSnap {
		return nil, errno.ErrInvalid
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	switch {
	case s.ns.kind == nsTrash:
		return nil, errno.ErrExists
	case s.protection != 0:
		return nil, errno.ErrBusy
	}
	s.ns = snapNS{nsTrash, denc.AppendU32(denc.AppendString(nil, s.name), s.ns.kind)}
	s.name = hexKey("trash-", id)
	s.write(o)
	return nil, nil
}

func setProtection(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, status := r.U64(), r.U8()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if err := needFeature(o, featLayering); err != nil {
		return nil, err
	}
	if status > 2 || id == noSnap {
		return nil, errno.ErrInvalid
	}
	s, err := readSnap(o, id)
	if err != nil {
		return nil, err
	}
	s.protection = status
	s.write(o)
	return nil, nil
}

func snapGetLimit(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	if v, err := getU64(o, "snap_limit"); err == nil {
		return denc.AppendU64(nil, v), nil
	}
	return denc.AppendU64(nil, noLimit), nil
}

func snapSetLimit(o *pg.Object, r *denc.Reader) ([]byte, error) {
	limit := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if limit == noLimit {
		o.RemoveOmap("snap_limit")
		return nil, nil
	}
	list, err := snaps(o)
	if err != nil {
		return nil, err
	}
	if limit < uint64(len(list)) {
		return nil, errno.ErrRange
	}
	setU64(o, "snap_limit", limit)
	return nil, nil
}

// mirrorNS is the mirror kind of a snapshot's namespace.
type mirrorNS struct {
	state       uint8
	complete    bool
	peers       []string
	primaryUUID string
	primarySnap uint64
	copied      uint64
	seqs        map[uint64]uint64
}

func (m *mirrorNS) append(b []byte) []byte {
	b = denc.AppendBool(append(b, m.state), m.complete)
	b = denc.AppendSlice(b, m.peers, denc.AppendString)
	b = denc.AppendString(b, m.primaryUUID)
	b = denc.AppendU64(denc.AppendU64(b, m.primarySnap), m.copied)
	return denc.AppendMap(b, m.seqs, denc.AppendU64, denc.AppendU64)
}

func (m *mirrorNS) decode(r *denc.Reader) {
	m.state, m.complete = r.U8(), r.Bool()
	m.peers = denc.Slice(r, 4, str)
	m.primaryUUID, m.primarySnap, m.copied = r.String(), r.U64(), r.U64()
	m.seqs = denc.Map(r, 16, (*denc.Reader).U64, (*denc.Reader).U64)
}

func mirrorSnap(o *pg.Object, id uint64) (*snapRecord, *mirrorNS, error) {
	s, err := readSnap(o, id)
	if err != nil {
		return nil, nil, err
	}
	if s.ns.kind != nsMirror {
		return nil, nil, errno.ErrInvalid
	}
	m := &mirrorNS{}
	r := denc.NewReader(s.ns.rest)
	m.decode(r)
	return s, m, ioErr(r)
}

// Mirror snapshot states with peers are those of primaries.
const (
	mirrorPrimary        = 0
	mirrorPrimaryDemoted = 1
)

func unlinkPeer(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, peer := r.U64(), r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, m, err := mirrorSnap(o, id)
	if err != nil {
		return nil, err
	}
	at := slices.Index(m.peers, peer)
	if at < 0 {
		return nil, errno.ErrNotFound
	}
	m.peers = slices.Delete(m.peers, at, at+1)
	s.ns.rest = m.append(nil)
	s.write(o)
	return nil, nil
}

func setCopyProgress(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id, complete, copied := r.U64(), r.Bool(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, m, err := mirrorSnap(o, id)
	if err != nil {
		return nil, err
	}
	m.complete = complete
	if m.state != mirrorPrimary && m.state != mirrorPrimaryDemoted {
		m.copied = copied
	}
	s.ns.rest = m.append(nil)
	s.write(o)
	return nil, nil
}
