package main

import (
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
	"github.com/rbdm/rbdm/msgr2/entity"
)

// control lets scripts make faults in a running cluster, by way of a Unix socket that
// takes one command a line and answers each with one line, "ok…" or "error: …".
type control struct {
	c     *fakecluster.Cluster
	clock *fakecluster.RunningClock

	mu   sync.Mutex
	last int                          // number of a fault or link
	ends map[string]map[string]func() // by kind ("fault") and number, how to take it back
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
	"blocklist KEY=VALUE…, unblocklist ADDRESS|all, trim hold|go, " +
	"disk osd.N KEY=VALUE…, full osd.N none|nearfull|backfillfull|full, crash [osd.N] [seed=N], recover, " +
	"advance DURATION, record, events FILE, stored, save FILE, cluster NAME")

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
	case "blocklist":
		return k.blocklist(rest)
	case "unblocklist":
		if len(rest) != 1 {
			return "", errUsage
		}
		return "ok", k.unblocklist(rest[0])
	case "trim":
		if len(rest) != 1 || rest[0] != "hold" && rest[0] != "go" {
			return "", errUsage
		}
		k.c.HoldTrim(rest[0] == "hold")
		return "ok", nil
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

// blocklist keeps clients from the OSDs, and answers with their addresses.
func (k *control) blocklist(words []string) (string, error) {
	var addrs []entity.Addr
	var d time.Duration
	for _, w := range words {
		var err error
		switch key, value, _ := strings.Cut(w, "="); key {
		case "client", "user":
			found := k.c.Clients(value)
			if len(found) == 0 {
				err = errors.New("is not connected")
			}
			addrs = append(addrs, found...)
		case "addr":
			var a entity.Addr
			a, err = entity.ParseAddr(value)
			addrs = append(addrs, a)
		case "for":
			d, err = time.ParseDuration(value)
		default:
			err = errors.New("unknown key of a blocklist entry")
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", w, err)
		}
	}
	if len(addrs) == 0 {
		return "", errUsage
	}
	answer := "ok"
	for _, a := range addrs {
		k.c.Blocklist(a, d)
		answer += " " + a.WithType(entity.AddrAny).String()
	}
	return answer, nil
}

func (k *control) unblocklist(what string) error {
	if what == "all" {
		for a := range k.c.OSDMap().OSDOnly.Blocklist {
			k.c.Unblocklist(a)
		}
		return nil
	}
	a, err := entity.ParseAddr(what)
	if err != nil {
		return err
	}
	if !k.c.OSDMap().IsBlocklisted(a) {
		return fmt.Errorf("%s is not blocklisted", what)
	}
	k.c.Unblocklist(a)
	return nil
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
