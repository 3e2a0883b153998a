package cls

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/cas"
	"github.com/rbdm/rbdm/rados/cls/cmpomap"
	"github.com/rbdm/rbdm/rados/cls/log"
	"github.com/rbdm/rbdm/rados/cls/otp"
	"github.com/rbdm/rbdm/rados/cls/queue"
	"github.com/rbdm/rbdm/rados/cls/refcount"
	"github.com/rbdm/rbdm/rados/cls/semset"
	"github.com/rbdm/rbdm/rados/cls/timeindex"
	"github.com/rbdm/rbdm/rados/cls/user"
	"github.com/rbdm/rbdm/rados/cls/version"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

func TestOnlyListedClassesAreLoaded(t *testing.T) {
	g := Standard(20)
	c := caller{t, g, "sdk"}
	c.fails(errno.ErrPermission, newMemory(), "test_coverage_write")
	c.class = "nothing"
	c.fails(errno.ErrPermission, newMemory(), "x")
	g.Load("*")
	c.fails(errno.ErrNotSupported, newMemory(), "x")
	o := newMemory()
	c.class = "sdk"
	c.fails(errno.ErrNotFound, o, "test_coverage_replay")
	c.ok(o, "test_coverage_write")
	c.ok(o, "test_coverage_replay")
	if o.exists {
		t.Error("test_coverage_replay removes the object")
	}
	g.Load("rbd lock")
	c.class = version.Class
	c.fails(errno.ErrPermission, o, version.MethodRead)
	if _, r := Standard(18).Call(o, semset.Class, semset.MethodList, nil); r != errno.ErrPermission.Result() {
		t.Errorf("18.2 has sem_set: %d", r)
	}
}

func TestVersion(t *testing.T) {
	c, o := caller{t, Standard(20), version.Class}, newMemory()
	c.ok(o, version.MethodInc, version.Conds{})
	v := one[version.Read](c.ok(o, version.MethodRead)).Version
	if v.Ver != 2 || len(v.Tag) != version.TagLen {
		t.Errorf("%+v", v)
	}
	c.ok(o, version.MethodCheckConds, version.Conds{Conds: []version.Cond{{Version: v, Cond: version.Equal}}})
	c.fails(errno.ErrCanceled, o, version.MethodIncConds, version.Conds{Conds: []version.Cond{{Version: v, Cond: version.Greater}}})
	c.fails(errno.ErrInvalid, o, version.MethodSet)
}

func TestRefcount(t *testing.T) {
	c, o := caller{t, Standard(20), refcount.Class}, newMemory()
	c.fails(errno.ErrNotFound, o, refcount.MethodGet, refcount.Ref{Tag: "a"})
	o.exists = true
	c.ok(o, refcount.MethodGet, refcount.Ref{Tag: "a", Implicit: true})
	c.ok(o, refcount.MethodPut, refcount.Ref{Tag: "b", Implicit: true}) // the wildcard's
	c.ok(o, refcount.MethodPut, refcount.Ref{Tag: "b", Implicit: true}) // not a second time
	if l := one[refcount.List](c.ok(o, refcount.MethodRead, refcount.Read{})); len(l.Tags) != 1 || l.Tags[0] != "a" {
		t.Errorf("%+v", l)
	}
	c.ok(o, refcount.MethodPut, refcount.Ref{Tag: "a"})
	if o.exists {
		t.Error("the last reference is gone, the object is not")
	}
}

