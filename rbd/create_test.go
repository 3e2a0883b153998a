package rbd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/rados"
)

// objectsOf returns the names of all objects of a pool.
func objectsOf(t *testing.T, pool *rados.IoCtx) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for o, err := range pool.Objects(t.Context()) {
		require.NoError(t, err)
		all[o.Name] = true
	}
	return all
}

// TestFailedCreateLeavesNothing lets the last step of each way to make an image
// fail: nothing of the image may stay.
func TestFailedCreateLeavesNothing(t *testing.T) {
	pool := anycluster.Pool(t)
	ctx := t.Context()
	_, err := Create(ctx, pool, "source", 8<<20, CreateOptions{})
	require.NoError(t, err)
	src, err := Open(ctx, pool, "source", OpenOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { src.Close(context.Background()) })
	_, err = src.WriteAt(ctx, []byte("data"), 5<<20)
	require.NoError(t, err)
	snap, err := src.CreateSnapshot(ctx, "s", SnapshotNamespace{}, SnapshotOptions{})
	require.NoError(t, err)
	before := objectsOf(t, pool)

	refused := errors.New("refused")
	for _, features := range []uint64{0, FeatureExclusiveLock | FeatureJournaling} {
		o := CreateOptions{FeaturesSet: features, CloneFormat: 2, Mirror: func(_ context.Context, _ *rados.IoCtx, id string) error {
			require.NotEmpty(t, id)
			return refused
		}}
		for way, run := range map[string]func() error{
			"create": func() error { _, err := Create(ctx, pool, "new", 8<<20, o); return err },
			"clone":  func() error { _, err := Clone(ctx, pool, src.ID(), snap, pool, "new", o); return err },
			"copy":   func() error { return Copy(ctx, src, pool, "new", o, 4096, nil) },
			"deep":   func() error { return DeepCopy(ctx, src, pool, "new", o, false, nil) },
		} {
			require.ErrorIs(t, run(), refused, way)
			_, err := LookupID(ctx, pool, "new")
			require.ErrorIs(t, err, rados.ErrNotFound, way)
			images, err := List(ctx, pool)
			require.NoError(t, err)
			require.Len(t, images, 1, way)
			after := objectsOf(t, pool)
			for name := range after {
				require.True(t, before[name] || name == childrenName || name == trashName, "%s left %s behind", way, name)
			}
		}
	}
}

// TestCloneIsLikeItsParent compares with rbd 20.2 and 16.2, where a clone has the
// features and the striping of its parent unless it is told others.
func TestCloneIsLikeItsParent(t *testing.T) {
	pool := anycluster.Pool(t)
	ctx := t.Context()
	parent, err := Create(ctx, pool, "parent", 8<<20, CreateOptions{Features: FeatureLayering, HasFeatures: true, Order: 20, StripeUnit: 64 << 10, StripeCount: 2})
	require.NoError(t, err)
	img, err := Open(ctx, pool, "parent", OpenOptions{})
	require.NoError(t, err)
	snap, err := img.CreateSnapshot(ctx, "s", SnapshotNamespace{}, SnapshotOptions{})
	require.NoError(t, err)
	require.NoError(t, img.Close(ctx))
	for name, o := range map[string]CreateOptions{
		"like": {CloneFormat: 2},
		"told": {CloneFormat: 2, Features: FeatureLayering | FeatureExclusiveLock, HasFeatures: true, Order: 21, StripeUnit: 128 << 10, StripeCount: 4},
	} {
		_, err := Clone(ctx, pool, parent, snap, pool, name, o)
		require.NoError(t, err)
		c, err := Open(ctx, pool, name, OpenOptions{ReadOnly: true})
		require.NoError(t, err)
		features, layout := c.Features(), c.Layout()
		require.NoError(t, c.Close(ctx))
		if name == "like" {
			require.Equal(t, FeatureLayering|FeatureStriping, features&^FeaturesInternal)
			require.Equal(t, []uint64{20, 64 << 10, 2}, []uint64{uint64(layout.Order), layout.StripeUnit, layout.StripeCount})
		} else {
			require.Equal(t, FeatureLayering|FeatureStriping|FeatureExclusiveLock, features&^FeaturesInternal)
			require.Equal(t, []uint64{21, 128 << 10, 4}, []uint64{uint64(layout.Order), layout.StripeUnit, layout.StripeCount})
		}
	}
}

// TestInterruptedImportLeavesNothing gives an import up in the middle.
func TestInterruptedImportLeavesNothing(t *testing.T) {
	pool := anycluster.Pool(t)
	_, err := Create(t.Context(), pool, "other", 1<<20, CreateOptions{})
	require.NoError(t, err)
	before := objectsOf(t, pool)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := readerFunc(func(p []byte) (int, error) {
		for i := range p {
			p[i] = 7
		}
		return len(p), nil
	})
	err = Import(ctx, pool, "new", r, 1, CreateOptions{}, StreamOptions{Size: 1 << 30, Progress: func(done, total uint64) {
		if done > total/50 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = LookupID(t.Context(), pool, "new")
	require.ErrorIs(t, err, rados.ErrNotFound)
	for name := range objectsOf(t, pool) {
		require.True(t, before[name] || name == directoryName || name == trashName, "%s is left behind", name)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestTrashPurge removes what expired, clones before their parents, and leaves what
// is deferred.
func TestTrashPurge(t *testing.T) {
	pool := anycluster.Pool(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b", "later"} {
		_, err := Create(ctx, pool, name, 4<<20, CreateOptions{})
		require.NoError(t, err)
		delay := time.Duration(0)
		if name == "later" {
			delay = time.Hour
		}
		_, err = TrashMove(ctx, pool, name, MoveOptions{Delay: delay})
		require.NoError(t, err)
	}
	var told []uint64
	o := PurgeOptions{Expired: time.Now(), Threshold: NoThreshold, Progress: func(done, total uint64) { told = append(told, done, total) }}
	require.NoError(t, TrashPurge(ctx, pool, o))
	require.Equal(t, []uint64{1, 2, 2, 2}, told)
	left, err := TrashList(ctx, pool)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, "later", left[0].Name)
	for _, bad := range []float64{1.5, -0.5} {
		o.Threshold = bad
		require.ErrorIs(t, TrashPurge(ctx, pool, o), rados.ErrInvalid)
	}
	o.Threshold, o.Expired = 0.9, time.Now().Add(2*time.Hour)
	require.NoError(t, TrashPurge(ctx, pool, o), "a pool that is not full")
	left, err = TrashList(ctx, pool)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
