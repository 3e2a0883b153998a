//go:build interop

package main

import (
	"strings"
	"testing"
	"time"
)

// mirrors enables an image on a, waits for its replica on b, and then for a delta.
func mirrors(t *testing.T, a, b *site, specA, specB string) {
	t.Helper()
	write(t, a, specA, 2)
	a.real(t, "rbd", "mirror", "image", "enable", specA, "snapshot")
	waitSyncedAs(t, a, b, specA, specB)
	equal(t, a, specA, b, specB)
	a.real(t, "rbd", "snap", "create", "--no-progress", specA+"@s")
	write(t, a, specA, 0)
	a.real(t, "rbd", "mirror", "image", "snapshot", specA)
	waitSyncedAs(t, a, b, specA, specB)
	equal(t, a, specA, b, specB)
	equal(t, a, specA+"@s", b, specB+"@s")
}

// line returns the line of text that holds part.
func line(text, part string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

func TestInteropShapesOfImages(t *testing.T) {
	a, b := peers(t, "shapes")
	for _, s := range []*site{a, b} {
		s.real(t, "ceph", "osd", "pool", "create", "shapes-data", "8")
		s.real(t, "rbd", "pool", "init", "shapes-data")
	}
	t.Cleanup(func() {
		for _, s := range []*site{a, b} {
			s.try(t, "ceph", "osd", "pool", "rm", "shapes-data", "shapes-data", "--yes-i-really-really-mean-it")
		}
	})
	d := b.startOurs(t)
	for name, shape := range map[string]struct {
		options []string
		kept    string // in a line of `rbd info`
	}{
		"striped":   {[]string{"--stripe-unit", "64K", "--stripe-count", "3", "--object-size", "1M"}, "stripe unit"},
		"data-pool": {[]string{"--data-pool", "shapes-data"}, "data_pool"},
		"minimum":   {[]string{"--image-feature", "layering"}, "object-map"},
		"lock-only": {[]string{"--image-feature", "layering,exclusive-lock"}, "object-map"},
		"small":     {[]string{"--object-size", "64K"}, "order"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := "shapes/" + name
			a.real(t, append([]string{"rbd", "create", "-s", "24M", spec}, shape.options...)...)
			mirrors(t, a, b, spec, spec)
			if x, y := line(a.real(t, "rbd", "info", spec), shape.kept), line(b.real(t, "rbd", "info", spec), shape.kept); x != y {
				t.Errorf("rbd info shows %q here and %q there", x, y)
			}
		})
	}
	d.stop(t)
}

func TestInteropNamespaces(t *testing.T) {
	a, b := peers(t, "spaces")
	for _, s := range []*site{a, b} {
		s.real(t, "rbd", "namespace", "create", "spaces/same")
		s.real(t, "rbd", "mirror", "pool", "enable", "spaces/same", "image")
	}
	d := b.startOurs(t)
	a.real(t, "rbd", "create", "-s", "24M", "spaces/same/image")
	mirrors(t, a, b, "spaces/same/image", "spaces/same/image")
	if a.release == "20" && b.release == "20" {
		a.real(t, "rbd", "namespace", "create", "spaces/here")
		b.real(t, "rbd", "namespace", "create", "spaces/there")
		a.real(t, "rbd", "mirror", "pool", "enable", "--remote-namespace", "there", "spaces/here", "image")
		b.rbdm(t, "rbd", "mirror", "pool", "enable", "--remote-namespace", "here", "spaces/there", "image")
		a.real(t, "rbd", "create", "-s", "24M", "spaces/here/image")
		mirrors(t, a, b, "spaces/here/image", "spaces/there/image")
	}
	a.real(t, "rbd", "mirror", "image", "disable", "spaces/same/image")
	eventually(t, "the replica is gone", 30*time.Second, func() (bool, string) {
		out := b.real(t, "rbd", "ls", "spaces/same") + b.real(t, "rbd", "trash", "ls", "--all", "spaces/same")
		return out == "", out
	})
	d.stop(t)
}
