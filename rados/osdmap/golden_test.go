package osdmap

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// writeGolden writes a map and what osdmaptool printed of it.
func writeGolden(t *testing.T, name string, full []byte, dump string) {
	t.Helper()
	var w bytes.Buffer
	z := gzip.NewWriter(&w)
	if _, err := z.Write(denc.AppendString(denc.AppendBytes(nil, full), dump)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readGolden(t *testing.T, name string) (full []byte, dump string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	r := denc.NewReader(b)
	full, dump = r.Bytes(), r.String()
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	return full, dump
}

// The maps under testdata/placement carry what osdmaptool of the release in the
// path printed of them (TestPlacementEqualsOSDMapTool renews them).
func TestPlacementEqualsStoredDumps(t *testing.T) {
	names, err := filepath.Glob("testdata/placement/*/*.gz")
	if err != nil || len(names) < 24 {
		t.Fatalf("%d maps, %v", len(names), err)
	}
	total := 0
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			full, dump := readGolden(t, name)
			m, err := Decode(full)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.Append(nil, FeaturesReef), full) && !bytes.Equal(m.Append(nil, FeaturesTentacle), full) {
				t.Error("encodes differently")
			}
			total += checkDump(t, m, dump)
		})
	}
	t.Logf("%d PGs compared", total)
}
