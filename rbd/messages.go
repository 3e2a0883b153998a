package rbd

import (
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// The kinds of messages on the header.
const (
	kindAcquired uint32 = iota
	kindReleased
	kindRequestLock
	kindHeaderUpdate
	kindProgress
	kindComplete
	kindFlatten
	kindResize
	kindSnapCreate
	kindSnapRemove
	kindRebuild
	kindSnapRename
	kindSnapProtect
	kindSnapUnprotect
	kindRename
	kindUpdateFeatures
	kindMigrate
	kindSparsify
	kindQuiesce
	kindUnquiesce
	kindMetadata
)

// clientID is how an opener calls itself: its client and its watch.
type clientID struct{ gid, handle uint64 }

// client returns who made the request.
func (r requestID) client() clientID { return clientID{r.gid, r.handle} }

// message is a notification on the header.
type message struct {
	kind        uint32
	client      clientID
	request     requestID
	force       bool
	off, total  uint64
	result      int32
	size        uint64
	allowShrink bool
	name        string
	ns          SnapshotNamespace
	snapID      uint64
	flags       uint64
	features    uint64
	enabled     bool
}

const messageVersion = 7

func encodeMessage(kind uint32, fields func(b []byte) []byte) []byte {
	b, at := denc.Begin(nil, messageVersion, 1)
	b = denc.AppendU32(b, kind)
	if fields != nil {
		b = fields(b)
	}
	return denc.End(b, at)
}

func appendClient(b []byte, c clientID) []byte {
	return denc.AppendU64(denc.AppendU64(b, c.gid), c.handle)
}

func appendRequest(b []byte, r requestID) []byte {
	return denc.AppendU64(denc.AppendU64(denc.AppendU64(b, r.gid), r.handle), r.id)
}

func readClient(r *denc.Reader) clientID { return clientID{r.U64(), r.U64()} }

func readRequest(r *denc.Reader) requestID { return requestID{r.U64(), r.U64(), r.U64()} }

func headerUpdateMessage() []byte { return encodeMessage(kindHeaderUpdate, nil) }

func acquiredMessage(c clientID) []byte {
	return encodeMessage(kindAcquired, func(b []byte) []byte { return appendClient(b, c) })
}

func releasedMessage(c clientID) []byte {
	return encodeMessage(kindReleased, func(b []byte) []byte { return appendClient(b, c) })
}

func requestLockMessage(c clientID, force bool) []byte {
	return encodeMessage(kindRequestLock, func(b []byte) []byte { return denc.AppendBool(appendClient(b, c), force) })
}

func progressMessage(r requestID, done, total uint64) []byte {
	return encodeMessage(kindProgress, func(b []byte) []byte {
		return denc.AppendU64(denc.AppendU64(appendRequest(b, r), done), total)
	})
}

func completeMessage(r requestID, err error) []byte {
	return encodeMessage(kindComplete, func(b []byte) []byte { return denc.AppendS32(appendRequest(b, r), resultOf(err)) })
}

func requestOnly(kind uint32, r requestID) []byte {
	return encodeMessage(kind, func(b []byte) []byte { return appendRequest(b, r) })
}

func flattenMessage(r requestID) []byte   { return requestOnly(kindFlatten, r) }
func rebuildMessage(r requestID) []byte   { return requestOnly(kindRebuild, r) }
func quiesceMessage(r requestID) []byte   { return requestOnly(kindQuiesce, r) }
func unquiesceMessage(r requestID) []byte { return requestOnly(kindUnquiesce, r) }

func sparsifyMessage(r requestID, grain uint64) []byte {
	return encodeMessage(kindSparsify, func(b []byte) []byte { return denc.AppendU64(appendRequest(b, r), grain) })
}

func resizeMessage(r requestID, size uint64, allowShrink bool) []byte {
	return encodeMessage(kindResize, func(b []byte) []byte {
		return denc.AppendBool(appendRequest(denc.AppendU64(b, size), r), allowShrink)
	})
}

// The flags of a request to create a snapshot (SNAP_CREATE_FLAG_…).
const (
	snapSkipObjectMap   = 1 << 0
	snapSkipQuiesce     = 1 << 1
	snapIgnoreQuiesceEr = 1 << 2
)

func snapCreateMessage(r requestID, name string, ns SnapshotNamespace, o SnapshotOptions) []byte {
	flags := uint64(0)
	if o.SkipObjectMap {
		flags |= snapSkipObjectMap
	}
	if o.SkipQuiesce {
		flags |= snapSkipQuiesce
	}
	if o.IgnoreQuiesceError {
		flags |= snapIgnoreQuiesceEr
	}
	return encodeMessage(kindSnapCreate, func(b []byte) []byte {
		return denc.AppendU64(appendRequest(ns.Append(denc.AppendString(b, name)), r), flags)
	})
}

func snapRemoveMessage(r requestID, name string, ns SnapshotNamespace) []byte {
	return snapMessage(kindSnapRemove, r, name, ns)
}

func snapProtectMessage(r requestID, name string, ns SnapshotNamespace, on bool) []byte {
	kind := kindSnapUnprotect
	if on {
		kind = kindSnapProtect
	}
	return snapMessage(kind, r, name, ns)
}

func snapMessage(kind uint32, r requestID, name string, ns SnapshotNamespace) []byte {
	return encodeMessage(kind, func(b []byte) []byte { return appendRequest(ns.Append(denc.AppendString(b, name)), r) })
}

func snapRenameMessage(r requestID, id uint64, name string, ns SnapshotNamespace) []byte {
	return encodeMessage(kindSnapRename, func(b []byte) []byte {
		return appendRequest(ns.Append(denc.AppendString(denc.AppendU64(b, id), name)), r)
	})
}

func renameMessage(r requestID, name string) []byte {
	return encodeMessage(kindRename, func(b []byte) []byte { return appendRequest(denc.AppendString(b, name), r) })
}

func updateFeaturesMessage(r requestID, mask uint64, on bool) []byte {
	return encodeMessage(kindUpdateFeatures, func(b []byte) []byte {
		return appendRequest(denc.AppendBool(denc.AppendU64(b, mask), on), r)
	})
}

// responseMessage is the answer to a request.
func responseMessage(err error) []byte {
	b, at := denc.Begin(nil, 1, 1)
	return denc.End(denc.AppendS32(b, resultOf(err)), at)
}

func decodeResponse(p []byte) (int32, error) {
	r := denc.NewReader(p)
	s := r.Enter("ResponseMessage", 1)
	v := r.S32()
	r.Leave(s)
	return v, r.Err()
}

// resultOf turns an error into the number that is sent.
func resultOf(err error) int32 {
	if err == nil {
		return 0
	}
	var e rados.Errno
	if errors.As(err, &e) {
		return e.Result()
	}
	return rados.ErrIO.Result()
}

// isHeaderUpdate reports whether a notification says that the header changed.
func isHeaderUpdate(p []byte) bool {
	m, err := decodeMessage(p)
	return err == nil && m.kind == kindHeaderUpdate
}

// decodeMessage reads a notification of any release.
func decodeMessage(p []byte) (message, error) {
	if len(p) == 0 {
		// Clients before protocol versions said with it that the header changed.
		return message{kind: kindHeaderUpdate}, nil
	}
	r := denc.NewReader(p)
	s := r.Enter("NotifyMessage", messageVersion)
	m := message{kind: r.U32()}
	request := func() {
		if s.V >= 7 {
			m.request = readRequest(r)
		}
	}
	switch m.kind {
	case kindAcquired, kindReleased:
		m.client = readClient(r)
	case kindRequestLock:
		m.client = readClient(r)
		m.force = s.V >= 5 && r.Bool()
	case kindHeaderUpdate:
	case kindProgress:
		m.request = readRequest(r)
		m.off, m.total = r.U64(), r.U64()
	case kindComplete:
		m.request = readRequest(r)
		m.result = r.S32()
	case kindFlatten, kindRebuild, kindMigrate, kindQuiesce, kindUnquiesce:
		m.request = readRequest(r)
	case kindResize:
		m.size = r.U64()
		m.request = readRequest(r)
		m.allowShrink = s.V < 4 || r.Bool()
	case kindSnapCreate, kindSnapRemove, kindSnapProtect, kindSnapUnprotect:
		m.name = r.String()
		if s.V >= 6 {
			m.ns.Decode(r)
		}
		request()
		if m.kind == kindSnapCreate && s.V >= 7 {
			m.flags = r.U64()
		}
	case kindSnapRename:
		m.snapID, m.name = r.U64(), r.String()
		if s.V >= 7 {
			m.ns.Decode(r)
		}
		request()
	case kindRename:
		m.name = r.String()
		request()
	case kindUpdateFeatures:
		m.features, m.enabled = r.U64(), r.Bool()
		request()
	case kindSparsify:
		m.request = readRequest(r)
		m.size = r.U64()
	case kindMetadata:
		m.name = r.String()
	default:
		r.Fail(fmt.Errorf("notification of kind %d: %w", m.kind, rados.ErrNotSupported))
	}
	if err := r.Err(); err != nil {
		return m, err
	}
	r.Leave(s)
	return m, r.Err()
}
