package fakecluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

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
	// Chance is how likely a match is hit, after Skip; 0 is always. It is decided
	// by the cluster's seed, by the fault's number among all that were injected,
	// and by what the message is and how often it was there: not by when it comes.
	Chance float64

	Delay time.Duration
	// Jitter adds up to so much to Delay, decided as Chance is.
	Jitter time.Duration
	// Reorder lets so many later messages of the connection pass first, in the
	// same direction, or reorderWait. Of requests it works on those to OSDs, of
	// which those on one object always keep their order.
	Reorder int
	// Truncate takes so many bytes from the end of the message, whose checksums are
	// those of what is left: the receiver has to notice that it cannot be all.
	Truncate int
	// Corrupt flips a bit of the message on its way: the receiver's checksum or key
	// tells, and it breaks the connection.
	Corrupt bool
	// Cut breaks the connection within the message, after so many bytes. Of messages
	// from clients it does not matter how many: those are not executed.
	Cut   int
	Drop  bool
	Errno errno.Errno
	// OpErrno makes the first operation of kind Op fail within its vector,
	// after those before it were executed.
	OpErrno errno.Errno
	// Duplicate lets the message come twice. The answer to a request to an OSD that
	// came before is that of the first, as when a client sends it again.
	Duplicate  bool
	Disconnect bool
	// After lets Drop and Disconnect strike when the request was executed but
	// not answered.
	After bool
	// Do is called for every hit, before all else. For the messages of a Backoff
	// it must not release one.
	Do func(*Event)
}

// verdict is what the faults decide for one message.
type verdict struct {
	delay      time.Duration
	reorder    int
	truncate   int
	corrupt    bool
	cut        int
	drop       bool
	errno      errno.Errno
	duplicate  bool
	disconnect bool
	after      bool
	fail       func(i int, op *wire.Op) int32
}

// breaks reports whether the connection ends with the message, which the daemon
// has not got then.
func (v *verdict) breaks() bool { return v.disconnect && !v.after || v.damages() }

// damages reports whether the message arrives in a state in which nobody takes it.
func (v *verdict) damages() bool { return v.corrupt || v.cut > 0 }

type rule struct {
	Fault
	number int // among all that were injected
	seen   int
	hits   int
	times  map[string]int // how often a message was decided about by chance
}

// faults holds the rules, the links and the log of a cluster.
type faults struct {
	c *Cluster
	// on says that there are rules or a record, linked that there are links; both
	// are changed with mu held only.
	on, linked atomic.Bool

	mu        sync.Mutex
	rules     []*rule
	injected  int
	recording bool
	log       []*Event
	links     []*linkRule
	parked    map[parkedKey][]*parked
	wires     map[*msgr2.Conn]*linkConn
	lost      map[lostAnswer]bool
}

// lostAnswer is an answer that its client must not get.
type lostAnswer struct {
	conn *msgr2.Conn
	tid  uint64
}

// Inject adds a fault and returns how to take it back.
func (c *Cluster) Inject(f Fault) (remove func()) {
	c.faults.mu.Lock()
	r := &rule{Fault: f, number: c.faults.injected, times: map[string]int{}}
	c.faults.injected++
	c.faults.rules = append(c.faults.rules, r)
	c.faults.changed()
	c.faults.mu.Unlock()
	return func() {
		c.faults.mu.Lock()
		defer c.faults.mu.Unlock()
		c.faults.rules = slices.DeleteFunc(c.faults.rules, func(o *rule) bool { return o == r })
		c.faults.changed()
	}
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
		fs.log = append(fs.log, e)
	}
	rules := slices.Clone(fs.rules)
	fs.mu.Unlock()
	var v verdict
	for _, r := range rules {
		if !r.matches(e) {
			continue
		}
		fs.mu.Lock()
		hit, d := r.decide(fs.c.opt.seed, e)
		fs.mu.Unlock()
		if hit {
			v.delay += d
			v.add(&r.Fault, e)
		}
	}
	fs.mu.Lock()
	e.Fate = v.String()
	fs.mu.Unlock()
	return v
}

