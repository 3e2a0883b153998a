package rbd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"

	"github.com/stretchr/testify/require"
)

// replayed is the journal's side of a replay.
type replayed struct {
	mu      sync.Mutex
	done    []bool
	at      int // all before are done
	durable int // the commit position as it was written
	crashed bool
}

func newReplayed(n int) *replayed { return &replayed{done: make([]bool, n)} }

func (j *replayed) doneWith(i int) func(error) {
	return func(err error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.done[i] = j.done[i] || err == nil
	}
}

var errCrashed = errors.New("crashed")

func (j *replayed) commit(context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.crashed {
		return errCrashed
	}
	for j.at < len(j.done) && j.done[j.at] {
		j.at++
	}
	j.durable = j.at
	return nil
}

func (j *replayed) restart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.crashed, j.at = false, j.durable
	clear(j.done[j.durable:])
}

// TestReplayModel applies random streams of events while the client dies again and
// again and begins anew where the commit position was, and compares all with what
// the source was.
func TestReplayModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for n := range uint64(6) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed+n)
			replayModel(t, seed+n, 400)
		})
	}
}

func FuzzReplayModel(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { replayModel(t, seed, 100) })
}

func replayModel(t *testing.T, seed uint64, length int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	source := newEventSource(rnd)
	x := newFakeReplayTarget(t, func(ctx context.Context, io *rados.IoCtx) string { return source.create(t, ctx, io) })
	slow := rand.New(rand.NewPCG(seed, 2))
	var mu sync.Mutex
	x.cluster.Inject(fakecluster.Fault{Out: true, Type: osdOpReply, Delay: 2 * time.Millisecond, Match: func(*fakecluster.Event) bool {
		mu.Lock()
		defer mu.Unlock()
		return slow.IntN(3) == 0
	}})
	source.run(length)
	x.mostHeld = []int{0, 1, 4 << 10, 64 << 10}[rnd.IntN(4)]
	applyWithCrashes(t, x, source, 4)
}

// applyWithCrashes applies what happened at the source, and compares.
func applyWithCrashes(t *testing.T, x *replayTarget, source *eventSource, crashes int) {
	stream := source.stream
	j := newReplayed(len(stream))
	for ; ; crashes = max(crashes-1, 0) {
		x.start(j.commit)
		left := len(stream) - j.durable
		if crashes == 0 {
			left = -1
		}
		if applyUntil(t, x, j, stream, source.rnd, left) {
			break
		}
		x.crash()
		j.restart()
	}
	source.compare(t, x)
	x.close()
}

// applyUntil applies the rest of a stream. Unless left is negative, the client dies
// within so many events, or behind them.
func applyUntil(t *testing.T, x *replayTarget, j *replayed, stream []jwire.Event, rnd *rand.Rand, left int) (all bool) {
	dies := -1
	if left >= 0 {
		dies = j.durable + rnd.IntN(left+1)
	}
	die := func() {
		// Some of what is under way arrives.
		for range rnd.IntN(40) {
			time.Sleep(50 * time.Microsecond)
		}
		j.mu.Lock()
		j.crashed = true
		j.mu.Unlock()
	}
	for i := j.durable; i < len(stream); i++ {
		if i == dies {
			die()
			return false
		}
		err := x.events.Apply(x.running, stream[i], j.doneWith(i))
		if errors.Is(err, rbd.ErrHeldBack) {
			x.lookAhead(stream[j.durable:])
			die()
			return false
		}
		require.NoError(t, err, "event %d: %v", i, stream[i].Type)
		if rnd.IntN(30) == 0 {
			require.NoError(t, j.commit(x.ctx)) // at its age
		}
	}
	if left >= 0 {
		die()
		return false
	}
	require.NoError(t, x.events.Finish(x.running))
	require.NoError(t, j.commit(x.ctx))
	require.Equal(t, len(stream), j.durable, "not all was committed")
	return true
}

// eventSource is an image of which every change is an event.
type eventSource struct {
	rnd    *rand.Rand
	stream []jwire.Event
	head   []byte
	snaps  map[string][]byte
	meta   map[string]string
	ops    uint64
	open   []jwire.Event // ends that were not appended yet
}

