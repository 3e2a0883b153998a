package scenarios

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	rwire "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd"
)

// TestModelJournal writes at random with processes that die, kills daemons, moves
// the image from site to site and makes replicas anew, and knows all the time what
// the image may hold: on the primary everything that was acknowledged; on the
// replica, whenever it follows the journal from one tag to the next, when it is
// taken into use and at the end, what the primary held at some moment.
//
// RBDM_SEED runs one seed again.
func TestModelJournal(t *testing.T) {
	seeds := []uint64{uint64(time.Now().UnixNano()), rand.Uint64(), rand.Uint64()}
	if s := os.Getenv("RBDM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seeds = []uint64{n}
	}
	for i, seed := range seeds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			t.Logf("RBDM_SEED=%d", seed)
			m := newModel(newFakeWorld(t, defaultAges), seed)
			for range 25 {
				m.step()
			}
			m.caughtUp()
			m.end()
		})
	}
}

const (
	modelSize    = 8 << order
	modelWriters = 3
)

// stroke is one change of a part of the image.
type stroke struct {
	off         uint64
	data        []byte
	start, done uint64 // moments; done is 0 if it was not acknowledged
}

func (s *stroke) paint(image []byte) { copy(image[s.off:], s.data) }

// phase is a time in which writers change the image side by side, each its own part
// of it, or in which one operation turns base into after.
type phase struct {
	base    []byte
	after   []byte
	writers [modelWriters][]stroke
}

// part returns what a writer writes to.
func part(size uint64, writer int) (from, to uint64) {
	return size * uint64(writer) / modelWriters, size * uint64(writer+1) / modelWriters
}

// cut finds out how many strokes of each writer an image holds. ok is false when
// there is no such moment: something is there without what was acknowledged before
// it began.
func (p *phase) cut(image []byte, acknowledged bool) (ok bool) {
	if p.after != nil {
		return bytes.Equal(image, p.after) || !acknowledged && bytes.Equal(image, p.base)
	}
	if len(image) != len(p.base) {
		return false
	}
	var first, last uint64 = 0, ^uint64(0)
	for i, strokes := range p.writers {
		from, to := part(uint64(len(image)), i)
		want := slices.Clone(p.base)
		held := -1
		if bytes.Equal(want[from:to], image[from:to]) {
			held = 0
		}
		for k := range strokes {
			strokes[k].paint(want)
			if bytes.Equal(want[from:to], image[from:to]) {
				held = k + 1
			}
		}
		if held < 0 {
			return false
		}
		if held > 0 {
			first = max(first, strokes[held-1].start)
		}
		if held < len(strokes) && strokes[held].done != 0 {
			last = min(last, strokes[held].done)
		}
	}
	// What is missing was not acknowledged before what is there began.
	return first < last && (!acknowledged || last == ^uint64(0))
}

// model is what is known of the image.
type model struct {
	*world
	rnd  *rand.Rand
	seed uint64

	primary, secondary *site
	content            []byte            // what the primary holds
	snaps              map[string]string // name to digest
	phases             []*phase          // of the primary since the sites were the same
	names              int
	clock              atomic.Uint64
	p                  *process // that writes

	mu         sync.Mutex
	replica    *site // whose tags are looked at; nil after it was made anew
	boundaries [][]byte
	problem    error
}

func newModel(w *world, seed uint64) *model {
	w.journal = true
	m := &model{world: w, rnd: rand.New(rand.NewPCG(seed, 0)), seed: seed, primary: w.a, secondary: w.b, snaps: map[string]string{}}
	m.content = make([]byte, modelSize)
	w.a.create(image, modelSize, rbd.CreateOptions{JournalOrder: 17, FeaturesSet: rbd.FeatureJournaling})
	w.a.enable(image)
	for _, s := range []*site{w.a, w.b} {
		s.cluster.Inject(fakecluster.Fault{Prefix: "journal.", Op: rwire.OpCall, Do: func(e *fakecluster.Event) { m.passes(s, e) }})
		s.run()
	}
	m.caughtUp()
	return m
}

