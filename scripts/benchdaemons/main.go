// Command benchdaemons times our rbd-mirror and Ceph's in turn on the same two
// real clusters; scripts/bench-interop starts them. Every workload is run by one
// daemon and then by the other, round by round, on an image of its own.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
)

const (
	pool      = "bench"
	fullBytes = 1 << 30
	spread    = 10 << 30 // size of the sparse image, of which every 20th object has data
	deltaSize = 64 << 20
	object    = 4 << 20
	depth     = 10
)

func main() {
	var b bench
	rounds := flag.Int("rounds", 3, "how often each daemon runs each workload")
	journals := flag.Bool("journal", false, "time journal mode instead of snapshot mode")
	flag.StringVar(&b.root, "root", "/", "where the release's own programs are installed")
	flag.StringVar(&b.binary, "binary", "", "the rbdm binary")
	flag.StringVar(&b.dirA, "a", "", "the primary cluster's folder, with its ceph.conf")
	flag.StringVar(&b.dirB, "b", "", "the secondary's")
	flag.Parse()
	if err := b.run(context.Background(), *rounds, *journals); err != nil {
		fmt.Fprintln(os.Stderr, "benchdaemons:", err)
		os.Exit(1)
	}
}

type bench struct {
	root, binary, dirA, dirB string
	a, b                     *rados.IoCtx
	images                   int
}

// result is what one run cost.
type result struct {
	firstByte, wall time.Duration
	cpu             float64 // seconds
	peak            int64   // KiB
}

func (b *bench) run(ctx context.Context, rounds int, journals bool) (err error) {
	if err := b.peer(ctx); err != nil {
		return err
	}
	if b.a, err = open(ctx, b.dirA); err != nil {
		return err
	}
	defer b.a.Client().Close()
	if b.b, err = open(ctx, b.dirB); err != nil {
		return err
	}
	defer b.b.Client().Close()
	if journals {
		return b.journals(ctx, rounds)
	}
	daemons := []string{"rbdm", "rbd-mirror"}
	results := make(map[string][]result)
	for round := range rounds {
		for i := range daemons {
			daemon := daemons[(round+i)%2]
			if err := b.round(ctx, daemon, results); err != nil {
				return fmt.Errorf("%s: %w", daemon, err)
			}
		}
		raw, err := b.raw(ctx)
		if err != nil {
			return fmt.Errorf("plain copy: %w", err)
		}
		results["full plain copy"] = append(results["full plain copy"], result{wall: raw})
	}
	print(results, daemons)
	return nil
}

func open(ctx context.Context, dir string) (*rados.IoCtx, error) {
	cfg, err := (&conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, ConfFile: filepath.Join(dir, "ceph.conf"), Explicit: true}).Load()
	if err != nil {
		return nil, err
	}
	c, err := rados.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c.OpenPool(ctx, pool)
}

// command prepares the release's own program on one cluster.
func (b *bench) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	if b.root != "/" {
		args = append([]string{"chroot", b.root}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+filepath.Join(dir, "ceph.conf"))
	return cmd
}

