//go:build interop

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// rolePair is two images of one site that go through the same, one by the release's
// own rbd, the other by ours.
type rolePair struct {
	site *site
	pool string
}

// both runs a mirroring command about the one image with the release's own rbd and
// about the other with ours.
func (p *rolePair) both(t *testing.T, words ...string) {
	t.Helper()
	p.site.real(t, append(append([]string{"rbd"}, words...), p.pool+"/theirs")...)
	p.site.rbdm(t, append(append([]string{"rbd"}, words...), p.pool+"/ours")...)
	p.same(t, strings.Join(words, " "))
}

// crossed is both with the images exchanged.
func (p *rolePair) crossed(t *testing.T, words ...string) {
	t.Helper()
	p.site.rbdm(t, append(append([]string{"rbd"}, words...), p.pool+"/theirs")...)
	p.site.real(t, append(append([]string{"rbd"}, words...), p.pool+"/ours")...)
	p.same(t, "exchanged: "+strings.Join(words, " "))
}

// real runs the release's own rbd on both.
func (p *rolePair) real(t *testing.T, words ...string) {
	t.Helper()
	for _, image := range []string{"theirs", "ours"} {
		p.site.real(t, append(append([]string{"rbd"}, words...), p.pool+"/"+image)...)
	}
	p.same(t, strings.Join(words, " "))
}

// same fails unless both images are alike: features, mirroring, all of the
// journal's header.
func (p *rolePair) same(t *testing.T, after string) {
	t.Helper()
	theirs, ours := p.shape(t, "theirs"), p.shape(t, "ours")
	if theirs != ours {
		t.Fatalf("after %s rbd leaves\n%s\nand we leave\n%s", after, theirs, ours)
	}
}

// shape is what there is to see of an image, without what must differ.
func (p *rolePair) shape(t *testing.T, image string) string {
	t.Helper()
	var out strings.Builder
	id := ""
	for line := range strings.Lines(p.site.real(t, "rbd", "info", p.pool+"/"+image)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case key == "id":
			id = strings.TrimSpace(value)
		case key == "features" || strings.HasPrefix(key, "mirroring") && key != "mirroring global id":
			out.WriteString(line)
		}
	}
	header, err := p.site.try(t, "rados", "-p", p.pool, "listomapvals", "journal."+id)
	if err != nil {
		header = "no journal\n"
	}
	return out.String() + header
}

// TestInteropJournalRoles lets the release's own rbd and ours enable, demote, promote
// and disable an image each in journal mode, and compares every byte of the
// journals' headers after every command.
func TestInteropJournalRoles(t *testing.T) {
	for _, variable := range []string{"RBDM_SITE_A", "RBDM_SITE_B"} {
		t.Run(variable, func(t *testing.T) {
			p := &rolePair{siteFromEnv(t, variable), fmt.Sprintf("roles%d", os.Getpid())}
			p.site.newPool(t, p.pool)
			p.site.rbdm(t, "rbd", "mirror", "pool", "enable", p.pool, "image")
			p.real(t, "create", "-s", "8M", "--image-feature", "layering,exclusive-lock,journaling")
			p.real(t, "bench", "--io-type", "write", "--io-pattern", "seq", "--io-threads", "1", "--io-size", "4096", "--io-total", "40960")
			p.both(t, "mirror", "image", "enable")
			p.both(t, "mirror", "image", "demote")
			p.both(t, "mirror", "image", "promote")
			p.crossed(t, "mirror", "image", "demote")
			p.both(t, "mirror", "image", "promote", "--force")
			p.both(t, "mirror", "image", "demote")
			p.both(t, "mirror", "image", "resync")
			p.crossed(t, "mirror", "image", "promote")
			p.both(t, "mirror", "image", "demote")
			p.both(t, "mirror", "image", "disable", "--force")
			p.both(t, "mirror", "image", "enable")
			p.both(t, "mirror", "image", "disable")
			p.both(t, "mirror", "image", "enable")
			p.crossed(t, "mirror", "image", "disable")
		})
	}
}

