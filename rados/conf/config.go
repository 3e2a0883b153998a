package conf

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Level is a place that values come from; a higher one wins.
type Level int

// The levels, weakest first.
const (
	LevelDefault Level = iota
	LevelMon
	LevelFile
	LevelEnv
	LevelCommandLine
	LevelOverride
	levels
)

// String returns Ceph's word for the level.
func (l Level) String() string {
	return [...]string{"default", "mon", "file", "env", "cmdline", "override"}[l]
}

// Config is the configuration of one entity. It is safe for concurrent use.
type Config struct {
	cluster string
	name    entity.AuthName
	host    string
	home    string
	path    string
	file    File
	// noMonConfig says not to use the central configuration.
	noMonConfig bool

	mu       sync.RWMutex
	layers   [levels]map[string]string // guarded by mu
	warnings []string                  // guarded by mu
	ignored  []*SettingError           // of the command line
}

// New returns a Config for name with nothing but defaults. Cluster is "ceph"
// when empty.
func New(cluster string, name entity.AuthName) *Config {
	if cluster == "" {
		cluster = defaultCluster
	}
	c := &Config{cluster: cluster, name: name}
	host, _ := os.Hostname()
	c.host, _, _ = strings.Cut(host, ".")
	c.home, _ = os.UserHomeDir()
	for l := range c.layers {
		c.layers[l] = map[string]string{}
	}
	return c
}

// Cluster returns the cluster's name, of which file names are made.
func (c *Config) Cluster() string { return c.cluster }

// Name returns the entity.
func (c *Config) Name() entity.AuthName { return c.name }

// Path returns the configuration file that was read, or "".
func (c *Config) Path() string { return c.path }

// NoMonConfig reports whether --no-mon-config was given: the monitors' central
// configuration is not wanted.
func (c *Config) NoMonConfig() bool { return c.noMonConfig }

// Hostname returns the short name of this machine.
func (c *Config) Hostname() string { return c.host }

// Warnings returns what was wrong with single values: each was ignored, as
// Ceph does.
func (c *Config) Warnings() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.warnings)
}

// Ignored returns the options of the command line whose values do not fit. They
// are among the Warnings too.
func (c *Config) Ignored() []*SettingError { return c.ignored }

// useFile makes f the file layer.
func (c *Config) useFile(path string, f File) {
	c.path, c.file = path, f
	sections := []string{"global", c.name.Type.String(), c.name.String()}
	for _, s := range sections {
		for k, v := range f[s] {
			c.Set(LevelFile, k, v)
		}
	}
}

// SettingError says that an option cannot have a value. The reason is in the words
// of Ceph.
type SettingError struct {
	Setting
	Err error
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("option %s: %q: %v", e.Name, e.Value, e.Err)
}

// Unwrap returns the reason.
func (e *SettingError) Unwrap() error { return e.Err }

// Set sets an option at a level. A value that does not fit the option's type is
// refused with an error, and noted in Warnings.
func (c *Config) Set(l Level, name, value string) error {
	name = Normalize(name)
	var err error
	if k, ok := kindOf(name); ok && value != "" {
		err = k.check(strings.TrimSpace(value))
	} else if strings.HasPrefix(name, "debug_") {
		err = checkLogLevel(strings.TrimSpace(value))
	}
	if err != nil {
		err = &SettingError{Setting{name, value}, err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if w := fmt.Sprintf("%v (ignored, from %s)", err, l); !slices.Contains(c.warnings, w) {
			c.warnings = append(c.warnings, w)
		}
		return err
	}
	c.layers[l][name] = value
	return nil
}

// SetCentral replaces all that the monitors set. It returns the names of the
// options whose value in force changed, in order.
func (c *Config) SetCentral(values map[string]string) []string {
	names := map[string]string{}
	c.mu.RLock()
	for n := range c.layers[LevelMon] {
		names[n] = ""
	}
	c.mu.RUnlock()
	for n := range values {
		names[Normalize(n)] = ""
	}
	for n := range names {
		names[n] = c.Get(n)
	}
	c.mu.Lock()
	clear(c.layers[LevelMon])
	c.mu.Unlock()
	for n, v := range values {
		_ = c.Set(LevelMon, n, v) // noted as a warning
	}
	var changed []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if c.Get(n) != names[n] {
			changed = append(changed, n)
		}
	}
	return changed
}

