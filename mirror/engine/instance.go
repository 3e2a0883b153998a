package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// instance shows, in one namespace, that this daemon replays it: an object that it
// watches and locks, its name in the list of instances, and the map that says which
// images it replays (InstanceWatcher and ImageMap in Ceph's sources). Whoever lists
// them, as `rbd mirror pool status` does, sees one daemon with all images.
type instance struct {
	io  *rados.IoCtx
	log *slog.Logger
	id  string
	// images names the images that are replayed; changed says that they are others.
	images  func() []string
	changed <-chan struct{}
}

func newInstance(io *rados.IoCtx, log *slog.Logger, images func() []string, changed <-chan struct{}) *instance {
	return &instance{io: io, log: log, id: strconv.FormatUint(io.Client().GlobalID(), 10), images: images, changed: changed}
}

// run shows the instance until ctx ends. It takes the traces of dead ones away.
func (i *instance) run(ctx context.Context) error {
	held, err := take(ctx, i.io, i.log, meta.InstancePrefix+i.id, func(n *rados.Notification) { n.Ack(nil) }, func(error) {})
	if err != nil {
		return fmt.Errorf("instance object: %w", err)
	}
	if err := held.lock(ctx); err != nil {
		held.drop()
		return fmt.Errorf("lock the instance object: %w", err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = meta.RemoveInstance(bye, i.io, i.id)
		held.drop()
		_ = i.io.Remove(bye, meta.InstancePrefix+i.id)
	}()
	if err := meta.AddInstance(ctx, i.io, i.id); err != nil {
		return fmt.Errorf("register the instance: %w", err)
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		i.bury(ctx)
		if err := i.mapImages(ctx); err != nil && ctx.Err() == nil {
			i.log.Warn("map of images", "err", err)
		}
		select {
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			return ignoreBlocklisted(i.mapImages(bye))
		case <-tick.C:
		case <-i.changed:
		}
	}
}

// ignoreBlocklisted turns the failure of a client that was shut out into none: it
// has nothing left to tidy up.
func ignoreBlocklisted(err error) error {
	if errors.Is(err, rados.ErrBlocklisted) {
		return nil
	}
	return err
}

// bury removes the instances that nobody watches any more.
func (i *instance) bury(ctx context.Context) {
	ids, err := meta.ListInstances(ctx, i.io)
	if err != nil {
		i.log.Warn("list instances", "err", err)
		return
	}
	for _, id := range ids {
		if id == i.id {
			continue
		}
		watchers, err := i.io.ListWatchers(ctx, meta.InstancePrefix+id)
		if err != nil && !errors.Is(err, rados.ErrNotFound) || len(watchers) > 0 {
			continue
		}
		if err := ignoreMissing(i.io.Remove(ctx, meta.InstancePrefix+id)); err == nil {
			err = meta.RemoveInstance(ctx, i.io, id)
			i.log.Info("removed an instance that is gone", "instance", id, "err", err)
		}
	}
}

// mapImages makes the map of images say what this daemon replays. Its data is
// what Ceph's daemons write: version 1 with no field but a zero.
func (i *instance) mapImages(ctx context.Context) error {
	have, err := meta.ImageMap(ctx, i.io)
	if err != nil {
		return err
	}
	set := make(map[string]wire.MirrorImageMap)
	mine := make(map[string]bool)
	data, at := denc.Begin(nil, 1, 1)
	data = denc.End(denc.AppendU32(data, 0), at)
	for _, gid := range i.images() {
		mine[gid] = true
		if have[gid].InstanceID != i.id {
			set[gid] = wire.MirrorImageMap{InstanceID: i.id, Mapped: denc.TimeOf(time.Now()), Data: data}
		}
	}
	var remove []string
	for gid := range have {
		if !mine[gid] {
			remove = append(remove, gid)
		}
	}
	return meta.UpdateImageMap(ctx, i.io, set, remove)
}