func (b *bench) tool(ctx context.Context, dir string, args ...string) error {
	out, err := b.command(ctx, dir, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (b *bench) ours(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+filepath.Join(dir, "ceph.conf"))
	return cmd
}

// peer makes a mirrored pool on both clusters.
func (b *bench) peer(ctx context.Context) error {
	for _, dir := range []string{b.dirA, b.dirB} {
		for _, args := range [][]string{
			{"ceph", "osd", "pool", "create", pool, "32"}, {"rbd", "pool", "init", pool},
			{"rbd", "mirror", "pool", "enable", pool, "image"},
		} {
			if err := b.tool(ctx, dir, args...); err != nil {
				return err
			}
		}
	}
	token, err := b.ours(ctx, b.dirA, "rbd", "mirror", "pool", "peer", "bootstrap", "create", "--site-name", "a", pool).Output()
	if err != nil {
		return fmt.Errorf("bootstrap create: %w", err)
	}
	path := filepath.Join(b.dirB, "token")
	if err := os.WriteFile(path, token, 0o600); err != nil {
		return err
	}
	return b.ours(ctx, b.dirB, "rbd", "mirror", "pool", "peer", "bootstrap", "import", "--site-name", "b", pool, path).Run()
}

// round runs all workloads with one daemon.
func (b *bench) round(ctx context.Context, daemon string, results map[string][]result) error {
	note := func(workload string, r result) {
		key := workload + " " + daemon
		results[key] = append(results[key], r)
		fmt.Printf("%-28s first byte %6.2f s  wall %6.2f s  cpu %5.2f s  peak %4d MiB\n", key, r.firstByte.Seconds(), r.wall.Seconds(), r.cpu, r.peak>>10)
	}
	b.images++
	full, sparse := fmt.Sprintf("full%d", b.images), fmt.Sprintf("sparse%d", b.images)
	if err := b.make(ctx, full, fullBytes, 1); err != nil {
		return err
	}
	d, err := b.start(daemon)
	if err != nil {
		return err
	}
	defer d.stop()
	r, err := b.await(ctx, d, full)
	if err != nil {
		return err
	}
	note("full", r)
	before := d.cpu()
	if err := b.change(ctx, full, d); err != nil {
		return err
	}
	if r, err = b.await(ctx, d, full); err != nil {
		return err
	}
	r.cpu -= before
	r.firstByte = 0 // it was there
	note("delta", r)
	d.stop()
	if err := b.make(ctx, sparse, spread, 20); err != nil {
		return err
	}
	if d, err = b.start(daemon); err != nil {
		return err
	}
	defer d.stop()
	if r, err = b.await(ctx, d, sparse); err != nil {
		return err
	}
	note("sparse", r)
	for _, image := range []string{full, sparse} {
		if err := b.tool(ctx, b.dirA, "rbd", "mirror", "image", "disable", pool+"/"+image); err != nil {
			return err
		}
		if err := b.tool(ctx, b.dirA, "rbd", "rm", "--no-progress", pool+"/"+image); err != nil {
			return err
		}
		if err := b.gone(ctx, image); err != nil {
			return err
		}
	}
	return nil
}

// make creates a mirrored image, every step-th object of which is full.
func (b *bench) make(ctx context.Context, name string, size uint64, step int) error {
	if _, err := rbd.Create(ctx, b.a, name, size, rbd.CreateOptions{}); err != nil {
		return err
	}
	if err := b.fill(ctx, name, 0, size, step); err != nil {
		return err
	}
	return b.tool(ctx, b.dirA, "rbd", "mirror", "image", "enable", pool+"/"+name, "snapshot")
}

// change writes new data and takes a mirror snapshot; the time counts from the
// call of rbd on, which is most of it.
func (b *bench) change(ctx context.Context, name string, d *daemon) error {
	if err := b.fill(ctx, name, fullBytes/2, deltaSize, 1); err != nil {
		return err
	}
	d.began = time.Now()
	return b.tool(ctx, b.dirA, "rbd", "mirror", "image", "snapshot", pool+"/"+name)
}

func (b *bench) fill(ctx context.Context, name string, from, size uint64, step int) error {
	img, err := rbd.Open(ctx, b.a, name, rbd.OpenOptions{})
	if err != nil {
		return err
	}
	data := make([]byte, object)
	if _, err := rand.Read(data); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(depth)
	for off := uint64(0); off < size; off += uint64(step) * object {
		g.Go(func() error {
			_, err := img.WriteAt(gctx, data, from+off)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return img.Close(ctx)
}

type daemon struct {
	cmd   *exec.Cmd
	began time.Time
	pid   int
}

func (b *bench) start(name string, extra ...string) (*daemon, error) {
	args := append([]string{"rbd-mirror", "-f", "-n", "client.admin"}, extra...)
	var cmd *exec.Cmd
	if name == "rbdm" {
		cmd = b.ours(context.Background(), b.dirB, append(args, "--checkpoints", filepath.Join(b.dirB, "checkpoints.db"))...)
	} else {
		cmd = b.command(context.Background(), b.dirB, append(args, "-c", filepath.Join(b.dirB, "ceph.conf"))...)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &daemon{cmd: cmd, began: began, pid: cmd.Process.Pid}, nil
}

func (d *daemon) stop() {
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Signal(os.Interrupt)
		_ = d.cmd.Wait()
	}
}

// cpu returns the CPU time spent so far, in seconds.
func (d *daemon) cpu() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / 100
}

// peak returns the largest resident size so far, in KiB.
func (d *daemon) peak() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n
		}
	}
	return 0
}

