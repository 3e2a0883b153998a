//go:build interop

package fakecluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
)

// TestInteropVersions does the same in a fresh pool of a real cluster (RBDM_CONF,
// of RBDM_RELEASE) and of a fake one, and compares the user version that comes
// with every answer.
func TestInteropVersions(t *testing.T) {
	real := realCluster(t)
	release := number("RBDM_RELEASE", 20)
	c := fakecluster.New(t, fakecluster.Release(release))
	fake := connect(t, c, "client.admin")
	pool := fmt.Sprintf("fk-versions-%d", time.Now().UnixNano())
	var got [2][]string
	for i, cl := range []*rados.Client{real, fake} {
		admin(t, cl, map[string]any{"prefix": "osd pool create", "pool": pool, "pg_num": 1})
		got[i] = versions(t, open(t, cl, pool))
	}
	t.Cleanup(func() {
		_, _, _ = real.MonCommand(context.Background(), map[string]any{"prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true}, nil)
	})
	for i, r := range got[0] {
		t.Log(r)
		if f := got[1][i]; f != r {
			t.Errorf("%s; the fake: %s", r, f)
		}
	}
}
