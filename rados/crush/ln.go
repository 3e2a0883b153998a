package crush

import "math/bits"

// ln is crush_ln: 2^44 * log2(u+1) for 0 <= u <= 0xffff, by table, exactly as
// Ceph computes it.
func ln(u uint32) int64 {
	x := u + 1
	exponent := int64(15)
	if x&0x18000 == 0 {
		shift := 16 - bits.Len32(x)
		x <<= shift
		exponent -= int64(shift)
	}
	i := x>>8 - 128
	low := (uint64(x) * uint64(lnRH[i]) >> 48) & 0xff
	return exponent<<44 + (lnLH[i]+lnLL[low])>>4
}
