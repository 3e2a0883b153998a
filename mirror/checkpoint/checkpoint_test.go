package checkpoint

import (
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

var key = Key{FSID: "f", Pool: 2, Namespace: "ns", ImageID: "abc", LocalSnap: 7, RemoteSnap: 9}

func mustOpen(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSavedMarksComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cp")
	s := mustOpen(t, path)
	m := New(100)
	for _, i := range []uint64{0, 1, 2, 50, 99, 1000} {
		m.Set(i)
	}
	if got := m.Watermark(0); got != 3 {
		t.Fatalf("watermark %d, want 3", got)
	}
	if err := s.Save(key, m); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := mustOpen(t, path).Load(key, 100)
	for i := range uint64(100) {
		if got.Done(i) != m.Done(i) {
			t.Errorf("object %d: done %v, want %v", i, got.Done(i), m.Done(i))
		}
	}
}

func TestMarksOfAnotherCopyDoNotCount(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "cp"))
	m := New(10)
	m.Set(4)
	if err := s.Save(key, m); err != nil {
		t.Fatal(err)
	}
	local, remote, image := key, key, key
	local.LocalSnap, remote.RemoteSnap, image.ImageID = 8, 10, "abcd"
	for _, other := range []Key{local, remote, image} {
		if s.Load(other, 10).Done(4) {
			t.Errorf("%+v takes the marks of %+v", other, key)
		}
	}
	if s.Load(key, 11).Done(4) {
		t.Error("marks of a copy of another size count")
	}
	if err := s.Save(local, New(10)); err != nil {
		t.Fatal(err)
	}
	if s.Load(key, 10).Done(4) {
		t.Error("marks of the copy before are still there")
	}
}

func TestChangedBytesDoNotCount(t *testing.T) {
	for _, b := range [][]byte{nil, {1}, make([]byte, 14), append(make([]byte, 12), 0xff, 3)} {
		s := mustOpen(t, filepath.Join(t.TempDir(), "cp"))
		if err := s.putRaw(key, b); err != nil {
			t.Fatal(err)
		}
		if m := s.Load(key, 10); m.Watermark(0) != 0 || m.Done(8) {
			t.Errorf("%x counts", b)
		}
	}
}

func TestDamagedFileIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cp")
	if err := os.WriteFile(path, []byte("not a database, but longer than nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, path)
	if s.Load(key, 10).Done(0) {
		t.Error("something is done")
	}
	if _, err := os.Stat(path + ".bad"); err != nil {
		t.Error(err)
	}
}

func TestNoStoreRemembersNothing(t *testing.T) {
	var s *Store
	m := New(3)
	m.Set(1)
	if err := s.Save(key, m); err != nil {
		t.Error(err)
	}
	if s.Load(key, 3).Done(1) || s.Forget(key) != nil || s.Close() != nil {
		t.Error("a nil Store does something")
	}
}

func (s *Store) putRaw(k Key, v []byte) error {
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put(k.bytes(), v) })
}
