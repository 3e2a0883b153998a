package crush

// The seeds of the rjenkins1 integer hash (src/crush/hash.c).
const (
	hashSeed = 1315423911
	hashX    = 231232
	hashY    = 1232
)

// Mix is Robert Jenkins' 96-bit mix, which hashes of object names use as well.
func Mix(a, b, c uint32) (uint32, uint32, uint32) {
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
	a, b, h = Mix(a, b, h)
	x, a, h = Mix(x, a, h)
	_, _, h = Mix(b, y, h)
	return h
}

// Hash3 hashes three integers (crush_hash32_3).
func Hash3(a, b, c uint32) uint32 {
	h := hashSeed ^ a ^ b ^ c
	x, y := uint32(hashX), uint32(hashY)
	a, b, h = Mix(a, b, h)
	c, x, h = Mix(c, x, h)
	y, a, h = Mix(y, a, h)
	b, x, h = Mix(b, x, h)
	_, _, h = Mix(y, c, h)
	return h
}

// Hash4 hashes four integers (crush_hash32_4).
func Hash4(a, b, c, d uint32) uint32 {
	h := hashSeed ^ a ^ b ^ c ^ d
	x, y := uint32(hashX), uint32(hashY)
	a, b, h = Mix(a, b, h)
	c, d, h = Mix(c, d, h)
	a, x, h = Mix(a, x, h)
	y, b, h = Mix(y, b, h)
	c, x, h = Mix(c, x, h)
	_, _, h = Mix(y, d, h)
	return h
}
