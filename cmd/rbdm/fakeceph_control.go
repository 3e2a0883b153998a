package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// control lets scripts make faults in a running cluster: a Unix socket that
// takes one command a line and answers each with one line, "ok…" or "error: …".
type control struct {
	c     *fakecluster.Cluster
	clock *fakecluster.RunningClock

	mu   sync.Mutex
	last int                          // number of a fault or link
	ends map[string]map[string]func() // by kind ("fault") and number, how to take it back
}

// serve answers on the socket until ctx is done, and removes it then.
func (k *control) serve(ctx context.Context, l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			end := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer end()
			defer func() { _ = conn.Close() }()
			for s := bufio.NewScanner(conn); s.Scan(); {
				answer, err := k.do(strings.Fields(s.Text()))
				if err != nil {
					answer = "error: " + err.Error()
				}
				if _, err := fmt.Fprintln(conn, answer); err != nil {
					return
				}
			}
		})
	}
}

// listenControl makes the socket; one that a dead process left is replaced.
func listenControl(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err == nil {
		return l, nil
	}
	if conn, derr := net.Dial("unix", path); derr == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("--control %s is in use", path)
	}
	if rerr := os.Remove(path); rerr != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

var errUsage = errors.New("want: stop|start osd.N|mon.N|mgr, kill osd.N|mgr, disconnect [DAEMON], fault KEY=VALUE…, unfault ID|all, " +
	"link KEY=VALUE…, unlink ID|all, partition KEY=VALUE…, heal ID|all, backoff KEY=VALUE…, unbackoff ID|all, " +
	"disk osd.N KEY=VALUE…, full osd.N none|nearfull|backfillfull|full, crash [osd.N] [seed=N], recover, " +
	"advance DURATION, record, events FILE, stored, save FILE")

// do carries out one command.
func (k *control) do(words []string) (string, error) {
	if len(words) == 0 {
		return "", errUsage
	}
	rest := words[1:]
	switch words[0] {
	case "stop", "start", "kill":
		if len(rest) != 1 {
			return "", errUsage
		}
		return "ok", k.daemon(words[0], rest[0])
	case "disconnect":
		k.c.DropConnections(strings.Join(rest, ""))
		return "ok", nil
	case "stored":
		return fmt.Sprintf("ok %d", k.c.StoredBytes()), nil
	case "save":
		if len(rest) == 0 {
			return "", errUsage
		}
		return "ok", writeFile(strings.Join(rest, " "), k.c.Save)
	case "crash":
		return k.crash(rest)
	case "recover":
		return "ok", k.c.Recover()
	case "fault":
		f, err := parseFault(rest)
		if err != nil {
			return "", err
		}
		return k.add("fault", k.c.Inject(f)), nil
	case "link":
		user, daemon, l, err := parseLink(rest)
		if err != nil {
			return "", err
		}
		return k.add("link", k.c.SetLinkOf(user, daemon, l)), nil
	case "partition":
		users, daemons, err := parsePartition(rest)
		if err != nil {
			return "", err
		}
		return k.add("partition", k.c.Partition(users, daemons)), nil
	case "disk":
		return "ok", k.disk(rest)
	case "advance":
		if len(rest) != 1 {
			return "", errUsage
		}
		d, err := time.ParseDuration(rest[0])
		if err != nil {
			return "", err
		}
		k.clock.Advance(d)
		return "ok " + k.clock.Now().UTC().Format(time.RFC3339), nil
	case "record":
		k.c.Record()
		return "ok", nil
	case "events":
		if len(rest) == 0 {
			return "", errUsage
		}
		return "ok", writeFile(strings.Join(rest, " "), k.c.WriteRecord)
	case "full":
		return "ok", k.full(rest)
	case "backoff":
		b, err := parseBackoff(rest)
		if err != nil {
			return "", err
		}
		end, err := k.c.Backoff(b)
		if err != nil {
			return "", err
		}
		return k.add("backoff", end), nil
	case "unfault", "unlink", "unbackoff", "heal":
		if len(rest) != 1 {
			return "", errUsage
		}
		kind := strings.TrimPrefix(words[0], "un")
		if kind == "heal" {
			kind = "partition"
		}
		return "ok", k.remove(kind, rest[0])
	}
	return "", errUsage
}

