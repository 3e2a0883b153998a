//go:build interop

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// snapInfo is an entry of `rbd snap ls --all --format json`.
type snapInfo struct {
	ID        uint64
	Name      string
	Namespace struct {
		Type, State   string
		Complete      bool
		PrimarySnapID uint64 `json:"primary_snap_id"`
		LastCopied    uint64 `json:"last_copied_object_number"`
	}
}

func parseSnaps(t *testing.T, out string) []snapInfo {
	t.Helper()
	var snaps []snapInfo
	if err := json.Unmarshal([]byte(out), &snaps); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return snaps
}

// peers returns both sites with a fresh pool of the same name on each, mirrored
// in both directions by a token that one site's tools made and the other's took.
func peers(t *testing.T, pool string) (a, b *site) {
	t.Helper()
	a, b = siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B")
	// The clusters differ on purpose: no id must be equal by luck.
	b.real(t, "ceph", "osd", "pool", "create", "dummy-"+pool, "1")
	b.real(t, "rbd", "pool", "init", "dummy-"+pool)
	b.real(t, "rbd", "create", "-s", "1M", "dummy-"+pool+"/x")
	b.real(t, "rbd", "snap", "create", "--no-progress", "dummy-"+pool+"/x@s")
	for _, s := range []*site{a, b} {
		s.real(t, "ceph", "osd", "pool", "create", pool, "8")
		s.real(t, "rbd", "pool", "init", pool)
		s.real(t, "rbd", "mirror", "pool", "enable", pool, "image")
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("RBDM_INTEROP_KEEP") != "" {
			return // to be looked at
		}
		for _, s := range []*site{a, b} {
			s.try(t, "ceph", "osd", "pool", "rm", pool, pool, "--yes-i-really-really-mean-it")
		}
		b.try(t, "ceph", "osd", "pool", "rm", "dummy-"+pool, "dummy-"+pool, "--yes-i-really-really-mean-it")
	})
	// A release that knows no aes256k cannot use a token made by one that makes
	// nothing else, so the older site is the one that makes it.
	from, to := a, b
	if a.release == "20" && b.release != "20" {
		from, to = b, a
	}
	token := filepath.Join(t.TempDir(), "token")
	text := from.rbdm(t, "rbd", "mirror", "pool", "peer", "bootstrap", "create", "--site-name", "site-"+from.name, pool)
	if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	to.rbdm(t, "rbd", "mirror", "pool", "peer", "bootstrap", "import", "--site-name", "site-"+to.name, pool, token)
	return a, b
}

// write changes a primary image in many places through the release's own rbd.
func write(t *testing.T, s *site, spec string, seed int) {
	t.Helper()
	total := []string{"3M", "700K", "9M", "128K"}[seed%4]
	size := []string{"4K", "64K", "1M", "512"}[seed%4]
	s.real(t, "rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-size", size, "--io-total", total, spec)
}

