package conf

import (
	"errors"
	"fmt"
	"strings"
)

// SyntaxError is a line of a configuration file that Ceph would not read.
type SyntaxError struct {
	// File is the path, or "" for text from elsewhere. Line counts from 1.
	File   string
	Line   int
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	file := e.File
	if file == "" {
		file = "configuration"
	}
	return fmt.Sprintf("%s:%d: %s", file, e.Line, e.Reason)
}

// File is a parsed configuration file: values by section and normalised option
// name. Of several values of one option the last is kept.
type File map[string]map[string]string

// Parse reads the text of a configuration file. name is for error messages,
// which are *SyntaxError.
func Parse(name, text string) (File, error) {
	f := File{}
	section := "global"
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for i := 0; i < len(lines); i++ {
		at := i + 1
		line := strings.TrimSuffix(lines[i], "\r")
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSuffix(lines[i], "\r")
		}
		if err := f.line(line, &section); err != nil {
			return nil, &SyntaxError{File: name, Line: at, Reason: err.Error()}
		}
	}
	return f, nil
}

// line takes one logical line; section is the current one.
func (f File) line(line string, section *string) error {
	s := strings.TrimSpace(line)
	if s == "" || isComment(s[0]) {
		return nil
	}
	if s[0] == '[' {
		name, rest, ok := strings.Cut(s[1:], "]")
		rest = strings.TrimSpace(rest)
		switch {
		case !ok:
			return fmt.Errorf("%q: the section's name has no closing ']'", s)
		case strings.TrimSpace(name) == "":
			return errors.New("a section without a name")
		case rest != "" && !isComment(rest[0]):
			return fmt.Errorf("%q stands behind a section's name", rest)
		}
		*section = strings.TrimSpace(name)
		return nil
	}
	key, value, ok := strings.Cut(s, "=")
	if !ok || strings.ContainsAny(key, "#;") {
		return fmt.Errorf("%q is neither a [section] nor an option = value", s)
	}
	if strings.TrimSpace(key) == "" {
		return fmt.Errorf("%q: no option before '='", s)
	}
	v, err := parseValue(strings.TrimSpace(value))
	if err != nil {
		return err
	}
	if f[*section] == nil {
		f[*section] = map[string]string{}
	}
	f[*section][Normalize(key)] = v
	return nil
}

func isComment(c byte) bool { return c == '#' || c == ';' }

// parseValue reads what stands behind '=': a quoted text, or everything up to a
// comment. A backslash takes the next character as it is.
func parseValue(s string) (string, error) {
	var quote byte
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		quote = s[0]
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quote != 0 && c == quote:
			if rest := strings.TrimSpace(s[i+1:]); rest != "" && !isComment(rest[0]) {
				return "", fmt.Errorf("%q stands behind a quoted value", rest)
			}
			return b.String(), nil
		case quote == 0 && isComment(c):
			return strings.TrimSpace(b.String()), nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", errors.New("a quoted value without its closing quote")
	}
	return strings.TrimSpace(b.String()), nil
}

// Normalize returns the one form of an option's name: words joined by
// underscores.
func Normalize(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '\t' || r == '-' })
	return strings.Join(words, "_")
}