func TestLogAndTimeindex(t *testing.T) {
	c, o := caller{t, Standard(20), log.Class}, newMemory()
	add := log.Add{Monotonic: true}
	for i := range uint32(3) {
		add.Entries = append(add.Entries, log.Entry{Name: fmt.Sprint(i), Time: denc.Time{Sec: 9 - i}})
	}
	c.ok(o, log.MethodAdd, add)
	p := one[log.Page](c.ok(o, log.MethodList, log.List{Max: 2}))
	if len(p.Entries) != 2 || !p.Truncated || p.Entries[1].ID != p.Marker || p.Marker != "1_0000000009.000000_1.2" {
		t.Errorf("%+v", p)
	}
	if h := one[log.InfoResult](c.ok(o, log.MethodInfo, log.Info{})).Header; h.MaxTime.Sec != 9 || h.MaxMarker != "1_0000000009.000000_1.3" {
		t.Errorf("%+v", h)
	}
	c.ok(o, log.MethodTrim, log.Trim{To: denc.Time{Sec: 9}})
	c.fails(errno.ErrNoData, o, log.MethodTrim, log.Trim{To: denc.Time{Sec: 9}})

	c, o = caller{t, Standard(20), timeindex.Class}, newMemory()
	c.ok(o, timeindex.MethodAdd, timeindex.Add{Entries: []timeindex.Entry{{Time: denc.Time{Sec: 5, Nsec: 3000}, Ext: "x"}, {Time: denc.Time{Sec: 6}, Ext: "y"}}})
	q := one[timeindex.Page](c.ok(o, timeindex.MethodList, timeindex.List{To: denc.Time{Sec: 6}, Max: 9}))
	if len(q.Entries) != 1 || q.Entries[0].Time != (denc.Time{Sec: 5, Nsec: 3}) || q.Truncated {
		t.Errorf("%+v", q)
	}
	c.ok(o, timeindex.MethodTrim, timeindex.Trim{To: denc.Time{Sec: 6}})
	c.fails(errno.ErrNoData, o, timeindex.MethodTrim, timeindex.Trim{To: denc.Time{Sec: 6}})
}

func TestUser(t *testing.T) {
	c, o := caller{t, Standard(20), user.Class}, newMemory()
	b := user.Entry{Bucket: user.Bucket{Name: "b"}, Size: 7, Count: 2}
	c.ok(o, user.MethodSetBuckets, user.SetBuckets{Entries: []user.Entry{b}, Add: true, Time: denc.Time{Sec: 3}})
	b.Size = 9
	c.ok(o, user.MethodSetBuckets, user.SetBuckets{Entries: []user.Entry{b}})
	if h := one[user.HeaderResult](c.ok(o, user.MethodGetHeader, user.GetHeader{})).Header; h.Stats != (user.Stats{Entries: 2, Bytes: 9}) || h.Update.Sec != 3 {
		t.Errorf("%+v", h)
	}
	c.ok(o, user.MethodResetStats2, user.Reset{})
	c.ok(o, user.MethodRemoveBucket, user.RemoveBucket{Bucket: b.Bucket})
	if l := one[user.Buckets](c.ok(o, user.MethodListBuckets, user.ListBuckets{Max: 5})); len(l.Entries) != 0 {
		t.Errorf("%+v", l)
	}
	c.fails(errno.ErrInvalid, o, user.MethodSetBuckets, user.SetBuckets{Entries: []user.Entry{{}}, Add: true})

	a := newMemory()
	c.ok(a, user.MethodAccountAdd, user.AccountAdd{Resource: user.Resource{Name: "Bob", Path: "/x/"}, Limit: 1})
	c.fails(errno.ErrExists, a, user.MethodAccountAdd, user.AccountAdd{Resource: user.Resource{Name: "bob"}, Exclusive: true})
	c.fails(errno.ErrTooManyUsers, a, user.MethodAccountAdd, user.AccountAdd{Resource: user.Resource{Name: "al"}, Limit: 1})
	if p := one[user.AccountPage](c.ok(a, user.MethodAccountList, user.AccountList{PathPrefix: "/x", Max: 9})); len(p.Resources) != 1 || p.Marker != "bob" {
		t.Errorf("%+v", p)
	}
	c.ok(a, user.MethodAccountRemove, user.AccountName{Name: "BOB"})
	c.fails(errno.ErrNotFound, a, user.MethodAccountGet, user.AccountName{Name: "bob"})
	if _, r := Standard(18).Call(a, user.Class, user.MethodAccountGet, nil); r != errno.ErrNotSupported.Result() {
		t.Errorf("18.2 knows accounts: %d", r)
	}
}

func TestCmpomap(t *testing.T) {
	c, o := caller{t, Standard(20), cmpomap.Class}, newMemory()
	n := func(v uint64) []byte { return denc.AppendU64(nil, v) }
	set := cmpomap.Compare{Mode: cmpomap.U64, Op: cmpomap.Greater, Values: map[string][]byte{"k": n(5)}, HasDefault: true}
	c.ok(o, cmpomap.MethodSetVals, set)
	set.Values["k"] = n(4)
	c.ok(o, cmpomap.MethodSetVals, set) // leaves it at 5
	c.ok(o, cmpomap.MethodCmpVals, cmpomap.Compare{Mode: cmpomap.U64, Op: cmpomap.Equal, Values: map[string][]byte{"k": n(5)}})
	c.fails(errno.ErrCanceled, o, cmpomap.MethodCmpVals, set)
	o.omap["k"] = []byte{1}
	c.fails(errno.ErrIO, o, cmpomap.MethodCmpVals, set)
	c.ok(o, cmpomap.MethodRmKeys, cmpomap.Remove{Mode: cmpomap.String, Op: cmpomap.Greater, Values: map[string][]byte{"k": {0x80}}})
	if len(o.omap) != 1 {
		t.Error("bytes compare as signed numbers")
	}
}

