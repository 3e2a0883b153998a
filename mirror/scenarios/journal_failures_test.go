package scenarios

import (
	"fmt"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
	rwire "github.com/rbdm/rbdm/rados/wire"

	"github.com/stretchr/testify/require"
)

// TestScenario54MessageFailuresJournal: clusters that want clients of octopus break
// their connections once in a hundred requests, before or after what was asked is done. Keys of peers are
// in the config-key store, as in all scenarios.
func TestScenario54MessageFailuresJournal(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t).mirrored(true)
	for _, s := range []*site{w.a, w.b} {
		client, err := rados.Connect(w.ctx, s.cfg)
		require.NoError(t, err)
		_, _, err = client.MonCommand(w.ctx, map[string]any{"prefix": "osd set-require-min-compat-client", "version": "octopus"}, nil)
		require.NoError(t, err)
		require.NoError(t, client.Close())
		for _, after := range []bool{false, true} {
			defer s.cluster.Inject(fakecluster.Fault{Type: rwire.TypeOSDOp, Disconnect: true, After: after, Chance: 0.005})()
		}
	}
	for round := range uint64(4) {
		w.a.write(image, 10+round)
		w.a.snap(image, fmt.Sprint("s", round))
		w.a.write(image, 20+round)
		w.synced(w.a, w.b, image)
	}
}
