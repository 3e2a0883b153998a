package fakecluster_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// A script is a sequence of requests to one placement group that means the same
// on every cluster: snapshots, versions and pools are named by what made them.
type script struct {
	// Note says what the script shows, Release which release gave the answers.
	Note    string    `json:"note,omitempty"`
	Release int       `json:"release"`
	Pool    string    `json:"pool,omitempty"` // what kind: see makePool
	Steps   []rawStep `json:"steps"`
	Answers []string  `json:"answers"`
}

// Snapshots that a script did not make.
const (
	snapHead = -1 // the object as it is
	snapDir  = -2 // the object with its clones
	snapNone = -3 // 0
	snapNext = -4 // not made yet
)

// rawStep is one request.
type rawStep struct {
	// Do is "op", "snap" (make a snapshot), "unsnap" (remove snapshot Snap, and
	// wait until it is trimmed), "again" (send the last write again), "notify"
	// or "events" (what watchers heard).
	Do     string       `json:"do"`
	Object string       `json:"object,omitempty"`
	Space  string       `json:"space,omitempty"` // added to the script's namespace
	Key    string       `json:"key,omitempty"`
	Flags  wire.ReqFlag `json:"flags,omitempty"`
	Snap   int          `json:"snap,omitempty"`
	Seq    int          `json:"seq,omitempty"`   // of the snap context
	Snaps  []int        `json:"snaps,omitempty"` // of the snap context
	Mtime  uint32       `json:"mtime,omitempty"`
	Silent bool         `json:"silent,omitempty"` // a notify that nobody answers
	Ops    []rawOp      `json:"ops,omitempty"`
}

// rawOp is one operation.
type rawOp struct {
	Name  string      `json:"name"`
	Code  wire.OpCode `json:"code"`
	Flags wire.OpFlag `json:"flags,omitempty"`
	Union string      `json:"union,omitempty"` // hexadecimal, without zeros at the end
	Data  string      `json:"data,omitempty"`  // see unpack
	Snap  *int        `json:"snap,omitempty"`  // put into the union
	Ver   *int        `json:"ver,omitempty"`   // a version that many above the last seen
	From  string      `json:"from,omitempty"`  // object to copy
	List  string      `json:"list,omitempty"`  // "start" or "next"
	Blind bool        `json:"blind,omitempty"` // the output has times or addresses: only its length counts
}

// unpack makes bytes of their short form: "x" and hexadecimal, "b*4096" for a
// byte repeated, parts joined by "+".
func unpack(s string) (p []byte) {
	if s == "" {
		return nil
	}
	for _, part := range strings.Split(s, "+") {
		if part[0] == 'x' && !strings.HasPrefix(part, "x*") {
			b, err := hex.DecodeString(part[1:])
			if err != nil {
				panic(err)
			}
			p = append(p, b...)
			continue
		}
		n, err := strconv.Atoi(part[2:])
		if err != nil {
			panic(err)
		}
		p = append(p, strings.Repeat(part[:1], n)...)
	}
	return p
}

func pack(p []byte) string {
	if len(p) == 0 {
		return ""
	}
	return "x" + hex.EncodeToString(p)
}

func fill(b byte, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%c*%d", b, n)
}

// String shows an operation.
func (o rawOp) String() string {
	var b strings.Builder
	b.WriteString(o.Name)
	if o.Flags != 0 {
		fmt.Fprintf(&b, " flags %#x", uint32(o.Flags))
	}
	w := wire.Op{Code: o.Code}
	u, _ := hex.DecodeString(o.Union)
	copy(w.Union[:], u)
	switch o.Code {
	case wire.OpCall:
		w.Data = msgr2.NewData(unpack(o.Data))
		c, m, in, _ := w.CallParts()
		fmt.Fprintf(&b, " %s.%s(%x)", c, m, in)
		return b.String()
	case wire.OpSetXattr, wire.OpGetXattr, wire.OpCmpXattr, wire.OpRmXattr:
		fmt.Fprintf(&b, " %q %s", unpack(o.Data), o.Union)
		return b.String()
	case wire.OpOmapSetVals, wire.OpOmapGetVals, wire.OpOmapGetKeys, wire.OpOmapRmKeys, wire.OpOmapRmKeyRange, wire.OpOmapGetByKeys, wire.OpOmapCmp:
		fmt.Fprintf(&b, " %q", unpack(o.Data))
		return b.String()
	}
	if o.Union != "" {
		e := w.Extent()
		fmt.Fprintf(&b, " %d+%d", e.Off, e.Len)
		if e.TruncateSize != 0 || e.TruncateSeq != 0 {
			fmt.Fprintf(&b, " (%d %d)", e.TruncateSize, e.TruncateSeq)
		}
	}
	for _, s := range []string{o.Data, o.From, o.List} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if o.Snap != nil {
		fmt.Fprintf(&b, " #%d", *o.Snap)
	}
	if o.Ver != nil {
		fmt.Fprintf(&b, " version+%d", *o.Ver)
	}
	return b.String()
}

