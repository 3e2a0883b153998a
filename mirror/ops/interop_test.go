//go:build interop

package ops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// pool makes a mirrored pool on the cluster of $RBDM_CONF.
func pool(t *testing.T) *rados.IoCtx {
	t.Helper()
	path := os.Getenv("RBDM_CONF")
	if path == "" {
		t.Fatal("RBDM_CONF names no ceph.conf")
	}
	name, err := entity.ParseAuthName("client.admin")
	if err != nil {
		t.Fatal(err)
	}
	inv := conf.Invocation{ConfFile: path, Explicit: true, Name: name}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	c, err := rados.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	poolName := fmt.Sprintf("mirror-ops-%d", time.Now().UnixNano())
	if err := c.CreatePool(t.Context(), poolName); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.DeletePool(ctx, poolName); err != nil && !errors.Is(err, rados.ErrPermission) {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	io, err := c.OpenPool(t.Context(), poolName)
	if err != nil {
		t.Fatal(err)
	}
	must(t, rbd.PoolInit(t.Context(), io, true))
	must(t, meta.SetUUID(t.Context(), io, snapshots.NewUUID()))
	must(t, meta.SetMode(t.Context(), io, wire.MirrorModeImage))
	return io
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func image(t *testing.T, io *rados.IoCtx, name string) string {
	t.Helper()
	id, err := rbd.Create(t.Context(), io, name, 8<<20, rbd.CreateOptions{})
	must(t, err)
	return id
}

func write(t *testing.T, io *rados.IoCtx, id string, b byte) error {
	t.Helper()
	img, err := rbd.OpenByID(t.Context(), io, id, rbd.OpenOptions{})
	must(t, err)
	defer func() { must(t, img.Close(context.WithoutCancel(t.Context()))) }()
	_, err = img.WriteAt(t.Context(), []byte{b}, 0)
	return err
}

func hasPromotion(t *testing.T, io *rados.IoCtx, id string, want Promotion) *rbd.Image {
	t.Helper()
	img, err := rbd.OpenByID(t.Context(), io, id, rbd.OpenOptions{ReadOnly: true})
	must(t, err)
	t.Cleanup(func() { must(t, img.Close(context.Background())) })
	i, err := Info(t.Context(), img)
	must(t, err)
	if i.Promotion != want {
		t.Fatalf("promotion %d, want %d", i.Promotion, want)
	}
	return img
}

func TestAnImagesRolesAgainstARealCluster(t *testing.T) {
	io, ctx := pool(t), t.Context()
	id := image(t, io, "img")
	must(t, EnableImage(ctx, io, id))
	must(t, EnableImage(ctx, io, id)) // once more is no error
	hasPromotion(t, io, id, Primary)
	if _, err := Snapshot(ctx, io, id, rbd.SnapshotOptions{}); !errors.Is(err, snapshots.ErrNoPeer) {
		t.Fatalf("snapshot without a peer: %v", err)
	}
	must(t, meta.AddPeer(ctx, io, wire.MirrorPeer{UUID: snapshots.NewUUID(), SiteName: "there", ClientName: "client.there", Direction: wire.MirrorPeerRXTX}))
	for range 7 {
		_, err := Snapshot(ctx, io, id, rbd.SnapshotOptions{})
		must(t, err)
	}
	img := hasPromotion(t, io, id, Primary)
	if n := len(snapshots.Mirror(img)); n != 5 {
		t.Fatalf("%d mirror snapshots, want 5", n)
	}
	if s, err := img.ReadImageState(ctx, snapshots.Newest(img).ID); err != nil || s.Name != "img" {
		t.Fatalf("image state %+v, %v", s, err)
	}
	must(t, write(t, io, id, 1))
	must(t, Demote(ctx, io, id))
	hasPromotion(t, io, id, Orphan)
	if err := write(t, io, id, 2); !errors.Is(err, rados.ErrReadOnly) {
		t.Fatalf("write to a demoted image: %v", err)
	}
	if err := Demote(ctx, io, id); !errors.Is(err, ErrNotPrimary) {
		t.Fatalf("second demotion: %v", err)
	}
	must(t, Resync(ctx, io, id))
	must(t, Promote(ctx, io, id, false))
	hasPromotion(t, io, id, Primary)
	if err := Promote(ctx, io, id, true); !errors.Is(err, ErrPrimary) {
		t.Fatalf("second promotion: %v", err)
	}
	must(t, write(t, io, id, 3))
	must(t, DisableImage(ctx, io, id, false))
	must(t, DisableImage(ctx, io, id, false))
	nothingLeft(t, io)
}

func TestForcedPromotionGoesBackToTheLastCompleteCopy(t *testing.T) {
	io, ctx := pool(t), t.Context()
	id := image(t, io, "img")
	must(t, write(t, io, id, 1))
	m := wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageSnapshot}
	must(t, meta.SetImage(ctx, io, id, m))
	img, err := open(ctx, io, id)
	must(t, err)
	must(t, setNonPrimary(ctx, img, true))
	first, err := snapshots.CreateNonPrimary(ctx, img, m.GlobalID, snapshots.NonPrimary{MirrorUUID: "there", SnapID: 10})
	must(t, err)
	must(t, img.SetCopyProgress(ctx, first, true, 2))
	_, err = img.WriteAt(ctx, []byte{2}, 0)
	must(t, err)
	_, err = snapshots.CreateNonPrimary(ctx, img, m.GlobalID, snapshots.NonPrimary{MirrorUUID: "there", SnapID: 11})
	must(t, err)
	_, err = img.WriteAt(ctx, []byte{3}, 0)
	must(t, err)
	must(t, img.Close(ctx))
	hasPromotion(t, io, id, NonPrimary)
	if err := Promote(ctx, io, id, false); !errors.Is(err, rados.ErrBusy) {
		t.Fatalf("promotion without force: %v", err)
	}
	if err := DisableImage(ctx, io, id, false); !errors.Is(err, rados.ErrInvalid) {
		t.Fatalf("disabling a replica without force: %v", err)
	}
	must(t, Promote(ctx, io, id, true))
	got := make([]byte, 1)
	_, err = hasPromotion(t, io, id, Primary).ReadAt(ctx, got, 0)
	must(t, err)
	if got[0] != 1 {
		t.Fatalf("byte %d, want that of the last complete copy, 1", got[0])
	}
	must(t, DisableImage(ctx, io, id, false))
	nothingLeft(t, io)
}

// nothingLeft checks that no trace of mirroring remains but the pool's own.
func nothingLeft(t *testing.T, io *rados.IoCtx) {
	t.Helper()
	images, err := meta.Images(t.Context(), io)
	must(t, err)
	if len(images) != 0 {
		t.Errorf("images %v are left", images)
	}
	for o, err := range io.Objects(t.Context()) {
		must(t, err)
		if len(o.Name) > 20 && o.Name[:20] == "rbd_mirror_snapshot." {
			t.Errorf("object %s is left", o.Name)
		}
	}
}
