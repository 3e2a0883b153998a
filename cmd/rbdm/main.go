// Command rbdm is RBD mirroring in one static binary. The name it is called by,
// or else its first word, says what it is: rbd (the commands), rbd-mirror (the
// daemon), or one of its own words, which `rbdm help` lists.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/daemoncmd"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/democmd"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/rbdcmd"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

func main() {
	ctx, stop := signalContext()
	code := dispatch(ctx, os.Args, streams.Std())
	if got := stop(); got != nil && code == rbdcmd.ExitInterrupted {
		endBy(got)
	}
	os.Exit(code)
}

// signalContext returns a context that the first signal cancels, which asks for an
// orderly end; a second one ends the program at once. stop returns the first one.
func signalContext() (_ context.Context, stop func() os.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan os.Signal)
	go func() {
		got := <-signals
		signal.Stop(signals)
		cancel()
		done <- got
	}()
	return ctx, func() os.Signal {
		signal.Stop(signals)
		select {
		case got := <-done:
			return got
		case signals <- nil: // nothing came: the goroutine ends
			return <-done
		}
	}
}

// program is one of the things that the binary can be.
type program struct {
	name, summary string
	run           func(ctx context.Context, args []string, std streams.Streams) int
}

func programs() []program {
	return []program{
		{"demo", "mirroring on two in-memory clusters, to see it work", democmd.Main},
		{"rbd", "the commands of Ceph's rbd", rbdcmd.Main},
		{"rbd-mirror", "the mirroring daemon", daemoncmd.New(rbdcmd.Version(), rbdcmd.ShortVersion())},
		{"fakeceph", "a Ceph cluster in memory, for tests and trials", fakecephMain},
	}
}

// dispatch runs the program that argv names and returns the exit code.
func dispatch(ctx context.Context, argv []string, std streams.Streams) int {
	called := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	for _, p := range programs() {
		if called == p.name {
			return p.run(ctx, argv[1:], std)
		}
	}
	if len(argv) < 2 || argv[1] == "help" || argv[1] == "--help" || argv[1] == "-h" {
		usage(std.Out)
		return 0
	}
	for _, p := range programs() {
		if argv[1] == p.name {
			return p.run(ctx, argv[2:], std)
		}
	}
	if argv[1] == "--version" || argv[1] == "version" {
		fmt.Fprintln(std.Out, rbdcmd.Version())
		return 0
	}
	fmt.Fprintf(std.Err, "rbdm: no program %q: `rbdm help` lists what there is\n", argv[1])
	return 1
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: rbdm PROGRAM ...\n\nRBD mirroring in one binary. A link named like a program runs it.\n\n")
	for _, p := range programs() {
		fmt.Fprintf(w, "  %-12s %s\n", p.name, p.summary)
	}
}
