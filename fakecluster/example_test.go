package fakecluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// A cluster for a test, t, which ends with it. Programs are given its ceph.conf; a
// client in the same process may connect by Dialer, without any file.
func ExampleNew() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	ctx := context.Background()

	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.InProcess())
	io := connectPool(ctx, t, c, "rbd")
	if err := io.WriteFull(ctx, "greeting", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	p, err := io.Read(ctx, "greeting", 0, 100)
	fmt.Printf("%s %v\n", p, err)
	// Output: hello <nil>
}

// The third write to an object fails, and an answer is lost with its connection:
// the client asks again, and its request is not executed twice.
func ExampleCluster_Inject() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	ctx := context.Background()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := connectPool(ctx, t, c, "rbd")

	remove := c.Inject(fakecluster.Fault{Op: wire.OpAppend, Object: "log", Skip: 2, Times: 1, Errno: errno.ErrIO})
	for i := range 4 {
		err := io.Append(ctx, "log", fmt.Append(nil, i))
		fmt.Println(i, errors.Is(err, rados.ErrIO))
	}
	remove()

	c.Inject(fakecluster.Fault{Object: "log", Disconnect: true, After: true, Times: 1})
	err := io.Append(ctx, "log", []byte("4"))
	p, _ := io.Read(ctx, "log", 0, 100)
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// 0 false
	// 1 false
	// 2 true
	// 3 false
	// 0134 <nil>
}

// What was made once is there at once in every other test.
func ExampleCluster_Save() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	ctx := context.Background()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	if err := connectPool(ctx, t, c, "rbd").WriteFull(ctx, "fixture", []byte("took long to make")); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := c.Save(&file); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		d, err := fakecluster.Load(ctx, bytes.NewReader(file.Bytes()), fakecluster.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		p, err := connectPool(ctx, t, d, "rbd").Read(ctx, "fixture", 0, 100)
		fmt.Printf("%s %v %v\n", p, err, d.FSID() == c.FSID())
	}
	// Output:
	// took long to make <nil> true
	// took long to make <nil> true
}

// Power fails while a write is not answered yet. Whether it is lost is up to the
// seed; what was answered is not.
func ExampleCluster_Crash() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	ctx := context.Background()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := connectPool(ctx, t, c, "rbd")
	if err := io.WriteFull(ctx, "answered", []byte("stays")); err != nil {
		t.Fatal(err)
	}

	executed := make(chan struct{})
	c.Inject(fakecluster.Fault{
		Type: wire.TypeOSDOpReply, Out: true, Times: 1, Delay: time.Hour,
		Do: func(*fakecluster.Event) { close(executed) },
	})
	done := make(chan error, 1)
	go func() { done <- io.WriteFull(ctx, "not answered", []byte("x")) }()
	<-executed
	for _, w := range c.Crash(1) {
		fmt.Println(w)
	}
	if err := c.Recover(); err != nil {
		t.Fatal(err)
	}

	fmt.Println(<-done) // the client has sent it again
	p, _ := io.Read(ctx, "answered", 0, 100)
	fmt.Printf("%s\n", p)
	// Output:
	// lost "/not answered" of 1.4
	// <nil>
	// stays
}

// The test says when a watch that is not renewed is over, an hour or not.
func ExampleManualClock() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	clock := fakecluster.NewManualClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.WithClock(clock))

	a, err := entity.ParseAddr("192.0.2.1:0/7")
	if err != nil {
		t.Fatal(err)
	}
	c.Blocklist(a, time.Hour)
	fmt.Println(c.OSDMap().IsBlocklisted(a))
	clock.Advance(time.Hour)
	fmt.Println(c.OSDMap().IsBlocklisted(a))
	// Output:
	// true
	// false
}

// Faults by chance are decided by the seed: the same one makes the same of the
// same requests. The record tells what happened.
func ExampleCluster_Record() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	ctx := context.Background()
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.Seed(3))
	io := connectPool(ctx, t, c, "rbd")

	c.Record()
	c.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Chance: 0.3, Errno: errno.ErrIO})
	for i := range 5 {
		_ = io.WriteFull(ctx, fmt.Sprint("object ", i), []byte("x"))
	}
	for _, e := range c.Events() {
		if e.Type == wire.TypeOSDOp {
			fmt.Printf("%s: %q\n", e.Object, e.Fate)
		}
	}
	// Output:
	// object 0: "errno 5"
	// object 1: "errno 5"
	// object 2: ""
	// object 3: ""
	// object 4: ""
}

// One client is cut off from the OSDs, and nobody else.
func ExampleCluster_Partition() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	ctx := context.Background()
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := connectPool(ctx, t, c, "rbd")

	heal := c.Partition([]string{"client.admin"}, []string{"osd.0"})
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	fmt.Println(errors.Is(io.WriteFull(short, "o", []byte("x")), context.DeadlineExceeded))
	heal()
	fmt.Println(io.WriteFull(ctx, "o", []byte("x")))
	// Output:
	// true
	// <nil>
}
