package entity

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

var types = denctest.Types{
	"Addr":     func() denctest.Codec { return &Addr{} },
	"AddrVec":  func() denctest.Codec { return &AddrVec{} },
	"AuthName": func() denctest.Codec { return &AuthName{} },
	"Name":     func() denctest.Codec { return &Name{} },
}

// TestEveryTypeHasGoldenBytes holds the addresses and names to what real daemons
// and clients said in their handshakes.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(Addr{})
	inv.Golden(t, types, func(t *testing.T, _ string, val denctest.Value, c denctest.Codec) {
		ok := true
		switch v := c.(type) {
		case *Addr:
			ok = v.IP.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 1}) && v.Type == AddrMsgr2 || v.IsBlank()
		case *AddrVec:
			_, ok = v.Msgr2()
			ok = ok || len(*v) == 1 && (*v)[0].Type == AddrAny && (*v)[0].Nonce != 0 // a client's
		case *AuthName:
			ok = v.ID != "" && strings.Contains("client osd mgr", v.Type.String())
		case *Name:
			ok = v.Num >= 0
		}
		if !ok {
			t.Errorf("%s: unexpected %s %v", val.From, val.Type, c)
		}
	})
	inv.Complete(t, types, nil)
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"entity_addr_t": "Addr", "entity_addrvec_t": "AddrVec", "entity_name_t": "Name", "EntityName": "AuthName",
	}, nil)
}
