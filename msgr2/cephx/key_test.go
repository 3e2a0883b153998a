package cephx

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// count returns the bytes 0, 1, 2 … n-1.
func count(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i)
	}
	return p
}

// TestRFC8009KnownAnswers holds the vectors of RFC 8009, appendix A.
func TestRFC8009KnownAnswers(t *testing.T) {
	base := unhex(t, "6D404D37FAF79F9DF0D33568D320669800EB4836472EA8A026D16B7182460C52")
	enc, integrity := deriveRFC8009(base, 2)
	if want := unhex(t, "56AB22BEE63D82D7BC5227F6773F8EA7A5EB1C825160C38312980C442E5C7E49"); !bytes.Equal(enc, want) {
		t.Errorf("Ke is %x", enc)
	}
	if want := unhex(t, "69B16514E3CD8E56B82010D5C73012B622C4D00FFC23ED1F"); !bytes.Equal(integrity, want) {
		t.Errorf("Ki is %x", integrity)
	}
	for _, c := range []struct{ confounder, plain, cipher string }{
		{"F764E9FA15C276478B2C7D0C4E5F58E4", "", "41F53FA5BFE7026D91FAF9BE959195A058707273A96A40F0A01960621AC612748B9BBFBE7EB4CE3C"},
		{"B80D3251C1F6471494256FFE712D0B9A", "000102030405", "4ED7B37C2BCAC8F74F23C1CF07E62BC7B75FB3F637B9F559C7F664F69EAB7B6092237526EA0D1F61CB20D69D10F2"},
	} {
		plain := unhex(t, c.plain)
		got, err := sealRFC8009(base, 2, [16]byte(unhex(t, c.confounder)), plain)
		if want := unhex(t, c.cipher); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v", c.plain, got, err)
		}
		if back, err := openRFC8009(base, 2, got); err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%q opens to %x, %v", c.plain, back, err)
		}
	}
}

// TestEnvelopeKnownAnswers holds bytes that a real monitor of 20.2 opens: the
// second body fills its last block, where ciphertext stealing still swaps.
func TestEnvelopeKnownAnswers(t *testing.T) {
	confounder := [16]byte(bytes.Repeat([]byte{0xa5}, 16))
	for body, want := range map[string]string{
		"0123456789": "74391018f2c736d3135ca5829ce75696f90c1121fbaf76c5eac946549201876c75d657b4b904534b24583d195c19e59731a056715ef77ed0220149",
		"0123456":    "75d657481961cfebd09295a3e833bc1a74391018f2c736d3135ca5829ce75696e828aed884c8504bd14a4f8f7fbf1e1b625577e68a32f097",
	} {
		k := Key{Type: KeyAES256K, Secret: count(32)}
		p := append([]byte{1, 0x55, 0xaa, 0x26, 0x88, 0xad, 0x9c, 0x00, 0xff}, body...)
		got, err := sealRFC8009(k.Secret, usageServiceTicket, confounder, p)
		if err != nil || !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%s: %x, %v", body, got, err)
		}
		if back, err := k.open(usageServiceTicket, got); err != nil || string(back) != body {
			t.Errorf("%s opens to %q, %v", body, back, err)
		}
	}
}

func TestProofKnownAnswers(t *testing.T) {
	const server, client = 0x1122334455667788, 0x99aabbccddeeff00
	for _, c := range []struct {
		key  Key
		want uint64
	}{
		{Key{Type: KeyAES, Secret: count(16)}, 0x4fadd85010bcad18},
		{Key{Type: KeyAES256K, Secret: count(32)}, 0x52460fb091ff144a},
	} {
		if got, err := c.key.proof(server, client); err != nil || got != c.want {
			t.Errorf("%s: %#x, %v", c.key, got, err)
		}
	}
}

func TestSealOpensOnlyWithItsKeyAndUse(t *testing.T) {
	for _, kt := range []KeyType{KeyAES, KeyAES256K} {
		for n := range 70 {
			k, body := NewKey(kt), count(n)
			p, err := k.seal(usageAuthorize, body)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.open(usageAuthorize, p); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%s, %d bytes: %x, %v", kt, n, got, err)
			}
			if _, err := NewKey(kt).open(usageAuthorize, p); !errors.Is(err, ErrSeal) {
				t.Errorf("%s opens with another key: %v", kt, err)
			}
			if _, err := k.open(usageTicketInfo, p); kt == KeyAES256K && !errors.Is(err, ErrSeal) {
				t.Errorf("%s opens for another use: %v", kt, err)
			}
			p[len(p)/2] ^= 1
			if got, err := k.open(usageAuthorize, p); kt == KeyAES256K && err == nil {
				t.Errorf("%s: damaged value opens to %x", kt, got)
			}
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, kt := range []KeyType{KeyAES, KeyAES256K} {
		k := NewKey(kt)
		got, err := ParseKey(" " + k.Base64() + "\n")
		if err != nil || got.Type != kt || !bytes.Equal(got.Secret, k.Secret) || got.Created != k.Created {
			t.Errorf("%s: %v, %v", kt, got, err)
		}
	}
	for _, s := range []string{"", "!", "AQ==", Key{Type: 9, Secret: count(16)}.Base64(), Key{Type: KeyAES, Secret: count(5)}.Base64()} {
		if k, err := ParseKey(s); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q: %v, %v", s, k, err)
		}
	}
	long, err := ParseKey(Key{Type: KeyAES, Secret: count(20)}.Base64())
	if err != nil || len(long.Secret) != aes.BlockSize {
		t.Errorf("a long secret gives %d bytes, %v", len(long.Secret), err)
	}
}

func TestKeysDoNotPrintTheirSecret(t *testing.T) {
	k := NewKey(KeyAES)
	for _, s := range []string{k.String(), fmt.Sprintf("%v %+v %#v %s", k, k, k, k), fmt.Sprintf("%v", struct{ K Key }{k})} {
		if strings.Contains(s, hex.EncodeToString(k.Secret[:4])) || strings.Contains(s, "[") {
			t.Errorf("printed as %s", s)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add(NewKey(KeyAES256K).Base64())
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil || k.IsZero() {
			return
		}
		p, err := k.seal(usageAuthorize, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.open(usageAuthorize, p); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	keys := []Key{{Type: KeyAES, Secret: count(16)}, {Type: KeyAES256K, Secret: count(32)}}
	for _, k := range keys {
		p, _ := k.seal(usageAuthorize, []byte("body"))
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, k := range keys {
			_, _ = k.open(usageAuthorize, p)
		}
	})
}
