// Package checkpoint remembers, across restarts of a daemon, which objects of an
// unfinished copy are done, and as whom the daemon was connected. The cluster
// itself keeps only a watermark of a copy, written now and then; this file knows
// every object.
//
// It is an optimisation and nothing else: what is not in it is copied again. A file
// that cannot be read is put aside and begun anew. An entry is only valid for one
// copy, whose identity is in its key: the replica, the primary's snapshot, and the
// replica's snapshot that is being filled, whose id is never used twice. Every
// value carries a checksum of its key and itself, so that no damage to the file can
// make one copy's objects pass for another's.
package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

var (
	copies     = []byte("copies-2")
	instances  = []byte("instances-1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// lockTimeout is how long another process may hold the file, as one that is about
// to end.
const lockTimeout = 2 * time.Second

// instanceLife is longer than anything that a client leaves on a cluster stays.
const instanceLife = time.Hour

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("the file is in use by another process")

// Store is a file of checkpoints. A nil Store remembers nothing. It is safe for
// concurrent use.
type Store struct{ db *bolt.DB }

// Open opens or creates the file. One that is damaged is renamed to path.bad. That
// it is open says that no other process on this machine has it open: what that one
// was connected as is dead.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err == nil || errors.Is(err, ErrInUse) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	if rerr := os.Rename(path, path+".bad"); rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	return open(path)
}

func open(path string) (s *Store, err error) {
	if err := checkLength(path); err != nil {
		return nil, fmt.Errorf("checkpoints in %s: %w", path, err)
	}
	var db *bolt.DB
	// A file that was cut or overwritten can make the library panic.
	err = guard(func() error {
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
		if err != nil {
			return err
		}
		return db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists(copies)
			if err == nil {
				_, err = tx.CreateBucketIfNotExists(instances)
			}
			return err
		})
	})
	if err == nil {
		return &Store{db: db}, nil
	}
	if errors.Is(err, bolt.ErrTimeout) {
		err = ErrInUse
	}
	if db != nil {
		err = errors.Join(err, guard(db.Close))
	}
	return nil, fmt.Errorf("checkpoints in %s: %w", path, err)
}

// checkLength refuses a file that is shorter than it says itself: the library maps
// files into memory, and reading what is not there kills the process.
func checkLength(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	// Two pages begin with a head of 16 bytes and this: magic, version, size of a
	// page, flags, root and its sequence, free list, number of pages (bbolt's meta).
	const magic, head, pageSizeAt, pagesAt, least = 0xED0CDAED, 16, 8, 40, 1024
	page := func(at int64) (size, pages int64) {
		b := make([]byte, 64)
		if _, err := f.ReadAt(b, at+head); err != nil || binary.NativeEndian.Uint32(b) != magic {
			return 0, 0
		}
		return int64(binary.NativeEndian.Uint32(b[pageSizeAt:])), int64(binary.NativeEndian.Uint64(b[pagesAt:]))
	}
	size, pages := page(0)
	if size < least || size > 1<<20 {
		size = int64(os.Getpagesize())
	}
	_, second := page(size)
	if most := max(pages, second); most < 4 || most > info.Size()/size {
		return fmt.Errorf("damaged: it has %d bytes, but speaks of %d pages of %d", info.Size(), most, size)
	}
	return nil
}

// guard turns a panic of the library, which trusts its file, into an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	return f()
}

// Close closes the file.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return guard(s.db.Close)
}

func (s *Store) view(f func(*bolt.Tx) error) error {
	return guard(func() error { return s.db.View(f) })
}

func (s *Store) update(f func(*bolt.Tx) error) error {
	return guard(func() error { return s.db.Update(f) })
}

// seal returns payload behind a checksum of it and its key.
func seal(key, payload []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
	return append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(payload)), sum), payload...)
}

// unseal returns the payload of a value, or nil if it is not what was stored
// under key.
func unseal(key, value []byte) []byte {
	if len(value) < 4 {
		return nil
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value[4:])
	if sum != binary.LittleEndian.Uint32(value) {
		return nil
	}
	return value[4:]
}

// AddInstance notes that this process is connected to the cluster fsid as address,
// an encoded entity address.
func (s *Store) AddInstance(fsid string, address []byte) error {
	if s == nil {
		return nil
	}
	return s.update(func(tx *bolt.Tx) error {
		k := append([]byte(fsid+"/"), address...)
		when := binary.LittleEndian.AppendUint64(nil, uint64(time.Now().Unix()))
		return tx.Bucket(instances).Put(k, seal(k, when))
	})
}

// RemoveInstance takes a note of AddInstance back: the connection was closed in
// good order, or has been shut out.
func (s *Store) RemoveInstance(fsid string, address []byte) error {
	if s == nil {
		return nil
	}
	return s.update(func(tx *bolt.Tx) error {
		return tx.Bucket(instances).Delete(append([]byte(fsid+"/"), address...))
	})
}

// Instances returns the addresses that AddInstance noted for a cluster within the
// last hour: nothing is left on a cluster of those before.
func (s *Store) Instances(fsid string) (addresses [][]byte) {
	if s == nil {
		return nil
	}
	err := s.view(func(tx *bolt.Tx) error {
		return each(tx.Bucket(instances), fsid+"/", func(k, v []byte) error {
			p := unseal(k, v)
			if len(p) == 8 && time.Since(time.Unix(int64(binary.LittleEndian.Uint64(p)), 0)) < instanceLife {
				addresses = append(addresses, append([]byte(nil), k[len(fsid)+1:]...))
			}
			return nil
		})
	})
	if err != nil {
		return nil
	}
	return addresses
}

// each calls f for the pairs whose key begins with prefix. f may not change the
// bucket.
func each(b *bolt.Bucket, prefix string, f func(k, v []byte) error) error {
	c := b.Cursor()
	for k, v := c.Seek([]byte(prefix)); len(k) >= len(prefix) && string(k[:len(prefix)]) == prefix; k, v = c.Next() {
		if err := f(k, v); err != nil {
			return err
		}
	}
	return nil
}
