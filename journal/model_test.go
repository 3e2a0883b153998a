package journal

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
)

// owner is one life of the journal's owner: it replays, takes a tag and records
// until it dies.
type owner struct {
	tag      uint64
	appended int // entries, numbered from 0
	safe     int // of which so many were acknowledged
}

// live is the life of an owner on a client of its own, which is blocklisted and
// cut off in the end.
func live(t *testing.T, c *fakecluster.Cluster, rnd *rand.Rand, before []owner) owner {
	p := poolOf(t, c)
	j, err := Open(t.Context(), p, "x", "", quick())
	must(t, err)
	pl, err := j.NewPlayer(t.Context(), PlayerOptions{})
	must(t, err)
	all, err := drain(pl)
	must(t, err)
	must(t, pl.Close())
	checkPlayed(t, all, before, "owner")
	for _, e := range all {
		e.Committed()
	}
	must(t, j.FlushCommitPosition(t.Context()))
	tag, err := j.AllocateTag(t.Context(), 0, nil)
	must(t, err)
	r, err := j.NewRecorder(t.Context())
	must(t, err)
	r.SetBatch(rnd.IntN(3)*5, rnd.IntN(2)*2000, 0)
	o := owner{tag: tag.TID}
	ctx, die := context.WithCancel(t.Context())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 + rnd.IntN(150) {
		f, err := r.Append(ctx, o.tag, payload(o.tag, o.appended, 30+rnd.IntN(300)))
		must(t, err)
		o.appended++
		wg.Go(func() {
			if f.Wait(ctx) == nil {
				mu.Lock()
				o.safe = max(o.safe, int(f.EntryTID())+1)
				mu.Unlock()
			}
		})
		if rnd.IntN(10) == 0 {
			_ = f.Wait(ctx)
		}
		if rnd.IntN(40) == 0 {
			c.DropConnections("")
		}
		if rnd.IntN(3) == 0 {
			f.Committed()
		}
	}
	if rnd.IntN(4) == 0 {
		must(t, r.Flush(ctx))
	}
	c.Blocklist(p.Client().Addr(), time.Hour)
	die()
	wg.Wait()
	_ = p.Client().Close()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.Close(ended)
	_ = j.Close(ended)
	return o
}

// checkPlayed fails unless the entries are, for every owner whose entries are
// among them, in sequence up to at least the last acknowledged one.
func checkPlayed(t *testing.T, all []*Entry, owners []owner, who string) {
	t.Helper()
	for i, e := range all {
		if !bytes.HasPrefix(e.Data, payload(e.TagTID, int(e.EntryTID), 0)) {
			t.Fatalf("%s: %d/%d is %.20q", who, e.TagTID, e.EntryTID, e.Data)
		}
		if i > 0 && (e.TagTID < all[i-1].TagTID || e.TagTID == all[i-1].TagTID && e.EntryTID != all[i-1].EntryTID+1) {
			t.Fatalf("%s: %s", who, played(all))
		}
	}
	last := map[uint64]uint64{}
	for _, e := range all {
		last[e.TagTID] = e.EntryTID + 1
	}
	for _, o := range owners {
		if n, ok := last[o.tag]; ok && n < uint64(o.safe) {
			t.Fatalf("%s: %d entries of tag %d, %d were acknowledged", who, n, o.tag, o.safe)
		}
	}
}

// TestOwnersThatDie lets owners of a journal die at random moments, one after the
// other, with connections that break, while a peer tails. The peer gets exactly
// what was acknowledged and perhaps some of what was under way.
func TestOwnersThatDie(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c, p := fakePool(t)
	j := create(t, p, "x", Layout{Order: 12, SplayWidth: uint8(1 + rnd.IntN(4)), Pool: -1})
	must(t, j.Close(t.Context()))
	peer := open(t, poolOf(t, c), "x", "peer", quick())
	must(t, peer.Register(t.Context(), nil))
	tail := player(t, peer, PlayerOptions{Tail: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []*Entry
	var failure error
	end := make(chan struct{})
	const lives = 8
	go func() {
		defer close(end)
		for {
			e, err := tail.Next(ctx)
			if err != nil {
				failure = err
				return
			}
			if e.TagTID == lives+1 {
				return
			}
			got = append(got, e)
			e.Committed()
		}
	}()
	var owners []owner
	for range lives {
		owners = append(owners, live(t, c, rnd, owners))
	}
	last := open(t, poolOf(t, c), "x", "", quick())
	all, err := drain(player(t, last, PlayerOptions{}))
	must(t, err)
	checkPlayed(t, all, owners, "last owner")
	tag, err := last.AllocateTag(t.Context(), 0, nil)
	must(t, err)
	if tag.TID != lives+1 {
		t.Fatal(tag)
	}
	_, err = recorder(t, last).Append(t.Context(), tag.TID, []byte("end"))
	must(t, err)
	select {
	case <-end:
	case <-time.After(20 * time.Second):
		cancel()
		<-end
		t.Fatal("the peer did not come to the end: ", played(got))
	}
	must(t, failure)
	checkPlayed(t, got, owners, "peer")
	n := map[uint64]int{}
	for _, e := range got {
		n[e.TagTID]++
	}
	for _, o := range owners {
		if n[o.tag] < o.safe || n[o.tag] > o.appended {
			t.Fatalf("%d entries of tag %d, %d of %d were acknowledged", n[o.tag], o.tag, o.safe, o.appended)
		}
	}
	if len(peer.CommitPosition()) == 0 || peer.CommitPosition()[0] != got[len(got)-1].Position() {
		t.Fatal(fmt.Sprint(peer.CommitPosition()), got[len(got)-1].Position())
	}
}
