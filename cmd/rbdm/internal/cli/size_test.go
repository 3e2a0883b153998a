package cli

import "testing"

// Pairs that rbd 20.2.4 printed for images of these sizes.
func TestByteSizeIsCephs(t *testing.T) {
	for v, want := range map[uint64]string{
		1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1025: "1.0 KiB", 1500: "1.5 KiB", 10239: "10 KiB",
		10241: "10 KiB", 99999: "98 KiB", 102399: "100 KiB", 1048575: "1024 KiB", 5000000: "4.8 MiB",
		104857599: "100 MiB", 1073741823: "1024 MiB", 123456789012: "115 GiB",
	} {
		if got := ByteSize(v); got != want {
			t.Errorf("%d: got %q, rbd prints %q", v, got, want)
		}
	}
}

// What rbd 20.2.4 takes for `create --size`, and refuses.
func TestParseSizeIsRBDs(t *testing.T) {
	for s, want := range map[string]uint64{"1KB": 1024, "1KiB": 1024, "1Ki": 1024, "10": 10 << 20, "1B": 1, "3T": 3 << 40} {
		if got, err := ParseSize(s, 1<<20); err != nil || got != want {
			t.Errorf("%q: got %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"1k", "1.5M", "1m", "0x10K", "1Bi", "99999999999T", "-1", "", "1g"} {
		if got, err := ParseSize(s, 1<<20); err == nil {
			t.Errorf("%q: got %d", s, got)
		}
	}
}
