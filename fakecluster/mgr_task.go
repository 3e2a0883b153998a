package fakecluster

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/rados/errno"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// The actions of tasks.
const (
	taskFlatten     = "flatten"
	taskRemove      = "remove"
	taskTrashRemove = "trash remove"
	taskExecute     = "migrate execute"
	taskCommit      = "migrate commit"
	taskAbort       = "migrate abort"
)

const (
	// taskObject keeps a pool's tasks.
	taskObject   = "rbd_task"
	taskRetry    = 30 * time.Second
	taskMaxRetry = 300 * time.Second
	maxCompleted = 50
)

// States of a migration (cls::rbd::MigrationState).
const (
	migrationPrepared  uint8 = 2
	migrationExecuting uint8 = 3
	migrationExecuted  uint8 = 4
	migrationAborting  uint8 = 5
)

// task is something that the manager does to an image in the background.
// Guarded by Cluster.mu.
type task struct {
	sequence    int64
	id, message string
	action      string
	pool        string
	at          where
	image       string // name
	imageID     string

	retryMessage string
	attempts     int
	retryAt      time.Time
	inProgress   bool
	progress     float64
	canceled     bool
}

func taskCommands() []command {
	add := func(words string, run func(*call) errno.Errno) command {
		return command{words: "rbd task add " + words, module: "rbd_support", run: run}
	}
	return []command{
		add("flatten", (*call).queueFlatten),
		add("remove", (*call).queueRemove),
		add("trash remove", (*call).queueTrashRemove),
		add("migration execute", func(k *call) errno.Errno { return k.queueMigration(taskExecute) }),
		add("migration commit", func(k *call) errno.Errno { return k.queueMigration(taskCommit) }),
		add("migration abort", func(k *call) errno.Errno { return k.queueMigration(taskAbort) }),
		{words: "rbd task cancel", module: "rbd_support", run: (*call).cancelTask},
		{words: "rbd task list", module: "rbd_support", run: (*call).listTasks},
	}
}

// refs is what a task is about, in the order in which a manager stores it.
func (t *task) refs() object {
	o := object{{"action", t.action}, {"pool_name", t.pool}, {"pool_namespace", t.at.ns}}
	if t.image != "" {
		o = append(o, field{"image_name", t.image})
	}
	if t.imageID != "" {
		o = append(o, field{"image_id", t.imageID})
	}
	return o
}

func (t *task) describe() object {
	o := object{{"sequence", t.sequence}, {"id", t.id}, {"message", t.message}, {"refs", t.refs()}}
	if t.retryMessage != "" {
		o = append(o, field{"retry_message", t.retryMessage})
	}
	if t.attempts > 0 {
		o = append(o, field{"retry_attempts", t.attempts}, field{"retry_time", t.retryAt.UTC().Format("2006-01-02T15:04:05.000000")})
	}
	if t.inProgress {
		o = append(o, field{"in_progress", true}, field{"progress", t.progress})
	}
	if t.canceled {
		o = append(o, field{"canceled", true})
	}
	return o
}

