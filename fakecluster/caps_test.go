package fakecluster

import (
	"net/netip"
	"testing"
)

func TestManagerCapsOfProfiles(t *testing.T) {
	pool := func(pool, ns string) cmdArgs { return cmdArgs{"pool": pool, "namespace": ns} }
	for _, x := range []struct {
		caps, module string
		need         access
		prefix       string
		args         cmdArgs
		want         bool
	}{
		{"allow *", "rbd_support", accessW, "rbd task add flatten", nil, true},
		{"profile rbd", "rbd_support", accessW, "rbd task add flatten", nil, true},
		{"profile rbd pool=a", "rbd_support", accessW, "rbd task add flatten", nil, true},
		{"profile rbd pool=a", "rbd_support", accessR, "", pool("a", "n"), true},
		{"profile rbd pool=a", "rbd_support", accessR, "", pool("b", ""), false},
		{"profile rbd pool=a namespace=n", "rbd_support", accessR, "", pool("a", ""), false},
		{"profile rbd-read-only", "rbd_support", accessR, "rbd task list", nil, true},
		{"profile rbd-read-only", "rbd_support", accessW, "rbd task add remove", nil, false},
		{"allow r", "rbd_support", accessW, "rbd task add remove", nil, false},
		{"", "rbd_support", accessR, "rbd task list", nil, false},
	} {
		if got := parseMgrCaps(x.caps, netip.IPv4Unspecified()).permits(x.module, x.need, x.prefix, x.args); got != x.want {
			t.Errorf("%q, %s %q %v: %v", x.caps, x.module, x.prefix, x.args, got)
		}
	}
}
