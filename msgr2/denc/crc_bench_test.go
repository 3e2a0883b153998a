package denc

import (
	"fmt"
	"testing"
)

// BenchmarkCombineCRC32C is to be cheaper than reading the bytes again.
func BenchmarkCombineCRC32C(b *testing.B) {
	for _, n := range []int{4 << 10, 16319, 64 << 10} {
		p := make([]byte, n)
		b.Run(fmt.Sprint("combine/", n), func(b *testing.B) {
			crc := uint32(1)
			for b.Loop() {
				crc = CombineCRC32C(crc, 7, ^uint32(0), n)
			}
		})
		b.Run(fmt.Sprint("read/", n), func(b *testing.B) {
			crc := uint32(1)
			for b.Loop() {
				crc = CRC32C(crc, p)
			}
		})
	}
}