// await waits until the newest mirror snapshot of the primary is complete on the
// replica. The time counts from the start of the daemon or the last change.
func (b *bench) await(ctx context.Context, d *daemon, name string) (r result, err error) {
	began := d.began
	newest, err := newestPrimary(ctx, b.a, name)
	if err != nil {
		return r, err
	}
	deadline := time.Now().Add(5 * time.Minute)
	for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		img, err := rbd.Open(ctx, b.b, name, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
		if err != nil {
			continue
		}
		if r.firstByte == 0 && b.hasData(ctx, img) {
			r.firstByte = time.Since(began)
		}
		done := slices.ContainsFunc(img.Snapshots(), func(s rbd.Snapshot) bool {
			return s.Namespace.PrimarySnapID == newest && s.Namespace.Complete
		})
		_ = img.Close(ctx)
		if done {
			r.wall, r.cpu, r.peak = time.Since(began), d.cpu(), d.peak()
			return r, nil
		}
	}
	return r, fmt.Errorf("%s was not synced", name)
}

// hasData reports whether one of the first objects is there.
func (b *bench) hasData(ctx context.Context, img *rbd.Image) bool {
	_, err := b.b.Stat(ctx, "rbd_data."+img.ID()+".0000000000000000")
	return err == nil
}

func newestPrimary(ctx context.Context, io *rados.IoCtx, name string) (uint64, error) {
	img, err := rbd.Open(ctx, io, name, rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer img.Close(ctx)
	var newest uint64
	for _, s := range img.Snapshots() {
		newest = max(newest, s.ID)
	}
	return newest, nil
}

// gone waits until the replica was removed; a daemon has to run for that.
func (b *bench) gone(ctx context.Context, name string) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := rbd.LookupID(ctx, b.b, name); err != nil {
			return nil
		}
	}
	return fmt.Errorf("%s was not removed from the secondary", name)
}

// raw reads and writes as many objects as a full sync, without being a daemon.
func (b *bench) raw(ctx context.Context) (time.Duration, error) {
	data := make([]byte, object)
	if _, err := io.ReadFull(rand.Reader, data); err != nil {
		return 0, err
	}
	each := func(f func(ctx context.Context, oid string) error) error {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(depth)
		for n := range fullBytes / object {
			g.Go(func() error { return f(gctx, "raw"+strconv.Itoa(n)) })
		}
		return g.Wait()
	}
	if err := each(func(ctx context.Context, oid string) error { return b.a.WriteFull(ctx, oid, data) }); err != nil {
		return 0, err
	}
	began := time.Now()
	err := each(func(ctx context.Context, oid string) error {
		p, err := b.a.Read(ctx, oid, 0, object)
		if err != nil {
			return err
		}
		return b.b.WriteFull(ctx, oid, p)
	})
	took := time.Since(began)
	for _, io := range []*rados.IoCtx{b.a, b.b} {
		if err == nil {
			err = each(func(ctx context.Context, oid string) error { return io.Remove(ctx, oid) })
		}
	}
	return took, err
}

// print writes the medians.
func print(results map[string][]result, daemons []string) {
	median := func(rs []result, f func(result) float64) float64 {
		var v []float64
		for _, r := range rs {
			v = append(v, f(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nmedian\tfirst byte s\twall s\tcpu s\tpeak MiB\t")
	for _, workload := range []string{"full", "delta", "sparse"} {
		for _, d := range daemons {
			rs := results[workload+" "+d]
			fmt.Fprintf(w, "%s %s\t%.2f\t%.2f\t%.2f\t%.0f\t\n", workload, d,
				median(rs, func(r result) float64 { return r.firstByte.Seconds() }), median(rs, func(r result) float64 { return r.wall.Seconds() }),
				median(rs, func(r result) float64 { return r.cpu }), median(rs, func(r result) float64 { return float64(r.peak) / 1024 }))
		}
	}
	fmt.Fprintf(w, "plain copy of the full image, depth %d\t\t%.2f\t\t\t\n", depth, median(results["full plain copy"], func(r result) float64 { return r.wall.Seconds() }))
	w.Flush()
}
