package cls

import (
	"slices"
	"strings"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// Values of the mirroring methods.
const (
	modeDisabled = 0
	modeInitOnly = 3 // from 20.2 on

	imageDisabling = 0
	imageEnabled   = 1
	imageCreating  = 3

	peerRX   = 0
	peerTX   = 1
	peerRXTX = 2
)

func mirrorMethods() class {
	return class{
		"mirror_uuid_get": rd(mirrorUUIDGet), "mirror_uuid_set": wr(mirrorUUIDSet), "mirror_mode_get": rd(mirrorModeGet), "mirror_mode_set": wr(mirrorModeSet),
		"mirror_remote_namespace_get": rd(func(o *pg.Object, _ *denc.Reader) ([]byte, error) { return get(o, "remote_namespace") }),
		"mirror_remote_namespace_set": wr(mirrorRemoteNamespaceSet),
		"mirror_peer_list":            rd(mirrorPeerList), "mirror_peer_add": wr(mirrorPeerAdd), "mirror_peer_remove": wr(mirrorPeerRemove),
		"mirror_peer_set_client":    wr(peerSetter(func(p *mirrorPeer, r *denc.Reader) { p.client = r.String() })),
		"mirror_peer_set_cluster":   wr(peerSetter(func(p *mirrorPeer, r *denc.Reader) { p.site = r.String() })),
		"mirror_peer_set_direction": wr(peerSetter(func(p *mirrorPeer, r *denc.Reader) { p.direction = r.U8() })),
		"mirror_peer_ping":          wr(mirrorPeerPing),
		"mirror_image_list":         rd(mirrorImageList), "mirror_image_get_image_id": rd(mirrorImageByGlobal), "mirror_image_get": rd(mirrorImageGet),
		"mirror_image_set": wr(mirrorImageSet), "mirror_image_remove": wr(mirrorImageRemove),
		"mirror_image_status_set": wr(statusSet), "mirror_image_status_get": rd(statusGet), "mirror_image_status_list": rd(statusList),
		"mirror_image_status_get_summary": rd(statusSummary), "mirror_image_status_remove": wr(statusRemove), "mirror_image_status_remove_down": wr(statusRemoveDown),
		"mirror_image_instance_get": rd(instanceGet), "mirror_image_instance_list": rd(instanceList),
		"mirror_instances_list": rd(instancesList), "mirror_instances_add": wr(instancesAdd), "mirror_instances_remove": wr(instancesRemove),
		"mirror_image_map_list": rd(imageMapList), "mirror_image_map_update": wr(imageMapUpdate), "mirror_image_map_remove": wr(imageMapRemove),
	}
}

func mirrorUUIDGet(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	v, err := get(o, "mirror_uuid")
	if err != nil {
		return nil, err
	}
	return denc.AppendBytes(nil, v), nil
}

func mode(o *pg.Object) uint32 {
	if v, ok := o.Omap("mirror_mode"); ok {
		return denc.NewReader(v).U32()
	}
	return modeDisabled
}

func mirrorUUIDSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	uuid := r.String()
	if r.Err() != nil || uuid == "" {
		return nil, errno.ErrInvalid
	}
	if mode(o) != modeDisabled {
		return nil, errno.ErrInvalid
	}
	o.SetOmap("mirror_uuid", []byte(uuid))
	return nil, nil
}

func mirrorModeGet(o *pg.Object, _ *denc.Reader) ([]byte, error) { return get(o, "mirror_mode") }

func mirrorModeSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	m := r.U32()
	if r.Err() != nil || m > modeInitOnly {
		return nil, errno.ErrInvalid
	}
	if m != modeDisabled {
		if !has(o, "mirror_uuid") {
			return nil, errno.ErrInvalid
		}
		o.SetOmap("mirror_mode", denc.AppendU32(nil, m))
		return nil, nil
	}
	for _, prefix := range []string{"mirror_peer_", "image_"} {
		if keys, _, _ := o.OmapPage("", prefix, 1); len(keys) > 0 {
			return nil, errno.ErrBusy
		}
	}
	for _, k := range []string{"mirror_mode", "remote_namespace", "mirror_uuid"} {
		o.RemoveOmap(k)
	}
	return nil, nil
}

func mirrorRemoteNamespaceSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	ns := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if mode(o) != modeDisabled {
		return nil, errno.ErrInvalid
	}
	o.SetOmap("remote_namespace", denc.AppendString(nil, ns))
	return nil, nil
}

// mirrorPeer is cls::rbd::MirrorPeer, version 2.
type mirrorPeer struct {
	uuid, site, client string
	direction          uint8
	mirrorUUID         string
	lastSeen           denc.Time
}

func (p *mirrorPeer) append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	for _, s := range []string{p.uuid, p.site, p.client} {
		b = denc.AppendString(b, s)
	}
	b = denc.AppendString(append(denc.AppendS64(b, -1), p.direction), p.mirrorUUID)
	return denc.End(denc.AppendTime(b, p.lastSeen), at)
}

func (p *mirrorPeer) decode(r *denc.Reader) {
	s := r.Enter("MirrorPeer", 2)
	p.uuid, p.site, p.client = r.String(), r.String(), r.String()
	r.S64()
	if s.V >= 2 {
		p.direction, p.mirrorUUID, p.lastSeen = r.U8(), r.String(), r.Time()
	} else {
		p.direction = peerRXTX
	}
	r.Leave(s)
}

func (p *mirrorPeer) write(o *pg.Object) { o.SetOmap("mirror_peer_"+p.uuid, p.append(nil)) }

func peers(o *pg.Object) (out []*mirrorPeer, err error) {
	err = each(o, "mirror_peer_", func(_ string, v []byte) error {
		p := &mirrorPeer{}
		r := denc.NewReader(v)
		p.decode(r)
		out = append(out, p)
		return ioErr(r)
	})
	return out, err
}

func mirrorPeerList(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	l, err := peers(o)
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, l, func(b []byte, p *mirrorPeer) []byte { return p.append(b) }), nil
}

func addPeer(o *pg.Object, p *mirrorPeer, ping bool) error {
	own, _ := o.Omap("mirror_uuid")
	switch {
	case mode(o) == modeDisabled, p.uuid == "" || p.site == "", p.uuid == string(own) || p.mirrorUUID != "" && p.mirrorUUID == string(own),
		p.direction == peerTX && !ping:
		return errno.ErrInvalid
	}
	l, err := peers(o)
	if err != nil {
		return err
	}
	for _, old := range l {
		switch {
		case old.uuid == p.uuid:
			return errno.ErrStale
		case old.site == p.site, p.mirrorUUID != "" && old.mirrorUUID == p.mirrorUUID:
			return errno.ErrExists
		}
	}
	p.write(o)
	return nil
}

func mirrorPeerAdd(o *pg.Object, r *denc.Reader) ([]byte, error) {
	p := &mirrorPeer{}
	if p.decode(r); r.Err() != nil {
		return nil, r.Err()
	}
	return nil, addPeer(o, p, false)
}

func mirrorPeerRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	uuid := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.RemoveOmap("mirror_peer_" + uuid)
	return nil, nil
}

func peerSetter(set func(*mirrorPeer, *denc.Reader)) func(*pg.Object, *denc.Reader) ([]byte, error) {
	return func(o *pg.Object, r *denc.Reader) ([]byte, error) {
		uuid := r.String()
		v, err := get(o, "mirror_peer_"+uuid)
		if err != nil {
			return nil, err
		}
		p := &mirrorPeer{}
		pr := denc.NewReader(v)
		p.decode(pr)
		set(p, r)
		if r.Err() != nil || pr.Err() != nil {
			return nil, errno.ErrInvalid
		}
		p.write(o)
		return nil, nil
	}
}

func mirrorPeerPing(o *pg.Object, r *denc.Reader) ([]byte, error) {
	site, uuid, direction := r.String(), r.String(), r.U8()
	if r.Err() != nil || site == "" || uuid == "" || direction != peerTX {
		return nil, errno.ErrInvalid
	}
	l, err := peers(o)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(l, func(p *mirrorPeer) bool { return p.mirrorUUID == uuid })
	if at < 0 {
		at = slices.IndexFunc(l, func(p *mirrorPeer) bool { return p.site == site })
		if at >= 0 && l[at].mirrorUUID != "" && l[at].mirrorUUID != uuid {
			return nil, errno.ErrExists
		}
	}
	seen := denc.TimeOf(o.Now())
	if at < 0 {
		p := &mirrorPeer{uuid: pingUUID(o, uuid), site: site, direction: direction, mirrorUUID: uuid, lastSeen: seen}
		return nil, addPeer(o, p, true)
	}
	p := l[at]
	if p.direction == peerRX {
		p.direction = peerRXTX
	}
	p.mirrorUUID, p.lastSeen = uuid, seen
	p.write(o)
	return nil, nil
}

