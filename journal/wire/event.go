package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// EventType is the kind of an event.
type EventType uint32

// The kinds of events.
const (
	EventDiscard         EventType = 0
	EventWrite           EventType = 1
	EventFlush           EventType = 2
	EventOpFinish        EventType = 3
	EventSnapCreate      EventType = 4
	EventSnapRemove      EventType = 5
	EventSnapRename      EventType = 6
	EventSnapProtect     EventType = 7
	EventSnapUnprotect   EventType = 8
	EventSnapRollback    EventType = 9
	EventRename          EventType = 10
	EventResize          EventType = 11
	EventFlatten         EventType = 12
	EventDemotePromote   EventType = 13
	EventSnapLimit       EventType = 14
	EventUpdateFeatures  EventType = 15
	EventMetadataSet     EventType = 16
	EventMetadataRemove  EventType = 17
	EventWriteSame       EventType = 18
	EventCompareAndWrite EventType = 19
)

// ErrEvent says that an event is of a kind that this package does not know.
var ErrEvent = errors.New("unknown kind of journal event")

// eventVersion is what is emitted; older ones are accepted, but for snapshots
// from before their namespaces (versions below 3).
const eventVersion = 5

// Event is the data of an Entry in an image's journal (EventEntry, version 5, and
// the time that follows it). Which fields count depends on Type.
type Event struct {
	Type EventType
	// Offset and Length in bytes: Discard, Write, WriteSame, CompareAndWrite.
	Offset, Length uint64
	// SkipPartial and Granularity (bytes): Discard of less than whole blocks.
	SkipPartial bool
	Granularity uint32
	// Data: Write, WriteSame, CompareAndWrite, which compares with Compare.
	Data, Compare []byte
	// OpTID numbers an operation; its OpFinish has the same.
	OpTID  uint64
	Result int32 // OpFinish
	// Name of a snapshot or the new name of SnapRename and Rename; the key of
	// Metadata….
	Name string
	// Namespace is a snapshot's namespace as it is encoded, section and all.
	Namespace []byte
	SnapID    uint64 // SnapRename
	OldName   string // SnapRename
	Size      uint64 // Resize; the limit of SnapLimit
	Features  uint64 // UpdateFeatures
	Enabled   bool
	Value     string // MetadataSet
	Time      denc.Time
}

// Append appends e.
func (e Event) Append(b []byte) []byte {
	b, at := denc.Begin(b, eventVersion, 1)
	b = denc.AppendU32(b, uint32(e.Type))
	switch e.Type {
	case EventDiscard, EventWrite, EventWriteSame, EventCompareAndWrite:
		b = e.appendIO(b)
	case EventFlush, EventDemotePromote:
	default:
		b = e.appendOp(denc.AppendU64(b, e.OpTID))
	}
	b = denc.End(b, at)
	b, at = denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(b, e.Time), at)
}

// AppendAround appends what stands around the data of e, an EventWrite or
// EventWriteSame which itself lacks them: n bytes that belong at index at of the
// result.
func (e Event) AppendAround(b []byte, n int) (out []byte, at int) {
	b, section := denc.Begin(b, eventVersion, 1)
	b = e.appendIO(denc.AppendU32(b, uint32(e.Type)))
	at = len(b)
	binary.LittleEndian.PutUint32(b[at-4:], uint32(n))
	binary.LittleEndian.PutUint32(b[section-4:], uint32(at-section+n))
	b, section = denc.Begin(b, 1, 1)
	return denc.End(denc.AppendTime(b, e.Time), section), at
}

func (e *Event) appendIO(b []byte) []byte {
	b = denc.AppendU64(denc.AppendU64(b, e.Offset), e.Length)
	switch e.Type {
	case EventDiscard:
		return denc.AppendU32(denc.AppendBool(b, e.SkipPartial), e.Granularity)
	case EventCompareAndWrite:
		b = denc.AppendBytes(b, e.Compare)
	}
	return denc.AppendBytes(b, e.Data)
}

func (e *Event) appendOp(b []byte) []byte {
	switch e.Type {
	case EventOpFinish:
		return denc.AppendS32(denc.AppendU64(b, e.OpTID), e.Result)
	case EventSnapCreate, EventSnapRemove, EventSnapProtect, EventSnapUnprotect, EventSnapRollback:
		return append(denc.AppendString(b, e.Name), e.Namespace...)
	case EventSnapRename:
		return denc.AppendString(denc.AppendU64(denc.AppendString(b, e.Name), e.SnapID), e.OldName)
	case EventRename, EventMetadataRemove:
		return denc.AppendString(b, e.Name)
	case EventResize, EventSnapLimit:
		return denc.AppendU64(b, e.Size)
	case EventUpdateFeatures:
		return denc.AppendBool(denc.AppendU64(b, e.Features), e.Enabled)
	case EventMetadataSet:
		return denc.AppendString(denc.AppendString(b, e.Name), e.Value)
	}
	return b // Flatten
}

// Decode reads e; the byte slices alias the Reader's bytes.
func (e *Event) Decode(r *denc.Reader) {
	*e = Event{}
	s := r.Enter("journal EventEntry", eventVersion)
	e.Type = EventType(r.U32())
	switch e.Type {
	case EventDiscard, EventWrite, EventWriteSame, EventCompareAndWrite:
		e.decodeIO(r, s.V)
	case EventFlush, EventDemotePromote:
	default:
		e.OpTID = r.U64()
		e.decodeOp(r, s.V)
	}
	r.Leave(s)
	if r.Len() > 0 {
		s := r.Enter("journal EventEntry metadata", 1)
		e.Time = r.Time()
		r.Leave(s)
	}
}

func (e *Event) decodeIO(r *denc.Reader, v uint8) {
	e.Offset, e.Length = r.U64(), r.U64()
	switch e.Type {
	case EventDiscard:
		if v >= 4 {
			e.SkipPartial = r.Bool()
		}
		if v >= 5 {
			e.Granularity = r.U32()
		}
		return
	case EventCompareAndWrite:
		e.Compare = r.Bytes()
	}
	e.Data = r.Bytes()
}

func (e *Event) decodeOp(r *denc.Reader, v uint8) {
	switch e.Type {
	case EventOpFinish:
		e.OpTID, e.Result = r.U64(), r.S32()
	case EventSnapCreate, EventSnapRemove, EventSnapProtect, EventSnapUnprotect, EventSnapRollback:
		if v < 3 {
			r.Failf("snapshot event of version %d", v)
		}
		e.Name, e.Namespace = r.String(), r.Rest()
	case EventSnapRename:
		e.Name, e.SnapID, e.OldName = r.String(), r.U64(), r.String()
	case EventRename, EventMetadataRemove:
		e.Name = r.String()
	case EventResize, EventSnapLimit:
		e.Size = r.U64()
	case EventFlatten:
	case EventUpdateFeatures:
		e.Features, e.Enabled = r.U64(), r.Bool()
	case EventMetadataSet:
		e.Name, e.Value = r.String(), r.String()
	default:
		r.Fail(fmt.Errorf("%w: %d", ErrEvent, e.Type))
	}
}
