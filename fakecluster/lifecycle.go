package fakecluster

import (
	"fmt"
	"maps"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// listen makes the daemons and lets them listen. They take nobody in before
// Cluster.ready is closed: the maps need everybody's address.
func (c *Cluster) listen(l *loaded) error {
	saved := savedShape{osds: make([]savedDaemon, c.opt.osds), mons: make([]savedDaemon, c.opt.mons)}
	if l != nil {
		saved = l.shape
	}
	for i := range c.opt.osds {
		o := &osd{id: int32(i)}
		o.daemon = daemon{c: c, kind: entity.TypeOSD, name: fmt.Sprintf("osd.%d", i), open: o.accept}
		c.osds = append(c.osds, o)
		if l != nil && !saved.osds[i].running {
			continue
		}
		if err := o.startAt(c.nonce(), saved.osds[i].port(&c.opt)); err != nil {
			return err
		}
	}
	c.mgr = &mgr{}
	c.mgr.daemon = daemon{c: c, kind: entity.TypeMgr, name: "mgr.x", open: c.mgr.accept}
	if err := c.mgr.startAt(c.nonce(), saved.mgr.port(&c.opt)); err != nil {
		return err
	}
	for i := range c.opt.mons {
		m := &mon{rank: i, id: string(rune('a' + i))}
		m.daemon = daemon{c: c, kind: entity.TypeMon, name: "mon." + m.id, open: m.accept}
		c.mons = append(c.mons, m)
		if err := m.startAt(0, saved.mons[i].port(&c.opt)); err != nil {
			return err
		}
	}
	return nil
}

// StopOSD stops an OSD and marks it down.
func (c *Cluster) StopOSD(id int) {
	o := c.osds[id]
	o.end()
	c.faults.note(o.name, "stop")
	c.whenQuorate(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.osdmap.IsUp(o.id) && !o.running() {
			c.change(func(inc *osdmap.Incremental) { inc.NewState = map[int32]uint32{o.id: osdmap.StateUp} })
		}
	})
}

// KillOSD stops an OSD without anybody noticing.
func (c *Cluster) KillOSD(id int) {
	c.osds[id].end()
	c.faults.note(c.osds[id].name, "kill")
}

// StartOSD starts a stopped OSD, on a new address.
func (c *Cluster) StartOSD(id int) error {
	o := c.osds[id]
	if o.running() {
		return nil
	}
	if err := o.start(c.nonce()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot(o)
	c.faults.note(o.name, "start")
	return nil
}

// moveMon publishes a monitor's new address.
func (c *Cluster) moveMon(m *mon) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := c.monmap.Mons[m.id]
	info.Addrs = m.addrs()
	mons := maps.Clone(c.monmap.Mons)
	mons[m.id] = info
	c.setMons(mons)
}

// StopMgr stops the manager. The map then has none, and commands to it wait
// until there is one again.
func (c *Cluster) StopMgr() {
	c.mgr.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mgrmap.ActiveGID == 0 {
		return
	}
	c.mgrmap.ActiveGID, c.mgrmap.ActiveName, c.mgrmap.ActiveAddrs, c.mgrmap.Available = 0, "", nil, false
	c.mgrmap.ActiveChange = denc.TimeOf(c.clock.Now())
	c.mgrmap.Epoch++
	c.pushAll("mgrmap")
}

// KillMgr stops the manager without anybody noticing.
func (c *Cluster) KillMgr() { c.mgr.stop() }

// StartMgr starts a stopped manager, on a new address that the map tells. What
// its modules know is still there, as that of a real manager is.
func (c *Cluster) StartMgr() error {
	if c.mgr.running() {
		return nil
	}
	if err := c.mgr.start(c.nonce()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	epoch, modules := c.mgrmap.Epoch, c.mgrmap.Modules
	c.makeMgrMap()
	c.mgrmap.Epoch, c.mgrmap.Modules, c.mgrmap.ActiveChange = epoch+1, modules, denc.TimeOf(c.clock.Now())
	c.pushAll("mgrmap")
	if len(c.support.tasks) > 0 {
		c.support.work()
	}
	return nil
}

// DropConnections closes every connection of a daemon ("osd.0"), or of all when
// daemon is empty.
func (c *Cluster) DropConnections(daemon string) {
	for _, d := range c.daemons() {
		if daemon != "" && d.name != daemon {
			continue
		}
		d.mu.Lock()
		for nc := range d.conns {
			_ = nc.Close()
		}
		d.mu.Unlock()
	}
}
