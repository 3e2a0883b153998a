package rados

import (
	"context"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// pausingFlags make requests wait for a later map.
const pausingFlags = osdmap.FlagPauseRead | osdmap.FlagPauseWrite | osdmap.FlagFull

// sentMap is a MOSDMap, and who to tell when a map in it cannot be read: the OSD
// that sent it, nil when it was a monitor.
type sentMap struct {
	*wire.OSDMapMessage
	broken func(error)
}

// gotMap takes a MOSDMap from a monitor or an OSD. It is called on a reading
// goroutine; the work is done on the map goroutine. It fails when the message
// cannot be read.
func (o *objecter) gotMap(m *msgr2.Message, broken func(error)) error {
	var maps wire.OSDMapMessage
	if err := wire.Decode(&maps, m.Front); err != nil {
		return fmt.Errorf("OSD map: %w", err)
	}
	select {
	case o.maps <- sentMap{&maps, broken}:
	case <-o.ctx.Done():
	}
	return nil
}

// monMap is gotMap for monitors.
func (o *objecter) monMap(m *msgr2.Message) error {
	err := o.gotMap(m, nil)
	if err != nil {
		o.noteUnreadable(err)
	}
	return err
}

// noteUnreadable counts a monitor's message with maps that cannot be read; when they
// are too many, who waits for a map is told.
func (o *objecter) noteUnreadable(err error) {
	if !o.mapGarbage.Add() {
		return
	}
	o.mu.Lock()
	o.mapErr = fmt.Errorf("%w: %w", ErrGarbage, err)
	close(o.changed)
	o.changed = make(chan struct{})
	o.mu.Unlock()
}

// badMap is told that a map in a message cannot be read. Whoever sent it loses the
// connection; a monitor is asked for the map again.
func (o *objecter) badMap(m sentMap, err error) {
	o.log.Error("unreadable OSD map", "after", o.current().epoch(), "error", err)
	if m.broken != nil {
		m.broken(err)
		o.wantMap()
		return
	}
	o.noteUnreadable(err)
	o.mons.Unreadable(err) // the next session asks again
}

// mapLoop is the goroutine that changes the map.
func (o *objecter) mapLoop() {
	for {
		select {
		case m := <-o.maps:
			o.takeMaps(m)
		case <-o.ctx.Done():
			return
		}
	}
}

// takeMaps goes through the epochs of a message one by one: an interval that
// began and ended in between must not be missed.
func (o *objecter) takeMaps(m sentMap) {
	o.mu.RLock()
	fsid := o.fsid
	o.mu.RUnlock()
	if m.FSID != fsid && !fsid.IsZero() {
		o.log.Warn("OSD map of another cluster", "fsid", m.FSID.String())
		return
	}
	_, last := m.Range()
	for {
		cur := o.current()
		if cur.epoch() >= last {
			break
		}
		next, skipped, err := nextMap(cur, m.OSDMapMessage)
		if err != nil {
			o.badMap(m, err)
			return
		}
		if next == nil {
			break // a gap
		}
		o.install(newMapView(next), skipped)
		if o.current() == cur {
			return // closed
		}
	}
	if o.current().epoch() < last || o.waiting() {
		o.wantMap()
	}
}

// nextMap makes the map that follows cur. skipped says that epochs in between
// are not to be had any more. It returns nil when the message does not go on
// from cur.
func nextMap(cur *mapView, m *wire.OSDMapMessage) (next *osdmap.Map, skipped bool, err error) {
	e := cur.epoch() + 1
	if cur.m == nil {
		// The first one: the newest whole map.
		for f := range m.Full {
			e = max(e, f)
		}
	}
	if p, ok := m.Incrementals[e]; ok && cur.m != nil {
		inc, err := osdmap.DecodeIncremental(p)
		if err == nil {
			next, err = cur.m.Apply(inc)
		}
		return next, false, wrapEpoch(err, e)
	}
	if p, ok := m.Full[e]; ok {
		next, err = osdmap.Decode(p)
		return next, false, wrapEpoch(err, e)
	}
	if f := lowestFull(m, e); cur.m != nil && f != 0 {
		next, err = osdmap.Decode(m.Full[f])
		return next, true, wrapEpoch(err, f)
	}
	return nil, false, nil
}

// lowestFull returns the lowest epoch from e on that is there as a whole, 0 for
// none.
func lowestFull(m *wire.OSDMapMessage, e uint32) uint32 {
	lowest := uint32(0)
	for f := range m.Full {
		if f >= e && (lowest == 0 || f < lowest) {
			lowest = f
		}
	}
	return lowest
}

func wrapEpoch(err error, e uint32) error {
	if err != nil {
		return fmt.Errorf("epoch %d: %w", e, err)
	}
	return nil
}

func (o *objecter) current() *mapView {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.view
}

// waiting reports whether requests wait for a change of the map.
func (o *objecter) waiting() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.view.m != nil && o.view.m.Flags&pausingFlags != 0 {
		return true
	}
	o.homeless.mu.Lock()
	n := len(o.homeless.ops)
	o.homeless.mu.Unlock()
	if n > 0 {
		return true
	}
	for _, s := range o.sessions {
		s.mu.Lock()
		paused := false
		for _, r := range s.ops {
			paused = paused || r.tgt.paused
		}
		s.mu.Unlock()
		if paused {
			return true
		}
	}
	return false
}

