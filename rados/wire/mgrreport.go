package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// MgrReport is MMgrReport, version 9: a daemon's beacon with its counters and,
// when it changed, its status. Only what clients send is held: reports of OSD
// and MDS metrics are refused when they are not empty.
type MgrReport struct {
	DaemonName string
	Declare    []PerfCounterType
	// Packed holds the counters' values. Append writes an empty section when it
	// is empty: a manager of 20.2 dies of a report without one.
	Packed      []byte
	Undeclare   []string
	ServiceName string
	// Status replaces the daemon's status; nil leaves it.
	Status map[string]string
	Health []DaemonHealthMetric
	Config []byte
	// TaskStatus replaces the daemon's task status; nil leaves it.
	TaskStatus map[string]string
	// Metrics is MetricReportMessage as it is encoded, which OSDs and MDSs send;
	// nil is none.
	Metrics []byte
}

// PerfCounterType declares one counter, version 3.
type PerfCounterType struct {
	Path, Description, Nick string
	Type, Priority, Unit    uint8
}

// DaemonHealthMetric is one figure for the manager's health checks, version 1.
type DaemonHealthMetric struct {
	Type  uint8
	Value uint64
}

// Append appends p.
func (p *PerfCounterType) Append(b []byte) []byte {
	b, at := denc.Begin(b, 3, 1)
	b = denc.AppendString(b, p.Path)
	b = denc.AppendString(b, p.Description)
	b = denc.AppendString(b, p.Nick)
	return denc.End(append(b, p.Type, p.Priority, p.Unit), at)
}

// Decode reads p.
func (p *PerfCounterType) Decode(r *denc.Reader) {
	s := r.Enter("PerfCounterType", 3)
	*p = PerfCounterType{Path: r.String(), Description: r.String(), Nick: r.String(), Type: r.U8()}
	if s.V >= 2 {
		p.Priority = r.U8()
	}
	if s.V >= 3 {
		p.Unit = r.U8()
	}
	r.Leave(s)
}

// Append appends h.
func (h *DaemonHealthMetric) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(denc.AppendU8(b, h.Type), h.Value), at)
}

// Decode reads h.
func (h *DaemonHealthMetric) Decode(r *denc.Reader) {
	s := r.Enter("DaemonHealthMetric", 1)
	*h = DaemonHealthMetric{Type: r.U8(), Value: r.U64()}
	r.Leave(s)
}

// emptyPacked is a section (1,1) with no counter.
const emptyPacked = "\x01\x01\x00\x00\x00\x00"

// Header implements Front.
func (*MgrReport) Header() Header { return Header{TypeMgrReport, 9, 1} }

// Append implements Front.
func (m *MgrReport) Append(b []byte) []byte {
	b = denc.AppendString(b, m.DaemonName)
	b = denc.AppendSlice(b, m.Declare, func(b []byte, p PerfCounterType) []byte { return p.Append(b) })
	if len(m.Packed) == 0 {
		b = denc.AppendString(b, emptyPacked)
	} else {
		b = denc.AppendBytes(b, m.Packed)
	}
	b = appendStrings(b, m.Undeclare)
	b = denc.AppendString(b, m.ServiceName)
	b = appendOptionalMap(b, m.Status)
	b = denc.AppendSlice(b, m.Health, func(b []byte, h DaemonHealthMetric) []byte { return h.Append(b) })
	b = denc.AppendBytes(b, m.Config)
	b = denc.AppendU32(b, 0) // OSD metrics
	b = appendOptionalMap(b, m.TaskStatus)
	b = denc.AppendBool(b, m.Metrics != nil)
	return append(b, m.Metrics...)
}

// Decode implements Front.
func (m *MgrReport) Decode(r *denc.Reader) {
	*m = MgrReport{DaemonName: r.String()}
	m.Declare = denc.Slice(r, 6, func(r *denc.Reader) (p PerfCounterType) {
		p.Decode(r)
		return p
	})
	m.Packed = r.Bytes()
	m.Undeclare = readStrings(r)
	m.ServiceName = r.String()
	m.Status = readOptionalMap(r)
	m.Health = denc.Slice(r, 6, func(r *denc.Reader) (h DaemonHealthMetric) {
		h.Decode(r)
		return h
	})
	m.Config = r.Bytes()
	if n := r.U32(); n != 0 {
		r.Failf("MMgrReport with %d OSD metric reports", n)
	}
	m.TaskStatus = readOptionalMap(r)
	if r.Len() > 0 && r.Bool() {
		m.Metrics = append([]byte{}, r.Rest()...)
	}
}

func appendOptionalMap(b []byte, m map[string]string) []byte {
	if m == nil {
		return denc.AppendBool(b, false)
	}
	return appendStringMap(denc.AppendBool(b, true), m)
}

func readOptionalMap(r *denc.Reader) map[string]string {
	if !r.Bool() {
		return nil
	}
	return readStringMap(r)
}
