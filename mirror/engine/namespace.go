package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// relist is how often the lists of mirrored images are read though nobody said
// that they changed.
const relist = 30 * time.Second

// semaphore bounds how many images are synced at once.
type semaphore chan struct{}

func (s semaphore) acquire(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s semaphore) release() { <-s }

// Namespace replays the images of one namespace of a pool (NamespaceReplayer in
// Ceph's sources).
type Namespace struct {
	local, remote *rados.IoCtx
	sites         sites
	log           *slog.Logger
	status        statusUpdater
	syncs         semaphore
	depth         int
	memory        *checkpoint.Store
	kick          chan struct{}
	trashKick     chan struct{}
	// mapKick says that the set of images that are replayed has changed.
	mapKick chan struct{}

	// spec is what is before an image's name: the pool and the namespace.
	spec string

	mu        sync.Mutex
	held      bool // by an operator: no image is replayed
	replayers map[string]*imageReplayer
	running   sync.WaitGroup
	locals    int
	remotes   int
}

func newNamespace(local, remote *rados.IoCtx, s sites, syncs semaphore, memory *checkpoint.Store, log *slog.Logger) *Namespace {
	depth := int(local.Client().Config().Int("rbd_concurrent_management_ops"))
	return &Namespace{
		local: local, remote: remote, sites: s, log: log.With("namespace", local.Namespace()),
		status: newStatusUpdater(local, remote, s.localUUID, log), syncs: syncs, depth: max(depth, 1), memory: memory,
		kick: make(chan struct{}, 1), trashKick: make(chan struct{}, 1), mapKick: make(chan struct{}, 1), replayers: make(map[string]*imageReplayer),
	}
}

// ensureMirroring makes the object that is watched, on clusters where nothing
// was written to it yet.
func watchMirroring(ctx context.Context, io *rados.IoCtx, f func(*rados.Notification), lost func(error)) (*rados.Watch, error) {
	w, err := io.Watch(ctx, meta.Mirroring, f, rados.OnError(lost))
	if !errors.Is(err, rados.ErrNotFound) {
		return w, err
	}
	op := rados.NewOp()
	op.Create(false)
	if err := io.Operate(ctx, meta.Mirroring, op); err != nil {
		return nil, err
	}
	return io.Watch(ctx, meta.Mirroring, f, rados.OnError(lost))
}

// run replays until ctx ends or a watch is lost, which is an error: whoever runs
// the namespace starts it again.
func (n *Namespace) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := func(err error) { cancel(fmt.Errorf("watch of rbd_mirroring was lost: %w", err)) }
	for _, io := range []*rados.IoCtx{n.local, n.remote} {
		w, err := watchMirroring(ctx, io, n.notified, lost)
		if err != nil {
			return fmt.Errorf("watch rbd_mirroring: %w", err)
		}
		defer func() {
			bye, done := context.WithTimeout(context.Background(), farewell)
			defer done()
			_ = w.Close(bye)
		}()
	}
	// The statuses are the last to end: removing them needs the watches.
	var status sync.WaitGroup
	sctx, stopStatus := context.WithCancel(context.WithoutCancel(ctx))
	status.Go(func() { n.status.run(sctx) })
	defer func() {
		n.running.Wait()
		stopStatus()
		status.Wait()
	}()
	n.running.Go(func() { n.emptyTrashLoop(ctx) })
	for ctx.Err() == nil {
		if err := n.list(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("list mirrored images", "err", err)
		}
		t := time.NewTimer(relist)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-n.kick:
		}
		t.Stop()
	}
	return context.Cause(ctx)
}

// notified is told of changes on either site.
func (n *Namespace) notified(note *rados.Notification) {
	note.Ack(nil)
	var m wire.MirroringMessage
	r := denc.NewReader(note.Payload)
	m.Decode(r)
	if r.Err() == nil && m.Op == wire.MirroringImageUpdated {
		n.mu.Lock()
		if rep := n.replayers[m.GlobalID]; rep != nil {
			rep.poke()
		}
		n.mu.Unlock()
	}
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// list starts a replayer for every image that either site mirrors and that has
// none.
func (n *Namespace) list(ctx context.Context) error {
	local, err := meta.Images(ctx, n.local)
	if err != nil {
		return fmt.Errorf("local images: %w", err)
	}
	remote, err := meta.Images(ctx, n.remote)
	if err != nil {
		return fmt.Errorf("remote images: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.locals, n.remotes = len(local), len(remote)
	for gid, r := range n.replayers {
		select {
		case <-r.done:
			delete(n.replayers, gid)
		default:
		}
	}
	for _, images := range []map[string]string{local, remote} {
		for _, gid := range images {
			if n.replayers[gid] != nil {
				continue
			}
			r := newImageReplayer(n, gid)
			r.hold(n.held)
			n.replayers[gid] = r
			n.running.Go(func() {
				r.run(ctx)
				n.mapChanged()
			})
			n.mapChanged()
		}
	}
	return nil
}

// hold stops the replay of all images until it is called again to start them.
func (n *Namespace) hold(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = on
	for _, r := range n.replayers {
		r.hold(on)
	}
}

// all returns the replayers, by the names of their images.
func (n *Namespace) all() []*imageReplayer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.replayers), func(a, b *imageReplayer) int { return strings.Compare(a.describe(), b.describe()) })
}

// counts returns how many images each site mirrors.
func (n *Namespace) counts() (local, remote int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.locals, n.remotes
}

// gids returns the images that are being replayed.
func (n *Namespace) gids() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]string, 0, len(n.replayers))
	for gid, r := range n.replayers {
		select {
		case <-r.done:
		default:
			out = append(out, gid)
		}
	}
	return out
}

func (n *Namespace) mapChanged() {
	select {
	case n.mapKick <- struct{}{}:
	default:
	}
}

func (n *Namespace) emptyTrash() {
	select {
	case n.trashKick <- struct{}{}:
	default:
	}
}

func (n *Namespace) emptyTrashLoop(ctx context.Context) {
	for ctx.Err() == nil {
		pause := time.Hour
		pending, err := purgeTrash(ctx, n.local)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("remove images from the trash", "err", err)
		}
		if pending {
			pause = 5 * time.Second
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-n.trashKick:
		}
		t.Stop()
	}
}
