package pg

import "math/bits"

func reverse(v uint32) uint32 { return bits.Reverse32(v) }

// splitBits returns how many low bits of the hash the objects of the group with
// the given seed share, in a pool of pgNum groups.
func splitBits(seed, pgNum uint32) int {
	if pgNum <= 1 {
		return 0
	}
	p := bits.Len32(pgNum)
	half := uint32(1) << (p - 1)
	if seed%half < pgNum%half {
		return p
	}
	return p - 1
}
