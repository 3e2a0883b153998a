package rbdcmd

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// style is how a cell of a screen looks.
type style uint8

const (
	reversed style = 1 << iota
	bold
	// lines says that the character is one of the terminal's set for drawing.
	lines
)

type cell struct {
	char  byte
	style style
}

// screen is what a terminal shows: text is put into its cells, and draw sends the
// rows that are not as they were drawn last. The sequences are those of ECMA-48
// and xterm, which every terminal of today knows.
type screen struct {
	out        io.Writer
	rows, cols int
	cells      []cell
	drawn      []cell // what the terminal shows; nil if that is not known
	row, col   int
	now        style
}

// openScreen takes over the terminal: what it showed comes back at close.
func openScreen(out io.Writer) *screen {
	io.WriteString(out, "\x1b[?1049h\x1b[?25l\x1b[?1h")
	return &screen{out: out}
}

// close gives the terminal back.
func (s *screen) close() {
	fmt.Fprintf(s.out, "\x1b[%d;1H\x1b[m\x1b[?25h\x1b[?1l\x1b[?1049l", max(s.rows, 1))
}

// clear makes all cells blank, in the size that the terminal has now.
func (s *screen) clear(rows, cols int) {
	if rows != s.rows || cols != s.cols {
		s.rows, s.cols, s.drawn = rows, cols, nil
		s.cells = make([]cell, rows*cols)
	}
	for i := range s.cells {
		s.cells[i] = cell{char: ' '}
	}
	s.move(0, 0)
	s.now = 0
}

// move says where text goes on.
func (s *screen) move(row, col int) { s.row, s.col = row, col }

// put writes text, which goes on in the next row where one ends. What does not
// fit is left out; a byte that is no printable character is a question mark.
func (s *screen) put(text string) {
	for i := range len(text) {
		if s.col >= s.cols {
			s.row, s.col = s.row+1, 0
		}
		if s.row < 0 || s.row >= s.rows || s.col < 0 {
			return
		}
		c := text[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		s.cells[s.row*s.cols+s.col] = cell{c, s.now}
		s.col++
	}
}

// draw brings the terminal up to date.
func (s *screen) draw() error {
	var b strings.Builder
	if s.drawn == nil {
		b.WriteString("\x1b[m\x1b[2J")
		s.drawn = make([]cell, len(s.cells))
		for i := range s.drawn {
			s.drawn[i] = cell{char: ' '}
		}
	}
	for r := range s.rows {
		row, was := s.cells[r*s.cols:(r+1)*s.cols], s.drawn[r*s.cols:(r+1)*s.cols]
		first, last := differ(row, was)
		if first == last {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;%dH", r+1, first+1)
		now := style(0)
		for _, c := range row[first:last] {
			if c.style != now {
				now = c.style
				b.WriteString(now.sequence())
			}
			b.WriteByte(c.char)
		}
		if now != 0 {
			b.WriteString(style(0).sequence())
		}
		copy(was, row)
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

// differ returns the bounds of what differs in two rows; they are equal when
// nothing does.
func differ(a, b []cell) (first, last int) {
	last = len(a)
	for first < last && a[first] == b[first] {
		first++
	}
	for last > first && a[last-1] == b[last-1] {
		last--
	}
	return first, last
}

// sequence switches to a style, whatever was before.
func (s style) sequence() string {
	text := "\x1b(B\x1b[0"
	if s&bold != 0 {
		text += ";1"
	}
	if s&reversed != 0 {
		text += ";7"
	}
	text += "m"
	if s&lines != 0 {
		text += "\x1b(0"
	}
	return text
}

// defaultScreen is the size of a terminal that does not tell it.
func defaultScreen() (rows, cols int) {
	size := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 && n <= 4096 {
			return n
		}
		return otherwise
	}
	return size("LINES", 24), size("COLUMNS", 80)
}
