package osdmap

import "testing"

func TestHashNameKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		ns, key string
		want    uint32
	}{
		{"", "foo", 0x7fc1f406},
		{"", "rbd_directory", 0x30a98c1c},
		{"ns1", "foo", 0xf4569544},
	} {
		if got := HashName(HashRjenkins, c.ns, c.key); got != c.want {
			t.Errorf("%q/%q: %#x, want %#x", c.ns, c.key, got, c.want)
		}
	}
}
