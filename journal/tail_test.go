package journal

import (
	"testing"
	"time"

	"github.com/rbdm/rbdm/anycluster"
)

// Who closes a journal right after a commit has told of it: the notification that was
// on its way when the journal was closed is not lost.
func TestCommitBeforeCloseIsTold(t *testing.T) {
	pool := anycluster.Pool(t)
	owner := create(t, pool, "j", Layout{Order: 16, SplayWidth: 4, Pool: -1})
	watching := open(t, pool, "j", "", quick())
	r := recorder(t, owner)
	futures := record(t, r, 0, 40, 10)
	must(t, r.Close(t.Context()))
	must(t, owner.FlushCommitPosition(t.Context()))
	for i := range futures {
		o := quick()
		o.CommitAge = time.Hour
		j := open(t, pool, "j", "", o)
		p := player(t, j, PlayerOptions{})
		entry, err := p.Next(t.Context())
		must(t, err)
		must(t, p.Close())
		entry.Committed()
		must(t, j.Close(t.Context()))
		deadline := time.After(30 * time.Second)
		for {
			st, news := watching.State()
			if c := st.Client(""); c != nil && len(c.Commit) > 0 && c.Commit[0].EntryTID == entry.EntryTID {
				break
			}
			select {
			case <-news:
			case <-deadline:
				t.Fatalf("commit %d was not told", i)
			}
		}
	}
}
