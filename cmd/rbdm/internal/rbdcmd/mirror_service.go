package rbdcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
)

// mirrorService is one rbd-mirror daemon as the manager's service map shows it,
// with what it says of one pool (src/tools/rbd/MirrorDaemonServiceInfo.cc).
type mirrorService struct {
	serviceID, instanceID       string
	clientID, hostname, version string
	leader                      bool
	callouts                    []string
	health                      health
}

// mirrorServices returns the daemons that handle a pool, by service id.
func mirrorServices(ctx context.Context, c *call, pool int64) ([]mirrorService, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	var dump struct {
		Services map[string]struct {
			Daemons map[string]json.RawMessage `json:"daemons"`
		} `json:"services"`
	}
	var status map[string]map[string]struct {
		Status map[string]string `json:"status"`
	}
	for prefix, into := range map[string]any{"service dump": &dump, "service status": &status} {
		out, _, err := client.MonCommand(ctx, map[string]any{"prefix": prefix, "format": "json"}, nil)
		if err != nil {
			return nil, failed(err, "rbd: failed to retrieve the services of the cluster")
		}
		if err := json.Unmarshal(out, into); err != nil {
			return nil, &cli.UsageError{Code: exitGeneral, Msg: "rbd: " + prefix + ": " + err.Error(), Err: err}
		}
	}
	var all []mirrorService
	for id, raw := range dump.Services["rbd-mirror"].Daemons {
		if id == "summary" {
			continue
		}
		var d struct {
			Metadata map[string]string `json:"metadata"`
		}
		if json.Unmarshal(raw, &d) != nil {
			continue
		}
		s := newMirrorService(id, d.Metadata)
		if s.ofPool(status["rbd-mirror"][id].Status["json"], pool) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b mirrorService) int {
		na, _ := strconv.ParseUint(a.serviceID, 10, 64)
		nb, _ := strconv.ParseUint(b.serviceID, 10, 64)
		return cmp.Compare(na, nb)
	})
	return all, nil
}

func newMirrorService(id string, metadata map[string]string) mirrorService {
	s := mirrorService{serviceID: id, instanceID: metadata["instance_id"], clientID: metadata["id"], hostname: metadata["hostname"]}
	if s.clientID == "" {
		s.health = healthUnknown
	}
	s.version = metadata["ceph_version"]
	if words := strings.Fields(s.version); len(words) > 2 && words[0] == "ceph" && words[1] == "version" {
		s.version = words[2]
	}
	return s
}

// ofPool reads what the daemon says of a pool, and whether it says anything.
func (s *mirrorService) ofPool(text string, pool int64) bool {
	var pools map[string]struct {
		Callouts map[string]struct {
			Level string `json:"level"`
			Text  string `json:"text"`
		} `json:"callouts"`
		InstanceID string `json:"instance_id"`
		Leader     bool   `json:"leader"`
	}
	if json.Unmarshal([]byte(text), &pools) != nil {
		return false
	}
	p, ok := pools[strconv.FormatInt(pool, 10)]
	if !ok {
		return false
	}
	if p.InstanceID != "" {
		s.instanceID = p.InstanceID
	}
	s.leader = p.Leader
	for _, co := range p.Callouts {
		s.callouts = append(s.callouts, co.Text)
		switch co.Level {
		case "error":
			s.health = max(s.health, healthError)
		case "warning":
			s.health = max(s.health, healthWarning)
		}
	}
	slices.Sort(s.callouts)
	return true
}

// servicesHealth is the worst health of the daemons; unknown without any.
func servicesHealth(all []mirrorService) health {
	if len(all) == 0 {
		return healthUnknown
	}
	h := healthOK
	for _, s := range all {
		h = max(h, s.health)
	}
	return h
}

// serviceOf returns the daemon whose instance has the id, or nil.
func serviceOf(all []mirrorService, instance string) *mirrorService {
	for i := range all {
		if all[i].instanceID == instance {
			return &all[i]
		}
	}
	return nil
}

func printServices(c *call, all []mirrorService) {
	c.printf("\nDAEMONS\n")
	if len(all) == 0 {
		c.printf("  none\n\n")
	}
	for _, s := range all {
		c.printf("service %s:\n  instance_id: %s\n  client_id: %s\n  hostname: %s\n  version: %s\n  leader: %t\n  health: %s\n",
			s.serviceID, s.instanceID, s.clientID, s.hostname, s.version, s.leader, s.health)
		if len(s.callouts) > 0 {
			c.printf("  callouts: %s\n", strings.Join(s.callouts, "\n            "))
		}
		c.printf("\n")
	}
}

func formatServices(f *cli.Formatter, all []mirrorService) {
	f.OpenArray("daemons")
	for _, s := range all {
		f.OpenObject("daemon")
		f.String("service_id", s.serviceID)
		f.String("instance_id", s.instanceID)
		f.String("client_id", s.clientID)
		f.String("hostname", s.hostname)
		f.String("ceph_version", s.version)
		f.Bool("leader", s.leader)
		f.String("health", s.health.String())
		if len(s.callouts) > 0 {
			f.OpenArray("callouts")
			for _, text := range s.callouts {
				f.String("callout", text)
			}
			f.Close()
		}
		f.Close()
	}
	f.Close()
}
