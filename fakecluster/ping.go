package fakecluster

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// typePing is the message by which a client asks a monitor whether it lives,
// and the monitor's answer.
const typePing uint16 = 2

// ping answers with the monitor's own state, whether it is in the quorum or not.
func (s *monSession) ping(m *msgr2.Message) {
	c := s.mon.c
	c.mu.Lock()
	pong := encodeJSON("json-pretty", object{
		{"health", healthObject(c.checks(), false)}, {"mon_status", c.monStatus(s.mon)},
	})
	c.mu.Unlock()
	_ = s.conn.Send(&msgr2.Message{Type: typePing, Version: 1, TID: m.TID, Front: denc.AppendString(nil, string(pong))})
}

// monStatus is what one monitor says of itself. The cluster's mutex is held.
func (c *Cluster) monStatus(m *mon) object {
	quorum := c.quorum()
	state := "peon"
	switch {
	case len(quorum) > 0 && quorum[0] == m.rank:
		state = "leader"
	case len(quorum) == 0 && c.enough():
		state = "electing"
	case len(quorum) == 0:
		state = "probing"
	}
	outside := []string{}
	for _, o := range c.mons {
		if !o.running() {
			outside = append(outside, o.id)
		}
	}
	features := object{
		{"required_con", "2449958747317026820"}, {"required_mon", c.monFeatureNames()},
		{"quorum_con", fmt.Sprint(c.features())}, {"quorum_mon", c.monFeatureNames()},
	}
	o := object{{"name", m.id}, {"rank", m.rank}, {"state", state}, {"election_epoch", c.electionEpoch()}}
	if c.opt.release >= 18 {
		o = append(o, field{"uptime", c.clock.Now().Sub(c.started).Milliseconds()})
	}
	return append(o, object{
		{"quorum", quorum},
		{"quorum_age", int(c.clock.Now().Sub(c.election.since).Seconds())}, {"features", features}, {"outside_quorum", outside},
		{"extra_probe_peers", []string{}}, {"sync_provider", []string{}}, {"monmap", c.monmapObject()},
		{"feature_map", c.featureMap()}, {"stretch_mode", false},
	}...)
}
