//go:build interop

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowly makes a copy take seconds: many small objects, one after the other.
const slowly = "--rbd_concurrent_management_ops=1"

// createSlow makes an image of 1,536 objects and fills it.
func createSlow(t *testing.T, s *site, spec string) {
	t.Helper()
	s.real(t, "rbd", "create", "-s", "96M", "--object-size", "64K", spec)
	fill(t, s, spec)
}

// fill writes every byte of an image made by createSlow; with what, changes from
// second to second.
func fill(t *testing.T, s *site, spec string) {
	t.Helper()
	s.real(t, "rbd", "bench", "--io-type", "write", "--io-pattern", "seq", "--io-size", "1M", "--io-total", "96M", spec)
}

// pids are the processes of a site's cluster.
func (s *site) pids(t *testing.T) []int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "run", "*.pid"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no processes of %s: %v", s.name, err)
	}
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// freeze makes a whole cluster silent, as the loss of a site does: connections
// stay open and nothing answers. thaw brings it back.
func (s *site) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	pids := s.pids(t)
	signal := func(sig syscall.Signal) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Errorf("%v to process %d of %s: %v", sig, pid, s.name, err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	thaw = sync.OnceFunc(func() {
		signal(syscall.SIGCONT)
		// A PG that stood still for longer than its read lease can stay laggy for good
		// (seen once with 16.2): its reads wait until it peers again.
		if out, err := s.try(t, "ceph", "osd", "down", "0"); err != nil {
			t.Errorf("mark the OSD of %s down: %v\n%s", s.name, err, out)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// copying returns the replica's mirror snapshot that is being filled.
func copying(t *testing.T, replica *site, spec string) (snap snapInfo, ok bool, out string) {
	t.Helper()
	out, err := replica.try(t, "rbd", "snap", "ls", "--all", "--format", "json", spec)
	if err != nil {
		return snap, false, out
	}
	for _, s := range parseSnaps(t, out) {
		if s.Namespace.Type == "mirror" {
			snap = s
		}
	}
	ns := snap.Namespace
	return snap, ns.Type == "mirror" && ns.State != "primary" && !ns.Complete, out
}

// waitCopying waits until a copy is on its way and has told so in the cluster.
func waitCopying(t *testing.T, replica *site, spec string) snapInfo {
	t.Helper()
	var snap snapInfo
	eventually(t, "copy to "+spec+" of "+replica.name+" on its way", time.Minute, func() (bool, string) {
		s, ok, out := copying(t, replica, spec)
		snap = s
		return ok && s.Namespace.LastCopied > 0, out
	})
	return snap
}

// kept is a copy of an export that later exports are compared with.
func kept(t *testing.T, s *site, spec string) string {
	t.Helper()
	path := s.export(t, spec)
	keep := path + ".kept"
	if err := os.Rename(path, keep); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(keep) })
	return keep
}

// TestInteropForcedPromotionInMidCopy loses the primary's whole site while a copy
// is half done: the replica must become what it was at its last complete mirror
// snapshot, by our command and by the release's own, with the daemon alive and
// dead.
func TestInteropForcedPromotionInMidCopy(t *testing.T) {
	a, b := peers(t, "disaster")
	for _, v := range []struct {
		name         string
		killed, byUs bool
	}{
		{"daemon alive, our command", false, true},
		{"daemon alive, the real command", false, false},
		{"daemon killed, our command", true, true},
		{"daemon killed, the real command", true, false},
	} {
		t.Run(v.name, func(t *testing.T) { forcedInMidCopy(t, a, b, v.killed, v.byUs) })
	}
}

func forcedInMidCopy(t *testing.T, a, b *site, killed, byUs bool) {
	spec := fmt.Sprintf("disaster/image-%v-%v", killed, byUs)
	createSlow(t, a, spec)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")
	db := b.startOurs(t, slowly)
	waitSynced(t, a, b, spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@kept")
	a.real(t, "rbd", "mirror", "image", "snapshot", spec)
	waitSynced(t, a, b, spec)
	waitPruned(t, a, spec)
	want := kept(t, a, spec)

	fill(t, a, spec)
	// The rbd of 16.2 crashes where a user's snapshot is newer than the last complete
	// mirror snapshot, after a copy by its own daemon too.
	if byUs || b.release != "16" {
		a.real(t, "rbd", "snap", "create", "--no-progress", spec+"@newer")
	}
	a.real(t, "rbd", "mirror", "image", "snapshot", spec)
	half := waitCopying(t, b, spec)
	thaw := a.freeze(t)
	if s, ok, out := copying(t, b, spec); !ok || s.ID != half.ID {
		t.Fatalf("the copy was over before the site was lost:\n%s", out)
	}
	if killed {
		db.kill()
	}
	began := time.Now()
	if byUs {
		b.rbdm(t, "rbd", "mirror", "image", "promote", "--force", spec)
	} else {
		b.real(t, "rbd", "mirror", "image", "promote", "--force", spec)
	}
	t.Logf("lost the site after %d of 1536 objects; promoted in %v", half.Namespace.LastCopied, time.Since(began).Round(time.Millisecond))
	same(t, want, b.export(t, spec))
	same(t, want, b.export(t, spec+"@kept"))
	if out, err := b.try(t, "rbd", "object-map", "check", "--no-progress", spec); err != nil {
		t.Errorf("object-map check after the promotion: %v\n%s", err, out)
	}
	write(t, b, spec, 1)
	ours := kept(t, b, spec)
	if !killed {
		eventually(t, "status while the other site is lost", 20*time.Second, func() (bool, string) {
			s := status(t, b, spec)
			return strings.Contains(s, "up+stopped") && strings.Contains(s, "local image is primary"), s
		})
	}
	thaw()

	// The lost site comes back: it is made the secondary.
	// It waits for the watches of who was killed.
	a.real(t, "rbd", "mirror", "image", "demote", spec)
	if killed {
		db = b.startOurs(t)
	}
	da := a.startOurs(t)
	eventually(t, "split-brain at "+a.name, time.Minute, func() (bool, string) {
		s := status(t, a, spec)
		return strings.Contains(s, "up+error") && strings.Contains(s, "split-brain"), s
	})
	same(t, ours, b.export(t, spec))
	a.rbdm(t, "rbd", "mirror", "image", "resync", spec)
	b.real(t, "rbd", "mirror", "image", "snapshot", spec)
	eventually(t, "resynced", 2*time.Minute, func() (bool, string) {
		s := status(t, a, spec)
		return strings.Contains(s, "up+replaying"), s
	})
	waitSynced(t, b, a, spec)
	equal(t, b, spec, a, spec)
	equal(t, b, spec+"@kept", a, spec+"@kept")
	da.stop(t)
	db.stop(t)
	b.real(t, "rbd", "mirror", "image", "disable", spec)
	b.real(t, "rbd", "snap", "purge", "--no-progress", spec)
	b.real(t, "rbd", "rm", "--no-progress", spec)
}

// TestInteropKilledDaemonEndsEqual kills the daemon at ten random moments, most of
// them in the middle of a copy, while the primary is written.
func TestInteropKilledDaemonEndsEqual(t *testing.T) {
	a, b := peers(t, "kill")
	spec := "kill/image"
	createSlow(t, a, spec)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	stopWriter := a.writer(t, spec)
	middle := 0
	var names []string
	for i := range 10 {
		d := b.startOurs(t, slowly)
		if i%3 == 0 { // any moment, starting up included
			time.Sleep(time.Duration(rnd.IntN(2500)) * time.Millisecond)
		} else {
			eventually(t, "a copy begins", time.Minute, func() (bool, string) {
				_, ok, out := copying(t, b, spec)
				return ok, out
			})
			time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		}
		d.kill()
		s, ok, _ := copying(t, b, spec)
		if ok {
			middle++
		}
		t.Logf("kill %d: copying %v, %d objects told", i, ok, s.Namespace.LastCopied)
		if i%2 == 1 {
			name := fmt.Sprintf("%s@s%d", spec, i)
			a.real(t, "rbd", "snap", "create", "--no-progress", name)
			names = append(names, name)
		}
		if !ok || i%4 == 3 {
			a.real(t, "rbd", "mirror", "image", "snapshot", spec)
		}
	}
	if middle < 4 {
		t.Errorf("only %d of 10 kills were in the middle of a copy", middle)
	}
	stopWriter()
	a.real(t, "rbd", "mirror", "image", "snapshot", spec)
	d := b.startOurs(t)
	waitSynced(t, a, b, spec)
	equal(t, a, spec, b, spec)
	for _, name := range names {
		equal(t, a, name, b, name)
	}
	waitPruned(t, a, spec)
	a.real(t, "rbd", "mirror", "image", "disable", spec)
	gone(t, b, spec)
	d.stop(t)
	a.real(t, "rbd", "snap", "purge", "--no-progress", spec)
	a.real(t, "rbd", "rm", "--no-progress", spec)
	nothingLeft(t, "kill", a, b)
}

// writer writes to an image with the release's own rbd until it is stopped.
func (s *site) writer(t *testing.T, spec string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			// Twenty writes a second: the machine is for the copy.
			c := s.command(ctx, "rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-size", "8K", "--io-total", "160K", "--io-threads", "1", spec)
			if out, err := c.CombinedOutput(); err != nil && ctx.Err() == nil {
				t.Errorf("the writer: %v\n%s", err, out)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// gone waits until an image is not there any more, in the trash neither.
func gone(t *testing.T, s *site, spec string) {
	t.Helper()
	pool, name, _ := strings.Cut(spec, "/")
	eventually(t, spec+" deleted at "+s.name, time.Minute, func() (bool, string) {
		out := s.real(t, "rbd", "ls", pool) + s.real(t, "rbd", "trash", "ls", "--all", pool)
		return !strings.Contains(out, name), out
	})
}

// nothingLeft fails if a pool without images still has entries in the mirroring
// objects or in the trash at one of the sites.
func nothingLeft(t *testing.T, pool string, sites ...*site) {
	t.Helper()
	for _, s := range sites {
		eventually(t, "nothing left at "+s.name, 40*time.Second, func() (bool, string) {
			var left []string
			for _, object := range []string{"rbd_mirroring", "rbd_trash", "rbd_directory"} {
				out, err := s.try(t, "rados", "-p", pool, "listomapkeys", object)
				if err != nil && !strings.Contains(out, "No such file") {
					return false, out
				}
				for _, key := range strings.Fields(out) {
					switch {
					case strings.HasPrefix(key, "mirror_peer_"), strings.HasPrefix(key, "remote_namespace"):
					case key == "mirror_mode", key == "mirror_uuid", key == "mode", key == "uuid":
					default:
						left = append(left, object+": "+key)
					}
				}
			}
			return len(left) == 0, strings.Join(left, "\n")
		})
	}
}

// blocklist returns the clients that a cluster lets in no more.
func blocklist(t *testing.T, s *site) string {
	t.Helper()
	return s.real(t, "ceph", "osd", "blocklist", "ls", "--format", "json")
}

// TestInteropHandoverInMidCopy kills the daemon that copies, ours or the C++ one,
// and lets the other go on where it was.
func TestInteropHandoverInMidCopy(t *testing.T) {
	olderKeys(t, siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B"))
	a, b := peers(t, "relay")
	spec := "relay/image"
	createSlow(t, a, spec)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")
	ours := func() *daemon { return b.startOurs(t, slowly) }
	cpp := func() *daemon { return b.startReal(t, slowly) }
	for _, v := range []struct {
		name       string
		first, end func() *daemon
	}{
		{"first sync by ours, then C++", ours, cpp},
		{"delta by C++, then ours", cpp, ours},
		{"delta by ours, then C++", ours, cpp},
	} {
		t.Run(v.name, func(t *testing.T) {
			d := v.first()
			half := waitCopying(t, b, spec)
			d.kill()
			half, ok, out := copying(t, b, spec)
			if !ok {
				t.Fatalf("the copy was over before the daemon was killed:\n%s", out)
			}
			d = v.end()
			waitSynced(t, a, b, spec)
			equal(t, a, spec, b, spec)
			if s, _, out := copying(t, b, spec); s.ID != half.ID {
				t.Errorf("the copy of snapshot %d was not gone on with:\n%s", half.ID, out)
			}
			d.stop(t)
			fill(t, a, spec)
			a.real(t, "rbd", "mirror", "image", "snapshot", spec)
		})
	}
}
