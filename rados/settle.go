package rados

import (
	"context"
	"fmt"
	"sync"

	"github.com/rbdm/rbdm/rados/wire"
)

// settler counts the writes that were given up after they had been sent: nobody
// waits for them, but an OSD may still apply them.
type settler struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n becomes 0; nil while n is 0
}

func (s *settler) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 && n > 0 {
		s.idle = make(chan struct{})
	}
	s.n += n
	if s.n == 0 && n < 0 {
		close(s.idle)
		s.idle = nil
	}
}

func (s *settler) wait(ctx context.Context) error {
	s.mu.Lock()
	idle, n := s.idle, s.n
	s.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d writes that were given up may still be applied: %w", n, ctx.Err())
	}
}

// Settle waits until no write whose context ended before its answer came can be
// applied any more: its OSD has answered, or the connection that it was sent over
// is gone and the OSD drops what it did not get to. Who gives others leave to
// write, by unlocking say, settles first.
func (c *Client) Settle(ctx context.Context) error { return c.osds.settler.wait(ctx) }

// giveUp notes that r was sent and is waited for no longer. mu is held.
func (s *session) giveUp(r *request) {
	if !r.isWrite() || r.attempts == 0 || s.link == nil || s.link.conn == nil || s.ops[r.tid] != r {
		return
	}
	if s.givenUp == nil {
		s.givenUp = map[uint64]wire.PG{}
	}
	s.givenUp[r.tid] = r.tgt.pg
	s.o.settler.add(1)
}

// settled notes the answer to a request that was given up. mu is held.
func (s *session) settled(tid uint64) {
	if _, ok := s.givenUp[tid]; ok {
		delete(s.givenUp, tid)
		s.o.settler.add(-1)
	}
}

// settledPG is told that the OSD has dropped what waited for a PG: it says so by
// a backoff instead of answers. mu is held.
func (s *session) settledPG(pg wire.PG) {
	for tid, of := range s.givenUp {
		if of == pg {
			s.settled(tid)
		}
	}
}

// settledAll is told that the connection is gone. mu is held.
func (s *session) settledAll() {
	s.o.settler.add(-len(s.givenUp))
	s.givenUp = nil
}
