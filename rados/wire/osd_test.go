package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// osdFronts returns one filled value of every front that OSDs send or get.
func osdFronts() []Front {
	read := Op{Code: OpRead, Flags: OpFlagFadviseNoCache}
	read.SetExtent(Extent{Off: 4096, Len: 512})
	call := Op{Code: OpCall}
	call.SetCall(CallArg{ClassLen: 3, MethodLen: 4, InputLen: 5})
	loc := ObjectLocator{Pool: 3, Key: "k", Namespace: "ns", Hash: -1}
	return []Front{
		&OSDOp{
			PG: SPG{PG: PG{Pool: 3, Seed: 0x1f}, Shard: NoShard}, Hash: 0xdeadbeef, Epoch: 77, Flags: FlagRead | FlagsAlways,
			ReqID:   ReqID{Name: entity.Name{Type: entity.TypeClient, Num: 4123}, TID: 9},
			ModTime: denc.Time{Sec: 5, Nsec: 6}, Locator: loc, Object: "rbd_data.1.2", Ops: []Op{read, call},
			Snap: SnapHead, SnapC: SnapContext{Seq: 9, Snaps: []uint64{9, 4}}, Retry: -1, Features: 0x3f01cfbffffdffff,
		},
		&OSDOpReply{
			Object: "o", PG: PG{Pool: 3, Seed: 0x1f}, Flags: FlagOnDisk, Result: -2, BadReplay: EVersion{1, 2}, Epoch: 78,
			Ops: []Op{{Code: OpStat, Rval: -2}}, Retry: 1, ReplayVersion: EVersion{10, 11}, UserVersion: 12,
			Redirect: &Redirect{Locator: loc, Object: "other"},
		},
		&OSDBackoff{
			PG: SPG{PG: PG{Pool: 3, Seed: 1}}, Epoch: 5, Op: BackoffBlock, ID: 8,
			Begin: HObject{OID: "a", Snap: SnapHead, Hash: 1, Pool: 3}, End: HObject{Max: true},
		},
		&OSDMapMessage{
			FSID: denc.UUID{1}, Incrementals: map[uint32][]byte{7: []byte("inc"), 8: {}},
			Full: map[uint32][]byte{6: []byte("full")}, Oldest: 1, Newest: 9,
		},
		&WatchNotify{Event: WatchEventNotify, Cookie: 1, Version: 2, NotifyID: 3, Payload: []byte("p"), ReturnCode: -110, NotifierGID: 4},
	}
}

func TestOSDFrontsComeBackAsTheyWent(t *testing.T) {
	for _, f := range osdFronts() {
		b := f.Append(nil)
		got := reflect.New(reflect.TypeOf(f).Elem()).Interface().(Front)
		if err := Decode(got, b); err != nil {
			t.Errorf("%T: %v", f, err)
			continue
		}
		if again := got.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%T:\n% x\n% x", f, b, again)
		}
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%T:\n%+v\n%+v", f, f, got)
		}
		for n := range len(b) {
			if _, isNotify := f.(*WatchNotify); isNotify {
				break // its tail is optional
			}
			if err := Decode(reflect.New(reflect.TypeOf(f).Elem()).Interface().(Front), b[:n]); err == nil {
				t.Errorf("%T: cut at %d of %d was read", f, n, len(b))
			}
		}
	}
}

// payload is an input or output of an operation.
type payload interface {
	Append([]byte) []byte
	Decode(*denc.Reader)
}

type pair[T any] struct{ v, zero T }

