package crush

import (
	"bytes"
	"errors"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

func TestBuiltMapRoundTrips(t *testing.T) {
	b := Build([][]int32{{0, 1}, {2, 3}, {4, 5}}, false).Append(nil)
	var m Map
	r := denc.NewReader(b)
	m.Decode(r)
	if err := r.Done(); err != nil || !bytes.Equal(m.Append(nil), b) {
		t.Fatalf("differs: %v", err)
	}
	osds, err := m.Do(nil, ReplicatedRule, 5, 3, []uint32{1 << 16, 1 << 16, 1 << 16, 1 << 16, 1 << 16, 1 << 16}, nil)
	if err != nil || len(osds) != 3 {
		t.Errorf("got %v, %v", osds, err)
	}
}

// A rule of the multi-step-retry kind that is no sequence of blocks maps to
// nothing; those that are well-formed are held to osdmaptool in rados/osdmap.
func TestMalformedMSRRulesMapToNothing(t *testing.T) {
	take, emit := Step{Op: OpTake, Arg1: -1}, Step{Op: OpEmit}
	pick := func(n, kind int32) Step { return Step{Op: OpChooseMSR, Arg1: n, Arg2: kind} }
	in := []uint32{1 << 16, 1 << 16, 1 << 16, 1 << 16}
	for _, c := range []struct {
		want  int
		steps []Step
	}{
		{3, []Step{take, pick(0, TypeHost), pick(1, TypeOSD), emit}},
		{1, []Step{{Op: OpTake, Arg1: 2}, emit}},
		{0, []Step{{Op: OpTake, Arg1: -50}, pick(0, TypeOSD), emit}},
		{0, []Step{{Op: OpTake, Arg1: 2}, pick(0, TypeOSD), emit}},
		{0, []Step{take, emit}},
		{0, []Step{take, pick(0, TypeOSD)}},
		{0, []Step{pick(0, TypeOSD), emit}},
		{0, []Step{take, {Op: OpChooseFirstN}, emit}},
		{0, []Step{take, pick(-1, TypeOSD), emit}},
		{0, []Step{take, pick(1<<30, TypeHost), pick(1<<30, TypeOSD), emit}},
		{0, []Step{take, pick(0, TypeHost), emit}},
		{0, []Step{take, pick(0, TypeOSD), pick(1, TypeOSD), emit}},
		{0, nil},
	} {
		m := Build([][]int32{{0}, {1}, {2}, {3}}, false)
		m.Rules[0].Type, m.Rules[0].Steps = RuleMSRFirstN, c.steps
		if got, err := m.Do(nil, 0, 1, 3, in, nil); err != nil || len(got) != c.want {
			t.Errorf("%+v: %v, %v", c.steps, got, err)
		}
	}
}

func TestCyclesAreRefused(t *testing.T) {
	m := Build([][]int32{{0}}, false)
	m.Bucket(-2).Items[0] = -1
	var got Map
	r := denc.NewReader(m.Append(nil))
	if got.Decode(r); !errors.Is(r.Err(), denc.ErrValue) {
		t.Errorf("got %v", r.Err())
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Build([][]int32{{0, 1}, {2}}, true).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Map
		r := denc.NewReader(b)
		if m.Decode(r); r.Err() != nil {
			return
		}
		m.Tunables = JewelTunables()
		for i, ru := range m.Rules {
			if ru != nil && len(ru.Steps) > 8 {
				continue
			}
			if ru != nil {
				for j := range ru.Steps {
					ru.Steps[j].Arg1 = min(ru.Steps[j].Arg1, 100)
				}
			}
			_, _ = m.Do(nil, i, 1, 3, []uint32{1 << 16, 1 << 16}, nil)
		}
	})
}
