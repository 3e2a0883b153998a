package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// TestMirrorPoolCommandsPassOverImagesThatGo has an image in the pool that a daemon
// is about to remove, and an entry of one that is gone: neither is a failure of the
// commands on all images, as with rbd.
func TestMirrorPoolCommandsPassOverImagesThatGo(t *testing.T) {
	c := newConsole(t, fakeSites(t))
	cmd := func(want string, args ...string) {
		t.Helper()
		out, err := c.command(append([]string{"rbd", "--cluster", "site-a"}, args...), "")
		if err != nil || want != "" && out != want {
			t.Fatalf("%v prints %q, %v; want %q", args, out, err, want)
		}
	}
	if _, err := c.command([]string{"ceph", "--cluster", "site-a", "osd", "pool", "create", "data"}, ""); err != nil {
		t.Fatal(err)
	}
	cmd("", "pool", "init", "data")
	cmd("", "mirror", "pool", "enable", "data", "image")
	for _, mode := range []string{"snapshot", "journal"} {
		for _, name := range []string{"stays", "goes"} {
			spec := "data/" + name + "-" + mode
			cmd("", "create", "--size", "1M", "--image-feature", "layering,exclusive-lock", spec)
			cmd("", "mirror", "image", "enable", spec, mode)
		}
	}
	inv, _, err := conf.ParseArgs([]string{"-c", filepath.Join(c.dir, "site-a.conf")}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	client, err := rados.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pool, err := client.OpenPool(t.Context(), "data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"goes-snapshot", "goes-journal"} {
		id, err := rbd.LookupID(t.Context(), pool, name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := meta.Image(t.Context(), pool, id)
		if err != nil {
			t.Fatal(err)
		}
		e.State = wire.MirrorImageDisabling
		if err := meta.SetImage(t.Context(), pool, id, e); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []uint8{wire.MirrorImageSnapshot, wire.MirrorImageJournal} {
		id := "0123456789a" + string(rune('b'+mode))
		e := wire.MirrorImage{GlobalID: "of-" + id, State: wire.MirrorImageEnabled, Mode: mode}
		if err := meta.SetImage(t.Context(), pool, id, e); err != nil {
			t.Fatal(err)
		}
	}
	cmd("Demoted 2 mirrored images\n", "mirror", "pool", "demote", "data")
	cmd("Promoted 2 mirrored images\n", "mirror", "pool", "promote", "data")
}
