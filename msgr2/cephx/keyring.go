package cephx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// ErrNoKey says that a keyring has no entry for an entity.
var ErrNoKey = errors.New("no such entity in the keyring")

// Entry is one entity of a keyring (EntityAuth).
type Entry struct {
	Key Key
	// Caps is keyed by service: "mon", "osd", "mgr", "mds".
	Caps map[string]string
}

// Keyring holds keys by entity name, as in a keyring file. Ceph writes those in
// its configuration syntax: a section per entity with "key = BASE64" and
// "caps SERVICE = \"…\"" lines.
type Keyring map[entity.AuthName]Entry

// Lookup returns the entry of name, or an error that wraps ErrNoKey.
func (k Keyring) Lookup(name entity.AuthName) (Entry, error) {
	e, ok := k[name]
	if !ok || e.Key.IsZero() {
		return Entry{}, fmt.Errorf("%s: %w", name, ErrNoKey)
	}
	return e, nil
}

// ReadKeyring reads a keyring file. A missing file gives an error that wraps
// fs.ErrNotExist.
func ReadKeyring(path string) (Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	defer f.Close()
	k, err := ParseKeyring(f)
	if err != nil {
		return nil, fmt.Errorf("keyring %s: %w", path, err)
	}
	return k, nil
}

// maxKeyring bounds a keyring file, in bytes.
const maxKeyring = 16 << 20

// ParseKeyring reads the text form, and the binary form that old clusters keep.
func ParseKeyring(src io.Reader) (Keyring, error) {
	p, err := io.ReadAll(io.LimitReader(src, maxKeyring+1))
	if err != nil {
		return nil, err
	}
	if len(p) > maxKeyring {
		return nil, fmt.Errorf("larger than %d bytes", maxKeyring)
	}
	if len(p) > 0 && p[0] == keyringBinaryVersion {
		return parseBinaryKeyring(p)
	}
	return parseTextKeyring(string(p))
}

const keyringBinaryVersion = 1

// parseBinaryKeyring reads u8 1, map<EntityName, EntityAuth>.
func parseBinaryKeyring(p []byte) (Keyring, error) {
	r := denc.NewReader(p)
	r.U8()
	n := r.Count(9)
	k := make(Keyring, n)
	for range n {
		var name entity.AuthName
		var e Entry
		name.Decode(r)
		if v := r.U8(); v >= 2 {
			r.U64() // auid
		}
		e.Key.Decode(r)
		e.Caps = denc.Map(r, 8, (*denc.Reader).String, func(r *denc.Reader) string { return denc.NewReader(r.Bytes()).String() })
		if r.Err() != nil {
			return nil, r.Err()
		}
		k[name] = e
	}
	return k, r.Done()
}

func parseTextKeyring(text string) (Keyring, error) {
	k := make(Keyring)
	var name entity.AuthName
	inside := false
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, maxKeyring)
	for line := 1; sc.Scan(); line++ {
		s := strings.TrimSpace(sc.Text())
		if s == "" || s[0] == '#' || s[0] == ';' {
			continue
		}
		if s[0] == '[' {
			var err error
			if name, err = keyringSection(s); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			if _, ok := k[name]; !ok {
				k[name] = Entry{Caps: map[string]string{}}
			}
			inside = true
			continue
		}
		if !inside {
			return nil, fmt.Errorf("line %d: a setting before the first [entity]", line)
		}
		e := k[name]
		if err := e.set(s); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, name, err)
		}
		k[name] = e
	}
	return k, sc.Err()
}

func keyringSection(s string) (entity.AuthName, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(cutComment(s), "["), "]")
	if !ok {
		return entity.AuthName{}, fmt.Errorf("%q is no section head, want [TYPE.ID]", s)
	}
	return entity.ParseAuthName(strings.TrimSpace(inner))
}

// cutComment removes a trailing comment that is not inside quotes.
func cutComment(s string) string {
	quote := byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote && s[i-1] != '\\' {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' || c == ';':
			return strings.TrimSpace(s[:i])
		}
	}
	return strings.TrimSpace(s)
}

func (e *Entry) set(s string) error {
	name, value, ok := strings.Cut(cutComment(s), "=")
	if !ok {
		return errors.New("not a setting: no '='")
	}
	value = unquote(strings.TrimSpace(value))
	name = strings.Join(strings.Fields(strings.ReplaceAll(name, "_", " ")), " ")
	service, isCaps := strings.CutPrefix(name, "caps ")
	switch {
	case name == "key":
		key, err := ParseKey(value)
		if err != nil {
			return err
		}
		e.Key = key
	case isCaps:
		e.Caps[service] = value
	case name == "pending key", name == "auid":
	default:
		return fmt.Errorf("unknown setting %q", name)
	}
	return nil
}

// unquote removes surrounding quotes and the backslashes inside them.
func unquote(s string) string {
	if len(s) < 2 || (s[0] != '"' && s[0] != '\'') || s[len(s)-1] != s[0] {
		return s
	}
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// String returns the text form that "ceph-authtool" writes, entities by name.
// It holds the secrets.
func (k Keyring) String() string {
	var b strings.Builder
	names := slices.SortedFunc(maps.Keys(k), func(a, b entity.AuthName) int {
		if a.Type != b.Type {
			return int(a.Type) - int(b.Type)
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, n := range names {
		e := k[n]
		fmt.Fprintf(&b, "[%s]\n", n)
		if !e.Key.IsZero() {
			fmt.Fprintf(&b, "\tkey = %s\n", e.Key.Base64())
		}
		for _, s := range slices.Sorted(maps.Keys(e.Caps)) {
			caps := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(e.Caps[s])
			fmt.Fprintf(&b, "\tcaps %s = \"%s\"\n", s, caps)
		}
	}
	return b.String()
}
