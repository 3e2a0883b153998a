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
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestMessagesAreReordered lets a later request or answer overtake an earlier one.
func TestMessagesAreReordered(t *testing.T) {
	for name, f := range map[string]fakecluster.Fault{
		"request": {Type: wire.TypeOSDOp, Object: "first", Reorder: 1},
		"answer":  {Type: wire.TypeOSDOpReply, Out: true, Object: "first", Reorder: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
			io := open(t, connect(t, c, "client.admin"), "rbd")
			must(t, io.WriteFull(t.Context(), "warm", nil))
			for round := range 10 {
				hit := make(chan struct{})
				f.Times, f.Do = 1, func(*fakecluster.Event) { close(hit) }
				c.Inject(f)
				order := make(chan string, 2)
				write := func(object string) {
					if err := io.WriteFull(t.Context(), object, []byte(object)); err != nil {
						object = err.Error()
					}
					order <- object
				}
				go write("first")
				<-hit
				go write("second")
				if got := <-order + " " + <-order; got != "second first" {
					// The two wake up on their own; which does first is not the cluster's matter.
					t.Logf("round %d: %s", round, got)
				}
			}
			c.Record()
			f.Do = nil
			c.Inject(f)
			must(t, io.WriteFull(t.Context(), "first", []byte("alone: nobody overtakes it, and it goes after a while")))
			if !slices.ContainsFunc(c.Events(), func(e fakecluster.Event) bool { return e.Fate == "reorder 1" }) {
				t.Error(c.Events())
			}
		})
	}
}

// TestTruncatedMessagesAreNoticed cuts the end off messages whose checksums are
// right: whoever gets one must not take it for all.
func TestTruncatedMessagesAreNoticed(t *testing.T) {
	data := bytes.Repeat([]byte("data"), 10000)
	for _, out := range []bool{false, true} {
		for _, n := range []int{1, 8, 5000, 40100, 40220, 1 << 20} {
			t.Run(fmt.Sprint(out, n), func(t *testing.T) {
				c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
				io := open(t, connect(t, c, "client.admin"), "rbd")
				typ := wire.TypeOSDOp
				if out {
					typ = wire.TypeOSDOpReply
				}
				for range 2 {
					c.Inject(fakecluster.Fault{Type: typ, Out: out, Object: "o", Truncate: n, Times: 1})
					if err := io.WriteFull(t.Context(), "o", data); err != nil {
						t.Fatal(err)
					}
					c.Inject(fakecluster.Fault{Type: typ, Out: out, Object: "o", Truncate: n, Times: 1})
					p, err := io.Read(t.Context(), "o", 0, 1<<20)
					if err != nil || !bytes.Equal(p, data) {
						t.Fatalf("%d bytes, %v", len(p), err)
					}
				}
			})
		}
	}
}

func TestAPartitionIsBetweenSomeUsersAndDaemons(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	_, err := c.AddUser("client.far", map[string]string{"mon": "profile rbd", "osd": "profile rbd", "mgr": "profile rbd"})
	must(t, err)
	near, far := connect(t, c, "client.admin"), connect(t, c, "client.far")
	nearIO, farIO := open(t, near, "rbd"), open(t, far, "rbd")
	must(t, farIO.WriteFull(t.Context(), "o", []byte("x")))
	heal := c.Partition([]string{"client.far"}, []string{"osd.0"})
	blocked := func(io *rados.IoCtx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := io.Read(ctx, "o", 0, 1)
		return err
	}
	if err := blocked(farIO); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	// A new connection does not help.
	c.DropConnections("osd.0")
	if err := blocked(farIO); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	must(t, nearIO.WriteFull(t.Context(), "o", []byte("y")))
	if _, _, err := far.MonCommand(t.Context(), map[string]any{"prefix": "osd dump"}, nil); err != nil {
		t.Error("the monitor is on the far side, too:", err)
	}
	heal()
	p, err := farIO.Read(t.Context(), "o", 0, 1)
	if err != nil || string(p) != "y" {
		t.Fatalf("%q, %v", p, err)
	}
	// A link of one user is no other's.
	remove := c.SetLinkOf("client.far", "", fakecluster.Link{Latency: 30 * time.Millisecond})
	defer remove()
	began := time.Now()
	must(t, farIO.WriteFull(t.Context(), "o", []byte("z")))
	if d := time.Since(began); d < 30*time.Millisecond {
		t.Errorf("took %s", d)
	}
}

