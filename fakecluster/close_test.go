package fakecluster_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// clusterGoroutines counts the goroutines that run code of this package.
func clusterGoroutines() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for _, g := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(g, "rbdm/fakecluster.(") {
			n++
		}
	}
	return n
}

func TestCloseLeavesNoGoroutineAndNoPort(t *testing.T) {
	c, err := fakecluster.Start(t.Context(), fakecluster.Pools("rbd"))
	must(t, err)
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o", []byte("x")))
	c.Blocklist(entity.Addr{}, time.Hour) // leaves a timer
	addrs, _ := c.OSDMap().OSDAddrs(0)
	c.Close()
	c.Close()
	for i := 0; clusterGoroutines() > 0; i++ {
		if i == 100 {
			t.Fatalf("%d goroutines left", clusterGoroutines())
		}
		runtime.Gosched()
	}
	if nc, err := net.Dial("tcp", addrs[0].IP.String()); err == nil {
		_ = nc.Close()
		t.Fatal("an OSD's port is still open")
	}
}

func TestTheContextEndsTheCluster(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := fakecluster.Start(ctx)
	must(t, err)
	cancel()
	c.Close() // waits, whoever began
	if n := clusterGoroutines(); n > 1 {
		t.Fatalf("%d goroutines left", n)
	}
}

func TestALinkThatCutsOrCorruptsLosesNothing(t *testing.T) {
	for name, link := range map[string]fakecluster.Link{
		"cut": {CutAfter: 9000}, "corrupt": {CorruptAt: 5000},
		"cut request": {CutAfterIn: 30000}, "corrupt request": {CorruptAtIn: 20000}, "slow": {Latency: time.Millisecond, Bandwidth: 50 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
			io := open(t, connect(t, c, "client.admin"), "rbd")
			remove := c.SetLink("osd.0", link)
			time.AfterFunc(300*time.Millisecond, remove)
			for i := range 20 {
				must(t, io.WriteFull(t.Context(), fmt.Sprint(i), []byte(strings.Repeat("x", 4000))))
				p, err := io.Read(t.Context(), fmt.Sprint(i), 0, 5000)
				if err != nil || len(p) != 4000 {
					t.Fatal(len(p), err)
				}
			}
		})
	}
}

// A whole cluster for a test takes milliseconds.
func ExampleStart() {
	c, err := fakecluster.Start(context.Background(), fakecluster.Pools("rbd"), fakecluster.OSDs(3))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	// The n-th write to an object fails.
	c.Inject(fakecluster.Fault{Object: "rbd_header.1", Skip: 2, Times: 1, Errno: 5})
	fmt.Println(len(c.OSDMap().Pools), "pool")
	// Output: 1 pool
}
