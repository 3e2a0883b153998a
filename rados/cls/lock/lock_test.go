package lock

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

type codec interface {
	Append(b []byte) []byte
	Decode(r *denc.Reader)
}

func reencode(t *testing.T, v codec, p []byte) codec {
	t.Helper()
	got := reflect.New(reflect.TypeOf(v).Elem()).Interface().(codec)
	r := denc.NewReader(p)
	got.Decode(r)
	if err := r.Done(); err != nil {
		t.Errorf("%T: %v: %x", v, err, p)
	} else if again := got.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("%T: %x became %x", v, p, again)
	}
	return got
}

func TestArguments(t *testing.T) {
	who := entity.Name{Type: entity.TypeClient, Num: 4}
	for _, v := range []codec{
		&Lock{Name: "n", Type: Shared, Cookie: "c", Tag: "t", Description: "d", Duration: denc.Time{Sec: 1}, Flags: FlagMayRenew},
		&Unlock{Name: "n", Cookie: "c"}, &BreakLock{Name: "n", Locker: who, Cookie: "c"}, &GetInfo{Name: "n"},
		&AssertLocked{Name: "n", Type: Exclusive, Cookie: "c", Tag: "t"}, &SetCookie{Name: "n", Type: Exclusive, Cookie: "c", Tag: "t", NewCookie: "d"},
	} {
		if got := reencode(t, v, v.Append(nil)); !reflect.DeepEqual(got, v) {
			t.Errorf("%+v became %+v", v, got)
		}
	}
}

// TestLocksOfRealClusters reads the locks that 16.2 and 20.2 stored; the files
// are renewed by TestCaptureObjects of rbd/wire.
func TestLocksOfRealClusters(t *testing.T) {
	for _, release := range []string{"16.2", "20.2"} {
		p, err := os.ReadFile(filepath.Join("testdata", release, "objects.json"))
		if err != nil {
			t.Fatal(err)
		}
		var objects []struct {
			Name   string
			Xattrs map[string]string
		}
		if err := json.Unmarshal(p, &objects); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, o := range objects {
			for name, v := range o.Xattrs {
				p, err := hex.DecodeString(v)
				if err != nil || !strings.HasPrefix(name, XattrPrefix) {
					t.Fatalf("%s: %s: %v", o.Name, name, err)
				}
				i := reencode(t, &Info{}, p).(*Info)
				for _, l := range i.Lockers {
					held++
					if i.Type != Shared || i.Tag != "tag1" || l.Cookie != "lockid" || l.Name.Type != entity.TypeClient || l.Addr.Type != entity.AddrLegacy {
						t.Errorf("%s %s: %+v", release, o.Name, i)
					}
				}
			}
		}
		if held != 1 {
			t.Errorf("%s: %d holders", release, held)
		}
	}
}
