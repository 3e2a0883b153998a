package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/wire"
)

// leaderOf connects a client that wants to be the leader of a pool.
func leaderOf(t *testing.T, c *fakecluster.Cluster) *leader {
	t.Helper()
	key, err := c.Key("client.admin")
	must(t, err)
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(t, cfg.Set(conf.LevelOverride, "mon_host", c.MonHost()))
	must(t, cfg.Set(conf.LevelOverride, "key", key))
	client, err := rados.Connect(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	io, err := client.OpenPool(t.Context(), "rbd")
	must(t, err)
	return &leader{io: io, log: slog.New(slog.DiscardHandler), kick: make(chan struct{}, 1)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nobodyLeads checks that the lock is free and that nobody was shut out for it.
func nobodyLeads(t *testing.T, c *fakecluster.Cluster, l *leader) {
	t.Helper()
	info, err := lockInfo(t.Context(), l.io, meta.Leader)
	must(t, err)
	if len(info.Lockers) > 0 {
		t.Errorf("the lock is held: %+v", info.Lockers)
	}
	if list := c.OSDMap().OSDOnly.Blocklist; len(list) > 0 {
		t.Errorf("shut out: %v", list)
	}
}

// A claim that is given up while the request for the lock is on its way leaves no
// lock behind: whoever comes next would take its owner for dead.
func TestClaimThatIsGivenUp(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	l := leaderOf(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Inject(fakecluster.Fault{Object: meta.Leader, Op: wire.OpCall, Times: 1, Delay: 200 * time.Millisecond, Do: func(*fakecluster.Event) { cancel() }})
	err := l.lead(ctx, func(context.Context) error { return errors.New("it leads") })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	nobodyLeads(t, c, l)
	// It can be had at once.
	led := errors.New("it leads")
	if err := l.lead(t.Context(), func(context.Context) error { return led }); !errors.Is(err, led) {
		t.Fatal(err)
	}
	nobodyLeads(t, c, l)
}

// A leader that gives its lock up while another looks who holds it is not shut out.
func TestLeaderThatLeavesWhileItIsLookedAt(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	a, b := leaderOf(t, c), leaderOf(t, c)
	lease := func(l *leader) *lease {
		held, err := take(t.Context(), l.io, l.log, meta.Leader, l.notified, func(error) {})
		must(t, err)
		return held
	}
	first, second := lease(a), lease(b)
	must(t, first.lock(t.Context()))
	c.Inject(fakecluster.Fault{Object: meta.Leader, Op: wire.OpListWatchers, Times: 1, Do: func(*fakecluster.Event) { first.drop() }})
	must(t, b.claim(t.Context(), second))
	second.drop()
	nobodyLeads(t, c, b)
}

// What this client itself lost track of is taken from it, without shutting it out.
func TestOwnLockThatNobodyWatchesOver(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	l := leaderOf(t, c)
	lost, err := take(t.Context(), l.io, l.log, meta.Leader, l.notified, func(error) {})
	must(t, err)
	must(t, lost.lock(t.Context()))
	must(t, lost.watch.Close(t.Context()))
	led := errors.New("it leads")
	if err := l.lead(t.Context(), func(context.Context) error { return led }); !errors.Is(err, led) {
		t.Fatal(err)
	}
	nobodyLeads(t, c, l)
}