func payloads() []pair[payload] {
	addr := entity.Addr{Type: entity.AddrMsgr2, Nonce: 5, IP: netip.MustParseAddrPort("127.0.0.1:0")}
	return []pair[payload]{
		{&OmapGetValsInput{After: "a", Max: 7, Prefix: "p"}, &OmapGetValsInput{}},
		{&OmapGetValsOutput{Keys: []string{"a", "b"}, Values: map[string][]byte{"b": []byte("2"), "a": []byte("1")}, More: true}, &OmapGetValsOutput{}},
		{&OmapGetKeysInput{After: "a", Max: 7}, &OmapGetKeysInput{}},
		{&OmapGetKeysOutput{Keys: []string{"a", "b"}, More: true}, &OmapGetKeysOutput{}},
		{&OmapRmKeyRangeInput{First: "a", End: "b"}, &OmapRmKeyRangeInput{}},
		{&StatOutput{Size: 1, ModTime: denc.Time{Sec: 2, Nsec: 3}}, &StatOutput{}},
		{&CopyFromInput{Object: "o", Locator: ObjectLocator{Pool: 1, Hash: -1}, Truncate: true, TruncateSeq: 1, TruncateSize: 2}, &CopyFromInput{}},
		{&CopyFromInput{Object: "o", Locator: ObjectLocator{Pool: 1, Hash: -1}}, &CopyFromInput{}},
		{&SnapList{Seq: 4, Clones: []SnapClone{{ID: 2, Snaps: []uint64{1, 2}, Overlap: []Range{{0, 4096}}, Size: 8192}, {ID: SnapHead, Size: 1}}}, &SnapList{}},
		{&NotifyInput{Timeout: 5, Payload: []byte("p")}, &NotifyInput{}},
		{&NotifyAckInput{NotifyID: 1, Cookie: 2, Reply: []byte("r")}, &NotifyAckInput{}},
		{&NotifyReply{Acks: []NotifyAck{{1, 2, []byte("r")}}, Timeouts: []NotifyAck{{3, 4, nil}}}, &NotifyReply{}},
		{&WatcherList{Watchers: []Watcher{{entity.Name{Type: entity.TypeClient, Num: 4}, 5, 30, addr}}}, &WatcherList{}},
		{&PgnlsReply{Next: osdmap.MaxHObject(), Entries: []PgnlsEntry{{"ns", "o", ""}}}, &PgnlsReply{}},
	}
}

func TestOpPayloadsComeBackAsTheyWent(t *testing.T) {
	for _, p := range payloads() {
		r := denc.NewReader(p.v.Append(nil))
		p.zero.Decode(r)
		if err := r.Done(); err != nil || !reflect.DeepEqual(p.v, p.zero) {
			t.Errorf("%T: %v\n%+v\n%+v", p.v, err, p.v, p.zero)
		}
	}
}

func TestSparseReadOutput(t *testing.T) {
	o := SparseReadOutput{Extents: []Range{{0, 3}, {10, 2}}, Data: msgr2.NewData([]byte("abc"), []byte("de"))}
	var got SparseReadOutput
	if err := got.Split(o.Encode()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Extents, o.Extents) || string(got.Data.Bytes()) != "abcde" {
		t.Errorf("%+v", got)
	}
	o.Extents[0].Len = 1 << 63
	if err := got.Split(o.Encode()); err == nil {
		t.Error("extents larger than the data were read")
	}
}

