package rbdcmd

import (
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
)

// errnoInvalid and the like are the exit codes of rbd: errno of the failure.
const (
	exitGeneral = 1
	exitNoEntry = 2
	exitInvalid = 22
)

// spec is what an image, snapshot, group or pool specification names. A field
// that the specification lacks is empty.
type spec struct {
	Pool, Namespace, Image, Snap string
}

func (s spec) String() string {
	var b strings.Builder
	for _, part := range []string{s.Pool, s.Namespace} {
		if part != "" {
			b.WriteString(part + "/")
		}
	}
	b.WriteString(s.Image)
	if s.Snap != "" {
		b.WriteString("@" + s.Snap)
	}
	return b.String()
}

// splitSpec reads [POOL/[NAMESPACE/]]NAME[@SNAP]. Text that has more slashes is
// a name with slashes in it, as rbd reads it.
func splitSpec(text string) (spec, bool) {
	var s spec
	rest := text
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		rest, s.Snap = rest[:at], rest[at+1:]
		if s.Snap == "" || strings.ContainsAny(s.Snap, "/@") {
			return spec{}, false
		}
	}
	parts := strings.Split(rest, "/")
	switch {
	case len(parts) == 1:
		s.Image = parts[0]
	case len(parts) == 2 && parts[0] != "":
		s.Pool, s.Image = parts[0], parts[1]
	case len(parts) == 3 && parts[0] != "" && parts[1] != "":
		s.Pool, s.Namespace, s.Image = parts[0], parts[1], parts[2]
	default:
		return spec{}, false
	}
	if s.Image == "" {
		return spec{}, false
	}
	return s, true
}

// snapRule says what a command makes of a snapshot in a specification.
type snapRule int

const (
	snapNone     snapRule = iota // refuses one
	snapOptional                 // takes one
	snapRequired                 // wants one
)

// specArg reads an image or snapshot specification: the options that name its
// parts, and the positional argument, which fills what the options left open.
// prefix is "dest-" for the second one of commands that take two.
type specArg struct {
	arg       int // index of the positional argument
	snap      snapRule
	dest      bool
	noImage   bool // the command also takes a pool alone
	imageWord string
	// group names a group in place of an image: --group, which is no specification.
	group bool
	// prefix stands before the options "pool" and "namespace".
	prefix string
}

// read returns the specification. The pool is "" where none is named: the caller
// takes the default pool.
func (a specArg) read(in *cli.Invocation) (spec, error) {
	s, _, err := a.take(in)
	return s, err
}

// take is read, and returns the positional arguments that follow. An image that
// is given as an option leaves all of them; the option may be a specification.
func (a specArg) take(in *cli.Invocation) (spec, []string, error) {
	prefix, image, snap := a.prefix, "image", "snap"
	if a.dest {
		prefix, image, snap = "dest-", "dest", "dest-snap"
	}
	switch {
	case a.group && a.dest:
		image = "dest-group"
	case a.group:
		image = "group"
	}
	s := spec{Pool: in.String(prefix + "pool"), Namespace: in.String(prefix + "namespace"), Snap: in.String(snap)}
	text, rest := in.String(image), in.Args[min(a.arg, len(in.Args)):]
	if a.group {
		s.Image, text = text, ""
	}
	if text == "" && s.Image == "" && len(rest) > 0 {
		text, rest = rest[0], rest[1:]
	}
	if text != "" {
		given, ok := splitSpec(text)
		if !ok {
			return spec{}, nil, invalidf("rbd: invalid spec '%s'", text)
		}
		if given.Pool != "" {
			s.Pool = given.Pool
		}
		if given.Namespace != "" {
			s.Namespace = given.Namespace
		}
		s.Image = given.Image
		if given.Snap != "" {
			s.Snap = given.Snap
		}
	}
	return s, rest, a.check(s)
}

func (a specArg) check(s spec) error {
	word, snapWord := a.imageWord, "snapshot"
	switch {
	case a.group:
		word = "group"
	case word == "":
		word = "image"
	}
	if a.dest {
		word, snapWord = "destination "+word, "destination "+snapWord
	}
	switch {
	case s.Image == "" && !a.noImage:
		return invalidf("rbd: %s name was not specified", word)
	case a.snap == snapNone && s.Snap != "":
		return invalidf("rbd: %s name specified for a command that doesn't use it", snapWord)
	case a.snap == snapRequired && s.Snap == "":
		return invalidf("rbd: snapshot name was not specified")
	}
	return nil
}

// poolSpec reads POOL[/NAMESPACE] from the first argument and the options.
func poolSpec(in *cli.Invocation) (spec, error) {
	s, err := anyPoolSpec(in)
	switch {
	case err != nil:
		return spec{}, err
	case strings.ContainsAny(s.Pool, "@/"):
		return spec{}, invalidf("rbd: invalid pool '%s'", s.Pool)
	case strings.ContainsAny(s.Namespace, "@/"):
		return spec{}, invalidf("rbd: invalid namespace '%s'", s.Namespace)
	}
	return s, nil
}

// anyPoolSpec is poolSpec for commands that do not care what names look like.
func anyPoolSpec(in *cli.Invocation) (spec, error) {
	s := spec{Pool: in.String("pool"), Namespace: in.String("namespace")}
	if text := in.Arg(0); text != "" && s.Pool == "" {
		s.Pool = text
		if slash := strings.LastIndexByte(text, '/'); slash >= 0 {
			s.Pool, s.Namespace = text[:slash], text[slash+1:]
		}
	}
	return s, nil
}

// onlyPool is poolSpec for commands about pools as a whole.
func onlyPool(in *cli.Invocation) (spec, error) {
	s, err := poolSpec(in)
	if err == nil && s.Namespace != "" && !in.Has("namespace") {
		err = invalidf("rbd: invalid pool '%s'", in.Arg(0))
	}
	return s, err
}

// afterPool returns the positional arguments behind the pool's: all of them if
// the pool is given as an option.
func afterPool(in *cli.Invocation) []string {
	if in.String("pool") != "" || len(in.Args) == 0 {
		return in.Args
	}
	return in.Args[1:]
}

// argOf returns argument i, or "".
func argOf(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func invalidf(format string, args ...any) error {
	return &cli.UsageError{Code: exitInvalid, Msg: fmt.Sprintf(format, args...)}
}
