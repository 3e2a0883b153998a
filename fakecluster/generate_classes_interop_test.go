//go:build interop

package fakecluster_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
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
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// appended makes an argument of what has an Append method.
func appended[T interface{ Append(b []byte) []byte }](f func(m *maker) T) []argument {
	return []argument{func(m *maker) []byte { return f(m).Append(nil) }}
}

func moment(m *maker) denc.Time {
	if m.chance(5) {
		return denc.Time{Sec: m.r.Uint32(), Nsec: m.r.Uint32N(1e9)}
	}
	return denc.Time{Sec: m.r.Uint32N(12), Nsec: 1000 * m.r.Uint32N(3)}
}

func some[T any](m *maker, n int, f func(m *maker) T) (l []T) {
	for range m.r.IntN(n + 1) {
		l = append(l, f(m))
	}
	return l
}

func objectVersion(m *maker) version.Version {
	return version.Version{Ver: m.small(), Tag: pick(m, "", "t1", "t1", "t2")}
}

func conds(m *maker) version.Conds {
	return version.Conds{Version: objectVersion(m), Conds: some(m, 2, func(m *maker) version.Cond {
		return version.Cond{Version: objectVersion(m), Cond: version.Condition(m.r.IntN(9))}
	})}
}

func tag(m *maker) string { return pick(m, "", "a", "b", "c", "d") }

func reference(m *maker) refcount.Ref { return refcount.Ref{Tag: tag(m), Implicit: m.chance(50)} }

// entryKey is a key of class log or timeindex, or something like it.
func entryKey(m *maker) string {
	switch m.r.IntN(8) {
	case 0:
		return m.key()
	case 1:
		return pick(m, "1_", "1_0", "2_", "1_9", "1_0000000005")
	case 2:
		return log.Key(moment(m))
	case 3:
		return log.Key(moment(m)) + "x"
	}
	return ""
}

func logEntry(m *maker) log.Entry {
	return log.Entry{ID: pick(m, "", "", "", entryKey(m)), Section: m.key(), Name: m.id(), Time: moment(m), Data: m.value()}
}

func most(m *maker) int32 { return pick[int32](m, 0, 1, 2, 3, 5, 1000, 5000, -1) }

func bucket(m *maker) user.Bucket {
	b := user.Bucket{Name: m.key(), Marker: m.id(), ID: m.id()}
	if m.chance(30) {
		b.Placement = m.id()
	} else {
		b.DataPool, b.IndexPool, b.ExtraPool = m.id(), m.id(), m.id()
	}
	return b
}

func bucketEntry(m *maker) user.Entry {
	return user.Entry{Bucket: bucket(m), Size: m.small(), Rounded: m.small(), Created: moment(m), Count: m.small(), Synced: m.chance(40)}
}

func number64(m *maker) []byte {
	switch m.r.IntN(8) {
	case 0:
		return m.value()
	case 1:
		return nil
	case 2:
		return []byte{byte(m.r.IntN(256))}
	}
	return denc.AppendU64(nil, m.small())
}

func values(m *maker) map[string][]byte {
	v := map[string][]byte{}
	n := m.r.IntN(4)
	if m.chance(2) {
		n = pick(m, 1000, 1001)
	}
	for i := range n {
		if n > 10 {
			v[fmt.Sprint("k", i)] = []byte{1, 2, 3, 4, 5, 6, 7, 8}
			continue
		}
		v["k"+m.key()] = number64(m)
	}
	return v
}

func comparison(m *maker) cmpomap.Compare {
	c := cmpomap.Compare{Mode: cmpomap.Mode(1 + m.r.IntN(2)), Op: cmpomap.Op(1 + m.r.IntN(6)), Values: values(m), HasDefault: m.chance(50)}
	if m.chance(3) {
		c.Mode = cmpomap.Mode(m.r.IntN(5))
	}
	if m.chance(3) {
		c.Op = cmpomap.Op(m.r.IntN(9))
	}
	if c.HasDefault {
		c.Default = number64(m)
	}
	return c
}

func source(m *maker) osdmap.HObject {
	if m.chance(3) {
		return pick(m, osdmap.MinHObject(), osdmap.MaxHObject())
	}
	return osdmap.HeadOf(m.id(), osdmap.ObjectLocator{Pool: int64(m.r.IntN(3)), Hash: -1, Namespace: pick(m, "", "n")})
}

