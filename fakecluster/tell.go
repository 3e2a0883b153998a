package fakecluster

import (
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// told is a command that a client "told" to a daemon, in execution. Cluster.mu is
// held unless the command says otherwise.
type told struct {
	call
	daemon string // "osd.0"
}

// tell answers a command that a client told to a daemon.
func (c *Cluster) tell(daemon string, conn *msgr2.Conn, m *msgr2.Message, allowed bool, v verdict) {
	var f wire.Command
	if wire.Decode(&f, m.Front) != nil {
		_ = conn.Close()
		return
	}
	e, status, out := v.errno, "", []byte(nil)
	if e == 0 {
		e, status, out = c.execTold(daemon, f.Cmd, allowed)
	}
	reply := frontMessage(&wire.CommandReply{Result: e.Result(), Status: status}, m.TID)
	reply.Data = msgr2.NewData(out)
	c.faults.send(daemon, conn, entity.AuthName{}, reply)
}

// toldSet returns the commands that a daemon can be told.
func (c *Cluster) toldSet(daemon string) *commandSet {
	switch kind, _, _ := strings.Cut(daemon, "."); kind {
	case "osd":
		return c.commands(takesOSD)
	case "mgr":
		return c.commands(takesToldMgr)
	}
	return c.commands(takesToldMon)
}

// execTold executes a command that a daemon was told.
func (c *Cluster) execTold(daemon string, cmd []string, allowed bool) (errno.Errno, string, []byte) {
	args, err := parseCommand(cmd)
	if err != nil || !args.has("prefix") {
		return errno.ErrInvalid, "command prefix not found", nil
	}
	if !allowed {
		return errno.ErrAccess, "access denied", nil
	}
	prefix, set := args.str("prefix"), c.toldSet(daemon)
	if prefix == "get_command_descriptions" {
		return 0, "", c.describedTold(set)
	}
	k := &told{call: call{c: c, args: args, format: args.str("format")}, daemon: daemon}
	if _, ok := set.first[prefix]; !ok {
		return errno.ErrInvalid, "unknown command prefix " + prefix, nil
	}
	run, ok := toldHandlers[prefix]
	if !ok {
		return errno.ErrNotSupported, "this fake cluster cannot do '" + prefix + "'", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := run(k)
	return e, k.status, k.out
}
