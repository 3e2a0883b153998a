package cls

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

func mirrorStatusMethods(release int) map[string]method {
	return map[string]method{
		wire.MethodMirrorImageStatusSet:        write(statusSet(release)),
		wire.MethodMirrorImageStatusRemove:     write(statusRemove),
		wire.MethodMirrorImageStatusGet:        read(statusGet),
		wire.MethodMirrorImageStatusList:       read(statusList),
		wire.MethodMirrorImageStatusGetSummary: read(statusSummary),
		wire.MethodMirrorImageStatusRemoveDown: write(statusRemoveDown),
		wire.MethodMirrorImageInstanceGet:      read(instanceGet),
		wire.MethodMirrorImageInstanceList:     read(instanceList),
	}
}

// statusNotFound is the description of the local status that is not there.
const statusNotFound = "status not found"

// watching is the set of clients that watch an object, with addresses of type
// Any.
type watching map[wire.EntityInst]bool

func watchersOf(o Object) watching {
	w := watching{}
	for _, one := range o.Watchers() {
		w[wire.EntityInst{Name: one.Name, Addr: one.Addr.WithType(entity.AddrAny)}] = true
	}
	return w
}

// has reports whether the writer of a status still watches.
func (w watching) has(e wire.EntityInst) bool {
	e.Addr = e.Addr.WithType(entity.AddrAny)
	return w[e]
}

// statusSet stores a site's status of an image. An image that is not mirrored
// (any more) is no error: the status is simply not kept. Nor is it, on 16.2, of one whose
// mirroring is only beginning.
func statusSet(release int) handler {
	return func(o Object, in *denc.Reader) ([]byte, error) {
		global, status := in.String(), one[wire.MirrorSiteStatus](in)
		if err := bad(in); err != nil {
			return nil, err
		}
		id, err := value(o, wire.PrefixMirrorGlobal+global, text)
		if err != nil {
			return nil, nil
		}
		i, err := readMirrorImage(o, id)
		kept := i.State == wire.MirrorImageEnabled || i.State == wire.MirrorImageCreating && release > 16
		if err != nil || !kept {
			return nil, nil
		}
		key := wire.MirrorStatusKey(global, status.MirrorUUID)
		status.MirrorUUID, status.Up, status.LastUpdate = "", false, now(o)
		who, addr := o.Client()
		origin := wire.EntityInst{Name: who, Addr: addr.WithType(entity.AddrAny)}
		o.SetOmap(key, wire.MirrorStoredStatus{Origin: origin, Status: status}.Append(nil))
		return nil, nil
	}
}

// removeStatuses forgets what all sites said of an image.
func removeStatuses(o Object, global string) error {
	prefix := wire.MirrorStatusKey(global, "-")
	prefix = prefix[:len(prefix)-1]
	var keys []string
	err := each(o, prefix, "", func(uuid string, _ []byte) (bool, error) {
		keys = append(keys, prefix+uuid)
		return true, nil
	})
	if err != nil {
		return notFoundIsNone(err)
	}
	for _, key := range append(keys, wire.MirrorStatusKey(global, "")) {
		o.RemoveOmap(key)
	}
	return nil
}

func statusRemove(o Object, in *denc.Reader) ([]byte, error) {
	global := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, removeStatuses(o, global)
}

// readStatus collects what all sites say of an image; ErrNotFound when none says
// anything. Up is whether the writer watches the object.
func readStatus(o Object, global string, w watching) (s wire.MirrorImageStatus, err error) {
	s.Local = wire.MirrorSiteStatus{Description: statusNotFound}
	local, err := value(o, wire.MirrorStatusKey(global, ""), one[wire.MirrorStoredStatus])
	switch {
	case err == nil:
		s.LocalValid, s.Local = true, local.Status
		s.Local.Up = w.has(local.Origin)
	case !missing(err):
		return s, err
	}
	prefix := wire.MirrorStatusKey(global, "-")
	err = each(o, prefix[:len(prefix)-1], "", func(uuid string, v []byte) (bool, error) {
		r := denc.NewReader(v)
		remote := one[wire.MirrorStoredStatus](r)
		if r.Err() != nil {
			return false, errno.ErrIO
		}
		remote.Status.MirrorUUID, remote.Status.Up = uuid, w.has(remote.Origin)
		s.Remotes = append(s.Remotes, remote.Status)
		return true, nil
	})
	if err == nil && !s.LocalValid && len(s.Remotes) == 0 {
		err = errno.ErrNotFound
	}
	return s, err
}

func statusGet(o Object, in *denc.Reader) ([]byte, error) {
	global := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	s, err := readStatus(o, global, watchersOf(o))
	if err != nil {
		return nil, err
	}
	return s.Append(nil), nil
}

