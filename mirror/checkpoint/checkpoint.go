// Package checkpoint remembers, across restarts of a daemon, which objects of a
// half-finished copy are done. The cluster itself keeps only a watermark, written
// now and then; this file knows every object.
//
// It is an optimisation and nothing else: what is not in it is copied again. A file
// that cannot be read is put aside and begun anew. An entry is only valid for one
// copy, whose identity is in its key: the replica, the primary's snapshot, and the
// replica's snapshot that is being filled, whose id is never used twice.
package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

var (
	bucket     = []byte("copies-1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Key names one copy.
type Key struct {
	FSID       string // of the replica's cluster
	Pool       int64
	Namespace  string
	ImageID    string
	LocalSnap  uint64
	RemoteSnap uint64
}

func (k Key) image() string {
	return fmt.Sprintf("%s/%d/%s/%s/", k.FSID, k.Pool, k.Namespace, k.ImageID)
}

func (k Key) bytes() []byte {
	return fmt.Appendf(nil, "%s%d/%d", k.image(), k.LocalSnap, k.RemoteSnap)
}

// Store is a file of checkpoints. A nil Store remembers nothing.
type Store struct{ db *bolt.DB }

// Open opens or creates the file. One that is damaged is renamed to path.bad.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err == nil || errors.Is(err, bolt.ErrTimeout) {
		return s, err
	}
	if rerr := os.Rename(path, path+".bad"); rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	return open(path)
}

func open(path string) (s *Store, err error) {
	defer func() {
		// A file that was cut or overwritten can make the library panic.
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("checkpoints in %s: %v", path, r)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("checkpoints in %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("checkpoints in %s: %w", path, err), db.Close())
	}
	return &Store{db: db}, nil
}

// Close closes the file.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.db.Close()
}

// Load returns what is known of a copy of n objects: nothing, if there is no valid
// entry.
func (s *Store) Load(k Key, n uint64) (m *Marks) {
	m = New(n)
	if s == nil {
		return m
	}
	defer func() {
		if recover() != nil {
			m = New(n)
		}
	}()
	_ = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucket).Get(k.bytes())
		if len(v) != 12+len(m.bits) || binary.LittleEndian.Uint64(v) != n {
			return nil
		}
		if crc32.Checksum(v[12:], castagnoli) == binary.LittleEndian.Uint32(v[8:]) {
			copy(m.bits, v[12:])
		}
		return nil
	})
	return m
}

// Save stores the marks of a copy and drops those of other copies to the same
// replica.
func (s *Store) Save(k Key, m *Marks) error {
	if s == nil {
		return nil
	}
	v := m.encode()
	return s.db.Update(func(tx *bolt.Tx) error {
		return put(tx.Bucket(bucket), k, v)
	})
}

func put(b *bolt.Bucket, k Key, v []byte) error {
	prefix := k.image()
	var old [][]byte
	for c, p := b.Cursor(), []byte(nil); ; {
		if p == nil {
			p, _ = c.Seek([]byte(prefix))
		} else {
			p, _ = c.Next()
		}
		if p == nil || len(p) < len(prefix) || string(p[:len(prefix)]) != prefix {
			break
		}
		old = append(old, append([]byte(nil), p...))
	}
	for _, p := range old {
		if err := b.Delete(p); err != nil {
			return err
		}
	}
	if v == nil {
		return nil
	}
	return b.Put(k.bytes(), v)
}

// Forget drops all that is known of copies to a replica.
func (s *Store) Forget(k Key) error {
	if s == nil {
		return nil
	}
	return s.db.Update(func(tx *bolt.Tx) error { return put(tx.Bucket(bucket), k, nil) })
}

// Marks says which objects of one copy are done. It is safe for concurrent use.
type Marks struct {
	mu   sync.Mutex
	n    uint64
	bits []byte
}

// New returns the marks of a copy of n objects, none of which is done.
func New(n uint64) *Marks { return &Marks{n: n, bits: make([]byte, (n+7)/8)} }

// Done reports whether object i is done.
func (m *Marks) Done(i uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return i < m.n && m.bits[i/8]&(1<<(i%8)) != 0
}

// Set marks object i as done.
func (m *Marks) Set(i uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i < m.n {
		m.bits[i/8] |= 1 << (i % 8)
	}
}

// Watermark returns how many objects from the first on are all done, going on from
// an earlier answer.
func (m *Marks) Watermark(from uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for from < m.n && m.bits[from/8]&(1<<(from%8)) != 0 {
		from++
	}
	return from
}

func (m *Marks) encode() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := make([]byte, 12, 12+len(m.bits))
	binary.LittleEndian.PutUint64(v, m.n)
	v = append(v, m.bits...)
	binary.LittleEndian.PutUint32(v[8:], crc32.Checksum(v[12:], castagnoli))
	return v
}
