package lock

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"AssertLocked": func() denctest.Codec { return &AssertLocked{} },
	"BreakLock":    func() denctest.Codec { return &BreakLock{} },
	"GetInfo":      func() denctest.Codec { return &GetInfo{} },
	"Info":         func() denctest.Codec { return &Info{} },
	"Lock":         func() denctest.Codec { return &Lock{} },
	"SetCookie":    func() denctest.Codec { return &SetCookie{} },
	"Unlock":       func() denctest.Codec { return &Unlock{} },
}

// methods says what the methods of class lock take and give.
var methods = denctest.Schemas{
	MethodAssertLocked: {"AssertLocked"}, MethodBreakLock: {"BreakLock"}, MethodGetInfo: {"GetInfo", "Info"},
	MethodLock: {"Lock"}, MethodSetCookie: {"SetCookie"}, MethodUnlock: {"Unlock"},
}

// TestEveryTypeHasGoldenBytes holds every codec to what librbd of the releases
// called, and to the locks that were stored.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(Info{})
	inv.Calls(t, types, methods)
	for _, release := range denctest.Releases {
		p, err := os.ReadFile(filepath.Join("testdata", release, "objects.json"))
		if err != nil {
			t.Fatal(err)
		}
		var objects []struct{ Xattrs map[string]string }
		if err := json.Unmarshal(p, &objects); err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			for name, v := range o.Xattrs {
				p, err := hex.DecodeString(v)
				if i := (&Info{}); err == nil && denctest.Reencode(t, name, i, p) {
					inv.Note(release, i)
				}
			}
		}
	}
	inv.Complete(t, types, nil)
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_lock_assert_op": "AssertLocked", "cls_lock_break_op": "BreakLock", "cls_lock_get_info_op": "GetInfo", "cls_lock_get_info_reply": "Info",
		"cls_lock_lock_op": "Lock", "cls_lock_set_cookie_op": "SetCookie", "cls_lock_unlock_op": "Unlock", "rados::cls::lock::lock_info_t": "Info", "lock_info_t": "Info",
	}, nil)
}