func TestInteropSnapshotMirroring(t *testing.T) {
	a, b := peers(t, "mirror")
	spec := "mirror/image"
	a.real(t, "rbd", "create", "-s", "40M", spec)
	write(t, a, spec, 0)
	a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@before")
	write(t, a, spec, 2)
	a.real(t, "rbd", "image-meta", "set", spec, "conf_rbd_cache", "false")
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")

	d := b.startOurs(t)
	waitSynced(t, a, b, spec)
	equal(t, a, spec+"@before", b, spec+"@before")
	equal(t, a, spec, b, spec)

	step := func(name string, change func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			change(t)
			a.real(t, "rbd", "mirror", "image", "snapshot", spec)
			waitSynced(t, a, b, spec)
			waitPruned(t, a, spec)
			equal(t, a, spec, b, spec)
		})
	}
	step("delta", func(t *testing.T) { write(t, a, spec, 1) })
	step("small writes", func(t *testing.T) { write(t, a, spec, 3) })
	step("grow", func(t *testing.T) {
		a.real(t, "rbd", "resize", "--no-progress", "-s", "70M", spec)
		write(t, a, spec, 2)
	})
	step("shrink", func(t *testing.T) {
		a.real(t, "rbd", "resize", "--no-progress", "--allow-shrink", "-s", "33M", spec)
	})
	step("shrink and grow", func(t *testing.T) {
		a.real(t, "rbd", "resize", "--no-progress", "--allow-shrink", "-s", "5M", spec)
		a.real(t, "rbd", "resize", "--no-progress", "-s", "40M", spec)
		write(t, a, spec, 1)
	})
	step("user snapshots", func(t *testing.T) {
		a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@one")
		write(t, a, spec, 1)
		a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@two")
		write(t, a, spec, 3)
		a.real(t, "rbd", "snap", "rm", "--no-progress", spec+"@before")
	})
	equal(t, a, spec+"@one", b, spec+"@one")
	equal(t, a, spec+"@two", b, spec+"@two")
	step("protected and renamed snapshot", func(t *testing.T) {
		a.real(t, "rbd", "snap", "rename", spec+"@one", spec+"@uno")
		a.real(t, "rbd", "snap", "protect", spec+"@two")
	})
	equal(t, a, spec+"@uno", b, spec+"@uno")
	step("discards by rollback", func(t *testing.T) {
		a.real(t, "rbd", "snap", "rollback", "--no-progress", spec+"@uno")
	})
	step("metadata", func(t *testing.T) {
		a.real(t, "rbd", "image-meta", "set", spec, "owner", "us")
		a.real(t, "rbd", "image-meta", "rm", spec, "conf_rbd_cache")
	})
	if got := b.real(t, "rbd", "image-meta", "ls", "--format", "json", spec); strings.TrimSpace(got) != `{"owner":"us"}` {
		t.Errorf("metadata of the replica: %s", got)
	}
	checkStatus(t, a, b, spec)
	t.Run("rename", func(t *testing.T) {
		a.real(t, "rbd", "rename", spec, "mirror/renamed")
		a.real(t, "rbd", "mirror", "image", "snapshot", "mirror/renamed")
		waitSynced(t, a, b, "mirror/renamed")
		equal(t, a, "mirror/renamed", b, "mirror/renamed")
	})
	t.Run("disabled primary takes its replica with it", func(t *testing.T) {
		a.real(t, "rbd", "mirror", "image", "disable", "mirror/renamed")
		gone(t, b, "mirror/renamed")
		a.real(t, "rbd", "snap", "unprotect", "mirror/renamed@two")
		a.real(t, "rbd", "snap", "purge", "--no-progress", "mirror/renamed")
		a.real(t, "rbd", "rm", "--no-progress", "mirror/renamed")
		nothingLeft(t, "mirror", a, b)
	})
	d.stop(t)
}

// checkStatus looks at the status as both sites' own tools show it.
func checkStatus(t *testing.T, a, b *site, spec string) {
	t.Helper()
	eventually(t, "status of the replica", 40*time.Second, func() (bool, string) {
		s := status(t, b, spec)
		return strings.Contains(s, "state:       up+replaying") && strings.Contains(s, `description: replaying, {"`) && strings.Contains(s, `"replay_state":"idle"`), s
	})
	eventually(t, "status at the primary", 40*time.Second, func() (bool, string) {
		s := status(t, a, spec)
		return strings.Contains(s, "peer_sites:") && strings.Contains(s, "state: up+replaying"), s
	})
	eventually(t, "pool status", 40*time.Second, func() (bool, string) {
		out := b.real(t, "rbd", "mirror", "pool", "status", "--verbose", strings.Split(spec, "/")[0])
		return strings.Contains(out, "service ") && strings.Contains(out, "leader: true") && strings.Contains(out, "state:       up+replaying"), out
	})
}

