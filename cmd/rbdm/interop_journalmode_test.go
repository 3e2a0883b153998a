//go:build interop

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// waitReplayed waits until the replica's status says that it has applied what the
// primary's journal says is committed, which is all when its writer has closed it.
func waitReplayed(t *testing.T, primary, replica *site, spec string) {
	t.Helper()
	pool, image, _ := strings.Cut(spec, "/")
	eventually(t, spec+" replayed at "+replica.name, 4*time.Minute, func() (bool, string) {
		out := primary.real(t, "rbd", "journal", "status", "--pool", pool, "--image", image, "--format", "json")
		type position struct {
			Object uint64 `json:"object_number"`
			Tag    uint64 `json:"tag_tid"`
			Entry  uint64 `json:"entry_tid"`
		}
		var journal struct {
			Clients []struct {
				ID     string
				Commit struct {
					Positions []position `json:"object_positions"`
				} `json:"commit_position"`
			} `json:"registered_clients"`
		}
		if err := json.Unmarshal([]byte(out), &journal); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		s := status(t, replica, spec)
		done := func(id string) *position {
			for _, c := range journal.Clients {
				if (c.ID == "") == (id == "") && len(c.Commit.Positions) > 0 {
					return &c.Commit.Positions[0]
				}
			}
			return nil
		}
		owner, peer := done(""), done("peer")
		if owner == nil {
			return false, s + out
		}
		// The C++ daemon's status can be minutes late after another daemon has died.
		at := fmt.Sprintf(`_position":{"entry_tid":%d,"object_number":%d,"tag_tid":%d}`, owner.Entry, owner.Object, owner.Tag)
		told := strings.Contains(s, "non_primary"+at) && strings.Contains(s, `"primary`+at)
		return strings.Contains(s, "up+replaying") && (told || peer != nil && *peer == *owner), s + out
	})
}

// TestInteropJournalMirroring follows an image that the release's own rbd writes to
// through its journal.
func TestInteropJournalMirroring(t *testing.T) {
	a, b := peers(t, "journal")
	b.buriesSoon(t)
	spec := "journal/image"
	a.real(t, "rbd", "create", "-s", "40M", "--image-feature", "layering,exclusive-lock,object-map,fast-diff,deep-flatten,journaling", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@before")
	write(t, a, spec, 0)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "journal")
	d := b.startOurs(t)
	waitReplayed(t, a, b, spec)
	equal(t, a, spec, b, spec)
	equal(t, a, spec+"@before", b, spec+"@before")
	step := func(name string, change func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			change(t)
			waitReplayed(t, a, b, spec)
			equal(t, a, spec, b, spec)
		})
	}
	step("writes", func(t *testing.T) { write(t, a, spec, 1) })
	step("small writes", func(t *testing.T) { write(t, a, spec, 3) })
	step("snapshots", func(t *testing.T) {
		write(t, a, spec, 0)
		a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@one")
		write(t, a, spec, 1)
		a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@two")
		write(t, a, spec, 3)
		a.real(t, "rbd", "snap", "rename", spec+"@one", spec+"@uno")
		a.real(t, "rbd", "snap", "protect", spec+"@two")
		a.real(t, "rbd", "snap", "rm", "--no-progress", spec+"@before")
	})
	equal(t, a, spec+"@uno", b, spec+"@uno")
	equal(t, a, spec+"@two", b, spec+"@two")
	step("grow", func(t *testing.T) {
		a.real(t, "rbd", "resize", "--no-progress", "-s", "60M", spec)
		write(t, a, spec, 2)
	})
	step("shrink", func(t *testing.T) {
		a.real(t, "rbd", "resize", "--no-progress", "--allow-shrink", "-s", "33M", spec)
	})
	step("rollback", func(t *testing.T) {
		a.real(t, "rbd", "snap", "rollback", "--no-progress", spec+"@uno")
		write(t, a, spec, 3)
	})
	step("metadata", func(t *testing.T) {
		a.real(t, "rbd", "image-meta", "set", spec, "owner", "us")
	})
	if got := b.real(t, "rbd", "image-meta", "get", spec, "owner"); strings.TrimSpace(got) != "us" {
		t.Errorf("metadata of the replica: %q", got)
	}
	whole := t // the daemon outlives the part that starts it
	t.Run("killed", func(t *testing.T) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		for i := range 2 {
			write(t, a, spec, i)
			d.kill()
			write(t, a, spec, i+1)
			d = b.startOurs(whole)
			time.Sleep(time.Duration(rnd.IntN(2500)) * time.Millisecond)
		}
		waitReplayed(t, a, b, spec)
		equal(t, a, spec, b, spec)
	})
	t.Run("disabled", func(t *testing.T) {
		a.real(t, "rbd", "mirror", "image", "disable", spec)
		gone(t, b, spec)
	})
	d.stop(t)
}

