package msgr2

import "testing"

func TestDataSlicesAcrossParts(t *testing.T) {
	whole := []byte("abcdefghij")
	d := NewData(whole[:3], nil, whole[3:7])
	d.AppendData(checkedData(whole[7:], 42))
	if d.Len() != len(whole) {
		t.Fatalf("length %d", d.Len())
	}
	for off := range len(whole) + 1 {
		for n := range len(whole) - off + 1 {
			if got := string(d.Slice(off, n).Bytes()); got != string(whole[off:off+n]) {
				t.Errorf("slice %d+%d: %q", off, n, got)
			}
		}
	}
	if got := d.Slice(7, 3).CRC(); got != 42 {
		t.Errorf("a whole part's CRC was not kept: %d", got)
	}
}

func TestDataCopiesDoNotSeeEachOthersAppends(t *testing.T) {
	a := NewData([]byte("x"), []byte("y"))
	b := a
	a.Append([]byte("1"))
	b.Append([]byte("2"))
	if string(a.Bytes()) != "xy1" || string(b.Bytes()) != "xy2" {
		t.Errorf("%q %q", a.Bytes(), b.Bytes())
	}
}
