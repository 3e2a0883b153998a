package rbd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// journalLayout returns how the journal of a new image lies.
func journalLayout(ctx context.Context, io *rados.IoCtx, cfg *settings, o CreateOptions) (journal.Layout, error) {
	l := journal.Layout{Order: uint8(cfg.uint("rbd_journal_order")), SplayWidth: uint8(cfg.uint("rbd_journal_splay_width")), Pool: -1}
	l.Order, l.SplayWidth = cmp.Or(o.JournalOrder, l.Order), cmp.Or(o.JournalSplayWidth, l.SplayWidth)
	if name := cmp.Or(o.JournalPool, cfg.get("rbd_journal_pool")); name != "" {
		pool, err := io.Client().LookupPool(ctx, name)
		if err != nil {
			return l, fmt.Errorf("journal pool %s: %w", name, err)
		}
		if pool != io.Pool() {
			l.Pool = pool
		}
	}
	return l, nil
}

// createJournal makes an image's journal (src/librbd/journal/CreateRequest.cc):
// its first tag says who may write the image, and its first client is the image
// itself.
func createJournal(ctx context.Context, io *rados.IoCtx, id string, l journal.Layout, owner string) (err error) {
	if err := journal.Create(ctx, io, id, l); err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	j, err := journal.Open(ctx, io, id, "", journal.DefaultOptions())
	if err != nil {
		return fmt.Errorf("open the new journal: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close(ctx)) }()
	tag, err := j.AllocateTag(ctx, jwire.NewTagClass, jwire.TagData{MirrorUUID: owner}.Append(nil))
	if err != nil {
		return fmt.Errorf("first tag of the journal: %w", err)
	}
	data := jwire.ClientData{Kind: jwire.ClientImage, TagClass: tag.Class}
	if err := j.Register(ctx, data.Append(nil)); err != nil {
		return fmt.Errorf("first client of the journal: %w", err)
	}
	return nil
}

// removeJournal removes an image's journal, that of a removed image even if
// others still read it.
func removeJournal(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	if err := ignoreNotFound(journal.Remove(ctx, io, id, force)); err != nil {
		return fmt.Errorf("remove journal: %w", err)
	}
	return nil
}

// JournalOwner returns the mirror uuid of whom an image's journal lets write:
// wire.LocalOwner, wire.OrphanOwner or a remote site's. It is that of the newest
// tag, which it returns as well. It only reads, as those may who may change
// nothing; rados.ErrNotFound says that there is no journal, or not all of it yet.
func JournalOwner(ctx context.Context, io *rados.IoCtx, id string) (tag jwire.Tag, data jwire.TagData, err error) {
	return newestTag(ctx, journal.NewReader(io, id))
}

// NewestTag returns the newest tag of an image's journal and what it says.
func NewestTag(ctx context.Context, j *journal.Journal) (tag jwire.Tag, data jwire.TagData, err error) {
	return newestTag(ctx, j)
}

// tagSource is a journal that was opened, or that is only read.
type tagSource interface {
	Client(ctx context.Context, id string) (jwire.Client, error)
	Tags(ctx context.Context, client string, class *uint64) ([]jwire.Tag, error)
}

func newestTag(ctx context.Context, j tagSource) (tag jwire.Tag, data jwire.TagData, err error) {
	c, err := j.Client(ctx, "")
	if err != nil {
		return tag, data, fmt.Errorf("the image's own client of its journal: %w", err)
	}
	var own jwire.ClientData
	r := denc.NewReader(c.Data)
	if own.Decode(r); r.Err() != nil {
		return tag, data, fmt.Errorf("the image's own client of its journal: %w", r.Err())
	}
	tags, err := j.Tags(ctx, "", &own.TagClass)
	if err != nil {
		return tag, data, err
	}
	if len(tags) == 0 {
		return tag, data, fmt.Errorf("the journal has no tag: %w", rados.ErrNotFound)
	}
	tag = tags[len(tags)-1]
	r = denc.NewReader(tag.Data)
	if data.Decode(r); r.Err() != nil {
		return tag, data, fmt.Errorf("tag %d of the journal: %w", tag.TID, r.Err())
	}
	return tag, data, nil
}