// crash lets the cluster or an OSD crash, and says how many writes without an
// answer were kept and lost, by which seed.
func (k *control) crash(words []string) (string, error) {
	seed, osd := rand.Uint64(), -1
	for _, w := range words {
		var err error
		if v, ok := strings.CutPrefix(w, "seed="); ok {
			seed, err = strconv.ParseUint(v, 10, 64)
		} else if v, ok := strings.CutPrefix(w, "osd."); ok {
			osd, err = strconv.Atoi(v)
		} else {
			err = errUsage
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", w, err)
		}
	}
	var gone []fakecluster.Unanswered
	switch {
	case osd < 0:
		gone = k.c.Crash(seed)
	case osd < k.c.OSDCount():
		gone = k.c.CrashOSD(osd, seed)
	default:
		return "", fmt.Errorf("there is no daemon osd.%d", osd)
	}
	kept := 0
	for _, u := range gone {
		if u.Kept {
			kept++
		}
	}
	return fmt.Sprintf("ok kept=%d lost=%d seed=%d", kept, len(gone)-kept, seed), nil
}

func (k *control) full(words []string) error {
	if len(words) != 2 {
		return errUsage
	}
	f, ok := fakecluster.ParseFullness(words[1])
	if !ok {
		return fmt.Errorf("%s is no kind of fullness", words[1])
	}
	osd, err := k.osd(words[0])
	if err == nil {
		k.c.SetFull(osd, f)
	}
	return err
}

// osd reads the name of an OSD.
func (k *control) osd(name string) (int, error) {
	id, ok := strings.CutPrefix(name, "osd.")
	n, err := strconv.Atoi(id)
	if !ok || err != nil || n < 0 || n >= k.c.OSDCount() {
		return 0, fmt.Errorf("there is no daemon %s", name)
	}
	return n, nil
}

// disk reads and sets how slow a disk is; without keys it is as fast as memory.
func (k *control) disk(words []string) error {
	if len(words) == 0 {
		return errUsage
	}
	osd, err := k.osd(words[0])
	if err != nil {
		return err
	}
	var d fakecluster.Disk
	for _, w := range words[1:] {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "latency":
			d.Latency, err = time.ParseDuration(value)
		case "bandwidth":
			d.Bandwidth, err = strconv.ParseInt(value, 10, 64)
		default:
			err = errors.New("unknown key of a disk")
		}
		if err == nil && (d.Latency < 0 || d.Bandwidth < 0) {
			err = errors.New("must not be less than 0")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	k.c.SetDisk(osd, d)
	return nil
}

// add keeps how to end something and answers with the number by which remove
// knows it.
func (k *control) add(kind string, end func()) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	if k.ends == nil {
		k.ends = map[string]map[string]func(){}
	}
	if k.ends[kind] == nil {
		k.ends[kind] = map[string]func(){}
	}
	id := strconv.Itoa(k.last)
	k.ends[kind][id] = end
	return "ok " + id
}

// remove takes a fault, link… back, or all.
func (k *control) remove(kind, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	from := k.ends[kind]
	if _, ok := from[id]; !ok && id != "all" {
		return fmt.Errorf("there is no %s %s", kind, id)
	}
	for n, end := range from {
		if n == id || id == "all" {
			end()
			delete(from, n)
		}
	}
	return nil
}

func (k *control) daemon(verb, name string) error {
	if name == "mgr" || name == "mgr.x" {
		switch verb {
		case "stop":
			k.c.StopMgr()
		case "kill":
			k.c.KillMgr()
		default:
			return k.c.StartMgr()
		}
		return nil
	}
	kind, id, _ := strings.Cut(name, ".")
	n, err := strconv.Atoi(id)
	if err != nil || n < 0 || kind == "osd" && n >= k.c.OSDCount() || kind == "mon" && n >= k.c.MonCount() {
		return fmt.Errorf("there is no daemon %s", name)
	}
	switch verb + " " + kind {
	case "stop osd":
		k.c.StopOSD(n)
	case "kill osd":
		k.c.KillOSD(n)
	case "start osd":
		return k.c.StartOSD(n)
	case "stop mon":
		k.c.StopMon(n)
	case "start mon":
		return k.c.StartMon(n)
	default:
		return errUsage
	}
	return nil
}

