package entity

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// AddrType says which protocol an address speaks.
type AddrType uint32

// Address types. Any matches both protocols; it is how blocklists and stored
// mirror status name a client.
const (
	AddrNone   AddrType = 0
	AddrLegacy AddrType = 1 // msgr1
	AddrMsgr2  AddrType = 2
	AddrAny    AddrType = 3
)

// String returns the prefix of the printed form: "v1", "v2", "any".
func (t AddrType) String() string {
	switch t {
	case AddrNone:
		return "none"
	case AddrLegacy:
		return "v1"
	case AddrMsgr2:
		return "v2"
	case AddrAny:
		return "any"
	}
	return "type" + strconv.Itoa(int(t))
}

// Addr is entity_addr_t: a socket address and a nonce that tells one life of a
// process from the next. The zero Addr is Ceph's blank address.
type Addr struct {
	Type  AddrType
	Nonce uint32
	// IP is the address and port. Not valid means blank.
	IP netip.AddrPort
}

// IsBlank reports whether a has no IP address.
func (a Addr) IsBlank() bool { return !a.IP.IsValid() }

// SameInstance reports whether a and o name the same process: equal IP, port
// and nonce, whatever the types. Ceph stores one client's address with type 1
// in lock records, 2 in watches and 3 in blocklists.
func (a Addr) SameInstance(o Addr) bool { return a.IP == o.IP && a.Nonce == o.Nonce }

// WithType returns a with another type.
func (a Addr) WithType(t AddrType) Addr {
	a.Type = t
	return a
}

// String returns Ceph's form, "v2:10.0.0.1:6800/123", and "-" for a blank one.
func (a Addr) String() string {
	if a.IsBlank() {
		return "-"
	}
	s := a.IP.String() + "/" + strconv.FormatUint(uint64(a.Nonce), 10)
	if a.Type == AddrAny || a.Type == AddrNone {
		return s
	}
	return a.Type.String() + ":" + s
}

// ParseAddr reads the form that String prints. The type prefix, the port and
// the nonce may be missing: type Any (if absent), port 0, nonce 0.
func ParseAddr(s string) (Addr, error) {
	a := Addr{Type: AddrAny}
	rest := s
	for prefix, t := range map[string]AddrType{"v1:": AddrLegacy, "v2:": AddrMsgr2, "any:": AddrAny} {
		if after, ok := strings.CutPrefix(rest, prefix); ok {
			a.Type, rest = t, after
			break
		}
	}
	host, nonce, ok := strings.Cut(rest, "/")
	if ok {
		n, err := strconv.ParseUint(nonce, 10, 32)
		if err != nil {
			return Addr{}, fmt.Errorf("%q is no Ceph address: bad nonce", s)
		}
		a.Nonce = uint32(n)
	}
	ap, err := netip.ParseAddrPort(host)
	if err != nil {
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil {
			return Addr{}, fmt.Errorf("%q is no Ceph address: want [v2:]IP[:PORT][/NONCE]", s)
		}
		ap = netip.AddrPortFrom(ip, 0)
	}
	a.IP = ap
	return a, nil
}

const (
	afINET         = 2
	afINET6        = 10
	sockaddr4      = 16
	sockaddr6      = 28
	legacyAddrSize = 4 + 4 + 128 // zero, nonce, sockaddr_storage
)

// Append appends the modern form: marker 1, section (1,1) with type, nonce,
// length of the sockaddr, sockaddr. The family is little-endian, the port and
// the address are in network order.
func (a Addr) Append(b []byte) []byte {
	b = append(b, 1)
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU32(b, uint32(a.Type))
	b = denc.AppendU32(b, a.Nonce)
	b = a.appendSockaddr(b)
	return denc.End(b, at)
}

