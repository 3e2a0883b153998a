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

func TestMSRRulesAreReadButNotRun(t *testing.T) {
	m := Build([][]int32{{0}}, false)
	m.Rules[0].Type = RuleMSRFirstN
	if _, err := m.Do(nil, 0, 1, 1, nil, nil); !errors.Is(err, ErrMSR) {
		t.Errorf("got %v", err)
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
