package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	// statusGather is how long changes are collected before they are written.
	statusGather = 200 * time.Millisecond
	// statusRepeat is how often every status is written again, so that readers
	// see that it is not stale.
	statusRepeat = 30 * time.Second
	statusBatch  = 100
)

// statusUpdater writes the statuses of a namespace's images to both sites. Who
// writes must watch rbd_mirroring on both from the same client: readers take the
// status of a writer that does not for one of a daemon that is down.
type statusUpdater struct {
	local, remote *rados.IoCtx
	localUUID     string
	log           *slog.Logger
	kick          chan struct{}

	mu      sync.Mutex
	current map[string]imageStatus
	dirty   map[string]bool // true: the status was removed
}

type imageStatus struct {
	state       uint8
	description string
}

func newStatusUpdater(local, remote *rados.IoCtx, localUUID string, log *slog.Logger) *statusUpdater {
	return &statusUpdater{
		local: local, remote: remote, localUUID: localUUID, log: log, kick: make(chan struct{}, 1),
		current: make(map[string]imageStatus), dirty: make(map[string]bool),
	}
}

// set gives an image a status.
func (u *statusUpdater) set(gid string, state uint8, description string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := imageStatus{state, description}
	if u.current[gid] == s {
		return
	}
	u.current[gid] = s
	u.dirty[gid] = false
	u.poke()
}

// remove takes an image's status away.
func (u *statusUpdater) remove(gid string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.current, gid)
	u.dirty[gid] = true
	u.poke()
}

func (u *statusUpdater) poke() {
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

// run writes changes soon and everything now and then, until ctx ends; then it
// removes all statuses, as a daemon does that stops in good order.
func (u *statusUpdater) run(ctx context.Context) {
	repeat := time.NewTicker(statusRepeat)
	defer repeat.Stop()
	for {
		select {
		case <-ctx.Done():
			u.clear()
			return
		case <-repeat.C:
			u.mu.Lock()
			for gid := range u.current {
				u.dirty[gid] = false
			}
			u.mu.Unlock()
		case <-u.kick:
			t := time.NewTimer(statusGather)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
		u.flush(ctx)
	}
}

func (u *statusUpdater) flush(ctx context.Context) {
	now := denc.TimeOf(time.Now())
	u.mu.Lock()
	changes := make([]meta.StatusChange, 0, len(u.dirty))
	for gid, removed := range u.dirty {
		s := u.current[gid]
		changes = append(changes, meta.StatusChange{
			GlobalID: gid, Remove: removed,
			Status: wire.MirrorSiteStatus{State: s.state, Description: s.description, LastUpdate: now, Up: true},
		})
	}
	clear(u.dirty)
	u.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { u.write(ctx, u.local, "", changes) })
	both.Go(func() { u.write(ctx, u.remote, u.localUUID, changes) })
	both.Wait()
}

// write sends the changes to one site, as those of the site mirrorUUID.
func (u *statusUpdater) write(ctx context.Context, io *rados.IoCtx, mirrorUUID string, changes []meta.StatusChange) {
	ctx, cancel := context.WithTimeout(ctx, statusRepeat)
	defer cancel()
	for len(changes) > 0 {
		n := min(len(changes), statusBatch)
		batch := append([]meta.StatusChange(nil), changes[:n]...)
		changes = changes[n:]
		for i := range batch {
			batch[i].Status.MirrorUUID = mirrorUUID
		}
		if err := meta.WriteStatuses(ctx, io, batch); err != nil && ctx.Err() == nil {
			u.log.Warn("statuses were not written", "site", mirrorUUID, "err", err)
		}
	}
}

func (u *statusUpdater) clear() {
	u.mu.Lock()
	for gid := range u.current {
		u.dirty[gid] = true
	}
	clear(u.current)
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	u.flush(ctx)
}
