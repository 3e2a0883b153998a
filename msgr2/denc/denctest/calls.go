package denctest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Call is a call of an object class's method that a real client made, with its
// real answer. They are in testdata/RELEASE/calls.json.
type Call struct {
	Object string `json:"object"`
	Method string `json:"method"`
	In     Hex    `json:"in"`
	Out    Hex    `json:"out"`
	Result int32  `json:"result"`
}

// Schemas says, for every method, what its argument and its result are made of:
// words for the values in their order. A word is u8, u32, u64, s64, bool, str, rest (the
// bytes that are left) or the name of one of the types; []X is a list of X, {K:V} a
// map, ?X an optional X and <X> an X with its length before it.
type Schemas map[string][2]string

// Calls reads the arguments and results of all stored calls by the schemas and
// writes them to the same bytes.
func (inv *Inventory) Calls(t *testing.T, types Types, schemas Schemas) {
	files, err := filepath.Glob(filepath.Join("testdata", "*", "calls.json"))
	if err != nil || len(files) < len(Releases) {
		t.Fatal(files, err)
	}
	for _, file := range files {
		release := filepath.Base(filepath.Dir(file))
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var calls []Call
		if err := json.Unmarshal(p, &calls); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range calls {
			schema, ok := schemas[c.Method]
			if !ok {
				t.Errorf("%s: no schema for method %s", file, c.Method)
				continue
			}
			what := fmt.Sprintf("%s: argument of %s", file, c.Method)
			inv.form(t, release, what, types, schema[0], c.In)
			if c.Result == 0 && len(c.Out) > 0 {
				what = fmt.Sprintf("%s: result of %s", file, c.Method)
				inv.form(t, release, what, types, schema[1], c.Out)
			}
		}
	}
}

func (inv *Inventory) form(t *testing.T, release, what string, types Types, schema string, p []byte) {
	r := denc.NewReader(p)
	f := former{r: r, types: types, note: func(c Codec) { inv.Note(release, c) }}
	for word := range strings.FieldsSeq(schema) {
		f.word(word)
	}
	if err := r.Done(); err != nil {
		t.Errorf("%s: %v after %x of %x", what, err, f.out, p)
	} else if !bytes.Equal(f.out, p) {
		t.Errorf("%s:\nhas  %x\ngave %x", what, p, f.out)
	}
}

// former reads values by a schema and writes each again.
type former struct {
	r     *denc.Reader
	out   []byte
	types Types
	note  func(Codec)
}

func (f *former) word(word string) {
	switch word {
	case "u8":
		f.out = denc.AppendU8(f.out, f.r.U8())
	case "u32":
		f.out = denc.AppendU32(f.out, f.r.U32())
	case "u64":
		f.out = denc.AppendU64(f.out, f.r.U64())
	case "s64":
		f.out = denc.AppendS64(f.out, f.r.S64())
	case "bool":
		f.out = denc.AppendBool(f.out, f.r.Bool())
	case "str":
		f.out = denc.AppendBytes(f.out, f.r.Bytes())
	case "rest":
		f.out = append(f.out, f.r.Rest()...)
	case "time":
		f.out = denc.AppendTime(f.out, f.r.Time())
	default:
		f.composite(word)
	}
}

func (f *former) composite(word string) {
	if of, ok := strings.CutPrefix(word, "[]"); ok {
		f.times(func() { f.word(of) })
		return
	}
	if of, ok := strings.CutPrefix(word, "?"); ok {
		has := f.r.Bool()
		if f.out = denc.AppendBool(f.out, has); has {
			f.word(of)
		}
		return
	}
	if of, ok := strings.CutPrefix(word, "<"); ok {
		in := former{r: denc.NewReader(f.r.Bytes()), types: f.types, note: f.note}
		in.word(strings.TrimSuffix(of, ">"))
		if err := in.r.Done(); err != nil {
			f.r.Fail(err)
		}
		f.out = denc.AppendBytes(f.out, in.out)
		return
	}
	if key, value, ok := strings.Cut(strings.Trim(word, "{}"), ":"); ok {
		f.times(func() {
			f.word(key)
			f.word(value)
		})
		return
	}
	make := f.types[word]
	if make == nil {
		f.r.Failf("no type %q", word)
		return
	}
	c := make()
	if c.Decode(f.r); f.r.Err() == nil {
		f.note(c)
		f.out = c.Append(f.out)
	}
}

func (f *former) times(one func()) {
	n := f.r.U32()
	f.out = denc.AppendU32(f.out, n)
	for range n {
		if f.r.Err() != nil {
			return
		}
		one()
	}
}
