package fakecluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rbdm/rbdm/rados/errno"
)

// support is the manager's module rbd_support at work: it runs the schedules of
// mirror snapshots and of trash purges, and the tasks.
type support struct {
	c *Cluster
	h *inhouse

	// Guarded by Cluster.mu.
	lastTick  time.Time
	tasks     []*task // in order
	completed []*task // the newest of those that succeeded
	sequence  int64
	working   bool
	perf      map[perfKey]*perfQuery

	mu    sync.Mutex
	busy  map[string]bool // images of which a mirror snapshot is being made
	begun int             // what ticks have begun and what has not ended
	idle  chan struct{}   // closed when begun gets to 0; nil while nobody waits
}

func newSupport(c *Cluster) *support {
	s := &support{c: c, h: newInhouse(c), lastTick: c.clock.Now(), busy: map[string]bool{}, perf: map[perfKey]*perfQuery{}}
	s.arm()
	return s
}

// arm waits for the next full minute: schedules know no finer time.
func (s *support) arm() {
	now := s.c.clock.Now()
	s.c.after(now.Truncate(time.Minute).Add(time.Minute).Sub(now), func() {
		s.tick()
		s.arm()
	})
}

// due is a place and what a schedule has to do there.
type due struct {
	at    where
	image string // "" is the trash
}

// tick starts what schedules have become due since the last one.
func (s *support) tick() {
	c := s.c
	c.mu.Lock()
	now := c.clock.Now()
	last := s.lastTick
	s.lastTick = now
	if !c.mgr.running() {
		c.mu.Unlock()
		return // what would be due is not made up for
	}
	work := append(s.dueImages(last, now), s.dueTrash(last, now)...)
	c.mu.Unlock()
	s.mu.Lock()
	s.begun += len(work)
	s.mu.Unlock()
	for _, d := range work {
		c.spawn(func() {
			defer s.ended()
			s.run(d)
		})
	}
}

// ended counts what tick began.
func (s *support) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun--; s.begun == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// WaitForSchedules waits until the mirror snapshots and the trash purges that
// schedules have begun are done. After an Advance of the clock, these are all that
// became due. A manager leaves an image out whose last snapshot it is still making,
// even when the snapshot can be seen already; who moves the clock over several
// intervals should wait in between.
func (c *Cluster) WaitForSchedules(ctx context.Context) error {
	s := c.support
	s.mu.Lock()
	if s.begun == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for schedules to run: %w", ctx.Err())
	case <-c.ctx.Done():
		return fmt.Errorf("waiting for schedules to run: the cluster ended: %w", c.ctx.Err())
	}
}

// strikes reports whether a list of schedules runs after last and up to now.
func strikes(list []schedule, last, now time.Time) bool {
	if len(list) == 0 {
		return false
	}
	at := strike(list, last.UTC())
	return !at.IsZero() && !at.After(now)
}

// rbdPools returns the pools of RBD with their namespaces. Cluster.mu is held.
func (c *Cluster) rbdPools() []where {
	var out []where
	for _, pool := range poolsByID(c.osdmap) {
		if _, ok := c.osdmap.Pools[pool].Applications["rbd"]; !ok {
			continue
		}
		out = append(out, where{pool: pool})
		for key := range c.omap(pool, "", "rbd_namespace") {
			out = append(out, where{pool, strings.TrimPrefix(key, "name_")})
		}
	}
	slices.SortStableFunc(out, func(a, b where) int {
		if a.pool != b.pool {
			return 0
		}
		return strings.Compare(a.ns, b.ns)
	})
	return out
}

func (s *support) dueImages(last, now time.Time) []due {
	var out []due
	c := s.c
	for _, at := range c.rbdPools() {
		for key, v := range c.omap(at.pool, at.ns, rbdMirroring) {
			id, ok := strings.CutPrefix(key, "image_")
			if !ok || strings.HasPrefix(id, "map_") || !snapshotMode(v) || c.nonPrimary(at.pool, at.ns, id) {
				continue
			}
			if strikes(c.best(&c.mirrorSchedules, at.pool, at.ns, id), last, now) {
				out = append(out, due{at, id})
			}
		}
	}
	return out
}

func (s *support) dueTrash(last, now time.Time) []due {
	var out []due
	for _, at := range s.c.rbdPools() {
		if strikes(s.c.best(&s.c.trashSchedules, at.pool, at.ns, ""), last, now) {
			out = append(out, due{at: at})
		}
	}
	return out
}

// run does what is due. As with a real manager, an image whose last snapshot is
// still being made is left out.
func (s *support) run(d due) {
	if d.image == "" {
		s.h.trashPurge(s.c.ctx, d.at)
		return
	}
	key := fmt.Sprintf("%d/%s/%s", d.at.pool, d.at.ns, d.image)
	s.mu.Lock()
	if s.busy[key] {
		s.mu.Unlock()
		return
	}
	s.busy[key] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.busy, key)
		s.mu.Unlock()
	}()
	if e := s.h.mirrorSnapshot(s.c.ctx, d.at, d.image); e != 0 && e != errno.ErrNotFound {
		s.c.log.Info("scheduled mirror snapshot", "image", key, "err", e)
	}
}
