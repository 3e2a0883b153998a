package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
	c *fakecluster.Cluster

	mu     sync.Mutex
	last   int
	faults map[string]func()
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

var errUsage = errors.New("want: stop|start osd.N|mon.N, kill osd.N, disconnect [DAEMON], fault KEY=VALUE…, unfault ID|all, stored")

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
	case "fault":
		f, err := parseFault(rest)
		if err != nil {
			return "", err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.last++
		if k.faults == nil {
			k.faults = map[string]func(){}
		}
		k.faults[strconv.Itoa(k.last)] = k.c.Inject(f)
		return fmt.Sprintf("ok %d", k.last), nil
	case "unfault":
		if len(rest) != 1 {
			return "", errUsage
		}
		return "ok", k.unfault(rest[0])
	}
	return "", errUsage
}

// unfault takes a fault back, or all.
func (k *control) unfault(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.faults[id]; !ok && id != "all" {
		return fmt.Errorf("there is no fault %s", id)
	}
	for n, remove := range k.faults {
		if n == id || id == "all" {
			remove()
			delete(k.faults, n)
		}
	}
	return nil
}

func (k *control) daemon(verb, name string) error {
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

// opCode finds an operation by the name that Ceph's logs give it.
func opCode(name string) (wire.OpCode, error) {
	for c := range 1 << 16 {
		if wire.OpCode(c).String() == name {
			return wire.OpCode(c), nil
		}
	}
	return 0, fmt.Errorf("there is no operation %q", name)
}