// olderKeys makes the peers' user of a 20.2 cluster one with an aes key, where the
// other site's own daemon has to log in that knows no aes256k.
func olderKeys(t *testing.T, s, other *site) {
	t.Helper()
	if s.release != "20" || other.release == "20" {
		return
	}
	const user = "client.rbd-mirror-peer"
	keyring := filepath.Join(s.dir, "peer.keyring")
	text := fmt.Sprintf("[%s]\n\tkey = %s\tcaps mon = \"profile rbd-mirror-peer\"\n\tcaps osd = \"profile rbd\"\n", user, other.real(t, "ceph-authtool", "--gen-print-key"))
	if err := os.WriteFile(keyring, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.real(t, "ceph", "mon", "set", "auth_allowed_ciphers", "aes,aes256k")
	s.real(t, "ceph", "config", "set", "mon", "mon_auth_allow_insecure_key", "true")
	s.real(t, "ceph", "auth", "rm", user)
	s.real(t, "ceph", "auth", "add", user, "-i", keyring)
}

func TestInteropHandoverWithTheCPPDaemon(t *testing.T) {
	olderKeys(t, siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B"))
	a, b := peers(t, "handover")
	spec := "handover/image"
	a.real(t, "rbd", "create", "-s", "60M", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")
	round := func(i int, name string, start func() *daemon) {
		d := start()
		write(t, a, spec, i)
		a.real(t, "rbd", "mirror", "image", "snapshot", spec)
		waitSynced(t, a, b, spec)
		equal(t, a, spec, b, spec)
		d.stop(t)
		t.Logf("round %d: %s daemon went on by delta", i, name)
	}
	ours := func() *daemon { return b.startOurs(t) }
	cpp := func() *daemon { return b.startReal(t) }
	round(0, "our", ours)
	id := imageID(t, b, spec)
	round(1, "the C++", cpp)
	round(2, "our", ours)
	round(3, "the C++", cpp)
	round(4, "our", ours)
	if now := imageID(t, b, spec); now != id {
		t.Errorf("the replica was made anew: id %s became %s", id, now)
	}
}

func imageID(t *testing.T, s *site, spec string) string {
	t.Helper()
	var info struct{ ID string }
	out := s.real(t, "rbd", "info", "--format", "json", spec)
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.ID == "" {
		t.Fatalf("no id in %s", out)
	}
	return info.ID
}

func TestInteropFailoverAndFailback(t *testing.T) {
	a, b := peers(t, "failover")
	before := []string{blocklist(t, a), blocklist(t, b)}
	spec := "failover/image"
	a.real(t, "rbd", "create", "-s", "40M", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")
	da, db := a.startOurs(t), b.startOurs(t)
	waitSynced(t, a, b, spec)
	from, to := a, b
	for i := range 6 {
		t.Run(fmt.Sprintf("round %d", i), func(t *testing.T) {
			write(t, from, spec, i)
			// The release's own rbd on one side, ours on the other, in turn.
			if i%2 == 0 {
				from.real(t, "rbd", "mirror", "image", "demote", spec)
			} else {
				from.rbdm(t, "rbd", "mirror", "image", "demote", spec)
			}
			waitSynced(t, from, to, spec)
			for _, s := range []*site{from, to} {
				eventually(t, "up+unknown at "+s.name, 40*time.Second, func() (bool, string) {
					out := status(t, s, spec)
					return strings.Contains(out, "state:       up+unknown"), out
				})
			}
			equal(t, from, spec, to, spec)
			if i%2 == 0 {
				to.rbdm(t, "rbd", "mirror", "image", "promote", spec)
			} else {
				to.real(t, "rbd", "mirror", "image", "promote", spec)
			}
			if out, err := to.try(t, "rbd", "object-map", "check", "--no-progress", spec); err != nil {
				t.Errorf("object-map check after the promotion: %v\n%s", err, out)
			}
			write(t, to, spec, i+1)
			to.real(t, "rbd", "mirror", "image", "snapshot", spec)
			waitSynced(t, to, from, spec)
			equal(t, to, spec, from, spec)
			// Demoted and replaced snapshots do not pile up at either site.
			waitMirrorSnaps(t, from, spec, 1)
			waitMirrorSnaps(t, to, spec, 2)
		})
		from, to = to, from
	}
	from.real(t, "rbd", "rm", "--no-progress", spec)
	gone(t, to, spec)
	nothingLeft(t, "failover", a, b)
	da.stop(t)
	db.stop(t)
	for i, s := range []*site{a, b} {
		if now := blocklist(t, s); now != before[i] {
			t.Errorf("clients shut out of %s: %s, before it was %s", s.name, now, before[i])
		}
	}
}

func TestInteropForcedPromoteAndResync(t *testing.T) {
	a, b := peers(t, "forced")
	spec := "forced/image"
	a.real(t, "rbd", "create", "-s", "40M", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")
	db := b.startOurs(t)
	waitSynced(t, a, b, spec)
	before := a.export(t, spec)
	keep := before + ".keep"
	if err := os.Rename(before, keep); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(keep) })
	b.rbdm(t, "rbd", "mirror", "image", "promote", "--force", spec)
	got := b.export(t, spec)
	same(t, keep, got)
	write(t, b, spec, 1)
	a.real(t, "rbd", "mirror", "image", "demote", spec)
	da := a.startOurs(t)
	eventually(t, "split-brain at "+a.name, time.Minute, func() (bool, string) {
		s := status(t, a, spec)
		return strings.Contains(s, "up+error") && strings.Contains(s, "split-brain"), s
	})
	a.rbdm(t, "rbd", "mirror", "image", "resync", spec)
	b.real(t, "rbd", "mirror", "image", "snapshot", spec)
	eventually(t, "resynced", 2*time.Minute, func() (bool, string) {
		s := status(t, a, spec)
		return strings.Contains(s, "up+replaying"), s
	})
	waitSynced(t, b, a, spec)
	equal(t, b, spec, a, spec)
	da.stop(t)
	db.stop(t)
}

func same(t *testing.T, pathA, pathB string) {
	t.Helper()
	pa, err := os.ReadFile(pathA)
	if err != nil {
		t.Fatal(err)
	}
	pb, err := os.ReadFile(pathB)
	if err != nil {
		t.Fatal(err)
	}
	if string(pa) != string(pb) {
		t.Fatalf("%s and %s differ", pathA, pathB)
	}
}

func TestInteropClones(t *testing.T) {
	a, b := peers(t, "clones")
	for _, s := range []*site{a, b} {
		s.real(t, "rbd", "config", "pool", "set", "clones", "rbd_default_clone_format", "2")
	}
	parent, child := "clones/parent", "clones/child"
	a.real(t, "rbd", "create", "-s", "40M", parent)
	write(t, a, parent, 2)
	a.real(t, "rbd", "snap", "create", "--no-progress", parent+"@base")
	a.real(t, "rbd", "mirror", "image", "enable", parent, "snapshot")
	d := b.startOurs(t)
	waitSynced(t, a, b, parent)
	a.real(t, "rbd", "clone", parent+"@base", child)
	a.real(t, "rbd", "mirror", "image", "enable", child, "snapshot")
	waitSynced(t, a, b, child)
	equal(t, a, child, b, child)
	// A copy-up on the primary after the first sync: the delta must carry the
	// parent's bytes around the new ones.
	write(t, a, child, 3)
	a.real(t, "rbd", "mirror", "image", "snapshot", child)
	waitSynced(t, a, b, child)
	equal(t, a, child, b, child)
	a.real(t, "rbd", "flatten", "--no-progress", child)
	a.real(t, "rbd", "mirror", "image", "snapshot", child)
	waitSynced(t, a, b, child)
	equal(t, a, child, b, child)
	d.stop(t)
}
