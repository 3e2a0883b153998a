package rbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// headMap is the object map of the head, kept in memory and in the cluster while
// the exclusive lock is ours. Every change goes to the cluster before the data
// that it announces. A change that fails marks the map invalid in the header
// and does not stop the I/O, as in librbd.
type headMap struct {
	io  *rados.IoCtx
	oid string
	log *slog.Logger
	// invalidate marks the map invalid in the header.
	invalidate func(ctx context.Context, why error) error

	mu      sync.Mutex
	bits    objectmap.Bits
	objs    map[uint64]*objectUse
	changed chan struct{} // closed when a waiter should look again; nil if none
}

// objectUse counts who works with one object.
type objectUse struct {
	writers  int
	removing bool
	updating bool
}

// mayExist reports whether the object can exist.
func (m *headMap) mayExist(obj uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return obj >= m.bits.Len() || m.bits.Get(obj) != objectmap.Nonexistent
}

// snapshot returns a copy of the map.
func (m *headMap) snapshot() objectmap.Bits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bits.Clone()
}

func (m *headMap) use(obj uint64) *objectUse {
	u := m.objs[obj]
	if u == nil {
		u = &objectUse{}
		m.objs[obj] = u
	}
	return u
}

// release drops the entry of an object that nobody uses and wakes the waiters.
func (m *headMap) release(obj uint64, u *objectUse) {
	if u.writers == 0 && !u.removing && !u.updating {
		delete(m.objs, obj)
	}
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// wait gives the mutex up until something changed.
func (m *headMap) wait(ctx context.Context) error {
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	ch := m.changed
	m.mu.Unlock()
	defer m.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// beginWrite makes the map say Exists for an object about to be written, and
// keeps removals of it out until leave is called. existed is what the map said
// before.
func (m *headMap) beginWrite(ctx context.Context, obj uint64) (leave func(), existed bool, err error) {
	return m.begin(ctx, obj, objectmap.Exists)
}

// beginCopyup is beginWrite for an object that gets the parent's data below a
// snapshot, so that the head does not change: the map says ExistsClean if it
// said Nonexistent.
func (m *headMap) beginCopyup(ctx context.Context, obj uint64) (leave func(), err error) {
	leave, _, err = m.begin(ctx, obj, objectmap.ExistsClean)
	return leave, err
}

func (m *headMap) begin(ctx context.Context, obj uint64, state uint8) (leave func(), existed bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		u := m.objs[obj]
		if u == nil || !u.removing && !u.updating {
			break
		}
		if err := m.wait(ctx); err != nil {
			return nil, false, err
		}
	}
	u := m.use(obj)
	u.writers++
	leave = func() {
		m.mu.Lock()
		u.writers--
		m.release(obj, u)
		m.mu.Unlock()
	}
	if obj >= m.bits.Len() {
		return leave, true, nil
	}
	was := m.bits.Get(obj)
	if was == objectmap.Exists || was == state {
		return leave, true, nil
	}
	u.updating = true
	m.mu.Unlock()
	err = m.send(ctx, obj, obj+1, state, anyState)
	m.mu.Lock()
	u.updating = false
	if err == nil && obj < m.bits.Len() {
		m.bits.Set(obj, state)
	}
	if err != nil {
		u.writers--
		m.release(obj, u)
		return nil, false, err
	}
	m.release(obj, u)
	return leave, was != objectmap.Nonexistent, nil
}

// beginRemove makes the map say Pending for those of the objects [first, end)
// that may exist and keeps writers away from the whole range. leave is nil when
// none of them exists.
func (m *headMap) beginRemove(ctx context.Context, first, end uint64) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		busy := false
		for obj, u := range m.objs {
			if obj >= first && obj < end && (u.writers > 0 || u.removing || u.updating) {
				busy = true
				break
			}
		}
		if !busy {
			break
		}
		if err := m.wait(ctx); err != nil {
			return nil, err
		}
	}
	var runs [][2]uint64
	for i := first; i < end; i++ {
		switch {
		case i < m.bits.Len() && m.bits.Get(i) == objectmap.Nonexistent:
		case len(runs) > 0 && runs[len(runs)-1][1] == i:
			runs[len(runs)-1][1]++
		default:
			runs = append(runs, [2]uint64{i, i + 1})
		}
	}
	if len(runs) == 0 {
		return nil, nil
	}
	var held []uint64
	for _, r := range runs {
		for i := r[0]; i < r[1]; i++ {
			m.use(i).removing = true
			held = append(held, i)
		}
	}
	leave = func() {
		m.mu.Lock()
		for _, i := range held {
			u := m.objs[i]
			u.removing = false
			m.release(i, u)
		}
		m.mu.Unlock()
	}
	m.mu.Unlock()
	for _, r := range runs {
		if err = m.set(ctx, r[0], r[1], objectmap.Pending, anyState); err != nil {
			break
		}
	}
	if err != nil {
		leave()
	}
	m.mu.Lock()
	if err != nil {
		return nil, err
	}
	return leave, nil
}

