package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	log    *slog.Logger
}

// take makes the object if need be and watches it, for a lock.
func take(ctx context.Context, io *rados.IoCtx, log *slog.Logger, oid string, f func(*rados.Notification), lost func(error)) (*lease, error) {
	op := rados.NewOp()
	op.Create(false)
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	w, err := io.Watch(ctx, oid, f, rados.OnError(lost))
	if err != nil {
		return nil, err
	}
	l := &lease{io: io, log: log, oid: oid, watch: w, cookie: cookiePrefix + strconv.FormatUint(w.Cookie(), 10)}
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

// lockInfo reads who holds the lock of an object.
func lockInfo(ctx context.Context, io *rados.IoCtx, oid string) (info lock.Info, err error) {
	b, err := io.Exec(ctx, oid, lock.Class, lock.MethodGetInfo, lock.GetInfo{Name: lockName}.Append(nil))
	if err != nil {
		return info, err
	}
	r := denc.NewReader(b)
	info.Decode(r)
	if err := r.Err(); err != nil {
		return info, fmt.Errorf("lock of %s: %w", oid, err)
	}
	return info, nil
}

// breakDead breaks the lock of an owner that no longer watches the object. It
// returns rados.ErrBusy when the owner lives.
// former are clients that are dead for certain, whose watches the cluster has yet to
// time out.
func (l *lease) breakDead(ctx context.Context, former []entity.Addr) error {
	info, watchers, err := l.holders(ctx)
	if err != nil {
		return ignoreMissing(err)
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
		// write on. This very client does not: what it held, it lost track of.
		if owner.Addr.SameInstance(l.io.Client().Addr()) {
			l.log.Warn("breaking a lock that this client still held", "object", l.oid, "cookie", owner.Cookie)
		} else if err := l.io.Client().Blocklist(ctx, owner.Addr, blocklistFor); err != nil {
			return fmt.Errorf("shut out the dead owner %v of %s: %w", owner.Name, l.oid, err)
		}
		in := lock.BreakLock{Name: lockName, Locker: owner.Name, Cookie: owner.Cookie}
		if err := l.io.ExecWrite(ctx, l.oid, lock.Class, lock.MethodBreakLock, in.Append(nil)); err != nil {
			return ignoreMissing(err)
		}
	}
	return nil
}

// holders reads at one moment who holds the lock and who watches the object: an owner
// that gives both up between two looks is not a dead one.
func (l *lease) holders(ctx context.Context) (info lock.Info, watchers []rados.Watcher, err error) {
	op := rados.NewOp()
	b := op.Call(lock.Class, lock.MethodGetInfo, lock.GetInfo{Name: lockName}.Append(nil))
	ws := op.ListWatchers()
	if err := l.io.Operate(ctx, l.oid, op); err != nil {
		return info, nil, err
	}
	r := denc.NewReader(b.Bytes())
	if info.Decode(r); r.Err() != nil {
		return info, nil, fmt.Errorf("lock of %s: %w", l.oid, r.Err())
	}
	return info, ws.Watchers, nil
}

// drop unlocks and ends the watch. The lock may be held though the request for it was
// given up, or failed: one that nobody watches over would look like a dead owner's, and
// the next to want it would shut this client out.
func (l *lease) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := l.io.Client().Settle(ctx)
	if err == nil {
		in := lock.Unlock{Name: lockName, Cookie: l.cookie}
		err = ignoreMissing(l.io.ExecWrite(ctx, l.oid, lock.Class, lock.MethodUnlock, in.Append(nil)))
	}
	if err != nil {
		l.log.Warn("a lock could not be given back", "object", l.oid, "err", err)
	}
	_ = l.watch.Close(ctx)
}

// errReleased ends a leadership that an operator asked to give to others.
var errReleased = errors.New("the leadership was released")

// leader makes one daemon of several the one that replays a pool.
type leader struct {
	io   *rados.IoCtx // of the pool's default namespace
	log  *slog.Logger
	kick chan struct{}
	// former is as whom earlier runs of this daemon were connected.
	former []entity.Addr

	mu       sync.Mutex
	abdicate context.CancelCauseFunc // while it leads
}

// release gives the leadership to whoever wants it.
func (l *leader) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.abdicate != nil {
		l.abdicate(errReleased)
	}
}

// leads reports whether this daemon is the leader.
func (l *leader) leads() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.abdicate != nil
}

func (l *leader) setLeading(abdicate context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abdicate = abdicate
}

func (l *leader) instanceID() string { return strconv.FormatUint(l.io.Client().GlobalID(), 10) }

// holder returns the instance that is the leader, "" for none.
func (l *leader) holder(ctx context.Context) string {
	info, err := lockInfo(ctx, l.io, meta.Leader)
	if err != nil || len(info.Lockers) == 0 {
		return ""
	}
	return strconv.FormatInt(info.Lockers[0].Name.Num, 10)
}

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
	held, err := take(ctx, l.io, l.log, meta.Leader, l.notified, func(err error) { cancel(fmt.Errorf("the leader's watch was lost: %w", err)) })
	if err != nil {
		return fmt.Errorf("watch %s: %w", meta.Leader, err)
	}
	locked := false
	defer func() {
		held.drop()
		if locked {
			bye, done := context.WithTimeout(context.Background(), closeTimeout)
			defer done()
			l.tell(bye, wire.LeaderLockReleased)
		}
	}()
	if err := l.claim(ctx, held); err != nil {
		return err
	}
	locked = true
	l.log.Info("this daemon is the leader", "instance", l.instanceID())
	l.setLeading(cancel)
	defer l.setLeading(nil)
	return l.reign(ctx, fn)
}

// claim waits for the lock.
func (l *leader) claim(ctx context.Context, held *lease) error {
	for {
		err := held.lock(ctx)
		if errors.Is(err, rados.ErrBusy) {
			if err = held.breakDead(ctx, l.former); err == nil {
				continue
			}
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, rados.ErrBusy) {
			return fmt.Errorf("lock %s: %w", meta.Leader, err)
		}
		l.sleep(ctx, claimPause)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
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

// reign runs fn beside the heartbeats. It returns why the leadership ended.
func (l *leader) reign(ctx context.Context, fn func(context.Context) error) error {
	l.tell(ctx, wire.LeaderLockAcquired)
	beatCtx, cancel := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { l.beat(beatCtx) })
	err := fn(ctx)
	cancel()
	beats.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// beat sends heartbeats until ctx ends.
func (l *leader) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.tell(ctx, wire.LeaderHeartbeat)
	}
}

func (l *leader) tell(ctx context.Context, op uint32) {
	_, err := l.io.Notify(ctx, meta.Leader, wire.LeaderMessage{Op: op}.Append(nil), heartbeat)
	if err != nil && ctx.Err() == nil && !errors.Is(err, rados.ErrTimedOut) {
		l.log.Warn("tell the other daemons", "err", err)
	}
}
