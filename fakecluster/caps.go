package fakecluster

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// access is what a capability allows.
type access uint8

const (
	accessR access = 1 << iota
	accessW
	accessClassR
	accessClassW
	accessX          = accessClassR | accessClassW
	accessAny access = 1 << 4 // "*", which is more than rwx
	accessAll        = accessR | accessW | accessX
)

// parseAccess reads the permissions that a command's table entry names.
func parseAccess(word string) (a access, ok bool) {
	s := capScanner{text: word}
	return a, s.rwx(&a) && s.rest() == ""
}

// capArgument restricts an argument of a command.
type capArgument struct {
	key, value string
	kind       byte // '=', 'p' for a prefix, 'r' for a regular expression
}

func (a *capArgument) matches(args cmdArgs) bool {
	if !args.has(a.key) {
		return false
	}
	got := args.str(a.key)
	switch a.kind {
	case 'p':
		return strings.HasPrefix(got, a.value)
	case 'r':
		re, err := regexp.CompilePOSIX("^(" + a.value + ")$")
		return err == nil && re.MatchString(got)
	}
	return got == a.value
}

// monGrant is one "allow" of a monitor's or the manager's capability.
type monGrant struct {
	access  access
	service string
	module  string
	profile string
	command string
	with    []capArgument
	network capNetwork
}

// monCaps is what a client may do on monitors or, with mgr, on the manager.
type monCaps struct {
	grants []monGrant
	mgr    bool
}

// parseMonCaps reads the capability that a client at addr has for monitors.
func parseMonCaps(text string, addr netip.Addr) *monCaps {
	c := &monCaps{}
	c.parse(text, addr)
	return c
}

// parseMgrCaps is parseMonCaps for the manager.
func parseMgrCaps(text string, addr netip.Addr) *monCaps {
	c := &monCaps{mgr: true}
	c.parse(text, addr)
	return c
}

// parse reads the grants that hold at addr. It returns the error text of a
// capability that cannot be, and then keeps none.
func (c *monCaps) parse(text string, addr netip.Addr) string {
	s := &capScanner{text: text}
	var last string // of profiles, the unknown one
	ok := s.list(func() bool {
		var g monGrant
		if !c.grant(s, &g) {
			return false
		}
		if c.mgr && g.profile != "" {
			if _, known := mgrProfile(g.profile, nil); !known {
				last = g.profile
			}
		}
		if g.network.contains(addr) {
			c.grants = append(c.grants, g)
		}
		return true
	})
	kind := "mon"
	if c.mgr {
		kind = "mgr"
	}
	switch {
	case ok && last != "":
		c.grants = nil
		return fmt.Sprintf("mgr capability parse failed during profile evaluation: unrecognized profile '%s'", last)
	case ok:
		return ""
	}
	c.grants = nil
	if s.rest() == "" {
		return fmt.Sprintf("%s capability parse failed, stopped at end of '%s'", kind, text)
	}
	return fmt.Sprintf("%s capability parse failed, stopped at '%s' of '%s'", kind, s.rest(), text)
}

// grant reads one grant.
func (c *monCaps) grant(s *capScanner, g *monGrant) bool {
	allow := func() bool { *g = monGrant{}; return s.blanks() && s.literal("allow") && s.spaces() }
	ok := s.attempt(func() bool {
		return allow() && s.monAccess(&g.access) && s.network(&g.network)
	}) || s.attempt(func() bool {
		*g = monGrant{}
		s.blanks()
		s.attempt(func() bool { return s.literal("allow") && s.spaces() })
		if !s.literal("profile") || !s.assign() || !s.str(&g.profile, false) {
			return false
		}
		if c.mgr {
			s.attempt(func() bool { return s.spaces() && s.arguments(&g.with) })
		}
		return s.network(&g.network)
	}) || s.attempt(func() bool {
		return allow() && s.literal("service") && s.assign() && s.str(&g.service, false) && s.spaces() && s.monAccess(&g.access) && s.network(&g.network)
	}) || c.mgr && s.attempt(func() bool {
		return allow() && s.literal("module") && s.assign() && s.str(&g.module, false) && s.with(&g.with) && s.spaces() && s.monAccess(&g.access) && s.network(&g.network)
	}) || s.attempt(func() bool {
		return allow() && s.literal("command") && s.assign() && s.str(&g.command, false) && s.with(&g.with) && s.network(&g.network)
	})
	return ok && s.blanks()
}

func (s *capScanner) monAccess(out *access) bool {
	if s.wildcard() {
		*out = accessAll | accessAny
		return true
	}
	return s.rwx(out)
}

// with reads the restrictions of a command's arguments, if there are some.
func (s *capScanner) with(out *[]capArgument) bool {
	s.attempt(func() bool { return s.spaced("with") && s.spaces() && s.arguments(out) })
	return true
}

