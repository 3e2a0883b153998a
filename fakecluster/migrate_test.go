package fakecluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const movedSize = 3<<20 + 5000

// scribble writes and discards at random and makes two snapshots meanwhile, at the
// first of which the image has a size of its own.
func scribble(t *testing.T, img *rbd.Image, rng *rand.Rand, first uint64) {
	t.Helper()
	ctx := t.Context()
	some := func(size uint64) {
		for range 12 {
			off := rng.Uint64N(size)
			n := min(size-off, 1+rng.Uint64N(100<<10))
			if rng.IntN(4) == 0 {
				require.NoError(t, img.Discard(ctx, off, n))
				continue
			}
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			_, err := img.WriteAt(ctx, p, off)
			require.NoError(t, err)
		}
	}
	require.NoError(t, img.Resize(ctx, first, false, nil))
	some(first)
	_, err := img.CreateSnapshot(ctx, "first", wire.SnapshotNamespace{}, rbd.SnapshotOptions{})
	require.NoError(t, err)
	require.NoError(t, img.Resize(ctx, movedSize, true, nil))
	some(movedSize)
	_, err = img.CreateSnapshot(ctx, "s", wire.SnapshotNamespace{}, rbd.SnapshotOptions{})
	require.NoError(t, err)
	some(movedSize / 2)
}

// states reads the head of an image and its snapshots, by name.
func states(t *testing.T, io *rados.IoCtx, name string) map[string]string {
	t.Helper()
	img, err := rbd.Open(t.Context(), io, name, rbd.OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, img.Close(context.Background())) }()
	out := map[string]string{}
	read := func(name string, id uint64) {
		size, err := img.SizeAt(id)
		require.NoError(t, err)
		d, err := img.ReadSnap(t.Context(), id, 0, size)
		require.NoError(t, err)
		out[name] = string(d.Bytes())
	}
	read("", wire.NoSnap)
	for _, s := range img.Snapshots() {
		read(s.Name, s.ID)
	}
	return out
}

