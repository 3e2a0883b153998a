package denc

// crcPoly is the Castagnoli polynomial, reflected.
const crcPoly = 0x82f63b78

// ExtendCRC32C returns the CRC after n zero bytes more. It takes time that grows
// with the logarithm of n: appending a zero bit is a linear map of the CRC's 32
// bits, and the map is squared instead of applied n times.
func ExtendCRC32C(crc uint32, n int) uint32 {
	if n <= 0 || crc == 0 {
		return crc
	}
	var even, odd [32]uint32
	odd[0] = crcPoly // one zero bit
	for i, row := 1, uint32(1); i < 32; i, row = i+1, row<<1 {
		odd[i] = row
	}
	square(&even, &odd) // two bits
	square(&odd, &even) // four bits
	for {
		square(&even, &odd)
		if n&1 != 0 {
			crc = times(&even, crc)
		}
		if n >>= 1; n == 0 {
			return crc
		}
		square(&odd, &even)
		if n&1 != 0 {
			crc = times(&odd, crc)
		}
		if n >>= 1; n == 0 {
			return crc
		}
	}
}

// CombineCRC32C returns the CRC of two pieces that follow each other: a is that
// of the first, b that of the second (of n bytes) begun with seed.
func CombineCRC32C(a, b, seed uint32, n int) uint32 {
	return b ^ ExtendCRC32C(a^seed, n)
}

func times(m *[32]uint32, v uint32) uint32 {
	var sum uint32
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func square(dst, m *[32]uint32) {
	for i := range dst {
		dst[i] = times(m, m[i])
	}
}
