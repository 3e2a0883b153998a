//go:build interop

package rbd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/rados"
)

func TestInteropManagement(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		has := func(want bool, what string, args ...string) {
			t.Helper()
			if out := s.rbd(t, args...); strings.Contains(out, what) != want {
				t.Fatalf("rbd %s: %q is there: %v\n%s", strings.Join(args, " "), what, !want, out)
			}
		}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		// Names.
		_, err := Create(ctx, io, "a", 8<<20, CreateOptions{})
		check(err)
		if _, err := Create(ctx, io, "a", 8<<20, CreateOptions{}); !errors.Is(err, rados.ErrExists) {
			t.Fatalf("a second image of the name: %v", err)
		}
		check(Rename(ctx, io, "a", "b"))
		has(true, "b", "ls", pool)
		refs, err := List(ctx, io)
		check(err)
		if len(refs) != 1 || refs[0].Name != "b" {
			t.Fatalf("%+v", refs)
		}
		// Trash, both ways.
		id, err := TrashMove(ctx, io, "b", MoveOptions{Delay: time.Hour})
		check(err)
		has(true, id, "trash", "ls", pool)
		if err := TrashRemove(ctx, io, id, false, nil); !errors.Is(err, rados.ErrPermission) {
			t.Fatalf("removed before its time: %v", err)
		}
		s.rbd(t, "trash", "restore", "-p", pool, "--image-id", id, "--image", "c")
		s.rbd(t, "trash", "mv", pool+"/c")
		es, err := TrashList(ctx, io)
		check(err)
		if len(es) != 1 || es[0].ID != id || es[0].Name != "c" || es[0].Source != TrashUser {
			t.Fatalf("%+v", es)
		}
		check(TrashRestore(ctx, io, id, "d"))
		has(true, "d", "info", pool+"/d")
		_, err = TrashMove(ctx, io, "d", MoveOptions{})
		check(err)
		check(TrashPurge(ctx, io, PurgeOptions{Expired: time.Now(), Threshold: NoThreshold}))
		has(false, id, "trash", "ls", "-a", pool)
		// Namespaces.
		check(NamespaceCreate(ctx, io, "ns"))
		has(true, "ns", "namespace", "ls", pool)
		ns := io.WithNamespace("ns")
		_, err = Create(ctx, ns, "x", 8<<20, CreateOptions{})
		check(err)
		has(true, "x", "ls", pool+"/ns")
		if err := NamespaceRemove(ctx, io, "ns"); !errors.Is(err, rados.ErrBusy) {
			t.Fatalf("removed a namespace with an image: %v", err)
		}
		check(Remove(ctx, ns, "x", nil))
		check(NamespaceRemove(ctx, io, "ns"))
		s.rbd(t, "namespace", "create", pool+"/theirs")
		names, err := NamespaceList(ctx, io)
		check(err)
		if !slices.Equal(names, []string{"theirs"}) {
			t.Fatal(names)
		}
		if _, err := Create(ctx, io.WithNamespace("none"), "x", 1<<20, CreateOptions{}); !errors.Is(err, rados.ErrNotFound) {
			t.Fatalf("image in a namespace that is not there: %v", err)
		}
		// Metadata and configuration.
		s.rbd(t, "config", "pool", "set", pool, "rbd_default_order", "21")
		_, err = Create(ctx, io, "cfg", 8<<20, CreateOptions{})
		check(err)
		has(true, "order 21", "info", pool+"/cfg")
		img, err := Open(ctx, io, "cfg", OpenOptions{})
		check(err)
		check(img.MetadataSet(ctx, "k", []byte("v")))
		has(true, "v", "image-meta", "get", pool+"/cfg", "k")
		for i := range 70 {
			check(img.MetadataSet(ctx, fmt.Sprintf("many%03d", i), []byte("x")))
		}
		m, err := img.Metadata(ctx)
		check(err)
		if len(m) != 71 {
			t.Fatalf("%d pairs", len(m))
		}
		check(img.MetadataRemove(ctx, "k"))
		// Features.
		_, err = img.WriteAt(ctx, []byte("data"), 3<<20)
		check(err)
		check(img.DisableFeatures(ctx, FeatureFastDiff|FeatureObjectMap))
		has(false, "object-map", "info", pool+"/cfg")
		check(img.DisableFeatures(ctx, FeatureExclusiveLock))
		_, err = img.WriteAt(ctx, []byte("without a lock"), 5<<20)
		check(err)
		check(img.EnableFeatures(ctx, FeatureExclusiveLock))
		check(img.EnableFeatures(ctx, FeatureObjectMap|FeatureFastDiff))
		has(true, "object map invalid", "info", pool+"/cfg")
		check(img.RebuildObjectMap(ctx, nil))
		s.checkMaps(t, pool+"/cfg", img)
		if bad, err := img.CheckObjectMap(ctx, nil); err != nil || bad != 0 {
			t.Fatalf("%d, %v", bad, err)
		}
		_, err = img.WriteAt(ctx, make([]byte, 1<<20), 0)
		check(err)
		check(img.Sparsify(ctx, 4096, nil))
		s.checkMaps(t, pool+"/cfg", img)
		// Limits and protection.
		check(img.SetSnapshotLimit(ctx, 1))
		_, err = img.CreateSnapshot(ctx, "s", userNamespace(), SnapshotOptions{})
		check(err)
		if _, err := img.CreateSnapshot(ctx, "t", userNamespace(), SnapshotOptions{}); !errors.Is(err, rados.ErrQuota) {
			t.Fatalf("above the limit: %v", err)
		}
		if err := Remove(ctx, io, "cfg", nil); !errors.Is(err, rados.ErrBusy) {
			t.Fatalf("removed an image in use: %v", err)
		}
		check(img.PurgeSnapshots(ctx, true, nil))
		check(img.Close(ctx))
		st, err := Stats(ctx, io)
		check(err)
		if st.Images != 1 || st.ImageBytes != 8<<20 {
			t.Fatalf("%+v", st)
		}
	})
}

