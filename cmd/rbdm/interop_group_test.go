//go:build interop

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestInteropGroupSnapshotInterrupted: `rbd group snap create` that is interrupted
// leaves a whole snapshot or nothing; one that is killed leaves what rbd and ours
// both can remove.
func TestInteropGroupSnapshotInterrupted(t *testing.T) {
	s := siteFromEnv(t, "RBDM_SITE_A")
	pool := s.newPool(t, "groupstop")
	group := pool + "/g"
	s.real(t, "rbd", "group", "create", group)
	var images []string
	for i := range 8 {
		images = append(images, fmt.Sprintf("%s/i%d", pool, i))
		args := []string{"rbd", "create", "--size", "8M", images[i]}
		if i%4 == 3 {
			args = append(args, "--image-feature", "layering,exclusive-lock,journaling")
		}
		s.real(t, args...)
		s.real(t, "rbd", "group", "image", "add", group, images[i])
	}
	clean := func(when string) {
		t.Helper()
		if out := s.real(t, "rbd", "group", "snap", "ls", group); out != "" {
			t.Fatalf("%s left: %s", when, out)
		}
		for _, i := range images {
			if out := s.real(t, "rbd", "snap", "ls", "--all", i); out != "" {
				t.Fatalf("%s left in %s: %s", when, i, out)
			}
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	// stop runs the command and sends a signal after a while.
	stop := func(sig os.Signal, most time.Duration) (made bool, after time.Duration) {
		t.Helper()
		cmd := s.ours(t.Context(), "rbd", "group", "snap", "create", group+"@s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after = time.Duration(rng.Int64N(int64(most)))
		time.Sleep(after)
		cmd.Process.Signal(sig) // it may have ended
		return cmd.Wait() == nil, after
	}
	most, made := 300*time.Millisecond, 0
	for range 25 {
		whole, after := stop(syscall.SIGINT, most)
		if whole {
			made++
			most = max(after, 40*time.Millisecond) // more of them in the middle
			s.rbdm(t, "rbd", "group", "snap", "rm", group+"@s")
		}
		clean(fmt.Sprintf("interrupted after %v", after))
	}
	t.Logf("%d of 25 were made before they were interrupted", made)
	for round := range 4 {
		_, after := stop(syscall.SIGKILL, most)
		out := s.real(t, "rbd", "group", "snap", "ls", group)
		t.Logf("killed after %v: %q", after, out)
		if out == "" {
			continue
		}
		if round%2 == 0 {
			s.real(t, "rbd", "group", "snap", "rm", group+"@s")
		} else {
			s.rbdm(t, "rbd", "group", "snap", "rm", group+"@s")
		}
		clean("killed")
	}
	s.rbdm(t, "rbd", "group", "rm", group)
}