// parseFault reads what a fault matches and does.
func parseFault(words []string) (f fakecluster.Fault, err error) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "daemon":
			f.Daemon = value
		case "user":
			f.User = value
		case "object":
			f.Object = value
		case "prefix":
			f.Prefix = value
		case "command":
			f.Command = strings.ReplaceAll(value, "+", " ")
		case "op":
			f.Op, err = opCode(value)
		case "skip":
			f.Skip, err = strconv.Atoi(value)
		case "times":
			f.Times, err = strconv.Atoi(value)
		case "delay":
			f.Delay, err = time.ParseDuration(value)
		case "jitter":
			f.Jitter, err = time.ParseDuration(value)
		case "chance":
			f.Chance, err = strconv.ParseFloat(value, 64)
		case "reorder":
			f.Reorder, err = strconv.Atoi(value)
		case "truncate":
			f.Truncate, err = strconv.Atoi(value)
		case "op-errno":
			var n int
			n, err = strconv.Atoi(value)
			f.OpErrno = errno.Errno(n)
		case "errno":
			var n int
			n, err = strconv.Atoi(value)
			f.Errno = errno.Errno(n)
		case "drop":
			f.Drop = true
		case "duplicate":
			f.Duplicate = true
		case "disconnect":
			f.Disconnect = true
		case "after":
			f.After = true
		case "out":
			f.Out = true
		default:
			return f, fmt.Errorf("unknown key %q of a fault", key)
		}
		if err != nil {
			return f, fmt.Errorf("%s: %w", w, err)
		}
	}
	return f, nil
}

// parsePartition reads between whom nothing is to pass.
func parsePartition(words []string) (users, daemons []string, err error) {
	for _, w := range words {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "user":
			users = append(users, value)
		case "daemon":
			daemons = append(daemons, value)
		default:
			return nil, nil, fmt.Errorf("unknown key %q of a partition", key)
		}
	}
	return users, daemons, nil
}

// parseLink reads what connections are to be like: of a user or a daemon, or all.
func parseLink(words []string) (user, daemon string, l fakecluster.Link, err error) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		number := map[string]*int64{
			"bandwidth": &l.Bandwidth, "cut": &l.CutAfter, "cut-in": &l.CutAfterIn, "corrupt": &l.CorruptAt, "corrupt-in": &l.CorruptAtIn,
		}[key]
		switch {
		case number != nil:
			*number, err = strconv.ParseInt(value, 10, 64)
			if err == nil && *number <= 0 {
				err = errors.New("must be more than 0")
			}
		case key == "daemon":
			daemon = value
		case key == "user":
			user = value
		case key == "latency":
			l.Latency, err = time.ParseDuration(value)
		case key == "refuse":
			l.Refuse = true
		case key == "freeze":
			l.Freeze = true
		default:
			return "", "", l, fmt.Errorf("unknown key %q of a link", key)
		}
		if err != nil {
			return "", "", l, fmt.Errorf("%s: %w", w, err)
		}
	}
	return user, daemon, l, nil
}

// parseBackoff reads for which objects clients are to wait.
func parseBackoff(words []string) (b fakecluster.Backoff, err error) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "pool":
			b.Pool = value
		case "namespace":
			b.Namespace = value
		case "object":
			b.Object = value
		case "group":
			n, err := strconv.ParseUint(value, 16, 32)
			if err != nil {
				return b, fmt.Errorf("%s: %w", w, err)
			}
			b.Groups = append(b.Groups, uint32(n))
		default:
			return b, fmt.Errorf("unknown key %q of a backoff", key)
		}
	}
	return b, nil
}

// opCode finds an operation by the name that Ceph's logs give it.
func opCode(name string) (wire.OpCode, error) {
	for c := range 1 << 16 {
		if wire.OpCode(c).String() == name {
			return wire.OpCode(c), nil
		}
	}
	return 0, fmt.Errorf("there is no operation %q", name)
}
