package fakecluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// scheduler is one of the two kinds of schedules of the manager's module
// rbd_support. They are kept in the omap of an object in each pool; those for
// everything are kept by the manager. mgr_support.go runs them.
type scheduler struct {
	object  string
	trash   bool
	overall []schedule
}

// schedule is one entry, in the form in which it is stored.
type schedule struct {
	Interval  string  `json:"interval"`
	StartTime *string `json:"start_time"`
}

// level is what a schedule is for: "", a pool, a namespace or an image.
type level struct {
	id, name  string
	pool      int64 // -1 is everything
	namespace string
	image     string // id
}

func scheduleCommands() []command {
	var t []command
	for _, s := range []struct {
		words string
		of    func(c *Cluster) *scheduler
	}{
		{"rbd mirror snapshot schedule", func(c *Cluster) *scheduler { return &c.mirrorSchedules }},
		{"rbd trash purge schedule", func(c *Cluster) *scheduler { return &c.trashSchedules }},
	} {
		with := func(f func(*call, *scheduler, level) errno.Errno) func(*call) errno.Errno {
			return func(k *call) errno.Errno {
				l, e := k.level(s.of(k.c))
				if e != 0 {
					return e
				}
				return f(k, s.of(k.c), l)
			}
		}
		t = append(t,
			command{words: s.words + " add", module: "rbd_support", run: with((*call).scheduleAdd)},
			command{words: s.words + " remove", module: "rbd_support", run: with((*call).scheduleRemove)},
			command{words: s.words + " list", module: "rbd_support", run: with((*call).scheduleList)},
			command{words: s.words + " status", module: "rbd_support", run: with((*call).scheduleStatus)},
		)
	}
	return t
}

// place returns the group that an object is in.
func (c *Cluster) place(pool int64, n pg.Name) (*pg.Group, uint32) {
	p := c.osdmap.Pools[pool]
	hash := p.Hash(n.Namespace, n.Object)
	return c.groups[pool][p.Fold(osdmap.PG{Pool: pool, Seed: hash}).Seed], hash
}

func (c *Cluster) omap(pool int64, ns, object string) map[string][]byte {
	n := pg.Name{Namespace: ns, Object: object}
	g, _ := c.place(pool, n)
	return g.OmapAll(n)
}

// levelSpec is "", "pool/", "pool/ns/", "pool//image", "pool/image" or
// "pool/ns/image".
var levelSpec = regexp.MustCompile(`^(?:([^/]+)/(?:(([^/]*)/)?([^/@]+)?)?)?$`)

// level reads a level_spec, as the manager's module does.
func (k *call) level(s *scheduler) (level, errno.Errno) {
	l, e := k.levelOf(s)
	if e != 0 && k.c.release().number == 16 {
		k.status = fmt.Sprintf("Invalid level spec %s: %s", k.args.str("level_spec"), k.status)
	}
	return l, e
}

func (k *call) levelOf(s *scheduler) (level, errno.Errno) {
	spec := k.args.str("level_spec")
	l := level{pool: -1}
	m := levelSpec.FindStringSubmatch(spec)
	switch {
	case m == nil:
		return l, k.say(errno.ErrInvalid, "failed to parse %s", spec)
	case m[4] != "" && s.trash:
		return l, k.say(errno.ErrInvalid, "invalid name %s: image level is not allowed", spec)
	case m[1] == "":
		return l, 0
	}
	id, ok := k.c.osdmap.PoolByName(m[1])
	if !ok {
		return l, k.say(errno.ErrInvalid, "pool %s does not exist", m[1])
	}
	if _, ok := k.c.osdmap.Pools[id].Applications["rbd"]; !ok {
		return l, k.say(errno.ErrInvalid, "%s is not an RBD pool", m[1])
	}
	l.pool, l.id, l.name, l.namespace = id, fmt.Sprint(id), spec, m[3]
	if m[2] == "" && m[4] == "" {
		return l, 0
	}
	l.id += "/" + l.namespace
	if l.namespace != "" {
		if _, ok := k.c.omap(id, "", "rbd_namespace")["name_"+l.namespace]; !ok {
			return l, k.say(errno.ErrInvalid, "namespace %s does not exist", l.namespace)
		}
		mode := denc.NewReader(k.c.omap(id, l.namespace, rbdMirroring)[rbdwire.KeyMirrorMode]).U32()
		if !s.trash && mode != rbdwire.MirrorModeImage {
			return l, k.say(errno.ErrInvalid, "namespace %s is not in mirror image mode", l.namespace)
		}
	}
	if m[4] == "" {
		return l, 0
	}
	if l.namespace == "" {
		l.name = m[1] + "/" + m[4]
	}
	v, ok := k.c.omap(id, l.namespace, rbdDirectory)["name_"+m[4]]
	if !ok {
		return l, k.say(errno.ErrInvalid, "image %s does not exist", m[4])
	}
	l.image = denc.NewReader(v).String()
	l.id += "/" + l.image
	if !snapshotMode(k.c.omap(id, l.namespace, rbdMirroring)["image_"+l.image]) {
		return l, k.say(errno.ErrInvalid, "image %s is not in snapshot mirror mode", m[4])
	}
	return l, 0
}