// TestInteropJournalFailover moves the primary from site to site with the release's
// own commands.
func TestInteropJournalFailover(t *testing.T) {
	a, b := peers(t, "jfail")
	spec := "jfail/image"
	a.real(t, "rbd", "create", "-s", "40M", "--image-feature", "layering,exclusive-lock,object-map,fast-diff,journaling", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "journal")
	da, db := a.startOurs(t), b.startOurs(t)
	waitReplayed(t, a, b, spec)
	from, to := a, b
	for i := range 4 {
		t.Run(fmt.Sprintf("round %d", i), func(t *testing.T) {
			write(t, from, spec, i)
			from.real(t, "rbd", "mirror", "image", "demote", spec)
			for _, s := range []*site{from, to} {
				eventually(t, "up+unknown at "+s.name, 2*time.Minute, func() (bool, string) {
					out := status(t, s, spec)
					return strings.Contains(out, "state:       up+unknown"), out
				})
			}
			equal(t, from, spec, to, spec)
			to.real(t, "rbd", "mirror", "image", "promote", spec)
			write(t, to, spec, i+1)
			waitReplayed(t, to, from, spec)
			equal(t, to, spec, from, spec)
		})
		from, to = to, from
	}
	da.stop(t)
	db.stop(t)
}

// TestInteropJournalHandover lets the C++ daemon and ours go on from where the other
// one was.
func TestInteropJournalHandover(t *testing.T) {
	olderKeys(t, siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B"))
	a, b := peers(t, "jhand")
	b.buriesSoon(t)
	spec := "jhand/image"
	a.real(t, "rbd", "create", "-s", "40M", "--image-feature", "layering,exclusive-lock,object-map,fast-diff,journaling", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "journal")
	ours := func() *daemon { return b.startOurs(t) }
	cpp := func() *daemon { return b.startReal(t) }
	id := ""
	for i, start := range []func() *daemon{ours, cpp, ours, cpp, ours} {
		write(t, a, spec, i)
		d := start()
		write(t, a, spec, i+1)
		waitReplayed(t, a, b, spec)
		equal(t, a, spec, b, spec)
		if i%2 == 0 {
			d.kill()
		} else {
			d.stop(t)
		}
		if id == "" {
			id = imageID(t, b, spec)
		}
	}
	if now := imageID(t, b, spec); now != id {
		t.Errorf("the replica was made anew: id %s became %s", id, now)
	}
}

// TestInteropJournalSplitBrain writes to both sites, and makes one the secondary
// again.
func TestInteropJournalSplitBrain(t *testing.T) {
	a, b := peers(t, "jsplit")
	spec := "jsplit/image"
	a.real(t, "rbd", "create", "-s", "40M", "--image-feature", "layering,exclusive-lock,object-map,fast-diff,journaling", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "journal")
	da, db := a.startOurs(t), b.startOurs(t)
	waitReplayed(t, a, b, spec)
	b.real(t, "rbd", "mirror", "image", "promote", "--force", spec)
	eventually(t, "primary at "+b.name, 2*time.Minute, func() (bool, string) {
		s := status(t, b, spec)
		return strings.Contains(s, "state:       up+stopped"), s // the site's own, not its peer's
	})
	write(t, a, spec, 0)
	write(t, b, spec, 1)
	a.real(t, "rbd", "mirror", "image", "demote", spec)
	eventually(t, "split-brain at "+a.name, 2*time.Minute, func() (bool, string) {
		s := status(t, a, spec)
		return strings.Contains(s, "up+error") && strings.Contains(s, "split-brain"), s
	})
	a.real(t, "rbd", "mirror", "image", "resync", spec)
	waitReplayed(t, b, a, spec)
	equal(t, b, spec, a, spec)
	da.stop(t)
	db.stop(t)
}
