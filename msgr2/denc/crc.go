package denc

// crcPoly is the Castagnoli polynomial, reflected.
const crcPoly = 0x82f63b78

// crcOne is the polynomial 1: the highest bit is x^0.
const crcOne = 1 << 31

// crcPowers holds x^(8·d·16^k) modulo the polynomial at [k][d]: appending d·16^k zero
// bytes multiplies a CRC by it.
var crcPowers = makeCRCPowers()

func makeCRCPowers() (t [16][16]uint32) {
	base := uint32(crcOne >> 8) // x^8
	for k := range t {
		t[k][0] = crcOne
		for d := 1; d < len(t[k]); d++ {
			t[k][d] = crcTimes(t[k][d-1], base)
		}
		base = crcTimes(t[k][15], base)
	}
	return t
}

// crcTimes multiplies two polynomials modulo the polynomial.
func crcTimes(a, b uint32) uint32 {
	var p uint32
	for range 32 { // no branch: which bits are set is anybody's guess
		p ^= b & -(a >> 31)
		a <<= 1
		b = b>>1 ^ crcPoly&-(b&1)
	}
	return p
}

// ExtendCRC32C returns the CRC after n zero bytes more. It takes time that grows
// with the logarithm of n.
func ExtendCRC32C(crc uint32, n int) uint32 {
	for k := 0; n > 0; n, k = n>>4, k+1 {
		if d := n & 15; d != 0 {
			crc = crcTimes(crcPowers[k][d], crc)
		}
	}
	return crc
}

// CombineCRC32C returns the CRC of two pieces that follow each other: a is that
// of the first, b that of the second (of n bytes) begun with seed.
func CombineCRC32C(a, b, seed uint32, n int) uint32 {
	return b ^ ExtendCRC32C(a^seed, n)
}