// A seed and its password of now, of steps that do not end soon.
const otpSeed, otpStep = "3132333435363738393031323334353637383930", 3_600_000

func passwordOf(steps int64, digits int) string {
	seed, _ := hex.DecodeString(otpSeed)
	h := hmac.New(sha1.New, seed)
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix()/otpStep+steps)))
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff
	return fmt.Sprintf("%010d", n)[10-digits:]
}

func otpInfo(m *maker) otp.Info {
	i := otp.Info{Type: otp.TypeTOTP, ID: m.id(), Seed: otpSeed, SeedType: otp.SeedHex, Step: otpStep, Window: m.r.Uint32N(3)}
	switch m.r.IntN(8) {
	case 0:
		i.Seed = pick(m, "", "0", "zz", "AbCd", "12 34", "12\x0034", "1234 ")
	case 1:
		i.SeedType = otp.SeedBase32
		i.Seed = pick(m, "", "MFRGG", "mfrgg", "MFRG GZDF", "MFRGG===", "M", "MF", "MFR", "MFRGGZD", "1", "MFRG-GZDF", "MF=RGG", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	case 2:
		i.SeedType = byte(m.r.IntN(4))
	}
	return i
}

func otpTry(m *maker) otp.Try {
	v := passwordOf(int64(m.r.IntN(5)-2), pick(m, 6, 6, 7, 8, 5, 9))
	if m.chance(20) {
		v = pick(m, "", "123456", "abcdef")
	}
	return otp.Try{ID: m.id(), Value: v, Token: tag(m)}
}

func ids(m *maker) []string { return some(m, 3, (*maker).id) }

// place is a place in a queue whose head has a size. With one outside of what is
// there real OSDs read for ever.
func place(head int) func(m *maker) string {
	return func(m *maker) string {
		if m.chance(25) {
			return fmt.Sprintf(pick(m, "0/%d", "1/%d", " 0/%d", "+0/%d", "0/%dx", "-1/%d", "2/%d", "0/%d/"), head)
		}
		// Entries have data of 0, 1, 2, 20 or 100 bytes.
		return fmt.Sprint(m.r.IntN(2), "/", head+m.r.IntN(12)*10+pick(m, 0, 1, 2, 20, 40, 100))
	}
}

const oneHead, twoHead = queue.HeadSize, queue.HeadSize + queue.MaxUrgentSize

func chunks(m *maker) [][]byte {
	return some(m, 4, func(m *maker) []byte {
		p := make([]byte, pick(m, 0, 1, 2, 20, 100, 600, 1014))
		for i := range p {
			p[i] = m.letter()
		}
		return p
	})
}

func room(m *maker) uint64 {
	return pick[uint64](m, 300, 400, 1000, 2000, 100000)
}

func listing(head int) func(m *maker) queue.List {
	return func(m *maker) queue.List {
		start := pick(m, "", "", fmt.Sprint(m.r.IntN(2), "/", head), fmt.Sprint(m.r.IntN(2), "/", head+queue.Overhead))
		if m.chance(40) {
			return queue.List{Max: m.r.Uint64N(3), End: place(head)(m)} // the end must not be before the start
		}
		return queue.List{Max: pick[uint64](m, 1, 2, 3, 100, 0, 1<<63), Start: start}
	}
}

func sems(m *maker) []string {
	if m.chance(2) {
		l := make([]string, pick(m, 1000, 1001))
		for i := range l {
			l[i] = fmt.Sprintf("k%04d", i)
		}
		return l
	}
	return slices.Compact(slices.Sorted(slices.Values(some(m, 3, (*maker).key))))
}

// moreRoles are the classes that RBD does not use. read-only.
var moreRoles = []role{
	{"version", "version", []method{
		{"set", true, false, appended(func(m *maker) version.Set { return version.Set{Version: objectVersion(m)} })},
		{"inc", true, false, appended(conds)},
		{"inc_conds", true, false, appended(conds)},
		{"read", false, true, nil},
		{"check_conds", false, false, appended(conds)},
	}},
	{"refcount", "refcount", []method{
		{"get", true, false, appended(reference)},
		{"get", true, false, appended(reference)},
		{"put", true, false, appended(reference)},
		{"set", true, false, appended(func(m *maker) refcount.List { return refcount.List{Tags: some(m, 4, tag)} })},
		{"read", false, false, appended(func(m *maker) refcount.Read { return refcount.Read{Implicit: m.chance(50)} })},
	}},
	{"log", "log", []method{
		{"add", true, false, appended(func(m *maker) log.Add { return log.Add{Entries: some(m, 4, logEntry), Monotonic: m.chance(50)} })},
		{"list", false, false, appended(func(m *maker) log.List {
			return log.List{From: pick(m, denc.Time{}, moment(m)), Marker: entryKey(m), To: pick(m, denc.Time{}, moment(m)), Max: most(m)}
		})},
		{"trim", true, false, appended(func(m *maker) log.Trim {
			return log.Trim{From: pick(m, denc.Time{}, moment(m)), To: moment(m), FromMarker: entryKey(m), ToMarker: entryKey(m)}
		})},
		{"info", false, false, appended(func(m *maker) log.Info { return log.Info{} })},
	}},
	{"timeindex", "timeindex", []method{
		{"add", true, false, appended(func(m *maker) timeindex.Add {
			return timeindex.Add{Entries: some(m, 4, func(m *maker) timeindex.Entry {
				return timeindex.Entry{Time: moment(m), Ext: pick(m, "a", "b", "c_d", "e f", strings.Repeat("q", 300)), Value: m.value()}
			})}
		})},
		{"list", false, false, appended(func(m *maker) timeindex.List {
			return timeindex.List{From: pick(m, denc.Time{}, moment(m)), Marker: entryKey(m), To: pick(m, denc.Time{}, moment(m)), Max: most(m)}
		})},
		{"trim", true, false, appended(func(m *maker) timeindex.Trim {
			return timeindex.Trim{From: pick(m, denc.Time{}, moment(m)), To: moment(m), FromMarker: entryKey(m), ToMarker: entryKey(m)}
		})},
	}},
	{"user", "user", []method{
		{"set_buckets_info", true, false, appended(func(m *maker) user.SetBuckets {
			return user.SetBuckets{Entries: some(m, 3, bucketEntry), Add: m.chance(60), Time: moment(m)}
		})},
		{"complete_stats_sync", true, false, appended(func(m *maker) user.At { return user.At{Time: moment(m)} })},
		{"remove_bucket", true, false, appended(func(m *maker) user.RemoveBucket { return user.RemoveBucket{Bucket: bucket(m)} })},
		{"list_buckets", false, false, appended(func(m *maker) user.ListBuckets {
			return user.ListBuckets{Marker: pick(m, "", m.key()), End: pick(m, "", m.key()), Max: most(m)}
		})},
		{"get_header", false, false, appended(func(m *maker) user.GetHeader { return user.GetHeader{} })},
		{"reset_user_stats", true, false, appended(func(m *maker) user.At { return user.At{Time: moment(m)} })},
		{"reset_user_stats2", true, false, appended(func(m *maker) user.Reset { return user.Reset{Time: moment(m), Marker: pick(m, "", m.key())} })},
	}},
	{"account", "user", []method{
		{"account_resource_add", true, false, appended(func(m *maker) user.AccountAdd {
			return user.AccountAdd{Resource: user.Resource{Name: pick(m, "k"+m.key(), "K1", "Z", "É"), Path: pick(m, "", "/a/", "/a/b/", "/"), Metadata: m.value()}, Exclusive: m.chance(50), Limit: m.r.Uint32N(6)}
		})},
		{"account_resource_get", false, false, appended(func(m *maker) user.AccountName { return user.AccountName{Name: pick(m, m.key(), "K1", "Z", "É")} })},
		{"account_resource_rm", true, false, appended(func(m *maker) user.AccountName { return user.AccountName{Name: pick(m, m.key(), "K1", "Z", "É")} })},
		{"account_resource_list", false, false, appended(func(m *maker) user.AccountList {
			return user.AccountList{Marker: pick(m, "", m.key()), PathPrefix: pick(m, "", "/a/", "/"), Max: uint32(most(m))}
		})},
	}},
	{"cmpomap", "cmpomap", []method{
		{"cmp_vals", false, false, appended(comparison)},
		{"cmp_set_vals", true, false, appended(comparison)},
		{"cmp_set_vals", true, false, appended(comparison)},
		{"cmp_rm_keys", true, false, appended(func(m *maker) cmpomap.Remove {
			c := comparison(m)
			return cmpomap.Remove{Mode: c.Mode, Op: c.Op, Values: c.Values}
		})},
	}},
	{"cas", "cas", []method{
		{"chunk_create_or_get_ref", true, false, appended(func(m *maker) cas.CreateOrGet {
			return cas.CreateOrGet{Source: source(m), Flags: m.r.Uint64N(3), Data: m.value()}
		})},
		{"chunk_get_ref", true, false, appended(func(m *maker) cas.Ref { return cas.Ref{Source: source(m)} })},
		{"chunk_put_ref", true, false, appended(func(m *maker) cas.Ref { return cas.Ref{Source: source(m)} })},
		{"references_chunk", false, false, []argument{name}},
	}},
	{"otp", "otp", []method{
		{"otp_set", true, false, appended(func(m *maker) otp.Set { return otp.Set{Entries: some(m, 2, otpInfo)} })},
		{"otp_get", false, false, appended(func(m *maker) otp.Get { return otp.Get{All: m.chance(40), IDs: ids(m)} })},
		{"otp_check", true, false, appended(otpTry)},
		{"otp_check", true, false, appended(otpTry)},
		{"otp_get_result", false, true, appended(otpTry)},
		{"otp_remove", true, false, appended(func(m *maker) otp.Remove { return otp.Remove{IDs: ids(m)} })},
		{"get_current_time", false, true, appended(func(m *maker) otp.GetTime { return otp.GetTime{} })},
	}},
	{"queue", "queue", []method{
		{"queue_init", true, false, appended(func(m *maker) queue.Init {
			return queue.Init{Size: room(m), Urgent: m.value()}
		})},
		{"queue_get_capacity", false, false, nil},
		{"queue_enqueue", true, false, appended(func(m *maker) queue.Enqueue { return queue.Enqueue{Data: chunks(m)} })},
		{"queue_enqueue", true, false, appended(func(m *maker) queue.Enqueue { return queue.Enqueue{Data: chunks(m)} })},
		{"queue_list_entries", false, false, appended(listing(oneHead))},
		{"queue_remove_entries", true, false, appended(func(m *maker) queue.Remove { return queue.Remove{End: place(oneHead)(m)} })},
	}},
	{"twophase", "2pc_queue", []method{
		{"2pc_queue_init", true, false, appended(func(m *maker) queue.Init { return queue.Init{Size: room(m)} })},
		{"2pc_queue_get_capacity", false, false, nil},
		{"2pc_queue_get_topic_stats", false, false, nil},
		{"2pc_queue_reserve", true, false, appended(func(m *maker) queue.Reserve {
			return queue.Reserve{Size: pick(m, room(m), 20, 100), Entries: m.r.Uint32N(4)}
		})},
		{"2pc_queue_commit", true, false, appended(func(m *maker) queue.Commit { return queue.Commit{ID: m.r.Uint32N(8), Data: chunks(m)} })},
		{"2pc_queue_abort", true, false, appended(func(m *maker) queue.ID { return queue.ID{ID: m.r.Uint32N(8)} })},
		{"2pc_queue_list_reservations", false, true, nil},
		{"2pc_queue_list_entries", false, false, appended(listing(twoHead))},
		{"2pc_queue_remove_entries", true, false, appended(func(m *maker) queue.TwoPhaseRemove {
			return queue.TwoPhaseRemove{End: place(twoHead)(m), Entries: m.r.Uint32N(3)}
		})},
		{"2pc_queue_expire_reservations", true, false, appended(func(m *maker) queue.Expire { return queue.Expire{Time: moment(m)} })},
	}},
	{"sem_set", "sem_set", []method{
		{"increment", true, false, appended(func(m *maker) semset.Increment { return semset.Increment{Keys: sems(m)} })},
		{"increment", true, false, appended(func(m *maker) semset.Increment { return semset.Increment{Keys: sems(m)} })},
		{"decrement", true, false, appended(func(m *maker) semset.Decrement {
			return semset.Decrement{Keys: sems(m), Grace: pick[time.Duration](m, 0, 0, time.Hour)}
		})},
		{"reset", true, false, appended(func(m *maker) semset.Reset {
			r := semset.Reset{Keys: map[string]uint64{}}
			for _, k := range sems(m) {
				r.Keys[k] = m.small()
			}
			return r
		})},
		{"list", false, false, appended(func(m *maker) semset.List {
			return semset.List{Count: pick[uint64](m, 0, 1, 2, 3, 100, 5000), Cursor: pick(m, "", "", m.key())}
		})},
	}},
	{"sdk", "sdk", []method{
		{"test_coverage_write", true, false, nil},
		{"test_coverage_replay", true, false, nil},
	}},
}

// chosen are the roles of RBDM_CLASSES, the classes whose calls alone a run is
// to make.
func chosen() (l []role) {
	names := strings.Fields(os.Getenv("RBDM_CLASSES"))
	for _, r := range slices.Concat(roles, moreRoles) {
		if slices.Contains(names, r.class) {
			l = append(l, r)
		}
	}
	return l
}

// overwrite makes a step that puts something else where a class keeps what it has.
func (m *maker) overwrite(st *rawStep, r role) {
	p := make([]byte, m.r.IntN(40))
	for i := range p {
		p[i] = byte(m.r.IntN(4))
	}
	key := m.key()
	switch r.class {
	case "otp":
		key = pick(m, "header", "otp/i1", "otp/i2")
	case "log", "timeindex":
		key = log.Key(moment(m)) + m.key()
	case "sem_set":
		key = "CLS_SEM_SET_" + m.key()
	}
	set := func(name string, code wire.OpCode, data []byte) {
		st.Ops = append(st.Ops, named(name, code, nil, data))
	}
	switch n := m.r.IntN(10); {
	case n < 4:
		set("omap-set-vals", wire.OpOmapSetVals, wire.AppendOmap(nil, map[string][]byte{key: p}))
	case n < 5:
		set("omap-set-header", wire.OpOmapSetHeader, p)
	case n < 8:
		attr := pick(m, "ceph.objclass.version", "refcount", "chunk_refs", "cls_queue_urgent_data", "foo")
		w := wire.Op{}
		w.SetXattr(wire.XattrArg{NameLen: uint32(len(attr)), ValueLen: uint32(len(p))})
		st.Ops = append(st.Ops, named("setxattr", wire.OpSetXattr, &w, append([]byte(attr), p...)))
	case n < 9 && r.class != "queue" && r.class != "2pc_queue":
		st.Ops = append(st.Ops, ranged("write", wire.OpWrite, uint64(m.r.IntN(30)), uint64(len(p)), pack(p)))
	default:
		st.Ops = append(st.Ops, rawOp{Name: "delete", Code: wire.OpDelete})
	}
	m.writes = true
}

// look makes a step that reads all there is.
func (m *maker) look(st *rawStep, r role) {
	vals := wire.OmapGetValsInput{Max: 1000}
	w := wire.Op{}
	st.Ops = []rawOp{
		{Name: "stat", Code: wire.OpStat},
		ranged("read", wire.OpRead, 0, 0, ""),
		{Name: "getxattrs", Code: wire.OpGetXattrs},
		{Name: "omap-get-header", Code: wire.OpOmapGetHeader},
		named("omap-get-vals", wire.OpOmapGetVals, &w, vals.Append(nil)),
	}
	for i := range st.Ops {
		st.Ops[i].Blind = slices.Contains([]string{"version", "otp", "2pc_queue", "sem_set"}, r.class)
	}
	m.reads = true
}

// chosenStep makes a step about one of the chosen roles.
func (m *maker) chosenStep(st *rawStep, l []role) {
	m.writes, m.reads, m.copied, m.keyed = false, false, false, false
	r := l[m.r.IntN(len(l))]
	st.Object = r.object
	m.blank = r.class == "queue" || r.class == "2pc_queue" // see mend: they read what they have written
	if m.chance(10) {
		st.Object += "2"
	}
	switch n := m.r.IntN(100); {
	case n < 3:
		m.overwrite(st, r)
	case n < 15:
		m.look(st, r)
	default:
		f := r.methods[m.r.IntN(len(r.methods))]
		st.Ops = append(st.Ops, m.call(r.class, f))
		// Keys that the vector gave to a new object cannot be listed in it.
		for (!f.write || slices.Contains([]string{"version", "refcount", "cas", "queue"}, r.class)) && m.chance(10) {
			st.Ops = append(st.Ops, m.call(r.class, f))
		}
	}
	m.finish(st)
}