func (s *capScanner) arguments(out *[]capArgument) bool {
	one := func() bool {
		var a capArgument
		if !s.str(&a.key, false) {
			return false
		}
		ok := s.attempt(func() bool {
			a.kind = '='
			return s.blanks() && s.literal("=") && s.blanks() && s.str(&a.value, false)
		}) || s.attempt(func() bool {
			a.kind = 'p'
			return s.spaced("prefix") && s.spaces() && s.str(&a.value, false)
		}) || s.attempt(func() bool {
			a.kind = 'r'
			return s.spaced("regex") && s.spaces() && s.str(&a.value, false)
		})
		if ok {
			*out = append(*out, a)
		}
		return ok
	}
	if !s.attempt(one) {
		return false
	}
	for s.attempt(func() bool { return s.spaces() && one() }) {
	}
	return true
}

// permits reports whether a command, or another use, of a service or module
// that needs need may be made.
func (c *monCaps) permits(service string, need access, prefix string, args cmdArgs) bool {
	var have access
	for i := range c.grants {
		if c.grants[i].all() {
			return true
		}
		have |= c.allowed(&c.grants[i], service, prefix, args)
		if have&need == need {
			return true
		}
	}
	return false
}

func (g *monGrant) all() bool {
	return g.access&accessAny != 0 && g.service == "" && g.module == "" && g.profile == "" && g.command == ""
}

func (g *monGrant) argumentsMatch(args cmdArgs) bool {
	for i := range g.with {
		if !g.with[i].matches(args) {
			return false
		}
	}
	return true
}

func (c *monCaps) allowed(g *monGrant, service, prefix string, args cmdArgs) access {
	switch {
	case g.profile != "":
		grants := monProfile(g.profile)
		if c.mgr {
			grants, _ = mgrProfile(g.profile, g.with)
		}
		var a access
		for i := range grants {
			a |= c.allowed(&grants[i], service, prefix, args)
		}
		return a
	case g.service != "":
		if g.service == service {
			return g.access
		}
		return 0
	case g.module != "":
		// A module asks for a pool without naming a command.
		if g.module == service && (prefix != "" || g.argumentsMatch(args)) {
			return g.access
		}
		return 0
	case g.command != "":
		if g.command == prefix && g.argumentsMatch(args) {
			return accessAll
		}
		return 0
	case service == "config-key" && !c.mgr:
		return 0 // nothing general but "*" opens it
	}
	return g.access
}

// isAdmin reports whether everything is allowed.
func (c *monCaps) isAdmin() bool {
	for i := range c.grants {
		if c.grants[i].all() {
			return true
		}
	}
	return false
}

// monProfile returns what a profile stands for on monitors.
func monProfile(name string) []monGrant {
	client := []monGrant{{service: "mon", access: accessR}, {service: "osd", access: accessR}, {service: "pg", access: accessR}}
	address := capArgument{"addr", "[^/]+/[0-9]+", 'r'}
	blocklist := append(client,
		monGrant{command: "osd blocklist", with: []capArgument{{"blocklistop", "add", '='}, address}},
		monGrant{command: "osd blacklist", with: []capArgument{{"blacklistop", "add", '='}, address}})
	key := func(command, value string, kind byte) monGrant {
		return monGrant{command: command, with: []capArgument{{"key", value, kind}}}
	}
	switch name {
	case "read-only":
		return []monGrant{{access: accessR}}
	case "read-write":
		return []monGrant{{access: accessR | accessW}}
	case "simple-rados-client":
		return client
	case "simple-rados-client-with-blocklist":
		return blocklist
	case "rbd-mirror":
		return append(blocklist, key("config-key get", "rbd/mirror/", 'p'))
	case "rbd-mirror-peer":
		return append(blocklist, key("config-key get", "rbd/mirror/[^/]+", 'r'), key("config-key set", "rbd/mirror/peer/", 'p'))
	case "crash":
		return client[:1]
	case "role-definer":
		return []monGrant{{service: "mon", access: accessR}, {service: "auth", access: accessAll}}
	case "mgr", "osd", "mds", "mon":
		return []monGrant{{access: accessAll}}
	}
	if strings.HasPrefix(name, "rbd") {
		return blocklist
	}
	return nil
}

// mgrProfile returns what a profile stands for on the manager, and whether
// there is such a one.
func mgrProfile(name string, with []capArgument) ([]monGrant, bool) {
	switch name {
	case "read-only":
		return []monGrant{{access: accessR}}, true
	case "read-write":
		return []monGrant{{access: accessR | accessW}}, true
	case "crash":
		return []monGrant{{command: "crash post"}}, true
	case "osd", "mds", "rgw":
		return nil, true
	case "rbd":
		return []monGrant{{module: "rbd_support", with: with, access: accessR | accessW}}, true
	case "rbd-read-only":
		return []monGrant{{module: "rbd_support", with: with, access: accessR}}, true
	}
	return nil, false
}
