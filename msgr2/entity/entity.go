// Package entity holds the names and addresses by which the parts of a Ceph
// cluster know each other: entity_name_t and entity_addr_t
// (src/msg/msg_types.h), and EntityName of the authentication layer
// (src/common/entity_name.h). Formats of releases 16.2 to 20.2.
package entity

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Type is the kind of an entity, a bit mask in places (services wanted).
type Type uint32

// The kinds of entities. Auth exists only as a service that tickets are for.
const (
	TypeMon    Type = 0x01
	TypeMDS    Type = 0x02
	TypeOSD    Type = 0x04
	TypeClient Type = 0x08
	TypeMgr    Type = 0x10
	TypeAuth   Type = 0x20
)

// String returns Ceph's word for t.
func (t Type) String() string {
	switch t {
	case TypeMon:
		return "mon"
	case TypeMDS:
		return "mds"
	case TypeOSD:
		return "osd"
	case TypeClient:
		return "client"
	case TypeMgr:
		return "mgr"
	case TypeAuth:
		return "auth"
	}
	return fmt.Sprintf("type%d", uint32(t))
}

// ParseType is the reverse of Type.String.
func ParseType(s string) (Type, bool) {
	for _, t := range []Type{TypeMon, TypeMDS, TypeOSD, TypeClient, TypeMgr, TypeAuth} {
		if t.String() == s {
			return t, true
		}
	}
	return 0, false
}

// Name is entity_name_t: a running instance. For clients Num is the global id
// that the monitor gave, for daemons their number or their global id.
type Name struct {
	Type Type
	Num  int64
}

// String returns the form "client.4123".
func (n Name) String() string { return n.Type.String() + "." + strconv.FormatInt(n.Num, 10) }

// NameSize is the length of an encoded Name.
const NameSize = 9

// Append appends u8 type, s64 number.
func (n Name) Append(b []byte) []byte {
	return denc.AppendS64(denc.AppendU8(b, uint8(n.Type)), n.Num)
}

// Decode reads what Append wrote.
func (n *Name) Decode(r *denc.Reader) {
	n.Type = Type(r.U8())
	n.Num = r.S64()
}

// AuthName is EntityName: the principal that a keyring holds a key for.
type AuthName struct {
	Type Type
	ID   string
}

// ParseAuthName reads the form "client.admin".
func ParseAuthName(s string) (AuthName, error) {
	kind, id, ok := strings.Cut(s, ".")
	t, known := ParseType(kind)
	if !ok || !known {
		return AuthName{}, fmt.Errorf("error parsing '%s': expected string of the form TYPE.ID, valid types are: auth, mon, osd, mds, mgr, client", s)
	}
	return AuthName{Type: t, ID: id}, nil
}

// String returns the form "client.admin".
func (n AuthName) String() string { return n.Type.String() + "." + n.ID }

// Append appends u32 type, str id.
func (n AuthName) Append(b []byte) []byte {
	return denc.AppendString(denc.AppendU32(b, uint32(n.Type)), n.ID)
}

// Decode reads what Append wrote.
func (n *AuthName) Decode(r *denc.Reader) {
	n.Type = Type(r.U32())
	n.ID = r.String()
}
