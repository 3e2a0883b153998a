package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// withJournal opens the journal of an image as the image itself.
func withJournal(ctx context.Context, io *rados.IoCtx, id string, f func(j *journal.Journal, newest jwire.Tag, owner jwire.TagData) error) error {
	j, err := journal.Open(ctx, io, id, "", journal.Options{})
	if err != nil {
		return err
	}
	newest, owner, err := rbd.NewestTag(ctx, j)
	if err == nil {
		err = f(j, newest, owner)
	}
	return errors.Join(err, j.FlushCommitPosition(ctx), j.Close(ctx))
}

// headOf returns up to where an image's owner recorded and is done.
func (s *site) headOf(spec string) (head *jwire.ObjectPosition) {
	s.w.Helper()
	st, err := journal.ReadState(s.w.ctx, s.io(spec), s.id(spec))
	require.NoError(s.w, err)
	if c := st.Client(""); c != nil && len(c.Commit) > 0 {
		return &c.Commit[0]
	}
	return nil
}

// reached reports whether a replica that is done up to here is done up to head. It
// may be further: a daemon that copies an image records in its journal, too.
func reached(head *jwire.ObjectPosition, here jwire.ObjectPosition) bool {
	return head == nil || here.TagTID > head.TagTID || here.TagTID == head.TagTID && here.EntryTID >= head.EntryTID
}

// played waits until to has replayed all that from recorded.
func (w *world) played(from, to *site, spec, there string) {
	w.Helper()
	head := from.headOf(spec)
	uuid, err := meta.UUID(w.ctx, to.io(there).WithNamespace(""))
	require.NoError(w, err)
	w.eventually(fmt.Sprintf("%s replayed on %s", spec, to.name), func() (bool, string) {
		st, err := journal.ReadState(w.ctx, from.io(spec), from.id(spec))
		require.NoError(w, err)
		c := st.Client(uuid)
		if c == nil {
			return false, "not registered"
		}
		var data jwire.ClientData
		r := denc.NewReader(c.Data)
		if data.Decode(r); r.Err() != nil || data.State != jwire.PeerReplaying {
			return false, "first copy"
		}
		id, err := rbd.LookupID(w.ctx, to.io(there), base(there))
		if err != nil || id != data.ImageID {
			return false, fmt.Sprint("image of the client is not there: ", err)
		}
		if len(c.Commit) > 0 && reached(head, c.Commit[0]) {
			return true, ""
		}
		state, description := to.status(to.io(there), from.gid(spec))
		var at struct {
			Position struct {
				Entry uint64 `json:"entry_tid"`
				Tag   uint64 `json:"tag_tid"`
			} `json:"non_primary_position"`
		}
		_, text, _ := strings.Cut(description, "{")
		_ = json.Unmarshal([]byte("{"+text), &at) // in another state it has none
		here := jwire.ObjectPosition{TagTID: at.Position.Tag, EntryTID: at.Position.Entry}
		return state == "up+replaying" && reached(head, here), fmt.Sprintf("%s %s, want %v", state, description, head)
	})
}