// install makes v the map and sends again what it affects.
func (o *objecter) install(v *mapView, skipped bool) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	old := o.view
	o.view, o.mapErr = v, nil
	close(o.changed)
	o.changed = make(chan struct{})
	o.rescanLingers(skipped) // first: what rescan sends binds anew
	failed, gone := o.rescan(old, skipped)
	o.mu.Unlock()
	for _, f := range failed {
		o.failLater(f.r, f.err)
	}
	if gone {
		o.checkPools()
	}
	o.mons.GotOSDMap(v.epoch())
	if o.barred != nil && o.barred(v.m) {
		o.noteBlocklisted()
	}
}

// failure is a request that a new map ends.
type failure struct {
	r   *request
	err error
}

// rescan aims all requests by the new map and sends those again that need it,
// in the order of their submission. mu is held for writing.
func (o *objecter) rescan(old *mapView, skipped bool) (failed []failure, gone bool) {
	var moved []*request
	take := func(r *request, v verdict) {
		switch {
		case v == poolEIO:
			failed = append(failed, failure{r, ErrIO})
		case r.once && r.attempts > 0:
			failed = append(failed, failure{r, errDropped})
		default:
			moved = append(moved, r)
		}
	}
	for osd, s := range o.sessions {
		if addrs, up := o.view.m.OSDAddrs(osd); !up || !addrs.Equal(s.addrs) {
			delete(o.sessions, osd)
			rs, _ := s.shut()
			for _, r := range rs {
				take(r, r.tgt.aim(o.view, r.flags, skipped))
			}
		}
	}
	all := append(make([]*session, 0, len(o.sessions)+1), o.homeless)
	for _, s := range o.sessions {
		all = append(all, s)
	}
	for _, s := range all {
		s.mu.Lock()
		for _, r := range s.sorted() {
			v := r.tgt.aim(o.view, r.flags, skipped)
			if v != keep || s == o.homeless || r.isWrite() && o.becameWritable(old, r) {
				s.remove(r)
				take(r, v)
			}
		}
		s.mu.Unlock()
	}
	byTID(moved)
	for _, r := range moved {
		gone = gone || o.view.pool(r.tgt.base.Pool) == nil
		s := o.sessionLocked(r.tgt.osd)
		s.mu.Lock()
		s.add(r)
		s.send(r)
		s.mu.Unlock()
	}
	return failed, gone
}

// becameWritable reports whether the pool of r was full and is no more: OSDs
// drop writes to a full pool without a word.
func (o *objecter) becameWritable(old *mapView, r *request) bool {
	if old.m == nil {
		return false
	}
	was, is := old.pool(r.tgt.locator.Pool), o.view.pool(r.tgt.locator.Pool)
	return was != nil && is != nil && old.full(was) && !o.view.full(is)
}

// tickInterval is how often requests are looked at that wait for long
// (objecter_tick_interval).
const tickInterval = 5 * time.Second

// watchLaggards asks for a newer map while there are requests that wait for
// longer than two ticks: their OSD may be dead or have dropped them.
func (o *objecter) watchLaggards() {
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-o.ctx.Done():
			return
		}
		if o.laggards(o.ticks.Add(1)) {
			o.wantMap()
		}
	}
}

func (o *objecter) laggards(now uint32) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, s := range o.sessions {
		s.mu.Lock()
		for _, r := range s.ops {
			if now-r.since > 2 {
				s.mu.Unlock()
				return true
			}
		}
		s.mu.Unlock()
	}
	return false
}

// waitMap waits until the map has the epoch.
func (o *objecter) waitMap(ctx context.Context, epoch uint32) error {
	for {
		o.mu.RLock()
		have, changed, closed, mapErr := o.view.epoch(), o.changed, o.closed, o.mapErr
		o.mu.RUnlock()
		if closed {
			return ErrClosed
		}
		if have >= epoch && have > 0 {
			return nil
		}
		if mapErr != nil {
			return mapErr
		}
		o.wantMap()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-o.ctx.Done():
			return ErrClosed
		}
	}
}
