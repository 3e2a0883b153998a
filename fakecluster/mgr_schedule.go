package fakecluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// scheduler is one of the two kinds of schedules of the manager's module
// rbd_support. They are kept in the omap of an object in each pool; those for
// everything are kept by the manager. They are told, not run: that would need
// an RBD client.
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
			command{sig: s.words + " add level_spec:CephString interval:CephString start_time:CephString,?", module: "mgr", perm: "w", mgr: true, run: with((*call).scheduleAdd)},
			command{sig: s.words + " remove level_spec:CephString interval:CephString,? start_time:CephString,?", module: "mgr", perm: "w", mgr: true, run: with((*call).scheduleRemove)},
			command{sig: s.words + " list level_spec:CephString,?", module: "mgr", perm: "r", mgr: true, run: with((*call).scheduleList)},
			command{sig: s.words + " status level_spec:CephString,?", module: "mgr", perm: "r", mgr: true, run: with((*call).scheduleStatus)},
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

// level reads a level_spec: "", "pool", "pool/", "pool/ns/", "pool/image" or
// "pool/ns/image".
func (k *call) level(s *scheduler) (level, errno.Errno) {
	spec := k.args.str("level_spec")
	l := level{pool: -1}
	if spec == "" {
		return l, 0
	}
	parts := strings.Split(spec, "/")
	id, ok := k.c.osdmap.PoolByName(parts[0])
	if !ok {
		return l, k.say(errno.ErrNotFound, "[errno 2] pool %s does not exist", parts[0])
	}
	l.pool = id
	image := ""
	switch len(parts) {
	case 1:
	case 2:
		image = parts[1]
	case 3:
		l.namespace, image = parts[1], parts[2]
	default:
		return l, k.say(errno.ErrInvalid, "[errno 22] invalid level spec %s", spec)
	}
	if image != "" && s.trash {
		return l, k.say(errno.ErrInvalid, "[errno 22] invalid level spec %s", spec)
	}
	l.id, l.name = fmt.Sprint(id), parts[0]+"/"
	if l.namespace != "" || image != "" {
		l.id += "/" + l.namespace
	}
	if l.namespace != "" {
		l.name += l.namespace + "/"
	}
	if image != "" {
		v, ok := k.c.omap(id, l.namespace, "rbd_directory")["name_"+image]
		if !ok {
			return l, k.say(errno.ErrNotFound, "[errno 2] image %s does not exist", spec)
		}
		l.image = denc.NewReader(v).String()
		l.id += "/" + l.image
		l.name += image
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
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, "", false
	}
	n *= unit
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

func (k *call) wanted() (schedule, bool) {
	_, text, ok := parseInterval(k.args.str("interval"))
	w := schedule{Interval: text}
	if k.args.has("start_time") && k.args.str("start_time") != "" {
		v := k.args.str("start_time")
		w.StartTime = &v
	}
	return w, ok
}

func same(a, b schedule) bool {
	return a.Interval == b.Interval && (a.StartTime == nil) == (b.StartTime == nil) && (a.StartTime == nil || *a.StartTime == *b.StartTime)
}

func (k *call) scheduleAdd(s *scheduler, l level) errno.Errno {
	w, ok := k.wanted()
	if !ok {
		return k.say(errno.ErrInvalid, "Invalid interval (%s)", k.args.str("interval"))
	}
	list := k.load(s, l)
	if !slices.ContainsFunc(list, func(o schedule) bool { return same(o, w) }) {
		k.store(s, l, append(slices.Clone(list), w))
	}
	return 0
}

func (k *call) scheduleRemove(s *scheduler, l level) errno.Errno {
	if k.args.str("interval") == "" {
		k.store(s, l, nil)
		return 0
	}
	w, ok := k.wanted()
	if !ok {
		return k.say(errno.ErrInvalid, "Invalid interval (%s)", k.args.str("interval"))
	}
	k.store(s, l, slices.DeleteFunc(slices.Clone(k.load(s, l)), func(o schedule) bool { return same(o, w) }))
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
	return k.json(o)
}

// next returns when a list of schedules strikes next.
func (k *call) next(list []schedule) string {
	now := k.c.clock.Now().UTC()
	var at time.Time
	for _, s := range list {
		d, _, ok := parseInterval(s.Interval)
		if !ok {
			continue
		}
		if t := now.Truncate(d).Add(d); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at.Format("2006-01-02 15:04:00")
}

// best returns the schedules of the closest level that has some.
func (k *call) best(s *scheduler, pool int64, ns, image string) []schedule {
	stored := k.c.omap(pool, "", s.object)
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
	if s.trash {
		return k.json(object{{"scheduled", out}})
	}
	return k.json(object{{"scheduled_images", out}})
}

func (k *call) statusOf(s *scheduler, l level, pool int64, ns string) []object {
	var out []object
	base := fmt.Sprintf("%d/%s", pool, ns)
	if s.trash {
		if list := k.best(s, pool, ns, ""); len(list) > 0 && within(base, l.id) {
			out = append(out, object{{"schedule_time", k.next(list)}, {"pool_id", fmt.Sprint(pool)}, {"pool_name", k.c.osdmap.PoolNames[pool]}, {"namespace", ns}})
		}
		return out
	}
	mirroring := k.c.omap(pool, ns, "rbd_mirroring")
	for _, key := range slices.Sorted(maps.Keys(mirroring)) {
		id, ok := strings.CutPrefix(key, "image_")
		if !ok || !within(base+"/"+id, l.id) || !snapshotMode(mirroring[key]) {
			continue
		}
		list := k.best(s, pool, ns, id)
		if len(list) == 0 {
			continue
		}
		out = append(out, object{{"schedule_time", k.next(list)}, {"image", k.levelName(pool, base+"/"+id)}})
	}
	return out
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
