package fakecluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// check is one entry of the health report.
type check struct {
	code, severity, summary string
	count                   int
	detail                  []string
	muted, sticky           bool
}

// checks returns what is wrong with the cluster.
func (c *Cluster) checks() []check {
	var out []check
	add := func(more []check) { out = append(out, more...) }
	if c.mgrmap.ActiveGID == 0 {
		add([]check{{code: "MGR_DOWN", severity: "HEALTH_WARN", summary: "no active mgr", count: 1}})
	}
	if down := len(c.mons) - len(c.quorum()); down > 0 {
		add([]check{{code: "MON_DOWN", severity: "HEALTH_WARN", summary: fmt.Sprintf("%d/%d mons down, quorum %s", down, len(c.mons), strings.Join(c.quorumNames(), ",")), count: down}})
	}
	var down, flags, single []string
	for i, s := range c.osdmap.State {
		if s&osdmap.StateExists != 0 && s&osdmap.StateUp == 0 && c.osdmap.Weight[i] > 0 {
			down = append(down, fmt.Sprintf("osd.%d (%s) is down", i, strings.Join(c.above(int32(i)), ",")))
		}
	}
	add(warning("OSD_DOWN", "%d osds down", down))
	if len(down) > 0 {
		add(c.subtreeChecks())
	}
	add(c.groupChecks())
	for _, f := range mapFlags {
		if f.warn && c.osdmap.HasFlag(f.bit) {
			flags = append(flags, f.name)
		}
	}
	if len(flags) > 0 {
		add([]check{{code: "OSDMAP_FLAGS", severity: "HEALTH_WARN", summary: strings.Join(flags, ",") + " flag(s) set", count: len(flags)}})
	}
	add(c.flagChecks())
	osds, pools := c.fullChecks()
	add(osds)
	add(pools)
	add(c.poolChecks())
	for _, id := range poolsByID(c.osdmap) {
		if p := c.osdmap.Pools[id]; p.Size == 1 && !p.IsErasure() {
			single = append(single, fmt.Sprintf("pool '%s' has no replicas configured", c.osdmap.PoolNames[id]))
		}
	}
	add(warning("POOL_NO_REDUNDANCY", "%d pool(s) have no replicas configured", single))
	slices.SortStableFunc(out, func(a, b check) int { return strings.Compare(a.code, b.code) })
	for i := range out {
		out[i].muted, out[i].sticky = c.muted(out[i].code), c.mutes[out[i].code].sticky
	}
	return out
}

// warning is a check about as many things as detail tells of, if any. "%d" in the summary
// stands for their number; hints follow the detail.
func warning(code, summary string, detail []string, hints ...string) []check {
	n := len(detail)
	if n == 0 {
		return nil
	}
	return []check{{code: code, severity: "HEALTH_WARN", summary: strings.ReplaceAll(summary, "%d", fmt.Sprint(n)), count: n, detail: append(detail, hints...)}}
}

// appGrace is how long a pool of 20.2 may be without an application.
const appGrace = 5 * time.Minute

// poolChecks are about how pools are set up.
func (c *Cluster) poolChecks() []check {
	var lost, both, noScrub, noDeep []string
	for _, id := range poolsByID(c.osdmap) {
		p, name := c.osdmap.Pools[id], c.osdmap.PoolNames[id]
		used := c.opt.release >= 18 || c.poolStat(id).Objects > 0
		if c.opt.release >= 20 {
			used = c.clock.Now().Sub(p.Created.Std()) > appGrace
		}
		if len(p.Applications) == 0 && used {
			lost = append(lost, fmt.Sprintf("application not enabled on pool '%s'", name))
		}
		set := 0
		for _, o := range poolOptionList(p) {
			if o.Key == "target_size_bytes" || o.Key == "target_size_ratio" {
				set++
			}
		}
		if set == 2 {
			both = append(both, fmt.Sprintf("Pool %s has target_size_bytes and target_size_ratio set", name))
		}
		if p.Flags&poolNoScrub != 0 {
			noScrub = append(noScrub, fmt.Sprintf("Pool %s has noscrub flag", name))
		}
		if p.Flags&poolNoDeepScrub != 0 {
			noDeep = append(noDeep, fmt.Sprintf("Pool %s has nodeep-scrub flag", name))
		}
	}
	out := warning("POOL_APP_NOT_ENABLED", "%d pool(s) do not have an application enabled", lost,
		"use 'ceph osd pool application enable <pool-name> <app-name>', where <app-name> is 'cephfs', 'rbd', 'rgw', or freeform for custom applications.")
	out = append(out, warning("POOL_HAS_TARGET_SIZE_BYTES_AND_RATIO", "%d pools have both target_size_bytes and target_size_ratio set", both)...)
	var flags []string
	if len(noScrub) > 0 {
		flags = append(flags, "noscrub")
	}
	if len(noDeep) > 0 {
		flags = append(flags, "nodeep-scrub")
	}
	if len(flags) > 0 { // which is told, and no warning
		out = append(out, check{code: "POOL_SCRUB_FLAGS", severity: "HEALTH_OK", summary: "Some pool(s) have the " + strings.Join(flags, ", ") + " flag(s) set", count: 0, detail: append(noScrub, noDeep...)})
	}
	return out
}

