package cli

import (
	"fmt"
	"io"
	"strings"
)

// Align says where a column's text stands.
type Align int

// The two alignments.
const (
	Left Align = iota
	Right
)

// TextTable prints columns as Ceph's TextTable does (src/common/TextTable.cc):
// as wide as the widest cell, two blanks between, every cell padded.
type TextTable struct {
	heads []column
	rows  [][]string
}

type column struct {
	name        string
	head, align Align
}

// Column adds a column with a heading.
func (t *TextTable) Column(name string, head, align Align) {
	t.heads = append(t.heads, column{name, head, align})
}

// Row adds one line of cells.
func (t *TextTable) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Len returns how many rows there are.
func (t *TextTable) Len() int { return len(t.rows) }

// Write prints the headings and the rows.
func (t *TextTable) Write(w io.Writer) {
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		widths[i] = len(h.name)
		for _, r := range t.rows {
			if i < len(r) {
				widths[i] = max(widths[i], len(r[i]))
			}
		}
	}
	var b strings.Builder
	line := func(cell func(i int) (string, Align)) {
		for i, width := range widths {
			text, align := cell(i)
			if i > 0 {
				b.WriteString("  ")
			}
			if align == Right {
				fmt.Fprintf(&b, "%*s", width, text)
			} else {
				fmt.Fprintf(&b, "%-*s", width, text)
			}
		}
		b.WriteByte('\n')
	}
	line(func(i int) (string, Align) { return t.heads[i].name, t.heads[i].head })
	for _, r := range t.rows {
		line(func(i int) (string, Align) {
			if i >= len(r) {
				return "", t.heads[i].align
			}
			return r[i], t.heads[i].align
		})
	}
	io.WriteString(w, b.String())
}
