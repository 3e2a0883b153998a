package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// MgrMap says which manager is active (src/mon/MgrMap.h): versions 6 to 14 are
// read and written, compat 6. 16.2 writes 12, 18.2 13, 20.2 14.
type MgrMap struct {
	// V is the version it was read in and is written in; 0 writes version 12.
	V     uint8
	Epoch uint32
	// ActiveAddrs, ActiveGID and ActiveName are those of the active manager,
	// or of the one that is becoming active; GID 0 means there is none.
	ActiveAddrs entity.AddrVec
	ActiveGID   uint64
	// Available says that the active manager has started to serve.
	Available  bool
	ActiveName string

	Standbys         map[uint64]MgrStandby
	Modules          []string
	Services         map[string]string
	AvailableModules []MgrModule
	ActiveChange     denc.Time
	// AlwaysOn is keyed by release number.
	AlwaysOn             map[uint32][]string
	ActiveFeatures       uint64
	LastFailureOSDEpoch  uint32
	ClientAddrs          []entity.AddrVec
	ClientNames          []string // parallel to ClientAddrs
	Flags                uint64
	ForceDisabledModules []string
}

// MgrStandby is MgrMap::StandbyInfo, version 4.
type MgrStandby struct {
	GID         uint64
	Name        string
	ModuleNames []string
	Modules     []MgrModule
	Features    uint64
}

// MgrModule is MgrMap::ModuleInfo, version 2.
type MgrModule struct {
	Name    string
	CanRun  bool
	Error   string
	Options map[string]MgrModuleOption
}

// MgrModuleOption is MgrMap::ModuleOption, version 1.
type MgrModuleOption struct {
	Name                         string
	Type, Level                  uint8
	Flags                        uint32
	Default, Min, Max            string
	Enum                         []string
	Description, LongDescription string
	Tags, SeeAlso                []string
}

// Append appends o.
func (o *MgrModuleOption) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(b, o.Name)
	b = append(b, o.Type, o.Level)
	b = denc.AppendU32(b, o.Flags)
	b = denc.AppendString(b, o.Default)
	b = denc.AppendString(b, o.Min)
	b = denc.AppendString(b, o.Max)
	b = appendStrings(b, o.Enum)
	b = denc.AppendString(b, o.Description)
	b = denc.AppendString(b, o.LongDescription)
	b = appendStrings(b, o.Tags)
	return denc.End(appendStrings(b, o.SeeAlso), at)
}

// Decode reads o.
func (o *MgrModuleOption) Decode(r *denc.Reader) {
	s := r.Enter("MgrMap::ModuleOption", 1)
	*o = MgrModuleOption{Name: r.String(), Type: r.U8(), Level: r.U8(), Flags: r.U32()}
	o.Default, o.Min, o.Max = r.String(), r.String(), r.String()
	o.Enum = readStrings(r)
	o.Description, o.LongDescription = r.String(), r.String()
	o.Tags, o.SeeAlso = readStrings(r), readStrings(r)
	r.Leave(s)
}

// Append appends m.
func (m *MgrModule) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendString(b, m.Name)
	b = denc.AppendBool(b, m.CanRun)
	b = denc.AppendString(b, m.Error)
	b = denc.AppendMap(b, m.Options, denc.AppendString, func(b []byte, o MgrModuleOption) []byte { return o.Append(b) })
	return denc.End(b, at)
}

// Decode reads m.
func (m *MgrModule) Decode(r *denc.Reader) {
	s := r.Enter("MgrMap::ModuleInfo", 2)
	*m = MgrModule{Name: r.String(), CanRun: r.Bool(), Error: r.String()}
	if s.V >= 2 {
		m.Options = denc.Map(r, 10, readString, func(r *denc.Reader) (o MgrModuleOption) {
			o.Decode(r)
			return o
		})
	}
	r.Leave(s)
}

func appendModules(b []byte, ms []MgrModule) []byte {
	return denc.AppendSlice(b, ms, func(b []byte, m MgrModule) []byte { return m.Append(b) })
}

func readModules(r *denc.Reader) []MgrModule {
	return denc.Slice(r, 6, func(r *denc.Reader) (m MgrModule) {
		m.Decode(r)
		return m
	})
}

// Append appends s.
func (s *MgrStandby) Append(b []byte) []byte {
	b, at := denc.Begin(b, 4, 1)
	b = denc.AppendU64(b, s.GID)
	b = denc.AppendString(b, s.Name)
	b = appendStrings(b, s.ModuleNames)
	b = appendModules(b, s.Modules)
	return denc.End(denc.AppendU64(b, s.Features), at)
}

