package wire

import (
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Class is the name of the object class; the others are its methods' names.
const (
	Class = "journal"

	MethodCreate            = "create"
	MethodGetOrder          = "get_order"
	MethodGetSplayWidth     = "get_splay_width"
	MethodGetPoolID         = "get_pool_id"
	MethodGetMinimumSet     = "get_minimum_set"
	MethodSetMinimumSet     = "set_minimum_set"
	MethodGetActiveSet      = "get_active_set"
	MethodSetActiveSet      = "set_active_set"
	MethodGetClient         = "get_client"
	MethodClientRegister    = "client_register"
	MethodClientUpdateData  = "client_update_data"
	MethodClientUpdateState = "client_update_state"
	MethodClientUnregister  = "client_unregister"
	MethodClientCommit      = "client_commit"
	MethodClientList        = "client_list"
	MethodGetNextTagTID     = "get_next_tag_tid"
	MethodGetTag            = "get_tag"
	MethodTagCreate         = "tag_create"
	MethodTagList           = "tag_list"
	MethodGuardAppend       = "guard_append"
	MethodAppend            = "append"
)

// The keys in the omap of journal.<image id>.
const (
	KeyOrder        = "order"          // u8: log2 of a data object's size
	KeySplayWidth   = "splay_width"    // u8
	KeyPoolID       = "pool_id"        // s64; -1 is the image's own
	KeyMinimumSet   = "minimum_set"    // u64
	KeyActiveSet    = "active_set"     // u64
	KeyNextTagTID   = "next_tag_tid"   // u64
	KeyNextTagClass = "next_tag_class" // u64

	PrefixClient = "client_" // client id: Client
	PrefixTag    = "tag_"    // 16 hex digits: Tag
)

// NewTagClass asks tag_create for a class of its own.
const NewTagClass uint64 = 1<<64 - 1

// TagKey returns the key of a tag.
func TagKey(tid uint64) string { return fmt.Sprintf("%s%016x", PrefixTag, tid) }

// The states of a Client.
const (
	ClientConnected    uint8 = 0
	ClientDisconnected uint8 = 1
)

// ObjectPosition is the last entry of one data object that a client is done with
// (version 1).
type ObjectPosition struct {
	Object   uint64 // the data object's number
	TagTID   uint64
	EntryTID uint64
}

// Append appends p.
func (p ObjectPosition) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(denc.AppendU64(denc.AppendU64(b, p.Object), p.TagTID), p.EntryTID), at)
}

// Decode reads p.
func (p *ObjectPosition) Decode(r *denc.Reader) {
	s := r.Enter("ObjectPosition", 1)
	p.Object, p.TagTID, p.EntryTID = r.U64(), r.U64(), r.U64()
	r.Leave(s)
}

// CommitPosition is what a client is done with (ObjectSetPosition, version 1): the
// newest entry first, at most one for every splay offset.
type CommitPosition []ObjectPosition

// Append appends c.
func (c CommitPosition) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, c, func(b []byte, p ObjectPosition) []byte { return p.Append(b) }), at)
}

// Decode reads c.
func (c *CommitPosition) Decode(r *denc.Reader) {
	s := r.Enter("ObjectSetPosition", 1)
	*c = denc.Slice(r, 30, func(r *denc.Reader) (p ObjectPosition) {
		p.Decode(r)
		return p
	})
	r.Leave(s)
}

// Equal reports whether both say the same.
func (c CommitPosition) Equal(o CommitPosition) bool { return slices.Equal(c, o) }

// Client is who reads or writes a journal (version 1). The image itself has the
// empty ID, a mirroring peer its site's mirror UUID.
type Client struct {
	ID     string
	Data   []byte // a ClientData
	Commit CommitPosition
	State  uint8
}

// Append appends c.
func (c Client) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendBytes(denc.AppendString(b, c.ID), c.Data)
	return denc.End(denc.AppendU8(c.Commit.Append(b), c.State), at)
}

// Decode reads c; Data aliases the Reader's bytes.
func (c *Client) Decode(r *denc.Reader) {
	s := r.Enter("journal Client", 1)
	c.ID, c.Data = r.String(), r.Bytes()
	c.Commit.Decode(r)
	c.State = r.U8()
	r.Leave(s)
}

// Tag marks the entries that one owner of the image wrote (version 1).
type Tag struct {
	TID   uint64
	Class uint64
	Data  []byte // a TagData
}

// Append appends t.
func (t Tag) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendU64(denc.AppendU64(b, t.TID), t.Class), t.Data), at)
}

// Decode reads t; Data aliases the Reader's bytes.
func (t *Tag) Decode(r *denc.Reader) {
	s := r.Enter("journal Tag", 1)
	t.TID, t.Class, t.Data = r.U64(), r.U64(), r.Bytes()
	r.Leave(s)
}

// TagList is the argument of tag_list.
type TagList struct {
	After  uint64 // a tag's TID; 0 begins with the first
	Max    uint64
	Client string  // only tags that it still needs
	Class  *uint64 // only tags of this class
}

// Append appends l.
func (l TagList) Append(b []byte) []byte {
	b = denc.AppendString(denc.AppendU64(denc.AppendU64(b, l.After), l.Max), l.Client)
	b = denc.AppendBool(b, l.Class != nil)
	if l.Class != nil {
		b = denc.AppendU64(b, *l.Class)
	}
	return b
}

// Decode reads l.
func (l *TagList) Decode(r *denc.Reader) {
	*l = TagList{After: r.U64(), Max: r.U64(), Client: r.String()}
	if r.Bool() {
		class := r.U64()
		l.Class = &class
	}
}
