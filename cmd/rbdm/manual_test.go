package main

import (
	"path/filepath"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
)

const (
	manual       = "../../docs/mirroring.md"
	cephExamples = "testdata/ceph-rbd-mirroring-examples.md"
)

// fakeSites starts two clusters in memory and returns the folder with their
// configurations.
func fakeSites(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"site-a", "site-b"} {
		c := fakecluster.New(t, fakecluster.Name(name))
		if _, err := c.ConfFile(dir); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// absolute returns a path that holds when the test has changed its folder.
func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestManual carries out every command of the manual, from top to bottom, with
// our daemons in this process.
func TestManual(t *testing.T) {
	path := absolute(t, manual)
	newConsole(t, fakeSites(t)).run(path)
}

// TestExamplesOfTheCephDocumentation carries out the commands that the Ceph
// documentation on RBD mirroring gives as examples.
func TestExamplesOfTheCephDocumentation(t *testing.T) {
	path := absolute(t, cephExamples)
	newConsole(t, fakeSites(t)).run(path)
}
