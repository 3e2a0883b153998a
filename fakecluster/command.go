package fakecluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// cmdArgs are the arguments of a command.
type cmdArgs map[string]any

func (a cmdArgs) has(k string) bool { _, ok := a[k]; return ok }

// str returns a string argument, numbers in decimal.
func (a cmdArgs) str(k string) string {
	switch v := a[k].(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func (a cmdArgs) flag(k string) bool {
	switch v := a[k].(type) {
	case bool:
		return v
	case string:
		return v == "true" || strings.HasPrefix(v, "--yes")
	}
	return false
}

func (a cmdArgs) number(k string, otherwise float64) float64 {
	switch v := a[k].(type) {
	case float64:
		return v
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return otherwise
}

// list returns an argument that may come several times.
func (a cmdArgs) list(k string) []string {
	switch v := a[k].(type) {
	case []any:
		var out []string
		for _, e := range v {
			switch e := e.(type) {
			case string:
				out = append(out, e)
			case float64:
				out = append(out, strconv.FormatFloat(e, 'f', -1, 64))
			}
		}
		return out
	case string:
		return []string{v}
	case float64:
		return []string{a.str(k)}
	}
	return nil
}

// call is a command in execution. The cluster's mutex is held.
type call struct {
	c      *Cluster
	user   entity.AuthName
	grant  *monCaps // nil allows everything
	args   cmdArgs
	in     []byte
	format string

	out    []byte
	status string
}

// plain reports whether text is asked for: also by a format that there is none of.
func (k *call) plain() bool {
	return !strings.HasPrefix(k.format, "json") && !strings.HasPrefix(k.format, "xml")
}

// say sets the status and returns the result.
func (k *call) say(e errno.Errno, format string, args ...any) errno.Errno {
	k.status = fmt.Sprintf(format, args...)
	return e
}

// json sets the output. Without a format it is pretty, as most of Ceph's
// commands do that have no plain output.
func (k *call) json(v any) errno.Errno {
	f := k.format
	if k.plain() {
		f = "json-pretty"
	}
	k.out = encodeJSON(f, v)
	return 0
}

// pyJSON sets the output of a manager's module, which asks for no format: it is
// indented.
func (k *call) pyJSON(v any) errno.Errno {
	k.out = encodeJSON("json-pretty", v)
	return 0
}

func (k *call) print(format string, args ...any) errno.Errno {
	k.out = append(k.out, fmt.Sprintf(format, args...)...)
	return 0
}

// command is what executes a command of Ceph's.
type command struct {
	words string
	// module is what capabilities are asked for, when it is a module of the
	// manager that takes the command.
	module string
	run    func(*call) errno.Errno
}

// handlers are the commands of which this cluster knows more than how they are
// described, by their words. read-only.
var handlers = sync.OnceValue(func() map[string]command {
	m := map[string]command{}
	for _, d := range append(monCommands(), mgrCommands()...) {
		m[d.words] = d
	}
	return m
})

// execute runs a command of a set, or tells that it is none. Cluster.mu is held.
func (k *call) execute(set *commandSet, prefix, unknown, denied string) errno.Errno {
	sig, ok := set.first[prefix]
	if !ok {
		return k.say(errno.ErrInvalid, "%s", unknown)
	}
	d, ok := handlers()[prefix]
	module := sig.module
	if d.module != "" {
		module = d.module
	}
	if !k.grant.permits(module, sig.access(), prefix, k.args) {
		return k.say(errno.ErrAccess, "%s", denied)
	}
	if !ok {
		if name := moduleOf(prefix); name != "" && !slices.Contains(k.c.mgrmap.Modules, name) {
			word := "enabled/loaded"
			if k.c.opt.release >= 20 {
				word = "enabled"
			}
			return k.say(errno.ErrNotSupported, "Module '%s' is not %s (required by command '%s'): use `ceph mgr module enable %s` to enable it", name, word, prefix, name)
		}
		return k.cannot()
	}
	return d.run(k)
}

// parseCommand reads the JSON object that a command is.
func parseCommand(cmd []string) (cmdArgs, error) {
	var a cmdArgs
	// What follows the object is ignored, as by Ceph: rbd perf of 20.2 sends a
	// quote there.
	if err := json.NewDecoder(strings.NewReader(strings.Join(cmd, ""))).Decode(&a); err != nil {
		return nil, err
	}
	return a, nil
}

func commandPrefix(cmd []string) string {
	a, err := parseCommand(cmd)
	if err != nil {
		return ""
	}
	return a.str("prefix")
}

// command runs a command that a client sent to a monitor.
func (s *monSession) command(f *wire.MonCommand, m *msgr2.Message, v verdict) {
	c := s.mon.c
	ack := &wire.MonCommandAck{Cmd: f.Cmd}
	var out []byte
	switch {
	case v.errno != 0:
		ack.Result = v.errno.Result()
	case f.FSID != c.fsid:
		ack.Result, ack.Status = errno.ErrPermission.Result(), "wrong fsid"
	default:
		var e errno.Errno
		e, ack.Status, out = c.runMon(s, f.Cmd, m.Data.Bytes())
		ack.Result = e.Result()
	}
	s.sendData(ack, m.TID, out)
}

// runMon runs a monitor command on behalf of a session.
func (c *Cluster) runMon(s *monSession, cmd []string, in []byte) (errno.Errno, string, []byte) {
	if len(cmd) == 0 {
		return errno.ErrInvalid, "no command given", nil
	}
	args, err := parseCommand(cmd)
	if err != nil {
		return errno.ErrInvalid, "unparseable JSON " + strings.Join(cmd, ""), nil
	}
	prefix := args.str("prefix")
	if !args.has("prefix") {
		return errno.ErrInvalid, "command prefix not found", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.commands(takesMon)
	if prefix == "get_command_descriptions" {
		return 0, "", set.describedTo(s.conn.Features())
	}
	k := &call{c: c, user: s.user, grant: s.caps, args: args, in: in, format: args.str("format")}
	e := k.execute(set, prefix, "command not known", "access denied")
	return e, k.status, k.out
}
