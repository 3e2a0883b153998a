package fakecluster

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Unanswered is a write that was executed but not answered when its OSD crashed.
type Unanswered struct {
	Pool   int64
	Group  uint32
	Name   pg.Name
	Client entity.Name
	TID    uint64
	// Kept says that the write is still there.
	Kept bool
}

// String says what became of the write.
func (u Unanswered) String() string {
	fate := "lost"
	if u.Kept {
		fate = "kept"
	}
	return fmt.Sprintf("%s %q of %d.%x", fate, u.Name.Namespace+"/"+u.Name.Object, u.Pool, u.Group)
}

// CrashOSD lets an OSD crash, without anybody noticing: see Crash. Its copies of
// what was not answered count for all, as if the others had none. StartOSD or
// Recover starts it again, and StopOSD lets the map tell that it is down.
func (c *Cluster) CrashOSD(id int, seed uint64) []Unanswered {
	o := c.osds[id]
	ran := map[*daemon]bool{&o.daemon: o.running()}
	o.end()
	c.faults.note(o.name, fmt.Sprint("crash ", seed))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteCrashed(ran)
	v := c.view.Load()
	return c.crashGroups(seed, func(pool int64, i int) bool { return v.pools[pool].primary[i] == o.id }, true)
}

// Crash lets all daemons crash at once, as by a loss of power, and returns what
// became of the writes that were executed but whose clients have no answer: kept
// or lost, by the seed, those of one placement group in their order. All that was
// answered stays, and what somebody has read. An answer counts as sent when it
// was handed to the connection; faults that delay or drop answers, and slow
// disks, are what leaves writes without. Watches and what makes clients wait for
// them always stay. Recover starts everything again.
func (c *Cluster) Crash(seed uint64) []Unanswered {
	ran := map[*daemon]bool{}
	for _, d := range c.daemons() {
		ran[d] = d.running()
		d.stop()
	}
	for _, o := range c.osds {
		o.end()
	}
	c.elect()
	c.faults.note("", fmt.Sprint("crash ", seed))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteCrashed(ran)
	return c.crashGroups(seed, func(int64, int) bool { return true }, false)
}

// noteCrashed remembers for Recover which daemons ran until they crashed, beside
// those that had crashed before. Cluster.mu is held.
func (c *Cluster) noteCrashed(ran map[*daemon]bool) {
	if c.crashed == nil {
		c.crashed = map[*daemon]bool{}
	}
	for d, did := range ran {
		if did {
			c.crashed[d] = true
		}
	}
}

// crashGroups crashes the groups that an OSD has. Cluster.mu is held.
func (c *Cluster) crashGroups(seed uint64, of func(pool int64, i int) bool, recovered bool) []Unanswered {
	var out []Unanswered
	for _, pool := range poolsByID(c.osdmap) {
		for i, g := range c.groups[pool] {
			if !of(pool, i) {
				continue
			}
			// Each group has numbers of its own, whatever the others have.
			r := rand.New(rand.NewPCG(seed, uint64(pool)<<32|uint64(i)))
			kept, lost := g.Crash(func(n int) int { return r.IntN(n + 1) })
			for k, w := range slices.Concat(kept, lost) {
				u := Unanswered{pool, uint32(i), w.Name, w.ID.Name, w.ID.TID, k < len(kept)}
				out = append(out, u)
				c.faults.note("", u.String())
			}
			if recovered {
				g.Recover()
			}
		}
	}
	return out
}

// Recover starts the daemons that Crash and CrashOSD ended, if nobody has since,
// those with a port where they were if nobody has taken it. Watches have their full time to be renewed.
func (c *Cluster) Recover() error {
	c.mu.Lock()
	c.faults.note("", "recover")
	ran := c.crashed
	c.crashed = nil
	c.mu.Unlock()
	var running []*osd
	for _, o := range c.osds {
		if ran[&o.daemon] && !o.running() {
			running = append(running, o)
			if err := o.startAt(c.nonce(), o.address().IP); err != nil {
				return err
			}
		}
	}
	c.mu.Lock()
	for _, groups := range c.groups {
		for _, g := range groups {
			g.Recover()
		}
	}
	c.mu.Unlock()
	for i, m := range c.mons {
		if ran[&m.daemon] {
			if err := c.StartMon(i); err != nil {
				return err
			}
		}
	}
	c.whenQuorate(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.boot(running...)
	})
	if ran[&c.mgr.daemon] {
		return c.StartMgr()
	}
	return nil
}
