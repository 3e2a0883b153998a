package rbd

import (
	"slices"
	"testing"

	"github.com/rbdm/rbdm/rbd/layout"
)

func TestDiscardIsShrunkToBlocks(t *testing.T) {
	const k = 1 << 10
	small, _ := layout.New(16, 0, 0)
	large, _ := layout.New(22, 0, 0)
	for _, v := range []struct {
		name           string
		layout         layout.Layout
		off, n, blocks uint64
		want           []layout.Extent
	}{
		{"exact", large, 5, 6, 0, []layout.Extent{{Object: 0, Off: 5, Len: 6}}},
		{"less than a block", large, 70 * k, 100 * k / 2, 64 * k, nil},
		{"between blocks", large, 1 * k, 200 * k, 64 * k, []layout.Extent{{Object: 0, Off: 64 * k, Len: 128 * k}}},
		{"to an object's end by blocks", large, 4<<20 - 10*k, 10 * k, 64 * k, nil},
		{"a block is an object: the tail", small, 60 * k, 4 * k, 64 * k, []layout.Extent{{Object: 0, Off: 60 * k, Len: 4 * k}}},
		{"a block is an object: the beginning", small, 64 * k, 60 * k, 64 * k, nil},
		{"a block is more than an object", small, 60 * k, 100 * k, 4 << 20, []layout.Extent{{Object: 0, Off: 60 * k, Len: 4 * k}, {Object: 1, Off: 0, Len: 64 * k}}},
	} {
		got := discardExtents(v.layout, v.off, v.n, v.blocks)
		for i := range got {
			got[i].Buf = 0
		}
		if !slices.Equal(got, v.want) {
			t.Errorf("%s: %+v, want %+v", v.name, got, v.want)
		}
	}
}