func TestASlowDiskAnswersLate(t *testing.T) {
	clock := &askedClock{ManualClock: fakecluster.NewManualClock(time.Now())}
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1), fakecluster.WithClock(clock))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o", []byte("fast")))
	c.SetDisk(0, fakecluster.Disk{Latency: time.Second, Bandwidth: 1 << 20})
	done := make(chan error, 2)
	for i := range 2 {
		go func() { done <- io.WriteFull(t.Context(), fmt.Sprint(i), make([]byte, 2<<20)) }()
	}
	eventually(t, "the disk has both", func() bool { return clock.asked(3*time.Second) && clock.asked(6*time.Second) })
	clock.Advance(2900 * time.Millisecond)
	select {
	case err := <-done:
		t.Fatal("2 MiB in less than 3 s", err)
	case <-time.After(20 * time.Millisecond):
	}
	clock.Advance(200 * time.Millisecond)
	must(t, <-done)
	// The other one waits for the disk: a crash may take it.
	seed := uint64(1)
	gone := c.Crash(seed)
	if len(gone) != 1 {
		t.Fatal(gone)
	}
	must(t, c.Recover())
	c.SetDisk(0, fakecluster.Disk{})
	must(t, <-done)
}

// run does the same things on a new cluster with faults by chance, and returns the
// record of it.
func run(t *testing.T, seed uint64) string {
	t.Helper()
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.Seed(seed), fakecluster.OSDs(2))
	if c.Seed() != seed {
		t.Fatal(c.Seed())
	}
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o0", []byte("x")))
	c.Record()
	c.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Chance: 0.1, Disconnect: true})
	c.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Chance: 0.1, Disconnect: true, After: true})
	c.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Chance: 0.2, Jitter: 2 * time.Millisecond})
	c.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Op: wire.OpDelete, Chance: 0.3, Errno: rados.ErrIO})
	for i := range 60 {
		name := fmt.Sprint("o", i%5)
		switch i % 3 {
		case 0:
			must(t, io.Append(t.Context(), name, []byte("some")))
		case 1:
			if _, err := io.Read(t.Context(), name, 0, 100); err != nil && !errors.Is(err, rados.ErrNotFound) {
				t.Fatal(err)
			}
		default:
			if err := io.Remove(t.Context(), name); err != nil && !errors.Is(err, rados.ErrNotFound) && !errors.Is(err, rados.ErrIO) {
				t.Fatal(err)
			}
		}
		if i == 30 {
			c.CrashOSD(0, seed)
			must(t, c.StartOSD(0))
		}
	}
	var b strings.Builder
	for _, e := range c.Events() {
		if e.Type == wire.TypeOSDOp || e.Type == wire.TypeOSDOpReply || e.Type == 0 {
			fmt.Fprintln(&b, e)
		}
	}
	return b.String()
}

func TestTheSameSeedGivesTheSameRecord(t *testing.T) {
	a, b, other := run(t, 7), run(t, 7), run(t, 8)
	if a != b {
		t.Errorf("the same seed, and two records:\n%s\n%s", a, b)
	}
	if a == other {
		t.Error("another seed, and the same record")
	}
	for _, want := range []string{"disconnect", "delay ", "errno 5", "disconnect, after", "osd.0 => crash 7", "osd.0 => start"} {
		if !strings.Contains(a, want) {
			t.Errorf("no %q in\n%s", want, a)
		}
	}
}

func TestARecordCanBeWritten(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.Seed(42))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	c.Record()
	must(t, io.WriteFull(t.Context(), "o", []byte("x")))
	var b bytes.Buffer
	must(t, c.WriteRecord(&b))
	for _, want := range []string{"seed 42\n", ` client.admin > osd.`, ` osd_op "/o" writefull`, ` osd_op_reply "/o" writefull`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
