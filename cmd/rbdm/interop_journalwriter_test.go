//go:build interop

package main

import (
	"fmt"
	"os/exec"
	"testing"
	"time"
)

// TestInteropJournalOurWriter has our commands write to an image, and carry out every
// operation on it, while the release's own daemon replays its journal, then ours.
func TestInteropJournalOurWriter(t *testing.T) {
	one, other := siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B")
	olderKeys(t, one, other)
	a, b := peers(t, "jwriter")
	a.buriesSoon(t)
	spec := "jwriter/image"
	a.rbdm(t, "rbd", "create", "-s", "40M", "--image-feature", "layering,exclusive-lock,object-map,fast-diff,deep-flatten,journaling", spec)
	a.rbdm(t, "rbd", "mirror", "image", "enable", spec, "journal")
	bench := func(t *testing.T, args ...string) *exec.Cmd {
		t.Helper()
		return a.ours(t.Context(), append([]string{"rbd", "bench", spec, "--io-type", "write"}, args...)...)
	}
	ours := func(t *testing.T, args ...string) {
		t.Helper()
		if out, err := bench(t, args...).CombinedOutput(); err != nil {
			t.Fatalf("bench: %v\n%s", err, out)
		}
	}
	stop := b.startReal(t)
	for i, who := range []string{"theirs", "ours"} {
		t.Run(who, func(t *testing.T) {
			if i == 1 {
				stop.stop(t)
				b.startOurs(t)
			}
			s := func(name string) string { return fmt.Sprintf("%s@%s%d", spec, name, i) }
			ours(t, "--io-pattern", "rand", "--io-size", "4K", "--io-total", "2M")
			// Everything at once: the writer keeps the lock and does what others ask for.
			writer := bench(t, "--io-pattern", "rand", "--io-size", "16K", "--io-threads", "16", "--io-total", "40M")
			if err := writer.Start(); err != nil {
				t.Fatal(err)
			}
			for n := range 4 {
				time.Sleep(200 * time.Millisecond)
				a.rbdm(t, "rbd", "snap", "create", "--no-progress", s(fmt.Sprint("during", n)))
			}
			a.real(t, "rbd", "snap", "create", "--no-progress", s("theirs"))
			a.rbdm(t, "rbd", "resize", "--no-progress", "-s", fmt.Sprintf("%dM", 50+i*10), spec)
			a.real(t, "rbd", "image-meta", "set", spec, "key", who)
			if err := writer.Wait(); err != nil {
				t.Fatal(err)
			}
			a.rbdm(t, "rbd", "snap", "rename", s("during0"), s("renamed"))
			a.rbdm(t, "rbd", "snap", "protect", s("during1"))
			a.rbdm(t, "rbd", "snap", "rm", "--no-progress", s("during2"))
			ours(t, "--io-pattern", "seq", "--io-size", "100000", "--io-total", "3M")
			waitReplayed(t, a, b, spec)
			for _, at := range []string{spec, s("renamed"), s("during1"), s("during3"), s("theirs")} {
				equal(t, a, at, b, at)
			}
			a.rbdm(t, "rbd", "resize", "--no-progress", "--allow-shrink", "-s", "33M", spec)
			a.rbdm(t, "rbd", "snap", "rollback", "--no-progress", s("renamed"))
			ours(t, "--io-pattern", "rand", "--io-size", "512", "--io-total", "100K")
			// The writer dies while it appends; the release's own rbd replays what it left.
			writer = bench(t, "--io-pattern", "rand", "--io-size", "4K", "--io-threads", "16", "--io-total", "1G")
			if err := writer.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if err := writer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = writer.Wait()
			a.real(t, "rbd", "snap", "create", "--no-progress", s("after"))
			waitReplayed(t, a, b, spec)
			equal(t, a, spec, b, spec)
			equal(t, a, s("after"), b, s("after"))
		})
	}
}
