package cli

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Formatter writes structured output as Ceph's formatters do
// (src/common/Formatter.cc): the same calls give JSON or XML. In an array of
// JSON the names of the elements are dropped; XML has no attributes.
type Formatter struct {
	xml    bool
	pretty bool
	b      bytes.Buffer
	stack  []level
}

type level struct {
	name  string
	array bool
	used  bool
}

// NewFormatter returns a Formatter for "json" or "xml".
func NewFormatter(format string, pretty bool) *Formatter {
	return &Formatter{xml: format == "xml", pretty: pretty}
}

// OpenObject starts an object.
func (f *Formatter) OpenObject(name string) { f.open(name, false) }

// OpenArray starts an array.
func (f *Formatter) OpenArray(name string) { f.open(name, true) }

func (f *Formatter) open(name string, array bool) {
	f.next(name)
	switch {
	case f.xml:
		f.b.WriteString("<" + name + ">")
		f.newLine()
	case array:
		f.b.WriteByte('[')
	default:
		f.b.WriteByte('{')
	}
	f.stack = append(f.stack, level{name: name, array: array})
}

// Close ends the innermost object or array.
func (f *Formatter) Close() {
	l := f.stack[len(f.stack)-1]
	f.stack = f.stack[:len(f.stack)-1]
	if f.xml {
		f.indent()
		f.b.WriteString("</" + l.name + ">")
		f.newLine()
		return
	}
	if l.used {
		f.newLine()
		f.indent()
	}
	if l.array {
		f.b.WriteByte(']')
	} else {
		f.b.WriteByte('}')
	}
}

// next writes what separates an element from the one before and, in JSON, its
// name.
func (f *Formatter) next(name string) {
	if f.xml {
		f.indent()
		return
	}
	if len(f.stack) == 0 {
		return
	}
	l := &f.stack[len(f.stack)-1]
	if l.used {
		f.b.WriteByte(',')
	}
	l.used = true
	f.newLine()
	f.indent()
	if !l.array {
		f.b.WriteString(quoteJSON(name) + ":")
		if f.pretty {
			f.b.WriteByte(' ')
		}
	}
}

func (f *Formatter) newLine() {
	if f.pretty {
		f.b.WriteByte('\n')
	}
}

func (f *Formatter) indent() {
	if !f.pretty {
		return
	}
	unit := "    "
	if f.xml {
		unit = " "
	}
	f.b.WriteString(strings.Repeat(unit, len(f.stack)))
}

func (f *Formatter) scalar(name, json, xml string) {
	f.next(name)
	if f.xml {
		f.b.WriteString("<" + name + ">" + xml + "</" + name + ">")
		f.newLine()
		return
	}
	f.b.WriteString(json)
}

// String writes a string field.
func (f *Formatter) String(name, v string) { f.scalar(name, quoteJSON(v), escapeXML(v)) }

// Int writes a signed number.
func (f *Formatter) Int(name string, v int64) {
	s := strconv.FormatInt(v, 10)
	f.scalar(name, s, s)
}

// Uint writes an unsigned number.
func (f *Formatter) Uint(name string, v uint64) {
	s := strconv.FormatUint(v, 10)
	f.scalar(name, s, s)
}

// Bool writes true or false.
func (f *Formatter) Bool(name string, v bool) {
	s := strconv.FormatBool(v)
	f.scalar(name, s, s)
}

// Float writes a floating-point number with as many digits as it needs.
func (f *Formatter) Float(name string, v float64) {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	f.scalar(name, s, s)
}

// Flush writes all to w, with the line break that Ceph's tools end with.
func (f *Formatter) Flush(w io.Writer) error {
	for len(f.stack) > 0 {
		f.Close()
	}
	f.b.WriteByte('\n')
	_, err := f.b.WriteTo(w)
	return err
}

func quoteJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

var xmlEscapes = strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;", "'", "&apos;", `"`, "&quot;")

func escapeXML(s string) string {
	s = xmlEscapes.Replace(s)
	if strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f {
			fmt.Fprintf(&b, "&#x%02x;", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
