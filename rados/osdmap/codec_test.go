package osdmap

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/crush"
)

var releases = map[string]uint64{"16.2": FeaturesPacific, "18.2": FeaturesReef, "20.2": FeaturesTentacle}

func TestRealFullMapsReadAndWriteAlike(t *testing.T) {
	for release, features := range releases {
		b, err := os.ReadFile("testdata/" + release + "/full.bin")
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", release, err)
		}
		if !bytes.Equal(m.Append(nil, features), b) {
			t.Errorf("%s: encodes differently", release)
		}
		if m.Epoch == 0 || m.MaxOSD() != 1 || !m.IsUp(0) || !m.HasFlag(FlagSortBitwise) {
			t.Errorf("%s: epoch %d, %d OSDs, flags %#x", release, m.Epoch, m.MaxOSD(), m.Flags)
		}
		b[len(b)/2] ^= 1
		if _, err := Decode(b); err == nil {
			t.Errorf("%s: a flipped bit went unseen", release)
		}
	}
}

// An optimised erasure coded pool of 4+2 (only shards 0, 4 and 5 may be primary)
// and blocklist entries whose order is by the bytes of the nonce.
func TestRealMapWithOptimisedErasureCodeAndBlocklist(t *testing.T) {
	b, err := os.ReadFile("testdata/20.2/full-ec-blocklist.bin")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil || !bytes.Equal(m.Append(nil, FeaturesTentacle), b) {
		t.Fatalf("differs: %v", err)
	}
	id, _ := m.PoolByName("osdmecopt")
	p := m.Pool(id)
	if p == nil || !p.IsErasure() || !p.HasFlag(PoolECOptimizations) || p.Size != 6 || p.NonPrimaryShards != [2]uint64{0b1110, 0} {
		t.Errorf("pool %d: %+v", id, p)
	}
	for addr, want := range map[string]bool{
		"v2:10.1.2.3:0/258": true, "v2:10.1.2.3:0/259": false, "v2:10.7.255.1:0/9": true, "v2:10.8.0.1:0/9": false,
	} {
		a, err := entity.ParseAddr(addr)
		if err != nil || m.IsBlocklisted(a) != want {
			t.Errorf("%s: not %v (%v)", addr, want, err)
		}
	}
}

func TestIncrementalsRoundTripAndApply(t *testing.T) {
	m := New(denc.UUID{9})
	inc := m.NewIncremental()
	inc.NewMaxOSD, inc.NewPoolMax = 3, 1
	inc.Crush = crush.Build([][]int32{{0}, {1}, {2}}, false).Append(nil)
	inc.NewPools = map[int64]*Pool{1: NewPool(PoolReplicated, 3, 2, 8)}
	inc.NewPoolNames = map[int64]string{1: "rbd"}
	inc.NewUp, inc.NewWeight = map[int32]entity.AddrVec{}, map[int32]uint32{}
	for osd := range int32(3) {
		a := entity.Addr{Type: entity.AddrMsgr2, Nonce: 5, IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(6800+osd))}
		inc.NewUp[osd], inc.NewWeight[osd] = entity.AddrVec{a}, InWeight
	}
	client := entity.Addr{Type: entity.AddrAny, Nonce: 77, IP: netip.MustParseAddrPort("10.0.0.9:0")}
	network := entity.Addr{Type: entity.AddrAny, Nonce: 16, IP: netip.MustParseAddrPort("10.7.0.0:0")}
	inc.OSDOnly.NewBlocklist = map[entity.Addr]denc.Time{client: {Sec: 5}}
	inc.OSDOnly.NewRangeBlocklist = map[entity.Addr]denc.Time{network: {Sec: 5}}
	next, full, encoded, err := m.Next(inc, FeaturesReef)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeIncremental(encoded)
	if err != nil || !bytes.Equal(again.Append(nil, FeaturesReef), encoded) {
		t.Fatalf("incremental differs: %v", err)
	}
	if m.Epoch != 0 || len(m.State) != 0 || len(m.Pools) != 0 {
		t.Error("the old map changed")
	}
	byBytes, err := m.Apply(again)
	if err != nil || !bytes.Equal(byBytes.Append(nil, FeaturesReef), full) || CRC(full) != again.FullCRC {
		t.Errorf("applied differently: %v", err)
	}
	if id, ok := next.PoolByName("rbd"); !ok || id != 1 {
		t.Errorf("pool %d, %v", id, ok)
	}
	if _, _, acting, primary := next.PGToUpActing(PG{1, 3}); len(acting) != 3 || primary != acting[0] {
		t.Errorf("acting %v, primary %d", acting, primary)
	}
	for addr, want := range map[string]bool{
		"v2:10.0.0.9:0/77": true, "10.0.0.9:0/78": false, "v2:10.7.3.3:0/4": true, "10.8.0.1:0/0": false,
	} {
		a, err := entity.ParseAddr(addr)
		if err != nil || next.IsBlocklisted(a) != want {
			t.Errorf("%s: not %v (%v)", addr, want, err)
		}
	}
	if _, err := next.Apply(again); !errors.Is(err, ErrEpoch) {
		t.Errorf("the same epoch twice: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for release := range releases {
		if b, err := os.ReadFile("testdata/" + release + "/full.bin"); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := denc.NewReader(b)
		m := &Map{}
		r.Enter("fuzz", mapVersion)
		m.decodeClient(r)
		m.OSDOnly.decode(r, len(m.State))
		_, _ = Decode(b)
	})
}

