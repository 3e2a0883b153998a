package fakecluster_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// answer puts a reply in words.
func (s *stage) answer(st rawStep, rep *wire.OSDOpReply) string {
	var b strings.Builder
	fmt.Fprint(&b, rep.Result)
	if rep.Result >= 0 || rep.Result == errno.ErrNotFound.Result() {
		// With other errors it depends on what an OSD has in its cache.
		fmt.Fprintf(&b, " v%s", s.version(rep.UserVersion))
	}
	if rep.UserVersion > 0 && (len(st.Ops) == 0 || st.Snap == snapHead) {
		s.last[st.Object] = rep.UserVersion
	}
	fmt.Fprintf(&b, " flags %#x ops %d", uint32(rep.Flags), len(rep.Ops))
	if rep.Object != st.Object {
		fmt.Fprintf(&b, " object %.20q", rep.Object)
	}
	if rep.Redirect != nil {
		b.WriteString(" redirect")
	}
	for i := range rep.Ops {
		o := &rep.Ops[i]
		blind := i < len(st.Ops) && st.Ops[i].Blind
		fmt.Fprintf(&b, " | %d %s", o.Rval, s.output(o, blind))
		if i < len(st.Ops) && st.Ops[i].Code != o.Code {
			fmt.Fprintf(&b, " code %s", o.Code)
		}
		if u := s.union(o); i < len(st.Ops) && st.Ops[i].Union != u {
			b.WriteString(" union " + u)
		}
	}
	return b.String()
}

// union returns an operation's arguments as they are written in scripts.
func (s *stage) union(o *wire.Op) string {
	switch o.Code {
	case wire.OpWatch, wire.OpNotify:
		o.Union[1], o.Union[2] = 0, 0
	case wire.OpAssertVer, wire.OpRollback, wire.OpCopyFrom, wire.OpCopyFrom2:
		return ""
	}
	u := o.Union[:]
	for len(u) > 0 && u[len(u)-1] == 0 {
		u = u[:len(u)-1]
	}
	return hex.EncodeToString(u)
}

func (s *stage) version(v uint64) string {
	if v >= s.base && s.base > 0 {
		return fmt.Sprint("+", v-s.base)
	}
	return fmt.Sprint(v)
}

// output puts an operation's output in words.
func (s *stage) output(o *wire.Op, blind bool) string {
	p := o.Data.Bytes()
	if len(p) == 0 {
		return "-"
	}
	r := denc.NewReader(p)
	switch o.Code {
	case wire.OpListSnaps:
		var l wire.SnapList
		if l.Decode(r); r.Err() == nil {
			return s.snapList(l)
		}
	case wire.OpPgnls, wire.OpPgnlsFilter:
		var l wire.PgnlsReply
		if l.Decode(r); r.Err() == nil {
			s.next = l.Next
			l.Next.Pool = 0
			return fmt.Sprintf("%+v", l)
		}
	case wire.OpListWatchers:
		var l wire.WatcherList
		if l.Decode(r); r.Err() == nil {
			var out string
			for _, w := range l.Watchers {
				out += fmt.Sprintf(" %d/%d", w.Cookie&(1<<cookieBits-1), w.Timeout)
			}
			return "watchers" + out
		}
	case wire.OpNotify:
		return "id"
	}
	if blind {
		return fmt.Sprint(len(p), " bytes")
	}
	return sum(p)
}

func (s *stage) snapList(l wire.SnapList) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seq %s", s.snapName(l.Seq))
	for _, c := range l.Clones {
		fmt.Fprintf(&b, ", %s [", s.snapName(c.ID))
		for _, id := range c.Snaps {
			b.WriteString(s.snapName(id) + " ")
		}
		fmt.Fprintf(&b, "] %v %d", c.Overlap, c.Size)
	}
	return b.String()
}

