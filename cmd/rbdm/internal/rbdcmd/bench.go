package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// benchPlan is what `rbd bench` is asked for.
type benchPlan struct {
	kind          string // read, write or readwrite
	ioSize, total uint64 // bytes
	threads       int
	pattern       string // as it is printed
	mixRead       int    // percent of readwrite
	fill          func([]byte)
}

// benchPlan reads the options; kind is what is done if they do not say it.
func (c *call) benchPlan(kind string) (p benchPlan, err error) {
	p = benchPlan{kind: kind, ioSize: 4096, total: 1 << 30, threads: 16, pattern: "sequential", mixRead: 50, fill: fillRandom}
	if c.Has("io-type") {
		if p.kind = map[string]string{"read": "read", "write": "write", "readwrite": "readwrite", "rw": "readwrite"}[c.String("io-type")]; p.kind == "" {
			return p, badOption("io-type")
		}
	}
	for _, o := range []struct {
		name string
		to   *uint64
	}{{"io-size", &p.ioSize}, {"io-total", &p.total}} {
		if c.Has(o.name) {
			if *o.to, err = cli.ParseSize(c.String(o.name), 1); err != nil {
				return p, badOption(o.name)
			}
		}
	}
	for _, o := range []struct {
		name string
		to   *int
	}{{"io-threads", &p.threads}, {"rw-mix-read", &p.mixRead}} {
		if c.Has(o.name) {
			n, err := cli.ParseUint32(c.String(o.name))
			if err != nil {
				return p, &cli.UsageError{Code: exitGeneral, Msg: fmt.Sprintf("rbd: the argument ('%s') for option '--%s' is invalid", c.String(o.name), o.name)}
			}
			*o.to = int(n)
		}
	}
	if c.Has("io-pattern") {
		if p.pattern = map[string]string{"rand": "random", "seq": "sequential", "full-seq": "full sequential"}[c.String("io-pattern")]; p.pattern == "" {
			return p, badOption("io-pattern")
		}
	}
	if c.Has("pattern-byte") {
		if p.fill, err = patternByte(c.String("pattern-byte")); err != nil {
			return p, err
		}
	}
	return p, nil
}

// check refuses what cannot be run.
func (p *benchPlan) check() error {
	switch {
	case p.kind == "":
		return invalidf("rbd: --io-type must be specified.")
	case p.ioSize == 0:
		return invalidf("rbd: --io-size should be greater than zero.")
	case p.threads == 0:
		return invalidf("rbd: --io-threads should be greater than zero.")
	case p.mixRead > 100:
		return invalidf("rbd: --rw-mix-read should not be larger than 100.")
	}
	return nil
}

func fillRandom(b []byte) { fillAll(b, byte(rand.IntN(256))) }

