package engine

import (
	"context"
	"log/slog"
	"slices"
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
type statusUpdater []*statusWriter

func newStatusUpdater(local, remote *rados.IoCtx, localUUID string, log *slog.Logger) statusUpdater {
	return statusUpdater{newStatusWriter(local, "", log), newStatusWriter(remote, localUUID, log)}
}

// set gives an image a status.
func (u statusUpdater) set(gid string, state uint8, description string) {
	for _, w := range u {
		w.set(gid, state, description)
	}
}

// remove takes an image's status away.
func (u statusUpdater) remove(gid string) {
	for _, w := range u {
		w.remove(gid)
	}
}

// run writes until ctx ends; then it removes all statuses, as a daemon does that
// stops in good order.
func (u statusUpdater) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range u {
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
}

// statusWriter writes the statuses to one site. One that does not answer keeps
// nobody else waiting.
type statusWriter struct {
	io *rados.IoCtx
	// mirrorUUID is whose statuses they are: "" at the local site.
	mirrorUUID string
	log        *slog.Logger
	kick       chan struct{}

	mu      sync.Mutex
	current map[string]imageStatus
	dirty   map[string]bool // true: the status was removed
}

type imageStatus struct {
	state       uint8
	description string
}

func newStatusWriter(io *rados.IoCtx, mirrorUUID string, log *slog.Logger) *statusWriter {
	return &statusWriter{
		io: io, mirrorUUID: mirrorUUID, log: log, kick: make(chan struct{}, 1),
		current: make(map[string]imageStatus), dirty: make(map[string]bool),
	}
}

func (u *statusWriter) set(gid string, state uint8, description string) {
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

func (u *statusWriter) remove(gid string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.current, gid)
	u.dirty[gid] = true
	u.poke()
}

func (u *statusWriter) poke() {
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

// run writes changes soon and everything now and then, until ctx ends; then it
// removes all statuses.
func (u *statusWriter) run(ctx context.Context) {
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

func (u *statusWriter) flush(ctx context.Context) {
	now := denc.TimeOf(time.Now())
	u.mu.Lock()
	changes := make([]meta.StatusChange, 0, len(u.dirty))
	for gid, removed := range u.dirty {
		s := u.current[gid]
		changes = append(changes, meta.StatusChange{
			GlobalID: gid, Remove: removed,
			Status: wire.MirrorSiteStatus{MirrorUUID: u.mirrorUUID, State: s.state, Description: s.description, LastUpdate: now, Up: true},
		})
	}
	clear(u.dirty)
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, statusRepeat)
	defer cancel()
	for batch := range slices.Chunk(changes, statusBatch) {
		if err := meta.WriteStatuses(ctx, u.io, batch); err != nil && ctx.Err() == nil {
			u.log.Warn("statuses were not written", "site", u.mirrorUUID, "err", err)
		}
	}
}

func (u *statusWriter) clear() {
	u.mu.Lock()
	for gid := range u.current {
		u.dirty[gid] = true
	}
	clear(u.current)
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	u.flush(ctx)
}
