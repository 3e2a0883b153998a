package fakecluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/wire"
)

// struck counts the recorded events of a fate.
func struck(c *fakecluster.Cluster, fate string) (n int) {
	for _, e := range c.Events() {
		if strings.HasPrefix(e.Fate, fate) {
			n++
		}
	}
	return n
}

// TestDamagedMessagesAreNoticed flips bits of messages and breaks connections within
// them, in both modes: whoever gets one must not take it, and asks again.
func TestDamagedMessagesAreNoticed(t *testing.T) {
	data := bytes.Repeat([]byte("data"), 20000)
	for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
		for fate, f := range map[string]fakecluster.Fault{"corrupt": {Corrupt: true}, "cut 1": {Cut: 1}, "cut 40": {Cut: 40}, "cut 30000": {Cut: 30000}} {
			t.Run(fmt.Sprint(mode, " ", fate), func(t *testing.T) {
				t.Parallel()
				c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1), fakecluster.Modes(mode))
				cl := connect(t, c, "client.admin")
				io := open(t, cl, "rbd")
				want := 0
				inject := func(out bool, typ uint16, ops ...wire.OpCode) {
					f := f
					f.Out, f.Type, f.Times = out, typ, 1
					if len(ops) > 0 {
						f.Op = ops[0]
					}
					c.Inject(f)
					want++
				}
				c.Record()
				inject(false, wire.TypeOSDOp)
				must(t, io.WriteFull(t.Context(), "o", data))
				inject(true, wire.TypeOSDOpReply, wire.OpRead)
				p, err := io.Read(t.Context(), "o", 0, 1<<20)
				if err != nil || !bytes.Equal(p, data) {
					t.Fatalf("%d bytes, %v", len(p), err)
				}
				if fate == "cut 30000" { // more than the answers below have
					return
				}
				inject(true, wire.TypeOSDOpReply, wire.OpAppend)
				must(t, io.Append(t.Context(), "log", []byte("once")))
				if p, err := io.Read(t.Context(), "log", 0, 100); err != nil || string(p) != "once" {
					t.Fatalf("%q, %v", p, err)
				}
				inject(false, wire.TypeMonCommand)
				inject(true, wire.TypeMonCommandAck)
				if _, _, err := cl.MonCommand(t.Context(), map[string]any{"prefix": "osd dump"}, nil); err != nil {
					t.Fatal(err)
				}
				inject(false, wire.TypeMgrCommand)
				inject(true, wire.TypeMgrCommandReply)
				_, err = mgr(t, cl, "pg stat")
				must(t, err)
				if n := struck(c, fate); n != want {
					t.Errorf("%d of %d messages were hit", n, want)
				}
			})
		}
	}
}

// TestMessagesComeTwice lets requests come twice: an OSD does what changes something
// once, and a client takes one answer.
func TestMessagesComeTwice(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	c.Record()
	for _, out := range []bool{false, true} {
		c.Inject(fakecluster.Fault{Duplicate: true, Out: out})
	}
	for i := range 20 {
		must(t, io.Append(t.Context(), "log", []byte{byte('a' + i)}))
		if p, err := io.Read(t.Context(), "log", 0, 100); err != nil || len(p) != i+1 || p[i] != byte('a'+i) {
			t.Fatalf("%q, %v", p, err)
		}
	}
	answers := func(typ uint16) (n int) {
		for _, e := range c.Events() {
			if e.Out && e.Type == typ {
				n++
			}
		}
		return n
	}
	eventually(t, "both are answered", func() bool { return answers(wire.TypeOSDOpReply) == 80 })
	if _, _, err := cl.MonCommand(t.Context(), map[string]any{"prefix": "config-key set", "key": "k", "val": "v"}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := mgr(t, cl, "pg stat")
	must(t, err)
	eventually(t, "commands are executed twice", func() bool { return answers(wire.TypeMonCommandAck) == 2 && answers(wire.TypeMgrCommandReply) == 2 })
}

// TestAnswersOfMonitorsAndManagersAreLost executes commands whose answers never come:
// clients ask again when the connection broke.
func TestAnswersOfMonitorsAndManagersAreLost(t *testing.T) {
	for _, disconnect := range []bool{true, false} {
		t.Run(fmt.Sprint("disconnect ", disconnect), func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
			cl := connect(t, c, "client.admin")
			_, err := mgr(t, cl, "pg stat")
			must(t, err)
			c.Record()
			f := fakecluster.Fault{After: true, Drop: !disconnect, Disconnect: disconnect, Times: 1}
			for typ, ask := range map[uint16]func() error{
				wire.TypeMonCommand: func() error {
					_, _, err := cl.MonCommand(t.Context(), map[string]any{"prefix": "osd pool create", "pool": "new"}, nil)
					return err
				},
				wire.TypeMgrCommand: func() error { _, err := mgr(t, cl, "pg stat"); return err },
			} {
				f.Type = typ
				c.Inject(f)
				done := make(chan error, 1)
				go func() { done <- ask() }()
				eventually(t, "it came", func() bool {
					return slices.ContainsFunc(c.Events(), func(e fakecluster.Event) bool { return e.Type == typ })
				})
				if !disconnect {
					select {
					case err := <-done:
						t.Fatalf("message %d was answered: %v", typ, err)
					case <-time.After(30 * time.Millisecond):
					}
					c.DropConnections("")
				}
				must(t, <-done)
			}
			if n := len(c.OSDMap().Pools); n != 2 {
				t.Errorf("%d pools", n)
			}
		})
	}
}

