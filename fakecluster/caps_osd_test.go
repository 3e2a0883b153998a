package fakecluster

import (
	"net/netip"
	"testing"

	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestErrorsOfCaps has what the monitors of 16.2 and 20.2 say.
func TestErrorsOfCaps(t *testing.T) {
	for _, x := range []struct{ service, caps, want string }{
		{"mon", "nonsense", "mon capability parse failed, stopped at 'nonsense' of 'nonsense'"},
		{"osd", "allow q", "osd capability parse failed, stopped at 'allow q' of 'allow q'"},
		{"mon", "allow r pool", "mon capability parse failed, stopped at 'pool' of 'allow r pool'"},
		{"osd", "allow r pool", "osd capability parse failed, stopped at 'pool' of 'allow r pool'"},
		{"mgr", "profile nobody", "mgr capability parse failed during profile evaluation: unrecognized profile 'nobody'"},
		{"mgr", "allow r namespace=a b", "mgr capability parse failed, stopped at 'namespace=a b' of 'allow r namespace=a b'"},
		{"osd", "allow r namespace=a b", "osd capability parse failed, stopped at 'b' of 'allow r namespace=a b'"},
		{"mon", "", "mon capability parse failed, stopped at end of ''"},
		{"osd", "", "osd capability parse failed, stopped at '' of ''"},
		{"mon", "allow r,", "mon capability parse failed, stopped at ',' of 'allow r,'"},
		{"osd", "allow r allow w", "osd capability parse failed, stopped at 'allow w' of 'allow r allow w'"},
		{"osd", "profile nobody", ""},
		{"osd", "profile rbd pool=a namespace=b, profile rbd-read-only pool=c", ""},
		{"osd", "allow rw class-read pool a object_prefix b; allow * tag rbd data=x", ""},
		{"mon", `allow command "auth get" with entity="client.x", profile rbd network 10.0.0.0/8`, ""},
		{"mgr", "profile rbd pool=a namespace=b", ""},
		{"mgr", "allow module rbd_support with pool=a rw", ""},
	} {
		if got := badCaps(x.service, x.caps); got != x.want {
			t.Errorf("%s %q: %q, want %q", x.service, x.caps, got, x.want)
		}
	}
}

func TestOSDCaps(t *testing.T) {
	pool := &poolView{name: "p", pool: &osdmap.Pool{Applications: map[string]map[string]string{"rbd": {"k": "v"}}}}
	rw, call := accessR|accessW, func(class, method string, write bool) []methodCall {
		return []methodCall{{class: class, method: method, read: true, write: write}}
	}
	for _, x := range []struct {
		caps, namespace, object string
		need                    access
		calls                   []methodCall
		want                    bool
	}{
		{"allow *", "", "o", rw, call("any", "x", true), true},
		{"allow rwx", "", "o", rw, call("rbd", "x", true), true},
		{"allow rwx", "", "o", rw, call("lua", "x", true), false},
		{"allow r, allow w", "", "o", rw, nil, false},
		{"allow r class-read, allow r class-write", "", "o", accessR, append(call("rbd", "a", false), methodCall{"rbd", "b", false, true}), true},
		{"allow class hello say", "", "o", 0, call("hello", "say", false), true},
		{"allow class hello say", "", "o", 0, call("hello", "other", false), false},
		{"allow rw pool=q", "", "o", accessR, nil, false},
		{"allow rw namespace=n*", "nn", "o", accessR, nil, true},
		{"allow rw namespace=n*", "", "o", accessR, nil, false},
		{`allow rw namespace=""`, "", "o", accessR, nil, true},
		{`allow rw namespace=""`, "n", "o", accessR, nil, false},
		{"allow rw object_prefix a", "", "b", accessR, nil, false},
		{"allow r tag rbd k=v", "", "o", accessR, nil, true},
		{"allow r tag rbd *=w", "", "o", accessR, nil, false},
		{"allow r tag cephfs *=*", "", "o", accessR, nil, false},
		{"profile rbd pool=q", "", "rbd_mirroring", 0, call("rbd", "mirror_mode_get", false), true},
		{"profile rbd pool=q", "", "rbd_directory", 0, call("rbd", "dir_list", false), false},
		{"profile rbd-read-only", "", "rbd_header.1", 0, call("rbd", "child_attach", true), true},
		{"profile rbd-read-only", "", "rbd_header.1", 0, call("rbd", "set_size", true), false},
		{"allow rw network 10.0.0.0/8", "", "o", accessR, nil, false},
		{"allow rw network 127.0.0.0/8", "", "o", accessR, nil, true},
	} {
		op := &wire.OSDOp{Object: x.object}
		op.Locator.Namespace = x.namespace
		if got := parseOSDCaps(x.caps, netip.MustParseAddr("127.0.0.1")).allows(pool, op, x.need, x.calls); got != x.want {
			t.Errorf("%q %s/%s %d %v: %v", x.caps, x.namespace, x.object, x.need, x.calls, got)
		}
	}
}

func FuzzCaps(f *testing.F) {
	for _, s := range []string{"allow *", "profile rbd pool=a, allow r", `allow command "a b" with k=v x prefix y`, "allow rwx tag rbd *=*", "allow r network [::1]/64"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, service := range []string{"mon", "osd", "mgr"} {
			badCaps(service, text)
		}
	})
}

// TestWhoMakesSnapshots has what monitors of 16.2, 18.2 and 20.2 answer.
func TestWhoMakesSnapshots(t *testing.T) {
	for _, x := range []struct {
		caps      string
		old, late bool
	}{
		{"allow rw", true, true},
		{"allow r", false, false},
		{"allow class-write", false, false},
		{"allow rw pool=p", true, true},
		{"allow rw pool=q", false, false},
		{"profile rbd pool=p namespace=n", true, true},
		{"profile rbd pool=q", false, false},
		{"allow rw object_prefix a-", false, true},
		{"allow rw namespace=n", false, true},
		{`allow rw namespace=""`, false, true},
		{"allow rwx tag rbd *=*", false, false},
	} {
		c := parseOSDCaps(x.caps, netip.MustParseAddr("127.0.0.1"))
		if c.writes("p", 16) != x.old || c.writes("p", 18) != x.late || c.writes("p", 20) != x.late {
			t.Errorf("%q: %v %v %v, want %v %v", x.caps, c.writes("p", 16), c.writes("p", 18), c.writes("p", 20), x.old, x.late)
		}
	}
}

// TestWhoFollowsMaps has what monitors of 16.2, 18.2 and 20.2 send.
func TestWhoFollowsMaps(t *testing.T) {
	for _, x := range []struct {
		caps, name string
		old, late  bool
	}{
		{"allow r", "osdmap", true, true},
		{"allow service osd r", "osdmap", false, true},
		{"allow service mon r", "osdmap", true, false},
		{"profile rbd", "osdmap", true, true},
		{"allow service config-key r", "osdmap", false, false},
		{"allow service config-key r", "mgrmap", true, true},
		{"allow service config-key r", "config", true, true},
		{"allow service osd r", "mdsmap", false, false},
	} {
		for release, want := range map[int]bool{16: x.old, 18: x.old, 20: x.late} {
			s := &monSession{mon: &mon{daemon: daemon{c: &Cluster{opt: options{release: release}}}}, caps: parseMonCaps(x.caps, netip.MustParseAddr("127.0.0.1"))}
			if got := s.mayFollow(x.name); got != want {
				t.Errorf("%d %q %s: %v", release, x.caps, x.name, got)
			}
		}
	}
}
