package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
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
	f := pflag.NewFlagSet("rbdm fakeceph", pflag.ContinueOnError)
	f.SetOutput(std.Err)
	name := f.String("name", "ceph", "name of the cluster, and of the files in --dir")
	osds := f.Int("osds", 3, "number of OSDs")
	mons := f.Int("mons", 1, "number of monitors")
	release := f.Int("release", 20, "behave like Ceph 16, 18 or 20")
	keyType := f.String("key-type", "", "type of the keys: aes or aes256k (default: as new clusters of the release)")
	listen := f.String("listen", "127.0.0.1", "address to listen on; a port is ignored, every daemon takes a free one")
	pools := f.StringArray("pool", nil, "make a replicated pool for RBD; may be repeated")
	erasure := f.StringArray("erasure-pool", nil, "make an erasure coded pool with overwrites; may be repeated")
	dir := f.String("dir", ".", "directory for NAME.conf and NAME.client.admin.keyring")
	mode := f.String("mode", "", "connection mode to insist on: crc or secure (default: as clients wish)")
	socket := f.String("control", "", "path of a Unix socket that takes commands to make faults")
	verbose := f.Bool("verbose", false, "log to standard error")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	opts := []fakecluster.Option{
		fakecluster.Name(*name), fakecluster.OSDs(*osds), fakecluster.Mons(*mons), fakecluster.Release(*release),
		fakecluster.Listen(*listen), fakecluster.Pools(*pools...), fakecluster.ErasurePools(*erasure...),
	}
	switch *keyType {
	case "":
	case "aes":
		opts = append(opts, fakecluster.KeyType(cephx.KeyAES))
	case "aes256k":
		opts = append(opts, fakecluster.KeyType(cephx.KeyAES256K))
	default:
		return fmt.Errorf("--key-type %q is neither aes nor aes256k", *keyType)
	}
	switch *mode {
	case "":
	case "crc":
		opts = append(opts, fakecluster.Modes(msgr2.ModeCRC))
	case "secure":
		opts = append(opts, fakecluster.Modes(msgr2.ModeSecure))
	default:
		return fmt.Errorf("--mode %q is neither crc nor secure", *mode)
	}
	if *verbose {
		opts = append(opts, fakecluster.WithLogger(slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	c, err := fakecluster.Start(ctx, opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	path, err := c.ConfFile(abs)
	if err != nil {
		return err
	}
	if *socket != "" {
		l, err := listenControl(*socket)
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { (&control{c: c}).serve(ctx, l) })
	}
	fmt.Fprintf(std.Out, "ready name=%s fsid=%s conf=%s mon_host=%s\n", c.Name(), c.FSID(), path, c.MonHost())
	giveBack(ctx, c)
	return nil
}

// giveBack returns memory to the system when much of what was stored has been
// removed, until ctx is done: the runtime alone would keep it for long.
func giveBack(ctx context.Context, c *fakecluster.Cluster) {
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
		now := c.StoredBytes()
		if most = max(most, now); most-now >= worth {
			debug.FreeOSMemory()
			most = now
		}
	}
}
