//go:build interop

package osdmap

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestRenewChain writes RBDM_CHAIN_OUT from the directory RBDM_CHAIN_IN, which
// holds values of a stopped monitor's store under their keys: N (incremental)
// and full_N, as `ceph-kvstore-tool rocksdb store.db get osdmap KEY out KEY`
// gives them. RBDM_CHAIN_FIRST is the first epoch. Without them it only checks
// that the stored chains are there.
func TestRenewChain(t *testing.T) {
	in, out := os.Getenv("RBDM_CHAIN_IN"), os.Getenv("RBDM_CHAIN_OUT")
	if in == "" {
		if names, err := filepath.Glob("testdata/*/chain.gz"); err != nil || len(names) == 0 {
			t.Fatalf("no chains: %v", err)
		}
		return
	}
	var first int
	if _, err := fmt.Sscan(os.Getenv("RBDM_CHAIN_FIRST"), &first); err != nil {
		t.Fatalf("RBDM_CHAIN_FIRST: %v", err)
	}
	read := func(format string, e int) []byte {
		b, _ := os.ReadFile(filepath.Join(in, fmt.Sprintf(format, e)))
		return b
	}
	c := chain{first: read("full_%d", first)}
	for e := first + 1; ; e++ {
		inc, full := read("%d", e), read("full_%d", e)
		if inc == nil || full == nil {
			break
		}
		c.epochs = append(c.epochs, [2][]byte{inc, full})
	}
	t.Logf("%d epochs", len(c.epochs))
	c.write(t, out)
}
