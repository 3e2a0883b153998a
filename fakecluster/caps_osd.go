package fakecluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/rados/wire"
)

// osdGrant is one "allow" of an OSD capability.
type osdGrant struct {
	access        access
	pool, prefix  string
	namespace     *string // a trailing * matches a prefix
	app, key, val string
	class, method string
}

// osdCaps is what a client may do on OSDs.
type osdCaps struct {
	grants []osdGrant
	none   bool // the user has no OSD capability at all
}

// parseOSDCaps reads the capability of a client at addr.
func parseOSDCaps(text string, addr netip.Addr) *osdCaps {
	c := &osdCaps{none: text == ""}
	c.parse(text, addr)
	return c
}

// parse is that of monCaps. Profiles are replaced by what they stand for.
func (c *osdCaps) parse(text string, addr netip.Addr) string {
	s := &capScanner{text: text}
	ok := s.list(func() bool {
		var g osdGrant
		var profile string
		var network capNetwork
		if !s.osdGrant(&g, &profile, &network) {
			return false
		}
		switch {
		case !network.contains(addr):
		case profile != "":
			c.grants = append(c.grants, osdProfile(profile, g)...)
		default:
			c.grants = append(c.grants, g)
		}
		return s.blanks()
	})
	if ok {
		return ""
	}
	c.grants = nil
	return fmt.Sprintf("osd capability parse failed, stopped at '%s' of '%s'", s.rest(), text)
}

func (s *capScanner) osdGrant(g *osdGrant, profile *string, network *capNetwork) bool {
	s.blanks()
	return s.attempt(func() bool {
		*g = osdGrant{}
		return s.literal("allow") && s.osdSpec(g) && s.osdMatch(g) && s.network(network)
	}) || s.attempt(func() bool {
		*g = osdGrant{}
		return s.literal("allow") && s.osdMatch(g) && s.osdSpec(g) && s.network(network)
	}) || s.attempt(func() bool {
		*g = osdGrant{}
		return s.literal("profile") && s.assign() && s.str(profile, false) && s.poolName(g) && s.space(g) && s.network(network)
	})
}

// osdSpec reads what is allowed.
func (s *capScanner) osdSpec(g *osdGrant) bool {
	if s.attempt(func() bool { return s.spaces() && s.wildcard() }) {
		g.access = accessAll | accessAny
		return true
	}
	some := s.attempt(func() bool { return s.spaces() && s.rwx(&g.access) })
	if s.spaced("class-read") {
		g.access, some = g.access|accessClassR, true
	}
	if s.spaced("class-write") {
		g.access, some = g.access|accessClassW, true
	}
	if some {
		return true
	}
	return s.attempt(func() bool {
		if !s.spaced("class") || !s.spaces() || !s.str(&g.class, false) {
			return false
		}
		// What follows is a method, even where it looks like a restriction.
		s.attempt(func() bool { return s.spaces() && s.str(&g.method, false) })
		return true
	})
}

// osdMatch reads what a grant is restricted to, which may be nothing.
func (s *capScanner) osdMatch(g *osdGrant) bool {
	was := *g
	tag := func() bool {
		*g = was
		return s.tag(g)
	}
	if s.attempt(tag) || s.attempt(func() bool { return s.space(g) && g.namespace != nil && s.tag(g) }) {
		return true
	}
	*g = was
	s.poolName(g)
	s.space(g)
	s.attempt(func() bool { return s.spaced("object_prefix") && s.spaces() && s.str(&g.prefix, false) })
	return true
}

func (s *capScanner) tag(g *osdGrant) bool {
	star := func(out *string) bool {
		if s.wildcard() {
			*out = "*"
			return true
		}
		return s.str(out, false)
	}
	return s.spaced("tag") && s.spaces() && s.str(&g.app, false) && s.spaces() && star(&g.key) &&
		s.blanks() && s.literal("=") && s.blanks() && star(&g.val)
}

// poolName and space read these restrictions if they are there.
func (s *capScanner) poolName(g *osdGrant) bool {
	s.attempt(func() bool { return s.spaced("pool") && s.assign() && s.str(&g.pool, false) })
	return true
}

func (s *capScanner) space(g *osdGrant) bool {
	s.attempt(func() bool {
		var ns string
		if !s.spaced("namespace") || !s.assign() || !s.str(&ns, true) {
			return false
		}
		if s.literal("*") {
			ns += "*"
		}
		g.namespace = &ns
		return true
	})
	return true
}