// passes looks at what the replica holds before its daemon makes a tag: nothing is
// under way then.
func (m *model) passes(s *site, e *fakecluster.Event) {
	tags := slices.ContainsFunc(e.Op.Ops, func(op rwire.Op) bool {
		return op.Code == rwire.OpCall && strings.HasPrefix(string(op.Data.Bytes()), "journaltag_create")
	})
	if !tags || uint64(e.Client.Num) == s.client.GlobalID() { // who promotes makes a tag, too
		return
	}
	m.mu.Lock()
	looks := m.replica == s
	m.mu.Unlock()
	if !looks {
		return
	}
	b, err := s.bytes()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replica == s {
		m.problem = errors.Join(m.problem, err)
		m.boundaries = append(m.boundaries, b)
	}
}

// bytes returns the head's content.
func (s *site) bytes() ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.w.ctx, 20*time.Second)
	defer cancel()
	img, err := rbd.Open(ctx, s.io(image), base(image), rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer img.Close(ctx)
	p := make([]byte, img.Size())
	_, err = img.ReadAt(ctx, p, 0)
	return p, err
}

// step does something.
func (m *model) step() {
	m.Helper()
	switch n := m.rnd.IntN(20); {
	case n < 8:
		m.burst(false)
	case n < 10:
		m.burst(true)
	case n < 14:
		m.operate()
	case n < 16:
		m.restart()
	case n < 17:
		m.caughtUp()
	case n < 18:
		m.failover()
	case n < 19:
		m.forced()
	default:
		m.remade(m.secondary)
	}
}

// writer returns a process that has the image.
func (m *model) writer() *process {
	m.Helper()
	if m.p == nil {
		m.p = m.primary.process(image)
	}
	return m.p
}

// leave ends the writing process in an orderly way.
func (m *model) leave() {
	m.Helper()
	if m.p != nil {
		require.NoError(m, m.p.img.Close(m.ctx))
		require.NoError(m, m.p.client.Close())
		m.p = nil
	}
}

// burst has writers side by side, who may die.
func (m *model) burst(die bool) {
	m.Helper()
	p := m.writer()
	ph := &phase{base: slices.Clone(m.content)}
	m.Logf("burst of %d bytes, dies: %v, on %s", len(m.content), die, m.primary.name)
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	var writers sync.WaitGroup
	var acks atomic.Int64
	enough := make(chan struct{})
	most := int64(5 + m.rnd.IntN(40))
	errs := make([]error, modelWriters)
	for i := range modelWriters {
		rnd := rand.New(rand.NewPCG(m.seed, m.rnd.Uint64()))
		writers.Go(func() {
			from, to := part(uint64(len(m.content)), i)
			for n := 0; acks.Load() < most || die; n++ {
				s := m.stroke(rnd, from, to)
				ph.writers[i] = append(ph.writers[i], s)
				last := &ph.writers[i][len(ph.writers[i])-1]
				last.start = m.clock.Add(1)
				if err := draw(ctx, p.img, &s); err != nil {
					errs[i] = err
					return
				}
				last.done = m.clock.Add(1)
				if acks.Add(1) == most {
					close(enough)
				}
			}
		})
	}
	if die {
		<-enough
		p.die()
		cancel()
	}
	writers.Wait()
	if !die {
		require.NoError(m, errors.Join(errs...))
	}
	m.settle(ph, die)
}

// settle adopts what the primary holds after a phase, if that may be.
func (m *model) settle(ph *phase, died bool) {
	m.Helper()
	if died {
		m.p.bury()
		m.p = nil
		// The next owner applies what is in the journal.
		require.NoError(m, m.writer().img.AcquireLock(m.ctx))
		m.checkSnaps(m.primary)
	}
	p := make([]byte, m.writer().img.Size())
	_, err := m.writer().img.ReadAt(m.ctx, p, 0)
	require.NoError(m, err)
	require.True(m, ph.cut(p, !died || ph.after == nil), "the primary does not hold what was acknowledged")
	m.content = p
	// What was lost with the writer was not there at any moment.
	if died && ph.after == nil {
		ph.trim(p)
	}
	m.phases = append(m.phases, ph, &phase{base: slices.Clone(p), after: slices.Clone(p)})
}

