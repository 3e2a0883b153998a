package cephx

import (
	"bytes"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

func stateOf(t testing.TB) *KeyServer {
	s := NewKeyServer(Keyring{
		{Type: entity.TypeClient, ID: "admin"}: {Key: NewKey(KeyAES256K), Caps: map[string]string{"mon": "allow *"}},
		{Type: entity.TypeClient, ID: "none"}:  {},
	}, WithCiphers(KeyAES256K))
	s.Rotate(entity.TypeOSD)
	s.Rotate(entity.TypeOSD)
	s.NewGlobalID()
	return s
}

func TestTheStateOfAKeyServerComesBack(t *testing.T) {
	s := stateOf(t)
	blob, err := s.sealTicket(entity.TypeOSD, TicketInfo{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, GlobalID: 4101, Expires: denc.Time{Sec: 1 << 31}, SessionKey: NewKey(KeyAES)})
	if err != nil {
		t.Fatal(err)
	}
	p := s.AppendState(nil)
	back := NewKeyServer(nil)
	r := denc.NewReader(p)
	back.RestoreState(r)
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.AppendState(nil), p) {
		t.Error("the state is not what it was")
	}
	if _, err := back.openTicket(entity.TypeOSD, blob); err != nil {
		t.Errorf("an old ticket: %v", err)
	}
	if id := back.NewGlobalID(); id != 4102 {
		t.Errorf("global id %d", id)
	}
}

func FuzzKeyServerState(f *testing.F) {
	f.Add(stateOf(f).AppendState(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		s := NewKeyServer(nil)
		r := denc.NewReader(p)
		if s.RestoreState(r); r.Err() != nil {
			return
		}
		again := s.AppendState(nil)
		r = denc.NewReader(again)
		if NewKeyServer(nil).RestoreState(r); r.Done() != nil {
			t.Fatal(r.Done())
		}
	})
}
