// Package denctest holds the codecs of a package to bytes that real Ceph clusters
// wrote or sent. A package lists its types once; the list feeds the test of the
// golden bytes, the fuzz test, and the inventory that fails when a type of the
// package has neither. Only tests import it.
//
// Golden bytes are in testdata/RELEASE/values.json, one entry for a value.
// `make golden` renews them from clusters that it starts for that.
package denctest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Releases are the releases of Ceph whose bytes every type must have.
var Releases = []string{"16.2", "20.2"}

// Codec is a type that is read from and written as Ceph's encoding.
type Codec interface {
	Append(b []byte) []byte
	Decode(r *denc.Reader)
}

// Types makes a new value of every type, by the name it has in its package.
type Types map[string]func() Codec

// Wrap makes a Codec of a value whose methods have other names or arguments. What
// golden bytes prove is v.
func Wrap(v any, appendTo func(b []byte) []byte, decode func(r *denc.Reader)) Codec {
	return &wrapped{v, appendTo, decode}
}

type wrapped struct {
	v        any
	appendTo func(b []byte) []byte
	decode   func(r *denc.Reader)
}

func (w *wrapped) Append(b []byte) []byte { return w.appendTo(b) }
func (w *wrapped) Decode(r *denc.Reader)  { w.decode(r) }

// Unwrap returns what Wrap was given, or v itself.
func Unwrap(v Codec) any {
	if w, ok := v.(*wrapped); ok {
		return w.v
	}
	return v
}

// Value is one value as a real daemon or client of a release encoded it.
type Value struct {
	Type string `json:"type"`
	// From says where it was seen.
	From  string `json:"from"`
	Bytes Hex    `json:"bytes"`
}

// Hex is bytes that JSON shows as hexadecimal digits.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(p []byte) (err error) {
	*h, err = hex.DecodeString(string(p))
	return err
}

// File is where the golden bytes of a release are, seen from the package.
func File(release string) string { return filepath.Join("testdata", release, "values.json") }

// Read returns the golden bytes of every release that has any.
func Read(tb testing.TB) map[string][]Value {
	tb.Helper()
	files, err := filepath.Glob(File("*"))
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string][]Value{}
	for _, file := range files {
		p, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var values []Value
		if err := json.Unmarshal(p, &values); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(filepath.Dir(file))] = values
	}
	return all
}

// Reencode decodes p, all of it, as v and reports an error when v encodes to
// other bytes.
func Reencode(t testing.TB, what string, v Codec, p []byte) bool {
	t.Helper()
	r := denc.NewReader(p)
	v.Decode(r)
	if err := r.Done(); err != nil {
		t.Errorf("%s: %T: %v: %x", what, v, err, p)
		return false
	}
	if again := v.Append(nil); !bytes.Equal(again, p) {
		t.Errorf("%s: %T %+v\nhas  %x\ngave %x", what, v, v, p, again)
		return false
	}
	return true
}

// Inventory counts which types of the tested package had golden bytes of which
// release.
type Inventory struct {
	pkg  string
	seen map[string]map[string]bool // by type, then by release
}

// New returns an empty inventory of the package that the types of like are of.
func New(like any) *Inventory {
	return &Inventory{pkg: deref(reflect.TypeOf(like)).PkgPath(), seen: map[string]map[string]bool{}}
}

// Golden checks every golden value of the package, and passes each to check if
// that is not nil.
func (inv *Inventory) Golden(t *testing.T, types Types, check func(t *testing.T, release string, val Value, v Codec)) {
	for release, values := range Read(t) {
		t.Run(release, func(t *testing.T) {
			for _, val := range values {
				make := types[val.Type]
				if make == nil {
					t.Errorf("%s: no type %s", val.From, val.Type)
					continue
				}
				v := make()
				if !Reencode(t, val.From, v, val.Bytes) {
					continue
				}
				inv.Note(release, v)
				if check != nil {
					check(t, release, val, v)
				}
			}
		})
	}
}

// Note counts v, and what is in it, as proven by bytes of the release. Of what
// is in it, fields only count when they are not empty.
func (inv *Inventory) Note(release string, v any) {
	if w, ok := v.(*wrapped); ok {
		v = w.v
	}
	inv.walk(release, reflect.ValueOf(v), true)
}

