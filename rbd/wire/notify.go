package wire

import (
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// NotifyOp is the kind of a message on an image's header (NotifyOp).
type NotifyOp uint32

// The kinds of messages.
const (
	NotifyAcquiredLock     NotifyOp = 0
	NotifyReleasedLock     NotifyOp = 1
	NotifyRequestLock      NotifyOp = 2
	NotifyHeaderUpdate     NotifyOp = 3
	NotifyAsyncProgress    NotifyOp = 4
	NotifyAsyncComplete    NotifyOp = 5
	NotifyFlatten          NotifyOp = 6
	NotifyResize           NotifyOp = 7
	NotifySnapCreate       NotifyOp = 8
	NotifySnapRemove       NotifyOp = 9
	NotifyRebuildObjectMap NotifyOp = 10
	NotifySnapRename       NotifyOp = 11
	NotifySnapProtect      NotifyOp = 12
	NotifySnapUnprotect    NotifyOp = 13
	NotifyRename           NotifyOp = 14
	NotifyUpdateFeatures   NotifyOp = 15
	NotifyMigrate          NotifyOp = 16
	NotifySparsify         NotifyOp = 17
	NotifyQuiesce          NotifyOp = 18
	NotifyUnquiesce        NotifyOp = 19
	NotifyMetadataUpdate   NotifyOp = 20
)

// The flags of NotifySnapCreate (SNAP_CREATE_FLAG_…).
const (
	SnapCreateSkipObjectMap      uint64 = 1 << 0
	SnapCreateSkipQuiesce        uint64 = 1 << 1
	SnapCreateIgnoreQuiesceError uint64 = 1 << 2
)

// ErrNotifyOp says that a message is of a kind that this package does not know.
var ErrNotifyOp = errors.New("unknown kind of message")

// ClientID is how an opener of an image calls itself: its global id and the
// cookie of its watch.
type ClientID struct{ GID, Handle uint64 }

// RequestID names one operation that an opener asks another for.
type RequestID struct {
	Client ClientID
	ID     uint64
}

// NotifyMessage is a message on an image's header. Which fields count depends on
// Op. Emitted is version 7, as of Ceph 16.2; older ones are accepted, with the
// zero RequestID where they had none.
type NotifyMessage struct {
	Op NotifyOp
	// Client: AcquiredLock, ReleasedLock, RequestLock.
	Client ClientID
	Force  bool // RequestLock
	// Request: all that ask for an operation, and its progress and end.
	Request       RequestID
	Offset, Total uint64 // AsyncProgress
	Result        int32  // AsyncComplete
	// Size in bytes: Resize; the grain of Sparsify.
	Size        uint64
	AllowShrink bool // Resize
	// Name: of a snapshot, or the new one of SnapRename and Rename; the key of
	// MetadataUpdate.
	Name      string
	Namespace SnapshotNamespace
	SnapID    uint64 // SnapRename
	Flags     uint64 // SnapCreate
	Features  uint64 // UpdateFeatures
	Enabled   bool
	Value     *string // MetadataUpdate; nil removes it
}

const notifyVersion = 7

// Append appends m.
func (m NotifyMessage) Append(b []byte) []byte {
	b, at := denc.Begin(b, notifyVersion, 1)
	b = denc.AppendU32(b, uint32(m.Op))
	switch m.Op {
	case NotifyAcquiredLock, NotifyReleasedLock:
		b = m.Client.append(b)
	case NotifyRequestLock:
		b = denc.AppendBool(m.Client.append(b), m.Force)
	case NotifyAsyncProgress:
		b = denc.AppendU64(denc.AppendU64(m.Request.append(b), m.Offset), m.Total)
	case NotifyAsyncComplete:
		b = denc.AppendS32(m.Request.append(b), m.Result)
	case NotifyFlatten, NotifyRebuildObjectMap, NotifyMigrate, NotifyQuiesce, NotifyUnquiesce:
		b = m.Request.append(b)
	case NotifyResize:
		b = denc.AppendBool(m.Request.append(denc.AppendU64(b, m.Size)), m.AllowShrink)
	case NotifySnapCreate:
		b = denc.AppendU64(m.Request.append(m.Namespace.Append(denc.AppendString(b, m.Name))), m.Flags)
	case NotifySnapRemove, NotifySnapProtect, NotifySnapUnprotect:
		b = m.Request.append(m.Namespace.Append(denc.AppendString(b, m.Name)))
	case NotifySnapRename:
		b = m.Request.append(m.Namespace.Append(denc.AppendString(denc.AppendU64(b, m.SnapID), m.Name)))
	case NotifyRename:
		b = m.Request.append(denc.AppendString(b, m.Name))
	case NotifyUpdateFeatures:
		b = m.Request.append(denc.AppendBool(denc.AppendU64(b, m.Features), m.Enabled))
	case NotifySparsify:
		b = denc.AppendU64(m.Request.append(b), m.Size)
	case NotifyMetadataUpdate:
		b = denc.AppendBool(denc.AppendString(b, m.Name), m.Value != nil)
		if m.Value != nil {
			b = denc.AppendString(b, *m.Value)
		}
		b = m.Request.append(b)
	}
	return denc.End(b, at)
}

// Decode reads m.
func (m *NotifyMessage) Decode(r *denc.Reader) {
	*m = NotifyMessage{}
	s := r.Enter("NotifyMessage", notifyVersion)
	m.Op = NotifyOp(r.U32())
	switch m.Op {
	case NotifyHeaderUpdate:
	case NotifyAcquiredLock, NotifyReleasedLock:
		m.Client.decode(r)
	case NotifyRequestLock:
		m.Client.decode(r)
		m.Force = s.V >= 5 && r.Bool()
	case NotifyAsyncProgress:
		m.Request.decode(r)
		m.Offset, m.Total = r.U64(), r.U64()
	case NotifyAsyncComplete:
		m.Request.decode(r)
		m.Result = r.S32()
	case NotifyFlatten, NotifyRebuildObjectMap, NotifyMigrate, NotifyQuiesce, NotifyUnquiesce:
		m.Request.decode(r)
	case NotifyResize:
		m.Size = r.U64()
		m.Request.decode(r)
		m.AllowShrink = s.V < 4 || r.Bool()
	case NotifySparsify:
		m.Request.decode(r)
		m.Size = r.U64()
	default:
		m.decodeNamed(r, s.V)
	}
	r.Leave(s)
}

// decodeNamed reads the messages whose fields begin or go on with a name.
func (m *NotifyMessage) decodeNamed(r *denc.Reader, v uint8) {
	switch m.Op {
	case NotifySnapCreate, NotifySnapRemove, NotifySnapProtect, NotifySnapUnprotect:
		m.Name = r.String()
		if v >= 6 {
			m.Namespace.Decode(r)
		}
	case NotifySnapRename:
		m.SnapID, m.Name = r.U64(), r.String()
		if v >= 7 {
			m.Namespace.Decode(r)
		}
	case NotifyRename:
		m.Name = r.String()
	case NotifyUpdateFeatures:
		m.Features, m.Enabled = r.U64(), r.Bool()
	case NotifyMetadataUpdate:
		m.Name = r.String()
		if r.Bool() {
			value := r.String()
			m.Value = &value
		}
	default:
		r.Fail(fmt.Errorf("%w: %d", ErrNotifyOp, m.Op))
		return
	}
	if v >= 7 {
		m.Request.decode(r)
		if m.Op == NotifySnapCreate {
			m.Flags = r.U64()
		}
	}
}

func (c ClientID) append(b []byte) []byte { return denc.AppendU64(denc.AppendU64(b, c.GID), c.Handle) }

func (c *ClientID) decode(r *denc.Reader) { c.GID, c.Handle = r.U64(), r.U64() }

func (q RequestID) append(b []byte) []byte { return denc.AppendU64(q.Client.append(b), q.ID) }

func (q *RequestID) decode(r *denc.Reader) {
	q.Client.decode(r)
	q.ID = r.U64()
}

// NotifyResponse is the answer to a request for the lock or an operation
// (ResponseMessage). Who is not the lock's owner answers with nothing at all.
type NotifyResponse struct{ Result int32 }

// Append appends p.
func (p NotifyResponse) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendS32(b, p.Result), at)
}

// Decode reads p.
func (p *NotifyResponse) Decode(r *denc.Reader) {
	s := r.Enter("ResponseMessage", 1)
	p.Result = r.S32()
	r.Leave(s)
}