func FuzzDecodeIncremental(f *testing.F) {
	inc := New(denc.UUID{1}).NewIncremental()
	inc.NewMaxOSD = 2
	inc.NewPools = map[int64]*Pool{1: NewPool(PoolErasure, 3, 2, 8)}
	f.Add(inc.Append(nil, FeaturesTentacle))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := denc.NewReader(b)
		in := &Incremental{}
		r.Enter("fuzz", mapVersion)
		in.decodeClient(r)
		in.OSDOnly.decode(r)
		if r.Err() == nil {
			m := New(in.FSID)
			in.Epoch = 1
			_, _ = m.Apply(in)
		}
	})
}

func FuzzSmallTypes(f *testing.F) {
	f.Add(HeadOf("foo", NewLocator(3, "ns")).Append(nil))
	f.Add(NewLocator(3, "ns").Append(nil))
	f.Add(SPG{PG{1, 2}, 3}.Append(nil))
	f.Add(NewPool(PoolReplicated, 3, 2, 8).Append(nil, FeaturesTentacle))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range []interface{ Decode(*denc.Reader) }{&HObject{}, &ObjectLocator{}, &SPG{}, &Pool{}, &OSDXInfo{}} {
			d.Decode(denc.NewReader(b))
		}
	})
}

func TestHObjectOrder(t *testing.T) {
	h := func(hash uint32, oid string, snap uint64) HObject {
		return HObject{Pool: 1, Hash: hash, OID: oid, Snap: snap}
	}
	sorted := []HObject{MinHObject(), h(0, "b", 1), h(0x80000000, "a", 1), h(1, "a", 1), h(1, "a", NoSnap), h(1, "b", 1), MaxHObject()}
	for i := range sorted {
		for j := range sorted {
			if got := sorted[i].Compare(sorted[j]); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%d against %d: %d", i, j, got)
			}
		}
	}
}

func bigMap() *Map {
	return shape{name: "bench", osds: 1000, hosts: 50, racks: 5, alg: crush.AlgStraw2, pg: 4096}.build()
}

func BenchmarkMapPG(b *testing.B) {
	m := bigMap()
	var p Placement
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = m.MapPG(PG{1, uint32(i) & 4095}, &p)
	}
}

func BenchmarkObjectToPG(b *testing.B) {
	m := bigMap()
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = m.ObjectToPG(1, "ns", "", "rbd_data.10226b8b4567.0000000000000123")
	}
}

func BenchmarkDecode1000(b *testing.B) {
	full := bigMap().Append(nil, FeaturesReef)
	b.SetBytes(int64(len(full)))
	for b.Loop() {
		if _, err := Decode(full); err != nil {
			b.Fatal(err)
		}
	}
}
