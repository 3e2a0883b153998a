package fakecluster

import (
	"bytes"
	"encoding/json"
)

// field is one member of a JSON object.
type field struct {
	Key   string
	Value any
}

// object is a JSON object whose members keep their order, as Ceph's do.
type object []field

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := marshal(f.Key)
		if err != nil {
			return nil, err
		}
		v, err := marshal(f.Value)
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// encodeJSON returns v in Ceph's format "json" or "json-pretty".
func encodeJSON(format string, v any) []byte {
	b, err := marshal(v)
	if err != nil {
		// Only values of our own making come here.
		panic("fakecluster: " + err.Error())
	}
	if format != "json-pretty" {
		return b
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "    "); err != nil {
		panic("fakecluster: " + err.Error())
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// python returns v as Python's json.dumps does without an indent: with a space
// behind every colon and comma.
func python(v any) []byte {
	var out []byte
	quoted, escaped := false, false
	for _, c := range encodeJSON("json", v) {
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ':' || c == ','):
			out = append(out, ' ')
		}
	}
	return out
}