// pingUUID invents a peer's uuid, unlike any other.
func pingUUID(o *pg.Object, seed string) string {
	own, _ := o.Omap("mirror_uuid")
	var u denc.UUID
	for i := range 4 {
		c := denc.CRC32C(uint32(i)+uint32(o.Now().UnixNano()), []byte(seed+string(own)))
		u[4*i], u[4*i+1], u[4*i+2], u[4*i+3] = byte(c), byte(c>>8), byte(c>>16), byte(c>>24)
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u.String()
}

// mirrorImage is cls::rbd::MirrorImage.
type mirrorImage struct {
	globalID    string
	state, mode uint8
}

func (m *mirrorImage) append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(append(denc.AppendString(b, m.globalID), m.state, m.mode), at)
}

func (m *mirrorImage) decode(r *denc.Reader) {
	s := r.Enter("MirrorImage", 2)
	m.globalID, m.state = r.String(), r.U8()
	if s.V >= 2 {
		m.mode = r.U8()
	}
	r.Leave(s)
}

func readMirrorImage(o *pg.Object, id string) (*mirrorImage, error) {
	v, err := get(o, "image_"+id)
	if err != nil {
		return nil, err
	}
	m := &mirrorImage{}
	r := denc.NewReader(v)
	m.decode(r)
	return m, ioErr(r)
}

func mirrorImageList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m := map[string]string{}
	err := page(o, "image_", after, limit, func(k string, v []byte) error {
		i := &mirrorImage{}
		ir := denc.NewReader(v)
		i.decode(ir)
		m[k] = i.globalID
		return ioErr(ir)
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, m, denc.AppendString, denc.AppendString), nil
}

func mirrorImageByGlobal(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, "global_"+gid)
}

func mirrorImageGet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return get(o, "image_"+id)
}

func mirrorImageSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	m := &mirrorImage{}
	if m.decode(r); r.Err() != nil {
		return nil, r.Err()
	}
	old, err := readMirrorImage(o, id)
	if err == nil && old.globalID != m.globalID {
		return nil, errno.ErrInvalid
	}
	if v, ok := o.Omap("global_" + m.globalID); ok && denc.NewReader(v).String() != id {
		return nil, errno.ErrExists
	}
	if err != nil && m.state == imageDisabling {
		return nil, errno.ErrNotFound
	}
	o.SetOmap("image_"+id, m.append(nil))
	o.SetOmap("global_"+m.globalID, denc.AppendString(nil, id))
	return nil, nil
}

func mirrorImageRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m, err := readMirrorImage(o, id)
	if err != nil {
		return nil, err
	}
	if m.state != imageDisabling {
		return nil, errno.ErrBusy
	}
	o.RemoveOmap("image_" + id)
	o.RemoveOmap("global_" + m.globalID)
	o.RemoveOmap("status_global_" + m.globalID)
	return nil, nil
}

// siteStatus is cls::rbd::MirrorImageSiteStatus.
type siteStatus struct {
	uuid        string // of the site that reports; "" is the local one
	state       uint8
	description string
	updated     denc.Time
	up          bool
}

func (s *siteStatus) appendFields(b []byte, v uint8) []byte {
	if v >= 2 {
		b = denc.AppendString(b, s.uuid)
	}
	b = denc.AppendString(append(b, s.state), s.description)
	return denc.AppendBool(denc.AppendTime(b, s.updated), s.up)
}

func (s *siteStatus) append(b []byte) []byte {
	v := uint8(1)
	if s.uuid != "" {
		v = 2
	}
	b, at := denc.Begin(b, v, v)
	return denc.End(s.appendFields(b, v), at)
}

