package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const image = pool + "/image"

// mirrored returns a world with one image on site-a that is mirrored to site-b.
func mirrored(t *testing.T) *world {
	t.Parallel()
	return newWorld(t).mirrored(false)
}

// mirroredByJournal is mirrored with a journal.
func mirroredByJournal(t *testing.T) *world {
	t.Parallel()
	return newWorld(t).mirrored(true)
}

// mirroredOnFakes is mirrored on clusters in memory.
func mirroredOnFakes(t *testing.T) *world {
	t.Parallel()
	return newFakeWorld(t).mirrored(false)
}

func (w *world) mirrored(journal bool) *world {
	w.Helper()
	w.journal = journal
	w.a.create(image, imageSize, rbd.CreateOptions{})
	w.a.write(image, 1)
	w.a.enable(image)
	w.b.run()
	w.synced(w.a, w.b, image)
	return w
}

// removed ends the mirroring of the image, and checks that no trace is left.
func (w *world) removed() {
	w.Helper()
	w.a.disable(image)
	w.b.awaitGone(image)
	w.clean()
}

// namespaces makes a namespace on both sites, each with its own name.
func (w *world) namespaces(onA, onB string) {
	w.Helper()
	for _, x := range []struct {
		s          *site
		ours, peer string
	}{{w.a, onA, onB}, {w.b, onB, onA}} {
		io := x.s.io(pool + "/")
		if x.ours != "" {
			require.NoError(w, rbd.NamespaceCreate(w.ctx, io, x.ours))
			if mode, err := meta.Mode(w.ctx, io); err != nil || mode == wire.MirrorModeDisabled {
				// The default namespace itself is not mirrored, where there is such a mode.
				require.NoError(w, err)
				mode := uint32(wire.MirrorModeInitOnly)
				if x.s.release() < 20 {
					mode = wire.MirrorModeImage
				}
				require.NoError(w, ops.EnablePool(w.ctx, io, mode))
			}
		}
		io = io.WithNamespace(x.ours)
		if x.ours != x.peer {
			require.NoError(w, meta.SetRemoteNamespace(w.ctx, io, x.peer))
		}
		require.NoError(w, ops.EnablePool(w.ctx, io, wire.MirrorModeImage))
	}
}

func spec(namespace, name string) string {
	if namespace == "" {
		return pool + "/" + name
	}
	return pool + "/" + namespace + "/" + name
}

func testNamespaces(t *testing.T, journal bool, onA, onB string) {
	t.Parallel()
	older := false
	w := newWorld(t, func(w *world) {
		if older = w.a.release() < 20; older {
			// Namespaces have the same name on both sides before 20.2.
			require.NoError(w, ops.EnablePool(w.ctx, w.a.io(pool+"/"), wire.MirrorModeImage))
			require.ErrorIs(w, meta.SetRemoteNamespace(w.ctx, w.a.io(pool+"/"), onB), rados.ErrNotSupported)
			return
		}
		w.namespaces(onA, onB)
	})
	if older {
		return
	}
	w.journal = journal
	there, here := spec(onA, "image"), spec(onB, "image")
	w.a.create(there, imageSize, rbd.CreateOptions{})
	w.a.write(there, 1)
	w.a.enable(there)
	w.b.run()
	w.synced(w.a, w.b, there, here)
	w.a.write(there, 2)
	w.a.mirror(there)
	w.synced(w.a, w.b, there, here)
	w.b.awaitStatus(here, "up+replaying", w.idle())
	w.a.disable(there)
	w.a.remove(there)
	w.b.awaitGone(here)
	w.clean()
}

func TestScenario01DefaultToOtherNamespace(t *testing.T) { testNamespaces(t, false, "", "ns1") }

func TestScenario02OtherToDefaultNamespace(t *testing.T) { testNamespaces(t, false, "ns1", "") }

func TestScenario03AddImage(t *testing.T) { scenario03(mirrored(t)) }

func scenario03(w *world) {
	w.Helper()
	w.a.with(image, func(img *rbd.Image) error { return img.MetadataSet(w.ctx, "key", []byte("value")) })
	w.a.write(image, 2)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	replica := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
	defer replica.Close(w.ctx)
	v, err := replica.MetadataGet(w.ctx, "key")
	require.NoError(w, err)
	require.Equal(w, "value", string(v))
	w.b.awaitStatus(image, "up+replaying", w.idle())
	// No daemon runs on site-a, but site-b tells it of its own state.
	state, _ := w.a.status(w.a.io(image), w.a.gid(image))
	require.Equal(w, "down+unknown", state)
	s, err := meta.Status(w.ctx, w.a.io(image), w.a.gid(image))
	require.NoError(w, err)
	require.Len(w, s.Remotes, 1)
	require.Equal(w, wire.MirrorStatusReplaying, s.Remotes[0].State)
	require.True(w, s.Remotes[0].Up)
	replica.Close(w.ctx)
	w.removed()
}

func TestScenario04And05ImageAddedWhileTheDaemonIsStopped(t *testing.T) { scenario04(mirrored(t)) }

func scenario04(w *world) {
	w.Helper()
	w.b.stop()
	w.a.create(pool+"/late", imageSize, rbd.CreateOptions{})
	w.a.write(pool+"/late", 3)
	w.a.enable(pool + "/late")
	w.a.write(image, 4)
	w.a.mirror(image)
	w.b.run()
	w.synced(w.a, w.b, pool+"/late")
	w.synced(w.a, w.b, image)
	w.a.write(image, 5)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
}

func TestScenario06AdminSocket(t *testing.T) { scenario06(mirrored(t)) }

