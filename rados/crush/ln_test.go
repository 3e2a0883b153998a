package crush

import "testing"

func TestLnKnownAnswers(t *testing.T) {
	for u, want := range map[uint32]int64{
		0: 0, 1: 0x100000000000, 2: 0x195c01a39fbd, 0x100: 0x80171e3b6d7a, 0x8000: 0xf0002e2a60a0,
		0xfffe: 0xfffffd61ad10, 0xffff: 0xfffff0000000,
	} {
		if got := ln(u); got != want {
			t.Errorf("ln(%#x) = %#x, want %#x", u, got, want)
		}
	}
	var sum uint64
	for u := range uint32(0x10000) {
		sum += uint64(ln(u))
	}
	if sum != 0xe8eb4b6639c9d2b6 {
		t.Errorf("sum %#x", sum)
	}
}

func TestHash2KnownAnswer(t *testing.T) {
	if got := Hash2(0, 2); got != 0xf9360702 {
		t.Errorf("got %#x", got)
	}
}
