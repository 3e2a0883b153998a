package cls

import (
	"errors"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/queue"
	"github.com/rbdm/rbdm/rados/errno"
)

// twoPhase is class 2pc_queue of a release: from 20 on it counts entries.
type twoPhase struct{ release int }

func twoPhaseMethods(release int) map[string]method {
	q := twoPhase{release}
	return map[string]method{
		queue.MethodTwoPhaseInit:        write(taking(q.init)),
		queue.MethodTwoPhaseGetCapacity: read(queueCapacity),
		queue.MethodTwoPhaseStats:       read(q.stats).from(20),
		queue.MethodReserve:             write(taking(q.reserve)),
		queue.MethodCommit:              write(taking(q.commit)),
		queue.MethodAbort:               write(taking(q.abort)),
		queue.MethodReservations:        read(q.reservations),
		queue.MethodTwoPhaseList:        read(queueList(release)),
		queue.MethodTwoPhaseRemove:      write(taking(q.remove)),
		queue.MethodExpire:              write(taking(q.expire)),
	}
}

func (q twoPhase) old() bool { return q.release < 20 }

func (q twoPhase) init(o Object, op queue.Init) ([]byte, error) {
	return nil, initQueue(o, queue.Init{Size: op.Size, MaxUrgentSize: queue.MaxUrgentSize, Urgent: queue.Urgent{Old: q.old()}.Append(nil)})
}

// state is a queue with its reservations.
type state struct {
	queue.Head
	queue.Urgent
}

func (q twoPhase) read(o Object) (s state, err error) {
	if s.Head, err = readHead(o); err != nil {
		return s, err
	}
	r := denc.NewReader(s.Head.Urgent)
	if s.Urgent.Decode(r); r.Err() != nil {
		return s, errno.ErrInvalid
	}
	s.Urgent.Old = q.old()
	if s.Reservations == nil {
		s.Reservations = queue.Reservations{}
	}
	q.age(s.Reservations)
	return s, nil
}

// age gives reservations the form of the release.
func (q twoPhase) age(m queue.Reservations) {
	for id, v := range m {
		v.Old = q.old()
		m[id] = v
	}
}

func (s state) write(o Object) error {
	s.Head.Urgent = s.Urgent.Append(nil)
	return writeHead(o, s.Head)
}

// more returns the reservations that have no room in the head.
func (q twoPhase) more(o Object) (m queue.Reservations, err error) {
	m = queue.Reservations{}
	p, err := xattr(o, queue.XattrUrgent)
	if err != nil {
		return m, nil
	}
	r := denc.NewReader(p)
	if m.Decode(r); r.Err() != nil {
		return nil, errno.ErrInvalid
	}
	if m == nil {
		m = queue.Reservations{}
	}
	q.age(m)
	return m, nil
}

// free is the room that the ring has.
func (s state) free() uint64 {
	if s.Tail.Offset >= s.Front.Offset {
		return s.Head.Size - s.Tail.Offset + s.Front.Offset - s.MaxHeadSize
	}
	return s.Front.Offset - s.Tail.Offset
}

func (q twoPhase) stats(o Object, _ *denc.Reader) ([]byte, error) {
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	return queue.Stats{Size: s.Head.Size - s.MaxHeadSize - s.free(), Entries: s.Committed}.Append(nil), nil
}

func (q twoPhase) reserve(o Object, op queue.Reserve) ([]byte, error) {
	if op.Size == 0 || op.Entries == 0 {
		return nil, errno.ErrInvalid
	}
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	overhead := uint64(op.Entries * queue.Overhead)
	if op.Size+s.Reserved+overhead > s.free() {
		return nil, errno.ErrNoSpace
	}
	s.Reserved += op.Size + overhead
	s.LastID++
	if _, ok := s.Reservations[s.LastID]; ok {
		return nil, errno.ErrAgain
	}
	v := queue.Reservation{Old: q.old(), Size: op.Size, Time: now(o), Entries: op.Entries}
	s.Reservations[s.LastID] = v
	if uint64(len(s.Urgent.Append(nil))) > s.MaxUrgentSize {
		m, err := q.more(o)
		if err != nil {
			return nil, err
		}
		if _, ok := m[s.LastID]; ok {
			return nil, errno.ErrAgain
		}
		m[s.LastID] = v
		o.SetXattr(queue.XattrUrgent, m.Append(nil))
		s.More = true
		delete(s.Reservations, s.LastID)
	}
	if err := s.write(o); err != nil {
		return nil, err
	}
	return queue.ID{ID: s.LastID}.Append(nil), nil
}