func fillAll(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// patternByte returns what fills a buffer: one value, one at random, or random
// letters.
func patternByte(text string) (func([]byte), error) {
	switch text {
	case "rand":
		return fillRandom, nil
	case "rand-str":
		return func(b []byte) {
			const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			for i := range b {
				b[i] = letters[rand.IntN(len(letters))]
			}
		}, nil
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return nil, badOption("pattern-byte")
	}
	return func(b []byte) { fillAll(b, byte(n)) }, nil
}

// bench is `rbd bench`.
func bench(ctx context.Context, c *call) error { return runBench(ctx, c, "") }

// benchWrite is `rbd bench-write`, the old words for it.
func benchWrite(ctx context.Context, c *call) error {
	c.warnf("rbd: bench-write is deprecated, use rbd bench --io-type write ...")
	return runBench(ctx, c, "write")
}

func runBench(ctx context.Context, c *call, kind string) (err error) {
	plan, err := c.benchPlan(kind)
	if err != nil {
		return err
	}
	at := specArg{}
	if plan.kind == "read" {
		at.snap = snapOptional
	}
	s, err := at.read(c.Invocation)
	if err != nil {
		return err
	}
	if err := plan.check(); err != nil {
		return err
	}
	img, err := c.image(ctx, s, rbd.OpenOptions{ReadOnly: plan.kind == "read"})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	if img.Size() < plan.ioSize {
		c.warnf("rbd: io-size %s larger than image size %s", cli.ByteSize(plan.ioSize), cli.ByteSize(img.Size()))
		return failed(rados.ErrInvalid, "bench failed")
	}
	if plan.kind != "read" {
		if err := c.benchWritable(ctx, img); err != nil {
			return err
		}
	}
	r := &benchRun{call: c, benchPlan: plan, img: img}
	if err := r.run(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		c.printf("%s: %s\n", r.failure(), errnoText(err))
		return &cli.UsageError{Code: exitCode(err), Err: err}
	}
	return nil
}

// benchWritable takes the lock, without which rbd fails at once as it flushes. What
// keeps the lock from a site that is not primary by the journal has another number
// there.
func (c *call) benchWritable(ctx context.Context, img *rbd.Image) error {
	if img.Features()&rbd.FeatureExclusiveLock == 0 || img.Features()&rbd.FeatureNonPrimary != 0 {
		return nil
	}
	err := img.AcquireLock(ctx)
	if err == nil {
		err = img.Flush(ctx) // from here on a journal may collect entries
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, rados.ErrReadOnly) && img.Features()&rbd.FeatureJournaling != 0 {
		err = rados.ErrPermission
	}
	c.warnf("rbd: failed to flush: %s", errnoText(err))
	return failed(err, "bench failed")
}

// benchRun is a benchmark that runs.
type benchRun struct {
	*call
	benchPlan
	img *rbd.Image

	ops, reads atomic.Uint64 // that are done
	failedRead atomic.Bool
	began      time.Time
}

func (r *benchRun) failure() string {
	if r.failedRead.Load() {
		return "read error"
	}
	return "write error"
}

func (r *benchRun) run(ctx context.Context) error {
	r.printf("bench  type %s", r.kind)
	if r.kind == "readwrite" {
		r.printf(" read:write=%d:%d", r.mixRead, 100-r.mixRead)
	}
	r.printf(" io_size %d io_threads %d bytes %d pattern %s\n", r.ioSize, r.threads, r.total, r.pattern)
	r.printf("  SEC       OPS   OPS/SEC   BYTES/SEC\n")
	payload := make([]byte, r.ioSize)
	r.fill(payload)
	r.began = time.Now()
	var shown sync.WaitGroup
	stop := make(chan struct{})
	shown.Go(func() { r.show(stop) })
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.threads)
	next := r.offsets()
	for done := uint64(0); done < r.total && gctx.Err() == nil; done += r.ioSize {
		off := next()
		group.Go(func() error { return r.one(gctx, off, payload) })
	}
	err := group.Wait()
	if err == nil && r.kind != "read" {
		err = r.img.Flush(ctx)
	}
	close(stop)
	shown.Wait()
	if err != nil {
		return err
	}
	r.summary(time.Since(r.began))
	return nil
}

// offsets returns what yields the places to read or write, one after the other.
func (r *benchRun) offsets() func() uint64 {
	slots := r.img.Size() / r.ioSize
	if r.pattern == "random" {
		return func() uint64 { return rand.Uint64N(slots) * r.ioSize }
	}
	// Sequential streams begin at different places, one for each thread; a full
	// sequential one goes from the beginning to the end.
	streams := uint64(1)
	if r.pattern == "sequential" {
		streams = min(uint64(r.threads), slots)
	}
	length := slots / streams
	n := uint64(0)
	return func() uint64 {
		stream, at := n%streams, n/streams%length
		n++
		return (stream*length + at) * r.ioSize
	}
}

// one carries out one operation.
func (r *benchRun) one(ctx context.Context, off uint64, payload []byte) error {
	read := r.kind == "read" || r.kind == "readwrite" && rand.IntN(100) < r.mixRead
	if read {
		if _, err := r.img.Read(ctx, off, r.ioSize); err != nil {
			r.failedRead.Store(true)
			return err
		}
		r.reads.Add(1)
	} else if err := r.img.WriteData(ctx, off, msgr2.NewData(payload)); err != nil {
		return err
	}
	r.ops.Add(1)
	return nil
}

// show prints a line every second until stop.
func (r *benchRun) show(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, since := uint64(0), r.began
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			ops := r.ops.Load()
			rate := float64(ops-last) / now.Sub(since).Seconds()
			r.printf("%5d  %8d  %8s  %8s/s\n", int(now.Sub(r.began).Seconds()), ops, significant(rate), r.bytes(rate))
			last, since = ops, now
		}
	}
}

func (r *benchRun) bytes(opsPerSecond float64) string {
	return cli.ByteSize(uint64(opsPerSecond * float64(r.ioSize)))
}

// significant prints a number as C++ streams do, with six digits.
func significant(v float64) string { return fmt.Sprintf("%.6g", v) }

func (r *benchRun) summary(took time.Duration) {
	seconds := max(took.Seconds(), 1e-6)
	ops, reads := r.ops.Load(), r.reads.Load()
	line := func(prefix string, n uint64) {
		rate := float64(n) / seconds
		r.printf("%sops: %d   %sops/sec: %s   %sbytes/sec: %s/s\n", prefix, n, prefix, significant(rate), prefix, r.bytes(rate))
	}
	r.printf("elapsed: %d   ", int(took.Seconds()))
	line("", ops)
	if r.kind == "readwrite" {
		line("read_", reads)
		line("write_", ops-reads)
	}
}
