package denctest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// corpusVersions are the folders of the public corpus whose bytes are read: what
// 16.2 to 19.2 and a version after 20.2 encoded.
const corpusVersions = "archive/1[6-9].*"

// corpusNext is a version that is newer than what this module claims to write.
const corpusNext = "archive/20.*"

// Corpus reads every value of the given types in the public corpus
// (github.com/ceph/ceph-object-corpus) whose checkout is RBDM_OBJECT_CORPUS; without
// that variable it does nothing. names gives, for Ceph's name of a type, the one
// here. What has the version that is written here must be written to the same
// bytes; odd gives reasons why files whose paths in the archive begin as its keys
// need not.
func Corpus(t *testing.T, types Types, names, odd map[string]string) {
	dir := os.Getenv("RBDM_OBJECT_CORPUS")
	if dir == "" {
		return
	}
	read, same, files := 0, 0, 0
	for _, pattern := range []string{corpusVersions, corpusNext} {
		for theirs, ours := range names {
			found, err := filepath.Glob(filepath.Join(dir, pattern, "objects", theirs, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range found {
				p, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				files++
				name, _ := filepath.Rel(filepath.Join(dir, "archive"), file)
				v := types[ours]()
				r := denc.NewReader(p)
				v.Decode(r)
				again := v.Append(nil)
				switch err := r.Done(); {
				case isOdd(odd, name):
					read++
				case err != nil:
					t.Errorf("%s: %v: %x", name, err, p[:min(len(p), 500)])
				case bytes.Equal(again, p):
					same++
				case len(p) > 0 && again[0] == p[0]:
					t.Errorf("%s: %+v\nhas  %x\ngave %x", name, Unwrap(v), p[:min(len(p), 500)], again[:min(len(again), 500)])
				default:
					read++
				}
			}
		}
	}
	if files == 0 {
		t.Fatalf("%s has no values of these types", dir)
	}
	t.Logf("%d values, %d written to the same bytes, %d of other versions only read", files, same, read)
}

func isOdd(odd map[string]string, name string) bool {
	for prefix := range odd {
		if strings.HasPrefix(filepath.ToSlash(name), prefix) {
			return true
		}
	}
	return false
}
