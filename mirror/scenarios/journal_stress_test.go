package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// process is a client of a cluster that can die.
type process struct {
	s      *site
	client *rados.Client
	img    *rbd.Image
}

// process starts a client of its own that has an image open.
func (s *site) process(spec string) *process {
	s.w.Helper()
	client, err := rados.Connect(s.w.ctx, s.cfg)
	require.NoError(s.w, err)
	s.w.Cleanup(func() { client.Close() })
	io, err := client.OpenPool(s.w.ctx, pool)
	require.NoError(s.w, err)
	img, err := rbd.Open(s.w.ctx, io, base(spec), rbd.OpenOptions{})
	require.NoError(s.w, err)
	return &process{s: s, client: client, img: img}
}

// die ends the process at once: nothing of what it does arrives any more.
func (p *process) die() {
	p.s.block(p.client.Addr())
}

// bury frees what the dead process has.
func (p *process) bury() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.img.Close(ctx)
	_ = p.client.Close()
}

func TestScenario45WritersCrashJournal(t *testing.T) {
	w := mirroredByJournal(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range 10 {
		p := w.a.process(image)
		ctx, cancel := context.WithCancel(w.ctx)
		acked := make(chan struct{})
		var writers sync.WaitGroup
		for i := range 4 {
			rnd := rand.New(rand.NewPCG(seed, uint64(10*round+i)))
			writers.Go(func() {
				for scribbleOnce(ctx, p.img, rnd) == nil {
					select {
					case acked <- struct{}{}:
					case <-ctx.Done():
					}
				}
			})
		}
		for range 20 + rand.New(rand.NewPCG(seed, uint64(round))).IntN(40) {
			<-acked
		}
		p.die()
		cancel()
		writers.Wait()
		p.bury()
		// The next one to take the lock applies what is in the journal.
		w.a.snap(image, fmt.Sprint("snap", round))
		w.synced(w.a, w.b, image)
	}
}

// scribbleOnce makes one random change.
func scribbleOnce(ctx context.Context, img *rbd.Image, rnd *rand.Rand) error {
	size := img.Size()
	off := rnd.Uint64N(size)
	n := min(1+rnd.Uint64N(3<<(order-1)), size-off)
	if rnd.IntN(6) == 0 {
		return img.Discard(ctx, off, n)
	}
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	_, err := img.WriteAt(ctx, p, off)
	return err
}