// TestInteropPoolMode switches the mirroring of a whole pool on and off, with the
// release's own rbd and with ours.
func TestInteropPoolMode(t *testing.T) {
	for _, variable := range []string{"RBDM_SITE_A", "RBDM_SITE_B"} {
		t.Run(variable, func(t *testing.T) {
			s := siteFromEnv(t, variable)
			var left [2]string
			for i, rbd := range []func(...string) string{
				func(args ...string) string { return s.real(t, append([]string{"rbd"}, args...)...) },
				func(args ...string) string { return s.rbdm(t, append([]string{"rbd"}, args...)...) },
			} {
				pool := fmt.Sprintf("poolmode%d-%d", os.Getpid(), i)
				s.newPool(t, pool)
				look := func() {
					for _, image := range []string{"plain", "journaled", "clone", "late"} {
						out, err := s.try(t, "rbd", "info", pool+"/"+image)
						if err != nil {
							continue
						}
						left[i] += image + "\n"
						for line := range strings.Lines(out) {
							if (strings.Contains(line, "features:") || strings.Contains(line, "mirroring")) && !strings.Contains(line, "global") {
								left[i] += line
							}
						}
					}
					mode, _, _ := strings.Cut(s.real(t, "rbd", "mirror", "pool", "info", pool), "\n")
					left[i] += mode + "\n"
				}
				s.real(t, "rbd", "create", "-s", "8M", "--image-feature", "layering,exclusive-lock", pool+"/plain")
				s.real(t, "rbd", "create", "-s", "8M", "--image-feature", "layering,exclusive-lock,journaling", pool+"/journaled")
				s.real(t, "rbd", "snap", "create", "--no-progress", pool+"/journaled@s")
				s.real(t, "rbd", "snap", "protect", pool+"/journaled@s")
				s.real(t, "rbd", "clone", "--rbd-default-clone-format", "1", "--image-feature", "layering,exclusive-lock,journaling", pool+"/journaled@s", pool+"/clone")
				rbd("mirror", "pool", "enable", pool, "pool")
				look()
				rbd("create", "-s", "8M", "--image-feature", "layering,exclusive-lock,journaling", pool+"/late")
				rbd("feature", "enable", pool+"/plain", "journaling")
				look()
				left[i] += rbd("mirror", "pool", "demote", pool)
				look()
				left[i] += rbd("mirror", "pool", "promote", pool)
				rbd("feature", "disable", pool+"/late", "journaling")
				look()
				rbd("mirror", "pool", "enable", pool, "image")
				look()
				rbd("mirror", "pool", "enable", pool, "pool")
				rbd("mirror", "pool", "disable", pool)
				look()
			}
			if left[0] != left[1] {
				t.Fatalf("rbd leaves\n%s\nand we leave\n%s", left[0], left[1])
			}
		})
	}
}

// TestInteropJournalRolesOfTheirDaemons moves the primary from site to site with our
// commands while the release's own daemons replicate.
func TestInteropJournalRolesOfTheirDaemons(t *testing.T) {
	one, other := siteFromEnv(t, "RBDM_SITE_A"), siteFromEnv(t, "RBDM_SITE_B")
	olderKeys(t, one, other)
	olderKeys(t, other, one)
	a, b := peers(t, "jroles")
	spec := "jroles/image"
	a.rbdm(t, "rbd", "create", "-s", "40M", "--image-feature", "layering,exclusive-lock,object-map,fast-diff", spec)
	write(t, a, spec, 0)
	a.rbdm(t, "rbd", "mirror", "image", "enable", spec)
	write(t, a, spec, 2)
	a.startReal(t)
	b.startReal(t)
	waitReplayed(t, a, b, spec)
	ends := func(s *site, state string) {
		t.Helper()
		eventually(t, state+" at "+s.name, 2*time.Minute, func() (bool, string) {
			out := status(t, s, spec)
			own, _, _ := strings.Cut(out, "peer_sites") // what the site says itself
			return strings.Contains(own, state), out
		})
	}
	from, to := a, b
	for i := range 2 {
		write(t, from, spec, i)
		from.rbdm(t, "rbd", "mirror", "image", "demote", spec)
		ends(from, "up+unknown")
		ends(to, "up+unknown")
		equal(t, from, spec, to, spec)
		to.rbdm(t, "rbd", "mirror", "image", "promote", spec)
		write(t, to, spec, i+1)
		waitReplayed(t, to, from, spec)
		equal(t, to, spec, from, spec)
		from, to = to, from
	}
	// By force, while the daemon replays. Both sites are written to then.
	b.rbdm(t, "rbd", "mirror", "image", "promote", "--force", spec)
	ends(b, "up+stopped")
	write(t, a, spec, 0)
	write(t, b, spec, 1)
	a.rbdm(t, "rbd", "mirror", "image", "demote", spec)
	ends(a, "split-brain")
	a.rbdm(t, "rbd", "mirror", "image", "resync", spec)
	waitReplayed(t, b, a, spec)
	equal(t, b, spec, a, spec)
	b.rbdm(t, "rbd", "mirror", "image", "disable", spec)
	gone(t, a, spec)
}
