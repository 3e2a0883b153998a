package rbdcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
)

// statDescriptors are the figures of an image in the order of the columns.
var statDescriptors = []struct{ name, title string }{
	{"write_ops", "WR "},
	{"read_ops", "RD "},
	{"write_bytes", "WR_BYTES "},
	{"read_bytes", "RD_BYTES "},
	{"write_latency", "WR_LAT "},
	{"read_latency", "RD_LAT "},
}

// perfHandlers are the commands that show what the images are busy with.
func perfHandlers() map[string]handler {
	return map[string]handler{
		"perf image iostat": perfIostat,
		"perf image iotop":  perfIotop,
	}
}

// imageStats is what the manager says of one image; the figures are in the order
// of statDescriptors.
type imageStats struct {
	pool, namespace, image string
	figures                [6]float64
}

// sortKey returns the figure to sort by as the manager calls it.
func sortKey(given string) (string, bool) {
	if given == "" {
		return statDescriptors[0].name, true
	}
	for _, d := range statDescriptors {
		if given == strings.ReplaceAll(d.name, "_", "-") {
			return d.name, true
		}
	}
	return "", false
}

// parseStats reads the manager's answer. Images of pools that it does not
// describe are left out.
func parseStats(out []byte) ([]imageStats, error) {
	var answer struct {
		Figures []string                `json:"stat_descriptors"`
		Pools   map[string]string       `json:"pool_descriptors"`
		Stats   []map[string][]*float64 `json:"stats"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, invalidf("rbd: error parsing perf stats")
	}
	column := make(map[string]int)
	for i, name := range answer.Figures {
		column[name] = i
	}
	var all []imageStats
	for _, stat := range answer.Stats {
		for spec, values := range stat {
			id, image, _ := strings.Cut(spec, "/")
			pool, ok := answer.Pools[id]
			if !ok {
				continue
			}
			s := imageStats{pool: pool, image: image}
			if i := strings.LastIndexByte(pool, '/'); i >= 0 {
				s.pool, s.namespace = pool[:i], pool[i+1:]
			}
			for i, d := range statDescriptors {
				if at, ok := column[d.name]; ok && at < len(values) && values[at] != nil {
					s.figures[i] = *values[at]
				}
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// figure prints figure i as rbd does.
func figure(i int, v float64) string {
	switch {
	case i < 2:
		return cli.SISize(uint64(max(v, 0))) + "/s"
	case i < 4:
		return cli.ByteSize(uint64(max(v, 0))) + "/s"
	case v >= 1e9:
		return fmt.Sprintf("%.2f s", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.2f ms", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.2f us", v/1e3)
	}
	return fmt.Sprintf("%.2f ns", v)
}

func perfIostat(ctx context.Context, c *call) error {
	s, err := poolSpec(c.Invocation)
	if err != nil {
		return err
	}
	sortBy, ok := sortKey(c.String("sort-by"))
	if !ok {
		return badOption("sort-by")
	}
	rounds := uint64(0)
	if c.Has("iterations") {
		if rounds, err = strconv.ParseUint(c.String("iterations"), 10, 32); err != nil || rounds == 0 {
			return badOption("iterations")
		}
	}
	format, err := c.format()
	if err != nil {
		return err
	}
	if rounds > 1 && format != "" {
		if c.before(ctx, release20) {
			return invalidf("rbd: specifing iterations is not valid with formatted output") // sic
		}
		return invalidf("rbd: specifying iterations is not valid with formatted output")
	}
	if _, err := c.connect(ctx); err != nil {
		return err
	}
	return c.iostatRounds(ctx, c.statsPool(s), sortBy, rounds)
}

// statsPool returns the pool or namespace as the manager wants it called; all of
// them are "".
func (c *call) statsPool(s spec) string {
	pool := s.Pool
	if s.Namespace != "" {
		if pool == "" {
			if pool = c.cfg.Get("rbd_default_pool"); pool == "" {
				pool = "rbd"
			}
		}
		pool += "/" + s.Namespace
	}
	return pool
}

// statsPeriod is how often the manager has new figures.
func (c *call) statsPeriod() time.Duration {
	period, err := strconv.Atoi(c.cfg.Get("mgr_stats_period"))
	if err != nil || period < 0 {
		period = 5
	}
	return time.Duration(min(period, 10)) * time.Second
}

// iostatRounds prints the figures again and again; 0 rounds are no limit, and
// formatted output is printed once.
func (c *call) iostatRounds(ctx context.Context, spec, sortBy string, rounds uint64) error {
	tick := time.NewTicker(max(c.statsPeriod(), time.Millisecond))
	defer tick.Stop()
	var waiting, seen bool
	for n := uint64(0); rounds == 0 || n < rounds; {
		out, err := c.mgrCommand(ctx, "rbd perf image stats", "rbd: mgr command", mgrArgs{"pool_spec": spec, "sort_by": sortBy})
		if err != nil {
			return err
		}
		stats, err := parseStats(out)
		if err != nil {
			return err
		}
		if seen = seen || len(stats) > 0; seen {
			n++
			done, err := c.printStats(stats, spec == "")
			if done || err != nil {
				return err
			}
		} else if !waiting {
			waiting = true
			c.warnf("rbd: waiting for initial image stats\n")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// printStats prints the figures and reports whether that was all: formatted
// output is printed once.
func (c *call) printStats(all []imageStats, global bool) (bool, error) {
	f, err := c.formatter()
	if err != nil {
		return false, err
	}
	if f != nil {
		f.OpenArray("images")
		for _, s := range all {
			f.OpenObject("image")
			f.String("pool", s.pool)
			f.String("pool_namespace", s.namespace)
			f.String("image", s.image)
			for i, d := range statDescriptors {
				f.Float(d.name, s.figures[i])
			}
			f.Close()
		}
		return true, f.Flush(c.std.Out)
	}
	var t cli.TextTable
	t.Column("NAME", cli.Left, cli.Left)
	for _, d := range statDescriptors {
		t.Column(d.title, cli.Right, cli.Right)
	}
	for _, s := range all {
		name := s.image
		if global {
			name = spec{Pool: s.pool, Namespace: s.namespace, Image: s.image}.String()
		}
		row := []string{name}
		for i := range statDescriptors {
			row = append(row, figure(i, s.figures[i])+" ")
		}
		t.Row(row...)
	}
	t.Write(c.std.Out)
	c.printf("\n")
	return false, nil
}
