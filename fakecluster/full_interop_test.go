//go:build interop

package fakecluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
)

// TestInteropSameAnswersWhenFull fills a pool of a real cluster (RBDM_CONF, one of
// its own) and one of a fake one with the same objects, makes both full, by a
// quota or by a full OSD, and compares the answers to random requests that are sent
// nevertheless (FULL_TRY). RBDM_CEPH is how ceph is called for the real cluster.
// RBDM_SEED repeats a run.
func TestInteropSameAnswersWhenFull(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("RBDM_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("RBDM_SEED=%d", seed)
	real := realCluster(t)
	release := number("RBDM_RELEASE", 20)
	for _, how := range []string{"quota", "osd"} {
		t.Run(how, func(t *testing.T) { fullAlike(t, real, how, seed, release) })
	}
}

func fullAlike(t *testing.T, real *rados.Client, how string, seed uint64, release int) {
	pool := fmt.Sprintf("fk-full-%s-%d", how, seed)
	c := fakecluster.New(t, fakecluster.Release(release), fakecluster.OSDs(1))
	clients := []*rados.Client{real, connect(t, c, "client.admin")}
	var sites []*site
	for i, cl := range clients {
		admin(t, cl, map[string]any{"prefix": "osd pool create", "pool": pool, "pg_num": 8})
		sites = append(sites, &site{name: []string{"real", "fake"}[i], io: open(t, cl, pool)})
	}
	t.Cleanup(func() {
		if how == "osd" {
			injectFull(t, "none")
		}
		_, _, _ = real.MonCommand(context.Background(), map[string]any{"prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true}, nil)
	})
	g := &generator{r: rand.New(rand.NewPCG(seed, 3))}
	for i := range 700 {
		if i == 200 {
			if how == "osd" {
				injectFull(t, "full")
				c.SetFull(0, fakecluster.Full)
			} else {
				for _, cl := range clients {
					admin(t, cl, map[string]any{"prefix": "osd pool set-quota", "pool": pool, "field": "max_objects", "val": "1"})
				}
			}
			for _, cl := range clients {
				waitFull(t, cl, pool)
			}
		}
		step := g.step()
		var answers [2]string
		for k, s := range sites {
			s.full = i >= 200
			answers[k] = s.run(t, step)
		}
		if answers[0] != answers[1] {
			t.Fatalf("seed %d, step %d:\n%s\nreal %s\nfake %s\nbefore:\n%s", seed, i, step, answers[0], answers[1], strings.Join(g.history(step.object), "\n"))
		}
		g.done = append(g.done, step)
	}
}

// injectFull makes the real cluster's OSD believe that it is full, or not.
func injectFull(t *testing.T, level string) {
	t.Helper()
	cmd := os.Getenv("RBDM_CEPH")
	if cmd == "" {
		t.Fatal("RBDM_CEPH does not say how to call ceph")
	}
	if out, err := exec.Command("sh", "-c", cmd+" tell osd.0 injectfull "+level).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// waitFull waits until the map says that a pool is full.
func waitFull(t *testing.T, cl *rados.Client, pool string) {
	t.Helper()
	for range 300 {
		out, _, err := cl.MonCommand(t.Context(), map[string]any{"prefix": "osd dump"}, nil)
		must(t, err)
		for _, line := range strings.Split(string(out), "\n") {
			if strings.Contains(line, "'"+pool+"'") && strings.Contains(line, ",full") {
				// The OSD has to know, too.
				time.Sleep(2 * time.Second)
				return
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the pool is not full")
}
