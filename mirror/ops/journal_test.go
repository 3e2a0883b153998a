package ops

import (
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// poolInMode is a pool in the given mirroring mode.
func poolInMode(t *testing.T, mode uint32) *rados.IoCtx {
	t.Helper()
	io := anycluster.Pool(t)
	if mode != wire.MirrorModeDisabled {
		require.NoError(t, EnablePool(t.Context(), io, mode))
	}
	return io
}

// journaled makes an image with a journal.
func journaled(t *testing.T, io *rados.IoCtx, name string) string {
	t.Helper()
	id, err := rbd.Create(t.Context(), io, name, 8<<20, rbd.CreateOptions{HasFeatures: true, Features: rbd.FeatureExclusiveLock | rbd.FeatureJournaling})
	require.NoError(t, err)
	return id
}

// record writes n flushes under a new tag, as a writer does who takes the lock,
// and commits them.
func record(t *testing.T, io *rados.IoCtx, id string, n int) {
	t.Helper()
	ctx := t.Context()
	j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
	require.NoError(t, err)
	newest, data, err := rbd.NewestTag(ctx, j)
	require.NoError(t, err)
	data.Predecessor = jwire.TagPredecessor{}
	if p := j.CommitPosition(); len(p) > 0 {
		data.Predecessor = jwire.TagPredecessor{CommitValid: true, TagTID: p[0].TagTID, EntryTID: p[0].EntryTID}
	}
	tag, err := j.AllocateTag(ctx, newest.Class, data.Append(nil))
	require.NoError(t, err)
	rec, err := j.NewRecorder(ctx)
	require.NoError(t, err)
	for range n {
		f, err := rec.Append(ctx, tag.TID, jwire.Event{Type: jwire.EventFlush}.Append(nil))
		require.NoError(t, err)
		f.Committed()
	}
	require.NoError(t, rec.Close(ctx))
	require.NoError(t, j.Close(ctx))
}

// omapHex returns the values of some keys of a journal's header as hex.
func omapHex(t *testing.T, io *rados.IoCtx, id string, keys ...string) map[string]string {
	t.Helper()
	all, err := io.OmapGetAll(t.Context(), journal.HeaderName(id), "")
	require.NoError(t, err)
	out := map[string]string{}
	for _, k := range keys {
		if v, ok := all[k]; ok {
			out[k] = hex.EncodeToString(v)
		}
	}
	return out
}

// TestEpochsAreThoseOfLibrbd compares with what `rbd mirror image demote` and
// `promote` of 16.2 and 20.2 (which are the same) leave after a writer with twelve
// entries under tag 1 and the tag of the lock that demote took.
func TestEpochsAreThoseOfLibrbd(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	id := journaled(t, io, "a")
	record(t, io, id, 12)
	record(t, io, id, 0)
	require.NoError(t, beginEpoch(ctx, io, id, orphanTag))
	want := map[string]string{
		"client_":              "01019e000000000000001300000002010d0000000000000000000000000000000001017c00000004000000010118000000000000000000000003000000000000000000000000000000010118000000030000000000000001000000000000000b00000000000000010118000000020000000000000001000000000000000a0000000000000001011800000001000000000000000100000000000000090000000000000000",
		"tag_0000000000000001": "01012d000000010000000000000000000000000000001900000000000000000000000000000000000000000000000000000000",
		"tag_0000000000000002": "01012d000000020000000000000000000000000000001900000000000000000000000101000000000000000b00000000000000",
		"tag_0000000000000003": "0101350000000300000000000000000000000000000021000000080000003c6f727068616e3e000000000101000000000000000b00000000000000",
		"next_tag_tid":         "0400000000000000",
	}
	require.Equal(t, want, omapHex(t, io, id, "client_", "tag_0000000000000000", "tag_0000000000000001", "tag_0000000000000002", "tag_0000000000000003", "next_tag_tid"))
	require.ErrorIs(t, beginEpoch(ctx, io, id, orphanTag), ErrNotPrimary)

	require.NoError(t, promoteJournal(ctx, io, id, false))
	require.Equal(t, map[string]string{
		"tag_0000000000000004": "010135000000040000000000000000000000000000002100000000000000080000003c6f727068616e3e0103000000000000000100000000000000",
		"next_tag_tid":         "0500000000000000",
	}, omapHex(t, io, id, "tag_0000000000000004", "next_tag_tid"))
	require.ErrorIs(t, promoteJournal(ctx, io, id, true), ErrPrimary)
}

// TestDemotionOfAnUnusedImage compares what `rbd mirror image demote` leaves in the
// journal of an image that nobody ever wrote to, the entry included.
func TestDemotionOfAnUnusedImage(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	id := journaled(t, io, "a")
	record(t, io, id, 0)
	require.NoError(t, beginEpoch(ctx, io, id, orphanTag))
	require.Equal(t, map[string]string{
		"client_":              "010144000000000000001300000002010d000000000000000000000000000000000101220000000100000001011800000000000000000000000200000000000000000000000000000000",
		"tag_0000000000000002": "0101350000000200000000000000000000000000000021000000080000003c6f727068616e3e000000000000000000000000000000000000000000",
	}, omapHex(t, io, id, "client_", "tag_0000000000000002"))
	entry, err := io.Read(ctx, journal.DataName(io.Pool(), id, 0), 0, 0)
	require.NoError(t, err)
	require.Equal(t, "93975853265941310100000000000000000200000000000000180000000501040000000d00000001010800000000000000000000005569a059", hex.EncodeToString(entry))
}

// replica makes an image that another site owns, with one tag of its.
func replica(t *testing.T, io *rados.IoCtx, name, owner string) string {
	t.Helper()
	id, err := rbd.Create(t.Context(), io, name, 8<<20, rbd.CreateOptions{HasFeatures: true, Features: rbd.FeatureExclusiveLock | rbd.FeatureJournaling, JournalOwner: owner})
	require.NoError(t, err)
	require.NoError(t, meta.SetImage(t.Context(), io, id, wire.MirrorImage{GlobalID: "global " + name, Mode: wire.MirrorImageJournal, State: wire.MirrorImageEnabled}))
	return id
}

func ownerOf(t *testing.T, io *rados.IoCtx, id string) string {
	t.Helper()
	_, owner, err := rbd.JournalOwner(t.Context(), io, id)
	require.NoError(t, err)
	p := owner.Predecessor
	return fmt.Sprintf("%q after %q %t %d %d", owner.MirrorUUID, p.MirrorUUID, p.CommitValid, p.TagTID, p.EntryTID)
}

// TestPromotionOfAReplica: without force only what was demoted can be promoted. By
// force it becomes this site's with a predecessor that nobody can link to.
func TestPromotionOfAReplica(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	id := replica(t, io, "a", "there")
	require.ErrorIs(t, Promote(ctx, io, id, false), ErrRemotePrimary)
	require.ErrorIs(t, Demote(ctx, io, id), ErrNotPrimary)
	require.ErrorIs(t, DisableImage(ctx, io, id, false), rados.ErrInvalid)
	require.ErrorIs(t, ForgetImage(ctx, io, id), rados.ErrInvalid)
	require.Equal(t, `"there" after "" false 0 0`, ownerOf(t, io, id))
	require.NoError(t, Promote(ctx, io, id, true))
	require.Equal(t, `"" after "" true 0 0`, ownerOf(t, io, id))
	require.ErrorIs(t, Promote(ctx, io, id, true), ErrPrimary)

	id = replica(t, io, "b", jwire.OrphanOwner)
	require.NoError(t, Promote(ctx, io, id, true))
	require.Equal(t, `"" after "<orphan>" true 0 1`, ownerOf(t, io, id))
}

// TestPromotionRacesWithAReplayer: a tag that comes between is looked at.
func TestPromotionRacesWithAReplayer(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	id := replica(t, io, "a", jwire.OrphanOwner)
	calls := 0
	err := beginEpoch(ctx, io, id, func(newest jwire.Tag, owner jwire.TagData, _ jwire.CommitPosition) (jwire.TagData, error) {
		if calls++; calls == 1 {
			j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
			require.NoError(t, err)
			_, err = j.AllocateTag(ctx, newest.Class, jwire.TagData{MirrorUUID: "there"}.Append(nil))
			require.NoError(t, err)
			require.NoError(t, j.Close(ctx))
			return localTag(newest, jwire.OrphanOwner), nil
		}
		require.Equal(t, "there", owner.MirrorUUID)
		return jwire.TagData{}, ErrRemotePrimary
	})
	require.ErrorIs(t, err, ErrRemotePrimary)
	require.Equal(t, `"there" after "" false 0 0`, ownerOf(t, io, id))
}

// TestResyncJournal: the wish for a resync is written where the daemon looks for
// it, and only into the journal of an image that is primary elsewhere.
func TestResyncJournal(t *testing.T) {
	must := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	const id = "1"
	must(meta.SetImage(ctx, io, id, wire.MirrorImage{GlobalID: "g", Mode: wire.MirrorImageJournal, State: wire.MirrorImageEnabled}))
	must(journal.Create(ctx, io, id, journal.DefaultLayout))
	j, err := journal.Open(ctx, io, id, "", journal.DefaultOptions())
	must(err)
	defer j.Close(ctx)
	tag, err := j.AllocateTag(ctx, jwire.NewTagClass, jwire.TagData{}.Append(nil))
	must(err)
	must(j.Register(ctx, jwire.ClientData{Kind: jwire.ClientImage, TagClass: tag.Class}.Append(nil)))

	flagged := func() bool {
		own, err := j.Client(ctx, "")
		must(err)
		var d jwire.ClientData
		d.Decode(denc.NewReader(own.Data))
		if d.TagClass != tag.Class || d.Kind != jwire.ClientImage {
			t.Fatalf("client data %+v", d)
		}
		return d.ResyncRequested
	}
	if err := Resync(ctx, io, id); !errors.Is(err, rados.ErrInvalid) || flagged() {
		t.Fatalf("resync of a primary: %v, flagged %t", err, flagged())
	}
	_, err = j.AllocateTag(ctx, tag.Class, jwire.TagData{MirrorUUID: jwire.OrphanOwner}.Append(nil))
	must(err)
	must(Resync(ctx, io, id))
	if !flagged() {
		t.Fatal("the flag is not set")
	}
}
