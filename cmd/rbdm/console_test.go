package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// consoleStep is a command of a document and what the document shows of its
// output: whole lines, in which * stands for anything, and ... for any number of
// lines.
type consoleStep struct {
	line    int
	command string
	input   string // of a here-document
	shown   []string
}

// consoleSteps reads the commands in a document's blocks of kind "console". A
// command begins with "$ " and may go on behind a backslash.
func consoleSteps(t *testing.T, path string) []consoleStep {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var steps []consoleStep
	inside, document := false, ""
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case !inside:
			inside = line == "```console"
		case line == "```":
			inside = false
		case document != "":
			last := &steps[len(steps)-1]
			if line == document {
				document = ""
			} else {
				last.input += line + "\n"
			}
		case strings.HasPrefix(line, "$ "):
			command := line[2:]
			if head, tail, ok := strings.Cut(command, "<<"); ok {
				word, rest, _ := strings.Cut(tail, " ")
				document, command = word, head+rest
			}
			steps = append(steps, consoleStep{line: i + 1, command: command})
		case len(steps) == 0:
			t.Fatalf("%s:%d: output without a command", path, i+1)
		case strings.HasSuffix(steps[len(steps)-1].command, `\`):
			last := &steps[len(steps)-1]
			last.command = strings.TrimSuffix(last.command, `\`) + strings.TrimSpace(line)
		default:
			last := &steps[len(steps)-1]
			last.shown = append(last.shown, line)
		}
	}
	return steps
}

// console runs a document's commands in a folder with the files site-a.conf and
// site-b.conf.
type console struct {
	t    *testing.T
	dir  string
	rbd  func(ctx context.Context, args []string, std streams.Streams) int
	seen map[string]string // what a uuid of the document is here, by site
	// daemons end when the test does.
	daemons sync.WaitGroup
	ctx     context.Context
}

// consoleWait is how long what a document shows may take to come true.
const consoleWait = 60 * time.Second

// newConsole changes into the folder; the daemons that the document starts end
// with the test.
func newConsole(t *testing.T, dir string) *console {
	t.Helper()
	t.Chdir(dir)
	text, err := os.ReadFile("site-b.conf")
	if err == nil {
		err = os.WriteFile("ceph.conf", text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CEPH_CONF", "CEPH_ARGS", "CEPH_KEYRING"} {
		t.Setenv(name, "")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	c := &console{t: t, dir: dir, ctx: ctx, seen: make(map[string]string)}
	c.rbd = func(ctx context.Context, args []string, std streams.Streams) int { return dispatch(ctx, args, std) }
	t.Cleanup(func() {
		cancel()
		c.daemons.Wait()
	})
	return c
}

// run carries out the steps of a document.
func (c *console) run(path string) {
	c.t.Helper()
	for _, s := range consoleSteps(c.t, path) {
		began := time.Now()
		if err := c.step(s); err != nil {
			c.t.Fatalf("%s:%d: $ %s\n%v", filepath.Base(path), s.line, s.command, err)
		}
		c.t.Logf("%s:%d: %.1fs: %s", filepath.Base(path), s.line, time.Since(began).Seconds(), s.command)
	}
}

var (
	consoleUUID  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	consoleWords = regexp.MustCompile(`'[^']*'|[^' ]+`)
	peerUUID     = regexp.MustCompile(`(?m)^UUID: (` + consoleUUID.String() + `)$`)
)

// step runs a command. One that only looks is repeated until it prints what the
// document shows.
func (c *console) step(s consoleStep) error {
	args, target := c.words(s.command)
	if args[0] == "rbd-mirror" {
		return c.daemon(args)
	}
	deadline := time.Now().Add(consoleWait)
	for {
		out, err := c.command(args, s.input)
		if target != "" {
			if err == nil {
				err = os.WriteFile(filepath.Join(c.dir, target), []byte(out), 0o600)
			}
			return err
		}
		for _, m := range peerUUID.FindAllStringSubmatch(out, -1) {
			c.seen[siteOf(args)] = m[1]
		}
		if err == nil && len(s.shown) > 0 {
			err = shows(out, s.shown)
		}
		if err == nil || !looks(args) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// words splits a command and takes its redirection off. A uuid stands for the
// peer's that the site showed last.
func (c *console) words(command string) (args []string, target string) {
	for _, w := range consoleWords.FindAllString(command, -1) {
		args = append(args, strings.Trim(w, "'"))
	}
	if at := slices.Index(args, ">"); at >= 0 {
		args, target = args[:at], args[at+1]
	}
	for i, a := range args {
		if consoleUUID.MatchString(a) && len(a) == 36 {
			args[i] = c.seen[siteOf(args)]
		}
	}
	return args, target
}

// siteOf is the cluster that a command is for.
func siteOf(args []string) string {
	if at := slices.Index(args, "--cluster"); at >= 0 && at+1 < len(args) {
		return args[at+1]
	}
	return "site-b"
}

// looks reports whether a command changes nothing.
func looks(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return slices.Contains([]string{"status", "info", "ls", "list", "export", "du"}, a)
	})
}

func (c *console) command(args []string, input string) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, consoleWait)
	defer cancel()
	switch args[0] {
	case "cat":
		return input, nil
	case "cmp":
		a, err := os.ReadFile(args[1])
		b, err2 := os.ReadFile(args[2])
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			return "", fmt.Errorf("%s and %s differ: %v, %v", args[1], args[2], err, err2)
		}
		return "", nil
	case "ceph":
		return c.ceph(ctx, args[1:])
	case "rbd":
	default:
		return "", fmt.Errorf("no program %s", args[0])
	}
	var out, errs bytes.Buffer
	if code := c.rbd(ctx, args, streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); code != 0 {
		return out.String(), fmt.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	return out.String(), nil
}

// daemon starts a mirroring daemon. On its own it would go into the background.
func (c *console) daemon(args []string) error {
	name := fmt.Sprintf("daemon-%s", siteOf(args))
	args = append(args, "-f", "--checkpoints", filepath.Join(c.dir, name+".db"), "--admin-socket", filepath.Join(c.dir, name+".asok"))
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		return err
	}
	c.daemons.Go(func() {
		defer log.Close()
		std := streams.Streams{In: strings.NewReader(""), Out: log, Err: log}
		if code := dispatch(c.ctx, args, std); code != 0 && c.ctx.Err() == nil {
			c.t.Errorf("%v: exit code %d", args, code)
		}
	})
	return nil
}

// ceph sends a command to the monitors, as the program ceph would.
func (c *console) ceph(ctx context.Context, args []string) (string, error) {
	inv, rest, err := conf.ParseArgs(args, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	if err != nil {
		return "", err
	}
	cfg, err := inv.Load()
	if err != nil {
		return "", err
	}
	client, err := rados.Connect(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer client.Close()
	cmd := map[string]any{}
	switch words := strings.Join(rest, " "); {
	case strings.HasPrefix(words, "osd pool create "):
		cmd["prefix"], cmd["pool"] = "osd pool create", rest[3]
	case strings.HasPrefix(words, "auth get-or-create "):
		cmd["prefix"], cmd["entity"], cmd["caps"] = "auth get-or-create", rest[2], rest[3:]
	case strings.HasPrefix(words, "auth rm "):
		cmd["prefix"], cmd["entity"] = "auth rm", rest[2]
	case strings.HasPrefix(words, "config set "):
		cmd["prefix"], cmd["who"], cmd["name"], cmd["value"] = "config set", rest[2], rest[3], rest[4]
	default:
		return "", fmt.Errorf("no command %q", words)
	}
	out, status, err := client.MonCommand(ctx, cmd, nil)
	if err != nil {
		text, _ := json.Marshal(cmd)
		return "", fmt.Errorf("%s: %s: %w", text, status, err)
	}
	return string(out), nil
}

// shows reports whether an output is what a document shows.
func shows(out string, shown []string) error {
	var b strings.Builder
	for _, line := range shown {
		line = strings.TrimRight(line, " ")
		if line == "..." {
			b.WriteString(`(?:.*\n)*`)
			continue
		}
		parts := strings.Split(line, "*")
		for i, p := range parts {
			if i > 0 {
				b.WriteString(`.*`)
			}
			b.WriteString(regexp.QuoteMeta(p))
		}
		b.WriteString(` *\n`)
	}
	if !regexp.MustCompile(`^` + b.String() + `\n*$`).MatchString(out) {
		return fmt.Errorf("prints\n%s\nbut is to show\n%s", out, strings.Join(shown, "\n"))
	}
	return nil
}
