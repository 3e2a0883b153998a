package fakecluster

import (
	"math/rand/v2"
	"testing"

	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestGroupRanges checks that the range of a group covers the objects that fold
// to it, and no others.
func TestGroupRanges(t *testing.T) {
	for _, pgs := range []uint32{1, 2, 3, 5, 8, 12, 31, 32, 33} {
		p := osdmap.NewPool(osdmap.PoolReplicated, 3, 2, pgs)
		for range 500 {
			hash := rand.Uint32()
			seed := p.Fold(osdmap.PG{Pool: 4, Seed: hash}).Seed
			o := wire.HObject{OID: "some object", Hash: hash, Snap: wire.SnapHead, Pool: 4}
			for g := range pgs {
				b := wire.OSDBackoff{}
				b.Begin, b.End = groupRange(4, g, pgs)
				if b.Covers(o) != (g == seed) {
					t.Fatalf("%d groups: the range of %d and hash %#x of %d", pgs, g, hash, seed)
				}
			}
		}
	}
}