// prepareMigration does what `rbd migration prepare` does to an image: it is in the
// trash then, and new has its name's place with empty snapshots of the same sizes.
func prepareMigration(t *testing.T, io *rados.IoCtx, name string, flatten bool, create func() error) {
	t.Helper()
	ctx := t.Context()
	src, err := rbd.Open(ctx, io, name, rbd.OpenOptions{})
	require.NoError(t, err)
	require.NoError(t, create())
	dst, err := rbd.Open(ctx, io, "new", rbd.OpenOptions{})
	require.NoError(t, err)
	seqs := map[uint64]uint64{}
	for _, s := range src.Snapshots() {
		require.NoError(t, dst.Resize(ctx, s.Size, true, nil))
		seqs[s.ID], err = dst.CreateSnapshot(ctx, s.Name, wire.SnapshotNamespace{}, rbd.SnapshotOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, dst.Resize(ctx, movedSize, true, nil))
	require.NoError(t, dst.Close(ctx))
	require.NoError(t, src.Close(ctx))
	_, err = rbd.TrashMove(ctx, io, name, rbd.MoveOptions{Source: wire.TrashSourceMigration})
	require.NoError(t, err)
	from := wire.MigrationSpec{Header: wire.MigrationSource, Pool: io.Pool(), ImageName: "new", ImageID: dst.ID(), Flatten: flatten, State: 2}
	require.NoError(t, io.ExecWrite(ctx, "rbd_header."+src.ID(), "rbd", wire.MethodMigrationSet, from.Append(nil)))
	to := wire.MigrationSpec{
		Header: wire.MigrationDestination, Pool: io.Pool(), ImageName: name, ImageID: src.ID(), SnapSeqs: seqs, Overlap: movedSize, Flatten: flatten, State: 2,
	}
	require.NoError(t, io.ExecWrite(ctx, "rbd_header."+dst.ID(), "rbd", wire.MethodMigrationSet, to.Append(nil)))
}

func TestMigrationTasksMoveImages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	plain := rbd.CreateOptions{Order: 20}
	for n, move := range []struct {
		name     string
		from, to rbd.CreateOptions
		clone    bool
		flatten  bool
	}{
		{name: "same", from: plain, to: plain, flatten: true},
		{name: "smaller objects", from: plain, to: rbd.CreateOptions{Order: 18}},
		{name: "stripes", from: plain, to: rbd.CreateOptions{Order: 19, StripeUnit: 16 << 10, StripeCount: 3}},
		{name: "from stripes", from: rbd.CreateOptions{Order: 18, StripeUnit: 64 << 10, StripeCount: 2}, to: rbd.CreateOptions{Order: 21}},
		{name: "clone", from: plain, to: plain, clone: true},
		{name: "flattened clone", from: plain, clone: true, flatten: true, to: rbd.CreateOptions{Order: 18}},
	} {
		t.Run(move.name, func(t *testing.T) {
			t.Parallel()
			c := fakecluster.New(t, fakecluster.Pools("rbd"))
			cl := connect(t, c, "client.admin")
			io := open(t, cl, "rbd")
			ctx := t.Context()
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			var parent string
			var snap uint64
			create := func(name string, o rbd.CreateOptions, clone bool) error {
				var err error
				if clone {
					o.CloneFormat = 2
					_, err = rbd.Clone(ctx, io, parent, snap, io, name, o)
				} else {
					_, err = rbd.Create(ctx, io, name, movedSize, o)
				}
				return err
			}
			if move.clone {
				id, err := rbd.Create(ctx, io, "parent", movedSize, rbd.CreateOptions{Order: 20, StripeUnit: 256 << 10, StripeCount: 2})
				require.NoError(t, err)
				img, err := rbd.Open(ctx, io, "parent", rbd.OpenOptions{})
				require.NoError(t, err)
				scribble(t, img, rng, movedSize)
				s, _ := img.UserSnapshot("s")
				parent, snap = id, s.ID
				require.NoError(t, img.Close(ctx))
			}
			require.NoError(t, create("old", move.from, move.clone))
			img, err := rbd.Open(ctx, io, "old", rbd.OpenOptions{})
			require.NoError(t, err)
			first := uint64(movedSize + 700<<10)
			if move.clone {
				first = movedSize // to shrink the new image would copy from the parent, which Ceph does not do to prepare
			}
			scribble(t, img, rng, first)
			require.NoError(t, img.Close(ctx))
			want := states(t, io, "old")
			require.Len(t, want, 3)
			prepare := func() {
				prepareMigration(t, io, "old", move.flatten, func() error { return create("new", move.to, move.clone && !move.flatten) })
			}
			task := func(action string) {
				_, err := mgr(t, cl, "rbd task add migration "+action, "image_spec", "rbd/new")
				require.NoError(t, err, action)
				eventually(t, action+" ends", func() bool {
					out, err := mgr(t, cl, "rbd task list")
					require.NoError(t, err)
					require.NotContains(t, out, "retry_message")
					return out == "[]\n"
				})
			}
			prepare()
			task("execute")
			task("abort")
			require.Equal(t, want, states(t, io, "old"), "the source of an aborted migration")
			prepare()
			_, err = mgr(t, cl, "rbd task add migration commit", "image_spec", "rbd/new")
			require.ErrorIs(t, err, rados.ErrInvalid, "nothing was executed")
			task("execute")
			task("commit")
			got := states(t, io, "new")
			for name := range want {
				for i := range want[name] {
					if want[name][i] != got[name][i] {
						t.Fatalf("snapshot %q differs at %#x of %#x: %#x, want %#x", name, i, len(want[name]), got[name][i], want[name][i])
					}
				}
			}
			img, err = rbd.Open(ctx, io, "new", rbd.OpenOptions{})
			require.NoError(t, err)
			bad, err := img.CheckObjectMap(ctx, nil)
			require.NoError(t, err)
			require.Zero(t, bad)
			require.Equal(t, move.clone && !move.flatten, img.Parent() != nil)
			require.NoError(t, img.Close(ctx))
			trash, err := rbd.TrashList(ctx, io)
			require.NoError(t, err)
			require.Empty(t, trash)
		})
	}
}

// A migration that cannot be done here is not begun.
func TestMigrationTasksThatCannotBeDone(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	ctx := t.Context()
	id, err := rbd.Create(ctx, io, "new", movedSize, rbd.CreateOptions{})
	require.NoError(t, err)
	to := wire.MigrationSpec{Header: wire.MigrationDestination, Pool: -1, SourceSpec: `{"type": "raw"}`, State: 2}
	require.NoError(t, io.ExecWrite(ctx, "rbd_header."+id, "rbd", wire.MethodMigrationSet, to.Append(nil)))
	_, err = mgr(t, cl, "rbd task add migration execute", "image_spec", "rbd/new")
	require.NoError(t, err)
	eventually(t, "it says why", func() bool {
		out, err := mgr(t, cl, "rbd task list")
		return err == nil && strings.Contains(out, fmt.Sprintf("[errno %d] RBD operation not supported", 95))
	})
	p, err := io.Exec(ctx, "rbd_header."+id, "rbd", wire.MethodMigrationGet, nil)
	require.NoError(t, err)
	var now wire.MigrationSpec
	now.Decode(denc.NewReader(p))
	require.Equal(t, uint8(2), now.State)
}
