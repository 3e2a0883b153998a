// Command benchcli times commands of the release's own rbd and of ours in turn on
// one real cluster, and prints a table: the median of the wall times, of the CPU
// seconds and of the memory.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	pool     = "benchcli"
	mirrored = "benchcli-mirrored"
	images   = 1000
	// big is the size of the image that is exported and imported.
	big = 1 << 30
)

// bench is one run of this program.
type bench struct {
	root, dir, binary string
	rounds            int
}

func main() {
	b := &bench{}
	flag.StringVar(&b.root, "root", "/", "root of the release's own tools")
	flag.StringVar(&b.dir, "dir", "", "folder of the cluster, with its ceph.conf")
	flag.StringVar(&b.binary, "binary", "", "rbdm")
	flag.IntVar(&b.rounds, "rounds", 7, "how often each command is run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := b.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchcli:", err)
		os.Exit(1)
	}
}

func (b *bench) real(ctx context.Context, args ...string) *exec.Cmd {
	if b.root != "/" {
		args = append([]string{"chroot", b.root}, args...)
	}
	return b.env(exec.CommandContext(ctx, args[0], args[1:]...))
}

func (b *bench) ours(ctx context.Context, args ...string) *exec.Cmd {
	return b.env(exec.CommandContext(ctx, b.binary, args...))
}

func (b *bench) env(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), "CEPH_CONF="+filepath.Join(b.dir, "ceph.conf"))
	return cmd
}

// task is a command that is timed; between two runs, after is run with ours.
type task struct {
	title string
	args  []string
	after []string
}

func (b *bench) run(ctx context.Context) error {
	if err := b.fill(ctx); err != nil {
		return fmt.Errorf("fill the pools: %w", err)
	}
	raw, out := filepath.Join(b.dir, "bench.raw"), filepath.Join(b.dir, "bench.out")
	defer os.Remove(raw)
	defer os.Remove(out)
	tasks := []task{
		{title: "`rbd --version`", args: []string{"--version"}},
		{title: "`rbd ls`, 3 images", args: []string{"ls", pool}},
		{title: "`rbd ls`, 1,000 images", args: []string{"ls", mirrored}},
		{title: "`rbd info`", args: []string{"info", pool + "/sparse"}},
		{title: "`mirror pool status --verbose`, 1,000 images", args: []string{"mirror", "pool", "status", "--verbose", mirrored}},
		{title: "`export` of 1 GiB", args: []string{"export", "--no-progress", pool + "/big", out}, after: []string{"remove", out}},
		{title: "`import` of 1 GiB", args: []string{"import", "--no-progress", raw, pool + "/new"}, after: []string{"rm", "--no-progress", pool + "/new"}},
		{title: "`du`, 100 GiB, fast-diff", args: []string{"du", pool + "/sparse"}},
		{title: "`diff`, 100 GiB, fast-diff", args: []string{"diff", "--whole-object", pool + "/sparse"}},
		{title: "`diff --from-snap`, 100 GiB, fast-diff", args: []string{"diff", "--whole-object", "--from-snap", "s", pool + "/sparse"}},
	}
	fmt.Println("| Command | rbd | ours | | CPU rbd | CPU ours | MiB rbd | MiB ours |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|")
	for _, t := range tasks {
		if err := b.time(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.title, err)
		}
	}
	return nil
}

