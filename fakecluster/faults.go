package fakecluster

import (
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Event is something that passed a daemon: a message of a client, or one to it.
type Event struct {
	Time   time.Time
	Daemon string      // "osd.0", "mon.a", "mgr.x"
	Client entity.Name // "client.4123"
	User   entity.AuthName
	Addr   entity.Addr
	Type   uint16 // of the message
	TID    uint64
	// Out says that the message goes to the client.
	Out bool
	// Op is the request when Type is wire.TypeOSDOp. It must not be changed;
	// its operations' inputs are gone once it was executed.
	Op *wire.OSDOp
	// Ops lists the codes of Op's operations.
	Ops []wire.OpCode
	// Object and Namespace are those of Op.
	Object, Namespace string
	// Command is the prefix of a command to a monitor or the manager.
	Command string
}

// Fault is a rule: what it matches, and what then happens. Zero fields match
// everything and do nothing.
type Fault struct {
	Daemon string
	Client entity.Name
	User   string // "client.admin"
	Type   uint16
	Out    bool        // messages to clients rather than from them
	Op     wire.OpCode // some operation of the request
	Object string
	Prefix string // of the object's name
	// Command is the prefix of a command.
	Command string
	// Match is asked when all other fields match.
	Match func(*Event) bool

	// Skip lets so many matches pass first; Times limits how many are hit
	// after that, 0 means all.
	Skip, Times int

	Delay time.Duration
	Drop  bool
	Errno errno.Errno
	// OpErrno makes the first operation of kind Op fail within its vector,
	// after those before it were executed.
	OpErrno    errno.Errno
	Duplicate  bool
	Disconnect bool
	// After lets Drop and Disconnect strike when the request was executed but
	// not answered.
	After bool
	// Do is called for every hit, before all else.
	Do func(*Event)
}

// verdict is what the faults decide for one message.
type verdict struct {
	delay      time.Duration
	drop       bool
	errno      errno.Errno
	duplicate  bool
	disconnect bool
	after      bool
	fail       func(i int, op *wire.Op) int32
}

type rule struct {
	Fault
	seen int
	hits int
}

// faults holds the rules, the links and the log of a cluster.
type faults struct {
	c *Cluster

	mu        sync.Mutex
	rules     []*rule
	recording bool
	log       []Event
	links     []*linkRule
}

// Inject adds a fault and returns how to take it back.
func (c *Cluster) Inject(f Fault) (remove func()) {
	r := &rule{Fault: f}
	c.faults.mu.Lock()
	c.faults.rules = append(c.faults.rules, r)
	c.faults.mu.Unlock()
	return func() {
		c.faults.mu.Lock()
		defer c.faults.mu.Unlock()
		c.faults.rules = slices.DeleteFunc(c.faults.rules, func(o *rule) bool { return o == r })
	}
}

// Record starts, or starts anew, a log of all messages.
func (c *Cluster) Record() {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.recording, c.faults.log = true, nil
}

// Events returns what was recorded.
func (c *Cluster) Events() []Event {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	return slices.Clone(c.faults.log)
}

func (f *Fault) matches(e *Event) bool {
	switch {
	case f.Out != e.Out, f.Daemon != "" && f.Daemon != e.Daemon, f.Type != 0 && f.Type != e.Type,
		f.Client != (entity.Name{}) && f.Client != e.Client, f.User != "" && f.User != e.User.String(),
		f.Op != 0 && !slices.Contains(e.Ops, f.Op), f.Object != "" && f.Object != e.Object,
		len(f.Prefix) > len(e.Object) || e.Object[:len(f.Prefix)] != f.Prefix,
		f.Command != "" && f.Command != e.Command:
		return false
	}
	return f.Match == nil || f.Match(e)
}

// judge asks all rules.
func (fs *faults) judge(e *Event) verdict {
	fs.mu.Lock()
	if fs.recording {
		fs.log = append(fs.log, *e)
	}
	rules := slices.Clone(fs.rules)
	fs.mu.Unlock()
	var v verdict
	for _, r := range rules {
		if !r.matches(e) {
			continue
		}
		fs.mu.Lock()
		r.seen++
		hit := r.seen > r.Skip && (r.Times == 0 || r.hits < r.Times)
		if hit {
			r.hits++
		}
		fs.mu.Unlock()
		if hit {
			v.add(&r.Fault, e)
		}
	}
	return v
}

func (v *verdict) add(f *Fault, e *Event) {
	if f.Do != nil {
		f.Do(e)
	}
	v.delay += f.Delay
	v.drop = v.drop || f.Drop && !f.After
	v.after = v.after || f.After && (f.Drop || f.Disconnect)
	v.duplicate = v.duplicate || f.Duplicate
	v.disconnect = v.disconnect || f.Disconnect
	if f.Errno != 0 {
		v.errno = f.Errno
	}
	if f.OpErrno != 0 {
		code, result := f.Op, f.OpErrno.Result()
		v.fail = func(_ int, op *wire.Op) int32 {
			if code == 0 || op.Code == code {
				return result
			}
			return 0
		}
	}
}

// active reports whether anything listens.
func (fs *faults) active() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.recording || len(fs.rules) > 0
}

// request judges a request to an OSD.
func (fs *faults) request(daemon string, c *msgr2.Conn, user entity.AuthName, m *msgr2.Message, o *wire.OSDOp) verdict {
	if !fs.active() {
		return verdict{}
	}
	e := fs.event(daemon, c, user, m)
	e.Op, e.Object, e.Namespace = o, o.Object, o.Locator.Namespace
	for i := range o.Ops {
		e.Ops = append(e.Ops, o.Ops[i].Code)
	}
	return fs.judge(e)
}

func (fs *faults) event(daemon string, c *msgr2.Conn, user entity.AuthName, m *msgr2.Message) *Event {
	return &Event{
		Time: fs.c.clock.Now(), Daemon: daemon, Client: c.PeerName(), User: user, Addr: clientAddr(c), Type: m.Type, TID: m.TID,
	}
}

// send sends m to a client, unless a fault prevents it.
func (fs *faults) send(daemon string, c *msgr2.Conn, user entity.AuthName, m *msgr2.Message) {
	fs.sendThen(daemon, c, user, m, func() {})
}

// sendThen is send that calls sent, if that is what becomes of m.
func (fs *faults) sendThen(daemon string, c *msgr2.Conn, user entity.AuthName, m *msgr2.Message, sent func()) {
	send := func() {
		if c.Send(m) == nil {
			sent()
		}
	}
	if !fs.active() {
		send()
		return
	}
	e := fs.event(daemon, c, user, m)
	e.Out = true
	v := fs.judge(e)
	switch {
	case v.disconnect:
		_ = c.Close()
	case v.drop:
	case v.delay > 0:
		fs.c.after(v.delay, send)
	default:
		again := *m // a message that was sent is the connection's
		send()
		if v.duplicate {
			_ = c.Send(&again)
		}
	}
}