// Decode reads s.
func (s *MgrStandby) Decode(r *denc.Reader) {
	sec := r.Enter("MgrMap::StandbyInfo", 4)
	*s = MgrStandby{GID: r.U64(), Name: r.String()}
	if sec.V >= 2 {
		s.ModuleNames = readStrings(r)
	}
	if sec.V >= 3 {
		s.Modules = readModules(r)
	}
	if sec.V >= 4 {
		s.Features = r.U64()
	}
	r.Leave(sec)
}

const (
	mgrMapCompat  = 6
	mgrMapNewest  = 14
	mgrMapDefault = 12
)

// Append appends m.
func (m *MgrMap) Append(b []byte) []byte {
	v := m.V
	if v == 0 {
		v = mgrMapDefault
	}
	b, at := denc.Begin(b, v, mgrMapCompat)
	b = denc.AppendU32(b, m.Epoch)
	b = m.ActiveAddrs.Append(b)
	b = denc.AppendU64(b, m.ActiveGID)
	b = denc.AppendBool(b, m.Available)
	b = denc.AppendString(b, m.ActiveName)
	b = denc.AppendMap(b, m.Standbys, denc.AppendU64, func(b []byte, s MgrStandby) []byte { return s.Append(b) })
	b = appendStrings(b, m.Modules)
	b = appendStringMap(b, m.Services)
	b = appendModules(b, m.AvailableModules)
	return denc.End(m.appendTail(b, v), at)
}

func (m *MgrMap) appendTail(b []byte, v uint8) []byte {
	if v >= 7 {
		b = denc.AppendTime(b, m.ActiveChange)
	}
	if v >= 8 {
		b = denc.AppendMap(b, m.AlwaysOn, denc.AppendU32, appendStrings)
	}
	if v >= 9 {
		b = denc.AppendU64(b, m.ActiveFeatures)
	}
	if v >= 10 {
		b = denc.AppendU32(b, m.LastFailureOSDEpoch)
	}
	if v >= 11 {
		b = denc.AppendSlice(b, m.ClientAddrs, func(b []byte, a entity.AddrVec) []byte { return a.Append(b) })
	}
	if v >= 12 {
		b = appendStrings(b, m.ClientNames)
	}
	if v >= 13 {
		b = denc.AppendU64(b, m.Flags)
	}
	if v >= 14 {
		b = appendStrings(b, m.ForceDisabledModules)
	}
	return b
}

// Decode reads m. A map older than 14.2 is refused.
func (m *MgrMap) Decode(r *denc.Reader) {
	s := r.Enter("MgrMap", mgrMapNewest)
	if r.Err() == nil && s.V < mgrMapCompat {
		r.Failf("MgrMap version %d is older than Ceph 14.2", s.V)
	}
	*m = MgrMap{V: min(s.V, mgrMapNewest), Epoch: r.U32()}
	m.ActiveAddrs.Decode(r)
	m.ActiveGID = r.U64()
	m.Available = r.Bool()
	m.ActiveName = r.String()
	m.Standbys = denc.Map(r, 14, readU64, func(r *denc.Reader) (s MgrStandby) {
		s.Decode(r)
		return s
	})
	m.Modules = readStrings(r)
	m.Services = readStringMap(r)
	m.AvailableModules = readModules(r)
	m.decodeTail(r, s.V)
	r.Leave(s)
}

func (m *MgrMap) decodeTail(r *denc.Reader, v uint8) {
	if v >= 7 {
		m.ActiveChange = r.Time()
	}
	if v >= 8 {
		m.AlwaysOn = denc.Map(r, 8, (*denc.Reader).U32, readStrings)
	}
	if v >= 9 {
		m.ActiveFeatures = r.U64()
	}
	if v >= 10 {
		m.LastFailureOSDEpoch = r.U32()
	}
	if v >= 11 {
		m.ClientAddrs = denc.Slice(r, 5, func(r *denc.Reader) (a entity.AddrVec) {
			a.Decode(r)
			return a
		})
	}
	if v >= 12 {
		m.ClientNames = readStrings(r)
	}
	if v >= 13 {
		m.Flags = r.U64()
	}
	if v >= 14 {
		m.ForceDisabledModules = readStrings(r)
	}
}