// String shows a step.
func (s rawStep) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", s.Do, s.Object)
	if s.Space != "" || s.Key != "" {
		fmt.Fprintf(&b, " (space %q key %q)", s.Space, s.Key)
	}
	if s.Flags != 0 {
		fmt.Fprintf(&b, " flags %#x", uint32(s.Flags))
	}
	if s.Snap != snapHead {
		fmt.Fprintf(&b, " at #%d", s.Snap)
	}
	if len(s.Snaps) > 0 || s.Seq != snapNone {
		fmt.Fprintf(&b, " snapc %d%v", s.Seq, s.Snaps)
	}
	for _, o := range s.Ops {
		b.WriteString("; " + o.String())
	}
	return b.String()
}

// steps lists steps.
func steps(l []rawStep) string {
	var b strings.Builder
	for i, s := range l {
		fmt.Fprintf(&b, "%3d %s\n", i, s)
	}
	return b.String()
}

// stage is where a script runs: a pool of a cluster, in which it has a namespace
// of its own.
type stage struct {
	c     *rawCluster
	pool  int64
	name  string // of the pool
	snaps string // "pool" when the pool has snapshots of its own

	space  string
	number uint64 // of the script: its part of cookies
	base   uint64 // user version when it began
	ids    []uint64
	last   map[string]uint64 // user versions by object
	next   wire.HObject      // where a listing goes on
	events chan *wire.WatchNotify
	write  *wire.OSDOp // the last one
	blind  []bool      // which of its outputs differ from cluster to cluster
}

// makePool makes a pool of a kind: "" is replicated, "pool" is replicated with
// snapshots of the pool, "ec" and "overwrites" are erasure coded.
func makePool(ctx context.Context, c *rawCluster, name, kind string) error {
	cmd := map[string]any{"prefix": "osd pool create", "pool": name, "pg_num": 1, "pgp_num": 1}
	if kind == "ec" || kind == "overwrites" {
		cmd["pool_type"], cmd["erasure_code_profile"] = "erasure", "difference"
		profile := map[string]any{"prefix": "osd erasure-code-profile set", "name": "difference", "profile": []string{"k=2", "m=1", "crush-failure-domain=osd"}}
		if _, err := c.command(ctx, profile); err != nil {
			return err
		}
	}
	if _, err := c.command(ctx, cmd); err != nil {
		return err
	}
	if kind == "overwrites" {
		_, err := c.command(ctx, map[string]any{"prefix": "osd pool set", "pool": name, "var": "allow_ec_overwrites", "val": "true"})
		return err
	}
	return nil
}

