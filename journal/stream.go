package journal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
)

// stream is the sequence of entries at one splay offset: that of one data object
// after the other. It belongs to the goroutine that calls Player.Next; only the
// reads run elsewhere.
type stream struct {
	offset int
	object uint64 // that is being read
	off    uint64 // of the next read, bytes
	want   int    // bytes of the next read

	queue []*Entry // read and not taken
	bytes int      // of the entries in queue

	// skip is the commit position in the object: up to it nothing is queued.
	skip *wire.ObjectPosition

	reading bool
	// atEnd says that the last read came to the object's end. It was begun when
	// endActive was the active set, in the player's round endRound.
	atEnd     bool
	endActive uint64
	endRound  int
	missing   bool // there was no such object then
	absent    int  // objects in sequence that were missing
	torn      []byte
	// err is what the object cannot be read further for. It counts when the
	// entries before it are taken.
	err error
}

// result is how a read ended.
type result struct {
	s      *stream
	p      []byte
	want   int
	active uint64
	round  int
	err    error
}

// front returns the next entry, or nil.
func (s *stream) front() *Entry {
	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[0]
}

func (s *stream) pop() *Entry {
	e := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.bytes -= len(e.Data) + wire.EntryOverhead
	return e
}

// final reports whether nothing more will come to the object of the stream.
func (s *stream) final(l Layout) bool { return s.atEnd && s.endActive > l.Set(s.object) }

// read begins to read on.
func (p *Player) read(s *stream) {
	s.reading = true
	want, round := s.want, p.round
	active := p.j.activeSet.Load()
	op := rados.NewOp()
	out := op.Read(s.off, uint64(want))
	p.j.data.Go(p.ctx, p.j.dataName(s.object), op, func(err error) {
		res := result{s: s, want: want, active: active, round: round, err: err}
		if err == nil {
			res.p = out.Bytes()
		}
		p.results <- res // has room for one read of every stream
	})
}

// fetched takes the result of a read.
func (p *Player) fetched(r result) {
	s := r.s
	s.reading = false
	switch {
	case errors.Is(r.err, rados.ErrNotFound):
		s.missing = true
	case r.err != nil:
		s.err = fmt.Errorf("read journal object %s: %w", p.j.dataName(s.object), r.err)
		return
	default:
		s.missing = false
	}
	if s.missing && s.off > 0 {
		s.err = fmt.Errorf("%w: object %s is gone", ErrMissing, p.j.dataName(s.object))
		return
	}
	s.atEnd, s.endActive, s.endRound = len(r.p) < r.want, r.active, r.round
	seg, err := p.j.layout.parse(r.p, s.off)
	if e := s.add(p, seg.entries); err == nil {
		err = e
	}
	rest := r.p[seg.used:]
	s.off += uint64(seg.used)
	s.want = max(p.chunk, seg.need)
	s.torn = nil
	if seg.need > 0 && s.atEnd {
		s.torn = rest
		if p.j.layout.hidden(rest) {
			err = fmt.Errorf("%w: damaged entry at offset %d", ErrCorrupt, s.off)
		}
	}
	if err == nil && s.skip != nil && s.atEnd {
		err = fmt.Errorf("%w: %d of tag %d, which the commit position names", ErrMissing, s.skip.EntryTID, s.skip.TagTID)
	}
	if err != nil {
		s.err = fmt.Errorf("object %s: %w", p.j.dataName(s.object), err)
	}
}

// add queues entries of the object that is being read.
func (s *stream) add(p *Player, entries []wire.Entry) error {
	for _, e := range entries {
		if s.skip != nil {
			p.j.reserve(e.TagTID, e.EntryTID)
			if e.TagTID == s.skip.TagTID && e.EntryTID == s.skip.EntryTID {
				s.skip = nil
			}
			continue
		}
		if old := s.queued(e); old != nil {
			// The same append may have been sent twice.
			if !bytes.Equal(old.Data, e.Data) {
				return fmt.Errorf("%w: two entries %d of tag %d", ErrCorrupt, e.EntryTID, e.TagTID)
			}
			continue
		}
		s.queue = append(s.queue, &Entry{Entry: e, Object: s.object, j: p.j})
		s.bytes += len(e.Data) + wire.EntryOverhead
	}
	return nil
}

// queued returns the entry in the queue that has the same numbers, or nil.
func (s *stream) queued(e wire.Entry) *Entry {
	for i := len(s.queue) - 1; i >= 0; i-- {
		old := s.queue[i]
		if old.TagTID < e.TagTID || old.TagTID == e.TagTID && old.EntryTID < e.EntryTID {
			return nil // they ascend
		}
		if old.TagTID == e.TagTID && old.EntryTID == e.EntryTID {
			return old
		}
	}
	return nil
}

// maxAbsent is how many data objects of one splay offset may be missing in
// sequence. Each set was filled before the next one, so it is few.
const maxAbsent = 4096

// advance goes on to the stream's next object.
func (s *stream) advance(p *Player) {
	name := p.j.dataName(s.object)
	if len(s.torn) > 0 {
		p.j.log.Warn("journal object ends within an entry", "object", name, "offset", s.off, "bytes", len(s.torn))
	}
	s.absent++
	if !s.missing {
		s.absent = 0
	}
	if s.absent > maxAbsent {
		s.err = fmt.Errorf("%w: object %s and %d before it are not there", ErrMissing, name, s.absent-1)
	}
	s.object += uint64(p.j.layout.SplayWidth)
	s.off, s.want, s.atEnd, s.missing, s.torn = 0, p.chunk, false, false, nil
}