// trim forgets the strokes that a dead writer began and nobody made.
func (ph *phase) trim(image []byte) {
	for i := range ph.writers {
		for n := len(ph.writers[i]); n > 0 && ph.writers[i][n-1].done == 0; n-- {
			from, to := part(uint64(len(image)), i)
			want := slices.Clone(ph.base)
			for k := range n {
				ph.writers[i][k].paint(want)
			}
			if bytes.Equal(want[from:to], image[from:to]) {
				break
			}
			ph.writers[i] = ph.writers[i][:n-1]
		}
	}
}

// stroke makes one up.
func (m *model) stroke(rnd *rand.Rand, from, to uint64) stroke {
	s := stroke{off: from + rnd.Uint64N(to-from)}
	s.data = make([]byte, min(1+rnd.Uint64N(12000), to-s.off))
	if rnd.IntN(5) > 0 {
		for i := range s.data {
			s.data[i] = byte(rnd.Uint32())
		}
	}
	return s
}

// draw makes a change. Zeroes are discarded.
func draw(ctx context.Context, img *rbd.Image, s *stroke) error {
	if len(bytes.Trim(s.data, "\x00")) == 0 {
		return img.WriteZeroes(ctx, s.off, uint64(len(s.data)))
	}
	_, err := img.WriteAt(ctx, s.data, s.off)
	return err
}

func digest(p []byte) string { return fmt.Sprintf("%d:%x", len(p), sha256.Sum256(p)) }