// sorted orders members by name, on all levels, as lists of tasks are printed.
func sorted(o object) object {
	o = slices.Clone(o)
	for i := range o {
		if v, ok := o[i].Value.(object); ok {
			o[i].Value = sorted(v)
		}
	}
	slices.SortFunc(o, func(a, b field) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return o
}

func (t *task) spec() string { return imageSpecString(t.pool, t.at.ns, cmp.Or(t.image, t.imageID)) }

func imageSpecString(pool, ns, image string) string {
	if ns != "" {
		image = ns + "/" + image
	}
	if pool != "" {
		image = pool + "/" + image
	}
	return image
}

var imageSpec = regexp.MustCompile(`^(?:([^/]+)/(?:([^/]+)/)?)?([^/@]+)$`)

// newTask reads an image spec and checks its pool.
func (k *call) newTask(action, arg string) (*task, errno.Errno) {
	spec := k.args.str(arg)
	m := imageSpec.FindStringSubmatch(spec)
	if m == nil {
		return nil, k.say(errno.ErrInvalid, "Invalid image spec: %s", spec)
	}
	t := &task{action: action, pool: cmp.Or(m[1], "rbd"), image: m[3]}
	if e := k.authorize(t.pool, m[2]); e != 0 {
		return nil, e
	}
	id, ok := k.c.osdmap.PoolByName(t.pool)
	if !ok {
		return nil, k.say(errno.ErrNotFound, "[errno 2] RADOS object not found (error opening pool '%s')", t.pool)
	}
	t.at = where{id, m[2]}
	return t, 0
}

// authorize checks that the caller may use the module on a pool.
func (k *call) authorize(pool, ns string) errno.Errno {
	args := cmdArgs{"pool": pool, "namespace": ns}
	if k.grant == nil || k.grant.permits("rbd_support", accessR, "", args) {
		return 0
	}
	return k.say(errno.ErrAccess, "not authorized on pool=%s, namespace=%s", pool, ns)
}

// find returns a task that does the same.
func (s *support) find(t *task) *task {
	same := func(o *task) bool {
		return o.action == t.action && o.at == t.at && o.image == t.image && (o.imageID == t.imageID || t.imageID == "")
	}
	for _, l := range [][]*task{s.tasks, s.completed} {
		for _, o := range slices.Backward(l) {
			if same(o) {
				return o
			}
		}
	}
	return nil
}

// queue adds a task, keeps it in its pool and starts the worker.
func (k *call) queue(t *task, message string) errno.Errno {
	s := k.c.support
	s.sequence++
	t.sequence, t.id, t.message = s.sequence, k.c.uuid().String(), message
	s.tasks = append(s.tasks, t)
	s.keep(t, python(t.describe()))
	k.out = python(t.describe())
	s.work()
	return 0
}

// keep stores a task in its pool; nil removes it.
func (s *support) keep(t *task, v []byte) {
	if s.c.osdmap.Pools[t.at.pool] == nil {
		return
	}
	n := pg.Name{Namespace: t.at.ns, Object: taskObject}
	g, hash := s.c.place(t.at.pool, n)
	g.OmapPut(n, hash, fmt.Sprintf("%016X", t.sequence), v)
}

// known answers with a task that there is already.
func (k *call) known(t *task) bool {
	old := k.c.support.find(t)
	if old != nil {
		k.out = python(old.describe())
	}
	return old != nil
}

func (k *call) noImage(format string, args ...any) errno.Errno {
	return k.say(errno.ErrNotFound, "[errno 2] RBD image not found (%s)", fmt.Sprintf(format, args...))
}

func (k *call) queueFlatten() errno.Errno {
	t, e := k.newTask(taskFlatten, "image_spec")
	if e != 0 {
		return e
	}
	h := k.c.support.h
	t.imageID, _ = h.lookup(t.at, t.image)
	if k.known(t) {
		return 0
	}
	i, e := h.openImage(t.at, t.imageID)
	switch {
	case e != 0:
		return k.noImage("Image %s does not exist", t.spec())
	case i.parent.Pool < 0:
		return k.noImage("Image %s does not have a parent", t.spec())
	}
	return k.queue(t, "Flattening image "+t.spec())
}

func (k *call) queueRemove() errno.Errno {
	t, e := k.newTask(taskRemove, "image_spec")
	if e != 0 {
		return e
	}
	h := k.c.support.h
	t.imageID, _ = h.lookup(t.at, t.image)
	if k.known(t) {
		return 0
	}
	i, e := h.openImage(t.at, t.imageID)
	if e != 0 {
		return k.noImage("Image %s does not exist", t.spec())
	}
	for _, s := range i.snaps {
		if s.Namespace.Type != rbdwire.SnapMirror {
			return k.say(errno.ErrBusy, "[errno 16] RBD image is busy (Image %s has snapshots)", t.spec())
		}
	}
	return k.queue(t, "Removing image "+t.spec())
}

func (k *call) queueTrashRemove() errno.Errno {
	t, e := k.newTask(taskTrashRemove, "image_id_spec")
	if e != 0 {
		return e
	}
	t.image, t.imageID = "", t.image
	if k.known(t) {
		return 0
	}
	if _, ok := k.c.omap(t.at.pool, t.at.ns, rbdTrash)["id_"+t.imageID]; !ok {
		return k.noImage("error retrieving image from trash")
	}
	return k.queue(t, fmt.Sprintf("Removing image %s from trash", t.spec()))
}

func (k *call) queueMigration(action string) errno.Errno {
	t, e := k.newTask(action, "image_spec")
	if e != 0 {
		return e
	}
	h := k.c.support.h
	invalid := func(format string) errno.Errno {
		return k.say(errno.ErrInvalid, "[errno 22] RBD invalid argument (%s)", fmt.Sprintf(format, t.spec()))
	}
	t.imageID, _ = h.lookup(t.at, t.image)
	m, ok := stored[rbdwire.MigrationSpec](h.omap(t.at, rbdHeader+t.imageID), rbdwire.KeyMigration)
	if !ok {
		t.imageID = ""
	}
	if k.known(t) {
		return 0
	}
	switch {
	case !ok:
		return invalid("Image %s is not migrating")
	case action == taskExecute && m.State != migrationPrepared && m.State != migrationExecuting:
		return invalid("Image %s is not in ready state")
	case action == taskCommit && m.State != migrationExecuted:
		return invalid("Image %s has not completed migration")
	}
	switch action {
	case taskCommit:
		return k.queue(t, "Committing image migration for "+t.spec())
	case taskAbort:
		return k.queue(t, "Aborting image migration for "+t.spec())
	}
	source := imageSpecString(k.c.osdmap.PoolNames[m.Pool], m.Namespace, m.ImageName)
	return k.queue(t, fmt.Sprintf("Migrating image %s to %s", source, t.spec()))
}

func (k *call) cancelTask() errno.Errno {
	s, id := k.c.support, k.args.str("task_id")
	for i, t := range s.tasks {
		if t.id != id || k.authorize(t.pool, t.at.ns) != 0 {
			continue
		}
		t.canceled = true
		s.keep(t, nil)
		if !t.inProgress {
			s.tasks = slices.Delete(s.tasks, i, i+1)
		}
		return 0
	}
	return k.say(errno.ErrNotFound, "No such task %s", id)
}

func (k *call) listTasks() errno.Errno {
	id := k.args.str("task_id")
	out := []object{}
	for _, t := range k.c.support.tasks {
		if k.authorize(t.pool, t.at.ns) != 0 {
			continue
		}
		if t.id == id {
			return k.pyJSON(sorted(t.describe()))
		}
		out = append(out, sorted(t.describe()))
	}
	k.status = ""
	if id != "" {
		return k.say(errno.ErrNotFound, "No such task %s", id)
	}
	return k.pyJSON(out)
}

// work starts the worker if it is not at work. Cluster.mu is held.
func (s *support) work() {
	if s.working {
		return
	}
	s.working = true
	s.c.spawn(func() {
		for s.workOne() {
		}
	})
}

// workOne runs the first task whose time has come and reports whether there was
// one.
func (s *support) workOne() bool {
	c := s.c
	c.mu.Lock()
	now := c.clock.Now()
	i := slices.IndexFunc(s.tasks, func(t *task) bool { return !t.retryAt.After(now) })
	if i < 0 || c.ctx.Err() != nil || !c.mgr.running() {
		s.working = false
		c.mu.Unlock()
		return false
	}
	t := s.tasks[i]
	t.inProgress = true
	c.mu.Unlock()
	err := s.execute(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	t.inProgress = false
	if err != nil && !t.canceled {
		t.retryMessage = err.Error()
		t.attempts++
		wait := min(time.Duration(t.attempts)*taskRetry, taskMaxRetry)
		t.retryAt = c.clock.Now().Add(wait)
		c.after(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			s.work()
		})
		return true
	}
	s.tasks = slices.DeleteFunc(s.tasks, func(o *task) bool { return o == t })
	s.keep(t, nil)
	if !t.canceled {
		s.completed = append(s.completed, t)
		s.completed = s.completed[max(0, len(s.completed)-maxCompleted):]
	}
	return true
}

// execute does a task. An error means that it is tried again; what can never
// work is no error.
func (s *support) execute(t *task) error {
	h, ctx := s.h, s.c.ctx
	progress := func(done, total uint64) bool {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		t.progress = float64(done) / float64(total)
		return !t.canceled && ctx.Err() == nil
	}
	var e errno.Errno
	switch t.action {
	case taskFlatten:
		if e = h.flatten(ctx, t.at, t.imageID, progress); e == errno.ErrInvalid {
			return nil // it has no parent any more
		}
	case taskRemove:
		e = h.removeImage(ctx, t.at, t.imageID, t.image, false)
	case taskTrashRemove:
		e = h.trashRemove(ctx, t.at, t.imageID, false)
	case taskExecute:
		e = h.migrate(ctx, t.at, t.imageID, progress)
	case taskCommit:
		e = h.commitMigration(ctx, t.at, t.imageID)
	case taskAbort:
		e = h.abortMigration(ctx, t.at, t.imageID, t.image)
	}
	if e == 0 || e == errno.ErrNotFound {
		return nil
	}
	return taskError(t, e)
}

// taskError puts an error as RBD's Python binding does.
func taskError(t *task, e errno.Errno) error {
	kind := map[errno.Errno]string{
		errno.ErrBusy: "RBD image is busy", errno.ErrNotEmpty: "RBD image has snapshots", errno.ErrPermission: "RBD permission error",
		errno.ErrInvalid: "RBD invalid argument", errno.ErrCanceled: "RBD operation canceled", errno.ErrNotSupported: "RBD operation not supported",
	}[e]
	if kind == "" {
		kind = "RBD error"
	}
	what := map[string]string{taskFlatten: "error flattening image", taskRemove: "error removing image", taskTrashRemove: "error deleting image from trash",
		taskExecute: "error executing migration", taskCommit: "error committing migration", taskAbort: "error aborting migration"}[t.action]
	return fmt.Errorf("[errno %d] %s (%s)", int32(e), kind, what)
}