// notified waits for the end of a notify, answering for all watchers if they do.
func (s *stage) notified(ctx context.Context, st rawStep, rep *wire.OSDOpReply) (string, error) {
	id := denc.NewReader(rep.Ops[len(rep.Ops)-1].Data.Bytes()).U64()
	var heard []string
	end := time.After(patience)
	for {
		select {
		case e := <-s.events:
			heard = append(heard, s.event(e))
			switch {
			case e.Event == wire.WatchEventComplete && e.NotifyID == id:
				slices.Sort(heard)
				return fmt.Sprintf(" heard %q", heard), nil
			case e.Event == wire.WatchEventNotify && !st.Silent:
				in := wire.NotifyAckInput{NotifyID: e.NotifyID, Cookie: e.Cookie, Reply: fmt.Appendf(nil, "reply %d", e.Cookie&(1<<cookieBits-1))}
				m := s.message(rawStep{Object: st.Object, Space: st.Space, Key: st.Key, Snap: snapHead, Seq: snapNone, Flags: wire.FlagRead,
					Ops: []rawOp{{Code: wire.OpNotifyAck, Data: pack(in.Append(nil))}}})
				if _, err := s.c.do(ctx, m, patience); err != nil {
					return "", err
				}
			}
		case <-end:
			slices.Sort(heard)
			return fmt.Sprintf(" heard %q and no end", heard), nil
		}
	}
}

func (s *stage) event(e *wire.WatchNotify) string {
	payload := fmt.Sprintf("%q", e.Payload)
	if e.Event == wire.WatchEventComplete {
		var r wire.NotifyReply
		rd := denc.NewReader(e.Payload)
		if r.Decode(rd); rd.Err() == nil {
			payload = ""
			for _, a := range r.Acks {
				payload += fmt.Sprintf(" ack %d %q", a.Cookie&(1<<cookieBits-1), a.Payload)
			}
			// An OSD has them in the order of their places in its memory.
			slices.SortFunc(r.Timeouts, func(a, b wire.NotifyAck) int { return cmp.Compare(a.Cookie, b.Cookie) })
			for _, a := range r.Timeouts {
				payload += fmt.Sprintf(" late %d", a.Cookie&(1<<cookieBits-1))
			}
		}
	}
	return fmt.Sprintf("%d cookie %d result %d %s v%s", e.Event, e.Cookie&(1<<cookieBits-1), e.ReturnCode, payload, s.version(e.Version))
}

// heard returns what watchers heard so far, or hear within a moment. What OSDs
// have sent by now has come when they answered once more, however slow the machine.
func (s *stage) heard(ctx context.Context) (string, error) {
	if err := s.flush(ctx); err != nil {
		return "", err
	}
	var heard []string
	end := time.After(150 * time.Millisecond)
	for {
		select {
		case e := <-s.events:
			heard = append(heard, s.event(e))
		case <-end:
			slices.Sort(heard)
			return fmt.Sprintf("%q", heard), nil
		}
	}
}

// flush gets an answer from every OSD that has a group of the pool.
func (s *stage) flush(ctx context.Context) error {
	om, done := s.c.osdMap(), map[int32]bool{}
	for seed := range om.Pool(s.pool).PGNum {
		_, _, _, primary := om.PGToUpActing(wire.PG{Pool: s.pool, Seed: seed})
		if primary < 0 || done[primary] {
			continue
		}
		done[primary] = true
		m := s.message(rawStep{Object: "flush", Snap: snapHead, Seq: snapNone, Flags: wire.FlagRead, Ops: []rawOp{{Code: wire.OpStat}}})
		m.PG.PG, m.Hash = wire.PG{Pool: s.pool, Seed: seed}, seed
		if _, err := s.c.do(ctx, m, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// sum shows data as it is when it is short, else by its length and a hash.
func sum(p []byte) string {
	if len(p) < 40 {
		return fmt.Sprintf("%q", p)
	}
	h := uint64(14695981039346656037)
	for _, c := range p {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return fmt.Sprintf("%d bytes %x", len(p), h)
}
