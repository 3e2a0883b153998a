package fakecluster

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// perfCounters are what a manager asks OSDs for about images, in its order.
var perfCounters = []string{"write_ops", "read_ops", "write_bytes", "read_bytes", "write_latency", "read_latency"}

const (
	// perfExpires ends a query that nobody asked for lately.
	perfExpires = time.Minute
	perfResults = 64
)

// perfKey is a pool and namespace; the zero perfKey is everything.
type perfKey struct{ pool, ns string }

// imageKey is an image by its place and id.
type imageKey struct {
	at where
	id string
}

type perfValues [6]uint64

// perfQuery is a subscription to figures. Guarded by Cluster.mu.
type perfQuery struct {
	asked    time.Time
	at       time.Time // of current
	base     map[imageKey]perfValues
	current  map[imageKey]perfValues
	previous map[imageKey]perfValues
	span     time.Duration // between previous and current
}

// perfStats counts what clients do to images' data, while somebody asks.
type perfStats struct {
	counting atomic.Bool
	mu       sync.Mutex
	images   map[imageKey]perfValues
}

var dataObject = regexp.MustCompile(`^(?:rbd|journal)_data\.(?:([0-9]+)\.)?([^.]+)\.`)

// enabled reports whether count is to be called.
func (p *perfStats) enabled() bool { return p.counting.Load() }

// count adds a request to the figures of its image.
func (p *perfStats) count(pool int64, o *wire.OSDOp, took time.Duration, in, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := dataObject.FindStringSubmatch(o.Object)
	if m == nil {
		return
	}
	if m[1] != "" {
		pool, _ = strconv.ParseInt(m[1], 10, 64)
	}
	k := imageKey{where{pool, o.Locator.Namespace}, m[2]}
	v := p.images[k]
	i, n := 1, out
	if !readOnly(o) {
		i, n = 0, in
	}
	v[i]++
	v[i+2] += uint64(n)
	v[i+4] += uint64(took.Nanoseconds())
	p.images[k] = v
}

func (p *perfStats) snapshot() map[imageKey]perfValues {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.images)
}

func (p *perfStats) enable(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on && !p.counting.Load() {
		p.images = map[imageKey]perfValues{}
	}
	p.counting.Store(on)
}

func perfCommands() []command {
	return []command{
		{words: "rbd perf image stats", module: "rbd_support", run: func(k *call) errno.Errno { return k.perf("stat") }},
		{words: "rbd perf image counters", module: "rbd_support", run: func(k *call) errno.Errno { return k.perf("counter") }},
	}
}

var poolSpec = regexp.MustCompile(`^([^/]+)(?:/([^/]+))?$`)

func (k *call) perf(kind string) errno.Errno {
	key := perfKey{}
	if spec := k.args.str("pool_spec"); spec != "" {
		m := poolSpec.FindStringSubmatch(spec)
		if m == nil {
			return k.say(errno.ErrInvalid, "Invalid pool spec: %s", spec)
		}
		key = perfKey{m[1], m[2]}
	}
	if e := k.authorize(key.pool, key.ns); e != 0 {
		return e
	}
	if _, ok := k.c.osdmap.PoolByName(key.pool); !ok && key.pool != "" {
		return k.say(errno.ErrNotFound, "[errno 2] RADOS object not found (Pool '%s' not found)", key.pool)
	}
	by := max(0, slices.Index(perfCounters, k.args.str("sort_by")))
	q := k.c.support.query(key)
	pools, images := k.report(key, q, kind, by)
	k.out = python(object{
		{"timestamp", pyFloat(float64(k.c.clock.Now().Unix()))}, {kind + "_descriptors", perfCounters},
		{"pool_descriptors", pools}, {kind + "s", images},
	})
	return 0
}

// query returns the subscription for a key, made if need be, with figures that
// are at most one reporting period old.
func (s *support) query(key perfKey) *perfQuery {
	now := s.c.clock.Now()
	for k, q := range s.perf {
		if now.Sub(q.asked) > perfExpires {
			delete(s.perf, k)
		}
	}
	s.c.perf.enable(true)
	q := s.perf[key]
	if q == nil {
		q = &perfQuery{at: now, base: s.c.perf.snapshot()}
		q.current = q.base
		s.perf[key] = q
		s.expirePerf()
	}
	q.asked = now
	if now.Sub(q.at) >= time.Second {
		q.previous, q.current, q.span, q.at = q.current, s.c.perf.snapshot(), now.Sub(q.at), now
	}
	return q
}

// expirePerf ends the counting once nobody asks any more.
func (s *support) expirePerf() {
	s.c.after(perfExpires+time.Second, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		now := s.c.clock.Now()
		for k, q := range s.perf {
			if now.Sub(q.asked) > perfExpires {
				delete(s.perf, k)
			}
		}
		if len(s.perf) == 0 {
			s.c.perf.enable(false)
			return
		}
		s.expirePerf()
	})
}

// pyFloat prints like a float of Python.
type pyFloat float64

// MarshalJSON implements json.Marshaler.
func (f pyFloat) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return []byte(s), nil
}

// report makes the two lists of an answer: pools by index, and images with
// their figures, the busiest first.
func (k *call) report(key perfKey, q *perfQuery, kind string, by int) (object, []object) {
	type row struct {
		k     imageKey
		rates [6]float64
		sums  perfValues
	}
	var rows []row
	for id, v := range q.current {
		name, known := k.c.osdmap.PoolNames[id.at.pool]
		if !known || key.pool != "" && (name != key.pool || id.at.ns != key.ns) {
			continue
		}
		r := row{k: id}
		before := q.previous[id]
		for i := range v {
			r.sums[i] = v[i] - q.base[id][i]
			if q.span > 0 && q.span <= perfExpires && q.previous != nil {
				r.rates[i] = float64(v[i]-before[i]) / q.span.Seconds()
			}
		}
		for i := range 2 {
			r.rates[4+i] /= max(1, r.rates[i])
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.rates[by], a.rates[by]), cmp.Compare(a.k.id, b.k.id))
	})
	pools, images, index := object{}, []object{}, map[string]int{}
	for _, r := range rows[:min(len(rows), perfResults)] {
		v, ok := k.c.omap(r.k.at.pool, r.k.at.ns, rbdDirectory)["id_"+r.k.id]
		if !ok {
			continue
		}
		pool := k.c.osdmap.PoolNames[r.k.at.pool]
		if r.k.at.ns != "" {
			pool += "/" + r.k.at.ns
		}
		n, ok := index[pool]
		if !ok {
			n = len(index)
			index[pool] = n
			pools = append(pools, field{strconv.Itoa(n), pool})
		}
		figures := make([]any, len(perfCounters))
		any := false
		for i := range figures {
			figures[i] = r.sums[i]
			any = any || r.sums[i] != 0 && kind == "counter" || r.rates[i] != 0 && kind == "stat"
			if kind == "stat" {
				figures[i] = pyFloat(r.rates[i])
			}
		}
		if any {
			images = append(images, object{{strconv.Itoa(n) + "/" + denc.NewReader(v).String(), figures}})
		}
	}
	return pools, images
}
