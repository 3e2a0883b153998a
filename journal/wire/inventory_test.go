package wire

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Client": func() denctest.Codec { return &Client{} }, "ClientData": func() denctest.Codec { return &ClientData{} },
	"CommitPosition": func() denctest.Codec { return &CommitPosition{} }, "Entry": func() denctest.Codec { return &Entry{} },
	"Event": func() denctest.Codec { return &Event{} }, "ObjectPosition": func() denctest.Codec { return &ObjectPosition{} },
	"Tag": func() denctest.Codec { return &Tag{} }, "TagData": func() denctest.Codec { return &TagData{} },
	"TagList": func() denctest.Codec { return &TagList{} },
}

// methods says what the methods of class journal take and give.
var methods = denctest.Schemas{
	MethodAppend: {"u64 <Entry>"}, MethodGuardAppend: {"u64"}, MethodClientCommit: {"str CommitPosition"}, MethodClientList: {"str u64", "[]Client"},
	MethodClientRegister: {"str <ClientData>"}, MethodClientUnregister: {"str"}, MethodClientUpdateData: {"str <ClientData>"},
	MethodClientUpdateState: {"str u8"}, MethodCreate: {"u8 u8 s64"}, MethodGetActiveSet: {"", "u64"}, MethodSetActiveSet: {"u64"},
	MethodGetClient: {"str", "Client"}, MethodGetMinimumSet: {"", "u64"}, MethodSetMinimumSet: {"u64"}, MethodGetNextTagTID: {"", "u64"},
	MethodGetOrder: {"", "u8"}, MethodGetPoolID: {"", "s64"}, MethodGetSplayWidth: {"", "u8"}, MethodGetTag: {"u64", "Tag"},
	MethodTagCreate: {"u64 u64 <TagData>"}, MethodTagList: {"TagList", "[]Tag"},
}

// TestEveryTypeHasGoldenBytes holds every codec to what librbd and rbd-mirror of
// the releases called, and to the journals that they wrote.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(Event{})
	inv.Calls(t, types, methods)
	for _, release := range denctest.Releases {
		p, err := os.ReadFile(filepath.Join("testdata", release, "objects.json"))
		if err != nil {
			t.Fatal(err)
		}
		var objects []struct{ Name, Data string }
		if err := json.Unmarshal(p, &objects); err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if !strings.HasPrefix(o.Name, "journal_data.") {
				continue
			}
			for p := unhex(t, o.Data); len(p) > 0; {
				var e Entry
				n, err := e.Scan(p)
				if err != nil {
					t.Fatalf("%s: %v", o.Name, err)
				}
				p = p[n:]
				inv.Note(release, reencode(t, o.Name, &Event{}, e.Data))
			}
		}
	}
	inv.Complete(t, types, nil)
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls::journal::Client": "Client", "cls::journal::ObjectPosition": "ObjectPosition", "ObjectPosition": "ObjectPosition",
		"cls::journal::ObjectSetPosition": "CommitPosition", "ObjectSetPosition": "CommitPosition", "cls::journal::Tag": "Tag", "Tag": "Tag",
		"journal::Entry": "Entry", "librbd::journal::ClientData": "ClientData", "ClientData": "ClientData", "librbd::journal::EventEntry": "Event",
		"EventEntry": "Event", "librbd::journal::TagData": "TagData", "TagData": "TagData",
	}, nil)
}