func statusList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	w := watchersOf(o)
	images, statuses := map[string]wire.MirrorImage{}, map[string]wire.MirrorImageStatus{}
	if limit > 0 {
		err = eachMirrorImage(o, after, func(id string, i wire.MirrorImage) (bool, error) {
			images[id] = i
			if s, err := readStatus(o, i.GlobalID, w); err == nil {
				statuses[id] = s
			}
			return uint64(len(images)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	b := denc.AppendMap(nil, images, denc.AppendString, func(b []byte, i wire.MirrorImage) []byte { return i.Append(b) })
	return denc.AppendMap(b, statuses, denc.AppendString, func(b []byte, s wire.MirrorImageStatus) []byte { return s.Append(b) }), nil
}

func statusSummary(o Object, in *denc.Reader) ([]byte, error) {
	var peers []wire.MirrorPeer
	if in.Len() > 0 {
		peers = denc.Slice(in, 6, one[wire.MirrorPeer])
	}
	if err := bad(in); err != nil {
		return nil, err
	}
	direction, receivers := wire.MirrorPeerRX, map[string]bool{}
	if len(peers) > 0 {
		direction = peers[0].Direction
	}
	for _, p := range peers {
		if p.Direction == wire.MirrorPeerRX {
			continue
		}
		receivers[p.MirrorUUID] = true
		if direction != p.Direction {
			direction = wire.MirrorPeerRXTX
		}
	}
	w := watchersOf(o)
	counts := map[uint8]int32{}
	err := eachMirrorImage(o, "", func(_ string, i wire.MirrorImage) (bool, error) {
		s, err := readStatus(o, i.GlobalID, w)
		if notFoundIsNone(err) != nil {
			return false, err
		}
		counts[summary(s, direction, receivers)]++
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, counts, denc.AppendU8, denc.AppendS32), nil
}

// summary makes one state of what all sites say, as the directions of the pool's
// peers demand: the local site counts if the pool receives, the others if it
// sends, and of those every one must have said something.
func summary(s wire.MirrorImageStatus, direction uint8, receivers map[string]bool) uint8 {
	state, known := wire.MirrorStatusUnknown, false
	if direction != wire.MirrorPeerTX && s.Local.Up {
		state, known = s.Local.State, true
	}
	if direction == wire.MirrorPeerRX {
		return state
	}
	silent := len(receivers)
	for _, r := range s.Remotes {
		if silent > 0 && receivers[r.MirrorUUID] {
			silent--
		}
		remote := wire.MirrorStatusUnknown
		if r.Up {
			remote = r.State
		}
		switch {
		case r.State == wire.MirrorStatusError:
			state = r.State
		case !known:
			state = remote
		case state != wire.MirrorStatusError:
			state = min(state, remote)
		}
		known = true
	}
	if silent > 0 {
		return wire.MirrorStatusUnknown
	}
	return state
}

// statusRemoveDown forgets the statuses whose writers do not watch.
func statusRemoveDown(o Object, _ *denc.Reader) ([]byte, error) {
	w := watchersOf(o)
	var gone []string
	for _, prefix := range []string{wire.PrefixMirrorStatus, wire.PrefixMirrorRemoteStatus} {
		err := each(o, prefix, "", func(name string, v []byte) (bool, error) {
			r := denc.NewReader(v)
			s := one[wire.MirrorStoredStatus](r)
			if r.Err() != nil {
				return false, errno.ErrIO
			}
			if !w.has(s.Origin) {
				gone = append(gone, prefix+name)
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, key := range gone {
		o.RemoveOmap(key)
	}
	return nil, nil
}

// readInstance returns who wrote the local status; ErrStale when it does not
// watch any more.
func readInstance(o Object, global string, w watching) (wire.EntityInst, error) {
	s, err := value(o, wire.MirrorStatusKey(global, ""), one[wire.MirrorStoredStatus])
	if err == nil && !w.has(s.Origin) {
		err = errno.ErrStale
	}
	return s.Origin, err
}

func instanceGet(o Object, in *denc.Reader) ([]byte, error) {
	global := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	e, err := readInstance(o, global, watchersOf(o))
	if err != nil {
		return nil, err
	}
	return e.Append(nil), nil
}

func instanceList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	w := watchersOf(o)
	found := map[string]wire.EntityInst{}
	if limit > 0 {
		err = eachMirrorImage(o, after, func(id string, i wire.MirrorImage) (bool, error) {
			if e, err := readInstance(o, i.GlobalID, w); err == nil {
				found[id] = e
			}
			return uint64(len(found)) < limit, nil
		})
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, found, denc.AppendString, func(b []byte, e wire.EntityInst) []byte { return e.Append(b) }), nil
}
