package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
)

// fakecephMain runs clusters in memory until it is told to end.
func fakecephMain(ctx context.Context, args []string, std streams.Streams) int {
	err := fakeceph(ctx, args, std)
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	fmt.Fprintf(std.Err, "rbdm fakeceph: %v\n", err)
	return 1
}

func fakeceph(ctx context.Context, args []string, std streams.Streams) error {
	var k fakecephOptions
	f := k.flags()
	f.SetOutput(std.Err)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return err
	}
	abs, err := filepath.Abs(k.dir)
	if err != nil {
		return err
	}
	clusters, err := k.start(ctx, f, std)
	defer clusters.close()
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, at := range clusters {
		path, err := at.c.ConfFile(abs)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "ready name=%s fsid=%s conf=%s mon_host=%s seed=%d\n", at.c.Name(), at.c.FSID(), path, at.c.MonHost(), at.c.Seed())
	}
	if k.socket != "" {
		l, err := listenControl(k.socket)
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { clusters.serve(ctx, l) })
	}
	_, _ = io.WriteString(std.Out, lines.String())
	giveBack(ctx, clusters.stored)
	if k.save != "" {
		return writeFile(k.save, clusters.save)
	}
	return nil
}

// fakecephOptions are the options of the command line.
type fakecephOptions struct {
	keyType, listen, dir, mode, socket, save, load string
	osds, mons, release                            int
	names, pools, erasure                          []string
	seed                                           uint64
	election                                       time.Duration
	verbose                                        bool
}

func (k *fakecephOptions) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("rbdm fakeceph", pflag.ContinueOnError)
	f.StringArrayVar(&k.names, "name", []string{"ceph"}, "name of the cluster, and of the files in --dir; several make a cluster each")
	f.IntVar(&k.osds, "osds", 3, "number of OSDs")
	f.IntVar(&k.mons, "mons", 1, "number of monitors")
	f.DurationVar(&k.election, "election", 0, "how long the monitors take to elect when one comes or goes")
	f.IntVar(&k.release, "release", 20, "behave like Ceph 16, 18 or 20")
	f.StringVar(&k.keyType, "key-type", "", "type of the keys: aes or aes256k (default: as new clusters of the release)")
	f.StringVar(&k.listen, "listen", "127.0.0.1", "address to listen on; a port is ignored, every daemon takes a free one")
	f.StringArrayVar(&k.pools, "pool", nil, "make a replicated pool for RBD; may be repeated")
	f.StringArrayVar(&k.erasure, "erasure-pool", nil, "make an erasure coded pool with overwrites, of 3 OSDs at least; may be repeated")
	f.StringVar(&k.dir, "dir", ".", "directory for NAME.conf and NAME.client.admin.keyring")
	f.StringVar(&k.mode, "mode", "", "connection mode to insist on: crc or secure (default: as clients wish)")
	f.StringVar(&k.socket, "control", "", "path of a Unix socket that takes commands to make faults")
	f.StringVar(&k.save, "save", "", "file to which the whole state is saved at the end")
	f.StringVar(&k.load, "load", "", "file of a saved state to begin with; it also says which clusters there are and what they are made of")
	f.Uint64Var(&k.seed, "seed", 0, "what faults with a chance decide by, to repeat a run (default: random; the ready line tells)")
	f.BoolVar(&k.verbose, "verbose", false, "log to standard error")
	return f
}

// options returns what a cluster is told. With --load, what is not given is as it
// was saved.
func (k *fakecephOptions) options(f *pflag.FlagSet, std streams.Streams) ([]fakecluster.Option, error) {
	opts := []fakecluster.Option{
		fakecluster.Listen(k.listen), fakecluster.Pools(k.pools...), fakecluster.ErasurePools(k.erasure...), fakecluster.ElectionTime(k.election),
	}
	for name, opt := range map[string]fakecluster.Option{
		"osds": fakecluster.OSDs(k.osds), "mons": fakecluster.Mons(k.mons), "release": fakecluster.Release(k.release), "seed": fakecluster.Seed(k.seed),
	} {
		if f.Changed(name) || k.load == "" && name != "seed" {
			opts = append(opts, opt)
		}
	}
	switch k.keyType {
	case "":
	case "aes":
		opts = append(opts, fakecluster.KeyType(cephx.KeyAES))
	case "aes256k":
		opts = append(opts, fakecluster.KeyType(cephx.KeyAES256K))
	default:
		return nil, fmt.Errorf("--key-type %q is neither aes nor aes256k", k.keyType)
	}
	switch k.mode {
	case "":
	case "crc":
		opts = append(opts, fakecluster.Modes(msgr2.ModeCRC))
	case "secure":
		opts = append(opts, fakecluster.Modes(msgr2.ModeSecure))
	default:
		return nil, fmt.Errorf("--mode %q is neither crc nor secure", k.mode)
	}
	if k.verbose {
		opts = append(opts, fakecluster.WithLogger(slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	}
	return opts, nil
}

// start starts all clusters, and returns those that it could start.
func (k *fakecephOptions) start(ctx context.Context, f *pflag.FlagSet, std streams.Streams) (started clusters, _ error) {
	opts, err := k.options(f, std)
	if err != nil {
		return nil, err
	}
	// They are saved before they end: ctx must not end them.
	ctx = context.WithoutCancel(ctx)
	begin := make([]func(...fakecluster.Option) (*fakecluster.Cluster, error), len(k.names))
	for i := range begin {
		begin[i] = func(opts ...fakecluster.Option) (*fakecluster.Cluster, error) { return fakecluster.Start(ctx, opts...) }
	}
	named := f.Changed("name") || k.load == ""
	if k.load != "" {
		file, err := os.Open(k.load)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		saved, err := savedClusters(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.load, err)
		}
		if named && len(saved) != len(k.names) {
			return nil, fmt.Errorf("%d --name for %d clusters in %s", len(k.names), len(saved), k.load)
		}
		begin = begin[:0]
		for _, r := range saved {
			begin = append(begin, func(opts ...fakecluster.Option) (*fakecluster.Cluster, error) {
				c, err := fakecluster.Load(ctx, r, opts...)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", k.load, err)
				}
				return c, nil
			})
		}
	}
	for i, start := range begin {
		at := &control{clock: fakecluster.NewRunningClock()}
		opts := append(slices.Clone(opts), fakecluster.WithClock(at.clock))
		if named {
			opts = append(opts, fakecluster.Name(k.names[i]))
		}
		if at.c, err = start(opts...); err != nil {
			return started, err
		}
		started = append(started, at)
		if started.named(at.c.Name()) != at {
			return started, fmt.Errorf("two clusters of the name %s", at.c.Name())
		}
	}
	return started, nil
}

// writeFile writes a file that is the old one or the new one but never half of it.
// Only its owner may read it: a saved cluster holds all keys.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// giveBack returns memory to the system when much of what was stored has been
// removed, until ctx is done: the runtime alone would keep it for long.
func giveBack(ctx context.Context, stored func() uint64) {
	const (
		period = 5 * time.Second
		worth  = 256 << 20
	)
	tick := time.NewTicker(period)
	defer tick.Stop()
	var most uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stored()
		if most = max(most, now); most-now >= worth {
			debug.FreeOSMemory()
			most = now
		}
	}
}
