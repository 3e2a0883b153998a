package scenarios

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	rwire "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd"
)

// moved demotes the image on from and promotes it on to, once that has it.
func (w *world) moved(from, to *site, spec string) {
	w.Helper()
	if to.stop != nil {
		to.awaitStatus(spec, "up+replaying", w.idle())
	}
	from.demote(spec)
	w.synced(from, to, spec)
	for _, s := range []*site{from, to} {
		if s.stop != nil {
			s.awaitStatus(spec, "up+unknown", "remote image")
		}
	}
	to.promote(spec, false)
}

func TestScenario11FailoverAndFailbackUnmodified(t *testing.T) { scenario11(mirrored(t)) }

func scenario11(w *world) {
	w.Helper()
	w.a.run()
	w.moved(w.a, w.b, image)
	w.a.awaitStatus(image, "up+replaying", w.idle())
	w.b.awaitStatus(image, "up+stopped", "local image is primary")
	w.synced(w.b, w.a, image)
	w.moved(w.b, w.a, image)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario12FailoverAndFailbackWithWrites(t *testing.T) { scenario12(mirrored(t)) }

func scenario12(w *world) {
	w.Helper()
	w.a.run()
	w.a.write(image, 2)
	w.moved(w.a, w.b, image)
	w.b.write(image, 3)
	w.b.snap(image, "on-b")
	w.b.mirror(image)
	w.synced(w.b, w.a, image)
	w.b.write(image, 4)
	w.moved(w.b, w.a, image)
	w.a.write(image, 5)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario14TwentyRoundsOfFailoverAndFailback(t *testing.T) {
	w := mirrored(t)
	w.a.run()
	from, to := w.a, w.b
	for i := range 20 {
		from.write(image, uint64(10+i))
		w.moved(from, to, image)
		w.eventually("demoted and non-primary snapshots pruned", func() (bool, string) {
			old, now := from.mirrorSnaps(image), to.mirrorSnaps(image)
			return old <= 1 && now <= 2, fmt.Sprintf("round %d: %d on the new secondary, %d on the new primary", i, old, now)
		})
		from, to = to, from
	}
}

func TestScenario15TwentyRoundsOnTheSameCluster(t *testing.T) {
	w := mirrored(t)
	for i := range 20 {
		w.a.write(image, uint64(i))
		w.a.demote(image)
		w.synced(w.a, w.b, image)
		w.a.promote(image, false)
	}
	w.a.write(image, 100)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	w.eventually("snapshots pruned", func() (bool, string) {
		a, b := w.a.mirrorSnaps(image), w.b.mirrorSnaps(image)
		return a <= 2 && b <= 1, fmt.Sprint(a, b)
	})
}

func TestScenario16ForcedPromotionWhileBothRun(t *testing.T) { scenario16(mirrored(t)) }

func scenario16(w *world) {
	w.Helper()
	w.a.run()
	w.b.promote(image, true)
	w.a.awaitStatus(image, "up+stopped", "local image is primary")
	w.b.awaitStatus(image, "up+stopped", "local image is primary")
	w.a.write(image, 2)
	w.b.write(image, 3)
	for _, s := range []*site{w.a, w.b} {
		s.disable(image)
		s.remove(image)
	}
	w.eventually("both gone", func() (bool, string) {
		for _, s := range []*site{w.a, w.b} {
			if _, err := rbd.LookupID(w.ctx, s.io(image), "image"); !errors.Is(err, rados.ErrNotFound) {
				return false, fmt.Sprint(s.name, err)
			}
		}
		return true, ""
	})
	w.clean()
}

func TestScenario26DemotedWhileTheDaemonIsOffline(t *testing.T) { scenario26(mirrored(t)) }

func scenario26(w *world) {
	w.Helper()
	w.a.run()
	w.b.stop()
	w.a.write(image, 2)
	w.a.demote(image)
	w.b.run()
	w.synced(w.a, w.b, image)
	w.a.awaitStatus(image, "up+unknown", "remote image")
	w.b.awaitStatus(image, "up+unknown", "remote image")
	w.b.promote(image, false)
	w.a.awaitStatus(image, "up+replaying", w.idle())
}

func TestScenario27DisabledWhileTheDaemonIsStopped(t *testing.T) { scenario27(mirrored(t)) }

func scenario27(w *world) {
	w.Helper()
	w.b.stop()
	w.a.disable(image)
	w.b.run()
	w.b.awaitGone(image)
	w.a.enable(image)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario30Resync(t *testing.T) { scenario30(mirrored(t)) }

func scenario30(w *world) {
	w.Helper()
	before := w.b.id(image)
	w.b.resync(image)
	w.b.recreated(before)
	w.synced(w.a, w.b, image)
	w.removed()
}

// recreated waits until the replica has another id.
func (s *site) recreated(before string) {
	s.w.Helper()
	s.w.eventually("the replica is made anew", func() (bool, string) {
		id, err := rbd.LookupID(s.w.ctx, s.io(image), "image")
		return err == nil && id != before, fmt.Sprint(id, err)
	})
}

func TestScenario31ResyncWhileTheReplayerIsStopped(t *testing.T) { scenario31(mirrored(t)) }

func scenario31(w *world) {
	w.Helper()
	before := w.b.id(image)
	w.b.admin("rbd mirror stop rbd/image")
	w.b.awaitStatus(image, "up+stopped", "stopped")
	w.b.resync(image)
	require.Equal(w, before, w.b.id(image))
	w.b.admin("rbd mirror start rbd/image")
	w.b.recreated(before)
	w.synced(w.a, w.b, image)
}

func TestScenario32ResyncWhileTheDaemonIsOffline(t *testing.T) { scenario32(mirrored(t)) }

func scenario32(w *world) {
	w.Helper()
	before := w.b.id(image)
	w.b.stop()
	w.b.resync(image)
	w.a.write(image, 9)
	w.a.mirror(image)
	w.b.run()
	w.b.recreated(before)
	w.synced(w.a, w.b, image)
}

func TestScenario36SplitBrainAndResync(t *testing.T) { scenario36(mirrored(t)) }

func scenario36(w *world) {
	w.Helper()
	w.b.promote(image, true)
	w.b.write(image, 2)
	w.b.demote(image)
	w.b.awaitStatus(image, "up+error", "split-brain")
	before := w.b.id(image)
	w.a.write(image, 3)
	w.a.mirror(image)
	w.b.awaitStatus(image, "up+error", "split-brain")
	w.b.resync(image)
	w.b.recreated(before)
	w.synced(w.a, w.b, image)
	w.b.awaitStatus(image, "up+replaying", w.idle())
	// Row 37: nobody was shut out in the course of this.
	w.removed()
}

// heldBack makes the replica's cluster stop the copy in its middle: some data
// objects are written, and the next ones are not answered until the returned
// function is called.
func (w *world) heldBack() (reached <-chan struct{}, release func()) {
	hit, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	remove := w.b.cluster.Inject(fakecluster.Fault{
		Prefix: "rbd_data.", Op: rwire.OpWrite, Skip: 6,
		Do: func(*fakecluster.Event) {
			once.Do(func() { close(hit) })
			<-gate
		},
	})
	return hit, func() { remove(); close(gate) }
}

func TestScenario38KilledInTheMiddleOfADemotion(t *testing.T) {
	w := mirroredOnFakes(t)
	for seed := range uint64(6) {
		w.a.write(image, 20+seed)
	}
	reached, release := w.heldBack()
	w.a.demote(image)
	<-reached
	w.b.cutOff()
	release()
	w.b.stop()
	w.b.run()
	w.synced(w.a, w.b, image)
	w.b.awaitStatus(image, "up+unknown", "remote image demoted")
	w.b.promote(image, false)
	w.b.write(image, 50)
}

func TestScenario39ForcedPromotionOfAHalfSyncedImage(t *testing.T) {
	w := mirroredOnFakes(t)
	complete := w.a.contentOf(image)
	for seed := range uint64(6) {
		w.a.write(image, 30+seed)
	}
	w.a.snap(image, "newer")
	reached, release := w.heldBack()
	w.a.mirror(image)
	<-reached
	w.b.cutOff()
	release()
	w.b.stop()
	half := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
	require.False(t, snapshots.Newest(half).Namespace.Complete, "the copy was not interrupted")
	require.NoError(t, half.Close(w.ctx))
	w.b.promote(image, true)
	require.True(t, complete == w.b.contentOf(image), "not the content of the last complete snapshot")
	w.b.write(image, 60)
}

// lose stops the copy at its seventh object, at the primary's site. With silence the
// whole site is silent: connections stay open and nothing is answered, until the last
// function is called.
func (w *world) lose() (reached <-chan struct{}, silence func() (restore func())) {
	hit, silent := make(chan struct{}), make(chan struct{})
	var once, end sync.Once
	w.a.cluster.Inject(fakecluster.Fault{
		Type: rwire.TypeOSDOp, Prefix: "rbd_data.", Skip: 12,
		Do: func(*fakecluster.Event) {
			once.Do(func() { close(hit) })
			<-silent
		},
	})
	w.Cleanup(func() { end.Do(func() { close(silent) }) })
	return hit, func() func() {
		restore := w.a.cluster.Inject(fakecluster.Fault{Drop: true})
		end.Do(func() { close(silent) })
		return restore
	}
}

func TestScenario39ForcedPromotionWhenTheOtherSiteIsSilent(t *testing.T) {
	w := mirroredOnFakes(t)
	complete := w.a.contentOf(image)
	for seed := range uint64(6) {
		w.a.write(image, 40+seed)
	}
	gid := w.b.gid(image)
	reached, silence := w.lose()
	w.a.mirror(image) // which looks at the image again when the copy has begun
	<-reached
	defer silence()()
	w.b.promote(image, true)
	require.True(t, complete == w.b.contentOf(image), "not the content of the last complete snapshot")
	w.b.write(image, 60)
	w.eventually("status of the promoted image", func() (bool, string) {
		state, description := w.b.status(w.b.io(image), gid)
		return state == "up+stopped" && description == "local image is primary", state + " " + description
	})
}

func (s *site) contentOf(spec string) string {
	s.w.Helper()
	img := s.open(spec, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(s.w.ctx)
	return s.w.content(img, rbd.NoSnap)
}