// parseInterval reads "90m", "2h", "1d" or minutes, and returns it in its
// shortest form.
func parseInterval(s string) (time.Duration, string, bool) {
	units := map[byte]int{'m': 1, 'h': 60, 'd': 24 * 60}
	unit := 1
	if s == "" {
		return 0, "", false
	}
	if u, ok := units[s[len(s)-1]]; ok {
		unit, s = u, s[:len(s)-1]
	}
	read, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, "", false
	}
	n := int(read) * unit
	text := fmt.Sprintf("%dm", n)
	if n%(24*60) == 0 {
		text = fmt.Sprintf("%dd", n/(24*60))
	} else if n%60 == 0 {
		text = fmt.Sprintf("%dh", n/60)
	}
	return time.Duration(n) * time.Minute, text, true
}

// load returns the schedules of a level.
func (k *call) load(s *scheduler, l level) []schedule {
	if l.pool < 0 {
		return s.overall
	}
	var out []schedule
	if v, ok := k.c.omap(l.pool, "", s.object)[l.id]; ok {
		_ = json.Unmarshal(v, &out) // somebody else's nonsense counts as none
	}
	return out
}

func (k *call) store(s *scheduler, l level, list []schedule) {
	if l.pool < 0 {
		s.overall = list
		return
	}
	n := pg.Name{Object: s.object}
	g, hash := k.c.place(l.pool, n)
	if len(list) == 0 {
		if _, ok := k.c.omap(l.pool, "", s.object)[l.id]; ok {
			g.OmapPut(n, hash, l.id, nil)
		}
		return
	}
	g.OmapPut(n, hash, l.id, encodeJSON("json-pretty", list))
}

// wanted reads the interval and the start time of a command.
func (k *call) wanted() (schedule, errno.Errno) {
	w := schedule{}
	if v := k.args.str("interval"); v != "" {
		_, text, ok := parseInterval(v)
		if !ok {
			return w, k.say(errno.ErrInvalid, "Invalid interval (%s)", v)
		}
		w.Interval = text
	}
	if v := k.args.str("start_time"); v != "" {
		_, text, ok := parseStart(v)
		if m := startTime.FindStringSubmatch(v); !ok && m != nil {
			return w, k.say(errno.ErrInvalid, "Invalid start time %s: %s: %s", v, k.c.clockProblem(m[1], m[2]), v)
		}
		if !ok {
			return w, k.say(errno.ErrInvalid, "Invalid start time %s: Unknown string format: %s", v, v)
		}
		w.StartTime = &text
	}
	return w, 0
}

// clockProblem is what the manager's Python says of a time that is none.
func (c *Cluster) clockProblem(hour, minute string) string {
	problem, what := "hour must be in 0..23", hour
	if n, _ := strconv.Atoi(hour); n <= 23 {
		problem, what = "minute must be in 0..59", minute
	}
	if c.opt.release >= 20 {
		problem += ", not " + what
	}
	return problem
}

var startTime = regexp.MustCompile(`^(?:\d{4}-\d\d-\d\d[T ])?(\d\d?):(\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d(?::?\d\d)?)?$`)