func (s *siteStatus) decode(r *denc.Reader) {
	sec := r.Enter("MirrorImageSiteStatus", 2)
	if sec.V >= 2 {
		s.uuid = r.String()
	}
	s.state, s.description, s.updated, s.up = r.U8(), r.String(), r.Time(), r.Bool()
	r.Leave(sec)
}

// storedStatus is a status with who reported it.
type storedStatus struct {
	name entity.Name
	addr entity.Addr
	siteStatus
}

func (s *storedStatus) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = s.addr.WithType(entity.AddrAny).Append(s.name.Append(b))
	return denc.End(s.siteStatus.append(b), at)
}

func (s *storedStatus) decode(r *denc.Reader) {
	sec := r.Enter("MirrorImageSiteStatusOnDisk", 1)
	s.name.Decode(r)
	s.addr.Decode(r)
	s.siteStatus.decode(r)
	r.Leave(sec)
}

// alive reports whether the reporter watches the object.
func (s *storedStatus) alive(o *pg.Object) bool {
	for _, w := range o.Watchers() {
		if w.Name == s.name && w.Addr.SameInstance(s.addr) {
			return true
		}
	}
	return false
}

func statusKey(gid, uuid string) string {
	if uuid == "" {
		return "status_global_" + gid
	}
	return "remote_status_global_" + gid + "_" + uuid
}

func statusSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	s := &storedStatus{}
	s.siteStatus.decode(r)
	if r.Err() != nil {
		return nil, r.Err()
	}
	v, ok := o.Omap("global_" + gid)
	if !ok {
		return nil, nil
	}
	m, err := readMirrorImage(o, denc.NewReader(v).String())
	if err != nil || m.state != imageEnabled && m.state != imageCreating {
		return nil, nil
	}
	s.name, s.addr = o.Client()
	s.up = false
	s.updated = denc.TimeOf(o.Now())
	o.SetOmap(statusKey(gid, s.uuid), s.append(nil))
	return nil, nil
}

func readStatus(o *pg.Object, key string) (*storedStatus, error) {
	v, err := get(o, key)
	if err != nil {
		return nil, err
	}
	s := &storedStatus{}
	r := denc.NewReader(v)
	s.decode(r)
	s.up = s.alive(o)
	return s, ioErr(r)
}

// statuses returns the statuses of an image by site, the local one first; it
// fails with ErrNotFound when there is none.
func statuses(o *pg.Object, gid string) (out []*storedStatus, err error) {
	if s, err := readStatus(o, statusKey(gid, "")); err == nil {
		out = append(out, s)
	}
	err = each(o, "remote_status_global_"+gid+"_", func(_ string, v []byte) error {
		s := &storedStatus{}
		r := denc.NewReader(v)
		s.decode(r)
		s.up = s.alive(o)
		out = append(out, s)
		return ioErr(r)
	})
	if err == nil && len(out) == 0 {
		err = errno.ErrNotFound
	}
	return out, err
}

// appendStatus appends a MirrorImageStatus.
func appendStatus(b []byte, l []*storedStatus) []byte {
	b, at := denc.Begin(b, 2, 1)
	local := &siteStatus{description: "status not found"}
	valid := len(l) > 0 && l[0].uuid == ""
	if valid {
		local = &l[0].siteStatus
		l = l[1:]
	}
	b = denc.AppendBool(local.appendFields(b, 1), valid)
	b = denc.AppendSlice(b, l, func(b []byte, s *storedStatus) []byte { return s.appendFields(b, 2) })
	return denc.End(b, at)
}

func statusGet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	l, err := statuses(o, gid)
	if err != nil {
		return nil, err
	}
	return appendStatus(nil, l), nil
}

func statusList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	images, stats := map[string][]byte{}, map[string][]byte{}
	err := page(o, "image_", after, limit, func(id string, v []byte) error {
		images[id] = v
		m := &mirrorImage{}
		ir := denc.NewReader(v)
		m.decode(ir)
		if l, err := statuses(o, m.globalID); err == nil {
			stats[id] = appendStatus(nil, l)
		}
		return ioErr(ir)
	})
	if err != nil {
		return nil, err
	}
	b := denc.AppendMap(nil, images, denc.AppendString, appendRaw)
	return denc.AppendMap(b, stats, denc.AppendString, appendRaw), nil
}

