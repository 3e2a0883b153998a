package fakecluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd/layout"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// Names of RBD's objects.
const (
	rbdHeader    = "rbd_header."
	rbdIDPrefix  = "rbd_id."
	rbdDirectory = "rbd_directory"
	rbdMirroring = "rbd_mirroring"
	rbdTrash     = "rbd_trash"
	rbdChildren  = "rbd_children"
	rbdObjectMap = "rbd_object_map."
	rbdState     = "rbd_mirror_snapshot."
	rbdLock      = "rbd_lock"

	imageLockCookie = "auto "
	imageLockTag    = "internal"
)

// image is an RBD image as the manager works on it: its header, as it was when
// openImage or refresh read it.
type image struct {
	h    *inhouse
	at   where
	data where
	id   string

	size, features, opFeatures uint64
	order                      uint8
	layout                     layout.Layout
	prefix                     string
	snaps                      []rbdwire.SnapshotRecord // ascending
	seq                        uint64
	parent                     rbdwire.Parent
	omap                       map[string][]byte

	cookie uint64 // of the watch; 0 is none
	async  map[uint64]chan int32
}

// openImage reads an image's header.
func (h *inhouse) openImage(at where, id string) (*image, errno.Errno) {
	i := &image{h: h, at: at, data: at, id: id}
	return i, i.refresh()
}

func (i *image) header() string { return rbdHeader + i.id }

