package fakecluster

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// Event is something that passed a daemon: a message of a client, or one to it.
// One without a Type is something that happened to the daemon itself.
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
	// Ops lists the codes of the request's operations, Object and Namespace say
	// what it is about; a reply has those of its request.
	Ops               []wire.OpCode
	Object, Namespace string
	// Command is the prefix of a command to a monitor or the manager.
	Command string
	// Fate is what faults made of the message, as "drop" or "delay 10ms"; of an
	// event without a message, what happened, as "crash".
	Fate string
}

// messageNames are Ceph's names of the messages between clients and daemons.
// read-only.
var messageNames = map[uint16]string{
	typePing: "ping", wire.TypeMonMap: "mon_map", wire.TypeMonGetMap: "mon_get_map", wire.TypeStatfs: "statfs",
	wire.TypeStatfsReply: "statfs_reply", wire.TypeMonSubscribe: "mon_subscribe", wire.TypeMonSubscribeAck: "mon_subscribe_ack",
	wire.TypeAuth: "auth", wire.TypeAuthReply: "auth_reply", wire.TypeMonGetVersion: "mon_get_version",
	wire.TypeMonGetVersionReply: "mon_get_version_reply", wire.TypeOSDMap: "osd_map", wire.TypeOSDOp: "osd_op",
	wire.TypeOSDOpReply: "osd_op_reply", wire.TypeWatchNotify: "watch_notify", wire.TypePoolOp: "pool_op", wire.TypePoolOpReply: "pool_op_reply",
	wire.TypeMonCommand: "mon_command", wire.TypeMonCommandAck: "mon_command_ack", wire.TypeLog: "log", wire.TypeLogAck: "log_ack",
	typeGetPoolStats: "get_pool_stats", typeGetPoolStatsReply: "get_pool_stats_reply", wire.TypeOSDBackoff: "osd_backoff",
	wire.TypeConfig: "config", wire.TypeGetConfig: "get_config", wire.TypeCommand: "command", wire.TypeCommandReply: "command_reply",
	wire.TypeMgrOpen: "mgr_open", wire.TypeMgrConfigure: "mgr_configure", wire.TypeMgrReport: "mgr_report", wire.TypeServiceMap: "service_map",
	wire.TypeMgrMap: "mgr_map", wire.TypeMgrClose: "mgr_close", wire.TypeMgrCommand: "mgr_command", wire.TypeMgrCommandReply: "mgr_command_reply",
}

// MessageType returns the number of a kind of message for Fault.Type, by the name
// that records give it, such as "osd_op_reply".
func MessageType(name string) (typ uint16, ok bool) {
	for typ, n := range messageNames {
		if n == name {
			return typ, true
		}
	}
	return 0, false
}

// what says what a message is, the same in every run: without times, addresses
// and numbers that a run hands out.
func (e *Event) what() string {
	var b strings.Builder
	way := ">"
	if e.Out {
		way = "<"
	}
	name := messageNames[e.Type]
	switch {
	case name != "":
	case e.Type == 0:
		name, way = "", "-"
	default:
		name = fmt.Sprint("message ", e.Type)
	}
	fmt.Fprintf(&b, "%s %s %s %s", e.User, way, e.Daemon, name)
	if e.Object != "" {
		fmt.Fprintf(&b, " %q", e.Namespace+"/"+e.Object)
	}
	for _, c := range e.Ops {
		fmt.Fprintf(&b, " %s", c)
	}
	if e.Command != "" {
		fmt.Fprintf(&b, " %q", e.Command)
	}
	return strings.TrimSpace(b.String())
}

// String returns the event as a line of a record, the same in every run that goes
// the same way: who, to or from which daemon, what, and its fate behind "=>".
func (e Event) String() string {
	if e.Fate == "" {
		return e.what()
	}
	return e.what() + " => " + e.Fate
}

// Record starts, or starts anew, a log of all messages and of what happens to
// daemons.
func (c *Cluster) Record() {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.recording, c.faults.log = true, nil
	c.faults.changed()
}

// Events returns what was recorded.
func (c *Cluster) Events() []Event {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	out := make([]Event, len(c.faults.log))
	for i, e := range c.faults.log {
		out[i] = *e
	}
	return out
}

// WriteRecord writes what was recorded, each event as a line with its time, after
// a line with the seed of the cluster.
func (c *Cluster) WriteRecord(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "seed %d\n", c.Seed()); err != nil {
		return err
	}
	for _, e := range c.Events() {
		if _, err := fmt.Fprintf(w, "%s %s\n", e.Time.UTC().Format("15:04:05.000000"), e); err != nil {
			return err
		}
	}
	return nil
}

// Seed returns what faults with a Chance or Jitter decide by. It is random unless
// the option Seed says otherwise.
func (c *Cluster) Seed() uint64 { return c.opt.seed }

// note records what happens to a daemon, or to all when it is "".
func (fs *faults) note(daemon, fate string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.recording {
		fs.log = append(fs.log, &Event{Time: fs.c.clock.Now(), Daemon: daemon, Fate: fate})
	}
}
