package entity

import (
	"net/netip"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

func TestAddrRoundTrip(t *testing.T) {
	for _, s := range []string{"v2:127.0.0.1:6800/7", "v1:[::1]:6789/0", "10.1.2.3:0/4294967295", "v2:[fe80::1]:3300/1"} {
		a, err := ParseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		if a.String() != s {
			t.Errorf("%s prints as %s", s, a)
		}
		var got Addr
		r := denc.NewReader(a.Append(nil))
		got.Decode(r)
		if err := r.Done(); err != nil || got != a {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
}

func TestAddrVecTakesAllThreeForms(t *testing.T) {
	a := Addr{Type: AddrMsgr2, Nonce: 9, IP: netip.MustParseAddrPort("127.0.0.1:6800")}
	legacy := make([]byte, legacyAddrSize)
	legacy[4] = 9
	copy(legacy[8:], []byte{0, 2, 0x1a, 0x90, 127, 0, 0, 1})
	for name, b := range map[string][]byte{
		"vector": AddrVec{a}.Append(nil), "lone": a.Append(nil), "legacy": legacy,
	} {
		var v AddrVec
		r := denc.NewReader(b)
		v.Decode(r)
		if err := r.Done(); err != nil || len(v) != 1 || !v[0].SameInstance(a) {
			t.Errorf("%s: got %v, %v", name, v, err)
		}
	}
}

func TestParseAddrRefusesNonsense(t *testing.T) {
	for _, s := range []string{"", "v2:", "host:1", "1.2.3.4:x", "1.2.3.4:1/-1", "v3:1.2.3.4:1/0"} {
		if a, err := ParseAddr(s); err == nil {
			t.Errorf("%q gave %v", s, a)
		}
	}
}

func FuzzAddrVec(f *testing.F) {
	f.Add(AddrVec{{Type: AddrMsgr2, IP: netip.MustParseAddrPort("[::1]:1")}}.Append(nil))
	f.Add(make([]byte, legacyAddrSize))
	f.Fuzz(func(t *testing.T, p []byte) {
		var v AddrVec
		r := denc.NewReader(p)
		v.Decode(r)
		if r.Err() != nil {
			return
		}
		var again AddrVec
		r = denc.NewReader(v.Append(nil))
		again.Decode(r)
		if r.Done() != nil || !again.Equal(v) {
			t.Fatalf("%v became %v", v, again)
		}
	})
}