// parseStart reads a time of the day with its zone. It returns the minutes after
// midnight by which runs are shifted, as the manager's module computes them, and
// the time in its canonical form.
func parseStart(s string) (time.Duration, string, bool) {
	m := startTime.FindStringSubmatch(s)
	if m == nil {
		return 0, "", false
	}
	hour, _ := strconv.Atoi(m[1])
	minute, _ := strconv.Atoi(m[2])
	if hour > 23 || minute > 59 {
		return 0, "", false
	}
	text := fmt.Sprintf("%02d:%02d:00", hour, minute)
	total := hour*60 + minute
	if zone := m[3]; zone != "" {
		if zone == "Z" {
			zone = "+00:00"
		}
		digits := strings.ReplaceAll(zone[1:], ":", "") + "00"
		n, _ := strconv.Atoi(digits[:4])
		offset := n/100*60 + n%100
		text += fmt.Sprintf("%s%02d:%02d", zone[:1], offset/60, offset%60)
		if zone[0] == '-' && offset > 0 {
			offset = 24*60 - offset // a negative offset's seconds count within the day before
		}
		total += offset
	}
	return time.Duration(total) * time.Minute, text, true
}

func same(a, b schedule) bool {
	return a.Interval == b.Interval && (a.StartTime == nil) == (b.StartTime == nil) && (a.StartTime == nil || *a.StartTime == *b.StartTime)
}

func (k *call) scheduleAdd(s *scheduler, l level) errno.Errno {
	w, e := k.wanted()
	switch {
	case e != 0:
		return e
	case w.Interval == "":
		return k.say(errno.ErrInvalid, "Invalid interval (%s)", k.args.str("interval"))
	}
	list := k.load(s, l)
	if !slices.ContainsFunc(list, func(o schedule) bool { return same(o, w) }) {
		k.store(s, l, append(slices.Clone(list), w))
	}
	return 0
}

func (k *call) scheduleRemove(s *scheduler, l level) errno.Errno {
	w, e := k.wanted()
	switch {
	case e != 0:
		return e
	case w.Interval == "":
		k.store(s, l, nil)
	default:
		k.store(s, l, slices.DeleteFunc(slices.Clone(k.load(s, l)), func(o schedule) bool { return same(o, w) }))
	}
	return 0
}

// within reports whether level id inner is outer or below it.
func within(inner, outer string) bool {
	return outer == "" || inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
}

// levels returns the schedules of a level and of all below it, by level id,
// with the names of the levels.
func (k *call) levels(s *scheduler, l level) (map[string][]schedule, map[string]string) {
	lists, names := map[string][]schedule{}, map[string]string{}
	if l.pool < 0 && len(s.overall) > 0 {
		lists[""], names[""] = s.overall, ""
	}
	for _, pool := range poolsByID(k.c.osdmap) {
		for id, v := range k.c.omap(pool, "", s.object) {
			var list []schedule
			if json.Unmarshal(v, &list) != nil || !within(id, l.id) {
				continue
			}
			lists[id], names[id] = list, k.levelName(pool, id)
		}
	}
	if _, ok := lists[l.id]; !ok && l.pool >= 0 {
		for _, id := range []string{fmt.Sprintf("%d/%s", l.pool, l.namespace), fmt.Sprint(l.pool), ""} {
			if id == l.id || len(id) > len(l.id) {
				continue
			}
			var list []schedule
			if id == "" {
				list = s.overall
			} else if v, ok := k.c.omap(l.pool, "", s.object)[id]; ok {
				_ = json.Unmarshal(v, &list)
			}
			if len(list) > 0 {
				lists[id], names[id] = list, ""
				if id != "" {
					names[id] = k.levelName(l.pool, id)
				}
				break
			}
		}
	}
	for id, list := range lists { // the module lists them by their words
		lists[id] = slices.SortedStableFunc(slices.Values(list), func(a, b schedule) int { return strings.Compare(a.Interval, b.Interval) })
	}
	return lists, names
}

func (k *call) levelName(pool int64, id string) string {
	parts := strings.Split(id, "/")
	name := k.c.osdmap.PoolNames[pool] + "/"
	ns := ""
	if len(parts) > 1 && parts[1] != "" {
		ns = parts[1]
		name += ns + "/"
	}
	if len(parts) > 2 {
		if v, ok := k.c.omap(pool, ns, "rbd_directory")["id_"+parts[2]]; ok {
			name += denc.NewReader(v).String()
		}
	}
	return name
}

func (k *call) scheduleList(s *scheduler, l level) errno.Errno {
	lists, names := k.levels(s, l)
	o := object{}
	for _, id := range slices.Sorted(maps.Keys(lists)) {
		o = append(o, field{id, object{{"name", names[id]}, {"schedule", lists[id]}}})
	}
	return k.pyJSON(o)
}

