package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
)

// topTitles are the titles of the columns of `perf image iotop`, in the order of
// statDescriptors.
var topTitles = [...]string{"WRITES OPS", "READS OPS", "WRITE BYTES", "READ BYTES", "WRITE LAT", "READ LAT"}

const (
	topColumnWidth = 12
	topWaiting     = "Waiting for initial stats"
)

// keyboard is where iotop's keys come from, and whose screen they belong to.
type keyboard interface {
	// size returns the rows and columns that the terminal has now.
	size() (rows, cols int)
	// key waits a moment for a key; it returns 0 if none came.
	key() key
	// close gives the terminal back to lines.
	close()
}

type key int

const (
	keyNone key = iota
	keyLeft
	keyRight
	keyQuit
	keyOther
)

// perfIotop is `rbd perf image iotop`: a screen of the images that are busiest,
// which lives until q is pressed.
func perfIotop(ctx context.Context, c *call) error {
	s, err := poolSpec(c.Invocation)
	if err != nil {
		return err
	}
	if _, err := c.connect(ctx); err != nil {
		return err
	}
	if os.Getenv("TERM") == "" {
		return &cli.UsageError{Code: exitGeneral, Msg: `ncurses: cannot initialize terminal type ($TERM="unknown"); exiting`}
	}
	keys, err := openKeyboard(c.std)
	if err != nil {
		return failed(err, "rbd: error preparing the terminal")
	}
	top := &iotop{call: c, keys: keys, pool: c.statsPool(s), screen: openScreen(c.std.Out)}
	err = top.run(ctx)
	top.screen.close()
	keys.close()
	var usage *cli.UsageError
	switch {
	case ctx.Err() != nil: // as ncurses answers a signal
		return &cli.UsageError{Code: exitGeneral}
	case errors.As(err, &usage):
		return &cli.UsageError{Code: usage.Code, Msg: usage.Msg + "\n", Err: err}
	}
	return err
}

// iotop is what `perf image iotop` shows.
type iotop struct {
	*call
	keys   keyboard
	screen *screen
	pool   string // whose images; "" is all of them

	stats   []imageStats
	sortBy  int // index of statDescriptors
	waiting waitingBox
}

// waitingBox is shown until there are figures, and never again.
type waitingBox struct {
	open, opened bool
	row, col     int
}

func (t *iotop) run(ctx context.Context) error {
	if err := t.redraw(); err != nil {
		return err
	}
	for {
		out, err := t.mgrCommand(ctx, "rbd perf image stats", "rbd: mgr command", mgrArgs{"pool_spec": t.pool, "sort_by": statDescriptors[t.sortBy].name})
		if err != nil {
			return err
		}
		if t.stats, err = parseStats(out); err != nil {
			return err
		}
		if err := t.redraw(); err != nil {
			return err
		}
		switch t.wait(ctx) {
		case keyQuit:
			return nil
		case keyLeft:
			t.sortBy = max(t.sortBy-1, 0)
		case keyRight:
			t.sortBy = min(t.sortBy+1, len(statDescriptors)-1)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// wait returns the next key, or none once the figures can have changed. The screen
// follows the terminal's size meanwhile.
func (t *iotop) wait(ctx context.Context) key {
	until := time.Now().Add(t.statsPeriod())
	for ctx.Err() == nil && time.Now().Before(until) {
		if k := t.keys.key(); k != keyNone {
			return k
		}
		if rows, cols := t.keys.size(); rows != t.screen.rows || cols != t.screen.cols {
			if t.redraw() != nil {
				return keyQuit
			}
		}
	}
	return keyNone
}

func (t *iotop) redraw() error {
	rows, cols := t.keys.size()
	s := t.screen
	s.clear(rows, cols)
	s.now = reversed
	s.put(strings.Repeat(" ", cols))
	s.move(0, 0)
	room := cols // for an image's name, as rbd reckons it: it forgets the blanks
	for i, title := range topTitles {
		mark := " "
		if s.now = reversed; i == t.sortBy {
			mark, s.now = ">", reversed|bold
		}
		s.put(fmt.Sprintf("%*s ", topColumnWidth, mark+title))
		room -= len(mark + title)
	}
	s.now = reversed
	s.put("IMAGE")
	s.now = 0
	for i, image := range t.stats[:min(len(t.stats), max(rows-1, 0))] {
		s.move(1+i, 0)
		for j, v := range image.figures {
			text := figure(j, v)
			s.put(fmt.Sprintf("%*s ", topColumnWidth, text[:min(len(text), topColumnWidth)]))
		}
		name := image.image
		if t.pool == "" {
			name = spec{Pool: image.pool, Namespace: image.namespace, Image: image.image}.String()
		}
		if room >= 0 && room < len(name) {
			name = name[:room]
		}
		s.put(name)
	}
	t.waiting.put(s, len(t.stats) == 0)
	return s.draw()
}

// put draws the box while there is nothing else to be shown.
func (w *waitingBox) put(s *screen, empty bool) {
	const height, width = 5, len(topWaiting) + 4
	if empty && !w.opened {
		w.open, w.opened = true, true
		w.row, w.col = (s.rows-height)/2, (s.cols-width)/2
	}
	if w.open = w.open && empty; !w.open || w.row < 0 || w.col < 0 {
		return
	}
	edge := func(row int, left, middle, right string) {
		s.move(w.row+row, w.col)
		s.now = lines
		s.put(left)
		if middle == "q" {
			s.put(strings.Repeat(middle, width-2))
		} else {
			s.now = 0
			s.put(fmt.Sprintf("%-*s", width-2, middle))
			s.now = lines
		}
		s.put(right)
		s.now = 0
	}
	edge(0, "l", "q", "k")
	edge(1, "x", "", "x")
	edge(2, "x", " "+topWaiting, "x")
	edge(3, "x", "", "x")
	edge(4, "m", "q", "j")
}

// keyOf returns which key the bytes that a terminal sent stand for.
func keyOf(b []byte) (k key, rest []byte) {
	switch {
	case len(b) == 0:
		return keyNone, nil
	case len(b) >= 3 && b[0] == '\x1b' && (b[1] == '[' || b[1] == 'O'):
		switch b[2] {
		case 'D':
			return keyLeft, b[3:]
		case 'C':
			return keyRight, b[3:]
		}
		return keyOther, b[3:]
	}
	switch b[0] {
	case 'q', 'Q':
		return keyQuit, b[1:]
	case '<':
		return keyLeft, b[1:]
	case '>':
		return keyRight, b[1:]
	}
	return keyOther, b[1:]
}