// operate does one of the operations that concern the whole image.
func (m *model) operate() {
	m.Helper()
	img := m.writer().img
	ph := &phase{base: slices.Clone(m.content), after: slices.Clone(m.content)}
	users := slices.DeleteFunc(img.Snapshots(), func(s rbd.Snapshot) bool { return s.Namespace.Type != rbd.SnapUser || syncPoint(s) })
	kind := m.rnd.IntN(5)
	if len(users) == 0 && kind > 2 {
		kind = 0
	}
	var f func(ctx context.Context) error
	switch kind {
	case 0, 1:
		m.names++
		name := fmt.Sprint("snap", m.names)
		m.snaps[name] = digest(m.content)
		m.Logf("snapshot %s on %s", name, m.primary.name)
		f = func(ctx context.Context) error {
			_, err := img.CreateSnapshot(ctx, name, rbd.SnapshotNamespace{}, rbd.SnapshotOptions{})
			return err
		}
	case 2:
		size := modelSize/2 + m.rnd.Uint64N(modelSize)
		m.Logf("resize from %d to %d on %s", len(m.content), size, m.primary.name)
		ph.after = make([]byte, size)
		copy(ph.after, m.content)
		f = func(ctx context.Context) error { return img.Resize(ctx, size, true, nil) }
	case 3:
		s := users[m.rnd.IntN(len(users))]
		m.Logf("rollback to %s on %s", s.Name, m.primary.name)
		ph.after = make([]byte, s.Size)
		d, err := img.ReadSnap(m.ctx, s.ID, 0, s.Size)
		require.NoError(m, err)
		copy(ph.after, d.Bytes())
		f = func(ctx context.Context) error { return img.Rollback(ctx, s.ID, nil) }
	case 4:
		s := users[m.rnd.IntN(len(users))]
		m.Logf("removal of %s on %s", s.Name, m.primary.name)
		f = func(ctx context.Context) error { return img.RemoveSnapshot(ctx, s.ID) }
	}
	die := m.rnd.IntN(4) == 0
	if !die {
		require.NoError(m, f(m.ctx))
		m.settle(ph, false)
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	ended := make(chan error, 1)
	m.dieAfter(m.rnd.IntN(12), cancel)
	go func() { ended <- f(ctx) }()
	err := <-ended
	m.Logf("the writer dies: %v", err)
	m.p.die()
	m.settle(ph, true)
}

// dieAfter lets the writing process die when it has sent so many requests more.
func (m *model) dieAfter(n int, then func()) {
	addr := m.p.client.Addr()
	p := m.p
	var remove func()
	var once sync.Once
	remove = m.primary.cluster.Inject(fakecluster.Fault{
		Type: rwire.TypeOSDOp, Skip: n,
		Match: func(e *fakecluster.Event) bool { return e.Addr == addr },
		Do:    func(*fakecluster.Event) { once.Do(func() { p.die(); then() }) },
	})
	m.Cleanup(remove)
}

// checkSnaps compares a site's snapshots with what they held when they were made.
func (m *model) checkSnaps(s *site) {
	m.Helper()
	img := s.open(image, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(m.ctx)
	for _, snap := range img.Snapshots() {
		if snap.Namespace.Type != rbd.SnapUser || syncPoint(snap) {
			continue
		}
		require.Equal(m, m.snaps[snap.Name], digest([]byte(m.world.content(img, snap.ID))), "snapshot %s on %s", snap.Name, s.name)
	}
}

// restart kills a daemon, or stops it, and starts it again.
func (m *model) restart() {
	m.Helper()
	s := m.secondary
	if m.rnd.IntN(3) == 0 {
		s = m.primary
	}
	if kill := m.rnd.IntN(3) > 0; kill {
		m.Logf("daemon on %s is killed", s.name)
		s.kill()
	} else {
		m.Logf("daemon on %s is stopped", s.name)
		s.stop()
	}
	s.run()
}

// caughtUp waits until the replica has everything, and checks all that was seen of
// it on the way.
func (m *model) caughtUp() {
	m.Helper()
	m.leave()
	m.Logf("%s catches up", m.secondary.name)
	m.synced(m.primary, m.secondary, image)
	m.checkSnaps(m.secondary)
	b, err := m.secondary.bytes()
	require.NoError(m, err)
	require.True(m, bytes.Equal(b, m.content), "the replica does not hold what the primary holds")
	m.seen()
	m.phases = []*phase{{base: b, after: b}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replica = m.secondary
}

// seen checks what the replica held between tags.
func (m *model) seen() {
	m.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.NoError(m, m.problem)
	at := 0
	for i, b := range m.boundaries {
		from := at
		for at < len(m.phases) && !m.phases[at].cut(b, false) {
			at++
		}
		require.Less(m, at, len(m.phases), "before tag %d of %d the replica held what the primary never did, or not after moment %d", i, len(m.boundaries), from)
	}
	if n := len(m.boundaries); n > 0 {
		m.Logf("%d changes of tags were seen", n)
	}
	m.boundaries = nil
}

// swap makes the replica the primary.
func (m *model) swap() { m.primary, m.secondary = m.secondary, m.primary }

// ignore no longer looks at the replica: it is being made anew, or changes roles.
func (m *model) ignore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replica = nil
}

// failover moves the image to the other site in an orderly way.
func (m *model) failover() {
	m.Helper()
	m.Logf("failover to %s", m.secondary.name)
	m.caughtUp()
	m.ignore()
	m.moved(m.primary, m.secondary, image)
	m.swap()
	m.caughtUp()
}

// forced takes the replica into use while its daemon replays, and makes the old
// primary its replica.
func (m *model) forced() {
	m.Helper()
	m.leave()
	m.secondary.awaitStatus(image, "up+replaying", "")
	m.Logf("forced failover to %s", m.secondary.name)
	old := m.primary
	m.secondary.promote(image, true)
	m.secondary.awaitStatus(image, "up+stopped", "local image is primary")
	m.seen()
	m.ignore()
	m.swap()
	require.NoError(m, m.writer().img.AcquireLock(m.ctx))
	b, err := m.primary.bytes()
	require.NoError(m, err)
	require.True(m, slices.ContainsFunc(m.phases, func(p *phase) bool { return p.cut(b, false) }), "the promoted replica holds what the primary never did")
	m.checkSnaps(m.primary)
	m.content = b
	old.demote(image)
	old.awaitStatus(image, "up+error", "split-brain")
	m.remade(old)
}

// remade has a replica made anew.
func (m *model) remade(s *site) {
	m.Helper()
	m.seen()
	m.ignore()
	m.Logf("resync of %s", s.name)
	before := s.id(image)
	s.resync(image)
	s.recreated(before)
	m.caughtUp()
}

// end removes the image and checks that nothing is left of it.
func (m *model) end() {
	m.Helper()
	m.ignore()
	m.primary.disable(image)
	m.secondary.awaitGone(image)
	for _, s := range []*site{m.a, m.b} {
		m.eventually("no trace of the image on "+s.name, func() (bool, string) {
			left := s.left([]string{"image_", "global_", "status_global_", "remote_status_"})
			return len(left) == 0, fmt.Sprint(left)
		})
	}
}