// find returns a reservation, and the map of the xattr if it is there. It is
// ErrNotFound if there is none.
func (q twoPhase) find(o Object, s state, id uint32) (v queue.Reservation, m queue.Reservations, err error) {
	if v, ok := s.Reservations[id]; ok {
		return v, nil, nil
	}
	if !s.More {
		return v, nil, errno.ErrNotFound
	}
	if m, err = q.more(o); err != nil {
		return v, nil, err
	}
	v, ok := m[id]
	if !ok {
		return v, nil, errno.ErrNotFound
	}
	return v, m, nil
}

// taken is what a reservation takes: before 20.2 it does not tell how many
// entries it is for, and what their heads take is never given back.
func taken(v queue.Reservation) uint64 {
	if v.Old {
		return v.Size
	}
	return v.Size + uint64(v.Entries*queue.Overhead)
}

// drop takes a reservation away.
func (s *state) drop(o Object, m queue.Reservations, id uint32, v queue.Reservation) {
	s.Reserved -= taken(v)
	if m == nil {
		delete(s.Reservations, id)
		return
	}
	delete(m, id)
	o.SetXattr(queue.XattrUrgent, m.Append(nil))
}

func (q twoPhase) commit(o Object, op queue.Commit) ([]byte, error) {
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	v, m, err := q.find(o, s, op.ID)
	if err != nil {
		return nil, err
	}
	size := uint64(0)
	for _, d := range op.Data {
		size += uint64(len(d))
	}
	if v.Size < size {
		return nil, errno.ErrInvalid
	}
	if err := enqueue(o, &s.Head, op.Data); err != nil {
		return nil, err
	}
	s.Committed += v.Entries
	s.drop(o, m, op.ID, v)
	return nil, s.write(o)
}

func (q twoPhase) abort(o Object, op queue.ID) ([]byte, error) {
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	v, m, err := q.find(o, s, op.ID)
	if errors.Is(err, errno.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.drop(o, m, op.ID, v)
	return nil, s.write(o)
}

func (q twoPhase) reservations(o Object, _ *denc.Reader) ([]byte, error) {
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	if s.More {
		m, err := q.more(o)
		if err != nil {
			return nil, err
		}
		for id, v := range m {
			if _, ok := s.Reservations[id]; !ok {
				s.Reservations[id] = v
			}
		}
	}
	return queue.ReservationList{Reservations: s.Reservations}.Append(nil), nil
}

func (q twoPhase) expire(o Object, op queue.Expire) ([]byte, error) {
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	stale := uint64(0)
	sweep := func(m queue.Reservations) (found bool) {
		for id, v := range m {
			if compareTimes(realTime(v.Time), realTime(op.Time)) < 0 {
				stale += taken(v)
				delete(m, id)
				found = true
			}
		}
		return found
	}
	found := sweep(s.Reservations)
	if s.More {
		m, err := q.more(o)
		if err != nil {
			return nil, err
		}
		if sweep(m) {
			found = true
			o.SetXattr(queue.XattrUrgent, m.Append(nil))
		}
	}
	if !found {
		return nil, nil
	}
	s.Reserved -= stale
	return nil, s.write(o)
}

func (q twoPhase) remove(o Object, op queue.TwoPhaseRemove) ([]byte, error) {
	if q.old() {
		h, err := readHead(o)
		if err != nil {
			return nil, err
		}
		if err := dequeue(o, &h, op.End); err != nil {
			return nil, err
		}
		return nil, writeHead(o, h)
	}
	h, err := readHead(o)
	if err != nil {
		return nil, err
	}
	if op.Entries == 0 {
		p, err := listQueue(o, h, queue.List{Max: ^uint64(0), End: op.End}, q.release)
		if err != nil {
			return nil, err
		}
		op.Entries = uint32(len(p.Entries))
	}
	if err := dequeue(o, &h, op.End); err != nil {
		return nil, err
	}
	s, err := q.read(o)
	if err != nil {
		return nil, err
	}
	s.Head = h
	s.Committed -= op.Entries
	return nil, s.write(o)
}
