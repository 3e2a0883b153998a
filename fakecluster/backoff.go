package fakecluster

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// Backoff says for which objects OSDs tell clients to wait, as they do for
// objects that are not recovered yet and for groups that are peering.
type Backoff struct {
	Pool string
	// Object with its Namespace and Key is the one object that it is about; when
	// it is empty, whole placement groups are.
	Object, Namespace, Key string
	// Groups are the seeds of these; nil is all of the pool.
	Groups []uint32
}

// backoffs are those in force.
type backoffs struct {
	some  atomic.Bool // there are rules; changed with mu held only
	mu    sync.Mutex
	rules []*backoffRule
	last  uint64
}

type backoffRule struct {
	Backoff
	pool int64
	sent []sentBackoff
	// waits says that the rule is of a group that has too few OSDs, and ends when
	// it has enough.
	waits bool
}

// sentBackoff is a block that a client was sent.
type sentBackoff struct {
	session *osdSession
	m       wire.OSDBackoff
}

// radosBackoff is the feature of clients that know backoffs, all since Luminous.
const radosBackoff uint64 = 1<<21 | 1<<57

// Backoff makes OSDs answer requests for some objects with MOSDBackoff: they drop
// them, and their clients have to hold back that and all further ones until
// release is called, and to send them then. Clients older than Luminous, which
// know no backoffs, are served.
func (c *Cluster) Backoff(b Backoff) (release func(), err error) {
	c.mu.Lock()
	id, ok := c.osdmap.PoolByName(b.Pool)
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("fakecluster: backoff: pool %q: %w", b.Pool, errNoPool)
	}
	r := &backoffRule{Backoff: b, pool: id}
	k := &c.backoffs
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rules = append(k.rules, r)
	k.some.Store(true)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if i := slices.Index(k.rules, r); i >= 0 {
			k.rules = slices.Delete(k.rules, i, i+1)
			k.some.Store(len(k.rules) > 0)
			r.release(c.Epoch())
		}
	}, nil
}

// release lets all clients go on that were told to wait.
func (r *backoffRule) release(epoch uint32) {
	for _, b := range r.sent {
		b.m.Op, b.m.Epoch = wire.BackoffUnblock, epoch
		b.session.sendBackoff(&b.m)
	}
	r.sent = nil
}

func (s *osdSession) sendBackoff(m *wire.OSDBackoff) {
	s.osd.c.faults.send(s.osd.name, s.conn, s.user, frontMessage(m, 0))
}

// waits answers a request to a group that has fewer OSDs than its pool demands: as
// with a real OSD, its client waits until there are enough.
func (s *osdSession) waits(v *view, p *poolView, seed uint32, o *wire.OSDOp) {
	k := &s.osd.c.backoffs
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := s.osd.c.view.Load(); now.serves(p.id, seed) {
		return // by now; the client gets the map, and asks again
	}
	known := func(r *backoffRule) bool { return r.waits && r.pool == p.id && r.Groups[0] == seed }
	if !slices.ContainsFunc(k.rules, known) {
		k.rules = append(k.rules, &backoffRule{Backoff: Backoff{Groups: []uint32{seed}}, pool: p.id, waits: true})
		k.some.Store(true)
	}
	s.backOff(v, p, seed, o)
}

// serves reports whether a group has enough OSDs, or is no more.
func (v *view) serves(pool int64, seed uint32) bool {
	p := v.pools[pool]
	return p == nil || int(seed) >= len(p.primary) || p.primary[seed] >= 0
}

// published lets clients go on whose groups have enough OSDs in a new map.
func (k *backoffs) published(v *view) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rules = slices.DeleteFunc(k.rules, func(r *backoffRule) bool {
		over := r.waits && v.serves(r.pool, r.Groups[0])
		if over {
			r.release(v.epoch)
		}
		return over
	})
	k.some.Store(len(k.rules) > 0)
}

// backsOff reports whether a request was answered by a backoff.
func (s *osdSession) backsOff(v *view, p *poolView, seed uint32, o *wire.OSDOp) bool {
	k := &s.osd.c.backoffs
	if !k.some.Load() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return s.backOff(v, p, seed, o)
}

// backOff is backsOff with the mutex held.
func (s *osdSession) backOff(v *view, p *poolView, seed uint32, o *wire.OSDOp) bool {
	k := &s.osd.c.backoffs
	if len(k.rules) == 0 || s.conn.Features()&radosBackoff != radosBackoff {
		return false
	}
	for _, r := range k.rules {
		if !r.covers(p, seed, o) {
			continue
		}
		m := wire.OSDBackoff{PG: o.PG, Epoch: v.epoch, Op: wire.BackoffBlock}
		if r.Object != "" {
			m.Begin = osdmap.HeadOf(o.Object, osdmap.ObjectLocator{Pool: p.id, Namespace: r.Namespace, Key: r.Key, Hash: int64(o.Hash)})
			m.End = m.Begin
		} else {
			m.Begin, m.End = groupRange(p.id, seed, p.pool.PGNum)
		}
		same := func(b sentBackoff) bool { return b.session == s && b.m.PG == m.PG && b.m.Begin == m.Begin }
		if slices.ContainsFunc(r.sent, same) {
			return true // the client did not know yet when it sent this one
		}
		k.last++
		m.ID = k.last
		r.sent = append(r.sent, sentBackoff{s, m})
		s.sendBackoff(&m)
		return true
	}
	return false
}

func (r *backoffRule) covers(p *poolView, seed uint32, o *wire.OSDOp) bool {
	if r.pool != p.id {
		return false
	}
	if r.Object != "" {
		key := o.Locator.Key
		if key == o.Object {
			key = ""
		}
		return r.Object == o.Object && r.Namespace == o.Locator.Namespace && r.Key == key
	}
	return r.Groups == nil || slices.Contains(r.Groups, seed)
}

// forget drops what a session was sent: its end is the end of its backoffs.
func (k *backoffs) forget(s *osdSession) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.rules {
		r.sent = slices.DeleteFunc(r.sent, func(b sentBackoff) bool { return b.session == s })
	}
}

// groupRange returns the objects of a placement group as a range in the order of
// bit-reversed hashes: from the group's own hash on, as far as hashes fold to it.
func groupRange(pool int64, seed, pgs uint32) (begin, end wire.HObject) {
	begin = wire.HObject{Hash: seed, Pool: pool}
	n := bits.Len32(pgs) - 1 // bits by which all groups differ
	if half := uint32(1) << n; seed%half < pgs%half {
		n++ // this one was split once more
	}
	next := uint64(bits.Reverse32(seed)|math.MaxUint32>>n) + 1
	if n == 0 || next > math.MaxUint32 {
		return begin, osdmap.MaxHObject()
	}
	return begin, wire.HObject{Hash: bits.Reverse32(uint32(next)), Snap: wire.SnapHead, Pool: pool}
}
