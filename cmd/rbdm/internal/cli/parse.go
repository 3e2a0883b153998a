package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// UsageError is the end of a command with a message of rbd's own and an exit
// code; most are command lines that cannot be carried out as they stand.
type UsageError struct {
	// Code is the exit code: 1 for words that are wrong, 22 (EINVAL) for words
	// that are missing.
	Code int
	Msg  string
	// ShowHelp asks for the list of commands on stdout.
	ShowHelp bool
	// Err is the failure below the message, if there is one.
	Err error
}

func (e *UsageError) Error() string { return e.Msg }

// Unwrap returns the failure below the message.
func (e *UsageError) Unwrap() error { return e.Err }

// Invocation is a command line after parsing: the command, its options and its
// positional arguments.
type Invocation struct {
	Command *Command
	// Words are those the user called the command by.
	Words string
	// Args are the positional arguments in order.
	Args []string

	values map[string][]string
}

// Has reports whether the option was given.
func (in *Invocation) Has(name string) bool { return len(in.values[name]) > 0 }

// String returns the option's value, the last one given, or "".
func (in *Invocation) String(name string) string {
	v := in.values[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// All returns every value of an option that may be given several times.
func (in *Invocation) All(name string) []string { return in.values[name] }

// Arg returns positional argument i, or "".
func (in *Invocation) Arg(i int) string {
	if i < len(in.Args) {
		return in.Args[i]
	}
	return ""
}

// switches are the options without a value; before the command's words, all
// other options take the next word with them.
func (t *Table) switches() map[string]bool {
	s := map[string]bool{"h": true, "help": true, "version": true}
	for _, c := range t.Commands {
		for _, o := range c.Opts {
			name := longName(o.Name)
			if it := c.item(name); it != nil && it.Switch {
				s[name] = true
				if short := shortName(o.Name); short != "" {
					s[short] = true
				}
			}
		}
	}
	return s
}

func (c *Command) item(name string) *Item {
	for i := range c.Items {
		if it := &c.Items[i]; !it.Positional && it.Name == name {
			return it
		}
	}
	return nil
}

// longName returns "pool" of "-p [ --pool ] arg".
func longName(opt string) string {
	_, rest, _ := strings.Cut(opt, "--")
	name, _, _ := strings.Cut(rest, " ")
	return name
}

// shortName returns "p" of "-p [ --pool ] arg", or "".
func shortName(opt string) string {
	if len(opt) > 1 && opt[0] == '-' && opt[1] != '-' {
		return opt[1:2]
	}
	return ""
}

// Parse finds the command in args, which hold no global options any more, and
// reads its options and arguments. The words of the command may follow options.
func (t *Table) Parse(args []string) (*Invocation, error) {
	words, rest := t.splitWords(args)
	c, n := t.Find(words)
	if c == nil {
		return nil, &UsageError{Code: 1, Msg: fmt.Sprintf("error: unknown option '%s'", strings.Join(words, " ")), ShowHelp: true}
	}
	in := &Invocation{Command: c, Words: strings.Join(words[:n], " "), values: make(map[string][]string)}
	return in, in.parse(removeWords(rest, words[:n]))
}

// CommandWords returns the leading words of args that are no options.
func (t *Table) CommandWords(args []string) []string {
	words, _ := t.splitWords(args)
	return words
}

// splitWords returns the words that may name the command, which end at the
// first option after them, and all args.
func (t *Table) splitWords(args []string) (words, all []string) {
	switches := t.switches()
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) > 1 && a[0] == '-' {
			if len(words) > 0 {
				break
			}
			name := strings.TrimLeft(a, "-")
			if !strings.Contains(a, "=") && !switches[name] {
				i++
			}
			continue
		}
		words = append(words, a)
	}
	return words, args
}

// removeWords returns args without the first run of the command's words.
func removeWords(args, words []string) []string {
	for i := range args {
		if i+len(words) <= len(args) && slices.Equal(args[i:i+len(words)], words) {
			return slices.Concat(args[:i], args[i+len(words):])
		}
	}
	return args
}

// value collects what an option was given.
type value struct {
	in       *Invocation
	name     string
	isSwitch bool
}

func (v *value) String() string { return "" }
func (v *value) Type() string   { return "arg" }
func (v *value) Set(s string) error {
	v.in.values[v.name] = append(v.in.values[v.name], s)
	return nil
}

func (in *Invocation) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("rbd", pflag.ContinueOnError)
	fs.Usage = func() {}
	shorts := map[string]string{}
	for _, o := range in.Command.Opts {
		shorts[longName(o.Name)] = shortName(o.Name)
	}
	for _, it := range in.Command.Items {
		if it.Positional || fs.Lookup(it.Name) != nil {
			continue
		}
		f := fs.VarPF(&value{in: in, name: it.Name, isSwitch: it.Switch}, it.Name, shorts[it.Name], "")
		if it.Switch {
			f.NoOptDefVal = "true"
		}
	}
	return fs
}

func (in *Invocation) parse(args []string) error {
	fs := in.flags()
	for _, a := range args {
		if a == "--" {
			break
		}
		long, isLong := strings.CutPrefix(a, "--")
		name, _, given := strings.Cut(long, "=")
		f := fs.Lookup(name)
		switch {
		case !isLong || !given || f == nil:
		case f.NoOptDefVal != "":
			return &UsageError{Code: 1, Msg: "rbd: option '--" + name + "' does not take any arguments"}
		case strings.HasSuffix(a, "="):
			return &UsageError{Code: 1, Msg: "rbd: the argument for option '--" + name + "' should follow immediately after the equal sign"}
		}
	}
	if err := fs.Parse(literalShort(args)); err != nil {
		return optionError(err)
	}
	for name, given := range in.values {
		if len(given) > 1 && !repeatable[name] {
			return &UsageError{Code: 1, Msg: "rbd: option '--" + name + "' cannot be specified more than once"}
		}
	}
	in.Args = fs.Args()
	positional := 0
	for _, it := range in.Command.Items {
		if it.Positional {
			positional++
			if it.Many {
				positional = len(in.Args)
				break
			}
		}
	}
	if len(in.Args) > positional {
		return &UsageError{Code: 1, Msg: "rbd: too many arguments"}
	}
	return nil
}

// literalShort doubles the equal sign of -x=value, where it is a part of the value.
func literalShort(args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		if len(a) > 2 && a[0] == '-' && a[1] != '-' && a[2] == '=' {
			out[i] = a[:2] + "=" + a[2:]
		}
	}
	return out
}

// repeatable are the options that may be given several times.
var repeatable = map[string]bool{"image-feature": true, "encryption-format": true, "encryption-passphrase-file": true, "options": true, "option": true}

// optionError says what is wrong with an option in rbd's words.
func optionError(err error) error {
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		bad     *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		dashes := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return &UsageError{Code: 1, Msg: fmt.Sprintf("rbd: unrecognised option '%s%s'", dashes, unknown.GetSpecifiedName())}
	case errors.As(err, &missing):
		return &UsageError{Code: 1, Msg: fmt.Sprintf("rbd: the required argument for option '--%s' is missing", missing.GetFlag().Name)}
	case errors.As(err, &bad):
		return &UsageError{Code: 1, Msg: fmt.Sprintf("rbd: unrecognised option '%s'", bad.GetSpecifiedFlag())}
	}
	return &UsageError{Code: 1, Msg: "rbd: " + err.Error()}
}
