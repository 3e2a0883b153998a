//go:build interop

package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// volatile are what differs from run to run in the output of the status commands.
var volatile = []struct{ what, with string }{
	{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "UUID"},
	{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"},
	{`"(service_id|instance_id)": ?"\d+"`, `"$1":"ID"`},
	{`service:     \S+ on \S+`, "service:     ID on HOST"},
	{`service \d+:`, "service ID:"},
	{`instance_id: \d+`, "instance_id: ID"},
	{`"(service_id|instance_id|hostname|last_update)": ?"[^"]*"`, `"$1":"X"`},
	{`hostname: \S+`, "hostname: HOST"},
	{`(timestamp|_seconds|_bytes|_per_second|_per_snapshot)(\\?"): ?[0-9.]+`, "$1$2:N"},
	{`version: .+`, "version: V"},
	{`"ceph_version": ?"[^"]*"`, `"ceph_version":"V"`},
	{`"version": ?"[^"]*"`, `"version":"V"`},
}

// shown returns what the release's own rbd shows of an image and its pool, in
// plain text and JSON.
func shown(t *testing.T, s *site, spec string) string {
	t.Helper()
	pool, _, _ := strings.Cut(spec, "/")
	var out strings.Builder
	for _, args := range [][]string{
		{"image", "status", spec},
		{"image", "status", "--format", "json", spec},
		{"pool", "status", "--verbose", pool},
		{"pool", "status", "--verbose", "--format", "json", "--pretty-format", pool},
		{"pool", "status", pool},
	} {
		text := s.real(t, append([]string{"rbd", "mirror"}, args...)...)
		fmt.Fprintf(&out, "$ rbd mirror %s\n%s\n", strings.Join(args, " "), text)
	}
	text := out.String()
	for _, v := range volatile {
		text = regexp.MustCompile(v.what).ReplaceAllString(text, v.with)
	}
	return text
}

// TestInteropStatusAsTheCPPDaemons compares what rbd shows at both sites while
// Ceph's daemons run with what it shows while ours do, in one state after the
// other.
func TestInteropStatusAsTheCPPDaemons(t *testing.T) {
	sa, sb := siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B")
	olderKeys(t, sa, sb)
	olderKeys(t, sb, sa)
	a, b := peers(t, "shown")
	spec := "shown/image"
	a.real(t, "rbd", "create", "-s", "20M", spec)
	write(t, a, spec, 2)
	a.real(t, "rbd", "mirror", "image", "enable", spec, "snapshot")

	states := []struct {
		name string
		// make brings the state about while daemons run.
		make         func(t *testing.T)
		wantA, wantB []string
	}{
		{
			"in step", func(*testing.T) {},
			[]string{"up+stopped", "local image is primary", `"replay_state":"idle"`},
			[]string{"up+replaying", `"replay_state":"idle"`},
		},
		{
			"demoted", func(t *testing.T) { a.real(t, "rbd", "mirror", "image", "demote", spec) },
			[]string{"up+unknown", "remote image is not primary"},
			[]string{"up+unknown", "remote image demoted"},
		},
		{
			"failed over", func(t *testing.T) { b.real(t, "rbd", "mirror", "image", "promote", spec) },
			[]string{"up+replaying", `"replay_state":"idle"`},
			[]string{"up+stopped", "local image is primary"},
		},
		{
			"both primary", func(t *testing.T) { a.real(t, "rbd", "mirror", "image", "promote", "--force", spec) },
			[]string{"up+stopped", "local image is primary"},
			[]string{"up+stopped", "local image is primary"},
		},
		{
			"split-brain", func(t *testing.T) { a.real(t, "rbd", "mirror", "image", "demote", spec) },
			[]string{"up+error", "split-brain"},
			[]string{"up+stopped", "local image is primary"},
		},
	}
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			capture := func(start func(s *site) *daemon, change func(*testing.T), wantA, wantB []string) (atA, atB string) {
				da, db := start(a), start(b)
				change(t)
				awaitShown(t, a, spec, wantA)
				awaitShown(t, b, spec, wantB)
				atA, atB = settled(t, a, spec), settled(t, b, spec)
				da.stop(t)
				db.stop(t)
				return atA, atB
			}
			theirs := func(s *site) *daemon { return s.startReal(t) }
			ours := func(s *site) *daemon { return s.startOurs(t) }
			unchanged := func(*testing.T) {}
			// Ceph's daemon shows some states otherwise when it did not see how they
			// came about. Ours shows one of the two.
			sawA, sawB := capture(theirs, state.make, state.wantA, state.wantB)
			anewA, anewB := capture(theirs, unchanged, []string{" up+"}, []string{" up+"})
			oursA, oursB := capture(ours, unchanged, state.wantA, state.wantB)
			if oursA != sawA {
				assert.Equal(t, anewA, oursA, "what is shown at %s", a.name)
			}
			if oursB != sawB {
				assert.Equal(t, anewB, oursB, "what is shown at %s", b.name)
			}
		})
	}
}

// awaitShown waits until the status of an image has all the parts.
func awaitShown(t *testing.T, s *site, spec string, parts []string) {
	t.Helper()
	eventually(t, "status at "+s.name, 90*time.Second, func() (bool, string) {
		text := status(t, s, spec)
		for _, part := range parts {
			if !strings.Contains(text, part) {
				return false, text
			}
		}
		return true, text
	})
}

// settled returns what is shown when it has been the same for a while.
func settled(t *testing.T, s *site, spec string) string {
	t.Helper()
	since, last := time.Now(), shown(t, s, spec)
	eventually(t, "a status of "+s.name+" that stays", 2*time.Minute, func() (bool, string) {
		now := shown(t, s, spec)
		// A daemon that stopped may be listed until the manager forgets it.
		if now != last || strings.Contains(now, "down+") || strings.Contains(now, "not reporting status") {
			since, last = time.Now(), now
		}
		return time.Since(since) > 4*time.Second, last
	})
	return last
}