func newEventSource(rnd *rand.Rand) *eventSource {
	return &eventSource{rnd: rnd, head: make([]byte, 12<<16+5000), snaps: map[string][]byte{}, meta: map[string]string{}}
}

// run makes a stream of at least length events.
func (s *eventSource) run(length int) {
	for len(s.stream) < length || s.names("failed") {
		s.step()
	}
}

// create makes the image that the events are applied to.
func (s *eventSource) create(t *testing.T, ctx context.Context, io *rados.IoCtx) string {
	o := rbd.CreateOptions{Order: 16}
	switch s.rnd.IntN(3) {
	case 0:
		o.StripeUnit, o.StripeCount = 4096, 3
	case 1:
		return s.clone(t, ctx, io, o)
	}
	id, err := rbd.Create(ctx, io, "i", uint64(len(s.head)), o)
	require.NoError(t, err)
	return id
}

// clone makes the target a clone, so that the source begins with its parent's data.
func (s *eventSource) clone(t *testing.T, ctx context.Context, io *rados.IoCtx, o rbd.CreateOptions) string {
	parent, err := rbd.Create(ctx, io, "parent", uint64(len(s.head)), o)
	require.NoError(t, err)
	img, err := rbd.OpenByID(ctx, io, parent, rbd.OpenOptions{})
	require.NoError(t, err)
	for i := range s.head {
		s.head[i] = byte(i>>9) | 1
	}
	_, err = img.WriteAt(ctx, s.head, 0)
	require.NoError(t, err)
	snap, err := img.CreateSnapshot(ctx, "s", wire.SnapshotNamespace{}, rbd.SnapshotOptions{SkipQuiesce: true})
	require.NoError(t, err)
	require.NoError(t, img.Close(ctx))
	o.CloneFormat = 2
	id, err := rbd.Clone(ctx, io, parent, snap, io, "i", o)
	require.NoError(t, err)
	return id
}

func (s *eventSource) add(ev jwire.Event) { s.stream = append(s.stream, ev) }

// op announces an operation that is done at once; its end is appended now or later.
func (s *eventSource) op(ev jwire.Event, result int32) {
	s.ops++
	ev.OpTID, ev.Namespace = s.ops, userSnap
	s.add(ev)
	s.open = append(s.open, jwire.Event{Type: jwire.EventOpFinish, OpTID: s.ops, Result: result})
}

// end appends the end of an operation: nearly always before the next begins.
func (s *eventSource) end(all bool) {
	for len(s.open) > 0 {
		i := s.rnd.IntN(len(s.open))
		s.add(s.open[i])
		s.open = append(s.open[:i], s.open[i+1:]...)
		if !all {
			return
		}
	}
}

// step appends what happens next.
func (s *eventSource) step() {
	if s.rnd.IntN(3) == 0 {
		s.end(false)
	}
	if s.rnd.IntN(5) > 0 {
		s.change()
		return
	}
	if len(s.open) > 0 && (s.rnd.IntN(4) > 0 || s.dividing()) {
		s.end(true)
	}
	name := string(rune('a' + s.rnd.IntN(3)))
	if s.names(name) {
		s.end(true)
	}
	data, there := s.snaps[name]
	switch kind := s.rnd.IntN(12); {
	case kind == 0:
		n := s.rnd.IntN(14<<16) + 1
		s.op(jwire.Event{Type: jwire.EventResize, Size: uint64(n)}, 0)
		head := make([]byte, n)
		copy(head, s.head)
		s.head = head
		if s.rnd.IntN(2) == 0 {
			s.end(true)
		}
	case kind == 1:
		s.op(jwire.Event{Type: jwire.EventFlatten}, 0)
	case kind == 2:
		k, v := string(rune('k'+s.rnd.IntN(2))), fmt.Sprint(s.ops)
		s.op(jwire.Event{Type: jwire.EventMetadataSet, Name: k, Value: v}, 0)
		s.end(true)
		s.meta[k] = v
	case kind == 3:
		s.op(jwire.Event{Type: jwire.EventSnapCreate, Name: "failed"}, -28)
	case !there:
		s.op(jwire.Event{Type: jwire.EventSnapCreate, Name: name}, 0)
		s.snaps[name] = bytes.Clone(s.head)
	case kind < 8:
		s.op(jwire.Event{Type: jwire.EventSnapRemove, Name: name}, 0)
		delete(s.snaps, name)
	case kind < 10:
		// Writers are stopped after its first event, and go on after the second.
		result := int32(s.rnd.IntN(4)/3) * -5 // a few fail
		s.op(jwire.Event{Type: jwire.EventSnapRollback, Name: name}, result)
		for range s.rnd.IntN(3) {
			s.change()
		}
		if result == 0 {
			s.head = bytes.Clone(data)
		}
		s.end(true)
	default:
		to := string(rune('a' + s.rnd.IntN(3)))
		if _, taken := s.snaps[to]; !taken && !s.names(to) {
			s.op(jwire.Event{Type: jwire.EventSnapRename, OldName: name, Name: to}, 0)
			s.snaps[to] = data
			delete(s.snaps, name)
		}
	}
}