func TestPayloadIsSplitByLength(t *testing.T) {
	m := OSDOp{Ops: []Op{{Data: msgr2.NewData([]byte("ab"))}, {}, {Data: msgr2.NewData([]byte("c"))}}}
	var got OSDOp
	if err := Decode(&got, m.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := got.SplitPayload(m.Payload()); err != nil {
		t.Fatal(err)
	}
	for i := range m.Ops {
		if string(got.Ops[i].Data.Bytes()) != string(m.Ops[i].Data.Bytes()) {
			t.Errorf("op %d: %q", i, got.Ops[i].Data.Bytes())
		}
	}
	for _, wrong := range []string{"ab", "abcd"} {
		if got.SplitPayload(msgr2.NewData([]byte(wrong))) == nil {
			t.Errorf("payload %q was taken", wrong)
		}
	}
}

func TestOpArguments(t *testing.T) {
	var o Op
	x := Op{Data: msgr2.NewData([]byte("namevalue"))}
	x.SetXattr(XattrArg{NameLen: 4, ValueLen: 5, Op: CmpEQ, Mode: CmpModeU64})
	if n, v, ok := x.XattrNameValue(); !ok || n != "name" || string(v) != "value" || x.Xattr().Mode != CmpModeU64 {
		t.Error(n, v, ok)
	}
	c := Op{Data: msgr2.NewData([]byte("rbdget_idin"))}
	c.SetCall(CallArg{ClassLen: 3, MethodLen: 6, InputLen: 2})
	if cl, m, in, ok := c.CallParts(); !ok || cl != "rbd" || m != "get_id" || string(in) != "in" {
		t.Error(cl, m, in, ok)
	}
	c.SetCall(CallArg{ClassLen: 3, MethodLen: 6, InputLen: 3})
	if _, _, _, ok := c.CallParts(); ok {
		t.Error("a call longer than its payload was taken")
	}
	w := WatchArg{Cookie: 1, Ver: 2, Op: WatchOpReconnect, Gen: 3, Timeout: 4}
	if o.SetWatch(w); o.Watch() != w {
		t.Error(o.Watch())
	}
	h := AllocHint{1, 2, 3}
	if o.SetAllocHint(h); o.AllocHint() != h {
		t.Error(o.AllocHint())
	}
	k := ChecksumArg{1, 2, 3, ChecksumCRC32C}
	if o.SetChecksum(k); o.Checksum() != k {
		t.Error(o.Checksum())
	}
	f := CopyFromArg{1, 2, 3, 4}
	if o.SetCopyFrom(f); o.CopyFrom() != f {
		t.Error(o.CopyFrom())
	}
	s := WriteSameArg{1, 2, 3}
	if o.SetWriteSame(s); o.WriteSame() != s {
		t.Error(o.WriteSame())
	}
}

func TestBackoffCovers(t *testing.T) {
	obj := func(hash uint32) HObject { return HObject{OID: "o", Hash: hash, Snap: SnapHead, Pool: 1} }
	lo, hi, mid := obj(0), obj(1), obj(2) // bit-reversed: 0 < 2 < 1
	b := OSDBackoff{Begin: lo, End: hi}
	if !b.Covers(lo) || !b.Covers(mid) || b.Covers(hi) {
		t.Error("a range covers its begin, not its end")
	}
	b.End = b.Begin
	if !b.Covers(lo) || b.Covers(mid) {
		t.Error("an empty range covers exactly its begin")
	}
}

func FuzzOSDFronts(f *testing.F) {
	for i, front := range osdFronts() {
		f.Add(uint8(i), front.Append(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		all := osdFronts()
		like := all[int(which)%len(all)]
		front := reflect.New(reflect.TypeOf(like).Elem()).Interface().(Front)
		if Decode(front, p) != nil {
			return
		}
		b := front.Append(nil)
		again := reflect.New(reflect.TypeOf(like).Elem()).Interface().(Front)
		if err := Decode(again, b); err != nil {
			t.Fatalf("own encoding of %+v: %v", front, err)
		}
		switch m := front.(type) {
		case *OSDOp:
			if m.SplitPayload(msgr2.NewData(p)) == nil {
				for i := range m.Ops {
					m.Ops[i].CallParts()
					m.Ops[i].XattrNameValue()
				}
			}
		case *OSDOpReply:
			_ = m.SplitPayload(msgr2.NewData(p))
		}
	})
}

func FuzzOpPayloads(f *testing.F) {
	for i, p := range payloads() {
		f.Add(uint8(i), p.v.Append(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		all := payloads()
		v := all[int(which)%len(all)].zero
		r := denc.NewReader(p)
		v.Decode(r)
		if r.Err() == nil {
			again := denc.NewReader(v.Append(nil))
			v.Decode(again)
			if again.Err() != nil {
				t.Fatal(again.Err())
			}
		}
		var s SparseReadOutput
		_ = s.Split(msgr2.NewData(p))
		DecodeOmapAssertions(denc.NewReader(p))
		DecodeStringSet(denc.NewReader(p))
		DecodeChecksums(denc.NewReader(p), ChecksumType(which))
	})
}

func BenchmarkOSDOpAppend(b *testing.B) {
	m := osdFronts()[0].(*OSDOp)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

func BenchmarkOSDOpReplyDecode(b *testing.B) {
	p := (&OSDOpReply{Object: "rbd_data.1.2", Ops: []Op{{Code: OpRead}}}).Append(nil)
	var m OSDOpReply
	b.ReportAllocs()
	for b.Loop() {
		r := denc.NewReader(p)
		m.DecodeSkipObject(r)
		if r.Err() != nil {
			b.Fatal(r.Err())
		}
	}
}
