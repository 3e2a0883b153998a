package checkpoint

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var key = Key{FSID: "f", Pool: 2, Namespace: "ns/1", ImageID: "10ab", LocalSnap: 7, RemoteSnap: 9}

// objects are on both sides of a chunk's end.
var objects = []uint64{0, 1, 9, 8*chunkBytes - 1, 8 * chunkBytes, 80 * chunkBytes}

func mustOpen(t *testing.T, path string) *Store {
	s, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func filled(t *testing.T, s *Store) {
	c, err := s.Begin(key)
	require.NoError(t, err)
	for _, n := range objects {
		c.Set(n)
	}
	require.NoError(t, c.Flush())
	require.NoError(t, s.AddInstance("f", []byte{1, 2, 3}))
}

func TestCopyIsRememberedByObject(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints")
	s := mustOpen(t, path)
	require.False(t, s.Begun(key))
	filled(t, s)
	require.NoError(t, s.Close())

	s = mustOpen(t, path)
	require.True(t, s.Begun(key))
	c := s.Resume(key)
	for _, n := range objects {
		require.True(t, c.Done(n), n)
		require.False(t, c.Done(n+2), n)
	}
	require.NoError(t, c.Restart())
	require.False(t, c.Done(1))
	require.True(t, s.Begun(key))
	require.False(t, s.Resume(key).Done(1))
	require.NoError(t, s.Forget(key))
	require.False(t, s.Begun(key))
}

func TestWhatWasNotFlushedIsNotDone(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "checkpoints"))
	c, err := s.Begin(key)
	require.NoError(t, err)
	c.Set(3)
	require.False(t, s.Resume(key).Done(3))
	require.NoError(t, c.Flush())
	require.True(t, s.Resume(key).Done(3))
}

func TestAnotherCopyKnowsNothing(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "checkpoints"))
	filled(t, s)
	for _, change := range []func(*Key){
		func(k *Key) { k.FSID = "g" }, func(k *Key) { k.Pool = 20 }, func(k *Key) { k.Namespace = "ns" },
		func(k *Key) { k.ImageID = "10a" }, func(k *Key) { k.LocalSnap = 70 }, func(k *Key) { k.RemoteSnap = 90 },
	} {
		other := key
		change(&other)
		require.False(t, s.Begun(other))
		require.False(t, s.Resume(other).Done(1))
	}
	// The next copy to the same replica ends the memory of this one.
	next := key
	next.LocalSnap++
	_, err := s.Begin(next)
	require.NoError(t, err)
	require.False(t, s.Begun(key))
	require.True(t, s.Begun(next))
}

func TestNilStoreRemembersNothing(t *testing.T) {
	var s *Store
	c, err := s.Begin(key)
	require.NoError(t, err)
	c.Set(1)
	require.NoError(t, c.Flush())
	require.NoError(t, c.Restart())
	require.False(t, c.Done(1))
	require.False(t, s.Begun(key))
	require.NoError(t, s.Forget(key))
	require.Empty(t, s.Instances("f"))
	require.NoError(t, s.AddInstance("f", nil))
	require.NoError(t, s.RemoveInstance("f", nil))
	require.NoError(t, s.Close())
}

func TestInstances(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "checkpoints"))
	require.NoError(t, s.AddInstance("f", []byte("a")))
	require.NoError(t, s.AddInstance("f", []byte("b")))
	require.NoError(t, s.AddInstance("g", []byte("c")))
	require.Equal(t, [][]byte{[]byte("a"), []byte("b")}, s.Instances("f"))
	require.NoError(t, s.RemoveInstance("f", []byte("a")))
	require.Equal(t, [][]byte{[]byte("b")}, s.Instances("f"))
}

func TestOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints")
	mustOpen(t, path)
	_, err := Open(path)
	require.ErrorIs(t, err, ErrInUse)
	_, err = os.Stat(path + ".bad")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Damage of any kind may cost what was remembered, but nothing may be remembered
// that was never done, and the file must be usable again.
func TestDamagedFileNeverClaimsAnObject(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, filepath.Join(dir, "good"))
	filled(t, s)
	require.NoError(t, s.Close())
	good, err := os.ReadFile(filepath.Join(dir, "good"))
	require.NoError(t, err)
	done := make(map[uint64]bool)
	for _, n := range objects {
		done[n] = true
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 150 {
		bad := append([]byte(nil), good...)
		switch round % 3 {
		case 0:
			for range 1 + r.IntN(20) {
				bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
			}
		case 1:
			bad = bad[:r.IntN(len(bad))]
		case 2: // a page of another time
			from, to := r.IntN(len(bad)/4096)*4096, r.IntN(len(bad)/4096)*4096
			copy(bad[to:to+4096], good[from:from+4096])
		}
		path := filepath.Join(dir, "bad")
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		s, err := Open(path)
		require.NoError(t, err)
		c := s.Resume(key)
		for n := range uint64(81 * chunkBytes) {
			if c.Done(n) && !done[n] {
				t.Fatalf("round %d: object %d was never done", round, n)
			}
		}
		_, _ = s.Begin(key)
		_ = s.Instances("f")
		_ = s.Close()
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.RemoveAll(path+".bad"))
	}
}
