package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// commits follows what the client is done with. Entries may be committed in any
// order; the position only passes those before which nothing is open.
type commits struct {
	mu       sync.Mutex
	open     []*mark // in the order of the journal; the first is not done
	based    bool    // position starts with what the header says
	position wire.CommitPosition
	version  uint64 // of position
	written  uint64 // the version that the header has

	dirty   chan struct{} // the position is newer than the header's
	writing chan struct{} // held while the header's is written
}

// mark is the place of an entry among those that are not committed.
type mark struct {
	pos     wire.ObjectPosition
	tracked bool
	done    bool
}

func (c *commits) init() {
	c.dirty, c.writing = make(chan struct{}, 1), make(chan struct{}, 1)
}

// track adds the next entry of the journal.
func (j *Journal) track(m *mark, pos wire.ObjectPosition) {
	m.pos, m.tracked = pos, true
	j.commits.mu.Lock()
	j.commits.open = append(j.commits.open, m)
	j.commits.mu.Unlock()
}

// moved says that an entry went to another data object than was thought.
func (j *Journal) moved(m *mark, object uint64) {
	j.commits.mu.Lock()
	m.pos.Object = object
	j.commits.mu.Unlock()
}

// committed says that the client is done with an entry.
func (j *Journal) committed(m *mark) {
	c := &j.commits
	c.mu.Lock()
	defer c.mu.Unlock()
	m.done = true
	n := 0
	for n < len(c.open) && c.open[n].done {
		n++
	}
	if n == 0 {
		return
	}
	if !c.based {
		c.based = true
		c.position = slices.Clone(j.ownCommit())
	}
	for _, m := range c.open[max(0, n-int(j.layout.SplayWidth)):n] {
		c.position = j.layout.advance(c.position, m.pos)
	}
	clear(c.open[:n])
	c.open = c.open[n:]
	c.version++
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// advance puts the position of the next entry first, in place, and takes out the
// one that had its splay offset.
func (l Layout) advance(p wire.CommitPosition, pos wire.ObjectPosition) wire.CommitPosition {
	i := slices.IndexFunc(p, func(o wire.ObjectPosition) bool { return l.Offset(o.Object) == l.Offset(pos.Object) })
	if i < 0 {
		i = len(p)
		p = append(p, pos)
	}
	copy(p[1:], p[:i])
	p[0] = pos
	return p
}

// ownCommit returns the client's commit position as the header has it.
func (j *Journal) ownCommit() wire.CommitPosition {
	st, _ := j.State()
	if own := st.Client(j.client); own != nil {
		return own.Commit
	}
	return nil
}

// CommitPosition returns what the client is done with, written or not.
func (j *Journal) CommitPosition() wire.CommitPosition {
	j.commits.mu.Lock()
	defer j.commits.mu.Unlock()
	if j.commits.based {
		return slices.Clone(j.commits.position)
	}
	return slices.Clone(j.ownCommit())
}

// FlushCommitPosition writes the commit position now, if it changed.
func (j *Journal) FlushCommitPosition(ctx context.Context) error {
	c := &j.commits
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	position, version, written := slices.Clone(c.position), c.version, c.written
	c.mu.Unlock()
	if version == written {
		return nil
	}
	in := position.Append(denc.AppendString(nil, j.client))
	if err := j.io.ExecWrite(ctx, j.header, wire.Class, wire.MethodClientCommit, in); err != nil {
		return fmt.Errorf("commit position of journal %s: %w", j.id, err)
	}
	c.mu.Lock()
	c.written = version
	c.mu.Unlock()
	j.hasNews()
	return nil
}

// writeCommits writes the position an age after it changed, until the Journal is
// closed.
func (j *Journal) writeCommits() {
	defer j.wg.Done()
	for {
		select {
		case <-j.commits.dirty:
		case <-j.ctx.Done():
			return
		}
		select {
		case <-time.After(j.opts.CommitAge):
		case <-j.ctx.Done():
			return
		}
		err := j.FlushCommitPosition(j.ctx)
		switch {
		case err == nil || j.ctx.Err() != nil:
		case errors.Is(err, rados.ErrBlocklisted) || errors.Is(err, rados.ErrNotFound):
			j.log.Warn("the commit position is not written any more", "err", err)
			return
		default:
			j.log.Warn("commit position", "err", err)
			select {
			case j.commits.dirty <- struct{}{}:
			default:
			}
		}
	}
}