func (i *image) refresh() errno.Errno {
	m := i.h.omap(i.at, i.header())
	if m == nil {
		return errno.ErrNotFound
	}
	u64 := func(key string) uint64 { return denc.NewReader(m[key]).U64() }
	i.omap = m
	i.size, i.features, i.opFeatures, i.seq = u64(rbdwire.KeySize), u64(rbdwire.KeyFeatures), u64(rbdwire.KeyOpFeatures), u64(rbdwire.KeySnapSeq)
	i.order = denc.NewReader(m[rbdwire.KeyOrder]).U8()
	i.prefix = denc.NewReader(m[rbdwire.KeyObjectPrefix]).String()
	if p, ok := m[rbdwire.KeyDataPoolID]; ok {
		i.data.pool = denc.NewReader(p).S64()
	}
	i.parent, _ = stored[rbdwire.Parent](m, rbdwire.KeyParent)
	if len(m[rbdwire.KeyParent]) == 0 {
		i.parent = rbdwire.NoParent()
	}
	i.snaps = nil
	for k := range m {
		if !strings.HasPrefix(k, rbdwire.PrefixSnapshot) {
			continue
		}
		if s, ok := stored[rbdwire.SnapshotRecord](m, k); ok {
			i.snaps = append(i.snaps, s)
		}
	}
	slices.SortFunc(i.snaps, func(a, b rbdwire.SnapshotRecord) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	if i.order < 12 || i.order > 26 || i.prefix == "" {
		return errno.ErrIO
	}
	var err error
	if i.layout, err = layout.New(i.order, u64(rbdwire.KeyStripeUnit), u64(rbdwire.KeyStripeCount)); err != nil {
		return errno.ErrIO
	}
	return 0
}

// snapc is the context under which the image's data is written.
func (i *image) snapc() wire.SnapContext {
	sc := wire.SnapContext{Seq: i.seq}
	for _, s := range slices.Backward(i.snaps) {
		sc.Snaps = append(sc.Snaps, s.ID)
	}
	return sc
}

func (i *image) has(feature uint64) bool { return i.features&feature != 0 }

func (i *image) object(k uint64) string { return fmt.Sprintf("%s.%016x", i.prefix, k) }

func (i *image) mapName(snap uint64) string {
	if snap == wire.SnapHead {
		return rbdObjectMap + i.id
	}
	return fmt.Sprintf("%s%s.%016x", rbdObjectMap, i.id, snap)
}

// updated tells those who have the image open that its header changed.
func (i *image) updated(ctx context.Context) {
	_, _ = i.h.notify(ctx, i.at, i.header(), rbdwire.NotifyMessage{Op: rbdwire.NotifyHeaderUpdate}.Append(nil))
}

// watch registers the manager with the header, as RBD's clients do.
func (i *image) watch() errno.Errno {
	i.async = map[uint64]chan int32{}
	cookie, e := i.h.watch(i.at, i.header(), i.notified)
	if e == 0 {
		i.cookie = cookie
	}
	return e
}

// close ends what watch and takeLock began.
func (i *image) close() {
	if i.cookie != 0 {
		i.h.unwatch(i.at, i.header(), i.cookie)
		i.cookie = 0
	}
}

// notified answers a message on the header: ends of what was asked for are
// passed on, everything else is acknowledged as somebody would who has nothing
// to do with it.
func (i *image) notified(m *wire.WatchNotify, payload []byte) {
	var n rbdwire.NotifyMessage
	r := denc.NewReader(payload)
	n.Decode(r)
	var reply []byte
	if r.Err() == nil && n.Op == rbdwire.NotifyAsyncComplete && n.Request.Client.GID == uint64(i.h.name.Num) {
		i.h.mu.Lock()
		done := i.async[n.Request.ID]
		i.h.mu.Unlock()
		if done != nil {
			select {
			case done <- n.Result:
			default:
			}
		}
		reply = rbdwire.NotifyResponse{}.Append(nil)
	}
	i.h.ack(i.at, i.header(), m, reply)
}

// owner returns who holds the exclusive lock.
func (i *image) owner() (lock.Locker, bool) {
	out, e := i.h.call(i.at, i.header(), lock.Class, lock.MethodGetInfo, lock.GetInfo{Name: rbdLock}.Append(nil))
	if e != 0 {
		return lock.Locker{}, false
	}
	var info lock.Info
	r := denc.NewReader(out)
	info.Decode(r)
	if r.Err() != nil || len(info.Lockers) == 0 {
		return lock.Locker{}, false
	}
	return info.Lockers[0], true
}

// takeLock takes the exclusive lock if nobody has it. The watch must be there.
func (i *image) takeLock() errno.Errno {
	if !i.has(rbdwire.FeatureExclusiveLock) {
		return 0
	}
	in := lock.Lock{Name: rbdLock, Type: lock.Exclusive, Cookie: fmt.Sprint(imageLockCookie, i.cookie), Tag: imageLockTag}
	_, e := i.h.call(i.at, i.header(), lock.Class, lock.MethodLock, in.Append(nil))
	return e
}

func (i *image) dropLock(ctx context.Context) {
	if !i.has(rbdwire.FeatureExclusiveLock) {
		return
	}
	in := lock.Unlock{Name: rbdLock, Cookie: fmt.Sprint(imageLockCookie, i.cookie)}
	if _, e := i.h.call(i.at, i.header(), lock.Class, lock.MethodUnlock, in.Append(nil)); e == 0 {
		m := rbdwire.NotifyMessage{Op: rbdwire.NotifyReleasedLock, Client: rbdwire.ClientID{GID: uint64(i.h.name.Num), Handle: i.cookie}}
		_, _ = i.h.notify(ctx, i.at, i.header(), m.Append(nil))
	}
}

// ask lets the owner of the exclusive lock do something and waits for its end.
func (i *image) ask(ctx context.Context, m rbdwire.NotifyMessage) errno.Errno {
	m.Request = rbdwire.RequestID{Client: rbdwire.ClientID{GID: uint64(i.h.name.Num), Handle: i.cookie}, ID: i.h.tid.Add(1)}
	done := make(chan int32, 1)
	i.h.mu.Lock()
	i.async[m.Request.ID] = done
	i.h.mu.Unlock()
	r, e := i.h.notify(ctx, i.at, i.header(), m.Append(nil))
	if e != 0 {
		return e
	}
	answered := false
	for _, a := range r.Acks {
		if len(a.Payload) == 0 {
			continue
		}
		var res rbdwire.NotifyResponse
		rd := denc.NewReader(a.Payload)
		if res.Decode(rd); rd.Err() == nil {
			if res.Result < 0 {
				return errno.Errno(-res.Result)
			}
			answered = true
		}
	}
	if !answered {
		return errno.ErrTimedOut
	}
	select {
	case r := <-done:
		if r < 0 {
			return errno.Errno(-r)
		}
		return 0
	case <-ctx.Done():
		return errno.ErrCanceled
	}
}

// maintain does something to an image as RBD's clients do: whoever has the
// exclusive lock does it, and if nobody has, we do under the lock.
func (i *image) maintain(ctx context.Context, remote rbdwire.NotifyMessage, local func() errno.Errno) errno.Errno {
	const tries = 20
	for range tries {
		if _, held := i.owner(); held {
			if e := i.ask(ctx, remote); e != errno.ErrTimedOut || ctx.Err() != nil {
				return e
			}
			continue
		}
		switch e := i.takeLock(); e {
		case errno.ErrBusy, errno.ErrExists:
			continue
		case 0:
		default:
			return e
		}
		e := i.refresh()
		if e == 0 {
			e = local()
		}
		i.dropLock(ctx)
		return e
	}
	return errno.ErrTimedOut
}

// newSnapID takes a snapshot id from the data pool.
func (i *image) newSnapID() (uint64, errno.Errno) {
	c := i.h.c
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.osdmap.Pools[i.data.pool]
	if p == nil || p.HasFlag(osdmap.PoolPoolSnaps) {
		return 0, errno.ErrInvalid
	}
	return c.newUnmanagedSnap(i.data.pool), 0
}

func (i *image) dropSnapID(id uint64) {
	c := i.h.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.osdmap.Pools[i.data.pool]; p != nil && !c.osdmap.OSDOnly.RemovedSnapsQueue[i.data.pool].Contains(id) {
		c.removeUnmanagedSnap(i.data.pool, id)
	}
}

// addSnapshot makes a snapshot; nobody writes meanwhile.
func (i *image) addSnapshot(name string, ns rbdwire.SnapshotNamespace) (uint64, errno.Errno) {
	const tries = 10
	for range tries {
		id, e := i.newSnapID()
		if e != 0 {
			return 0, e
		}
		e = i.h.rbd(i.at, i.header(), rbdwire.MethodSnapshotAdd, ns.Append(denc.AppendU64(denc.AppendString(nil, name), id)))
		if e == 0 {
			return id, i.mapAdd(id)
		}
		i.dropSnapID(id)
		if e != errno.ErrStale {
			return 0, e
		}
	}
	return 0, errno.ErrStale
}

// mapAdd keeps the object map for a new snapshot.
func (i *image) mapAdd(id uint64) errno.Errno {
	if !i.has(rbdwire.FeatureObjectMap) {
		return 0
	}
	p, e := i.h.read(i.at, i.mapName(wire.SnapHead))
	if e != 0 {
		return e
	}
	if e := i.h.writeFull(i.at, i.mapName(id), slices.Clone(p), wire.SnapContext{}); e != 0 {
		return e
	}
	if !i.has(rbdwire.FeatureFastDiff) {
		return 0
	}
	return i.h.rbd(i.at, i.mapName(wire.SnapHead), rbdwire.MethodObjectMapSnapAdd, nil)
}

// removeSnapshot removes a snapshot that has no clones.
func (i *image) removeSnapshot(s *rbdwire.SnapshotRecord) errno.Errno {
	if i.has(rbdwire.FeatureObjectMap) {
		if i.has(rbdwire.FeatureFastDiff) {
			next := wire.SnapHead
			for k := range i.snaps {
				if i.snaps[k].ID > s.ID {
					next = i.snaps[k].ID
					break
				}
			}
			if p, e := i.h.call(i.at, i.mapName(s.ID), "rbd", rbdwire.MethodObjectMapLoad, nil); e == 0 {
				_ = i.h.rbd(i.at, i.mapName(next), rbdwire.MethodObjectMapSnapRemove, p)
			}
		}
		if e := i.h.remove(i.at, i.mapName(s.ID), wire.SnapContext{}); e != 0 {
			return e
		}
	}
	if s.Namespace.Type == rbdwire.SnapMirror {
		i.h.objects(i.at, fmt.Sprintf("%s%s.%d.", rbdState, i.id, s.ID), func(n string) { _ = i.h.remove(i.at, n, wire.SnapContext{}) })
	}
	i.dropSnapID(s.ID)
	e := i.h.rbd(i.at, i.header(), rbdwire.MethodSnapshotRemove, denc.AppendU64(nil, s.ID))
	if e == errno.ErrNotFound {
		e = 0
	}
	if e == 0 {
		e = i.refresh()
	}
	return e
}

// metadata returns the image's own metadata, without RBD's.
func (i *image) metadata() map[string][]byte {
	out := map[string][]byte{}
	for k, v := range i.omap {
		if k, ok := strings.CutPrefix(k, rbdwire.PrefixMetadata); ok && !strings.HasPrefix(k, ".rbd") {
			out[k] = denc.NewReader(v).Bytes()
		}
	}
	return maps.Clone(out)
}

// name returns the image's name as the directory or the trash has it.
func (i *image) name() string {
	if p, ok := i.h.omap(i.at, rbdDirectory)["id_"+i.id]; ok {
		return denc.NewReader(p).String()
	}
	t, _ := stored[rbdwire.TrashImageSpec](i.h.omap(i.at, rbdTrash), "id_"+i.id)
	return t.Name
}

// lookup finds an image by its name.
func (h *inhouse) lookup(at where, name string) (string, bool) {
	p, ok := h.omap(at, rbdDirectory)["name_"+name]
	if !ok {
		return "", false
	}
	return denc.NewReader(p).String(), true
}
