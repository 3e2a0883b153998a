package osdmap

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// chain is a full map of a real cluster and the epochs after it, each as the
// monitor stored it: incremental and full.
type chain struct {
	first  []byte
	epochs [][2][]byte
}

func (c *chain) Append(b []byte) []byte {
	return denc.AppendSlice(denc.AppendBytes(b, c.first), c.epochs, func(b []byte, e [2][]byte) []byte {
		return denc.AppendBytes(denc.AppendBytes(b, e[0]), e[1])
	})
}

func (c *chain) Decode(r *denc.Reader) {
	c.first = r.Bytes()
	c.epochs = denc.Slice(r, 8, func(r *denc.Reader) [2][]byte { return [2][]byte{r.Bytes(), r.Bytes()} })
}

func (c *chain) write(t *testing.T, name string) {
	t.Helper()
	var w bytes.Buffer
	z := gzip.NewWriter(&w)
	if _, err := z.Write(denc.AppendString(denc.AppendBytes(nil, c.Append(nil)), "")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every incremental that a real monitor made is read, written again to the same
// bytes, and applied to a map that encodes to the bytes of the monitor's next
// full map, whose checksum the incremental foretold.
func TestRealIncrementalsGiveTheMonitorsFullMaps(t *testing.T) {
	for _, release := range []string{"16.2", "20.2"} {
		var c chain
		b, _ := readGolden(t, "testdata/"+release+"/chain.gz")
		r := denc.NewReader(b)
		if c.Decode(r); r.Done() != nil || len(c.epochs) < 20 {
			t.Fatalf("%s: %d epochs, %v", release, len(c.epochs), r.Err())
		}
		m, err := Decode(c.first)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.epochs {
			inc, err := DecodeIncremental(e[0])
			if err != nil {
				t.Fatalf("%s: %v", release, err)
			}
			features := inc.OSDOnly.EncodeFeatures
			if !bytes.Equal(inc.Append(nil, features), e[0]) {
				t.Errorf("%s: incremental %d encodes differently", release, inc.Epoch)
			}
			if m, err = m.Apply(inc); err != nil {
				t.Fatalf("%s: %v", release, err)
			}
			full := m.Append(nil, features)
			if !bytes.Equal(full, e[1]) || CRC(full) != inc.FullCRC {
				t.Errorf("%s: epoch %d gives another full map", release, inc.Epoch)
			}
		}
	}
}
