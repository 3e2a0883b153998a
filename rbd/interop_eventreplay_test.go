//go:build interop

package rbd_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"

	"github.com/stretchr/testify/require"
)

// TestInteropReplayModel is TestReplayModel on real clusters.
func TestInteropReplayModel(t *testing.T) {
	list := os.Getenv("RBDM_CONFS")
	require.NotEmpty(t, list, "RBDM_CONFS names no ceph.conf")
	seed := uint64(time.Now().UnixNano())
	for _, path := range strings.Split(list, ",") {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			x := &replayTarget{t: t, ctx: t.Context(), pool: fmt.Sprintf("rbdm-replay-%d", seed), config: func() *conf.Config {
				inv, _, err := conf.ParseArgs([]string{"-c", path}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
				require.NoError(t, err)
				cfg, err := inv.Load()
				require.NoError(t, err)
				return cfg
			}}
			admin, err := rados.Connect(t.Context(), x.config())
			require.NoError(t, err)
			for n := range uint64(3) {
				t.Logf("seed %d", seed+n)
				require.NoError(t, admin.CreatePool(t.Context(), x.pool))
				source := newEventSource(rand.New(rand.NewPCG(seed+n, 1)))
				x.create(func(ctx context.Context, io *rados.IoCtx) string { return source.create(t, ctx, io) })
				source.run(300)
				applyWithCrashes(t, x, source, 3)
				require.NoError(t, admin.DeletePool(t.Context(), x.pool))
			}
			admin.Close()
		})
	}
}
