package cls

import (
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func mirrorMethods(release int) map[string]method {
	return map[string]method{
		wire.MethodMirrorUUIDGet:            read(mirrorUUIDGet),
		wire.MethodMirrorUUIDSet:            write(mirrorUUIDSet),
		wire.MethodMirrorModeGet:            read(mirrorModeGet),
		wire.MethodMirrorModeSet:            write(mirrorModeSet(release)),
		wire.MethodMirrorRemoteNamespaceGet: read(mirrorNamespaceGet).from(20),
		wire.MethodMirrorRemoteNamespaceSet: write(mirrorNamespaceSet).from(20),
		wire.MethodMirrorPeerPing:           write(peerPing),
		wire.MethodMirrorPeerList:           read(peerList),
		wire.MethodMirrorPeerAdd:            write(peerAdd),
		wire.MethodMirrorPeerRemove:         write(peerRemove),
		wire.MethodMirrorPeerSetClient:      write(peerSetClient),
		wire.MethodMirrorPeerSetCluster:     write(peerSetSite),
		wire.MethodMirrorPeerSetDirection:   write(peerSetDirection),
		wire.MethodMirrorInstancesList:      read(instancesList),
		wire.MethodMirrorInstancesAdd:       write(instancesAdd),
		wire.MethodMirrorInstancesRemove:    write(instancesRemove),
		wire.MethodMirrorImageMapList:       read(imageMapList),
		wire.MethodMirrorImageMapUpdate:     write(imageMapUpdate),
		wire.MethodMirrorImageMapRemove:     write(imageMapRemove),
	}
}

func mirrorUUIDGet(o Object, _ *denc.Reader) ([]byte, error) {
	v, err := stored(o, wire.KeyMirrorUUID)
	if err != nil {
		return nil, err
	}
	return denc.AppendBytes(nil, v), nil
}

// mirrorMode returns the mode, Disabled when none was ever set.
func mirrorMode(o Object) (uint32, error) {
	mode, err := value(o, wire.KeyMirrorMode, u32)
	return otherwise(mode, err, wire.MirrorModeDisabled)
}

// needDisabled fails while mirroring is on.
func needDisabled(o Object) error {
	mode, err := mirrorMode(o)
	if err == nil && mode != wire.MirrorModeDisabled {
		err = errno.ErrInvalid
	}
	return err
}

func mirrorUUIDSet(o Object, in *denc.Reader) ([]byte, error) {
	uuid := in.String()
	if in.Err() != nil || uuid == "" {
		return nil, errno.ErrInvalid
	}
	if err := needDisabled(o); err != nil {
		return nil, err
	}
	o.SetOmap(wire.KeyMirrorUUID, []byte(uuid))
	return nil, nil
}

func mirrorModeGet(o Object, _ *denc.Reader) ([]byte, error) {
	mode, err := value(o, wire.KeyMirrorMode, u32)
	if err != nil {
		return nil, err
	}
	return denc.AppendU32(nil, mode), nil
}

func mirrorModeSet(release int) handler {
	highest := wire.MirrorModePool
	if release >= 20 {
		highest = wire.MirrorModeInitOnly
	}
	return func(o Object, in *denc.Reader) ([]byte, error) {
		mode := in.U32()
		if in.Err() != nil || mode > highest {
			return nil, errno.ErrInvalid
		}
		if mode != wire.MirrorModeDisabled {
			if _, ok := o.Omap(wire.KeyMirrorUUID); !ok {
				return nil, errno.ErrInvalid
			}
			o.SetOmap(wire.KeyMirrorMode, denc.AppendU32(nil, mode))
			return nil, nil
		}
		peers, err := readPeers(o)
		if notFoundIsNone(err) != nil {
			return nil, err
		}
		if len(peers) > 0 {
			return nil, errno.ErrBusy
		}
		for _, key := range []string{wire.KeyMirrorMode, wire.KeyMirrorUUID, wire.KeyRemoteNamespace} {
			o.RemoveOmap(key)
		}
		return nil, nil
	}
}

func mirrorNamespaceGet(o Object, _ *denc.Reader) ([]byte, error) {
	ns, err := value(o, wire.KeyRemoteNamespace, text)
	if err != nil {
		return nil, err
	}
	return denc.AppendString(nil, ns), nil
}

func mirrorNamespaceSet(o Object, in *denc.Reader) ([]byte, error) {
	ns := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := needDisabled(o); err != nil {
		return nil, err
	}
	o.SetOmap(wire.KeyRemoteNamespace, denc.AppendString(nil, ns))
	return nil, nil
}

func readPeers(o Object) (peers []wire.MirrorPeer, err error) {
	err = each(o, wire.PrefixMirrorPeer, "", func(_ string, v []byte) (bool, error) {
		r := denc.NewReader(v)
		peers = append(peers, one[wire.MirrorPeer](r))
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		return true, nil
	})
	return peers, err
}

func writePeer(o Object, p wire.MirrorPeer) { o.SetOmap(wire.PrefixMirrorPeer+p.UUID, p.Append(nil)) }

// validPeer reports whether a peer may be stored.
func validPeer(p wire.MirrorPeer) bool {
	return p.Direction <= wire.MirrorPeerRXTX && p.UUID != "" && p.SiteName != "" &&
		(p.Direction == wire.MirrorPeerTX || p.ClientName != "")
}

// needEnabled fails while mirroring is off.
func needEnabled(o Object) error {
	mode, err := mirrorMode(o)
	if err == nil && mode == wire.MirrorModeDisabled {
		err = errno.ErrInvalid
	}
	return err
}

func peerPing(o Object, in *denc.Reader) ([]byte, error) {
	site, uuid, direction := in.String(), in.String(), in.U8()
	if in.Err() != nil || direction != wire.MirrorPeerTX {
		return nil, errno.ErrInvalid
	}
	if err := needEnabled(o); err != nil {
		return nil, err
	}
	if site == "" || uuid == "" {
		return nil, errno.ErrInvalid
	}
	peers, err := readPeers(o)
	if notFoundIsNone(err) != nil {
		return nil, err
	}
	p := pinged(peers, site, uuid)
	p.LastSeen = now(o)
	if !validPeer(p) {
		return nil, errno.ErrInvalid
	}
	writePeer(o, p)
	return nil, nil
}

// pinged returns the peer that a daemon of a site means, changed as its ping
// asks for, or a new one that only receives from here.
func pinged(peers []wire.MirrorPeer, site, uuid string) wire.MirrorPeer {
	bySite := slices.IndexFunc(peers, func(p wire.MirrorPeer) bool { return p.SiteName == site })
	byUUID := -1
	if bySite < 0 || peers[bySite].MirrorUUID != "" && peers[bySite].MirrorUUID != uuid {
		byUUID = slices.IndexFunc(peers, func(p wire.MirrorPeer) bool { return p.MirrorUUID == uuid })
	}
	var p wire.MirrorPeer
	switch {
	case byUUID >= 0:
		p = peers[byUUID]
		if bySite < 0 {
			p.SiteName = site // the site was renamed
		}
	case bySite >= 0:
		p = peers[bySite]
		p.MirrorUUID = uuid
	default:
		return wire.MirrorPeer{UUID: newUUID(), SiteName: site, MirrorUUID: uuid, Direction: wire.MirrorPeerTX}
	}
	if p.Direction == wire.MirrorPeerRX {
		p.Direction = wire.MirrorPeerRXTX
	}
	return p
}

func peerList(o Object, _ *denc.Reader) ([]byte, error) {
	peers, err := readPeers(o)
	if notFoundIsNone(err) != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, peers, func(b []byte, p wire.MirrorPeer) []byte { return p.Append(b) }), nil
}