func statusSummary(o *pg.Object, r *denc.Reader) ([]byte, error) {
	var want []*mirrorPeer
	if r.Len() > 0 {
		want = denc.Slice(r, 6, func(r *denc.Reader) *mirrorPeer {
			p := &mirrorPeer{}
			p.decode(r)
			return p
		})
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	counts := map[uint8]int32{}
	err := each(o, "image_", func(_ string, v []byte) error {
		m := &mirrorImage{}
		ir := denc.NewReader(v)
		m.decode(ir)
		state := uint8(0)
		l, err := statuses(o, m.globalID)
		if err == nil {
			state = summaryState(l, want)
		}
		counts[state]++
		return ioErr(ir)
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, counts, denc.AppendU8, denc.AppendS32), nil
}

const statusReplaying, statusStopped, statusError = 4, 6, 1

// summaryState is the state of an image over the sites that take part.
func summaryState(l []*storedStatus, want []*mirrorPeer) uint8 {
	state, expected := uint8(0), map[string]bool{}
	local := len(want) == 0
	for _, p := range want {
		if p.direction != peerTX {
			local = true
		}
		if p.direction != peerRX && p.mirrorUUID != "" {
			expected[p.mirrorUUID] = true
		}
	}
	best := func(s *storedStatus) {
		v := s.state
		if !s.up {
			v = 0
		}
		// The least healthy site counts; a stopped primary beside a replaying
		// secondary does not.
		switch {
		case state == 0, v == statusError, state == statusStopped:
			state = v
		}
	}
	for _, s := range l {
		if s.uuid == "" && local || s.uuid != "" && expected[s.uuid] || len(want) == 0 {
			best(s)
		}
	}
	return state
}

func statusRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.RemoveOmap(statusKey(gid, ""))
	return nil, removeAll(o, "remote_status_global_"+gid+"_", func([]byte) bool { return true })
}

func removeAll(o *pg.Object, prefix string, gone func(v []byte) bool) error {
	var keys []string
	err := each(o, prefix, func(k string, v []byte) error {
		if gone(v) {
			keys = append(keys, prefix+k)
		}
		return nil
	})
	for _, k := range keys {
		o.RemoveOmap(k)
	}
	return err
}

func statusRemoveDown(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	down := func(v []byte) bool {
		s := &storedStatus{}
		r := denc.NewReader(v)
		s.decode(r)
		return r.Err() == nil && !s.alive(o)
	}
	if err := removeAll(o, "status_global_", down); err != nil {
		return nil, err
	}
	return nil, removeAll(o, "remote_status_global_", down)
}

func (s *storedStatus) appendInst(b []byte) []byte { return s.addr.Append(s.name.Append(b)) }

func instanceGet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	s, err := readStatus(o, statusKey(gid, ""))
	if err != nil {
		return nil, err
	}
	if !s.up {
		return nil, errno.ErrStale
	}
	return s.appendInst(nil), nil
}

func instanceList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m := map[string][]byte{}
	err := page(o, "image_", after, limit, func(id string, v []byte) error {
		i := &mirrorImage{}
		i.decode(denc.NewReader(v))
		if s, err := readStatus(o, statusKey(i.globalID, "")); err == nil && s.up {
			m[id] = s.appendInst(nil)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, m, denc.AppendString, appendRaw), nil
}

func instancesList(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	var ids []string
	if err := each(o, "instance_", func(k string, _ []byte) error { ids = append(ids, k); return nil }); err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, ids, denc.AppendString), nil
}

func instancesAdd(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.SetOmap("instance_"+id, nil)
	return nil, nil
}

func instancesRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.RemoveOmap("instance_" + id)
	return nil, nil
}

func imageMapList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m := map[string][]byte{}
	if err := page(o, "image_map_", after, limit, func(k string, v []byte) error { m[k] = v; return nil }); err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, m, denc.AppendString, appendRaw), nil
}

func imageMapUpdate(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	v := r.Rest()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.SetOmap("image_map_"+gid, []byte(strings.Clone(string(v))))
	return nil, nil
}

func imageMapRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	gid := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.RemoveOmap("image_map_" + gid)
	return nil, nil
}