// raw returns the strongest value of a normalised name, unexpanded.
func (c *Config) raw(name string) (string, Level, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for l := levels - 1; l > LevelDefault; l-- {
		if v, ok := c.layers[l][name]; ok {
			return v, l, true
		}
	}
	o, ok := options[name]
	return o.def, LevelDefault, ok
}

// Lookup returns the value of an option with its metavariables replaced, and
// where it comes from. ok is false for an option that is not known here and set
// nowhere.
func (c *Config) Lookup(name string) (value string, from Level, ok bool) {
	v, l, ok := c.raw(Normalize(name))
	if !ok {
		return "", LevelDefault, false
	}
	return c.expand(v, maxExpansions), l, true
}

// Get returns the value of an option with its metavariables replaced, "" if
// there is none.
func (c *Config) Get(name string) string {
	v, _, _ := c.Lookup(name)
	return v
}

// maxExpansions bounds how deep options may refer to each other.
const maxExpansions = 8

// Expand replaces the metavariables in s: $cluster, $type, $id, $name, $num,
// $host, $home, $pid, $cctid, and options by their names. An unknown one stays
// as it is.
func (c *Config) Expand(s string) string { return c.expand(s, maxExpansions) }

func (c *Config) expand(s string, depth int) string {
	if depth == 0 || !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest := variable(after)
		value, ok := c.variable(name, depth)
		if !ok {
			b.WriteString("$" + after[:len(after)-len(rest)])
		} else {
			b.WriteString(value)
		}
		s = rest
	}
}

// variable cuts the name of a variable, bare or in braces, off s.
func variable(s string) (name, rest string) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		if name, rest, ok = strings.Cut(inner, "}"); ok {
			return name, rest
		}
		return "", s
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return s[:n], s[n:]
}

func (c *Config) variable(name string, depth int) (string, bool) {
	switch name {
	case "cluster":
		return c.cluster, true
	case "type":
		return c.name.Type.String(), true
	case "id", "num":
		return c.name.ID, true
	case "name":
		return c.name.String(), true
	case "host":
		return c.host, true
	case "home":
		return c.home, true
	case "pid", "cctid":
		return strconv.Itoa(os.Getpid()), true
	}
	v, _, ok := c.raw(name)
	if !ok || name == "" {
		return "", false
	}
	return c.expand(v, depth-1), true
}

// Int returns a number; suffixes K, M, G are powers of 1000. A value that is
// none gives the default.
func (c *Config) Int(name string) int64 {
	return typed(c, name, func(s string) (int64, error) { return parseScaled(s, false) })
}

// Size returns a number of bytes; suffixes K, M, G are powers of 1024.
func (c *Config) Size(name string) int64 {
	return typed(c, name, func(s string) (int64, error) { return parseScaled(s, true) })
}

// Float returns a number.
func (c *Config) Float(name string) float64 {
	return typed(c, name, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
}

// Bool returns a truth value.
func (c *Config) Bool(name string) bool { return typed(c, name, parseBool) }

// Duration returns a time span: a number of seconds, with a fraction or with a
// unit.
func (c *Config) Duration(name string) time.Duration {
	return typed(c, name, func(s string) (time.Duration, error) {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			if f = f * float64(time.Second); math.Abs(f) < math.MaxInt64 {
				return time.Duration(f), nil
			}
			return math.MaxInt64, nil
		}
		return parseSpan(s)
	})
}

// List returns a value split at commas, semicolons and space.
func (c *Config) List(name string) []string { return splitList(c.Get(name)) }

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; \t", r) })
}

func typed[T any](c *Config, name string, parse func(string) (T, error)) T {
	v, err := parse(strings.TrimSpace(c.Get(name)))
	if err != nil {
		v, _ = parse(options[Normalize(name)].def)
	}
	return v
}