// strike returns the first time after now at which a list of schedules runs;
// zero when it never does.
func strike(list []schedule, now time.Time) time.Time {
	var at time.Time
	for _, s := range list {
		d, _, ok := parseInterval(s.Interval)
		if !ok || d == 0 { // an interval of nothing is kept, and never over
			continue
		}
		start := time.Unix(0, 0).UTC()
		if s.StartTime != nil {
			if shift, _, ok := parseStart(*s.StartTime); ok {
				start = start.Add(shift)
			}
		}
		if t := start.Add((now.Sub(start)/d + 1) * d); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// next returns when a list of schedules strikes next, as status shows it.
func (k *call) next(list []schedule) string {
	return strike(list, k.c.clock.Now().UTC()).Format("2006-01-02 15:04:00")
}

// best returns the schedules of the closest level that has some.
func (c *Cluster) best(s *scheduler, pool int64, ns, image string) []schedule {
	stored := c.omap(pool, "", s.object)
	for _, id := range []string{fmt.Sprintf("%d/%s/%s", pool, ns, image), fmt.Sprintf("%d/%s", pool, ns), fmt.Sprint(pool)} {
		var list []schedule
		if v, ok := stored[id]; ok && json.Unmarshal(v, &list) == nil && len(list) > 0 {
			return list
		}
	}
	return s.overall
}

func (k *call) scheduleStatus(s *scheduler, l level) errno.Errno {
	out := []object{}
	for _, pool := range poolsByID(k.c.osdmap) {
		namespaces := []string{""}
		for key := range k.c.omap(pool, "", "rbd_namespace") {
			namespaces = append(namespaces, strings.TrimPrefix(key, "name_"))
		}
		slices.Sort(namespaces)
		for _, ns := range namespaces {
			out = append(out, k.statusOf(s, l, pool, ns)...)
		}
	}
	slices.SortStableFunc(out, func(a, b object) int { return strings.Compare(scheduleTime(a), scheduleTime(b)) })
	if s.trash {
		return k.pyJSON(object{{"scheduled", out}})
	}
	return k.pyJSON(object{{"scheduled_images", out}})
}

func scheduleTime(o object) string {
	for _, f := range o {
		if f.Key == "schedule_time" {
			return f.Value.(string)
		}
	}
	return ""
}

func (k *call) statusOf(s *scheduler, l level, pool int64, ns string) []object {
	var out []object
	if _, ok := k.c.osdmap.Pools[pool].Applications["rbd"]; !ok {
		return nil
	}
	base := fmt.Sprintf("%d/%s", pool, ns)
	if s.trash {
		if list := k.c.best(s, pool, ns, ""); len(list) > 0 && within(base, l.id) {
			out = append(out, object{
				{"namespace", ns}, {"pool_id", fmt.Sprint(pool)}, {"pool_name", k.c.osdmap.PoolNames[pool]}, {"schedule_time", k.next(list)},
			})
		}
		return out
	}
	mirroring := k.c.omap(pool, ns, "rbd_mirroring")
	for _, key := range slices.Sorted(maps.Keys(mirroring)) {
		id, ok := strings.CutPrefix(key, "image_")
		if !ok || strings.HasPrefix(id, "map_") || !within(base+"/"+id, l.id) || !snapshotMode(mirroring[key]) || k.c.omap(pool, ns, rbdHeader+id) == nil || k.c.nonPrimary(pool, ns, id) {
			continue
		}
		list := k.c.best(s, pool, ns, id)
		if len(list) == 0 {
			continue
		}
		out = append(out, object{{"image", k.levelName(pool, base+"/"+id)}, {"schedule_time", k.next(list)}})
	}
	return out
}

// nonPrimary reports whether an image is a replica.
func (c *Cluster) nonPrimary(pool int64, ns, id string) bool {
	return denc.NewReader(c.omap(pool, ns, rbdHeader+id)[rbdwire.KeyFeatures]).U64()&rbdwire.FeatureNonPrimary != 0
}

// snapshotMode reads of a MirrorImage whether it is enabled in snapshot mode.
func snapshotMode(v []byte) bool {
	r := denc.NewReader(v)
	s := r.Enter("MirrorImage", 2)
	r.Bytes()
	state := r.U8()
	mode := uint8(0)
	if s.V >= 2 {
		mode = r.U8()
	}
	r.Leave(s)
	return r.Err() == nil && state == 1 && mode == 1
}
