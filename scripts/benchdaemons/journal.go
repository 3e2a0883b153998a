package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

const (
	journaledBytes = 256 << 20
	rawDepth       = 32
	// Both daemons tell the primary's journal every second how far they are: what is
	// measured is not how long they wait with it (5 s by default).
	commitAge = "--rbd_mirror_journal_commit_age=1"
)

// queues are what is written while no daemon runs. librbd makes one entry of a write
// of 4 KiB, and several of one of 64 KiB (rbd_journal_max_payload_bytes).
var queues = []struct {
	name   string
	writes int
	size   int
}{{"4K", 20000, 4 << 10}, {"64K", 2000, 64 << 10}}

// replay is what the replay of a queue cost.
type replay struct {
	wall   time.Duration // from the daemon's start until the last entry was committed
	rate   float64       // writes a second, the daemon's start included
	cpu    float64       // seconds of CPU a write, the same
	status time.Duration // after the last commit, until the status is true
}

// journals times replay in journal mode.
func (b *bench) journals(ctx context.Context, rounds int) error {
	daemons := []string{"rbdm", "rbd-mirror"}
	syncs, replays, raw := map[string][]float64{}, map[string][]replay{}, map[string][]float64{}
	for round := range rounds {
		for i := range daemons {
			if err := b.journalRound(ctx, daemons[(round+i)%2], syncs, replays); err != nil {
				return fmt.Errorf("%s: %w", daemons[(round+i)%2], err)
			}
		}
		for _, q := range queues {
			rate, err := b.overwrite(ctx, q.size, q.writes)
			if err != nil {
				return fmt.Errorf("plain overwrites: %w", err)
			}
			fmt.Printf("%-4s plain overwrites %24.0f/s\n", q.name, rate)
			raw[q.name] = append(raw[q.name], rate)
		}
	}
	printJournals(daemons, syncs, replays, raw)
	return nil
}

// journalRound copies an image for the first time, and replays the queues.
func (b *bench) journalRound(ctx context.Context, daemon string, syncs map[string][]float64, replays map[string][]replay) error {
	b.images++
	name := fmt.Sprintf("journal%d", b.images)
	if _, err := rbd.Create(ctx, b.a, name, journaledBytes, rbd.CreateOptions{}); err != nil {
		return err
	}
	if err := b.fill(ctx, name, 0, journaledBytes, 1); err != nil {
		return err
	}
	if err := b.tool(ctx, b.dirA, "rbd", "mirror", "image", "enable", pool+"/"+name, "journal"); err != nil {
		return err
	}
	id, err := rbd.LookupID(ctx, b.a, name)
	if err != nil {
		return err
	}
	d, err := b.start(daemon, commitAge)
	if err != nil {
		return err
	}
	defer func() { d.stop() }()
	took, err := b.firstCopy(ctx, id, d.began)
	if err != nil {
		return err
	}
	syncs[daemon] = append(syncs[daemon], took.Seconds())
	fmt.Printf("%-4s %-10s first copy wall %6.2f s  cpu %5.2f s\n", "", daemon, took.Seconds(), d.cpu())
	for _, q := range queues {
		d.stop()
		if err := b.queue(ctx, name, q.size, q.writes); err != nil {
			return err
		}
		if d, err = b.start(daemon, commitAge); err != nil {
			return err
		}
		r, err := b.replayed(ctx, d, id, name, q.writes)
		if err != nil {
			return err
		}
		fmt.Printf("%-4s %-10s wall %6.2f s  %5.0f writes/s  %4.0f us of CPU each  status %5.2f s late\n", q.name, daemon, r.wall.Seconds(), r.rate, r.cpu*1e6, r.status.Seconds())
		if err := b.same(ctx, name); err != nil {
			return err
		}
		replays[q.name+" "+daemon] = append(replays[q.name+" "+daemon], r)
	}
	if err := b.tool(ctx, b.dirA, "rbd", "mirror", "image", "disable", pool+"/"+name); err != nil {
		return err
	}
	if err := b.gone(ctx, name); err != nil {
		return err
	}
	return b.tool(ctx, b.dirA, "rbd", "rm", "--no-progress", pool+"/"+name)
}

// queue writes without a daemon.
func (b *bench) queue(ctx context.Context, name string, size, n int) error {
	return b.tool(ctx, b.dirA, "rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-threads", "32",
		"--io-size", fmt.Sprint(size), "--io-total", fmt.Sprint(size*n), pool+"/"+name)
}

// firstCopy waits until the replica's site says in the journal that it has copied.
func (b *bench) firstCopy(ctx context.Context, id string, began time.Time) (time.Duration, error) {
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		state, err := journal.ReadState(ctx, b.a, id)
		if err != nil {
			return 0, err
		}
		for _, c := range state.Clients {
			var data jwire.ClientData
			r := denc.NewReader(c.Data)
			if data.Decode(r); r.Err() != nil {
				return 0, r.Err()
			}
			// The C++ daemon registers as if it had copied, before there is an image.
			if data.Kind == jwire.ClientMirrorPeer && data.ImageID != "" && data.State == jwire.PeerReplaying {
				return time.Since(began), nil
			}
		}
	}
	return 0, fmt.Errorf("%s was not copied", id)
}

