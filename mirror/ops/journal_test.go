package ops

import (
	"errors"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd/wire"
)

// TestResyncJournal: the wish for a resync is written where the daemon looks for
// it, and only into the journal of an image that is primary elsewhere.
func TestResyncJournal(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	path, err := c.ConfFile(t.TempDir())
	must(err)
	inv, _, err := conf.ParseArgs([]string{"-c", path}, func(string) string { return "" }, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(err)
	cfg, err := inv.Load()
	must(err)
	cl, err := rados.Connect(ctx, cfg)
	must(err)
	defer cl.Close()
	io, err := cl.OpenPool(ctx, "rbd")
	must(err)
	const id = "1"
	must(EnablePool(ctx, io, wire.MirrorModeImage))
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
