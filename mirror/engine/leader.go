package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	lockName     = "rbd_lock"
	lockTag      = "internal"
	cookiePrefix = "auto "
	// heartbeat is how often a leader shows that it lives
	// (rbd_mirror_leader_heartbeat_interval).
	heartbeat = 5 * time.Second
	// blocklistFor is how long a dead leader stays shut out
	// (rbd_blocklist_expire_seconds).
	blocklistFor = time.Hour
	// claimPause is how often a daemon that is not the leader looks whether the
	// leader is gone. A release is told, and needs no waiting.
	claimPause = 2 * time.Second
)

// lease is an exclusive lock of the kind that librbd and the daemons use: held by
// the cookie of a watch on the same object, so that others see when its owner is
// dead.
type lease struct {
	io     *rados.IoCtx
	oid    string
	watch  *rados.Watch
	cookie string
}

// take watches the object and tries to lock it once. Somebody else's lock is
// rados.ErrBusy, but a dead owner's is broken, after the owner was shut out.
func take(ctx context.Context, io *rados.IoCtx, oid string, f func(*rados.Notification), lost func(error)) (*lease, error) {
	op := rados.NewOp()
	op.Create(false)
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	w, err := io.Watch(ctx, oid, f, rados.OnError(lost))
	if err != nil {
		return nil, err
	}
	l := &lease{io: io, oid: oid, watch: w, cookie: cookiePrefix + strconv.FormatUint(w.Cookie(), 10)}
	return l, nil
}

func (l *lease) lock(ctx context.Context) error {
	in := lock.Lock{Name: lockName, Type: lock.Exclusive, Cookie: l.cookie, Tag: lockTag}
	err := l.io.ExecWrite(ctx, l.oid, lock.Class, lock.MethodLock, in.Append(nil))
	if errors.Is(err, rados.ErrExists) {
		return nil // it is ours already
	}
	return err
}

// breakDead breaks the lock of an owner that no longer watches the object. It
// returns rados.ErrBusy when the owner lives.
// former are clients that are dead for certain, whose watches the cluster has yet to
// time out.
func (l *lease) breakDead(ctx context.Context, former []entity.Addr) error {
	b, err := l.io.Exec(ctx, l.oid, lock.Class, lock.MethodGetInfo, lock.GetInfo{Name: lockName}.Append(nil))
	if err != nil {
		return ignoreMissing(err)
	}
	var info lock.Info
	r := denc.NewReader(b)
	info.Decode(r)
	if err := r.Err(); err != nil {
		return fmt.Errorf("lock of %s: %w", l.oid, err)
	}
	watchers, err := l.io.ListWatchers(ctx, l.oid)
	if err != nil {
		return err
	}
	for _, owner := range info.Lockers {
		number, internal := strings.CutPrefix(owner.Cookie, cookiePrefix)
		dead := slices.ContainsFunc(former, owner.Addr.SameInstance)
		for _, w := range watchers {
			if !internal || !dead && w.Addr.SameInstance(owner.Addr) && strconv.FormatUint(w.Cookie, 10) == number {
				return rados.ErrBusy
			}
		}
		// Breaking without shutting out would let a leader that only seems dead
		// write on.
		if err := l.io.Client().Blocklist(ctx, owner.Addr, blocklistFor); err != nil {
			return fmt.Errorf("shut out the dead owner %v of %s: %w", owner.Name, l.oid, err)
		}
		in := lock.BreakLock{Name: lockName, Locker: owner.Name, Cookie: owner.Cookie}
		if err := l.io.ExecWrite(ctx, l.oid, lock.Class, lock.MethodBreakLock, in.Append(nil)); err != nil {
			return ignoreMissing(err)
		}
	}
	return nil
}

// drop unlocks, if locked says that the lock is held, and ends the watch.
func (l *lease) drop(locked bool) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if locked {
		in := lock.Unlock{Name: lockName, Cookie: l.cookie}
		_ = l.io.ExecWrite(ctx, l.oid, lock.Class, lock.MethodUnlock, in.Append(nil))
	}
	_ = l.watch.Close(ctx)
}

// leader makes one daemon of several the one that replays a namespace.
type leader struct {
	io   *rados.IoCtx
	log  *slog.Logger
	kick chan struct{}
	// images names the images that this daemon replays, for the map that
	// `rbd mirror pool status` reads.
	images func() []string
	// former is as whom earlier runs of this daemon were connected.
	former []entity.Addr
}

func (l *leader) instanceID() string { return strconv.FormatUint(l.io.Client().GlobalID(), 10) }