// osdProfile returns what a profile stands for, within g's pool and namespace.
func osdProfile(name string, g osdGrant) []osdGrant {
	with := func(a access) osdGrant {
		n := g
		n.access = a
		return n
	}
	attach := func(method string) osdGrant {
		n := g
		n.prefix, n.class, n.method = "rbd_header.", "rbd", method
		return n
	}
	switch name {
	case "read-only":
		return []osdGrant{with(accessR)}
	case "read-write":
		return []osdGrant{with(accessR | accessW)}
	case "rbd":
		// Children and mirroring of other pools are looked at.
		return []osdGrant{
			{prefix: "rbd_children", access: accessClassR}, {prefix: "rbd_mirroring", access: accessClassR},
			{prefix: "rbd_info", access: accessR}, {prefix: "rbd_info", class: "rbd", method: "metadata_list"}, with(accessAll),
		}
	case "rbd-read-only":
		return []osdGrant{
			with(accessR | accessClassR), attach("child_attach"), attach("child_detach"),
		}
	}
	return nil
}

func (g *osdGrant) matches(p *poolView, o *wire.OSDOp) bool {
	if g.pool != "" && g.pool != p.name {
		return false
	}
	if g.namespace != nil && *g.namespace != o.Locator.Namespace {
		before, ok := strings.CutSuffix(*g.namespace, "*")
		if !ok || !strings.HasPrefix(o.Locator.Namespace, before) {
			return false
		}
	}
	return g.tagged(p.pool.Applications) && strings.HasPrefix(o.Object, g.prefix)
}

// tagged reports whether a pool's applications are what the grant is for.
func (g *osdGrant) tagged(apps map[string]map[string]string) bool {
	if g.app == "" {
		return true
	}
	meta, ok := apps[g.app]
	switch {
	case !ok:
		return false
	case g.key == "*" && g.val == "*":
		return true
	case g.key == "*":
		for _, v := range meta {
			if v == g.val {
				return true
			}
		}
		return false
	}
	v, ok := meta[g.key]
	return ok && (g.val == "*" || v == g.val)
}

// methodCall is a call of an object class in a request.
type methodCall struct {
	class, method string
	read, write   bool
}

// defaultClasses are the classes that "x" opens: osd_class_default_list. read-only.
var defaultClasses = []string{
	"cephfs", "hello", "journal", "lock", "log", "numops", "otp", "rbd", "refcount", "rgw", "rgw_gc", "timeindex", "user", "version", "cas", "cmpomap",
	"queue", "2pc_queue", "fifo", "sem_set",
}

// allows reports whether one grant has all that a request needs. Only calls of
// methods may be allowed by several.
func (c *osdCaps) allows(p *poolView, o *wire.OSDOp, need access, calls []methodCall) bool {
	open := slices.Clone(calls)
	for i := range c.grants {
		g := &c.grants[i]
		if !g.matches(p, o) || need&^g.access != 0 {
			continue
		}
		if len(calls) == 0 || g.access&accessAny != 0 {
			return true
		}
		open = slices.DeleteFunc(open, func(m methodCall) bool {
			if g.class != "" && g.class == m.class && (g.method == "" || g.method == m.method) {
				return true
			}
			return slices.Contains(defaultClasses, m.class) && (!m.read || g.access&accessClassR != 0) && (!m.write || g.access&accessClassW != 0)
		})
		if len(open) == 0 {
			return true
		}
	}
	return false
}

// unrestricted reports whether a grant is for everything there is.
func (g *osdGrant) unrestricted() bool {
	return g.pool == "" && g.namespace == nil && g.app == "" && g.prefix == ""
}

// isAdmin reports whether everything is allowed, which commands to OSDs need.
func (c *osdCaps) isAdmin() bool {
	return slices.ContainsFunc(c.grants, func(g osdGrant) bool { return g.access&accessAny != 0 && g.unrestricted() })
}

// writes reports whether a pool may be written to, at least in parts: then its
// snapshots may be made and removed. From 18.2 on a namespace or a prefix of
// objects' names without a pool does not matter for that.
func (c *osdCaps) writes(pool string, release int) bool {
	return slices.ContainsFunc(c.grants, func(g osdGrant) bool {
		everywhere := g.unrestricted() || release >= 18 && g.pool == "" && g.app == ""
		return g.access&accessW != 0 && (everywhere || g.pool != "" && g.pool == pool)
	})
}
