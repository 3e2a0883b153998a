package fakecluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// savedTables is what monitors and the manager keep besides maps and keys.
type savedTables struct {
	config        configDB
	configKeys    keyDB
	services      serviceMap
	log           []wire.LogEntry
	mirror, trash []schedule
	trims         []heldTrim
	tasks, done   []*task
	sequence      int64
}

const tablesVersion = 1

// tables is called with Cluster.mu held.
func (c *Cluster) tables() []byte {
	b, at := denc.Begin(nil, tablesVersion, 1)
	b = denc.AppendU64(b, c.config.version)
	b = denc.AppendMap(b, c.config.options, denc.AppendString, appendStrings)
	b = denc.AppendU64(b, c.configKeys.version)
	b = appendStrings(b, c.configKeys.keys)
	b = c.services.append(b)
	b = denc.AppendSlice(b, c.clusterLog, func(b []byte, e wire.LogEntry) []byte { return e.Append(b) })
	b = denc.AppendSlice(b, c.mirrorSchedules.overall, appendSchedule)
	b = denc.AppendSlice(b, c.trashSchedules.overall, appendSchedule)
	b = denc.AppendSlice(b, c.heldTrims, func(b []byte, t heldTrim) []byte { return denc.AppendU64(denc.AppendS64(b, t.pool), t.snap) })
	b = denc.AppendSlice(b, c.support.tasks, appendTask)
	b = denc.AppendSlice(b, c.support.completed, appendTask)
	b = denc.AppendS64(b, c.support.sequence)
	return denc.End(b, at)
}

func (t *savedTables) decode(r *denc.Reader) {
	v := r.Enter("saved tables", tablesVersion)
	t.config = configDB{version: r.U64(), options: denc.Map(r, 8, (*denc.Reader).String, readStrings)}
	t.configKeys = keyDB{version: r.U64(), keys: readStrings(r)}
	t.services.decode(r)
	t.log = denc.Slice(r, 8, func(r *denc.Reader) (e wire.LogEntry) {
		e.Decode(r)
		return e
	})
	t.mirror, t.trash = denc.Slice(r, 5, readSchedule), denc.Slice(r, 5, readSchedule)
	t.trims = denc.Slice(r, 16, func(r *denc.Reader) heldTrim { return heldTrim{r.S64(), r.U64()} })
	t.tasks, t.done = denc.Slice(r, 50, readTask), denc.Slice(r, 50, readTask)
	t.sequence = r.S64()
	r.Leave(v)
}

func appendStrings(b []byte, m map[string]string) []byte {
	return denc.AppendMap(b, m, denc.AppendString, denc.AppendString)
}

func readStrings(r *denc.Reader) map[string]string {
	return denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).String)
}

// appendOptional appends a map of which nil is something else than empty.
func appendOptional(b []byte, m map[string]string) []byte {
	return appendStrings(denc.AppendBool(b, m != nil), m)
}

func readOptional(r *denc.Reader) map[string]string {
	there, m := r.Bool(), readStrings(r)
	if !there {
		return nil
	}
	return m
}

// appendClock appends a time that may be zero, as utime_t.
func appendClock(b []byte, t time.Time) []byte { return denc.AppendTime(b, denc.TimeOf(t)) }

func readClock(r *denc.Reader) time.Time { return r.Time().Std() }

func appendSchedule(b []byte, s schedule) []byte {
	b = denc.AppendString(b, s.Interval)
	b = denc.AppendBool(b, s.StartTime != nil)
	if s.StartTime != nil {
		b = denc.AppendString(b, *s.StartTime)
	}
	return b
}

func readSchedule(r *denc.Reader) (s schedule) {
	s.Interval = r.String()
	if r.Bool() {
		at := r.String()
		s.StartTime = &at
	}
	return s
}

func (m *serviceMap) append(b []byte) []byte {
	b = denc.AppendU64(b, m.epoch)
	b = appendClock(b, m.modified)
	return denc.AppendMap(b, m.daemons, denc.AppendString, func(b []byte, ds map[string]*serviceDaemon) []byte {
		return denc.AppendMap(b, ds, denc.AppendString, func(b []byte, d *serviceDaemon) []byte {
			b = denc.AppendU64(b, d.startEpoch)
			b = denc.AppendS64(b, d.gid)
			b = d.addr.Append(b)
			for _, m := range []map[string]string{d.metadata, d.status, d.taskStatus} {
				b = appendOptional(b, m)
			}
			for _, t := range []time.Time{d.started, d.statusAt, d.beacon} {
				b = appendClock(b, t)
			}
			return b
		})
	})
}

func (m *serviceMap) decode(r *denc.Reader) {
	m.epoch, m.modified = r.U64(), readClock(r)
	m.daemons = denc.Map(r, 8, (*denc.Reader).String, func(r *denc.Reader) map[string]*serviceDaemon {
		return denc.Map(r, 60, (*denc.Reader).String, func(r *denc.Reader) *serviceDaemon {
			d := &serviceDaemon{startEpoch: r.U64(), gid: r.S64()}
			d.addr.Decode(r)
			d.metadata, d.status, d.taskStatus = readOptional(r), readOptional(r), readOptional(r)
			d.started, d.statusAt, d.beacon = readClock(r), readClock(r), readClock(r)
			return d
		})
	})
}

// appendTask appends a task. One that is under way begins anew when it is
// loaded.
func appendTask(b []byte, t *task) []byte {
	b = denc.AppendS64(b, t.sequence)
	for _, s := range []string{t.id, t.message, t.action, t.pool, t.at.ns, t.image, t.imageID, t.retryMessage} {
		b = denc.AppendString(b, s)
	}
	b = denc.AppendS64(b, t.at.pool)
	b = denc.AppendU32(b, uint32(t.attempts))
	b = appendClock(b, t.retryAt)
	return denc.AppendBool(b, t.canceled)
}

func readTask(r *denc.Reader) *task {
	t := &task{sequence: r.S64()}
	for _, p := range []*string{&t.id, &t.message, &t.action, &t.pool, &t.at.ns, &t.image, &t.imageID, &t.retryMessage} {
		*p = r.String()
	}
	t.at.pool, t.attempts, t.retryAt, t.canceled = r.S64(), int(r.U32()), readClock(r), r.Bool()
	return t
}

// restoreTables puts the tables into a new cluster. Cluster.mu is held.
func (c *Cluster) restoreTables(t *savedTables) {
	c.config, c.configKeys, c.services, c.clusterLog = t.config, t.configKeys, t.services, t.log
	c.loadClasses()
	c.mirrorSchedules.overall, c.trashSchedules.overall = t.mirror, t.trash
	c.heldTrims = t.trims
	s := c.support
	s.tasks, s.completed, s.sequence = t.tasks, t.done, t.sequence
	s.tasks = slices.DeleteFunc(s.tasks, func(t *task) bool { return t.canceled })
	slices.SortStableFunc(s.tasks, func(a, b *task) int { return cmp.Compare(a.sequence, b.sequence) })
	for _, one := range s.tasks {
		if d := one.retryAt.Sub(c.clock.Now()); d > 0 {
			c.after(d, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				s.work()
			})
		}
	}
	if len(s.tasks) > 0 {
		s.work()
	}
}
