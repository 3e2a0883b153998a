package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// TypeWatchNotify is MWatchNotify's message type.
const TypeWatchNotify uint16 = 44

// WatchEvent is the opcode of a WatchNotify.
type WatchEvent uint8

// What a WatchNotify tells.
const (
	WatchEventNotify     WatchEvent = 1 // to a watcher: somebody notified
	WatchEventComplete   WatchEvent = 2 // to the notifier: everybody answered, or the time is over
	WatchEventDisconnect WatchEvent = 3 // to a watcher: the OSD forgot the watch
)

// WatchNotify is MWatchNotify, by which an OSD tells a client about a watch or
// a notify of its own. The result of a completion, a NotifyReply, is in the
// message's data segment.
type WatchNotify struct {
	Event       WatchEvent
	Cookie      uint64
	Version     uint64
	NotifyID    uint64
	Payload     []byte
	ReturnCode  int32
	NotifierGID uint64
}

// Header is (44, version 3, compat 1).
func (*WatchNotify) Header() Header { return Header{TypeWatchNotify, 3, 1} }

// Append appends the front.
func (m *WatchNotify) Append(b []byte) []byte {
	b = append(b, 1, uint8(m.Event))
	b = denc.AppendU64(b, m.Cookie)
	b = denc.AppendU64(b, m.Version)
	b = denc.AppendU64(b, m.NotifyID)
	b = denc.AppendBytes(b, m.Payload)
	b = denc.AppendS32(b, m.ReturnCode)
	return denc.AppendU64(b, m.NotifierGID)
}

// Decode reads a front; the payload aliases it.
func (m *WatchNotify) Decode(r *denc.Reader) {
	v := r.U8()
	*m = WatchNotify{Event: WatchEvent(r.U8()), Cookie: r.U64(), Version: r.U64(), NotifyID: r.U64()}
	if v >= 1 {
		m.Payload = r.Bytes()
	}
	if r.Len() >= 4 {
		m.ReturnCode = r.S32()
	}
	if r.Len() >= 8 {
		m.NotifierGID = r.U64()
	}
}

// NotifyInput is the input of notify.
type NotifyInput struct {
	Timeout uint32 // seconds
	Payload []byte
}

// Append appends i.
func (i NotifyInput) Append(b []byte) []byte {
	b = denc.AppendU32(b, 1) // version of the protocol
	b = denc.AppendU32(b, i.Timeout)
	return denc.AppendBytes(b, i.Payload)
}

// Decode reads what Append wrote; the payload aliases it.
func (i *NotifyInput) Decode(r *denc.Reader) {
	r.U32()
	*i = NotifyInput{Timeout: r.U32(), Payload: r.Bytes()}
}

// NotifyAckInput is the input of notify-ack.
type NotifyAckInput struct {
	NotifyID uint64
	Cookie   uint64 // of the watch
	Reply    []byte
}

// Append appends i.
func (i NotifyAckInput) Append(b []byte) []byte {
	b = denc.AppendU64(b, i.NotifyID)
	b = denc.AppendU64(b, i.Cookie)
	return denc.AppendBytes(b, i.Reply)
}

// Decode reads what Append wrote. A missing reply, as old clients send it, is
// an empty one.
func (i *NotifyAckInput) Decode(r *denc.Reader) {
	*i = NotifyAckInput{NotifyID: r.U64(), Cookie: r.U64()}
	if r.Len() > 0 {
		i.Reply = r.Bytes()
	}
}

// NotifyAck is one watcher's answer, without Payload one that did not answer.
type NotifyAck struct {
	GID     uint64 // global id of the watcher's client
	Cookie  uint64 // of its watch
	Payload []byte
}

// NotifyReply is the result of a notify.
type NotifyReply struct {
	Acks     []NotifyAck // ordered by GID, then cookie
	Timeouts []NotifyAck // likewise, without payloads
}

// Append appends m.
func (m *NotifyReply) Append(b []byte) []byte {
	b = denc.AppendSlice(b, m.Acks, func(b []byte, a NotifyAck) []byte {
		return denc.AppendBytes(appendWatcherID(b, a), a.Payload)
	})
	return denc.AppendSlice(b, m.Timeouts, appendWatcherID)
}

// Decode reads what Append wrote; the payloads alias it. Empty input is an
// empty result.
func (m *NotifyReply) Decode(r *denc.Reader) {
	*m = NotifyReply{}
	if r.Len() == 0 {
		return
	}
	m.Acks = denc.Slice(r, 20, func(r *denc.Reader) NotifyAck {
		a := readWatcherID(r)
		a.Payload = r.Bytes()
		return a
	})
	m.Timeouts = denc.Slice(r, 16, readWatcherID)
}

func appendWatcherID(b []byte, a NotifyAck) []byte {
	return denc.AppendU64(denc.AppendU64(b, a.GID), a.Cookie)
}

func readWatcherID(r *denc.Reader) NotifyAck { return NotifyAck{GID: r.U64(), Cookie: r.U64()} }

// Watcher is watch_item_t: a client that watches an object. hdr(2,1).
type Watcher struct {
	Name    entity.Name
	Cookie  uint64
	Timeout uint32 // seconds
	Addr    entity.Addr
}

func (w *Watcher) append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = w.Name.Append(b)
	b = denc.AppendU64(b, w.Cookie)
	b = denc.AppendU32(b, w.Timeout)
	b = w.Addr.Append(b)
	return denc.End(b, at)
}

func (w *Watcher) decode(r *denc.Reader) {
	s := r.Enter("watch_item_t", 2)
	w.Name.Decode(r)
	w.Cookie = r.U64()
	w.Timeout = r.U32()
	if s.V >= 2 {
		w.Addr.Decode(r)
	}
	r.Leave(s)
}

// WatcherList is obj_list_watch_response_t, the output of list-watchers.
// hdr(1,1).
type WatcherList struct{ Watchers []Watcher }

// Append appends l.
func (l *WatcherList) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(b, l.Watchers, func(b []byte, w Watcher) []byte { return w.append(b) })
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (l *WatcherList) Decode(r *denc.Reader) {
	s := r.Enter("obj_list_watch_response_t", 1)
	l.Watchers = denc.Slice(r, 6, func(r *denc.Reader) (w Watcher) {
		w.decode(r)
		return w
	})
	r.Leave(s)
}
