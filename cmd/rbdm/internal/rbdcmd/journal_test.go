package rbdcmd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// journalSite is a fake cluster with the journals "one" and "two", the first with
// some entries that client "peer" was not done with.
func journalSite(t *testing.T) (run func(stdin string, args ...string) string) {
	t.Helper()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	confFile, err := c.ConfFile(t.TempDir())
	must(t, err)
	inv, _, err := conf.ParseArgs([]string{"-c", confFile}, func(string) string { return "" }, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(t, err)
	cfg, err := inv.Load()
	must(t, err)
	cl, err := rados.Connect(t.Context(), cfg)
	must(t, err)
	defer cl.Close()
	io, err := cl.OpenPool(t.Context(), "rbd")
	must(t, err)
	for _, id := range []string{"one", "two"} {
		must(t, journal.Create(t.Context(), io, id, journal.Layout{Order: 16, SplayWidth: 2, Pool: -1}))
		j, err := journal.Open(t.Context(), io, id, "", journal.DefaultOptions())
		must(t, err)
		must(t, j.Register(t.Context(), []byte("0123456789abcdef\x00")))
		must(t, j.RegisterClient(t.Context(), "peer", nil))
		r, err := j.NewRecorder(t.Context())
		must(t, err)
		for i, ev := range []wire.Event{
			{Type: wire.EventWrite, Offset: 8192, Length: 3, Data: []byte("abc")}, {Type: wire.EventSnapLimit, OpTID: 1, Size: 7},
			{Type: wire.EventOpFinish, OpTID: 1, Result: -2}, {Type: wire.EventDiscard, Offset: 1, Length: 2, Granularity: 4096},
		} {
			if id == "two" {
				break
			}
			ev.Time = denc.Time{Sec: uint32(i), Nsec: 5000}
			f, err := r.Append(t.Context(), 0, ev.Append(nil))
			must(t, err)
			must(t, f.Wait(t.Context()))
			if i < 2 {
				f.Committed()
			}
		}
		must(t, r.Close(t.Context()))
		must(t, j.Close(t.Context()))
	}
	t.Setenv("CEPH_CONF", "")
	t.Setenv("CEPH_ARGS", "")
	return func(stdin string, args ...string) string {
		var out, errs bytes.Buffer
		began := time.Now()
		code := Main(t.Context(), append([]string{"-c", confFile, "journal"}, args...), streams.Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs})
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%v took %s", args, d)
		}
		return fmt.Sprintf("%s%s[%d]", out.String(), errs.String(), code)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestJournalCommands has the texts of the real rbd of 20.2.
func TestJournalCommands(t *testing.T) {
	run := journalSite(t)
	check := func(want string, args ...string) {
		t.Helper()
		if got := run("", args...); got != want {
			t.Errorf("%v:\n%s\nwant:\n%s", args, got, want)
		}
	}
	check("rbd journal 'one':\n\theader_oid: journal.one\n\tobject_oid_prefix: journal_data.1.one.\n\torder: 16 (64 KiB objects)\n\tsplay_width: 2\n[0]", "info", "rbd/one")
	check("failed to get journal metadata: (2) No such file or directory\nrbd: journal info: (2) No such file or directory\n[2]", "info", "rbd/none")
	check("minimum_set: 0\nactive_set: 0\nregistered clients: \n"+
		"\t[id=, commit_position=[positions=[[object_number=1, tag_tid=0, entry_tid=1], [object_number=0, tag_tid=0, entry_tid=0]]], state=connected]\n"+
		"\t[id=peer, commit_position=[positions=[]], state=connected]\n[0]", "status", "rbd/one")
	check(`{"minimum_set":0,"active_set":0,"registered_clients":[{"id":"","data":"00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n`+
		`00000010  00                                                |.|\n00000011\n","commit_position":{"object_positions":[]},"state":"connected"},`+
		`{"id":"peer","data":"","commit_position":{"object_positions":[]},"state":"connected"}]}`+"\n[0]", "status", "rbd/two", "--format", "json")
	check("Entry: tag_id=0, commit_tid=1\n{\n    \"event_type\": \"AioWrite\",\n    \"offset\": 8192,\n    \"length\": 3,\n    \"timestamp\": \"0.000005\"\n}\n"+
		"Entry: tag_id=0, commit_tid=2\n{\n    \"event_type\": \"SnapLimit\",\n    \"op_tid\": 1,\n    \"limit\": 7,\n    \"timestamp\": \"1.000005\"\n}\n"+
		"Entry: tag_id=0, commit_tid=3\n{\n    \"event_type\": \"OpFinish\",\n    \"op_tid\": 1,\n    \"op_tid\": 1,\n    \"result\": -2,\n    \"timestamp\": \"2.000005\"\n}\n"+
		"Entry: tag_id=0, commit_tid=4\n{\n    \"event_type\": \"AioDiscard\",\n    \"offset\": 1,\n    \"length\": 2,\n    \"discard_granularity_bytes\": 4096,\n    \"timestamp\": \"3.000005\"\n}\n"+
		"Summary:\n  4 entries inspected, 0 errors\n[0]", "inspect", "rbd/one", "--verbose")
	check("client peer disconnected\n[0]", "client", "disconnect", "rbd/two")
	check("warning: client x is not registered\nrbd: journal client disconnect: (2) No such file or directory\n[2]", "client", "disconnect", "rbd/two", "--client-id", "x")
	check("failed to locate journal's image: (2) No such file or directory\nrbd: journal reset: (2) No such file or directory\n[2]", "reset", "rbd/one")
	check("rbd: journal was not specified\n[22]", "info")

	exported := run("", "export", "rbd/one", "-")
	file, tail, ok := strings.Cut(exported, "4 entries processed, 0 errors\n[0]")
	if !ok || tail != "" || !strings.HasPrefix(file, "# journal_id: one\n") {
		t.Fatal(exported)
	}
	if got := run(file, "import", "-", "rbd/two"); got != "4 entries processed, 0 errors\nWaiting for journal append to complete...\n[0]" {
		t.Fatal(got)
	}
	if got := run("", "export", "rbd/two", "--path", "-"); got != strings.Replace(exported, "journal_id: one", "journal_id: two", 1) {
		t.Fatal(got)
	}
	// Once more: behind what is there.
	run(file, "import", "-", "rbd/two")
	if got := run("", "inspect", "rbd/two"); got != "Summary:\n  8 entries inspected, 0 errors\n[0]" {
		t.Fatal(got)
	}
	if got := run(file[:len(file)-9], "import", "-", "rbd/two"); !strings.HasSuffix(got, "(22) Invalid argument\n[22]") {
		t.Fatal("a file that is cut off was taken: ", got)
	}
}

// TestInfoJournalPrimary: an image in journal mode is primary as long as the newest
// tag of its journal is its own site's.
func TestInfoJournalPrimary(t *testing.T) {
	ctx := t.Context()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	confFile, err := c.ConfFile(t.TempDir())
	must(t, err)
	inv, _, err := conf.ParseArgs([]string{"-c", confFile}, func(string) string { return "" }, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(t, err)
	cfg, err := inv.Load()
	must(t, err)
	cl, err := rados.Connect(ctx, cfg)
	must(t, err)
	defer cl.Close()
	io, err := cl.OpenPool(ctx, "rbd")
	must(t, err)
	t.Setenv("CEPH_CONF", "")
	t.Setenv("CEPH_ARGS", "")
	run := func(args ...string) string {
		var out, errs bytes.Buffer
		if code := Main(ctx, append([]string{"-c", confFile}, args...), streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); code != 0 {
			t.Fatalf("%v: %d: %s", args, code, errs.String())
		}
		return out.String()
	}
	run("create", "-s", "4M", "i", "--image-feature", "exclusive-lock,journaling")
	run("mirror", "pool", "enable", "rbd", "image")
	id, err := rbd.LookupID(ctx, io, "i")
	must(t, err)
	must(t, meta.SetImage(ctx, io, id, rbdwire.MirrorImage{GlobalID: "g", Mode: rbdwire.MirrorImageJournal, State: rbdwire.MirrorImageEnabled}))
	check := func(want string) {
		t.Helper()
		if got := run("info", "i"); !strings.Contains(got, "\tmirroring mode: journal\n") || !strings.Contains(got, "\tmirroring primary: "+want+"\n") {
			t.Errorf("want primary %s:\n%s", want, got)
		}
	}
	check("true")
	j, err := journal.Open(ctx, io, id, "", journal.DefaultOptions())
	must(t, err)
	defer j.Close(ctx)
	tag, _, err := rbd.NewestTag(ctx, j)
	must(t, err)
	for _, owner := range []string{wire.OrphanOwner, "0f2ec1a8-1de8-4b5b-8b4a-3a4d0b0e7c11"} {
		_, err = j.AllocateTag(ctx, tag.Class, wire.TagData{MirrorUUID: owner}.Append(nil))
		must(t, err)
		check("false")
	}
}
