package fakecluster

import (
	"fmt"

	"github.com/rbdm/rbdm/rados/osdmap"
)

// Fullness is how full an OSD takes itself to be.
type Fullness uint32

// Kinds of Fullness. Of the pools on an OSD that is full, requests that take space
// wait in their clients, or fail with ENOSPC when they ask not to wait; the others
// are only told.
const (
	NotFull      Fullness = 0
	NearFull     Fullness = Fullness(osdmap.StateNearFull)
	BackfillFull Fullness = Fullness(osdmap.StateBackfillFull)
	Full         Fullness = Fullness(osdmap.StateFull)
)

// fullStates are all bits of an OSD's state that say how full it is.
const fullStates = osdmap.StateFull | osdmap.StateBackfillFull | osdmap.StateNearFull

// fullNames are the words of "ceph tell osd.N injectfull". read-only.
var fullNames = map[string]Fullness{"none": NotFull, "nearfull": NearFull, "backfillfull": BackfillFull, "full": Full}

// ParseFullness reads "none", "nearfull", "backfillfull" or "full".
func ParseFullness(s string) (Fullness, bool) {
	f, ok := fullNames[s]
	return f, ok
}

// SetFull makes an OSD tell the monitors how full it is, as "ceph tell osd.N
// injectfull" does with a real one. The map then marks the OSD and the pools that
// are placed on it.
func (c *Cluster) SetFull(osd int, f Fullness) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setFull(int32(osd), f)
}

func (c *Cluster) setFull(id int32, f Fullness) {
	if flip := c.osdmap.State[id]&fullStates ^ uint32(f); flip != 0 {
		c.change(func(inc *osdmap.Incremental) { inc.NewState = map[int32]uint32{id: flip} })
	}
	c.updateFull()
}

// updateFull marks all pools as they have to be. Cluster.mu is held.
func (c *Cluster) updateFull() {
	pools := map[int64]*osdmap.Pool{}
	for id, p := range c.osdmap.Pools {
		if flags := c.fullFlags(id, p); flags != p.Flags {
			n := *p
			n.Flags, n.LastChange = flags, c.osdmap.Epoch+1
			pools[id] = &n
		}
	}
	if len(pools) > 0 {
		c.change(func(inc *osdmap.Incremental) { inc.NewPools = pools })
	}
}

// fullFlags returns a pool's flags with those set as they have to be that say how
// full it is: by its quota, else by the fullest of its OSDs.
func (c *Cluster) fullFlags(id int64, p *osdmap.Pool) uint64 {
	flags := p.Flags &^ (osdmap.PoolFull | osdmap.PoolFullQuota | osdmap.PoolBackfillFull | osdmap.PoolNearFull)
	if p.QuotaBytes+p.QuotaObjects > 0 {
		s := c.poolStat(id)
		if p.QuotaBytes > 0 && s.Bytes >= p.QuotaBytes || p.QuotaObjects > 0 && s.Objects >= p.QuotaObjects {
			return flags | osdmap.PoolFull | osdmap.PoolFullQuota
		}
	}
	// A pool is on all OSDs: its rule takes the root.
	var state uint32
	for i, s := range c.osdmap.State {
		if c.osdmap.IsUp(int32(i)) && c.osdmap.Weight[i] > 0 {
			state |= s
		}
	}
	switch {
	case state&osdmap.StateFull != 0:
		flags |= osdmap.PoolFull
	case state&osdmap.StateBackfillFull != 0:
		flags |= osdmap.PoolBackfillFull
	case state&osdmap.StateNearFull != 0:
		flags |= osdmap.PoolNearFull
	}
	return flags
}

// checkQuota marks a pool as full, or not any more.
func (c *Cluster) checkQuota(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.osdmap.Pools[id]
	if p == nil {
		return
	}
	if flags := c.fullFlags(id, p); flags != p.Flags {
		c.updatePool(id, func(p *osdmap.Pool) { p.Flags = flags })
	}
}

// fullChecks are the health checks of OSDs and pools that are more or less full.
func (c *Cluster) fullChecks() (osds, pools []check) {
	for _, k := range []struct {
		code, severity, name, is string
		state                    uint32
		flag                     uint64
	}{
		{"FULL", "HEALTH_ERR", "full", "full", osdmap.StateFull, osdmap.PoolFull},
		{"BACKFILLFULL", "HEALTH_WARN", "backfillfull", "backfill full", osdmap.StateBackfillFull, osdmap.PoolBackfillFull},
		{"NEARFULL", "HEALTH_WARN", "nearfull", "near full", osdmap.StateNearFull, osdmap.PoolNearFull},
	} {
		var detail []string
		for i, s := range c.osdmap.State {
			if s&k.state != 0 && c.osdmap.Exists(int32(i)) {
				detail = append(detail, fmt.Sprintf("osd.%d is %s", i, k.is))
			}
		}
		if n := len(detail); n > 0 {
			osds = append(osds, check{code: "OSD_" + k.code, severity: k.severity, summary: fmt.Sprintf("%d %s osd(s)", n, k.name), count: n, detail: detail})
		}
		detail = nil
		for _, id := range poolsByID(c.osdmap) {
			p, why := c.osdmap.Pools[id], ""
			switch {
			case p.Flags&k.flag == 0:
				continue
			case p.Flags&osdmap.PoolFullQuota != 0:
				why = " (running out of quota)"
			case k.flag == osdmap.PoolFull:
				why = " (no space)"
			}
			detail = append(detail, fmt.Sprintf("pool '%s' is %s%s", c.osdmap.PoolNames[id], k.name, why))
		}
		if n := len(detail); n > 0 {
			pools = append(pools, check{code: "POOL_" + k.code, severity: "HEALTH_WARN", summary: fmt.Sprintf("%d pool(s) %s", n, k.name), count: n, detail: detail})
		}
	}
	return osds, pools
}
