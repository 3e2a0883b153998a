// Package cli is the frame around the rbd-compatible commands: the table of
// commands with their words, options and help texts, the parser of a command
// line, and the output formats (plain tables, json, xml, progress) in which rbd
// of release 20.2 prints. What a command does is not here: a handler is attached
// to each by its words.
package cli

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed commands.txt
var commandsText string

// Command is one rbd command as its users know it.
type Command struct {
	// Words name the command, as in "mirror pool enable".
	Words string
	// Alias holds other words for it as the list of commands shows them,
	// "... ls" standing for the same words with another last one.
	Alias string
	Short string
	// Hidden says that the list of commands does not show it.
	Hidden bool
	Items  []Item
	Args   []Text
	Opts   []Text
	Tail   []string
}

// Item is an option or positional argument in the usage line.
type Item struct {
	// Name is the bare name: "pool" of --pool <pool> and of <pool>.
	Name       string
	Positional bool
	Optional   bool
	// Switch is an option without a value.
	Switch bool
	// Many is a positional argument that takes all that is left.
	Many bool

	text string
}

// Text is a name and its description in the help.
type Text struct{ Name, Text string }

// Table is all commands in the order in which the help lists them.
type Table struct {
	Commands []*Command
	byWords  map[string]*Command
}

// NewTable reads the built-in table of commands.
func NewTable() *Table {
	t := &Table{byWords: make(map[string]*Command)}
	for block := range strings.SplitSeq(commandsText, "\n\n") {
		if c := parseBlock(block); c != nil {
			t.Commands = append(t.Commands, c)
			for _, w := range c.names() {
				t.byWords[w] = c
			}
		}
	}
	return t
}

func parseBlock(block string) *Command {
	c := &Command{}
	for line := range strings.SplitSeq(block, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !strings.HasPrefix(line, "  ") {
			c.Words = line
			continue
		}
		kind, rest, _ := strings.Cut(line[2:], " ")
		switch kind {
		case "alias":
			c.Alias = rest
		case "short":
			c.Short = rest
		case "hidden":
			c.Hidden = true
		case "usage":
			c.Items = parseUsage(rest)
		case "arg", "opt":
			name, text, _ := strings.Cut(rest, " | ")
			entry := Text{name, strings.ReplaceAll(text, `\n`, "\n")}
			if kind == "arg" {
				c.Args = append(c.Args, entry)
			} else {
				c.Opts = append(c.Opts, entry)
			}
		case "tail":
			c.Tail = append(c.Tail, rest)
		default:
			panic(fmt.Sprintf("commands.txt: %q", line))
		}
	}
	if c.Words == "" {
		return nil
	}
	return c
}

// parseUsage splits "[--pool <pool>] --size <size> <image-spec>" into items.
func parseUsage(s string) []Item {
	var items []Item
	for s != "" {
		var it Item
		body := s
		if s[0] == '[' {
			end := strings.IndexByte(s, ']')
			it.Optional, it.text = true, s[:end+1]
			body = s[1:end]
		} else if strings.HasPrefix(s, "--") {
			end := len(s)
			if i := strings.IndexByte(s, '>'); i >= 0 {
				end = i + 1
			}
			it.text, body = s[:end], s[:end]
		} else {
			it.text, _, _ = strings.Cut(s, " ")
			body = it.text
		}
		s = strings.TrimPrefix(s[len(it.text):], " ")
		if strings.HasPrefix(body, "--") {
			name, value, hasValue := strings.Cut(body[2:], " ")
			it.Name, it.Switch = name, !hasValue || value == ""
		} else {
			it.Positional = true
			it.Name = strings.Trim(strings.TrimSuffix(body, "..."), "<>")
			it.Many = strings.HasSuffix(body, "...")
		}
		if strings.HasPrefix(s, "[<"+it.Name+"> ...]") {
			it.Many = true
			rest := "[<" + it.Name + "> ...]"
			it.text += " " + rest
			s = strings.TrimPrefix(s[len(rest):], " ")
		}
		items = append(items, it)
	}
	return items
}

// names returns all the words by which the command is called.
func (c *Command) names() []string {
	names := []string{c.Words}
	if c.Alias == "" {
		return names
	}
	alias := c.Alias
	if last, ok := strings.CutPrefix(alias, "... "); ok {
		alias = c.Words[:strings.LastIndexByte(c.Words, ' ')+1] + last
	}
	return append(names, alias)
}

// Lookup returns the command that the words call, or nil.
func (t *Table) Lookup(words []string) *Command { return t.byWords[strings.Join(words, " ")] }

// Find returns the command whose words start args, the number of words, and
// whether there is one. The longest match counts.
func (t *Table) Find(words []string) (*Command, int) {
	for n := len(words); n > 0; n-- {
		if c := t.Lookup(words[:n]); c != nil {
			return c, n
		}
	}
	return nil, 0
}
