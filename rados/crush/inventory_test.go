package crush

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

var types = denctest.Types{"Map": func() denctest.Codec { return &Map{} }}

// TestEveryTypeHasGoldenBytes holds the map to those that crushtool of the
// releases compiled from testdata/map.txt, and 20.2's from testdata/20.2/msr.txt;
// scripts/golden-crush renews them. Maps with device classes are in rados/osdmap.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(Map{})
	files, err := filepath.Glob("testdata/*/*.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := &Map{}
		if denctest.Reencode(t, file, m, p) {
			inv.Note(filepath.Base(filepath.Dir(file)), m)
		}
		checkCompiled(t, file, m)
	}
	inv.Complete(t, types, nil)
}

// checkCompiled compares a map with its text.
func checkCompiled(t *testing.T, file string, m *Map) {
	t.Helper()
	tun := JewelTunables()
	tun.AllowedBucketAlgs = 62
	msr := filepath.Base(file) == "msr.bin"
	if tun.HasMSR = filepath.Base(filepath.Dir(file)) == "20.2"; msr {
		tun.MSRDescents, tun.MSRCollisionTries = 90, 80
	}
	if m.Tunables != tun || m.MaxDevices != 6 || m.TypeNames[TypeRoot] != "root" || m.ItemNames[-3] != "list" || m.ItemNames[5] != "osd.5" {
		t.Errorf("%s: %+v, %d devices, %v, %v", file, m.Tunables, m.MaxDevices, m.TypeNames, m.ItemNames)
	}
	for id, want := range map[int32]Bucket{
		-1: {Type: TypeRoot, Alg: AlgStraw2, Weight: 0x60000, Items: []int32{-2, -3, -4}},
		-2: {Type: TypeHost, Alg: AlgUniform, Weight: 0x20000, Items: []int32{0, 1}},
		-3: {Type: TypeHost, Alg: AlgList, Weight: 0x18000, Items: []int32{2}},
		-4: {Type: TypeHost, Alg: AlgStraw, Weight: 0x28000, Items: []int32{3, 5}},
	} {
		b := m.Bucket(id)
		if b == nil || b.Type != want.Type || b.Alg != want.Alg || b.Weight != want.Weight || !slices.Equal(b.Items, want.Items) {
			t.Errorf("%s: bucket %d is %+v", file, id, b)
		}
	}
	if m.ClassNames[m.Classes[2]] != "ssd" || m.ClassNames[m.Classes[0]] != "hdd" || len(m.Classes) != 4 {
		t.Errorf("%s: classes %v %v", file, m.Classes, m.ClassNames)
	}
	steps := []Step{{Op: OpSetChooseLeafTries, Arg1: 5}, {Op: OpSetChooseTries, Arg1: 100}, {Op: OpTake, Arg1: -1}, {Op: OpChooseIndep}, {Op: OpEmit}}
	if r := m.Rules[2]; r == nil || r.Type != RuleErasure || !slices.Equal(r.Steps, steps) || m.RuleNames[2] != "flash" || m.Rules[1] != nil {
		t.Errorf("%s: rule %+v", file, r)
	}
	if a := m.ChooseArgs[4][0]; a == nil || !slices.Equal(a.IDs, []int32{-20, -30, -40}) || len(a.WeightSets) != 2 || a.WeightSets[0][2] != 0x30000 {
		t.Errorf("%s: choose_args %+v", file, m.ChooseArgs)
	}
	if !msr {
		return
	}
	steps = []Step{{Op: OpSetMSRDescents, Arg1: 50}, {Op: OpSetMSRCollisionTries, Arg1: 60}, {Op: OpTake, Arg1: -1},
		{Op: OpChooseMSR, Arg1: 2, Arg2: TypeHost}, {Op: OpChooseMSR, Arg1: 2, Arg2: TypeOSD}, {Op: OpEmit}}
	if r := m.Rules[5]; r == nil || r.Type != RuleMSRIndep || !slices.Equal(r.Steps, steps) {
		t.Errorf("%s: rule %+v", file, r)
	}
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{"CrushWrapper": "Map"}, nil)
}