// positions returns the newest entries that the owner and the peer have committed.
func (b *bench) positions(ctx context.Context, id string) (owner, peer jwire.ObjectPosition, err error) {
	state, err := journal.ReadState(ctx, b.a, id)
	if err != nil {
		return owner, peer, err
	}
	for _, c := range state.Clients {
		switch {
		case len(c.Commit) == 0:
		case c.ID == "":
			owner = c.Commit[0]
		default:
			peer = c.Commit[0]
		}
	}
	return owner, peer, nil
}

// replayed waits until the peer has committed what the owner has.
func (b *bench) replayed(ctx context.Context, d *daemon, id, name string, writes int) (r replay, err error) {
	owner, _, err := b.positions(ctx, id)
	if err != nil {
		return r, err
	}
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, peer, err := b.positions(ctx, id)
		if err != nil {
			return r, err
		}
		if peer == owner {
			break
		}
		if time.Now().After(deadline) {
			return r, fmt.Errorf("%s was not replayed", name)
		}
	}
	ended := time.Now()
	r.wall = ended.Sub(d.began)
	r.rate, r.cpu = float64(writes)/r.wall.Seconds(), d.cpu()/float64(writes)
	r.status, err = b.statusTrue(ctx, name, owner, ended)
	return r, err
}

// same fails if the replica differs.
func (b *bench) same(ctx context.Context, name string) error {
	var images [2]*rbd.Image
	for i, io := range []*rados.IoCtx{b.a, b.b} {
		img, err := rbd.Open(ctx, io, name, rbd.OpenOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer img.Close(ctx)
		images[i] = img
	}
	return parallel(ctx, journaledBytes/object, depth, func(ctx context.Context, i int) error {
		var p [2][object]byte
		for k, img := range images {
			if _, err := img.ReadAt(ctx, p[k][:], uint64(i)*object); err != nil {
				return err
			}
		}
		if p[0] != p[1] {
			return fmt.Errorf("object %d of %s differs", i, name)
		}
		return nil
	})
}

// statusTrue waits until the status shows where the replica is.
func (b *bench) statusTrue(ctx context.Context, name string, at jwire.ObjectPosition, since time.Time) (time.Duration, error) {
	want := fmt.Sprintf(`"non_primary_position":{"entry_tid":%d,"object_number":%d,"tag_tid":%d}`, at.EntryTID, at.Object, at.TagTID)
	var out []byte
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		if out, err = b.ours(ctx, b.dirB, "rbd", "mirror", "image", "status", "--format", "json", pool+"/"+name).Output(); err != nil {
			continue
		}
		var status struct{ Description string }
		if err := json.Unmarshal(out, &status); err != nil {
			return 0, err
		}
		if strings.Contains(status.Description, want) && strings.Contains(status.Description, `"entries_behind_primary":0`) {
			return time.Since(since), nil
		}
	}
	return 0, fmt.Errorf("the status never said %s: %s", want, out)
}

// overwrite returns how many writes of size bytes a second the secondary cluster
// takes of us, over objects that exist.
func (b *bench) overwrite(ctx context.Context, size, n int) (float64, error) {
	const objects = journaledBytes / object
	name := func(i int) string { return fmt.Sprintf("overwritten%d", i) }
	if err := parallel(ctx, objects, depth, func(ctx context.Context, i int) error {
		return b.b.WriteFull(ctx, name(i), make([]byte, object))
	}); err != nil {
		return 0, err
	}
	data := make([]byte, size)
	began := time.Now()
	err := parallel(ctx, n, rawDepth, func(ctx context.Context, i int) error {
		return b.b.Write(ctx, name(rand.IntN(objects)), uint64(rand.IntN(object/size)*size), data)
	})
	rate := float64(n) / time.Since(began).Seconds()
	if err == nil {
		err = parallel(ctx, objects, depth, func(ctx context.Context, i int) error { return b.b.Remove(ctx, name(i)) })
	}
	return rate, err
}

// parallel calls f for 0 to n-1, so many at a time.
func parallel(ctx context.Context, n, most int, f func(ctx context.Context, i int) error) error {
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for range most {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || gctx.Err() != nil {
					return gctx.Err()
				}
				if err := f(gctx, i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// printJournals writes the medians.
func printJournals(daemons []string, syncs map[string][]float64, replays map[string][]replay, raw map[string][]float64) {
	median := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	of := func(rs []replay, f func(replay) float64) float64 {
		var v []float64
		for _, r := range rs {
			v = append(v, f(r))
		}
		return median(v)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nmedian\twall s\twrites/s\tCPU us/write\tstatus late s\t")
	for _, d := range daemons {
		fmt.Fprintf(w, "first copy %s\t%.2f\t\t\t\t\n", d, median(syncs[d]))
	}
	for _, q := range queues {
		for _, d := range daemons {
			rs := replays[q.name+" "+d]
			fmt.Fprintf(w, "%d x %s %s\t%.2f\t%.0f\t%.0f\t%.2f\t\n", q.writes, q.name, d,
				of(rs, func(r replay) float64 { return r.wall.Seconds() }), of(rs, func(r replay) float64 { return r.rate }),
				of(rs, func(r replay) float64 { return r.cpu * 1e6 }), of(rs, func(r replay) float64 { return r.status.Seconds() }))
		}
		fmt.Fprintf(w, "%d x %s plain overwrites, depth %d\t\t%.0f\t\t\t\n", q.writes, q.name, rawDepth, median(raw[q.name]))
	}
	w.Flush()
}
