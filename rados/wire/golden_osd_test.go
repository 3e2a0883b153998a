package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// goldenOSD is a message that a real client or OSD sent; rados/capture_test.go
// renews them.
type goldenOSD struct {
	name         string
	typ, version uint16
	front, data  []byte
}

func readGoldenOSD(t testing.TB, release string) []goldenOSD {
	p, err := os.ReadFile(filepath.Join("testdata", release, "osd-messages.bin"))
	if err != nil {
		t.Fatal(err)
	}
	r := denc.NewReader(p)
	var all []goldenOSD
	for r.Len() > 0 {
		all = append(all, goldenOSD{r.String(), r.U16(), r.U16(), r.Bytes(), r.Bytes()})
	}
	if err := r.Err(); err != nil || len(all) < 40 {
		t.Fatalf("%s: %d messages, %v", release, len(all), err)
	}
	return all
}

// payloadTypes returns what an operation's input or output is read as, nil for
// raw bytes.
func payloadTypes(code OpCode, reply bool) payload {
	type key struct {
		code  OpCode
		reply bool
	}
	switch (key{code, reply}) {
	case key{OpOmapGetVals, false}:
		return &OmapGetValsInput{}
	case key{OpOmapGetVals, true}:
		return &OmapGetValsOutput{}
	case key{OpOmapGetKeys, false}:
		return &OmapGetKeysInput{}
	case key{OpOmapGetKeys, true}:
		return &OmapGetKeysOutput{}
	case key{OpStat, true}:
		return &StatOutput{}
	case key{OpListSnaps, true}:
		return &SnapList{}
	case key{OpListWatchers, true}:
		return &WatcherList{}
	case key{OpNotify, false}:
		return &NotifyInput{}
	case key{OpNotifyAck, false}:
		return &NotifyAckInput{}
	case key{OpCopyFrom, false}, key{OpCopyFrom2, false}:
		return &CopyFromInput{}
	case key{OpPgnls, false}:
		return &HObject{}
	case key{OpPgnls, true}:
		return &PgnlsReply{}
	}
	return nil
}

func TestGoldenOSDMessages(t *testing.T) {
	for _, release := range []string{"16.2", "18.2", "20.2"} {
		t.Run(release, func(t *testing.T) {
			kinds := map[OpCode]bool{}
			for _, g := range readGoldenOSD(t, release) {
				switch g.typ {
				case TypeOSDOp:
					m := &OSDOp{Version: g.version}
					checkGoldenOps(t, g, m, m.SplitPayload, &m.Ops, kinds)
					if m.ReqID != (ReqID{}) || m.Locator.Pool != m.PG.Pool || m.Locator.Hash != -1 && m.Ops[0].Code != OpPgnls || m.Features == 0 || m.Flags&FlagOnDisk == 0 {
						t.Errorf("%s: request id %+v, locator %+v, flags %#x", g.name, m.ReqID, m.Locator, m.Flags)
					}
				case TypeOSDOpReply:
					m := &OSDOpReply{}
					checkGoldenOps(t, g, m, m.SplitPayload, &m.Ops, nil)
					if m.PG.Pool <= 0 || m.Epoch == 0 || m.Flags&FlagOnDisk == 0 || m.Redirect != nil {
						t.Errorf("%s: pg %v, epoch %d, flags %#x", g.name, m.PG, m.Epoch, m.Flags)
					}
				case TypeWatchNotify:
					m := &WatchNotify{}
					checkGolden(t, g, m)
					var rep NotifyReply
					r := denc.NewReader(g.data)
					rep.Decode(r)
					if err := r.Done(); err != nil {
						t.Errorf("%s: %v %+v", g.name, err, rep)
					} else if len(g.data) > 0 && !bytes.Equal(rep.Append(nil), g.data) {
						t.Errorf("%s: % x", g.name, g.data)
					}
				case TypeOSDMap:
					m := &OSDMapMessage{}
					checkGolden(t, g, m)
					if first, last := m.Range(); first == 0 || last < first || m.Newest == 0 || m.FSID.IsZero() {
						t.Errorf("%s: epochs %d to %d", g.name, first, last)
					}
				case TypeOSDBackoff:
					checkGolden(t, g, &OSDBackoff{})
				default:
					t.Errorf("%s: type %d", g.name, g.typ)
				}
			}
			for _, c := range []OpCode{OpRead, OpWrite, OpStat, OpCall, OpWatch, OpNotify, OpNotifyAck, OpOmapGetVals, OpListSnaps, OpPgnls, OpSparseRead, OpSetAllocHint, OpRollback} {
				if !kinds[c] {
					t.Errorf("no %s among the golden messages", c)
				}
			}
		})
	}
}

func checkGolden(t *testing.T, g goldenOSD, f Front) {
	t.Helper()
	r := denc.NewReader(g.front)
	f.Decode(r)
	if err := r.Done(); err != nil {
		t.Fatalf("%s: %v", g.name, err)
	}
	if h := f.Header(); h.Type != g.typ || h.Version > g.version {
		t.Errorf("%s: header %+v, want version %d", g.name, h, g.version)
	}
	if _, withOps := f.(interface{ Payload() msgr2.Data }); withOps {
		return // lengths come with the payload
	}
	if again := f.Append(nil); !bytes.Equal(again, g.front) {
		t.Errorf("%s:\n% x\n% x", g.name, g.front, again)
	}
}

func checkGoldenOps(t *testing.T, g goldenOSD, f Front, split func(msgr2.Data) error, ops *[]Op, kinds map[OpCode]bool) {
	t.Helper()
	checkGolden(t, g, f)
	if err := split(msgr2.NewData(g.data)); err != nil {
		t.Fatalf("%s: %v", g.name, err)
	}
	if again := f.Append(nil); !bytes.Equal(again, g.front) {
		t.Errorf("%s:\n% x\n% x", g.name, g.front, again)
	}
	for i := range *ops {
		o := &(*ops)[i]
		if kinds != nil {
			kinds[o.Code] = true
		}
		if strings.HasPrefix(o.Code.String(), "op ") {
			t.Errorf("%s: unknown operation %s", g.name, o.Code)
		}
		if _, _, _, ok := o.CallParts(); kinds != nil && o.Code == OpCall && !ok {
			t.Errorf("%s: call %+v", g.name, o.Call())
		}
		if _, _, ok := o.XattrNameValue(); kinds != nil && o.Code.IsAttr() && o.Code != OpGetXattrs && !ok {
			t.Errorf("%s: attribute %+v", g.name, o.Xattr())
		}
		p := payloadTypes(o.Code, kinds == nil)
		if p == nil || o.Data.Len() == 0 {
			continue
		}
		r := denc.NewReader(o.Data.Bytes())
		p.Decode(r)
		if err := r.Done(); err != nil {
			t.Errorf("%s: %s: %v", g.name, o.Code, err)
		} else if again := p.Append(nil); !bytes.Equal(again, o.Data.Bytes()) {
			t.Errorf("%s: %s:\n% x\n% x", g.name, o.Code, o.Data.Bytes(), again)
		}
	}
}
