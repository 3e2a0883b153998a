package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// resyncJournal is Resync of an image that is mirrored by its journal: the wish is
// a flag in the data of the journal's own client (src/librbd/Journal.cc,
// request_resync).
func resyncJournal(ctx context.Context, io *rados.IoCtx, id string) (err error) {
	j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close(context.WithoutCancel(ctx))) }()
	_, owner, err := rbd.NewestTag(ctx, j)
	if err != nil {
		return err
	}
	if owner.MirrorUUID == jwire.LocalOwner {
		return fmt.Errorf("image is primary, cannot resync to itself: %w", rados.ErrInvalid)
	}
	c, err := j.Client(ctx, "")
	if err != nil {
		return err
	}
	var data jwire.ClientData
	r := denc.NewReader(c.Data)
	if data.Decode(r); r.Err() != nil {
		return fmt.Errorf("the image's own client of its journal: %w", r.Err())
	}
	data.ResyncRequested = true
	return j.Update(ctx, data.Append(nil))
}
