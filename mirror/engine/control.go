package engine

import (
	"context"

	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// stateNames are what Ceph's admin socket calls the states.
var stateNames = map[uint8]string{
	wire.MirrorStatusUnknown:        "Replaying",
	wire.MirrorStatusError:          "Stopped",
	wire.MirrorStatusSyncing:        "Replaying",
	wire.MirrorStatusStartingReplay: "Starting",
	wire.MirrorStatusReplaying:      "Replaying",
	wire.MirrorStatusStopped:        "Stopped",
}

// begin returns the context of a new session; held says that there must be none.
func (r *imageReplayer) begin(ctx context.Context) (session context.Context, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held {
		return nil, true
	}
	session, r.interrupt = context.WithCancel(ctx)
	return session, false
}

// end ends the session's context. It reports whether somebody else had.
func (r *imageReplayer) end(session context.Context) (interrupted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	interrupted = session.Err() != nil
	r.interrupt()
	r.interrupt = nil
	return interrupted
}

// hold stops the replay, or lets it go on.
func (r *imageReplayer) hold(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = on
	if on && r.interrupt != nil {
		r.interrupt()
	}
	r.poke()
}

// restart begins the replay anew, also of an image that was stopped.
func (r *imageReplayer) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = false
	if r.interrupt != nil {
		r.interrupt()
	}
	r.poke()
}

// describe returns the image's name with its pool and namespace, or its global id
// while the name is not known.
func (r *imageReplayer) describe() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.name == "" {
		return r.ns.spec + r.gid
	}
	return r.ns.spec + r.name
}

func (r *imageReplayer) shownState() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// findName learns what to call the image: by its local name if it has one.
func (r *imageReplayer) findName(ctx context.Context, localID, remoteID string) {
	io, id := r.ns.local, localID
	if id == "" {
		io, id = r.ns.remote, remoteID
	}
	name, err := rbd.LookupName(ctx, io, id)
	if err != nil {
		return // it is only for display
	}
	r.mu.Lock()
	r.name = name
	r.mu.Unlock()
}
