package fakecluster

import (
	"strings"

	"github.com/rbdm/rbdm/rados/wire"
)

// access is what a capability allows.
type access uint8

const (
	accessR access = 1 << iota
	accessW
	accessClassR
	accessClassW
	accessX   = accessClassR | accessClassW
	accessAll = accessR | accessW | accessX
)

func parseAccess(word string) (access, bool) {
	switch word {
	case "*", "all":
		return accessAll, true
	case "class-read":
		return accessClassR, true
	case "class-write":
		return accessClassW, true
	}
	var a access
	for _, r := range word {
		switch r {
		case 'r':
			a |= accessR
		case 'w':
			a |= accessW
		case 'x':
			a |= accessX
		default:
			return 0, false
		}
	}
	return a, word != ""
}

// capWords splits one grant into words; "k=v" becomes two.
func capWords(s string) []string {
	var out []string
	var cur strings.Builder
	quote := rune(0)
	flush := func() {
		if cur.Len() > 0 {
			out = append(out, cur.String())
			cur.Reset()
		}
	}
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			out = append(out, cur.String())
			cur.Reset()
			quote = 0
		case quote != 0:
			cur.WriteRune(r)
		case r == '"' || r == '\'':
			flush()
			quote = r
		case r == ' ' || r == '\t' || r == '\n' || r == '=':
			flush()
		default:
			cur.WriteRune(r)
		}
	}
	flush()
	return out
}

func capGrants(s string) [][]string {
	var out [][]string
	for _, g := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' }) {
		if w := capWords(g); len(w) > 1 {
			out = append(out, w)
		}
	}
	return out
}

// osdGrant is one "allow" of an OSD capability.
type osdGrant struct {
	access        access
	pool, prefix  string
	namespace     *string // a trailing * matches a prefix
	app, key, val string
	class, method string
}

// osdCaps is what a client may do on OSDs.
type osdCaps struct{ grants []osdGrant }

func parseOSDCaps(s string) *osdCaps {
	c := &osdCaps{}
	for _, w := range capGrants(s) {
		var g osdGrant
		rest := w[2:]
		switch w[0] {
		case "allow":
			if w[1] == "class" && len(rest) > 0 {
				g.class = rest[0]
				if rest = rest[1:]; len(rest) > 0 && rest[0] != "pool" && rest[0] != "namespace" {
					g.method, rest = rest[0], rest[1:]
				}
				g.access = accessX
				break
			}
			a, ok := parseAccess(w[1])
			if !ok {
				// Restrictions may come before the access.
				rest = w[1:]
			}
			g.access = a
		case "profile":
		default:
			continue
		}
		rest = g.restrict(rest)
		if len(rest) > 0 && g.access == 0 {
			g.access, _ = parseAccess(rest[0])
		}
		if w[0] == "profile" {
			c.grants = append(c.grants, profileGrants(w[1], g)...)
			continue
		}
		c.grants = append(c.grants, g)
	}
	return c
}

// restrict reads what narrows a grant and returns the words that it did not
// know.
func (g *osdGrant) restrict(w []string) []string {
	var left []string
	for i := 0; i < len(w); i++ {
		more := i+1 < len(w)
		switch {
		case w[i] == "pool" && more:
			i++
			g.pool = w[i]
		case w[i] == "namespace" && more:
			i++
			ns := w[i]
			g.namespace = &ns
		case w[i] == "namespace":
			ns := ""
			g.namespace = &ns
		case w[i] == "object_prefix" && more:
			i++
			g.prefix = w[i]
		case w[i] == "tag" && i+3 < len(w):
			g.app, g.key, g.val = w[i+1], w[i+2], w[i+3]
			i += 3
		default:
			left = append(left, w[i])
		}
	}
	return left
}

// profileGrants returns what an OSD profile stands for.
func profileGrants(name string, g osdGrant) []osdGrant {
	with := func(a access, prefix string) osdGrant {
		n := g
		n.access, n.prefix = a, prefix
		return n
	}
	empty := ""
	switch name {
	case "rbd":
		out := []osdGrant{with(accessAll, "")}
		if g.namespace != nil {
			for _, p := range []string{"rbd_info", "rbd_children", "rbd_mirroring", "rbd_namespace"} {
				n := with(accessR|accessClassR, p)
				n.namespace = &empty
				out = append(out, n)
			}
		}
		return out
	case "rbd-read-only":
		return []osdGrant{with(accessR|accessClassR, ""), with(accessR|accessClassR|accessW, "rbd_header.")}
	}
	return nil
}

func (g *osdGrant) matches(p *poolView, o *wire.OSDOp) bool {
	if g.pool != "" && g.pool != p.name {
		return false
	}
	if g.namespace != nil {
		if before, ok := strings.CutSuffix(*g.namespace, "*"); ok {
			if !strings.HasPrefix(o.Locator.Namespace, before) {
				return false
			}
		} else if *g.namespace != o.Locator.Namespace {
			return false
		}
	}
	if g.app != "" {
		meta, ok := p.pool.Applications[g.app]
		if !ok && g.app != "*" {
			return false
		}
		if g.key != "*" && meta[g.key] != g.val && g.val != "*" {
			return false
		}
	}
	return strings.HasPrefix(o.Object, g.prefix)
}

