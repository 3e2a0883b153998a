package fakecluster_test

import (
	"strings"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
)

func TestErasurePoolsWantThreeOSDs(t *testing.T) {
	for _, release := range []int{16, 18, 20} {
		_, err := fakecluster.Start(t.Context(), fakecluster.Release(release), fakecluster.OSDs(2), fakecluster.ErasurePools("ec"))
		if err == nil || !strings.Contains(err.Error(), `wants 3 OSDs: pool "ec"`) {
			t.Fatal(release, err)
		}
		c := fakecluster.New(t, fakecluster.Release(release), fakecluster.OSDs(3), fakecluster.ErasurePools("ec"))
		io := open(t, connect(t, c, "client.admin"), "ec")
		must(t, io.WriteFull(t.Context(), "o", []byte("x")))
	}
}
