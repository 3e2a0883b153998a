package checkpoint

import (
	"encoding/binary"
	"fmt"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// chunkBytes is how much of a copy's bit map one value holds: 32,768 objects, 128
// GiB of an image with objects of 4 MiB. Only chunks that changed are written.
const chunkBytes = 4096

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
	return fmt.Sprintf("%s/%d/%q/%q/", k.FSID, k.Pool, k.Namespace, k.ImageID)
}

func (k Key) copy() string { return fmt.Sprintf("%s%d/%d/", k.image(), k.LocalSnap, k.RemoteSnap) }

func chunkKey(prefix string, chunk uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefix), chunk)
}

// Copy says which objects of one copy are done. It is safe for concurrent use. A
// nil Copy knows nothing and remembers nothing.
type Copy struct {
	store  *Store
	key    Key
	prefix string

	mu     sync.Mutex
	chunks map[uint64][]byte
	dirty  map[uint64]bool
}

// Begun reports whether anything is known of a copy.
func (s *Store) Begun(k Key) bool {
	if s == nil {
		return false
	}
	found := false
	err := s.view(func(tx *bolt.Tx) error {
		key := chunkKey(k.copy(), 0)
		found = unseal(key, tx.Bucket(copies).Get(key)) != nil
		return nil
	})
	return err == nil && found
}

// Begin notes that a copy has begun, with nothing done, and forgets all other
// copies to the same replica.
func (s *Store) Begin(k Key) (*Copy, error) {
	if s == nil {
		return nil, nil
	}
	c := s.empty(k)
	c.chunks[0] = make([]byte, chunkBytes)
	err := s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(copies)
		if err := forget(b, k); err != nil {
			return err
		}
		key := chunkKey(c.prefix, 0)
		return b.Put(key, seal(key, c.chunks[0]))
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Resume returns what is known of a copy that was begun. What cannot be read is
// not done.
func (s *Store) Resume(k Key) *Copy {
	if s == nil {
		return nil
	}
	c := s.empty(k)
	err := s.view(func(tx *bolt.Tx) error {
		return each(tx.Bucket(copies), c.prefix, func(key, v []byte) error {
			p := unseal(key, v)
			if len(key) == len(c.prefix)+8 && len(p) == chunkBytes {
				c.chunks[binary.BigEndian.Uint64(key[len(c.prefix):])] = append([]byte(nil), p...)
			}
			return nil
		})
	})
	if err != nil {
		clear(c.chunks)
	}
	return c
}

func (s *Store) empty(k Key) *Copy {
	return &Copy{store: s, key: k, prefix: k.copy(), chunks: make(map[uint64][]byte), dirty: make(map[uint64]bool)}
}

// Forget drops all that is known of copies to a replica.
func (s *Store) Forget(k Key) error {
	if s == nil {
		return nil
	}
	return s.update(func(tx *bolt.Tx) error { return forget(tx.Bucket(copies), k) })
}

func forget(b *bolt.Bucket, k Key) error {
	var old [][]byte
	err := each(b, k.image(), func(key, _ []byte) error {
		old = append(old, append([]byte(nil), key...))
		return nil
	})
	for _, key := range old {
		if err == nil {
			err = b.Delete(key)
		}
	}
	return err
}

// Done reports whether object n is done.
func (c *Copy) Done(n uint64) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	chunk, at := n/(8*chunkBytes), n%(8*chunkBytes)
	bits := c.chunks[chunk]
	return bits != nil && bits[at/8]&(1<<(at%8)) != 0
}

// Set marks object n as done: its bytes are safe in the replica. It is remembered
// from the next Flush on.
func (c *Copy) Set(n uint64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	chunk, at := n/(8*chunkBytes), n%(8*chunkBytes)
	bits := c.chunks[chunk]
	if bits == nil {
		bits = make([]byte, chunkBytes)
		c.chunks[chunk] = bits
	}
	bits[at/8] |= 1 << (at % 8)
	c.dirty[chunk] = true
}

// Flush writes what has changed to the file.
func (c *Copy) Flush() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	changed := make(map[string][]byte, len(c.dirty))
	for chunk := range c.dirty {
		key := chunkKey(c.prefix, chunk)
		changed[string(key)] = seal(key, c.chunks[chunk])
	}
	clear(c.dirty)
	c.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	return c.store.update(func(tx *bolt.Tx) error {
		for key, v := range changed {
			if err := tx.Bucket(copies).Put([]byte(key), v); err != nil {
				return err
			}
		}
		return nil
	})
}

// Restart forgets which objects are done, but not that the copy was begun.
func (c *Copy) Restart() error {
	if c == nil {
		return nil
	}
	again, err := c.store.Begin(c.key)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chunks = again.chunks
	clear(c.dirty)
	return nil
}