func TestCas(t *testing.T) {
	c, o := caller{t, Standard(20), cas.Class}, newMemory()
	a, b := osdmap.HObject{OID: "a", Pool: 1}, osdmap.HObject{OID: "b", Pool: 1}
	c.fails(errno.ErrNotFound, o, cas.MethodGet, cas.Ref{Source: a})
	c.ok(o, cas.MethodCreateOrGet, cas.CreateOrGet{Source: a, Data: []byte("data")})
	c.fails(errno.ErrNoMessage, o, cas.MethodCreateOrGet, cas.CreateOrGet{Source: a, Data: []byte("other"), Flags: cas.FlagVerify})
	c.ok(o, cas.MethodGet, cas.Ref{Source: b})
	c.ok(o, cas.MethodPut, cas.Ref{Source: a})
	c.fails(errno.ErrNoLink, o, cas.MethodPut, cas.Ref{Source: a})
	c.fails(errno.ErrNoLink, o, cas.MethodReferences, "x")
	if c.ok(o, cas.MethodPut, cas.Ref{Source: b}); o.exists {
		t.Error("a chunk without references stays")
	}
}

func TestOtp(t *testing.T) {
	c, o := caller{t, Standard(20), otp.Class}, newMemory()
	o.now = time.Unix(59, 0) // a test vector of RFC 6238
	i := otp.Info{Type: otp.TypeTOTP, ID: "i", Seed: "3132333435363738393031323334353637383930", SeedType: otp.SeedHex, Step: 30, Window: 1}
	c.ok(o, otp.MethodSet, otp.Set{Entries: []otp.Info{i}})
	for token, want := range map[string]uint8{"94287082": otp.CheckSuccess, "94287083": otp.CheckFail} {
		c.ok(o, otp.MethodCheck, otp.Try{ID: "i", Value: token, Token: token})
		if got := one[otp.Result](c.ok(o, otp.MethodResult, otp.Try{ID: "i", Token: token})).Check.Result; got != want {
			t.Errorf("%s: %d", token, got)
		}
	}
	c.ok(o, otp.MethodCheck, otp.Try{ID: "i", Value: "94287082", Token: "again"})
	if got := one[otp.Result](c.ok(o, otp.MethodResult, otp.Try{ID: "i", Token: "again"})).Check.Result; got != otp.CheckFail {
		t.Error("a password is good once")
	}
	i.Seed = "0"
	c.fails(errno.ErrInvalid, o, otp.MethodSet, otp.Set{Entries: []otp.Info{i}})
	c.ok(o, otp.MethodRemove, otp.Remove{IDs: []string{"i", "j"}})
	c.fails(errno.ErrNotFound, o, otp.MethodCheck, otp.Try{ID: "i"})
}

func TestQueueGoesRound(t *testing.T) {
	c, o := caller{t, Standard(20), queue.Class}, newMemory()
	c.fails(errno.ErrInvalid, o, queue.MethodGetCapacity)
	c.ok(o, queue.MethodInit, queue.Init{Size: 60})
	c.fails(errno.ErrExists, o, queue.MethodInit, queue.Init{Size: 60})
	next := ""
	for i := range 20 {
		data := []byte(fmt.Sprintf("entry %06d", i))
		c.ok(o, queue.MethodEnqueue, queue.Enqueue{Data: [][]byte{data}})
		p := one[queue.Page](c.ok(o, queue.MethodList, queue.List{Max: 9, Start: next}))
		if len(p.Entries) != 1 || string(p.Entries[0].Data) != string(data) || p.Truncated {
			t.Fatalf("%d: %+v", i, p)
		}
		next = p.Next
		c.ok(o, queue.MethodRemove, queue.Remove{End: next})
	}
	c.fails(errno.ErrNoSpace, o, queue.MethodEnqueue, queue.Enqueue{Data: [][]byte{make([]byte, 51)}})
}

