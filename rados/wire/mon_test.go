package wire

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// monFronts returns one filled value of every front that monitors and managers
// send or get.
func monFronts() []Front {
	id := denc.UUID{1, 2, 3}
	pool := int64(7)
	addrs := entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: 3, IP: netip.MustParseAddrPort("127.0.0.1:6800")}}
	module := MgrModule{Name: "rbd_support", CanRun: true, Options: map[string]MgrModuleOption{
		"log_level": {Name: "log_level", Type: 3, Level: 1, Flags: 1, Default: "info", Enum: []string{"debug", "info"}, Tags: []string{"t"}, SeeAlso: []string{"s"}},
	}}
	return []Front{
		&MonGetMap{},
		&MonMapMessage{Map: []byte("map")},
		&MonSubscribe{What: map[string]Subscription{"osdmap": {Start: 9, Flags: SubscribeOnce}, "monmap": {}}, Hostname: "h"},
		&MonSubscribeAck{Interval: 300, FSID: id},
		&MonGetVersion{Handle: 4, What: "osdmap"},
		&MonGetVersionReply{Handle: 4, Version: 10, Oldest: 1},
		&MonCommand{Paxos: Paxos{3}, FSID: id, Cmd: []string{`{"prefix":"fsid"}`}},
		&MonCommandAck{Result: -22, Status: "no", Cmd: []string{"x"}},
		&Auth{Protocol: 2, Payload: []byte("p"), MonMapEpoch: 2},
		&AuthReply{Protocol: 2, Result: -13, GlobalID: 44, Payload: []byte("r"), Message: "m"},
		&Config{Options: map[string]string{"a": "b"}},
		&GetConfig{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, Host: "h", DeviceClass: "ssd"},
		&KVData{Version: 3, Prefix: "rbd/", Incremental: true, Data: map[string][]byte{"k": []byte("v"), "gone": nil, "empty": {}}},
		&PoolOp{Paxos: Paxos{8}, FSID: id, Pool: 2, Op: PoolOpDeleteUnmanagedSnap, SnapID: 5, Name: "n", CrushRule: -1},
		&PoolOpReply{FSID: id, Result: -2, Epoch: 12},
		&PoolOpReply{FSID: id, Epoch: 12, Data: []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		&Statfs{FSID: id},
		&Statfs{FSID: id, Pool: &pool},
		&StatfsReply{FSID: id, Version: 1, KB: 2, KBUsed: 3, KBAvail: 4, Objects: 5},
		&Log{FSID: id, Entries: []LogEntry{{Name: entity.AuthName{Type: entity.TypeClient, ID: "a"}, Rank: entity.Name{Type: entity.TypeClient, Num: 4}, Addrs: addrs, Stamp: denc.Time{Sec: 1}, Seq: 1, Prio: LogWarn, Message: "m", Channel: "cluster"}}},
		&LogAck{FSID: id, Last: 1, Channel: "cluster"},
		&MgrMapMessage{Map: MgrMap{
			V: 14, Epoch: 3, ActiveAddrs: addrs, ActiveGID: 4100, Available: true, ActiveName: "x",
			Standbys:         map[uint64]MgrStandby{5: {GID: 5, Name: "y", ModuleNames: []string{"rbd_support"}, Modules: []MgrModule{module}, Features: 7}},
			Modules:          []string{"restful"},
			Services:         map[string]string{"dashboard": "http://x"},
			AvailableModules: []MgrModule{module}, ActiveChange: denc.Time{Sec: 9},
			AlwaysOn: map[uint32][]string{20: {"rbd_support"}}, ActiveFeatures: 1, LastFailureOSDEpoch: 2,
			ClientAddrs: []entity.AddrVec{addrs}, ClientNames: []string{"rbd_support"}, Flags: 1, ForceDisabledModules: []string{"z"},
		}},
		&Command{FSID: id, Cmd: []string{"c"}},
		&CommandReply{Result: -2, Status: "s"},
		&MgrCommand{Cmd: []string{"c"}},
		&MgrCommandReply{Status: "s"},
		&MgrOpen{DaemonName: "4100", ServiceName: "rbd-mirror", ServiceDaemon: true, Metadata: map[string]string{"id": "a"}, Status: map[string]string{}, Config: []byte("c"), ConfigDefaults: []byte("d")},
		&MgrClose{DaemonName: "4100", ServiceName: "rbd-mirror"},
		&MgrConfigure{Period: 5, Threshold: 5},
		&MgrReport{DaemonName: "4100", Declare: []PerfCounterType{{Path: "p", Description: "d", Nick: "n", Type: 2, Priority: 5, Unit: 1}}, Packed: []byte(emptyPacked), Undeclare: []string{"u"}, ServiceName: "rbd-mirror", Status: map[string]string{"json": "{}"}, Health: []DaemonHealthMetric{{1, 2}}, Config: []byte("c"), TaskStatus: map[string]string{}},
	}
}