// allows reports whether all of need is granted, by one grant or several.
func (c *osdCaps) allows(p *poolView, o *wire.OSDOp, need access) bool {
	for i := range c.grants {
		if g := &c.grants[i]; g.class == "" && g.matches(p, o) {
			need &^= g.access
		}
	}
	return need == 0
}

// allowsCall reports whether a class method may be called.
func (c *osdCaps) allowsCall(p *poolView, o *wire.OSDOp, class, method string, write bool) bool {
	for i := range c.grants {
		g := &c.grants[i]
		if g.class == class && (g.method == "" || g.method == method) && g.matches(p, o) {
			return true
		}
	}
	need := accessClassR
	if write {
		need = accessClassW
	}
	return c.allows(p, o, need)
}

// monGrant is one "allow" of a monitor capability.
type monGrant struct {
	access  access
	service string
	profile string
	command string
	with    map[string]string // "=value" exact, else a prefix
}

// monCaps is what a client may do on monitors, or on the manager.
type monCaps struct{ grants []monGrant }

func parseMonCaps(s string) *monCaps {
	c := &monCaps{}
	for _, w := range capGrants(s) {
		var g monGrant
		switch {
		case w[0] == "profile":
			g.profile, g.with = w[1], map[string]string{}
			for i := 2; i+1 < len(w); i += 2 {
				g.with[w[i]] = "=" + w[i+1]
			}
		case w[0] != "allow":
			continue
		case w[1] == "profile" && len(w) > 2:
			g.profile = w[2]
		case w[1] == "command" && len(w) > 2:
			g.command, g.with = w[2], map[string]string{}
			rest := w[3:]
			if len(rest) > 0 && rest[0] == "with" {
				rest = rest[1:]
			}
			for i := 0; i+1 < len(rest); i += 2 {
				if rest[i+1] == "prefix" && i+2 < len(rest) {
					g.with[rest[i]] = rest[i+2]
					i++
					continue
				}
				g.with[rest[i]] = "=" + rest[i+1]
			}
		case (w[1] == "service" || w[1] == "module") && len(w) > 3:
			g.service = w[2]
			g.access, _ = parseAccess(w[3])
		default:
			g.access, _ = parseAccess(w[1])
		}
		c.grants = append(c.grants, g)
	}
	return c
}

// permits reports whether a command of a service that needs need may be given.
func (c *monCaps) permits(service string, need access, prefix string, args cmdArgs) bool {
	for i := range c.grants {
		g := &c.grants[i]
		switch {
		case g.profile != "":
			// A module asks for a pool without naming a command.
			if profilePermits(g.profile, service, need, prefix, args) && (prefix != "" || g.argsMatch(args)) {
				return true
			}
		case g.command != "":
			if g.command == prefix && g.argsMatch(args) {
				return true
			}
		case g.service == "" || g.service == service:
			if g.access&need == need {
				return true
			}
		}
	}
	return false
}

func (g *monGrant) argsMatch(args cmdArgs) bool {
	for k, want := range g.with {
		got := args.str(k)
		if exact, ok := strings.CutPrefix(want, "="); ok {
			if got != exact {
				return false
			}
		} else if !strings.HasPrefix(got, want) {
			return false
		}
	}
	return true
}

// isAdmin reports whether everything is allowed.
func (c *monCaps) isAdmin() bool {
	for _, g := range c.grants {
		if g.profile == "" && g.command == "" && g.service == "" && g.access == accessAll {
			return true
		}
	}
	return false
}

// unmanagedSnaps is the service name by which pool operations on snapshots of
// images are checked.
const unmanagedSnaps = "osd pool op unmanaged-snap"

func profilePermits(profile, service string, need access, prefix string, args cmdArgs) bool {
	read := need == accessR && (service == "mon" || service == "osd" || service == "pg" || service == "mgr")
	blocklist := (prefix == "osd blocklist" && args.str("blocklistop") == "add") ||
		(prefix == "osd blacklist" && args.str("blacklistop") == "add")
	rbd := read || blocklist || prefix == unmanagedSnaps
	switch profile {
	case "rbd":
		return rbd || service == "rbd_support"
	case "rbd-read-only":
		return read || service == "rbd_support" && need == accessR
	case "rbd-mirror":
		return rbd || (prefix == "config-key get" && strings.HasPrefix(args.str("key"), "rbd/mirror/")) ||
			(need == accessR && service == "service")
	case "rbd-mirror-peer":
		return rbd || (prefix == "config-key get" && strings.HasPrefix(args.str("key"), "rbd/mirror/")) ||
			prefix == "config-key set" && strings.HasPrefix(args.str("key"), "rbd/mirror/peer/")
	case "simple-rados-client":
		return read
	case "simple-rados-client-with-blocklist":
		return read || blocklist
	case "mgr", "osd", "mds", "mon", "role-definer":
		return true
	}
	return false
}