func TestReservations(t *testing.T) {
	for _, release := range []int{16, 20} {
		c, o := caller{t, Standard(release), queue.TwoPhaseClass}, newMemory()
		c.ok(o, queue.MethodTwoPhaseInit, queue.Init{Size: 100})
		id := one[queue.ID](c.ok(o, queue.MethodReserve, queue.Reserve{Size: 50, Entries: 2}))
		c.fails(errno.ErrNoSpace, o, queue.MethodReserve, queue.Reserve{Size: 50, Entries: 1})
		c.fails(errno.ErrInvalid, o, queue.MethodCommit, queue.Commit{ID: id.ID, Data: [][]byte{make([]byte, 51)}})
		c.ok(o, queue.MethodCommit, queue.Commit{ID: id.ID, Data: [][]byte{[]byte("a"), []byte("b")}})
		c.fails(errno.ErrNotFound, o, queue.MethodCommit, queue.Commit{ID: id.ID})
		c.ok(o, queue.MethodAbort, id)
		if release == 20 {
			if s := one[queue.Stats](c.ok(o, queue.MethodTwoPhaseStats)); s != (queue.Stats{Size: 22, Entries: 2}) {
				t.Errorf("%+v", s)
			}
		}
		c.ok(o, queue.MethodReserve, queue.Reserve{Size: 5, Entries: 1})
		c.ok(o, queue.MethodExpire, queue.Expire{Time: denc.TimeOf(o.now.Add(time.Second))})
		if l := one[queue.ReservationList](c.ok(o, queue.MethodReservations)); len(l.Reservations) != 0 {
			t.Errorf("%+v", l)
		}
		c.ok(o, queue.MethodTwoPhaseRemove, queue.TwoPhaseRemove{End: "0/24598"})
	}
}

func TestSemaphores(t *testing.T) {
	c, o := caller{t, Standard(20), semset.Class}, newMemory()
	c.ok(o, semset.MethodIncrement, semset.Increment{Keys: []string{"a", "b"}})
	c.ok(o, semset.MethodReset, semset.Reset{Keys: map[string]uint64{"b": 2}})
	c.ok(o, semset.MethodDecrement, semset.Decrement{Keys: []string{"a", "b"}})
	c.ok(o, semset.MethodDecrement, semset.Decrement{Keys: []string{"b"}, Grace: time.Hour}) // too early
	p := one[semset.Page](c.ok(o, semset.MethodList, semset.List{Count: 5}))
	if len(p.Values) != 1 || p.Values["b"] != 1 || p.Cursor != "" {
		t.Errorf("%+v", p)
	}
	c.fails(errno.ErrNotFound, o, semset.MethodDecrement, semset.Decrement{Keys: []string{"a"}})
	c.fails(errno.ErrTooBig, o, semset.MethodIncrement, semset.Increment{Keys: make1001()})
}

func make1001() (l []string) {
	for i := range semset.MaxKeys + 1 {
		l = append(l, fmt.Sprint(i))
	}
	return l
}

// TestQueueOverrun repeats, call by call, what a 20.2 OSD answered to a producer (e; F: no space)
// and a consumer (c) of a ring that is exactly full after some of the entries of a
// request: the rest goes over its front, and in the end a marker is no place in it.
func TestQueueOverrun(t *testing.T) {
	c, o := caller{t, Standard(20), queue.Class}, newMemory()
	c.ok(o, queue.MethodInit, queue.Init{Size: 4096})
	consume := func() queue.Remove {
		return queue.Remove{End: one[queue.Page](c.ok(o, queue.MethodList, queue.List{Max: 42})).Next}
	}
	requests := 0
	for _, step := range "eeeFcceFFcccceeceeccecccceeee" {
		var data [][]byte
		for i := range 50 {
			data = append(data, fmt.Appendf(nil, "op-%d-element-%d", requests, i))
		}
		switch step {
		case 'e':
			c.ok(o, queue.MethodEnqueue, queue.Enqueue{Data: data})
			requests++
		case 'F':
			before := slices.Clone(o.data)
			c.fails(errno.ErrNoSpace, o, queue.MethodEnqueue, queue.Enqueue{Data: data})
			o.data = before // as the OSD does with a request that failed
		case 'c':
			c.ok(o, queue.MethodRemove, consume())
		}
	}
	c.fails(errno.ErrInvalid, o, queue.MethodRemove, consume())
}
