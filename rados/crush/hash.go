package crush

// The seeds of the rjenkins1 integer hash (src/crush/hash.c).
const (
	hashSeed = 1315423911
	hashX    = 231232
	hashY    = 1232
)

// mix is Robert Jenkins' 96-bit mix.
func mix(a, b, c uint32) (uint32, uint32, uint32) {
	a = (a - b - c) ^ (c >> 13)
	b = (b - c - a) ^ (a << 8)
	c = (c - a - b) ^ (b >> 13)
	a = (a - b - c) ^ (c >> 12)
	b = (b - c - a) ^ (a << 16)
	c = (c - a - b) ^ (b >> 5)
	a = (a - b - c) ^ (c >> 3)
	b = (b - c - a) ^ (a << 10)
	c = (c - a - b) ^ (b >> 15)
	return a, b, c
}

// Hash2 hashes two integers (crush_hash32_2).
func Hash2(a, b uint32) uint32 {
	h := hashSeed ^ a ^ b
	x, y := uint32(hashX), uint32(hashY)
	a, b, h = mix(a, b, h)
	x, a, h = mix(x, a, h)
	_, _, h = mix(b, y, h)
	return h
}

// Hash3 hashes three integers (crush_hash32_3).
func Hash3(a, b, c uint32) uint32 {
	h := hashSeed ^ a ^ b ^ c
	x, y := uint32(hashX), uint32(hashY)
	a, b, h = mix(a, b, h)
	c, x, h = mix(c, x, h)
	y, a, h = mix(y, a, h)
	b, x, h = mix(b, x, h)
	_, _, h = mix(y, c, h)
	return h
}

// Hash4 hashes four integers (crush_hash32_4).
func Hash4(a, b, c, d uint32) uint32 {
	h := hashSeed ^ a ^ b ^ c ^ d
	x, y := uint32(hashX), uint32(hashY)
	a, b, h = mix(a, b, h)
	c, d, h = mix(c, d, h)
	a, x, h = mix(a, x, h)
	y, b, h = mix(y, b, h)
	c, x, h = mix(c, x, h)
	_, _, h = mix(y, d, h)
	return h
}