func newOf(f Front) Front { return reflect.New(reflect.TypeOf(f).Elem()).Interface().(Front) }

func TestMonFrontsRoundTrip(t *testing.T) {
	for _, f := range monFronts() {
		b := f.Append(nil)
		got := newOf(f)
		r := denc.NewReader(b)
		got.Decode(r)
		if r.Err() != nil {
			t.Errorf("%T: %v", f, r.Err())
			continue
		}
		if _, partial := f.(*MgrConfigure); !partial && r.Done() != nil {
			t.Errorf("%T: %v", f, r.Done())
		}
		if again := got.Append(nil); string(again) != string(b) {
			t.Errorf("%T: %x became %x", f, b, again)
		}
		for n := range b { // no truncation panics or is taken for the whole
			_ = Decode(newOf(f), b[:n])
		}
	}
}

func TestMgrReportIsNeverWithoutASection(t *testing.T) {
	b := (&MgrReport{DaemonName: "d"}).Append(nil)
	var m MgrReport
	if err := Decode(&m, b); err != nil || string(m.Packed) != emptyPacked {
		t.Errorf("packed is %x, %v", m.Packed, err)
	}
}

func TestMonMapRoundTrip(t *testing.T) {
	for v := uint8(6); v <= 10; v++ {
		m := MonMap{V: v, FSID: denc.UUID{7}, Epoch: 3, PersistentFeatures: 0xff, Ranks: []string{"a", "b"},
			Mons: map[string]MonInfo{
				"a": {V: 6, Compat: 1, Name: "a", Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort("127.0.0.1:3300")}}, Weight: 10, Location: map[string]string{}},
				"b": {Name: "b", Addrs: entity.AddrVec{{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort("[::1]:3300")}}, Location: map[string]string{"dc": "x"}},
			},
			MinMonRelease: 18, RemovedRanks: []uint32{2}, Strategy: 1, Disallowed: []string{"b"}, StretchMode: true, TiebreakerMon: "a",
			Auth: MonMapAuth{Epoch: 1, ServiceCipher: 2, AllowedCiphers: []int32{2}, PreferredCipher: 2}}
		b := m.Append(nil)
		var got MonMap
		r := denc.NewReader(b)
		got.Decode(r)
		if err := r.Done(); err != nil {
			t.Fatalf("version %d: %v", v, err)
		}
		if again := got.Append(nil); string(again) != string(b) {
			t.Errorf("version %d: %x became %x", v, b, again)
		}
		if v < 10 && got.Auth.ServiceCipher != 1 {
			t.Errorf("version %d has service cipher %d", v, got.Auth.ServiceCipher)
		}
	}
}

func FuzzMonFront(f *testing.F) {
	kinds := monFronts()
	for i, k := range kinds {
		f.Add(uint8(i), k.Append(nil))
	}
	f.Fuzz(func(t *testing.T, i uint8, p []byte) {
		m := newOf(kinds[int(i)%len(kinds)])
		if Decode(m, p) != nil {
			return
		}
		b := m.Append(nil)
		again := newOf(m)
		if err := Decode(again, b); err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if c := again.Append(nil); string(c) != string(b) {
			t.Fatalf("%T: %x became %x", m, b, c)
		}
	})
}

func FuzzMonMap(f *testing.F) {
	m := MonMap{V: 10, Mons: map[string]MonInfo{"a": {Name: "a"}}, Ranks: []string{"a"}}
	f.Add(m.Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		var m, again MonMap
		r := denc.NewReader(p)
		if m.Decode(r); r.Err() != nil {
			return
		}
		b := m.Append(nil)
		r = denc.NewReader(b)
		if again.Decode(r); r.Done() != nil {
			t.Fatal(r.Err())
		}
	})
}
