//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	volatileProgress = regexp.MustCompile(`(\r[A-Z][A-Za-z ]*: \d+% complete\.\.\.)+\r`)
	volatileLog      = regexp.MustCompile(`\d{4}-\d\d-\d\dT\S+ [0-9a-f]+ +-1 .*\n?`)
	volatileDate     = regexp.MustCompile(`[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d \d{4}`)
	volatileID       = regexp.MustCompile(`\b[0-9a-f]{11,20}\b|\b\d+[a-f][0-9a-f]{5,18}\b|\bid: [0-9a-f]{6,}|rbd_data\.[0-9a-f]{6,}|"id":"[0-9a-f]{6,}"|client\.\d+|127\.0\.0\.1:0/\d+|"17\d{8}"|\b17\d{8}\b`)
	volatileUUID     = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	volatileExpiry   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+\d{4}`)
	volatileBlanks   = regexp.MustCompile(` {2,}|\n+`)
	trashName        = regexp.MustCompile(`TRASH:(\w+)`)
)

// steady replaces what differs from run to run: ids, times, addresses, the log
// lines of librbd and how often progress was printed.
func steady(text, pool string) string {
	text = strings.ReplaceAll(text, pool, "POOL")
	text = volatileProgress.ReplaceAllString(text, "\r")
	text = volatileLog.ReplaceAllString(text, "\n")
	text = volatileDate.ReplaceAllString(text, "DATE")
	text = volatileExpiry.ReplaceAllString(volatileUUID.ReplaceAllString(text, "UUID"), "TIME")
	text = volatileID.ReplaceAllString(text, "ID")
	return volatileBlanks.ReplaceAllStringFunc(text, func(s string) string { return s[:1] })
}

// words joins what is left of stderr without librbd's log lines, which begin and
// end anywhere in it.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// newPool makes a pool for the test's time.
func (s *site) newPool(t *testing.T, pool string) string {
	t.Helper()
	s.real(t, "ceph", "osd", "pool", "create", pool, "8")
	s.real(t, "rbd", "pool", "init", pool)
	t.Cleanup(func() {
		s.command(context.Background(), "ceph", "osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it").Run()
	})
	return pool
}

// outcome runs one line in a pool and returns its steady output and exit code.
func (s *site) outcome(t *testing.T, pool, line string, command func(context.Context, ...string) *exec.Cmd) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	line = trashName.ReplaceAllStringFunc(strings.ReplaceAll(line, "POOL", pool), func(m string) string {
		for entry := range strings.Lines(s.real(t, "rbd", "trash", "ls", "--all", pool)) {
			if id, name, _ := strings.Cut(strings.TrimSpace(entry), " "); name == m[len("TRASH:"):] {
				return id
			}
		}
		return "missing"
	})
	cmd := command(ctx, append([]string{"rbd"}, strings.Fields(line)...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", line, err)
	}
	said := strings.ReplaceAll(words(steady(errs.String(), pool)), " : ", ": ") // where a log line was
	return fmt.Sprintf("%s\nstderr: %s\nexit %d", steady(out.String(), pool), said, cmd.ProcessState.ExitCode())
}
