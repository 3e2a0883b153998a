package msgr2

import (
	"bytes"
	"slices"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

func TestDataSlicesAcrossParts(t *testing.T) {
	whole := []byte("abcdefghij")
	d := NewData(whole[:3], nil, whole[3:7])
	d.AppendData(CheckedData(whole[7:], 42))
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

func TestDataWithoutItsHeadKeepsItsChecksum(t *testing.T) {
	whole := bytes.Repeat([]byte("some bytes of a sparse read"), 1000)
	d := CheckedData(whole, denc.CRC32C(^uint32(0), whole))
	for _, off := range []int{0, 1, 24, cheapCut, cheapCut + 1, len(whole) - 5} {
		rest := d.Slice(off, len(whole)-off)
		if got, want := rest.CRC(), denc.CRC32C(^uint32(0), whole[off:]); got != want {
			t.Errorf("from %d: %#x, want %#x", off, got, want)
		}
		if known := off <= cheapCut; rest.first.has != known {
			t.Errorf("from %d: the CRC is known: %v", off, rest.first.has)
		}
	}
	if d.Slice(0, 100).first.has {
		t.Error("the CRC of a beginning cannot be known")
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

func TestBuilderAndWhatIsKnownOfItsParts(t *testing.T) {
	a, b, c := []byte("head"), bytes.Repeat([]byte("some bytes"), 500), []byte("tail")
	known := NewData(b, c).Checked()
	var build Builder
	build.Grow(2)
	build.Append(a)
	build.Append(nil)
	build.AppendData(known)
	d := build.Data()
	whole := slices.Concat(a, b, c)
	if !bytes.Equal(d.Bytes(), whole) || d.CRC() != denc.CRC32C(^uint32(0), whole) || d.Checked().CRC() != d.CRC() {
		t.Error("not what was added")
	}
	n := 0
	for p := range d.Pieces() {
		if p.Len() != len([][]byte{a, b, c}[n]) || p.first.has != (n > 0) {
			t.Errorf("piece %d: %d bytes, known %v", n, p.Len(), p.first.has)
		}
		n++
	}
	// Copies do not see what is added to each other.
	x, y := d, d
	x.Append([]byte("x"))
	y.AppendData(known)
	if x.Len() != len(whole)+1 || y.Len() != len(whole)+len(b)+len(c) || !bytes.Equal(d.Bytes(), whole) || !bytes.Equal(y.Bytes()[len(whole):], known.Bytes()) {
		t.Error("copies share what was added")
	}
}
