//go:build interop

package osdmap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a command of the Ceph under RBDM_CEPH_ROOT (a directory to chroot
// into) or of the machine itself. Files that it reads lie in scratch.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	if root := os.Getenv("RBDM_CEPH_ROOT"); root != "" {
		cmd = exec.Command("chroot", append([]string{root, name}, args...)...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// scratch returns a directory as the tests and as the tools see it.
func scratch(t *testing.T) (ours, theirs string) {
	t.Helper()
	root := os.Getenv("RBDM_CEPH_ROOT")
	dir, err := os.MkdirTemp(filepath.Join(root, os.TempDir()), "rbdm-osdmap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir, strings.TrimPrefix(dir, root)
}

func TestPlacementEqualsOSDMapTool(t *testing.T) {
	ours, theirs := scratch(t)
	total, objects := 0, 0
	for _, s := range shapes() {
		if (s.ecopt || s.msr) && os.Getenv("RBDM_CEPH_RELEASE") != "20.2" {
			continue // older tools cannot read such a map
		}
		t.Run(s.String(), func(t *testing.T) {
			m := s.build()
			// 18 and 20 know upmap_primaries; 16 ignores what it does not read.
			features := s.features()
			if os.Getenv("RBDM_CEPH_RELEASE") == "16.2" {
				features = FeaturesPacific
				m.UpmapPrimary = nil
			}
			full := m.Append(nil, features)
			if err := os.WriteFile(filepath.Join(ours, "map"), full, 0o644); err != nil {
				t.Fatal(err)
			}
			dump := tool(t, "osdmaptool", theirs+"/map", "--test-map-pgs-dump-all")
			n := checkDump(t, m, dump)
			if n != 5*int(s.pg) {
				t.Fatalf("%d PGs in the dump", n)
			}
			total += n
			rng := rand.New(rand.NewPCG(1, 2))
			for range 10 {
				oid := fmt.Sprintf("rbd_data.%x.%016x", rng.Uint64(), rng.IntN(1<<20))
				pg, _, _ := m.ObjectToPG(2, "", "", oid)
				up, _, acting, _ := m.PGToUpActing(pg)
				want := fmt.Sprintf("-> %s", pg)
				out := tool(t, "osdmaptool", theirs+"/map", "--test-map-object", oid, "--pool", "2")
				if !strings.Contains(out, want) {
					t.Errorf("%s: %s, want %s, up %v acting %v", oid, out, want, up, acting)
				}
				objects++
			}
			if dir := os.Getenv("RBDM_GOLDEN_OUT"); dir != "" {
				writeGolden(t, filepath.Join(dir, s.String()+".gz"), full, dump)
			}
		})
	}
	t.Logf("%d PGs and %d objects compared", total, objects)
}
