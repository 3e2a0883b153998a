package main

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func putFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// sparseContent returns n bytes: runs of zeros and of noise.
func sparseContent(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for at := 0; at < n; {
		run := min(1+rng.IntN(1<<20), n-at)
		if rng.IntN(2) == 0 {
			noise(rng, p[at:at+run])
		}
		at += run
	}
	return p
}

func noise(rng *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(rng.Uint32() | 1)
	}
}

// changes returns a diff of rbd's format that writes and clears n ranges of an
// image of the given size, in ascending order.
func changes(rng *rand.Rand, size uint64, n int) []byte {
	b := []byte("rbd diff v1\n")
	b = binary.LittleEndian.AppendUint64(append(b, 's'), size)
	for i := range uint64(n) {
		part := size / uint64(n)
		off := i*part + rng.Uint64N(part/2)&^511
		length := (1 + rng.Uint64N(part/2)) &^ 511
		if length == 0 {
			continue
		}
		tag := byte('w')
		if rng.IntN(3) == 0 {
			tag = 'z'
		}
		b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(append(b, tag), off), length)
		if tag == 'w' {
			data := make([]byte, length)
			noise(rng, data)
			b = append(b, data...)
		}
	}
	return append(b, 'e')
}
