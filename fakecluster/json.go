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
