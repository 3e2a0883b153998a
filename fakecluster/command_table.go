package fakecluster

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rbdm/rbdm/rados/osdmap"
)

// commandLines lists the commands of Ceph 16.2, 18.2 and 20.2 in the order in
// which their daemons describe them: who takes the command, the releases that
// have it (nothing: all), its words and arguments, module, access and flags.
// scripts/golden-commands renews it.
//
//go:embed commands.tsv
var commandLines string

// Those who take commands, as commandLines names them.
const (
	takesMon     = "m" // and the manager, where flagMgr is set
	takesOSD     = "o" // told to an OSD
	takesToldMon = "t"
	takesToldMgr = "y"
)

// flagMgr is the flag of commands that clients send to the manager.
const flagMgr = 8

// signature is a command as get_command_descriptions shows it.
type signature struct {
	sig    []string
	words  string // of which the command consists, without arguments
	module string
	perm   string
	flags  int
}

// commandSet are the commands that one kind of daemon takes.
type commandSet struct {
	list []signature
	// first finds the first of the commands of the same words.
	first map[string]*signature
	// described and describedOld are the answers to get_command_descriptions, the
	// latter for clients before 18.2.
	described, describedOld func() []byte
}

func newCommandSet(list []signature) *commandSet {
	s := &commandSet{list: list, first: map[string]*signature{}}
	for i := range list {
		if _, ok := s.first[list[i].words]; !ok {
			s.first[list[i].words] = &list[i]
		}
	}
	s.described = sync.OnceValue(func() []byte { return describeAll(list, false) })
	s.describedOld = sync.OnceValue(func() []byte { return describeAll(list, true) })
	return s
}

func describeAll(list []signature, old bool) []byte {
	var o object
	for i := range list {
		o = append(o, field{fmt.Sprintf("cmd%03d", i), list[i].describe(old)})
	}
	return encodeJSON("json", o)
}

// describedTo returns what monitors and managers answer on a connection whose two
// sides have these features in common.
func (s *commandSet) describedTo(features uint64) []byte {
	if features&osdmap.FeatureReef == osdmap.FeatureReef {
		return s.described()
	}
	return s.describedOld()
}

// describedTold returns what daemons answer that are told to describe what they take:
// their admin sockets do not look at who asks.
func (c *Cluster) describedTold(s *commandSet) []byte {
	if c.opt.release >= 18 {
		return s.described()
	}
	return s.describedOld()
}

// commandSets are a release's sets by who takes them; "g" is the manager's.
type commandSets map[string]*commandSet

const takesMgr = "g"

// firstOfModules is the first command of a module of the manager.
const firstOfModules = "alerts send"

// setsOf reads a release's commands, once for all clusters. read-only.
var setsOf = map[int]func() commandSets{
	16: sync.OnceValue(func() commandSets { return readCommands("16") }),
	18: sync.OnceValue(func() commandSets { return readCommands("18") }),
	20: sync.OnceValue(func() commandSets { return readCommands("20") }),
}

func (c *Cluster) commands(taker string) *commandSet { return setsOf[c.opt.release]()[taker] }

func readCommands(release string) commandSets {
	lists := map[string][]signature{}
	for line := range strings.Lines(commandLines) {
		f := fields(line, release, 6)
		if f == nil {
			continue
		}
		s := signature{sig: strings.Split(f[2], " "), module: f[3], perm: f[4]}
		s.flags, _ = strconv.Atoi(f[5])
		var words []string
		for _, w := range s.sig {
			if strings.Contains(w, ":") {
				break
			}
			words = append(words, w)
		}
		s.words = strings.Join(words, " ")
		lists[f[0]] = append(lists[f[0]], s)
		if f[0] == takesMon && s.flags&flagMgr != 0 {
			s.flags = 0 // of which only monitors tell
			lists[takesMgr] = append(lists[takesMgr], s)
		}
	}
	// The manager names what its modules take before what it takes itself.
	own := lists[takesMgr]
	at := max(0, slices.IndexFunc(own, func(s signature) bool { return s.words == firstOfModules }))
	lists[takesMgr] = slices.Concat(own[at:], own[:at])
	sets := commandSets{}
	for taker, list := range lists {
		sets[taker] = newCommandSet(list)
	}
	return sets
}

// describe returns the entry of get_command_descriptions. In its old form whether
// an argument is required is told in the words of Ceph's source, and nothing of what
// has to be named.
func (s *signature) describe(old bool) object {
	var sig []any
	for _, w := range s.sig {
		name, rest, isArg := strings.Cut(w, ":")
		if !isArg {
			sig = append(sig, w)
			continue
		}
		parts := strings.Split(rest, ",")
		arg := object{{"name", name}, {"type", "Ceph" + parts[0]}}
		for _, p := range parts[1:] {
			key, value, _ := strings.Cut(p, "=")
			switch {
			case key == "?" && old:
				arg = append(arg, field{"req", "false"})
			case key == "req" && old:
				arg = append(arg, field{"req", value})
			case key == "?" || key == "req":
				arg = append(arg, field{"req", value == "true"})
			case key == "n":
				arg = append(arg, field{"n", "N"})
			case key == "named" && !old:
				arg = append(arg, field{"positional", false})
			case key == "":
				arg = append(arg, field{"strings", value})
			case key == "range":
				arg = append(arg, field{"range", value})
			case key == "good":
				arg = append(arg, field{"goodchars", value})
			}
		}
		slices.SortFunc(arg, func(a, b field) int { return strings.Compare(a.Key, b.Key) })
		sig = append(sig, arg)
	}
	o := object{{"sig", sig}, {"help", s.words}}
	if s.module != "" {
		o = append(o, field{"module", s.module}, field{"perm", s.perm}, field{"flags", s.flags})
	}
	return o
}

func (s *signature) access() access {
	a, _ := parseAccess(s.perm)
	return a
}