// openStage returns a stage in a pool; the OSD has made the pool when it returns.
func openStage(ctx context.Context, c *rawCluster, pool, kind string) (*stage, error) {
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	id, ok := c.osdMap().PoolByName(pool)
	if !ok {
		return nil, fmt.Errorf("%s has no pool %s", c.name, pool)
	}
	for { // until its OSD is up
		if _, _, _, primary := c.osdMap().PGToUpActing(wire.PG{Pool: id}); primary >= 0 {
			return &stage{c: c, pool: id, name: pool, snaps: kind}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if err := c.refresh(ctx); err != nil {
			return nil, err
		}
	}
}

// begin starts a script in a namespace of its own.
func (s *stage) begin(ctx context.Context, number uint64) error {
	s.space, s.number = fmt.Sprintf("s%d", number), number
	s.base, s.ids, s.last, s.next, s.write = 0, nil, map[string]uint64{}, wire.HObject{}, nil
	s.events = make(chan *wire.WatchNotify, 1000)
	rep, err := s.first(ctx)
	if err != nil {
		return err
	}
	if rep.Result != 0 {
		return fmt.Errorf("the first write: %d", rep.Result)
	}
	s.base = rep.UserVersion
	m := s.c.osdMap()
	_, _, _, primary := m.PGToUpActing(wire.PG{Pool: s.pool})
	r, err := s.c.osd(ctx, primary)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.watches[number] = s.events
	r.mu.Unlock()
	return nil
}

// first makes the script's first write. An OSD that died in the script before may be
// on its way up again: that is waited for.
func (s *stage) first(ctx context.Context) (*wire.OSDOpReply, error) {
	for end := time.Now().Add(time.Minute); ; {
		rep, err := s.c.do(ctx, s.message(rawStep{Object: "base", Snap: snapHead, Seq: snapNone, Flags: wire.FlagWrite, Ops: []rawOp{{Code: wire.OpCreate}}}), time.Minute)
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return rep, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		if err := s.c.refresh(ctx); err != nil {
			return nil, err
		}
	}
}

func (s *stage) snapID(i int) uint64 {
	switch {
	case i == snapHead:
		return wire.SnapHead
	case i == snapDir:
		return wire.SnapDir
	case i == snapNext:
		return 1 << 20
	case i < 0 || i >= len(s.ids):
		return 0
	}
	return s.ids[i]
}

func (s *stage) snapName(id uint64) string {
	if i := slices.Index(s.ids, id); i >= 0 {
		return fmt.Sprint("#", i)
	}
	switch id {
	case wire.SnapHead:
		return "head"
	case wire.SnapDir:
		return "dir"
	case 0:
		return "0"
	}
	if id == s.snapID(snapNext) {
		return "#next"
	}
	return "#other"
}

func (s *stage) message(st rawStep) *wire.OSDOp {
	m := &wire.OSDOp{
		Object: st.Object, Flags: st.Flags | wire.FlagsAlways, Snap: s.snapID(st.Snap), Retry: -1,
		Locator: wire.ObjectLocator{Pool: s.pool, Key: st.Key, Namespace: s.space + st.Space, Hash: -1},
		SnapC:   wire.SnapContext{Seq: s.snapID(st.Seq)},
		ModTime: denc.Time{Sec: st.Mtime},
	}
	if st.Space == "*" {
		m.Locator.Namespace = wire.AllNamespaces
	}
	for _, i := range st.Snaps {
		m.SnapC.Snaps = append(m.SnapC.Snaps, s.snapID(i))
	}
	om := s.c.osdMap()
	// A name that is too long has a hash like any other.
	m.PG.PG, m.Hash, _ = om.ObjectToPG(s.pool, m.Locator.Namespace, st.Key, st.Object)
	if st.Flags&wire.FlagPGOp != 0 {
		m.PG.PG, m.Hash = wire.PG{Pool: s.pool}, 0
	}
	for _, o := range st.Ops {
		m.Ops = append(m.Ops, s.operation(st, o))
	}
	return m
}

func (s *stage) operation(st rawStep, o rawOp) wire.Op {
	w := wire.Op{Code: o.Code, Flags: o.Flags}
	u, err := hex.DecodeString(o.Union)
	if err != nil {
		panic(err)
	}
	copy(w.Union[:], u)
	p := unpack(o.Data)
	switch {
	case o.Code == wire.OpWatch || o.Code == wire.OpNotify:
		w.Union[1], w.Union[2] = byte(s.number), byte(s.number>>8)
	case o.From != "":
		in := wire.CopyFromInput{Object: o.From, Locator: wire.ObjectLocator{Pool: s.pool, Namespace: s.space, Hash: -1}}
		p = append(in.Append(nil), p...)
	case o.List != "":
		at := wire.HObject{Pool: s.pool}
		if o.List == "next" && s.next.Pool == s.pool {
			at = s.next
		}
		p = at.Append(p)
	}
	if o.Snap != nil {
		id := denc.AppendU64(nil, s.snapID(*o.Snap))
		copy(w.Union[:], id)
	}
	if o.Ver != nil {
		w.SetAssertVer(s.last[st.Object] + uint64(*o.Ver))
	}
	if len(p) > 0 {
		w.Data = msgr2.NewData(p)
	}
	return w
}

// patience is how long to wait for an answer: some requests get none.
var patience = 8 * time.Second

// silence is the answer that does not come.
const silence = "no answer"

// run carries out a step and returns the answer in words.
func (s *stage) run(ctx context.Context, st rawStep) (string, error) {
	switch st.Do {
	case "snap":
		return s.makeSnap(ctx)
	case "unsnap":
		return s.removeSnap(ctx, st)
	case "again":
		if s.write == nil {
			return "nothing", nil
		}
		again := *s.write
		again.Ops = slices.Clone(again.Ops)
		again.Flags |= wire.FlagRetry
		again.Retry = 1
		rep, err := s.c.do(ctx, &again, patience)
		if err != nil {
			return "", err
		}
		for i := range rep.Ops {
			if i < len(s.blind) && s.blind[i] {
				rep.Ops[i].Data = msgr2.NewData(make([]byte, rep.Ops[i].Data.Len()))
			}
		}
		return s.answer(rawStep{Object: again.Object}, rep), nil
	case "events":
		return s.heard(ctx)
	}
	m := s.message(st)
	rep, err := s.c.do(ctx, m, patience)
	if errors.Is(err, errNoAnswer) {
		return silence, nil
	}
	if err != nil {
		return "", err
	}
	if m.Flags&wire.FlagWrite != 0 {
		s.write, s.blind = m, nil
		for _, o := range st.Ops {
			s.blind = append(s.blind, o.Blind)
		}
	}
	out := s.answer(st, rep)
	if st.Do == "notify" && rep.Result == 0 {
		more, err := s.notified(ctx, st, rep)
		return out + more, err
	}
	return out, nil
}

// makeSnap makes a snapshot of the pool, or the id of one that clients manage.
func (s *stage) makeSnap(ctx context.Context) (string, error) {
	if s.snaps == "pool" {
		name := fmt.Sprintf("%s-%d", s.space, len(s.ids))
		if _, err := s.c.command(ctx, map[string]any{"prefix": "osd pool mksnap", "pool": s.name, "snap": name}); err != nil {
			return "", err
		}
		if err := s.c.refresh(ctx); err != nil {
			return "", err
		}
		for id, snap := range s.c.osdMap().Pool(s.pool).Snaps {
			if snap.Name == name {
				s.ids = append(s.ids, id)
			}
		}
		return s.settled(ctx)
	}
	rep, err := s.c.mon.PoolOp(ctx, wire.PoolOp{Op: wire.PoolOpCreateUnmanagedSnap, Pool: uint32(s.pool)})
	if err != nil {
		return "", err
	}
	s.ids = append(s.ids, denc.NewReader(rep.Data).U64())
	return "made", nil
}

// settled waits until the OSD has the newest map: it waits itself with a request
// that was made by it.
func (s *stage) settled(ctx context.Context) (string, error) {
	if err := s.c.refresh(ctx); err != nil {
		return "", err
	}
	rep, err := s.c.do(ctx, s.message(rawStep{Object: "base", Snap: snapHead, Seq: snapNone, Flags: wire.FlagRead, Ops: []rawOp{{Code: wire.OpStat}}}), time.Minute)
	if err != nil {
		return "", err
	}
	return fmt.Sprint("settled ", rep.Result), nil
}

// removeSnap removes a snapshot and waits until the OSD has trimmed it.
func (s *stage) removeSnap(ctx context.Context, st rawStep) (string, error) {
	if s.snaps == "pool" {
		name := fmt.Sprintf("%s-%d", s.space, st.Snap)
		var err error
		if st.Snap%2 == 0 {
			_, err = s.c.command(ctx, map[string]any{"prefix": "osd pool rmsnap", "pool": s.name, "snap": name})
		} else { // as "rados rmsnap" does
			_, err = s.c.mon.PoolOp(ctx, wire.PoolOp{Op: wire.PoolOpDeleteSnap, Pool: uint32(s.pool), Name: name})
		}
		if err != nil {
			return "", err
		}
	} else if _, err := s.c.mon.PoolOp(ctx, wire.PoolOp{Op: wire.PoolOpDeleteUnmanagedSnap, Pool: uint32(s.pool), SnapID: s.snapID(st.Snap)}); err != nil {
		return err.Error(), nil
	}
	for {
		out, err := s.c.command(ctx, map[string]any{"prefix": "osd dump"})
		if err != nil {
			return "", err
		}
		if !trimming(string(out), s.name) {
			break
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
	return s.settled(ctx)
}

// trimming reports whether "osd dump" says that a pool has snapshots that are
// not trimmed yet.
func trimming(dump, pool string) bool {
	lines := strings.Split(dump, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "pool ") && strings.Contains(l, "'"+pool+"'") {
			for i++; i < len(lines) && strings.HasPrefix(lines[i], "\t"); i++ {
				if strings.Contains(lines[i], "removed_snaps_queue") {
					return true
				}
			}
			return false
		}
	}
	return false
}
