package rbdm

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rbdm/rbdm/"

// layers lists the folders from the bottom up, and what each may import besides
// itself. Wire packages of a layer are leaves: they stand apart because the fake
// cluster shares them, and of that layer nothing else but the arithmetic of rbd/layout.
var layers = map[string][]string{
	"msgr2":       {},
	"rados":       {"msgr2"},
	"journal":     {"msgr2", "rados"},
	"rbd":         {"msgr2", "rados", "journal"},
	"mirror":      {"msgr2", "rados", "journal", "rbd"},
	"fakecluster": {"msgr2", "rados/crush", "rados/osdmap", "rados/wire", "rados/errno", "rados/cls", "rbd/wire", "rbd/layout", "journal/wire"},
	"cmd":         {"msgr2", "rados", "journal", "rbd", "mirror", "fakecluster"},
	"anycluster":  {"msgr2", "rados", "fakecluster"},    // for tests
	"scripts":     {"msgr2", "rados", "journal", "rbd"}, // tools for measuring
}

func TestAFolderImportsOnlyWhatStandsBelowIt(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		path = filepath.ToSlash(path)
		top, _, nested := strings.Cut(path, "/")
		allowed, known := layers[top]
		if !nested || !known {
			if nested {
				t.Errorf("%s: folder %s is not one of the house", path, top)
			}
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if imported == "C" {
				t.Errorf("%s uses cgo", path)
			}
			below, ours := strings.CutPrefix(imported, module)
			if ours && !within(below, append([]string{top}, allowed...)) {
				t.Errorf("%s imports %s: %s may import only %v", path, below, top, allowed)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func within(pkg string, folders []string) bool {
	for _, f := range folders {
		if pkg == f || strings.HasPrefix(pkg, f+"/") {
			return true
		}
	}
	return false
}