// TestMessagesToMonitorsAndManagersAreTamperedWith lets later messages overtake, and
// takes the end of others.
func TestMessagesToMonitorsAndManagersAreTamperedWith(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	cl := connect(t, c, "client.admin")
	_, err := mgr(t, cl, "pg stat")
	must(t, err)
	c.Record()
	dump := func() error {
		_, _, err := cl.MonCommand(t.Context(), map[string]any{"prefix": "osd dump"}, nil)
		return err
	}
	stat := func() error { _, err := mgr(t, cl, "pg stat"); return err }
	for _, x := range []struct {
		prefix string
		f      func() error
	}{{"osd dump", dump}, {"pg stat", stat}} {
		remove := c.Inject(fakecluster.Fault{Command: x.prefix, Reorder: 1, Times: 1})
		done := make(chan error, 2)
		go func() { done <- x.f() }()
		go func() { done <- x.f() }()
		must(t, <-done)
		must(t, <-done)
		remove()
		c.Inject(fakecluster.Fault{Command: x.prefix, Truncate: 3, Times: 1})
		must(t, x.f()) // asked again over a new connection
	}
	if r, n := struck(c, "reorder 1"), struck(c, "truncate 3"); r != 2 || n != 2 {
		t.Errorf("%d reordered, %d truncated", r, n)
	}
}

// TestClientsAreBlocklistedByWhoTheyAre finds clients by their user and by their
// number.
func TestClientsAreBlocklistedByWhoTheyAre(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	_, err := c.AddUser("client.other", map[string]string{"mon": "profile rbd", "osd": "profile rbd"})
	must(t, err)
	admin, other := connect(t, c, "client.admin"), connect(t, c, "client.other")
	for who, want := range map[string]int{"": 2, "client.admin": 1, "client.other": 1, "client.none": 0} {
		if got := c.Clients(who); len(got) != want {
			t.Errorf("%q: %v", who, got)
		}
	}
	io := open(t, other, "rbd")
	must(t, io.WriteFull(t.Context(), "o", nil))
	addrs := c.Clients("client.other")
	c.Record()
	must(t, io.WriteFull(t.Context(), "o", nil))
	if got := c.Clients(c.Events()[0].Client.String()); !slices.Equal(got, addrs) {
		t.Errorf("%v, not %v", got, addrs)
	}
	c.Blocklist(addrs[0], 0)
	if err := io.WriteFull(t.Context(), "o", nil); !errors.Is(err, rados.ErrBlocklisted) {
		t.Fatal(err)
	}
	must(t, open(t, admin, "rbd").WriteFull(t.Context(), "o", nil))
	c.Unblocklist(addrs[0])
	if c.OSDMap().IsBlocklisted(addrs[0]) {
		t.Error("still blocklisted")
	}
}

// TestRemovedSnapshotsMeetTheirTrimming holds the trimming: clones of a removed
// snapshot are there until it goes on, whatever is written meanwhile.
func TestRemovedSnapshotsMeetTheirTrimming(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	ctx := t.Context()
	must(t, io.WriteFull(ctx, "o", []byte("first")))
	s1, err := io.CreateSnapID(ctx)
	must(t, err)
	must(t, io.WithSnapContext(s1, []uint64{s1}).WriteFull(ctx, "o", []byte("second")))
	c.HoldTrim(true)
	must(t, io.RemoveSnapID(ctx, s1))
	clones := func() int {
		set, err := io.ListSnaps(ctx, "o")
		must(t, err)
		return len(set.Clones)
	}
	if n := clones(); n != 2 {
		t.Fatalf("%d clones while trimming is held", n)
	}
	// It is gone for whoever knows its number, and a new one comes between.
	if p, err := io.AtSnap(s1).Read(ctx, "o", 0, 10); !errors.Is(err, rados.ErrNotFound) {
		t.Fatalf("%q, %v", p, err)
	}
	s2, err := io.CreateSnapID(ctx)
	must(t, err)
	must(t, io.WithSnapContext(s2, []uint64{s2}).WriteFull(ctx, "o", []byte("third")))
	c.HoldTrim(false)
	if n := clones(); n != 2 {
		t.Errorf("%d clones after it went on", n)
	}
	if _, err := io.AtSnap(s1).Read(ctx, "o", 0, 10); !errors.Is(err, rados.ErrNotFound) {
		t.Error(err)
	}
	if p, err := io.AtSnap(s2).Read(ctx, "o", 0, 10); err != nil || string(p) != "second" {
		t.Errorf("%q, %v", p, err)
	}
}

// TestAKilledOSDIsMissed lets requests wait for an OSD of which nobody has noticed
// that it is gone.
func TestAKilledOSDIsMissed(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o", []byte("x")))
	epoch := c.Epoch()
	c.KillOSD(0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := io.WriteFull(ctx, "o", []byte("y")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if c.Epoch() != epoch {
		t.Error("somebody has noticed")
	}
	done := make(chan error, 1)
	go func() { done <- io.WriteFull(t.Context(), "o", []byte("z")) }()
	must(t, c.StartOSD(0))
	must(t, <-done)
	if p, err := io.Read(t.Context(), "o", 0, 1); err != nil || string(p) != "z" {
		t.Fatalf("%q, %v", p, err)
	}
}
