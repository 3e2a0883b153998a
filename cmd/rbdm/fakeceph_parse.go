package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// parseFault reads what a fault matches and does.
func parseFault(words []string) (f fakecluster.Fault, err error) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		known, err := faultKey(&f, key, value)
		switch {
		case !known:
			return f, fmt.Errorf("unknown key %q of a fault", key)
		case err != nil:
			return f, fmt.Errorf("%s: %w", w, err)
		}
	}
	return f, nil
}

// faultKey sets what a key is about, if it is known.
func faultKey(f *fakecluster.Fault, key, value string) (known bool, err error) {
	if to, ok := map[string]*bool{
		"corrupt": &f.Corrupt, "drop": &f.Drop, "duplicate": &f.Duplicate, "disconnect": &f.Disconnect, "after": &f.After, "out": &f.Out,
	}[key]; ok {
		*to = true
		return true, nil
	}
	if to, ok := map[string]*string{"daemon": &f.Daemon, "user": &f.User, "object": &f.Object, "prefix": &f.Prefix}[key]; ok {
		*to = value
		return true, nil
	}
	if to, ok := map[string]*int{"skip": &f.Skip, "times": &f.Times, "reorder": &f.Reorder, "truncate": &f.Truncate, "cut": &f.Cut}[key]; ok {
		*to, err = strconv.Atoi(value)
		return true, err
	}
	if to, ok := map[string]*errno.Errno{"errno": &f.Errno, "op-errno": &f.OpErrno}[key]; ok {
		n, err := strconv.Atoi(value)
		*to = errno.Errno(n)
		return true, err
	}
	if to, ok := map[string]*time.Duration{"delay": &f.Delay, "jitter": &f.Jitter}[key]; ok {
		*to, err = time.ParseDuration(value)
		return true, err
	}
	switch key {
	case "client":
		f.Client, err = clientName(value)
	case "message":
		var ok bool
		if f.Type, ok = fakecluster.MessageType(value); !ok {
			err = errors.New("there is no message of that name")
		}
	case "command":
		f.Command = strings.ReplaceAll(value, "+", " ")
	case "op":
		f.Op, err = opCode(value)
	case "chance":
		f.Chance, err = strconv.ParseFloat(value, 64)
	default:
		return false, nil
	}
	return true, err
}

// clientName reads what one client is called, not who it is: "client.4123".
func clientName(s string) (entity.Name, error) {
	kind, num, _ := strings.Cut(s, ".")
	typ, ok := entity.ParseType(kind)
	n, err := strconv.ParseInt(num, 10, 64)
	if !ok || err != nil {
		return entity.Name{}, errors.New("want client.NUMBER")
	}
	return entity.Name{Type: typ, Num: n}, nil
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