// dividing reports whether an operation is open at whose start writers stood still:
// the next such one finds it ended.
func (s *eventSource) dividing() bool {
	return s.has(func(ev *jwire.Event) bool { return ev.Type != jwire.EventFlatten && ev.Type != jwire.EventSnapRemove })
}

// names reports whether an operation with a snapshot of that name is open.
func (s *eventSource) names(name string) bool {
	return s.has(func(ev *jwire.Event) bool { return ev.Name == name || ev.OldName == name })
}

// has reports whether an operation is open whose beginning is such.
func (s *eventSource) has(f func(*jwire.Event) bool) bool {
	for _, e := range s.open {
		for i := range s.stream {
			if ev := &s.stream[i]; ev.OpTID == e.OpTID && ev.Type != jwire.EventOpFinish && f(ev) {
				return true
			}
		}
	}
	return false
}

// change appends an event that changes data, mostly near where others did. Few
// different bytes make comparisons end in either way.
func (s *eventSource) change() {
	size := len(s.head)
	off := s.rnd.IntN(size)
	if s.rnd.IntN(3) > 0 {
		off = s.rnd.IntN(min(size, 8)) << 12 % size
	}
	n := min(1+s.rnd.IntN(2<<16)>>s.rnd.IntN(12), size-off)
	c := byte('0' + s.rnd.IntN(3))
	ev := jwire.Event{Type: jwire.EventWrite, Offset: uint64(off), Length: uint64(n), Data: bytes.Repeat([]byte{c}, n)}
	at := s.head[off : off+n]
	switch s.rnd.IntN(10) {
	case 0:
		ev.Type, ev.Data = jwire.EventDiscard, nil
		clear(at)
	case 1:
		ev.Type, ev.Data = jwire.EventWriteSame, []byte("xyz0123456789abc")
		ev.Length = uint64(n / 16 * 16)
		copy(at[:ev.Length], bytes.Repeat(ev.Data, n/16))
	case 2:
		ev.Length = uint64(min(n, 1024))
		at = at[:ev.Length]
		ev.Type, ev.Data, ev.Compare = jwire.EventCompareAndWrite, ev.Data[:ev.Length], bytes.Clone(at)
		if s.rnd.IntN(3) == 0 {
			ev.Compare = bytes.Repeat([]byte{byte('0' + s.rnd.IntN(3))}, len(at))
		}
		if bytes.Equal(ev.Compare, at) {
			copy(at, ev.Data)
		}
	case 3:
		ev = jwire.Event{Type: jwire.EventFlush}
	default:
		copy(at, ev.Data)
	}
	s.add(ev)
}

func (s *eventSource) compare(t *testing.T, x *replayTarget) {
	require.NoError(t, x.img.Refresh(x.ctx))
	require.True(t, bytes.Equal(s.head, x.read(rbd.NoSnap)), "the head differs")
	snaps := x.img.Snapshots()
	require.Len(t, snaps, len(s.snaps))
	for _, snap := range snaps {
		want, ok := s.snaps[snap.Name]
		require.True(t, ok, snap.Name)
		require.True(t, bytes.Equal(want, x.read(snap.ID)), "snapshot %s differs", snap.Name)
	}
	meta, err := x.img.Metadata(x.ctx)
	require.NoError(t, err)
	for k, v := range s.meta {
		require.Equal(t, v, string(meta[k]))
	}
}
