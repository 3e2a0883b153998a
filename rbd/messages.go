package rbd

import (
	"errors"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

func headerUpdateMessage() []byte {
	return wire.NotifyMessage{Op: wire.NotifyHeaderUpdate}.Append(nil)
}

func acquiredMessage(c wire.ClientID) []byte {
	return wire.NotifyMessage{Op: wire.NotifyAcquiredLock, Client: c}.Append(nil)
}

func releasedMessage(c wire.ClientID) []byte {
	return wire.NotifyMessage{Op: wire.NotifyReleasedLock, Client: c}.Append(nil)
}

func requestLockMessage(c wire.ClientID, force bool) []byte {
	return wire.NotifyMessage{Op: wire.NotifyRequestLock, Client: c, Force: force}.Append(nil)
}

func progressMessage(r wire.RequestID, done, total uint64) []byte {
	return wire.NotifyMessage{Op: wire.NotifyAsyncProgress, Request: r, Offset: done, Total: total}.Append(nil)
}

func completeMessage(r wire.RequestID, err error) []byte {
	return wire.NotifyMessage{Op: wire.NotifyAsyncComplete, Request: r, Result: resultOf(err)}.Append(nil)
}

func flattenMessage(r wire.RequestID) []byte {
	return wire.NotifyMessage{Op: wire.NotifyFlatten, Request: r}.Append(nil)
}

func rebuildMessage(r wire.RequestID) []byte {
	return wire.NotifyMessage{Op: wire.NotifyRebuildObjectMap, Request: r}.Append(nil)
}

func quiesceMessage(r wire.RequestID) []byte {
	return wire.NotifyMessage{Op: wire.NotifyQuiesce, Request: r}.Append(nil)
}

func unquiesceMessage(r wire.RequestID) []byte {
	return wire.NotifyMessage{Op: wire.NotifyUnquiesce, Request: r}.Append(nil)
}

func sparsifyMessage(r wire.RequestID, grain uint64) []byte {
	return wire.NotifyMessage{Op: wire.NotifySparsify, Request: r, Size: grain}.Append(nil)
}

func resizeMessage(r wire.RequestID, size uint64, allowShrink bool) []byte {
	return wire.NotifyMessage{Op: wire.NotifyResize, Request: r, Size: size, AllowShrink: allowShrink}.Append(nil)
}

func snapCreateMessage(r wire.RequestID, name string, ns SnapshotNamespace, o SnapshotOptions) []byte {
	m := wire.NotifyMessage{Op: wire.NotifySnapCreate, Request: r, Name: name, Namespace: ns}
	if o.SkipObjectMap {
		m.Flags |= wire.SnapCreateSkipObjectMap
	}
	if o.SkipQuiesce {
		m.Flags |= wire.SnapCreateSkipQuiesce
	}
	if o.IgnoreQuiesceError {
		m.Flags |= wire.SnapCreateIgnoreQuiesceError
	}
	return m.Append(nil)
}

func snapRemoveMessage(r wire.RequestID, name string, ns SnapshotNamespace) []byte {
	return wire.NotifyMessage{Op: wire.NotifySnapRemove, Request: r, Name: name, Namespace: ns}.Append(nil)
}

func snapProtectMessage(r wire.RequestID, name string, ns SnapshotNamespace, on bool) []byte {
	m := wire.NotifyMessage{Op: wire.NotifySnapUnprotect, Request: r, Name: name, Namespace: ns}
	if on {
		m.Op = wire.NotifySnapProtect
	}
	return m.Append(nil)
}

func snapRenameMessage(r wire.RequestID, id uint64, name string, ns SnapshotNamespace) []byte {
	return wire.NotifyMessage{Op: wire.NotifySnapRename, Request: r, SnapID: id, Name: name, Namespace: ns}.Append(nil)
}

func renameMessage(r wire.RequestID, name string) []byte {
	return wire.NotifyMessage{Op: wire.NotifyRename, Request: r, Name: name}.Append(nil)
}

func updateFeaturesMessage(r wire.RequestID, mask uint64, on bool) []byte {
	return wire.NotifyMessage{Op: wire.NotifyUpdateFeatures, Request: r, Features: mask, Enabled: on}.Append(nil)
}

// responseMessage is the answer to a request.
func responseMessage(err error) []byte { return wire.NotifyResponse{Result: resultOf(err)}.Append(nil) }

func decodeResponse(p []byte) (int32, error) {
	r := denc.NewReader(p)
	var m wire.NotifyResponse
	m.Decode(r)
	return m.Result, r.Err()
}

func metadataMessage(r wire.RequestID, key string, value *string) []byte {
	return wire.NotifyMessage{Op: wire.NotifyMetadataUpdate, Request: r, Name: key, Value: value}.Append(nil)
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
	return err == nil && m.Op == wire.NotifyHeaderUpdate
}

// decodeMessage reads a notification of any release. An empty one is how clients
// said that the header changed before messages had versions.
func decodeMessage(p []byte) (m wire.NotifyMessage, err error) {
	if len(p) == 0 {
		return wire.NotifyMessage{Op: wire.NotifyHeaderUpdate}, nil
	}
	r := denc.NewReader(p)
	m.Decode(r)
	return m, r.Err()
}
