//go:build interop

package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var keyringLine = regexp.MustCompile(`(?m)^keyring = .*$`)

// realSites returns a folder with the configurations of the two real clusters as
// site-a.conf and site-b.conf, and has the pools that a document makes removed
// after the test.
func realSites(t *testing.T, pools ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, variable := range map[string]string{"site-a": "RBDM_SITE_A", "site-b": "RBDM_SITE_B"} {
		s := siteFromEnv(t, variable)
		text, err := os.ReadFile(s.conf())
		if err != nil {
			t.Fatal(err)
		}
		ring, err := os.ReadFile(filepath.Join(s.dir, "keyring"))
		if err != nil {
			t.Fatal(err)
		}
		putFile(t, dir, name+".conf", keyringLine.ReplaceAllLiteral(text, []byte("keyring = "+filepath.Join(dir, name+".$name.keyring"))))
		putFile(t, dir, name+".client.admin.keyring", ring)
		t.Cleanup(func() {
			for _, pool := range pools {
				s.command(context.Background(), "ceph", "osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it").Run()
			}
			for _, user := range []string{"client.rbd-mirror-peer", "client.rbd-mirror.a", "client.rbd-mirror.b", "client.mirror-reader"} {
				s.command(context.Background(), "ceph", "auth", "rm", user).Run()
			}
		})
	}
	return dir
}

// TestInteropManual carries out the manual on real clusters. It is written for
// 20.2: others show less of a pool and know no remote namespaces.
func TestInteropManual(t *testing.T) {
	a, b := siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B")
	if a.release != "20" || b.release != "20" {
		t.Logf("nothing to do between %s and %s", a.release, b.release)
		return
	}
	path := absolute(t, manual)
	newConsole(t, realSites(t, "data", "bulk")).run(path)
}

// TestInteropExamplesOfTheCephDocumentation carries out the documentation's
// examples on two real clusters.
func TestInteropExamplesOfTheCephDocumentation(t *testing.T) {
	path := absolute(t, cephExamples)
	newConsole(t, realSites(t, "image-pool")).run(path)
}
