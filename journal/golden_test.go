package journal

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// TestJournalsOfRealClustersArePlayed plays the journals that 16.2 and 20.2 wrote,
// of which package wire keeps the bytes.
func TestJournalsOfRealClustersArePlayed(t *testing.T) {
	for _, release := range []string{"16.2", "20.2"} {
		t.Run(release, func(t *testing.T) {
			io := anycluster.Pool(t)
			p, err := os.ReadFile(filepath.Join("wire", "testdata", release, "objects.json"))
			must(t, err)
			var objects []struct {
				Name, Data string
				Omap       map[string]string
			}
			must(t, json.Unmarshal(p, &objects))
			id, entries := "", 0
			for _, o := range objects {
				pairs := map[string][]byte{}
				for k, v := range o.Omap {
					pairs[k], err = hex.DecodeString(v)
					must(t, err)
				}
				if len(pairs) > 0 {
					id = strings.TrimPrefix(o.Name, "journal.")
					must(t, io.OmapSet(t.Context(), o.Name, pairs))
					continue
				}
				b, err := hex.DecodeString(o.Data)
				must(t, err)
				seg, err := DefaultLayout.parse(b, 0)
				must(t, err)
				entries += len(seg.entries)
				name := regexp.MustCompile(`journal_data\.\d+\.`).ReplaceAllString(o.Name, fmt.Sprintf("journal_data.%d.", io.Pool()))
				must(t, io.WriteFull(t.Context(), name, b))
			}
			j := open(t, io, id, "", quick())
			if j.Layout() != DefaultLayout {
				t.Fatal(j.Layout())
			}
			all, err := drain(player(t, j, PlayerOptions{All: true}))
			must(t, err)
			if len(all) != entries || entries < 20 {
				t.Fatalf("%d entries of %d: %s", len(all), entries, played(all))
			}
			var last denc.Time
			for _, e := range all {
				var ev wire.Event
				r := denc.NewReader(e.Data)
				ev.Decode(r)
				must(t, r.Err())
				if ev.Time.Std().Before(last.Std()) {
					t.Fatalf("%d/%d was written before the one before it", e.TagTID, e.EntryTID)
				}
				last = ev.Time
			}
			left, err := drain(player(t, j, PlayerOptions{}))
			must(t, err)
			if st, _ := j.State(); len(st.Clients[0].Commit) == 0 || len(left) >= len(all) {
				t.Fatalf("%d of %d entries left, %+v", len(left), len(all), st)
			}
			tags, err := j.Tags(t.Context(), "", nil)
			must(t, err)
			if len(tags) == 0 || tags[len(tags)-1].TID < all[len(all)-1].TagTID {
				t.Fatal(tags)
			}
		})
	}
}
