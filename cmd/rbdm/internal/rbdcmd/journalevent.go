package rbdcmd

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// eventNames are rbd's names of the kinds of events.
var eventNames = [...]string{
	wire.EventDiscard: "AioDiscard", wire.EventWrite: "AioWrite", wire.EventFlush: "AioFlush", wire.EventOpFinish: "OpFinish",
	wire.EventSnapCreate: "SnapCreate", wire.EventSnapRemove: "SnapRemove", wire.EventSnapRename: "SnapRename",
	wire.EventSnapProtect: "SnapProtect", wire.EventSnapUnprotect: "SnapUnprotect", wire.EventSnapRollback: "SnapRollback",
	wire.EventRename: "Rename", wire.EventResize: "Resize", wire.EventFlatten: "Flatten", wire.EventDemotePromote: "Demote/Promote",
	wire.EventSnapLimit: "SnapLimit", wire.EventUpdateFeatures: "UpdateFeatures", wire.EventMetadataSet: "MetadataSet",
	wire.EventMetadataRemove: "MetadataRemove", wire.EventWriteSame: "AioWriteSame", wire.EventCompareAndWrite: "AioCompareAndWrite",
}

// unknownEvent is the type that rbd shows for events that it does not know.
const unknownEvent wire.EventType = math.MaxUint32

func knownType(t wire.EventType) wire.EventType {
	if uint64(t) >= uint64(len(eventNames)) {
		return unknownEvent
	}
	return t
}

// printEvent prints an event as rbd does with --verbose.
func printEvent(w io.Writer, ev wire.Event, known bool) error {
	f := cli.NewFormatter("json", true)
	f.OpenObject("event_entry")
	t := knownType(ev.Type)
	if !known {
		t = unknownEvent
	}
	if t == unknownEvent {
		f.String("event_type", fmt.Sprintf("Unknown (%d)", t))
	} else {
		f.String("event_type", eventNames[t])
		formatEvent(f, ev)
	}
	f.String("timestamp", eventTime(ev.Time))
	f.Close()
	return f.Flush(w)
}

// eventTime prints a time as Ceph does (utime_t), in local time.
func eventTime(t denc.Time) string {
	const tenYears = 60 * 60 * 24 * 365 * 10
	if t.Sec < tenYears {
		return fmt.Sprintf("%d.%06d", t.Sec, t.Nsec/1000)
	}
	return t.Std().Local().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.000000-0700")
}

func formatEvent(f *cli.Formatter, ev wire.Event) {
	switch ev.Type {
	case wire.EventDiscard, wire.EventWrite, wire.EventWriteSame, wire.EventCompareAndWrite:
		f.Uint("offset", ev.Offset)
		f.Uint("length", ev.Length)
		if ev.Type == wire.EventDiscard {
			f.Uint("discard_granularity_bytes", uint64(ev.Granularity))
		}
		return
	case wire.EventFlush, wire.EventDemotePromote:
		return
	}
	f.Uint("op_tid", ev.OpTID)
	switch ev.Type {
	case wire.EventOpFinish:
		f.Uint("op_tid", ev.OpTID)
		f.Int("result", int64(ev.Result))
	case wire.EventSnapCreate, wire.EventSnapRemove, wire.EventSnapProtect, wire.EventSnapUnprotect, wire.EventSnapRollback:
		f.String("snap_name", ev.Name)
		var ns rbdwire.SnapshotNamespace
		ns.Decode(denc.NewReader(ev.Namespace))
		formatSnapNamespace(f, ns)
	case wire.EventSnapRename:
		f.Uint("src_snap_id", ev.SnapID)
		f.String("src_snap_name", ev.OldName)
		f.String("dest_snap_name", ev.Name)
	case wire.EventRename:
		f.String("image_name", ev.Name)
	case wire.EventSnapLimit:
		f.Uint("limit", ev.Size)
	case wire.EventResize:
		f.Uint("size", ev.Size)
	case wire.EventUpdateFeatures:
		f.Uint("features", ev.Features)
		f.Bool("enabled", ev.Enabled)
	case wire.EventMetadataSet:
		f.String("key", ev.Name)
		f.String("value", ev.Value)
	case wire.EventMetadataRemove:
		f.String("key", ev.Name)
	}
}

// snapTypeNames are the names of the kinds of snapshots.
var snapTypeNames = [...]string{rbdwire.SnapUser: "user", rbdwire.SnapGroup: "group", rbdwire.SnapTrash: "trash", rbdwire.SnapMirror: "mirror"}

func snapTypeName(t uint32) string {
	if int(t) < len(snapTypeNames) {
		return snapTypeNames[t]
	}
	return "unknown"
}

// mirrorSnapDump are the states of mirror snapshots as they are dumped.
var mirrorSnapDump = [...]string{rbdwire.MirrorSnapPrimary: "primary", rbdwire.MirrorSnapPrimaryDemoted: "primary (demoted)",
	rbdwire.MirrorSnapNonPrimary: "non-primary", rbdwire.MirrorSnapNonPrimaryDemoted: "non-primary (demoted)", "unknown"}

func formatSnapNamespace(f *cli.Formatter, ns rbdwire.SnapshotNamespace) {
	f.String("snapshot_namespace_type", snapTypeName(ns.Type))
	switch ns.Type {
	case rbdwire.SnapGroup:
		f.Int("group_pool", ns.GroupPool)
		f.String("group_id", ns.GroupID)
		f.String("group_snapshot_id", ns.GroupSnapID)
	case rbdwire.SnapTrash:
		f.String("original_name", ns.OriginalName)
		f.String("original_snapshot_namespace", snapTypeName(ns.OriginalType))
	case rbdwire.SnapMirror:
		f.String("state", mirrorSnapDump[min(int(ns.State), len(mirrorSnapDump)-1)])
		f.Bool("complete", ns.Complete)
		stringArray(f, "mirror_peer_uuids", "mirror_peer_uuid", ns.PeerUUIDs)
		if ns.State == rbdwire.MirrorSnapNonPrimary || ns.State == rbdwire.MirrorSnapNonPrimaryDemoted {
			f.String("primary_mirror_uuid", ns.PrimaryMirrorUUID)
			f.Uint("primary_snap_id", ns.PrimarySnapID)
			f.Uint("last_copied_object_number", ns.LastCopiedObject)
		} else {
			f.Uint("clean_since_snap_id", ns.PrimarySnapID)
		}
	}
}