func scenario06(w *world) {
	w.Helper()
	w.a.create(pool+"/other", imageSize, rbd.CreateOptions{})
	w.a.enable(pool + "/other")
	w.synced(w.a, w.b, pool+"/other")
	targets := []string{"", " rbd site-a", " rbd/image"}
	for _, stopped := range targets {
		for _, started := range targets {
			for _, verb := range []string{"start", "restart"} {
				w.b.admin("rbd mirror stop" + stopped)
				w.b.awaitStatus(image, "up+stopped", "stopped")
				w.b.admin("rbd mirror " + verb + started)
				w.b.awaitStatus(image, "up+replaying", w.idle())
				w.b.admin("rbd mirror start")
			}
		}
	}
	require.Contains(w, w.b.admin("rbd mirror status"), `"rbd/other"`)
	require.JSONEq(w, `{"name":"rbd/image","state":"Replaying"}`, w.b.admin("rbd mirror status rbd/image"))
	w.b.admin("rbd mirror stop rbd/image")
	before := w.b.contentOf(image)
	w.a.write(image, 2)
	w.a.mirror(image)
	w.a.write(pool+"/other", 2)
	w.a.mirror(pool + "/other")
	w.synced(w.a, w.b, pool+"/other")
	require.True(w, before == w.b.contentOf(image), "the stopped image was replayed")
	w.b.admin("rbd mirror flush")
	w.b.admin("rbd mirror start rbd/image")
	w.synced(w.a, w.b, image)
}

func TestScenario07RenameImage(t *testing.T) { scenario07(mirrored(t)) }

func scenario07(w *world) {
	w.Helper()
	for i, names := range [][2]string{{"image", "renamed"}, {"renamed", "image"}} {
		w.a.with(pool+"/"+names[0], func(img *rbd.Image) error { return img.Rename(w.ctx, names[1]) })
		w.a.write(pool+"/"+names[1], uint64(i))
		w.a.mirror(pool + "/" + names[1])
		w.synced(w.a, w.b, pool+"/"+names[1])
	}
	w.removed()
}

func TestScenario08TrashMoveDeletesTheReplica(t *testing.T) { scenario08(mirrored(t)) }

func scenario08(w *world) {
	w.Helper()
	id := w.a.id(image)
	// What `rbd trash mv` does: it ends the mirroring first.
	w.a.disable(image)
	_, err := rbd.TrashMove(w.ctx, w.a.io(image), "image", rbd.MoveOptions{})
	require.NoError(w, err)
	w.b.awaitGone(image)
	require.NoError(w, rbd.TrashRestore(w.ctx, w.a.io(image), id, "image"))
	w.a.enable(image)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario09RemovedImagesLeaveNothing(t *testing.T) { scenario09(mirrored(t)) }

func scenario09(w *world) {
	w.Helper()
	for i := range 5 {
		s := fmt.Sprintf("%s/image%d", pool, i)
		w.a.create(s, 1<<20, rbd.CreateOptions{})
		w.a.enable(s)
		w.synced(w.a, w.b, s)
	}
	for i := range 5 {
		s := fmt.Sprintf("%s/image%d", pool, i)
		w.a.disable(s)
		w.a.remove(s)
		w.b.awaitGone(s)
	}
	w.removed()
}

func TestScenario10DemoteAndPromoteOnTheSameCluster(t *testing.T) { scenario10(mirrored(t)) }

func scenario10(w *world) {
	w.Helper()
	w.a.demote(image)
	w.synced(w.a, w.b, image)
	w.a.promote(image, false)
	w.a.write(image, 7)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario25SnapshotRenamedTwentyTimes(t *testing.T) { scenario25(mirrored(t)) }

func scenario25(w *world) {
	w.Helper()
	w.a.snap(image, "snap0")
	for i := range 20 {
		w.a.with(image, func(img *rbd.Image) error {
			s, _ := img.UserSnapshot(fmt.Sprintf("snap%d", i))
			return img.RenameSnapshot(w.ctx, s.ID, fmt.Sprintf("snap%d", i+1))
		})
		if i%7 == 0 {
			w.a.mirror(image)
		}
	}
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
}

func TestScenario28NamespacesOfTheSameName(t *testing.T) { scenario28(t, false) }

func scenario28(t *testing.T, journal bool) {
	t.Helper()
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.namespaces("ns1", "ns1")
		w.namespaces("ns2", "ns2")
	})
	w.journal = journal
	for _, ns := range []string{"ns1", "ns2"} {
		o := rbd.CreateOptions{}
		if ns == "ns2" {
			o.DataPool = data
		}
		w.a.create(spec(ns, "image"), imageSize, o)
		w.a.write(spec(ns, "image"), 1)
		w.a.enable(spec(ns, "image"))
	}
	w.b.run()
	for _, ns := range []string{"ns1", "ns2"} {
		w.synced(w.a, w.b, spec(ns, "image"))
		w.a.write(spec(ns, "image"), 2)
		w.a.mirror(spec(ns, "image"))
		w.synced(w.a, w.b, spec(ns, "image"))
	}
	replica := w.b.open(spec("ns2", "image"), rbd.OpenOptions{ReadOnly: true})
	name, err := w.b.client.PoolName(w.ctx, replica.Layout().DataPool)
	require.NoError(t, err)
	require.Equal(t, data, name)
	require.NoError(t, replica.Close(w.ctx))
	w.a.disable(spec("ns1", "image"))
	w.b.awaitGone(spec("ns1", "image"))
	w.a.disable(spec("ns2", "image"))
	w.a.remove(spec("ns2", "image"))
	w.b.awaitGone(spec("ns2", "image"))
	w.clean(spec("ns1", "x"), spec("ns2", "x"))
}

func TestScenario29NamespacesOfDifferentNames(t *testing.T) { testNamespaces(t, false, "ns3", "ns4") }