func (a Addr) appendSockaddr(b []byte) []byte {
	if a.IsBlank() {
		// Ceph writes the longest sockaddr it knows, all of it zero; readers
		// take any length.
		return append(denc.AppendU32(b, sockaddr6), make([]byte, sockaddr6)...)
	}
	ip := a.IP.Addr()
	if ip.Is4() {
		b = denc.AppendU32(b, sockaddr4)
		b = denc.AppendU16(b, afINET)
		b = binary.BigEndian.AppendUint16(b, a.IP.Port())
		v4 := ip.As4()
		b = append(b, v4[:]...)
		return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	b = denc.AppendU32(b, sockaddr6)
	b = denc.AppendU16(b, afINET6)
	b = binary.BigEndian.AppendUint16(b, a.IP.Port())
	b = denc.AppendU32(b, 0) // flow info
	v6 := ip.As16()
	b = append(b, v6[:]...)
	scope, _ := strconv.ParseUint(ip.Zone(), 10, 32)
	return denc.AppendU32(b, uint32(scope))
}

// Decode reads the modern form and the legacy one (marker 0).
func (a *Addr) Decode(r *denc.Reader) {
	switch marker := r.U8(); marker {
	case 0:
		a.decodeLegacy(r, 3)
	case 1:
		a.decodeModern(r)
	default:
		r.Failf("address marker %d", marker)
	}
}

func (a *Addr) decodeModern(r *denc.Reader) {
	s := r.Enter("entity_addr_t", 1)
	*a = Addr{Type: AddrType(r.U32()), Nonce: r.U32()}
	a.decodeSockaddr(r, r.Bytes(), binary.LittleEndian)
	r.Leave(s)
}

// decodeLegacy reads the msgr1 form, of whose leading zero word the caller has
// consumed all but rest bytes. Its family is in network order.
func (a *Addr) decodeLegacy(r *denc.Reader, rest int) {
	r.Skip(rest)
	*a = Addr{Type: AddrLegacy, Nonce: r.U32()}
	a.decodeSockaddr(r, r.Raw(128), binary.BigEndian)
	if a.IsBlank() {
		a.Type = AddrNone
	}
}

func (a *Addr) decodeSockaddr(r *denc.Reader, sa []byte, family binary.ByteOrder) {
	if len(sa) < 2 {
		return
	}
	switch fam := family.Uint16(sa); {
	case fam == 0:
	case fam == afINET && len(sa) >= 8:
		a.IP = netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), binary.BigEndian.Uint16(sa[2:]))
	case fam == afINET6 && len(sa) >= sockaddr6:
		ip := netip.AddrFrom16([16]byte(sa[8:24]))
		if scope := binary.LittleEndian.Uint32(sa[24:]); scope != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		a.IP = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(sa[2:]))
	default:
		r.Failf("address family %d with %d bytes", fam, len(sa))
	}
}

// AddrVec is entity_addrvec_t: the addresses one entity listens on.
type AddrVec []Addr

// Msgr2 returns the first msgr2 address.
func (v AddrVec) Msgr2() (Addr, bool) {
	for _, a := range v {
		if a.Type == AddrMsgr2 {
			return a, true
		}
	}
	return Addr{}, false
}

// Contains reports whether one of the addresses is the same instance as a.
func (v AddrVec) Contains(a Addr) bool {
	for _, o := range v {
		if o.SameInstance(a) {
			return true
		}
	}
	return false
}

// Equal reports whether both hold the same addresses in the same order.
func (v AddrVec) Equal(o AddrVec) bool {
	if len(v) != len(o) {
		return false
	}
	for i := range v {
		if v[i] != o[i] {
			return false
		}
	}
	return true
}

// String returns Ceph's form: one address bare, several as "[a,b]".
func (v AddrVec) String() string {
	if len(v) == 1 {
		return v[0].String()
	}
	parts := make([]string, len(v))
	for i, a := range v {
		parts[i] = a.String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Append appends the modern form: marker 2, count, addresses.
func (v AddrVec) Append(b []byte) []byte {
	b = append(b, 2)
	return denc.AppendSlice(b, v, func(b []byte, a Addr) []byte { return a.Append(b) })
}

// Decode reads the modern form, a lone modern address (marker 1) and a lone
// legacy address (marker 0).
func (v *AddrVec) Decode(r *denc.Reader) {
	*v = nil
	switch marker := r.U8(); marker {
	case 0:
		var a Addr
		a.decodeLegacy(r, 3)
		*v = AddrVec{a}
	case 1:
		var a Addr
		a.decodeModern(r)
		*v = AddrVec{a}
	case 2:
		*v = denc.Slice(r, 1, func(r *denc.Reader) (a Addr) {
			a.Decode(r)
			return a
		})
	default:
		r.Failf("address vector marker %d", marker)
	}
}