func (l *leader) notified(n *rados.Notification) {
	n.Ack(nil)
	var m wire.LeaderMessage
	r := denc.NewReader(n.Payload)
	m.Decode(r)
	if r.Err() == nil && m.Op == wire.LeaderLockReleased {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// lead waits until this daemon is the leader, runs fn as long as it is, and
// returns when fn or the leadership has ended.
func (l *leader) lead(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	held, err := take(ctx, l.io, meta.Leader, l.notified, func(err error) { cancel(fmt.Errorf("the leader's watch was lost: %w", err)) })
	if err != nil {
		return fmt.Errorf("watch %s: %w", meta.Leader, err)
	}
	locked := false
	defer func() { held.drop(locked) }()
	for {
		err := held.lock(ctx)
		if errors.Is(err, rados.ErrBusy) {
			if err = held.breakDead(ctx, l.former); err == nil {
				continue
			}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, rados.ErrBusy) {
			return fmt.Errorf("lock %s: %w", meta.Leader, err)
		}
		l.sleep(ctx, claimPause)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	locked = true
	l.log.Info("this daemon is the leader", "instance", l.instanceID())
	return l.reign(ctx, fn)
}

func (l *leader) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-l.kick:
	}
}

// reign registers the instance and runs fn beside the heartbeats.
func (l *leader) reign(ctx context.Context, fn func(context.Context) error) error {
	id := l.instanceID()
	instance, err := take(ctx, l.io, meta.InstancePrefix+id, func(n *rados.Notification) { n.Ack(nil) }, func(error) {})
	if err != nil {
		return fmt.Errorf("instance object: %w", err)
	}
	if err := instance.lock(ctx); err != nil {
		instance.drop(false)
		return fmt.Errorf("lock the instance object: %w", err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = meta.RemoveInstance(bye, l.io, id)
		instance.drop(true)
		_ = l.io.Remove(bye, meta.InstancePrefix+id)
		l.tell(bye, wire.LeaderLockReleased)
	}()
	if err := meta.AddInstance(ctx, l.io, id); err != nil {
		return fmt.Errorf("register the instance: %w", err)
	}
	l.tell(ctx, wire.LeaderLockAcquired)
	l.bury(ctx)
	ctx, cancel := context.WithCancel(ctx)
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		l.beat(ctx)
	}()
	err = fn(ctx)
	cancel()
	<-beats
	return err
}

// beat sends heartbeats and keeps the map of images until ctx ends.
func (l *leader) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if err := l.mapImages(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("map of images", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.tell(ctx, wire.LeaderHeartbeat)
		l.bury(ctx)
	}
}

func (l *leader) tell(ctx context.Context, op uint32) {
	_, err := l.io.Notify(ctx, meta.Leader, wire.LeaderMessage{Op: op}.Append(nil), heartbeat)
	if err != nil && ctx.Err() == nil && !errors.Is(err, rados.ErrTimedOut) {
		l.log.Warn("tell the other daemons", "err", err)
	}
}

// bury removes the instances that nobody watches any more.
func (l *leader) bury(ctx context.Context) {
	ids, err := meta.ListInstances(ctx, l.io)
	if err != nil {
		l.log.Warn("list instances", "err", err)
		return
	}
	for _, id := range ids {
		if id == l.instanceID() {
			continue
		}
		watchers, err := l.io.ListWatchers(ctx, meta.InstancePrefix+id)
		if err != nil && !errors.Is(err, rados.ErrNotFound) || len(watchers) > 0 {
			continue
		}
		if err := ignoreMissing(l.io.Remove(ctx, meta.InstancePrefix+id)); err == nil {
			err = meta.RemoveInstance(ctx, l.io, id)
			l.log.Info("removed an instance that is gone", "instance", id, "err", err)
		}
	}
}

// mapImages makes the map of images say what this daemon replays. Its data is
// what Ceph's daemons write: version 1 with no field but a zero.
func (l *leader) mapImages(ctx context.Context) error {
	have, err := meta.ImageMap(ctx, l.io)
	if err != nil {
		return err
	}
	set := make(map[string]wire.MirrorImageMap)
	mine := make(map[string]bool)
	data, at := denc.Begin(nil, 1, 1)
	data = denc.End(denc.AppendU32(data, 0), at)
	for _, gid := range l.images() {
		mine[gid] = true
		if have[gid].InstanceID != l.instanceID() {
			set[gid] = wire.MirrorImageMap{InstanceID: l.instanceID(), Mapped: denc.TimeOf(time.Now()), Data: data}
		}
	}
	var remove []string
	for gid := range have {
		if !mine[gid] {
			remove = append(remove, gid)
		}
	}
	return meta.UpdateImageMap(ctx, l.io, set, remove)
}
