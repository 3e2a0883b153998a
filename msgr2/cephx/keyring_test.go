package cephx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

const keyAES = "AQCkyQBr2OSaNhAAFINdLbfl5N6votRpKaguUQ=="

func TestParseKeyringTakesCephsSyntax(t *testing.T) {
	k, err := ParseKeyring(strings.NewReader(`
# a comment
[mon.]
	key = ` + keyAES + `
	caps mon = "allow *"
; another
[ client.rbd-mirror.a ]
key=` + keyAES + ` # behind
caps_osd = "allow r pool=\"a b\", allow rwx"
caps  mgr =  profile rbd
`))
	if err != nil {
		t.Fatal(err)
	}
	mon, err := k.Lookup(entity.AuthName{Type: entity.TypeMon})
	if err != nil || mon.Caps["mon"] != "allow *" {
		t.Error(mon, err)
	}
	e, err := k.Lookup(entity.AuthName{Type: entity.TypeClient, ID: "rbd-mirror.a"})
	want := map[string]string{"osd": `allow r pool="a b", allow rwx`, "mgr": "profile rbd"}
	if err != nil || !reflect.DeepEqual(e.Caps, want) || e.Key.Base64() != keyAES {
		t.Error(e, err)
	}
	if _, err := k.Lookup(nobody); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "client.nobody") {
		t.Error(err)
	}
}

func TestKeyringPrintsWhatItReads(t *testing.T) {
	key, _ := ParseKey(keyAES)
	k := Keyring{admin: {Key: key, Caps: map[string]string{"mon": `say "x\y"`}}, nobody: {Key: key, Caps: map[string]string{}}}
	got, err := ParseKeyring(strings.NewReader(k.String()))
	if err != nil || !reflect.DeepEqual(got, k) {
		t.Errorf("%v became %v, %v", k, got, err)
	}
}

func TestParseKeyringNamesTheBadLine(t *testing.T) {
	for text, want := range map[string]string{
		"key = x\n":                          "line 1",
		"[client.a]\nkey = x\n":              "line 2",
		"[client.a]\n\nnonsense\n":           "line 3",
		"[a]\n":                              "line 1",
		"[client.a\n":                        "line 1",
		"[client.a]\nfrobnicate = 1\n":       "frobnicate",
		"[client.a]\n key = AQCkyQBr2OSaNhA": "client.a",
	} {
		if k, err := ParseKeyring(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
}

func TestReadKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	if _, err := ReadKeyring(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("[client.a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyring(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestParseBinaryKeyring(t *testing.T) {
	key, _ := ParseKey(keyAES)
	b := denc.AppendU32([]byte{1}, 1)
	// Not admin: Go 1.26 cannot compile the byte-swapped load of a global on s390x.
	b = entity.AuthName{Type: entity.TypeClient, ID: "admin"}.Append(b)
	b = denc.AppendU64(append(b, 2), ^uint64(0))
	b = key.Append(b)
	b = denc.AppendMap(b, map[string][]byte{"mon": denc.AppendString(nil, "allow *")}, denc.AppendString, denc.AppendBytes)
	k, err := ParseKeyring(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := k.Lookup(admin); err != nil || e.Caps["mon"] != "allow *" {
		t.Error(e, err)
	}
}

func FuzzKeyring(f *testing.F) {
	f.Add("[client.a]\nkey = " + keyAES + "\ncaps mon = \"allow *\"\n")
	f.Add("\x01\x01\x00\x00\x00")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKeyring(strings.NewReader(s))
		if err != nil {
			return
		}
		_ = k.String()
	})
}
