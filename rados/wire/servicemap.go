package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// TypeServiceMap is MServiceMap's message type.
const TypeServiceMap uint16 = 0x707

// ServiceMapMessage is MServiceMap: a monitor pushes the map of service daemons
// to who subscribed to "servicemap".
type ServiceMapMessage struct{ Map ServiceMap }

// Header is (0x707, version 1, compat 1).
func (*ServiceMapMessage) Header() Header { return Header{TypeServiceMap, 1, 1} }

// Append appends the front.
func (m *ServiceMapMessage) Append(b []byte) []byte { return m.Map.Append(b) }

// Decode reads a front.
func (m *ServiceMapMessage) Decode(r *denc.Reader) { m.Map.Decode(r) }

// ServiceMap is what daemons that are no part of RADOS itself, such as those of
// mirroring, told the manager of themselves (version 1).
type ServiceMap struct {
	Epoch    uint32
	Modified denc.Time
	Services map[string]Service // by the kind of daemon, as in "rbd-mirror"
}

// Append appends m.
func (m *ServiceMap) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendTime(denc.AppendU32(b, m.Epoch), m.Modified)
	return denc.End(denc.AppendMap(b, m.Services, denc.AppendString, func(b []byte, s Service) []byte { return s.Append(b) }), at)
}

// Decode reads m.
func (m *ServiceMap) Decode(r *denc.Reader) {
	s := r.Enter("ServiceMap", 1)
	m.Epoch, m.Modified = r.U32(), r.Time()
	m.Services = denc.Map(r, 10, readString, func(r *denc.Reader) (one Service) {
		one.Decode(r)
		return one
	})
	r.Leave(s)
}

// Service is the daemons of one kind (version 1).
type Service struct {
	Daemons map[string]ServiceDaemon // by id: the global id as text
	Summary string
}

// Append appends s.
func (s *Service) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendMap(b, s.Daemons, denc.AppendString, func(b []byte, d ServiceDaemon) []byte { return d.Append(b) })
	return denc.End(denc.AppendString(b, s.Summary), at)
}

// Decode reads s.
func (s *Service) Decode(r *denc.Reader) {
	sec := r.Enter("ServiceMap::Service", 1)
	s.Daemons = denc.Map(r, 10, readString, func(r *denc.Reader) (d ServiceDaemon) {
		d.Decode(r)
		return d
	})
	s.Summary = r.String()
	r.Leave(sec)
}

// ServiceDaemon is one daemon (version 2, accepts 1 without the task status).
type ServiceDaemon struct {
	GID        uint64
	Addr       entity.Addr
	StartEpoch uint32 // of the map in which it appeared
	Start      denc.Time
	Metadata   map[string]string
	TaskStatus map[string]string
}

// Append appends d.
func (d *ServiceDaemon) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = d.Addr.Append(denc.AppendU64(b, d.GID))
	b = denc.AppendTime(denc.AppendU32(b, d.StartEpoch), d.Start)
	return denc.End(appendStringMap(appendStringMap(b, d.Metadata), d.TaskStatus), at)
}

// Decode reads d.
func (d *ServiceDaemon) Decode(r *denc.Reader) {
	*d = ServiceDaemon{}
	s := r.Enter("ServiceMap::Daemon", 2)
	d.GID = r.U64()
	d.Addr.Decode(r)
	d.StartEpoch, d.Start, d.Metadata = r.U32(), r.Time(), readStringMap(r)
	if s.V >= 2 {
		d.TaskStatus = readStringMap(r)
	}
	r.Leave(s)
}