// anyState as the expected state changes objects in whatever state.
const anyState = uint8(0xff)

// set changes the states of objects [first, end), those in state expect only
// unless that is anyState, in the cluster and then in memory.
func (m *headMap) set(ctx context.Context, first, end uint64, state, expect uint8) error {
	m.mu.Lock()
	end = min(end, m.bits.Len())
	m.mu.Unlock()
	if first >= end {
		return nil
	}
	if err := m.send(ctx, first, end, state, expect); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := first; i < min(end, m.bits.Len()); i++ {
		if expect == anyState || m.bits.Get(i) == expect {
			m.bits.Set(i, state)
		}
	}
	return nil
}

// markExisting makes the map say Exists for all objects for which want is true,
// with as few calls as their runs allow. Writers need not be kept away: the
// state only grows.
func (m *headMap) markExisting(ctx context.Context, want func(obj uint64) bool) error {
	m.mu.Lock()
	n := m.bits.Len()
	var runs [][2]uint64
	for i := range n {
		if m.bits.Get(i) == objectmap.Exists || !want(i) {
			continue
		}
		if k := len(runs); k > 0 && runs[k-1][1] == i {
			runs[k-1][1]++
			continue
		}
		runs = append(runs, [2]uint64{i, i + 1})
	}
	m.mu.Unlock()
	for _, r := range runs {
		if err := m.set(ctx, r[0], r[1], objectmap.Exists, anyState); err != nil {
			return err
		}
	}
	return nil
}

// send tells the cluster. What fails there, other than by the caller's context
// or the loss of the lock, makes the map invalid and counts as done.
func (m *headMap) send(ctx context.Context, first, end uint64, state, expect uint8) error {
	const step = 256 << 10 // objects in one call
	for at := first; at < end; at += step {
		op := rados.NewOp()
		callAssertLocked(op, "", "")
		callObjectMapUpdate(op, at, min(at+step, end), state, expect)
		if err := m.io.Operate(ctx, m.oid, op); err != nil {
			return m.failed(ctx, fmt.Errorf("update object map of %d objects from %d: %w", end-first, first, err))
		}
	}
	return nil
}

// failed decides what a failed change means.
func (m *headMap) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, rados.ErrBlocklisted) || errors.Is(err, rados.ErrBusy) {
		return err
	}
	m.log.Warn("object map cannot be kept, marking it invalid", "object", m.oid, "error", err)
	return m.invalidate(ctx, err)
}

// resize follows a change of the image's size; new objects do not exist.
func (m *headMap) resize(ctx context.Context, n uint64) error {
	op := rados.NewOp()
	callAssertLocked(op, "", "")
	callObjectMapResize(op, n, objectmap.Nonexistent)
	if err := m.io.Operate(ctx, m.oid, op); err != nil {
		if err = m.failed(ctx, fmt.Errorf("resize object map: %w", err)); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.bits.Resize(n, objectmap.Nonexistent)
	m.mu.Unlock()
	return nil
}

// snapAdded turns all Exists into ExistsClean: the head has not changed since
// the snapshot that was just made.
func (m *headMap) snapAdded(ctx context.Context) error {
	op := rados.NewOp()
	callAssertLocked(op, "", "")
	callObjectMapSnapAdd(op)
	if err := m.io.Operate(ctx, m.oid, op); err != nil {
		return m.failed(ctx, fmt.Errorf("start a new object map after a snapshot: %w", err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.bits.Len() {
		if m.bits.Get(i) == objectmap.Exists {
			m.bits.Set(i, objectmap.ExistsClean)
		}
	}
	return nil
}

// merge follows the removal of the newest snapshot, after the cluster has done
// the same: what had changed at it counts as changed at the head now. It must
// never mark more than the cluster did, or a later write would not be announced.
func (m *headMap) merge(snap objectmap.Bits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range min(snap.Len(), m.bits.Len()) {
		if m.bits.Get(i) == objectmap.ExistsClean && snap.Get(i) == objectmap.Exists {
			m.bits.Set(i, objectmap.Exists)
		}
	}
}

// get returns the state of one object.
func (m *headMap) get(obj uint64) uint8 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bits.Get(obj)
}