// TestInteropMirroredImages removes and trashes images that the real rbd has
// enabled for mirroring.
func TestInteropMirroredImages(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		ctx := t.Context()
		pool, io := s.pool(t)
		s.rbd(t, "mirror", "pool", "enable", pool, "image")
		for _, name := range []string{"one", "two"} {
			if _, err := Create(ctx, io, name, 8<<20, CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			s.rbd(t, "mirror", "image", "enable", pool+"/"+name, "snapshot")
		}
		if out := s.rbd(t, "snap", "ls", "--all", pool+"/one"); !strings.Contains(out, "mirror") {
			t.Fatalf("no mirror snapshot:\n%s", out)
		}
		if err := Remove(ctx, io, "one", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := TrashMove(ctx, io, "two", MoveOptions{}); err != nil {
			t.Fatal(err)
		}
		if left := s.run(t, "rados", "-p", pool, "listomapkeys", "rbd_mirroring"); strings.Contains(left, "image_") || strings.Contains(left, "global_") {
			t.Fatalf("mirroring still knows them:\n%s", left)
		}
		if left := s.run(t, "rados", "-p", pool, "ls"); strings.Contains(left, "rbd_mirror_snapshot") && !strings.Contains(left, "rbd_header") {
			t.Fatalf("image states are left:\n%s", left)
		}
		if err := TrashPurge(ctx, io, PurgeOptions{Expired: time.Now(), Threshold: NoThreshold}); err != nil {
			t.Fatal(err)
		}
		if left := s.run(t, "rados", "-p", pool, "ls"); strings.Contains(left, "rbd_mirror_snapshot") || strings.Contains(left, "rbd_header") {
			t.Fatalf("objects are left:\n%s", left)
		}
		// A replica is only for the mirroring engine.
		if _, err := Create(ctx, io, "replica", 8<<20, CreateOptions{NonPrimary: true}); err != nil {
			t.Fatal(err)
		}
		img, err := Open(ctx, io, "replica", OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := img.WriteAt(ctx, []byte("x"), 0); !errors.Is(err, rados.ErrReadOnly) {
			t.Fatalf("wrote to a replica: %v", err)
		}
		if err := img.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if err := Remove(ctx, io, "replica", nil); !errors.Is(err, rados.ErrInvalid) {
			t.Fatalf("removed a replica: %v", err)
		}
	})
}
