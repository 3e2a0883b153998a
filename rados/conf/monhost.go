package conf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
)

const (
	monPort       = 3300 // msgr2
	monPortLegacy = 6789 // msgr1
)

// ErrNoMon says that nothing tells where the monitors are.
var ErrNoMon = errors.New("no monitor is known: neither mon_host nor a [mon.NAME] section nor DNS names one")

// Mon is a monitor to start from.
type Mon struct {
	// Name is the monitor's when a section or DNS gave it, else made up.
	Name string
	// Addr is its msgr2 address.
	Addr entity.Addr
	// Priority: lower is tried first. Weight: among equals, the chance to be
	// chosen. Both come from DNS and are 0 otherwise.
	Priority, Weight uint16
}

// Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Mons returns the monitors to start from: those of mon_host, else those of the
// [mon.NAME] sections' "mon addr", else those that DNS lists under
// mon_dns_srv_name. An address without a port, or with the port of the old
// protocol, stands for port 3300.
func (c *Config) Mons(ctx context.Context, r Resolver) ([]Mon, error) {
	if r == nil {
		r = net.DefaultResolver
	}
	for _, option := range []string{"mon_host_override", "mon_host"} {
		if list := strings.TrimSpace(c.Get(option)); list != "" {
			mons, err := parseMonHost(ctx, r, list)
			if err != nil {
				return nil, fmt.Errorf("option %s: %w", option, err)
			}
			return mons, nil
		}
	}
	mons, err := c.sectionMons(ctx, r)
	if err != nil || len(mons) > 0 {
		return mons, err
	}
	return c.dnsMons(ctx, r)
}

// sectionMons reads the "mon addr" of every [mon.NAME] section.
func (c *Config) sectionMons(ctx context.Context, r Resolver) ([]Mon, error) {
	var mons []Mon
	for _, section := range slices.Sorted(maps.Keys(c.file)) {
		name, ok := strings.CutPrefix(section, "mon.")
		addr := c.file[section]["mon_addr"]
		if !ok || addr == "" {
			continue
		}
		found, err := parseMonHost(ctx, r, c.Expand(addr))
		if err != nil {
			return nil, fmt.Errorf("section [%s]: mon addr: %w", section, err)
		}
		for _, m := range found {
			m.Name = name
			mons = append(mons, m)
		}
	}
	return mons, nil
}

// parseMonHost reads a list of addresses and host names. Brackets hold the
// addresses of one monitor.
func parseMonHost(ctx context.Context, r Resolver, list string) ([]Mon, error) {
	items, err := splitMonHost(list)
	if err != nil {
		return nil, err
	}
	var mons []Mon
	for _, item := range items {
		addrs, err := resolveItem(ctx, r, item)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			m := Mon{Name: "noname-" + strconv.Itoa(len(mons)), Addr: a}
			if !slices.ContainsFunc(mons, func(o Mon) bool { return o.Addr == a }) {
				mons = append(mons, m)
			}
		}
	}
	if len(mons) == 0 {
		return nil, fmt.Errorf("%q names no monitor", list)
	}
	return mons, nil
}

// splitMonHost splits at commas, semicolons and space outside of brackets.
func splitMonHost(list string) ([]string, error) {
	var items []string
	depth, start := 0, 0
	for i := 0; i <= len(list); i++ {
		if i == len(list) || depth == 0 && strings.ContainsRune(",; \t", rune(list[i])) {
			if i > start {
				items = append(items, list[start:i])
			}
			start = i + 1
			continue
		}
		switch list[i] {
		case '[':
			depth++
		case ']':
			depth--
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("%q: brackets do not match", list)
	}
	return items, nil
}

// resolveItem returns the msgr2 addresses that one item of the list stands for.
func resolveItem(ctx context.Context, r Resolver, item string) ([]entity.Addr, error) {
	if inner, ok := vector(item); ok {
		var legacy []entity.Addr
		for part := range strings.SplitSeq(inner, ",") {
			addrs, err := resolveItem(ctx, r, strings.TrimSpace(part))
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(strings.TrimSpace(part), "v1:") {
				legacy = append(legacy, addrs...)
				continue
			}
			return addrs, nil
		}
		return legacy, nil
	}
	rest, v2 := strings.CutPrefix(item, "v2:")
	rest, v1 := strings.CutPrefix(rest, "v1:")
	rest = strings.TrimPrefix(rest, "any:")
	rest, nonce, err := cutNonce(rest)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", item, err)
	}
	host, port, err := splitHostPort(rest)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", item, err)
	}
	if v1 || port == 0 || port == monPortLegacy && !v2 {
		port = monPort
	}
	ips, err := resolveHost(ctx, r, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]entity.Addr, len(ips))
	for i, ip := range ips {
		addrs[i] = entity.Addr{Type: entity.AddrMsgr2, Nonce: nonce, IP: netip.AddrPortFrom(ip, port)}
	}
	return addrs, nil
}

// vector returns what is inside "[v2:…,v1:…]"; a bracketed IPv6 address is no
// vector.
func vector(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") || !strings.HasSuffix(s, "]") {
		return "", false
	}
	inner := s[1 : len(s)-1]
	return inner, strings.Contains(inner, ",") || strings.HasPrefix(inner, "v1:") || strings.HasPrefix(inner, "v2:")
}

func cutNonce(s string) (string, uint32, error) {
	host, nonce, ok := strings.Cut(s, "/")
	if !ok {
		return s, 0, nil
	}
	n, err := strconv.ParseUint(nonce, 10, 32)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no nonce", nonce)
	}
	return host, uint32(n), nil
}

// splitHostPort reads HOST, HOST:PORT, IPv6, [IPv6] and [IPv6]:PORT.
func splitHostPort(s string) (host string, port uint16, err error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.String(), 0, nil
	}
	host, p, ok := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		host, p, ok = strings.Cut(s[1:], "]:")
	}
	if !ok {
		p = "0"
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || host == "" || ok && n == 0 {
		return "", 0, errors.New("want an address or a host name, with or without :PORT")
	}
	return host, uint16(n), nil
}

func resolveHost(ctx context.Context, r Resolver, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("monitor host %q: %w", host, err)
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return ips, nil
}

// dnsMons asks DNS for the SRV records of _ceph-mon._tcp, or whatever
// mon_dns_srv_name says: a service's name, and after an underscore a domain.
func (c *Config) dnsMons(ctx context.Context, r Resolver) ([]Mon, error) {
	service, domain, _ := strings.Cut(c.Get("mon_dns_srv_name"), "_")
	if service == "" {
		return nil, ErrNoMon
	}
	name := "_" + service + "._tcp"
	if domain != "" {
		name += "." + domain
	}
	_, records, err := r.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoMon, err)
	}
	var mons []Mon
	for _, rec := range records {
		host := strings.TrimSuffix(rec.Target, ".")
		ips, err := resolveHost(ctx, r, host)
		if err != nil {
			return nil, err
		}
		port := rec.Port
		if port == monPortLegacy || port == 0 {
			port = monPort
		}
		short, _, _ := strings.Cut(host, ".")
		for _, ip := range ips {
			mons = append(mons, Mon{
				Name: short, Addr: entity.Addr{Type: entity.AddrMsgr2, IP: netip.AddrPortFrom(ip, port)},
				Priority: rec.Priority, Weight: rec.Weight,
			})
		}
	}
	if len(mons) == 0 {
		return nil, ErrNoMon
	}
	return mons, nil
}
