package conf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Setting is one option given on the command line.
type Setting struct {
	Name, Value string
}

// Invocation is how a command was called, as far as all Ceph commands share it.
// Its zero value, but for Name, stands for a call without any option.
type Invocation struct {
	// Cluster is --cluster; empty means: by the name of ConfFile, else "ceph".
	Cluster string
	Name    entity.AuthName
	// ConfFile is -c: one path or several, of which the first that exists is
	// read. Explicit says that it is an error when none does.
	ConfFile string
	Explicit bool
	// NoMonConfig is --no-mon-config: do not use the central configuration.
	NoMonConfig bool
	// Env and Settings hold options of the environment and the command line.
	Env, Settings []Setting
}

// Environment returns the value of an environment variable, "" if it is not
// set. os.Getenv is one.
type Environment func(name string) string

// ParseArgs takes the options that all Ceph commands have out of args, those in
// $CEPH_ARGS first, and returns the other arguments in their order. name is the
// entity when neither --name nor --id is given. Everything behind "--" is left
// alone.
func ParseArgs(args []string, env Environment, name entity.AuthName) (*Invocation, []string, error) {
	p := argParser{inv: &Invocation{Name: name}}
	if v := env("CEPH_CONF"); v != "" {
		p.inv.ConfFile = v
	}
	if v := env("CEPH_KEYRING"); v != "" {
		p.inv.Env = append(p.inv.Env, Setting{"keyring", v})
	}
	for _, list := range [][]string{strings.Fields(env("CEPH_ARGS")), args} {
		p.args = list
		for len(p.args) > 0 {
			if err := p.next(); err != nil {
				return nil, nil, err
			}
		}
	}
	return p.inv, p.rest, nil
}

type argParser struct {
	inv        *Invocation
	args, rest []string
}

// ErrName: --name names no entity.
var ErrName = errors.New("option --name")

// ErrNoArgument: an option stands at the end that takes the next argument.
var ErrNoArgument = errors.New("requires an argument")

// shortOptions are the one-letter options and the long ones they stand for.
var shortOptions = map[string]string{
	"-c": "conf", "-i": "id", "-n": "name", "-m": "mon_host", "-k": "keyring", "-K": "keyfile", "-M": "monmap",
}

// next takes one argument.
func (p *argParser) next() error {
	arg := p.args[0]
	p.args = p.args[1:]
	if arg == "--" {
		p.rest = append(append(p.rest, arg), p.args...)
		p.args = nil
		return nil
	}
	option, value, attached := "", "", false
	if long, ok := shortOptions[arg]; ok {
		option = long
	} else if body, ok := strings.CutPrefix(arg, "--"); ok {
		option, value, attached = strings.Cut(body, "=")
		option = Normalize(option)
	} else {
		p.rest = append(p.rest, arg)
		return nil
	}
	if option == "no_mon_config" {
		p.inv.NoMonConfig = true
		return nil
	}
	if p.flag(option, value, attached) {
		return nil
	}
	if !isCommon(option) {
		p.rest = append(p.rest, arg)
		return nil
	}
	if !attached {
		if len(p.args) == 0 {
			return fmt.Errorf("option %s %w", arg, ErrNoArgument)
		}
		value, p.args = p.args[0], p.args[1:]
	}
	return p.set(option, value)
}

// flag takes an option that is a truth value: alone it is true, with "no" in
// front false.
func (p *argParser) flag(option, value string, attached bool) bool {
	if !attached {
		value = "true"
		if positive, ok := strings.CutPrefix(option, "no_"); ok && isBool(positive) {
			option, value = positive, "false"
		}
	}
	if !isBool(option) {
		return false
	}
	if !attached && len(p.args) > 0 {
		if _, err := parseBool(p.args[0]); err == nil && (p.args[0] == "true" || p.args[0] == "false") {
			value, p.args = p.args[0], p.args[1:]
		}
	}
	p.inv.Settings = append(p.inv.Settings, Setting{option, value})
	return true
}

func isBool(option string) bool {
	k, known := kindOf(option)
	return known && k == kindBool
}

// isCommon reports whether option is one that every command takes: those that
// choose entity and cluster, known configuration options, and log levels.
func isCommon(option string) bool {
	switch option {
	case "conf", "cluster", "id", "user", "name":
		return true
	}
	_, known := kindOf(option)
	return known || strings.HasPrefix(option, "debug_")
}

func (p *argParser) set(option, value string) error {
	switch option {
	case "conf":
		p.inv.ConfFile, p.inv.Explicit = value, true
	case "cluster":
		p.inv.Cluster = value
	case "id", "user":
		p.inv.Name.ID = value
	case "name":
		n, err := entity.ParseAuthName(value)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrName, err)
		}
		p.inv.Name = n
	default:
		p.inv.Settings = append(p.inv.Settings, Setting{option, value})
	}
	return nil
}
