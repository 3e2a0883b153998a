package fakecluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

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

func (k *call) plain() bool { return k.format == "" || k.format == "plain" }

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

// command is an entry of the table that get_command_descriptions shows.
type command struct {
	// sig is the words of the command, then its arguments in the form
	// name:Type, with options behind commas: "n" for several, "?" for optional,
	// "a|b" for choices.
	sig    string
	module string
	perm   string
	mgr    bool
	run    func(*call) errno.Errno
}

// prefix returns the words of the command.
func (d *command) prefix() string {
	var words []string
	for _, w := range strings.Fields(d.sig) {
		if strings.Contains(w, ":") {
			break
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func (d *command) access() access {
	a, _ := parseAccess(d.perm)
	return a
}

// flagMgr is the flag of commands that clients send to the manager.
const flagMgr = 8

// describe returns the entry of get_command_descriptions. Old clients know no
// arguments that are only given by name.
func (d *command) describe(release int) object {
	var sig []any
	for _, w := range strings.Fields(d.sig) {
		name, rest, isArg := strings.Cut(w, ":")
		if !isArg {
			sig = append(sig, w)
			continue
		}
		parts := strings.Split(rest, ",")
		if release < 18 && slices.Contains(parts, "named") {
			continue
		}
		arg := object{{"name", name}, {"type", parts[0]}}
		for _, p := range parts[1:] {
			switch {
			case p == "?":
				arg = append(arg, field{"req", false})
			case p == "n":
				arg = append(arg, field{"n", "N"})
			case p == "named":
				arg = append(arg, field{"positional", false})
			default:
				arg = append(arg, field{"strings", p})
			}
		}
		sig = append(sig, arg)
	}
	flags := 0
	if d.mgr {
		flags = flagMgr
	}
	return object{{"sig", sig}, {"help", d.prefix()}, {"module", d.module}, {"perm", d.perm}, {"flags", flags}}
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

// descriptions answers get_command_descriptions.
func (c *Cluster) descriptions(table []command) []byte {
	var o object
	for i := range table {
		o = append(o, field{fmt.Sprintf("cmd%03d", i), table[i].describe(c.opt.release)})
	}
	return encodeJSON("json", o)
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
	if v.duplicate {
		s.sendData(ack, m.TID, out)
	}
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
	if prefix == "get_command_descriptions" {
		return 0, "", c.descriptions(append(monCommands(), mgrCommands()...))
	}
	for _, d := range append(monCommands(), mgrCommands()...) {
		if d.prefix() != prefix {
			continue
		}
		if !s.caps.permits(d.module, d.access(), prefix, args) {
			return errno.ErrAccess, "access denied", nil
		}
		k := &call{c: c, user: s.user, grant: s.caps, args: args, in: in, format: args.str("format")}
		e := d.run(k)
		return e, k.status, k.out
	}
	return errno.ErrInvalid, "command not known", nil
}

// tell answers a command that a client "told" to a daemon.
func (c *Cluster) tell(daemon string, conn *msgr2.Conn, m *msgr2.Message, allowed bool) {
	var f wire.Command
	if wire.Decode(&f, m.Front) != nil {
		_ = conn.Close()
		return
	}
	r := &wire.CommandReply{}
	var out []byte
	switch prefix := commandPrefix(f.Cmd); prefix {
	case "":
		r.Result, r.Status = errno.ErrInvalid.Result(), "command prefix not found"
	default:
		if !allowed {
			r.Result, r.Status = errno.ErrAccess.Result(), "access denied"
			break
		}
		r.Result, r.Status, out = c.execTold(daemon, prefix, f.Cmd)
	}
	reply := frontMessage(r, m.TID)
	reply.Data = msgr2.NewData(out)
	c.faults.send(daemon, conn, entity.AuthName{}, reply)
}

// execTold executes a command that a daemon was told.
func (c *Cluster) execTold(daemon, prefix string, cmd []string) (result int32, status string, out []byte) {
	switch prefix {
	case "get_command_descriptions":
		return 0, "", c.descriptions(tellCommands())
	case "version":
		return 0, "", encodeJSON("json-pretty", object{{"version", c.release().short}, {"release", c.release().name}, {"release_type", "stable"}})
	case "pg", "query":
		return c.queryPG(cmd)
	case "injectfull":
		result, status = c.injectFull(daemon, cmd)
		return result, status, nil
	case "config get", "config set":
		return c.tellConfig(daemon, prefix, cmd)
	case "mon_status":
		for _, m := range c.mons {
			if m.name == daemon {
				c.mu.Lock()
				defer c.mu.Unlock()
				return 0, "", encodeJSON("json-pretty", c.monStatus(m))
			}
		}
	}
	return errno.ErrInvalid.Result(), "unknown command prefix " + prefix, nil
}

// tellConfig tells or changes an option of one daemon, which nothing depends on.
func (c *Cluster) tellConfig(daemon, prefix string, cmd []string) (int32, string, []byte) {
	args, err := parseCommand(cmd)
	if err != nil {
		return errno.ErrInvalid.Result(), "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := normalOption(args.str("var"))
	o, ok := c.findOption(name)
	if !ok {
		return errno.ErrNotFound.Result(), "", nil
	}
	if prefix == "config set" {
		value, problem := o.normal(strings.Join(args.list("val"), " "))
		if problem != "" {
			return errno.ErrInvalid.Result(), "error setting '" + name + "': " + problem, nil
		}
		if c.told == nil {
			c.told = map[string]string{}
		}
		c.told[daemon+" "+name] = value
		return 0, "", encodeJSON("json-pretty", object{{"success", name + " = '" + value + "' "}})
	}
	value, ok := c.told[daemon+" "+name]
	if !ok {
		value = o.standard
		if n, err := entity.ParseAuthName(daemon); err == nil {
			if v, set := c.config.effective(n)[name]; set {
				value = v
			}
		}
	}
	return 0, "", encodeJSON("json-pretty", object{{name, value}})
}

func tellCommands() []command {
	return []command{
		{sig: "injectfull type:CephString,? count:CephInt,?", module: "osd", perm: "rw"},
		{sig: "version", module: "mon", perm: "r"}, {sig: "mon_status", module: "mon", perm: "r"},
		{sig: "config get var:CephString", module: "mon", perm: "r"}, {sig: "config set var:CephString val:CephString,n", module: "mon", perm: "rw"},
		{sig: "pg pgid:CephPgid cmd:CephChoices,query", module: "osd", perm: "r"},
	}
}

// injectFull makes an OSD take itself for full, or less so.
func (c *Cluster) injectFull(daemon string, cmd []string) (int32, string) {
	args, err := parseCommand(cmd)
	kind, id, _ := strings.Cut(daemon, ".")
	osd, nerr := strconv.Atoi(id)
	if err != nil || kind != "osd" || nerr != nil {
		return errno.ErrInvalid.Result(), "unknown command prefix injectfull"
	}
	word := args.str("type")
	if word == "" {
		word = "full"
	}
	f, ok := ParseFullness(word)
	if !ok {
		return errno.ErrInvalid.Result(), fmt.Sprintf("unrecognized type of fullness %q", word)
	}
	c.SetFull(osd, f)
	return 0, ""
}

// queryPG answers what a client asks about a placement group.
func (c *Cluster) queryPG(cmd []string) (int32, string, []byte) {
	args, err := parseCommand(cmd)
	if err != nil {
		return errno.ErrInvalid.Result(), "", nil
	}
	if !args.has("pgid") {
		return errno.ErrInvalid.Result(), "no pgid specified", nil
	}
	var pool int64
	var seed uint32
	if _, err := fmt.Sscanf(args.str("pgid"), "%d.%x", &pool, &seed); err != nil {
		return errno.ErrInvalid.Result(), "", nil
	}
	v := c.view.Load()
	p := v.pools[pool]
	if p == nil || int(seed) >= len(p.groups) {
		return errno.ErrNotFound.Result(), "", nil
	}
	if verb := args.str("cmd"); verb != "" && verb != "query" {
		return errno.ErrInvalid.Result(), "", nil
	}
	g := p.groups[seed]
	return 0, "", encodeJSON("json-pretty", object{
		{"snap_trimq", "[]"}, {"snap_trimq_len", 0}, {"state", "active+clean"}, {"epoch", v.epoch},
		{"up", p.acting[seed]}, {"acting", p.acting[seed]},
		{"info", object{
			{"pgid", args.str("pgid")}, {"last_update", fmt.Sprintf("%d'%d", v.epoch, g.Version())},
			{"stats", object{{"state", "active+clean"}, {"up", p.acting[seed]}, {"acting", p.acting[seed]}, {"acting_primary", p.primary[seed]}}},
		}},
	})
}
