package fakecluster

import (
	"net/netip"
	"strings"
)

// capScanner reads the text of a capability. Its methods consume what they name
// and report whether it was there; what was not leaves the position alone.
type capScanner struct {
	text string
	at   int
}

func (s *capScanner) rest() string { return s.text[s.at:] }

// spaces consumes at least one space, blanks any number.
func (s *capScanner) spaces() bool {
	from := s.at
	for s.at < len(s.text) && strings.IndexByte(" \t\n", s.text[s.at]) >= 0 {
		s.at++
	}
	return s.at > from
}

func (s *capScanner) blanks() bool {
	s.spaces()
	return true
}

func (s *capScanner) literal(word string) bool {
	if !strings.HasPrefix(s.rest(), word) {
		return false
	}
	s.at += len(word)
	return true
}

// attempt undoes what f consumed when f fails.
func (s *capScanner) attempt(f func() bool) bool {
	from := s.at
	if f() {
		return true
	}
	s.at = from
	return false
}

// spaced is spaces and then a literal.
func (s *capScanner) spaced(word string) bool {
	return s.attempt(func() bool { return s.spaces() && s.literal(word) })
}

// assign is "=" or spaces, behind a keyword.
func (s *capScanner) assign() bool { return s.literal("=") || s.spaces() }

// str reads a word, or text in quotes; that may only be empty with empty.
func (s *capScanner) str(out *string, empty bool) bool {
	r := s.rest()
	if r != "" && (r[0] == '"' || r[0] == '\'') {
		end := strings.IndexByte(r[1:], r[0])
		if end < 0 || end == 0 && !empty {
			return false
		}
		*out = r[1 : 1+end]
		s.at += end + 2
		return true
	}
	n := 0
	for n < len(r) && wordByte(r[n]) {
		n++
	}
	*out = r[:n]
	s.at += n
	return n > 0
}

func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("_./-", b) >= 0
}

// rwx reads some of r, w and x in this order.
func (s *capScanner) rwx(out *access) bool {
	from := s.at
	for _, c := range []struct {
		letter string
		a      access
	}{{"r", accessR}, {"w", accessW}, {"x", accessX}} {
		if s.literal(c.letter) {
			*out |= c.a
		}
	}
	return s.at > from
}

func (s *capScanner) wildcard() bool { return s.literal("*") || s.literal("all") }

// capNetwork is where a grant is restricted to clients of.
type capNetwork struct {
	given  bool
	prefix netip.Prefix
}

// network reads the restriction, if there is one.
func (s *capScanner) network(out *capNetwork) bool {
	s.attempt(func() bool {
		if !s.spaced("network") || !s.spaces() {
			return false
		}
		r, n := s.rest(), 0
		for n < len(r) && strings.IndexByte("/.:abcdefABCDEF0123456789[]", r[n]) >= 0 {
			n++
		}
		if n == 0 {
			return false
		}
		s.at += n
		out.given = true
		out.prefix, _ = netip.ParsePrefix(strings.Trim(r[:n], "[]"))
		return true
	})
	return true
}

// contains reports whether a is in the network. An address that is not known is
// in all.
func (n capNetwork) contains(a netip.Addr) bool {
	return !n.given || !a.IsValid() || n.prefix.Contains(a.Unmap())
}

// list reads grants between commas or semicolons. It reports whether that was
// all; if not, the scanner stands where it stopped.
func (s *capScanner) list(grant func() bool) bool {
	if !s.attempt(grant) {
		return false
	}
	for s.attempt(func() bool {
		s.blanks()
		return (s.literal(";") || s.literal(",")) && s.blanks() && grant()
	}) {
	}
	s.blanks()
	return s.at == len(s.text)
}
