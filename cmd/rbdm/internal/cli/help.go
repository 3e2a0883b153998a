package cli

import (
	"fmt"
	"io"
	"strings"
)

// The geometry of rbd's help (src/tools/rbd/OptionPrinter.h, Shell.cc).
const (
	lineWidth     = 80
	minNameWidth  = 20
	maxNameWidth  = 37
	listNameWidth = 34
)

// globalOptions are those that every command takes, as the help shows them.
var globalOptions = [...]Text{
	{"-c [ --conf ] arg", "path to cluster configuration"},
	{"--cluster arg", "cluster name"},
	{"--id arg", "client id (without 'client.' prefix)"},
	{"-n [ --name ] arg", "client name"},
	{"-m [ --mon_host ] arg", "monitor host"},
	{"-K [ --keyfile ] arg", "path to secret key"},
	{"-k [ --keyring ] arg", "path to keyring"},
}

// Help prints the list of all commands as `rbd help` does.
func (t *Table) Help(w io.Writer) {
	fmt.Fprint(w, "usage: rbd <command> ...\n\nCommand-line interface for managing Ceph RBD images.\n\n")
	fmt.Fprint(w, "Positional arguments:\n  <command>\n")
	for _, c := range t.Commands {
		if c.Hidden {
			continue
		}
		name := c.Words
		if c.Alias != "" {
			name += " (" + c.Alias + ")"
		}
		printEntry(w, 4, listNameWidth, name, c.Short)
	}
	fmt.Fprint(w, "\nOptional arguments:\n")
	for _, o := range globalOptions {
		printEntry(w, 2, listNameWidth+2, o.Name, o.Text)
	}
	fmt.Fprint(w, "\nSee 'rbd help <command>' for help on a specific command.\n")
}

// Help prints what `rbd help <command>` does; words are those the user called
// the command by.
func (c *Command) Help(w io.Writer, words string) {
	c.usage(w, words)
	fmt.Fprintf(w, "\n%s\n\n", c.Short)
	width := minNameWidth
	for _, e := range c.Args {
		width = max(width, len(e.Name)+1)
	}
	for _, e := range c.Opts {
		name := e.Name
		if !strings.Contains(name, " ") || strings.HasSuffix(name, "]") {
			name += " " // room for a parameter that it does not have
		}
		width = max(width, len(name))
	}
	width = min(width, maxNameWidth) + 1
	section := func(title string, entries []Text) {
		if len(entries) == 0 {
			return
		}
		fmt.Fprintln(w, title)
		for _, e := range entries {
			printEntry(w, 2, width, e.Name, e.Text)
		}
		fmt.Fprintln(w)
	}
	section("Positional arguments", c.Args)
	section("Optional arguments", c.Opts)
	for _, line := range c.Tail {
		fmt.Fprintln(w, line)
	}
	if len(c.Tail) > 0 {
		fmt.Fprintln(w)
	}
}

func (c *Command) usage(w io.Writer, words string) {
	head := "usage: rbd " + words
	fmt.Fprint(w, head)
	indent := len(head) + 1
	if indent >= lineWidth/2-1 {
		// A long name leaves too little room beside it.
		indent = maxNameWidth + 1
		fmt.Fprintf(w, "\n%*s", indent, "")
	} else {
		fmt.Fprint(w, " ")
	}
	col := indent
	chunks := c.chunks()
	for i, ch := range chunks {
		need := len(ch.text)
		if i+1 < len(chunks) && chunks[i+1].newLine {
			need-- // the blank at the line's end may stand outside
		}
		if i > 0 && (ch.newLine || col+need > lineWidth-1) {
			fmt.Fprintf(w, "\n%*s", indent, "")
			col = indent
		}
		fmt.Fprint(w, ch.text)
		col += len(ch.text)
	}
	fmt.Fprintln(w)
}

type usageChunk struct {
	text    string
	newLine bool
}

// chunks returns the parts of the usage line between which it may break: before
// each optional item, and always before the first positional one.
func (c *Command) chunks() []usageChunk {
	var out []usageChunk
	for i, it := range c.Items {
		firstPositional := it.Positional && (i == 0 || !c.Items[i-1].Positional)
		if i == 0 || firstPositional || it.Optional {
			out = append(out, usageChunk{newLine: firstPositional})
		}
		out[len(out)-1].text += it.text + " "
	}
	return out
}

// printEntry prints a name, padded to width, and its description wrapped beside
// it. A name that is too long stands on a line of its own.
func printEntry(w io.Writer, margin, width int, name, text string) {
	fmt.Fprintf(w, "%*s%-*s", margin, "", width, name)
	col := margin + width
	if len(name) >= width {
		fmt.Fprintf(w, "\n%*s", col, "")
	}
	for i, line := range wrap(text, lineWidth-col) {
		if i > 0 {
			fmt.Fprintf(w, "%*s", col, "")
		}
		fmt.Fprintln(w, line)
	}
}

// wrap breaks text at its line breaks and, where a line is wider than width, at
// the last space that fits; a word without one is cut.
func wrap(text string, width int) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		for len(line) > width {
			if at := strings.LastIndexByte(line[:width], ' '); at > 0 {
				out, line = append(out, line[:at]), line[at+1:]
				continue
			}
			out, line = append(out, line[:width]), line[width:]
		}
		out = append(out, line)
	}
	return out
}