// fill makes what the commands are about: an image full of noise, a large one
// with little in it, and a pool of mirrored images.
func (b *bench) fill(ctx context.Context) error {
	steps := [][]string{}
	for _, p := range []string{pool, mirrored} {
		steps = append(steps, []string{"ceph", "osd", "pool", "create", p, "8"}, []string{"rbd", "pool", "init", p})
	}
	steps = append(steps, []string{"rbd", "mirror", "pool", "enable", mirrored, "image"}, []string{"rbd", "create", "--size", "100G", pool + "/sparse"},
		[]string{"rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-size", "64K", "--io-total", "32M", pool + "/sparse"},
		[]string{"rbd", "snap", "create", "--no-progress", pool + "/sparse@s"},
		[]string{"rbd", "bench", "--io-type", "write", "--io-pattern", "rand", "--io-size", "64K", "--io-total", "8M", pool + "/sparse"},
		[]string{"rbd", "create", "--size", "1G", pool + "/empty"})
	for _, s := range steps {
		if out, err := b.real(ctx, s...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", s, err, out)
		}
	}
	if err := noise(filepath.Join(b.dir, "bench.raw")); err != nil {
		return err
	}
	if out, err := b.ours(ctx, "rbd", "import", "--no-progress", filepath.Join(b.dir, "bench.raw"), pool+"/big").CombinedOutput(); err != nil {
		return fmt.Errorf("import: %w: %s", err, out)
	}
	var wg sync.WaitGroup
	var errs [4]error
	for w := range errs {
		wg.Go(func() {
			for i := w; i < images && errs[w] == nil; i += len(errs) {
				name := fmt.Sprintf("%s/image-%04d", mirrored, i)
				for _, args := range [][]string{{"rbd", "create", "--size", "1G", name}, {"rbd", "mirror", "image", "enable", name, "snapshot"}} {
					if out, err := b.ours(ctx, args...).CombinedOutput(); err != nil {
						errs[w] = fmt.Errorf("%v: %w: %s", args, err, out)
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// noise writes the file that is imported.
func noise(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var seed [32]byte
	rng := rand.NewChaCha8(seed)
	p := make([]byte, 4<<20)
	for range big / len(p) {
		if _, err := rng.Read(p); err != nil {
			return err
		}
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	return f.Close()
}

// figures are what one run took.
type figures struct {
	wall, cpu time.Duration
	rss       int64 // bytes
}

func (b *bench) time(ctx context.Context, t task) error {
	var got [2][]figures
	for range b.rounds {
		for i, command := range []func(context.Context, ...string) *exec.Cmd{b.real, b.ours} {
			f, err := measure(command(ctx, append([]string{"rbd"}, t.args...)...))
			if err != nil {
				return err
			}
			got[i] = append(got[i], f)
			switch {
			case len(t.after) == 0:
			case t.after[0] == "remove":
				os.Remove(t.after[1])
			default:
				if out, err := b.ours(ctx, append([]string{"rbd"}, t.after...)...).CombinedOutput(); err != nil {
					return fmt.Errorf("%v: %w: %s", t.after, err, out)
				}
			}
		}
	}
	r, o := median(got[0]), median(got[1])
	fmt.Printf("| %s | %s | %s | %.1f× | %s | %s | %d | %d |\n", t.title, seconds(r.wall), seconds(o.wall), float64(r.wall)/float64(o.wall),
		seconds(r.cpu), seconds(o.cpu), r.rss>>20, o.rss>>20)
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// measure runs a command. The release's rbd crashes now and then as it ends; it is
// run again then.
func measure(cmd *exec.Cmd) (f figures, err error) {
	for range 5 {
		run := *cmd
		var errs strings.Builder
		run.Stderr = &errs
		began := time.Now()
		err = run.Run()
		f.wall = time.Since(began)
		if err == nil {
			usage := run.ProcessState.SysUsage().(*syscall.Rusage)
			f.cpu = run.ProcessState.UserTime() + run.ProcessState.SystemTime()
			f.rss = int64(usage.Maxrss) << 10
			return f, nil
		}
		err = fmt.Errorf("%w: %s", err, errs.String())
		if !strings.Contains(err.Error(), "signal") {
			return f, err
		}
	}
	return f, err
}

// median takes each figure's median by itself.
func median(all []figures) (m figures) {
	middle := func(of func(figures) int64) int64 {
		v := make([]int64, len(all))
		for i, f := range all {
			v[i] = of(f)
		}
		slices.SortFunc(v, cmp.Compare[int64])
		return v[len(v)/2]
	}
	m.wall = time.Duration(middle(func(f figures) int64 { return int64(f.wall) }))
	m.cpu = time.Duration(middle(func(f figures) int64 { return int64(f.cpu) }))
	m.rss = middle(func(f figures) int64 { return f.rss })
	return m
}