func (inv *Inventory) walk(release string, v reflect.Value, top bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			inv.walk(release, v.Elem(), top)
		}
		return
	case reflect.Invalid:
		return
	}
	if t := v.Type(); t.PkgPath() == inv.pkg && t.Name() != "" && (top || !v.IsZero()) {
		if inv.seen[t.Name()] == nil {
			inv.seen[t.Name()] = map[string]bool{}
		}
		inv.seen[t.Name()][release] = true
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			inv.walk(release, v.Field(i), false)
		}
	case reflect.Slice, reflect.Array:
		if k := v.Type().Elem().Kind(); k <= reflect.Complex128 || k == reflect.String {
			return
		}
		for i := range v.Len() {
			inv.walk(release, v.Index(i), true)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			inv.walk(release, it.Key(), true)
			inv.walk(release, it.Value(), true)
		}
	}
}

// Complete reports every type of the package that lacks golden bytes of one of
// the Releases or is not in types, for those are what is fuzzed. Exceptions
// gives the reason why a type needs no golden bytes.
func (inv *Inventory) Complete(t *testing.T, types Types, exceptions map[string]string) {
	t.Helper()
	declared := Declared(t)
	for _, name := range declared {
		if types[name] == nil {
			t.Errorf("type %s is not fuzzed: add it to the list of types", name)
		}
		reason := exceptions[name]
		for _, release := range Releases {
			if got := inv.seen[name][release]; !got && reason == "" {
				t.Errorf("type %s has no golden bytes of %s", name, release)
			}
		}
		if reason != "" && inv.seen[name]["16.2"] && inv.seen[name]["20.2"] {
			t.Errorf("type %s is excepted (%s) but has golden bytes", name, reason)
		}
	}
	for name := range exceptions {
		if !slices.Contains(declared, name) {
			t.Errorf("exception for %s, which is no type of this package", name)
		}
	}
}

// Complete fails for every type that Declared names and types lacks.
func Complete(t testing.TB, types Types) {
	t.Helper()
	for _, name := range Declared(t) {
		if types[name] == nil {
			t.Errorf("type %s is not in the list of types", name)
		}
	}
}

// Declared returns the names of the types of the package under test that have
// both directions of a codec, exported or not.
func Declared(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string]map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil {
				continue
			}
			name := strings.ToLower(fn.Name.Name)
			if name == "encode" {
				name = "append"
			}
			if name != "append" && name != "decode" {
				continue
			}
			typ := fn.Recv.List[0].Type
			if star, ok := typ.(*ast.StarExpr); ok {
				typ = star.X
			}
			if id, ok := typ.(*ast.Ident); ok {
				if methods[id.Name] == nil {
					methods[id.Name] = map[string]bool{}
				}
				methods[id.Name][name] = true
			}
		}
	}
	maps.DeleteFunc(methods, func(_ string, m map[string]bool) bool { return len(m) < 2 })
	return slices.Sorted(maps.Keys(methods))
}

// Fuzz reads arbitrary bytes as each of the types: nothing may panic, and what
// can be read must come back the same from what it is encoded to. The golden
// bytes are the seeds, and more if given.
func Fuzz(f *testing.F, types Types, more ...Value) {
	names := slices.Sorted(maps.Keys(types))
	add := func(v Value) {
		if i, ok := slices.BinarySearch(names, v.Type); ok {
			f.Add(uint8(i), []byte(v.Bytes))
		}
	}
	for i := range names {
		f.Add(uint8(i), types[names[i]]().Append(nil))
	}
	for _, values := range Read(f) {
		for _, v := range values {
			add(v)
		}
	}
	for _, v := range more {
		add(v)
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		name := names[int(which)%len(names)]
		if err := roundTrip(types[name], p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	})
}

func roundTrip(make func() Codec, p []byte) error {
	v, again := make(), make()
	r := denc.NewReader(p)
	if v.Decode(r); r.Err() != nil {
		return nil // what is not valid only must not panic
	}
	first := v.Append(nil)
	r = denc.NewReader(first)
	again.Decode(r)
	if err := r.Done(); err != nil {
		return fmt.Errorf("own encoding %x of %+v: %w", first, v, err)
	}
	if second := again.Append(nil); !bytes.Equal(first, second) {
		return fmt.Errorf("%+v encodes to %x, and that to %x", v, first, second)
	}
	return nil
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}
