// Package rbdcmd is the rbd program: the commands of Ceph's rbd with the same
// words, output and exit codes (release 20.2; src/tools/rbd). What they do is in
// packages rbd and mirror; here they are read from a command line and printed.
package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

// Main runs one command line and returns the exit code.
func Main(ctx context.Context, args []string, std streams.Streams) int {
	table := cli.NewTable()
	for _, a := range args {
		switch a {
		case "-h", "--help":
			table.Help(std.Out)
			return 0
		case "-v", "--version":
			fmt.Fprintln(std.Out, Version())
			return 0
		case "--":
		default:
			continue
		}
		break
	}
	inv, rest, err := conf.ParseArgs(args, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	if errors.Is(err, conf.ErrNoArgument) {
		return fail(std, table, &cli.UsageError{Code: exitGeneral, Msg: "O" + err.Error()[1:] + "."})
	}
	if err != nil {
		return fail(std, table, &cli.UsageError{Code: exitGeneral, Msg: strings.TrimPrefix(err.Error(), conf.ErrName.Error()+": ")})
	}
	c := &call{std: std, inv: inv}
	if hasUser(args) {
		c.deprecated("--user", "--id")
	}
	err = execute(ctx, table, rest, c)
	if ctx.Err() != nil && interrupted(err) {
		return ExitInterrupted // rbd does not catch the signal: it says nothing more
	}
	code := fail(std, table, err)
	for _, line := range c.atEnd {
		fmt.Fprintln(std.Err, line)
	}
	return code
}

// hasUser reports whether the entity is given as --user, which rbd calls deprecated.
func hasUser(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.ContainsFunc(args, func(a string) bool { return a == "--user" || strings.HasPrefix(a, "--user=") })
}

// ExitInterrupted is the exit code of a command that was given up because its
// context ended.
const ExitInterrupted = 130

// interrupted reports whether a command that failed did so because it was given up.
func interrupted(err error) bool {
	var usage *cli.UsageError
	return err != nil && (!errors.As(err, &usage) || usage.Err != nil && errors.Is(usage.Err, context.Canceled))
}

// fail prints the error as rbd does and returns its exit code.
func fail(std streams.Streams, table *cli.Table, err error) int {
	var usage *cli.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		if usage.Msg != "" {
			fmt.Fprintln(std.Err, usage.Msg)
		}
		if usage.ShowHelp {
			fmt.Fprintln(std.Err)
			table.Help(std.Out)
		}
		return usage.Code
	}
	fmt.Fprintf(std.Err, "rbd: %v\n", err)
	return exitCode(err)
}

func execute(ctx context.Context, table *cli.Table, args []string, c *call) error {
	std := c.std
	words := table.CommandWords(args)
	if len(words) == 0 {
		table.Help(std.Out)
		return nil
	}
	if words[0] == completionCommand {
		return printCompletion(std.Out)
	}
	if words[0] == "help" {
		return help(table, words[1:], std)
	}
	if len(words) > 1 && slices.Contains(hiddenCommands(), words[0]+" "+words[1]) {
		return &cli.UsageError{Code: exitNotSupported, Msg: fmt.Sprintf("rbd: '%s %s' is not part of rbdm", words[0], words[1])}
	}
	in, err := table.Parse(args)
	if err != nil {
		return err
	}
	run := handlers()[in.Command.Words]
	if run == nil {
		return &cli.UsageError{Code: exitNotSupported, Msg: fmt.Sprintf("rbd: '%s' is not part of rbdm", in.Command.Words)}
	}
	c.Invocation = in
	defer c.close()
	return run(ctx, c)
}

func help(table *cli.Table, words []string, std streams.Streams) error {
	if len(words) == 0 {
		table.Help(std.Out)
		return nil
	}
	_, err := table.Parse(words)
	c, n := table.Find(words)
	if c == nil {
		return err
	}
	if n < len(words) {
		return &cli.UsageError{Code: exitGeneral, Msg: fmt.Sprintf("error: unknown option '%s'", words[n]), ShowHelp: true}
	}
	c.Help(std.Out, strings.Join(words[:n], " "))
	return nil
}

// Version returns the line that --version prints.
func Version() string {
	return "rbdm version " + moduleVersion() + " (compatible with ceph 16.2, 18.2, 20.2)"
}

// ShortVersion returns the version as one word, as the cluster's service map shows
// it among those of Ceph's own daemons.
func ShortVersion() string { return "rbdm-" + strings.Trim(moduleVersion(), "()") }

func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
