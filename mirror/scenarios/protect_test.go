package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/snapshots"
	rwire "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd"
)

// fill writes every object of an image.
func (s *site) fill(spec string, seed byte) {
	s.w.Helper()
	s.with(spec, func(img *rbd.Image) error {
		p := make([]byte, img.Size())
		for i := range p {
			p[i] = byte(i>>8)*7 + byte(i) + seed
		}
		_, err := img.WriteAt(s.w.ctx, p, 0)
		return err
	})
}

// reads counts, from now on, the reads of a site's data objects.
func (s *site) reads() *atomic.Int64 {
	n := new(atomic.Int64)
	s.cluster.Inject(fakecluster.Fault{Prefix: "rbd_data.", Match: func(e *fakecluster.Event) bool {
		for _, op := range e.Ops {
			if op == rwire.OpSparseRead || op == rwire.OpRead {
				n.Add(1)
				break
			}
		}
		return false
	}})
	return n
}

// interrupted starts the first sync of a full image and cuts the daemon off when
// some of its objects are copied.
func interrupted(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := newFakeWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{})
	w.a.fill(image, 1)
	w.a.enable(image)
	reached, release := w.heldBack()
	w.b.run()
	<-reached
	w.eventually("five objects are remembered", func() (bool, string) {
		n := w.remembered()
		return n >= 5, fmt.Sprint(n)
	})
	w.b.cutOff()
	release()
	w.b.stop()
	return w
}

// remembered returns how many objects of the copy under way the checkpoint has.
func (w *world) remembered() (n int) {
	w.Helper()
	img := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(w.ctx)
	s := snapshots.Newest(img)
	done := w.b.memory.Resume(checkpoint.Key{
		FSID: w.b.client.FSID().String(), Pool: img.IoCtx().Pool(), ImageID: img.ID(), LocalSnap: s.ID, RemoteSnap: s.Namespace.PrimarySnapID,
	})
	for i := range img.Objects() {
		if done.Done(i) {
			n++
		}
	}
	return n
}

func TestKilledDaemonGoesOnByObject(t *testing.T) {
	w := interrupted(t)
	before := w.b.id(image)
	n := w.a.reads()
	w.b.run()
	w.synced(w.a, w.b, image)
	w.b.stop()
	require.Equal(t, before, w.b.id(image), "the replica was made anew")
	// 21 objects, 6 of which were written, the last of them perhaps not answered.
	copied := n.Load() - w.comparing(image)
	require.LessOrEqual(t, copied, int64(16))
	require.Positive(t, copied)
}

// comparing returns how many reads synced needs to compare an image once.
func (w *world) comparing(spec string) int64 {
	w.Helper()
	n := w.a.reads()
	w.equal(w.a, spec, w.b, spec)
	return n.Load()
}

func TestLostCheckpointCostsTimeOnly(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"lost": os.Remove,
		"cut":  func(path string) error { return os.Truncate(path, 9000) },
		"overwritten": func(path string) error {
			return os.WriteFile(path, []byte("not a checkpoint file at all, but long enough to be looked at"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := interrupted(t)
			require.NoError(t, spoil(w.b.path))
			w.b.run()
			w.synced(w.a, w.b, image)
			w.a.write(image, 8)
			w.a.mirror(image)
			w.synced(w.a, w.b, image)
		})
	}
}

func TestStaleCheckpointCostsTimeOnly(t *testing.T) {
	w := interrupted(t)
	old, err := os.ReadFile(w.b.path)
	require.NoError(t, err)
	w.b.run()
	w.synced(w.a, w.b, image)
	w.a.fill(image, 2)
	reached, release := w.heldBack()
	w.a.mirror(image)
	<-reached
	w.b.cutOff()
	release()
	w.b.stop()
	// The file of the first copy speaks of the same objects of the same image.
	require.NoError(t, os.WriteFile(w.b.path, old, 0o600))
	w.b.run()
	w.synced(w.a, w.b, image)
}

// The source of an interrupted copy is gone when the daemon comes back: what was
// copied of it must not stay.
func TestInterruptedCopyIsTakenBackWhenItsSourceIsGone(t *testing.T) {
	w := mirroredOnFakes(t)
	w.a.fill(image, 1)
	reached, release := w.heldBack()
	w.a.mirror(image)
	<-reached
	w.b.cutOff()
	release()
	w.b.stop()
	w.a.write(image, 70)
	w.a.mirror(image)
	img := w.a.open(image, rbd.OpenOptions{})
	all := snapshots.Mirror(img)
	require.NoError(t, img.RemoveSnapshot(w.ctx, all[len(all)-2].ID))
	require.NoError(t, img.Close(w.ctx))
	w.b.run()
	w.synced(w.a, w.b, image)
}

// hasSnap reports whether a snapshot is still there.
func (s *site) hasSnap(spec string, id uint64) bool {
	img, err := rbd.Open(s.w.ctx, s.io(spec), base(spec), rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return true
	}
	defer img.Close(s.w.ctx)
	_, there := img.Snapshot(id)
	return there
}

// Today's C++ daemon can lose this race: a mirror snapshot is removed while its
// data is being read, and what is read in its place is taken for its data.
func TestSnapshotThatVanishesWhileItIsReadIsNeverComplete(t *testing.T) {
	w := mirroredOnFakes(t)
	w.a.fill(image, 3)
	w.b.stop()
	w.a.mirror(image)
	img := w.a.open(image, rbd.OpenOptions{})
	victim := snapshots.Newest(img).ID
	require.NoError(t, img.AcquireLock(w.ctx))
	anew := bytes.Repeat([]byte{4}, imageSize)
	var once sync.Once
	vanished := make(chan struct{})
	w.a.cluster.Inject(fakecluster.Fault{
		Prefix: "rbd_data.", Op: rwire.OpSparseRead, Skip: 5,
		Do: func(*fakecluster.Event) {
			once.Do(func() {
				// Everything is written anew, and the snapshot goes. Its watchers
				// are told in vain: the daemon's connection stands still here.
				_, err := img.WriteAt(w.ctx, anew, 0)
				ctx, cancel := context.WithCancel(w.ctx)
				removed := make(chan struct{})
				go func() {
					defer close(removed)
					_ = img.RemoveSnapshot(ctx, victim)
				}()
				for err == nil && w.a.hasSnap(image, victim) {
					time.Sleep(5 * time.Millisecond)
				}
				cancel()
				<-removed
				if err == nil {
					close(vanished)
				}
			})
			<-vanished
		},
	})
	w.b.run()
	<-vanished
	require.NoError(t, img.Close(w.ctx))
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	replica := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
	defer replica.Close(w.ctx)
	for _, s := range snapshots.Mirror(replica) {
		require.False(t, s.Namespace.PrimarySnapID == victim && s.Namespace.Complete, "a snapshot that vanished is complete")
	}
}
