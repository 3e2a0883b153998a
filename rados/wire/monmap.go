package wire

import (
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// MonMap is the monitor map (src/mon/MonMap.h): versions 6 to 10 are read and
// written. 16.2 writes 9 (compat 6), 18.2 too, 20.2 writes 10.
type MonMap struct {
	// V is the version it was read in and is written in; 0 writes version 9.
	V                    uint8
	FSID                 denc.UUID
	Epoch                uint32
	LastChanged, Created denc.Time
	// PersistentFeatures and OptionalFeatures are sets of monitor features.
	PersistentFeatures, OptionalFeatures uint64
	// Mons is keyed by name.
	Mons map[string]MonInfo
	// Ranks holds the names in order of rank.
	Ranks         []string
	MinMonRelease uint8
	RemovedRanks  []uint32
	Strategy      uint8
	Disallowed    []string // never leaders
	StretchMode   bool
	TiebreakerMon string
	StretchDown   []string
	Auth          MonMapAuth
}

// MonMapAuth is what version 10 of the map adds. A map without it stands for
// the values of DefaultMonMapAuth.
type MonMapAuth struct {
	// Epoch rises when every service ticket must be fetched anew.
	Epoch uint32
	// ServiceCipher is the key type of rotating service keys.
	ServiceCipher int32
	// AllowedCiphers are the key types with which entities may log in.
	AllowedCiphers []int32
	// PreferredCipher is the key type of newly created keys.
	PreferredCipher int32
}

// DefaultMonMapAuth returns what a map older than version 10 stands for.
func DefaultMonMapAuth() MonMapAuth {
	return MonMapAuth{ServiceCipher: 1, AllowedCiphers: []int32{1, 2}, PreferredCipher: 1}
}

// MonInfo is mon_info_t: versions 4 to 6.
type MonInfo struct {
	// V and Compat are the versions it was read in and is written in; 0 writes
	// version 5.
	V, Compat uint8
	Name      string
	Addrs     entity.AddrVec
	// Priority: lower ones are tried first.
	Priority uint16
	// Weight: among equal priorities, the chance to be chosen.
	Weight    uint16
	Location  map[string]string
	TimeAdded denc.Time
}

// Append appends i.
func (i *MonInfo) Append(b []byte) []byte {
	v, compat := i.V, i.Compat
	if v == 0 {
		v, compat = 5, 1
		if len(i.Location) > 0 {
			compat = 5
		}
	}
	b, at := denc.Begin(b, v, compat)
	b = denc.AppendString(b, i.Name)
	b = i.Addrs.Append(b)
	b = denc.AppendU16(b, i.Priority)
	b = denc.AppendU16(b, i.Weight)
	if v >= 5 {
		b = appendStringMap(b, i.Location)
	}
	if v >= 6 {
		b = denc.AppendTime(b, i.TimeAdded)
	}
	return denc.End(b, at)
}

// Decode reads i.
func (i *MonInfo) Decode(r *denc.Reader) {
	s := r.Enter("mon_info_t", 6)
	*i = MonInfo{V: min(s.V, 6), Compat: s.Compat, Name: r.String()}
	i.Addrs.Decode(r)
	i.Priority = r.U16()
	if s.V >= 4 {
		i.Weight = r.U16()
	}
	if s.V >= 5 {
		i.Location = readStringMap(r)
	}
	if s.V >= 6 {
		i.TimeAdded = r.Time()
	}
	r.Leave(s)
}

const (
	monMapCompat  = 6
	monMapNewest  = 10
	monMapDefault = 9
)

// Append appends m.
func (m *MonMap) Append(b []byte) []byte {
	v := m.V
	if v == 0 {
		v = monMapDefault
	}
	b, at := denc.Begin(b, v, monMapCompat)
	b = denc.AppendUUID(b, m.FSID)
	b = denc.AppendU32(b, m.Epoch)
	b = denc.AppendTime(b, m.LastChanged)
	b = denc.AppendTime(b, m.Created)
	b = appendFeatureSet(b, m.PersistentFeatures)
	b = appendFeatureSet(b, m.OptionalFeatures)
	b = denc.AppendMap(b, m.Mons, denc.AppendString, func(b []byte, i MonInfo) []byte { return i.Append(b) })
	b = appendStrings(b, m.Ranks)
	if v >= 7 {
		b = denc.AppendU8(b, m.MinMonRelease)
	}
	if v >= 8 {
		b = denc.AppendSlice(b, m.RemovedRanks, denc.AppendU32)
		b = denc.AppendU8(b, m.Strategy)
		b = appendStrings(b, m.Disallowed)
	}
	if v >= 9 {
		b = denc.AppendBool(b, m.StretchMode)
		b = denc.AppendString(b, m.TiebreakerMon)
		b = appendStrings(b, m.StretchDown)
	}
	if v >= 10 {
		b = denc.AppendU32(b, m.Auth.Epoch)
		b = denc.AppendS32(b, m.Auth.ServiceCipher)
		b = denc.AppendSlice(b, m.Auth.AllowedCiphers, denc.AppendS32)
		b = denc.AppendS32(b, m.Auth.PreferredCipher)
	}
	return denc.End(b, at)
}

// Decode reads m. A map older than 14.2 is refused.
func (m *MonMap) Decode(r *denc.Reader) {
	s := r.Enter("MonMap", monMapNewest)
	if r.Err() == nil && s.V < monMapCompat {
		r.Failf("MonMap version %d is older than Ceph 14.2", s.V)
	}
	*m = MonMap{V: min(s.V, monMapNewest), FSID: r.UUID(), Epoch: r.U32(), LastChanged: r.Time(), Created: r.Time(), Auth: DefaultMonMapAuth()}
	m.PersistentFeatures = readFeatureSet(r)
	m.OptionalFeatures = readFeatureSet(r)
	m.Mons = denc.Map(r, 10, readString, func(r *denc.Reader) (i MonInfo) {
		i.Decode(r)
		return i
	})
	m.Ranks = readStrings(r)
	if s.V >= 7 {
		m.MinMonRelease = r.U8()
	}
	if s.V >= 8 {
		m.RemovedRanks = denc.Slice(r, 4, (*denc.Reader).U32)
		m.Strategy = r.U8()
		m.Disallowed = readStrings(r)
	}
	if s.V >= 9 {
		m.StretchMode = r.Bool()
		m.TiebreakerMon = r.String()
		m.StretchDown = readStrings(r)
	}
	if s.V >= 10 {
		m.Auth = MonMapAuth{Epoch: r.U32(), ServiceCipher: r.S32()}
		m.Auth.AllowedCiphers = denc.Slice(r, 4, (*denc.Reader).S32)
		m.Auth.PreferredCipher = r.S32()
	}
	r.Leave(s)
}

// Names returns the names of the monitors, by rank.
func (m *MonMap) Names() []string { return slices.Clone(m.Ranks) }

// appendFeatureSet appends a mon_feature_t.
func appendFeatureSet(b []byte, set uint64) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(b, set), at)
}

func readFeatureSet(r *denc.Reader) uint64 {
	s := r.Enter("mon_feature_t", 1)
	v := r.U64()
	r.Leave(s)
	return v
}