// decide says whether a match is hit, and with how much of the jitter.
func (r *rule) decide(seed uint64, e *Event) (hit bool, jitter time.Duration) {
	r.seen++
	if r.seen <= r.Skip || r.Times > 0 && r.hits >= r.Times {
		return false, 0
	}
	if r.Chance > 0 || r.Jitter > 0 {
		what := e.what()
		n := r.times[what]
		r.times[what]++
		d := xxhash.NewWithSeed(seed)
		_, _ = fmt.Fprintf(d, "%d %d %s", r.number, n, what)
		dice := rand.New(rand.NewPCG(seed, d.Sum64()))
		if f := dice.Float64(); r.Chance > 0 && f >= r.Chance {
			return false, 0
		}
		if r.Jitter > 0 {
			jitter = time.Duration(dice.Int64N(int64(r.Jitter)))
		}
	}
	r.hits++
	return true, jitter
}

// String is what becomes of a message, in words; "" when nothing does.
func (v *verdict) String() string {
	var out []string
	for _, w := range []struct {
		is   bool
		text string
	}{
		{v.delay > 0, "delay " + v.delay.String()}, {v.reorder > 0, fmt.Sprint("reorder ", v.reorder)},
		{v.truncate > 0, fmt.Sprint("truncate ", v.truncate)},
		{v.corrupt, "corrupt"}, {v.cut > 0, fmt.Sprint("cut ", v.cut)}, {v.drop, "drop"}, {v.errno != 0, fmt.Sprint("errno ", int32(v.errno))},
		{v.fail != nil, "fail operation"}, {v.duplicate, "duplicate"}, {v.disconnect, "disconnect"}, {v.after, "after"},
	} {
		if w.is {
			out = append(out, w.text)
		}
	}
	return strings.Join(out, ", ")
}

func (v *verdict) add(f *Fault, e *Event) {
	if f.Do != nil {
		f.Do(e)
	}
	v.delay += f.Delay
	v.reorder = max(v.reorder, f.Reorder)
	v.truncate += f.Truncate
	v.corrupt = v.corrupt || f.Corrupt
	if f.Cut > 0 && (v.cut == 0 || f.Cut < v.cut) {
		v.cut = f.Cut
	}
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
func (fs *faults) active() bool { return fs.on.Load() }

// changed is called with the mutex held when rules, links or the record change.
func (fs *faults) changed() {
	fs.on.Store(fs.recording || len(fs.rules) > 0 || len(fs.lost) > 0)
	fs.linked.Store(len(fs.links) > 0)
}

// request judges a request to an OSD.
func (fs *faults) request(daemon string, c *msgr2.Conn, user entity.AuthName, m *msgr2.Message, o *wire.OSDOp) verdict {
	if !fs.active() {
		return verdict{}
	}
	e := fs.event(daemon, c, user, m)
	e.Op = o
	e.about(o)
	return fs.judge(e)
}

// about says which request an event is about.
func (e *Event) about(o *wire.OSDOp) {
	e.Object, e.Namespace = o.Object, o.Locator.Namespace
	for i := range o.Ops {
		e.Ops = append(e.Ops, o.Ops[i].Code)
	}
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
	fs.sendReply(daemon, c, user, nil, m, sent)
}

// sendReply is sendThen of an OSD's answer to o.
func (fs *faults) sendReply(daemon string, c *msgr2.Conn, user entity.AuthName, o *wire.OSDOp, m *msgr2.Message, sent func()) {
	if !fs.active() {
		if c.Send(m) == nil {
			sent()
		}
		return
	}
	e := fs.event(daemon, c, user, m)
	e.Out = true
	if o != nil {
		e.about(o)
	}
	v := fs.judge(e)
	if v.truncate > 0 {
		truncate(m, v.truncate)
	}
	send := func() {
		fs.damage(c, &v)
		again := *m // a message that was sent is the connection's
		if c.Send(m) == nil && !v.damages() {
			sent()
		}
		if v.duplicate {
			_ = c.Send(&again)
		}
	}
	key := parkedKey{c, true}
	switch {
	case fs.loses(c, m.TID), v.drop:
		return
	case v.disconnect:
		_ = c.Close()
		return
	case v.delay > 0:
		fs.c.after(v.delay, send)
	case v.reorder > 0:
		fs.park(key, v.reorder, send)
		return
	default:
		send()
	}
	fs.passed(key)
}