func overall(checks []check) string {
	s := "HEALTH_OK"
	for _, c := range checks {
		if s != "HEALTH_ERR" && c.severity != "HEALTH_OK" && !c.muted {
			s = c.severity
		}
	}
	return s
}

func healthObject(checks []check, detail bool) object {
	o, mutes := object{}, []object{}
	for _, c := range checks {
		v := object{{"severity", c.severity}, {"summary", object{{"message", c.summary}, {"count", c.count}}}}
		if detail {
			list := []object{}
			for _, d := range c.detail {
				list = append(list, object{{"message", d}})
			}
			v = append(v, field{"detail", list})
		}
		o = append(o, field{c.code, append(v, field{"muted", c.muted})})
		if c.muted {
			mutes = append(mutes, object{{"code", c.code}, {"sticky", c.sticky}, {"summary", c.summary}, {"count", c.count}})
		}
	}
	return object{{"status", overall(checks)}, {"checks", o}, {"mutes", mutes}}
}

func (k *call) health() errno.Errno {
	checks := k.c.checks()
	detail := k.args.str("detail") == "detail"
	if !k.plain() {
		return k.json(healthObject(checks, detail))
	}
	var sum, muted []string
	for _, c := range checks {
		if c.muted {
			muted = append(muted, c.code)
			continue
		}
		sum = append(sum, c.summary)
	}
	k.print("%s", overall(checks))
	if len(sum) > 0 {
		k.print(" %s", strings.Join(sum, "; "))
	}
	if len(muted) > 0 {
		k.print(" (muted: %s)", strings.Join(muted, " "))
	}
	k.print("\n")
	if detail {
		for _, c := range checks {
			k.print("[%s] %s: %s\n", map[string]string{"HEALTH_OK": "OK", "HEALTH_WARN": "WRN", "HEALTH_ERR": "ERR"}[c.severity], c.code, c.summary)
			for _, d := range c.detail {
				k.print("    %s\n", d)
			}
		}
	}
	return 0
}

// mute is a check of the health that is not to be counted until a time, or at all.
type mute struct {
	until  time.Time
	sticky bool
}

// muted reports whether a check is not counted.
func (c *Cluster) muted(code string) bool {
	m, ok := c.mutes[code]
	return ok && (m.until.IsZero() || c.clock.Now().Before(m.until))
}

func (k *call) healthMute() errno.Errno {
	code, ttl := k.args.str("code"), k.args.str("ttl")
	m := mute{sticky: k.args.flag("sticky")}
	if ttl != "" {
		d, problem := parseSpan(ttl)
		if problem != "" {
			return k.say(errno.ErrInvalid, "invalid duration: %s (%s)", ttl, problem)
		}
		m.until = k.c.clock.Now().Add(d)
	}
	raised := false
	for _, x := range k.c.checks() {
		raised = raised || x.code == code
	}
	if !raised && !m.sticky {
		return k.say(errno.ErrNotFound, "health alert %s is not currently raised", code)
	}
	if k.c.mutes == nil {
		k.c.mutes = map[string]mute{}
	}
	k.c.mutes[code] = m
	return 0
}

func (k *call) healthUnmute() errno.Errno {
	if code := k.args.str("code"); code != "" {
		delete(k.c.mutes, code)
	} else {
		k.c.mutes = nil
	}
	return 0
}

// parseSpan reads a duration as Ceph does: numbers with units, "1d12h".
func parseSpan(s string) (d time.Duration, problem string) {
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "mo": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour}
	for s != "" {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if digits == 0 {
			return 0, "expected digit"
		}
		n, err := strconv.ParseInt(s[:digits], 10, 32)
		if err != nil {
			return 0, "expected digit"
		}
		s = s[digits:]
		letters := len(s) - len(strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyz"))
		unit, ok := units[s[:letters]]
		if letters == 0 {
			unit, ok = time.Second, true
		}
		if !ok {
			return 0, "unrecogized unit '" + s[:letters] + "'"
		}
		d += time.Duration(n) * unit
		s = strings.TrimLeft(s[letters:], " ")
	}
	return d, ""
}
