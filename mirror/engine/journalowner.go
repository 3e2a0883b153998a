package engine

import (
	"context"
	"errors"
	"time"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"

	"golang.org/x/sync/errgroup"
)

// waitForOwner is wait that ends, too, when the image's journal at one of the sites
// gets another owner, or a resync is asked for there. Both are told to who watches
// the journal, and to nobody else.
//
// The change may be older than the watch: ends says for a site's journal whether it
// is what is waited for already.
func (r *imageReplayer) waitForOwner(ctx context.Context, d time.Duration, ends map[*rados.IoCtx]func(owning) bool) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var watchers errgroup.Group
	for io, end := range ends {
		watchers.Go(func() error {
			if r.ownerChanges(ctx, io, end) {
				cancel()
			}
			return nil
		})
	}
	select {
	case <-ctx.Done():
	case <-r.kick:
	}
	cancel()
	_ = watchers.Wait()
}

// ownerChanges returns true when what waitForOwner waits for has happened at one
// site, false when ctx ends or there is nothing to watch.
func (r *imageReplayer) ownerChanges(ctx context.Context, io *rados.IoCtx, end func(owning) bool) bool {
	id, e, err := entry(ctx, io, r.gid)
	if err != nil || id == "" || e.Mode != wire.MirrorImageJournal {
		return false
	}
	j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true, Logger: r.log})
	if err != nil {
		return false
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		_ = j.Close(bye)
	}()
	first, news, err := ownerOf(ctx, j)
	for err == nil && !end(first) {
		select {
		case <-ctx.Done():
			return false
		case <-news:
		}
		var now owning
		if now, news, err = ownerOf(ctx, j); err == nil && now != first {
			return true
		}
	}
	return err == nil || errors.Is(err, rados.ErrNotFound)
}

// parkPrimary shows that the local image is primary until it may be no more.
func (r *imageReplayer) parkPrimary(ctx context.Context) error {
	r.say(wire.MirrorStatusStopped, "local image is primary")
	r.waitForOwner(ctx, recheck, map[*rados.IoCtx]func(owning) bool{
		r.ns.local: func(o owning) bool { return o.owner.MirrorUUID != jwire.LocalOwner },
	})
	return nil
}

// waitForPrimary is wait after a failure of an image with a journal.
func (r *imageReplayer) waitForPrimary(ctx context.Context, d time.Duration, failure error) {
	r.waitForOwner(ctx, d, map[*rados.IoCtx]func(owning) bool{
		r.ns.local: func(o owning) bool { return o.resync || o.owner.MirrorUUID == jwire.LocalOwner },
		r.ns.remote: func(o owning) bool {
			return errors.Is(failure, errNotPrimary) && o.owner.MirrorUUID == jwire.LocalOwner
		},
	})
}

// owning is what of a journal's metadata decides what its image's replayer does.
type owning struct {
	tag    uint64
	owner  jwire.TagData
	resync bool
}

// ownerOf reads what a journal says of its image's owner, and returns what tells
// that this may have changed.
func ownerOf(ctx context.Context, j *journal.Journal) (o owning, news <-chan struct{}, err error) {
	st, news := j.State()
	tag, owner, err := rbd.NewestTag(ctx, j)
	if err != nil {
		return o, nil, err
	}
	o = owning{tag: tag.TID, owner: owner}
	if c := st.Client(""); c != nil {
		var data jwire.ClientData
		rd := denc.NewReader(c.Data)
		if data.Decode(rd); rd.Err() == nil {
			o.resync = data.ResyncRequested
		}
	}
	return o, news, nil
}
