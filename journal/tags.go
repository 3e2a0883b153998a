package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// tagPage is how many tags are asked for at once.
const tagPage = 64

// Tags lists the tags that a registered client still needs, ascending. class
// selects those of one class, nil all.
func (j *Journal) Tags(ctx context.Context, client string, class *uint64) ([]wire.Tag, error) {
	return j.TagsAfter(ctx, 0, client, class)
}

// TagsAfter is Tags of those whose TID is above after; 0 lists tag 0 too.
func (j *Journal) TagsAfter(ctx context.Context, after uint64, client string, class *uint64) ([]wire.Tag, error) {
	var tags []wire.Tag
	for {
		in := wire.TagList{After: after, Max: tagPage, Client: client, Class: class}.Append(nil)
		p, err := j.io.Exec(ctx, j.header, wire.Class, wire.MethodTagList, in)
		if err != nil {
			return nil, fmt.Errorf("tags of journal %s: %w", j.id, err)
		}
		r := denc.NewReader(p)
		page := denc.Slice(r, 26, func(r *denc.Reader) (t wire.Tag) {
			t.Decode(r)
			return t
		})
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("tags of journal %s: %w", j.id, err)
		}
		tags = append(tags, page...)
		if len(page) < tagPage {
			return tags, nil
		}
		after = page[len(page)-1].TID
	}
}

// Tag reads one tag; rados.ErrNotFound when there is none.
func (j *Journal) Tag(ctx context.Context, tid uint64) (wire.Tag, error) {
	var t wire.Tag
	p, err := j.io.Exec(ctx, j.header, wire.Class, wire.MethodGetTag, denc.AppendU64(nil, tid))
	if err == nil {
		r := denc.NewReader(p)
		t.Decode(r)
		err = r.Err()
	}
	if err != nil {
		return t, fmt.Errorf("tag %d of journal %s: %w", tid, j.id, err)
	}
	return t, nil
}

// NextTagTID returns the TID that the next tag will have.
func (j *Journal) NextTagTID(ctx context.Context) (uint64, error) {
	p, err := j.io.Exec(ctx, j.header, wire.Class, wire.MethodGetNextTagTID, nil)
	if err != nil {
		return 0, fmt.Errorf("next tag of journal %s: %w", j.id, err)
	}
	r := denc.NewReader(p)
	return r.U64(), r.Err()
}

// AllocateTag makes a new tag, the newest of the journal. The class is that of
// the owner's tags, or wire.NewTagClass for one of its own; data is RBD's
// wire.TagData. It tries again when somebody else made a tag meanwhile.
func (j *Journal) AllocateTag(ctx context.Context, class uint64, data []byte) (wire.Tag, error) {
	for {
		tid, err := j.NextTagTID(ctx)
		if err != nil {
			return wire.Tag{}, err
		}
		tag, err := j.AllocateTagAt(ctx, tid, class, data)
		if errors.Is(err, rados.ErrStale) || errors.Is(err, rados.ErrExists) {
			continue
		}
		return tag, err
	}
}

// AllocateTagAt is AllocateTag for who has looked at the newest tag: it fails with
// rados.ErrStale or ErrExists unless tid is that of the next tag still.
func (j *Journal) AllocateTagAt(ctx context.Context, tid, class uint64, data []byte) (wire.Tag, error) {
	in := denc.AppendBytes(denc.AppendU64(denc.AppendU64(nil, tid), class), data)
	if err := j.io.ExecWrite(ctx, j.header, wire.Class, wire.MethodTagCreate, in); err != nil {
		return wire.Tag{}, fmt.Errorf("new tag of journal %s: %w", j.id, err)
	}
	j.notify(ctx)
	return j.Tag(ctx, tid)
}

// tagSuperseded reports whether there is a tag newer than the given one, which
// means that nothing will be added to the given one.
func (j *Journal) tagSuperseded(ctx context.Context, tid uint64) (bool, error) {
	next, err := j.NextTagTID(ctx)
	return err == nil && next > tid+1, err
}