func peerAdd(o Object, in *denc.Reader) ([]byte, error) {
	p := one[wire.MirrorPeer](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	if err := needEnabled(o); err != nil {
		return nil, err
	}
	if !validPeer(p) {
		return nil, errno.ErrInvalid
	}
	uuid, err := stored(o, wire.KeyMirrorUUID)
	if err != nil {
		return nil, err
	}
	if p.UUID == string(uuid) || p.Direction == wire.MirrorPeerTX {
		return nil, errno.ErrInvalid
	}
	peers, err := readPeers(o)
	if err != nil {
		return nil, err
	}
	for _, other := range peers {
		switch {
		case other.UUID == p.UUID:
			return nil, errno.ErrStale
		case other.SiteName == p.SiteName, p.MirrorUUID != "" && other.MirrorUUID == p.MirrorUUID:
			return nil, errno.ErrExists
		}
	}
	writePeer(o, p)
	return nil, nil
}

func peerRemove(o Object, in *denc.Reader) ([]byte, error) {
	uuid := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixMirrorPeer + uuid)
	return nil, nil
}

// changePeer stores what change makes of a peer.
func changePeer(o Object, uuid string, change func(p *wire.MirrorPeer)) error {
	p, err := value(o, wire.PrefixMirrorPeer+uuid, one[wire.MirrorPeer])
	if err != nil {
		return err
	}
	change(&p)
	writePeer(o, p)
	return nil
}

func peerSetClient(o Object, in *denc.Reader) ([]byte, error) {
	uuid, client := in.String(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, changePeer(o, uuid, func(p *wire.MirrorPeer) { p.ClientName = client })
}

func peerSetDirection(o Object, in *denc.Reader) ([]byte, error) {
	uuid, direction := in.String(), in.U8()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, changePeer(o, uuid, func(p *wire.MirrorPeer) { p.Direction = direction })
}

func peerSetSite(o Object, in *denc.Reader) ([]byte, error) {
	uuid, site := in.String(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	peers, err := readPeers(o)
	if notFoundIsNone(err) != nil {
		return nil, err
	}
	for _, p := range peers {
		if p.UUID != uuid && p.SiteName == site {
			return nil, errno.ErrExists
		}
	}
	return nil, changePeer(o, uuid, func(p *wire.MirrorPeer) { p.SiteName = site })
}

func instancesList(o Object, _ *denc.Reader) ([]byte, error) {
	var ids []string
	err := each(o, wire.PrefixMirrorInstance, "", func(id string, _ []byte) (bool, error) {
		ids = append(ids, id)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendSlice(nil, ids, denc.AppendString), nil
}

func instancesAdd(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	o.SetOmap(wire.PrefixMirrorInstance+id, nil)
	return nil, nil
}

func instancesRemove(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, removeKey(o, wire.PrefixMirrorInstance+id)
}

func imageMapList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	found := map[string]wire.MirrorImageMap{}
	if limit > 0 {
		err = each(o, wire.PrefixMirrorImageMap, after, func(id string, v []byte) (bool, error) {
			r := denc.NewReader(v)
			found[id] = one[wire.MirrorImageMap](r)
			if r.Err() != nil {
				return false, errno.ErrInvalid
			}
			return uint64(len(found)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, found, denc.AppendString, func(b []byte, m wire.MirrorImageMap) []byte { return m.Append(b) }), nil
}

func imageMapUpdate(o Object, in *denc.Reader) ([]byte, error) {
	id, m := in.String(), one[wire.MirrorImageMap](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	o.SetOmap(wire.PrefixMirrorImageMap+id, m.Append(nil))
	return nil, nil
}

func imageMapRemove(o Object, in *denc.Reader) ([]byte, error) {
	id := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	o.RemoveOmap(wire.PrefixMirrorImageMap + id)
	return nil, nil
}
