package fakecluster

import (
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/rados/errno"
)

// election is what the monitors agree about: whether there is a quorum, and who
// waits for one. All but quorate is guarded by the cluster's mutex.
type election struct {
	quorate atomic.Bool
	epoch   uint32 // odd while they elect, but for a monitor that is alone
	since   time.Time
	round   int // counts elections, so that an old one's end is told from the newest's
	// waiting are requests and changes that need a quorum, in order; they are
	// carried out one after the other while draining.
	waiting  []func()
	draining bool
}

// quorumGrace is how long a monitor outside of a quorum keeps its clients
// before it sends them away: twice Ceph's mon_lease.
const quorumGrace = 10 * time.Second

// firstElection is what happened before anybody could connect.
func (c *Cluster) firstElection() {
	c.election.epoch, c.election.since = 3, c.started
	if len(c.mons) > 1 {
		c.election.epoch = 4
	}
	c.election.quorate.Store(true)
}

func (c *Cluster) electionEpoch() uint32 { return c.election.epoch }

// enough reports whether more than half of the monitors run.
func (c *Cluster) enough() bool {
	n := 0
	for _, m := range c.mons {
		if m.running() {
			n++
		}
	}
	return n > len(c.mons)/2
}

// elect begins an election, because a monitor came or went. It ends after
// the time that the cluster's options say, if enough of them run.
func (c *Cluster) elect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &c.election
	e.round++
	round := e.round
	if e.quorate.Swap(false) {
		e.since = c.clock.Now()
	}
	e.epoch |= 1
	c.after(quorumGrace, func() { c.sendAway(round) })
	switch {
	case !c.enough():
	case c.opt.election > 0:
		c.after(c.opt.election, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.elected(round)
		})
	default:
		c.elected(round)
	}
}

// elected ends an election, unless another one has begun. The mutex is held.
func (c *Cluster) elected(round int) {
	e := &c.election
	if e.round != round || c.closed || !c.enough() {
		return
	}
	e.epoch++
	e.since = c.clock.Now()
	e.quorate.Store(true)
	if len(e.waiting) > 0 && !e.draining {
		e.draining = true
		c.wg.Go(c.drain)
	}
}

// drain carries out what has waited, and what comes meanwhile, in order.
func (c *Cluster) drain() {
	e := &c.election
	for {
		c.mu.Lock()
		if len(e.waiting) == 0 || c.closed || !e.quorate.Load() {
			e.draining = false
			c.mu.Unlock()
			return
		}
		f := e.waiting[0]
		e.waiting = e.waiting[1:]
		c.mu.Unlock()
		f()
	}
}

// whenQuorate carries f out at once or, without a quorum, when there is one
// again. The mutex must not be held; f takes it.
func (c *Cluster) whenQuorate(f func()) {
	c.mu.Lock()
	e := &c.election
	if !e.quorate.Load() || e.draining {
		e.waiting = append(e.waiting, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f()
}

// sendAway closes the connections of monitors that have had no quorum for too
// long: their clients look for others.
func (c *Cluster) sendAway(round int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.election.quorate.Load() || c.election.round != round {
		return
	}
	for s := range c.sessions {
		_ = s.conn.Close()
	}
}

// leaderName returns the name of the monitor that leads, or "".
func (c *Cluster) leaderName() string {
	if names := c.quorumNames(); len(names) > 0 {
		return names[0]
	}
	return ""
}

// StopMon stops a monitor. The others elect a leader; when half of them or
// fewer are left, there is no quorum: nothing changes in the cluster and no
// monitor answers, but OSDs do.
func (c *Cluster) StopMon(rank int) {
	c.mons[rank].stop()
	c.elect()
}

// StartMon starts a stopped monitor, on its old address if that is still free,
// else on a new one that the map tells.
func (c *Cluster) StartMon(rank int) error {
	m := c.mons[rank]
	if m.running() {
		return nil
	}
	was := m.address()
	if err := m.startAt(0, was.IP); err != nil {
		return err
	}
	c.elect()
	if m.address() != was {
		c.whenQuorate(func() { c.moveMon(m) })
	}
	return nil
}

// mgrFail lets the manager start anew, as a real one without standbys does.
func (k *call) mgrFail() errno.Errno {
	if who := k.args.str("who"); who != "" && who != k.c.mgrmap.ActiveName {
		return k.say(0, "Daemon not found '%s', already failed?", who)
	}
	c := k.c
	c.wg.Go(func() {
		c.StopMgr()
		if err := c.StartMgr(); err != nil {
			c.log.Error("manager does not start", "err", err)
		}
	})
	return 0
}
