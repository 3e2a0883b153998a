package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
)

var (
	// ErrNoKeyring says that none of the keyring files exists.
	ErrNoKeyring = errors.New("no keyring found")
	// ErrKey is what every error of Key is that no server can help with: there is
	// no keyring, it cannot be read, or what it has is no key.
	ErrKey = errors.New("no usable key")
)

// keyError makes an error an ErrKey without changing its words.
type keyError struct{ error }

func (e keyError) Unwrap() error        { return e.error }
func (e keyError) Is(target error) bool { return target == ErrKey }

// Key returns the entity's key: from the option "key", else from the file
// "keyfile" if there is one, else from the first of the files in "keyring" that exists. The
// files are read anew each time. Its errors are ErrKey as well.
func (c *Config) Key() (cephx.Key, error) {
	k, err := c.readKey()
	if err != nil {
		return cephx.Key{}, keyError{err}
	}
	return k, nil
}

func (c *Config) readKey() (cephx.Key, error) {
	if s := c.Get("key"); s != "" {
		k, err := cephx.ParseKey(s)
		if err != nil {
			return cephx.Key{}, fmt.Errorf("option key of %s: %w", c.name, err)
		}
		return k, nil
	}
	path := c.Get("keyfile")
	if path == "" {
		return c.readKeyring()
	}
	k, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) { // Ceph goes on with the keyring then
		if other, rerr := c.readKeyring(); rerr == nil {
			return other, nil
		}
	}
	return k, err
}

func (c *Config) readKeyring() (cephx.Key, error) {
	paths := c.keyringPaths()
	for _, p := range paths {
		ring, err := cephx.ReadKeyring(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return cephx.Key{}, err
		}
		e, err := ring.Lookup(c.name)
		if err != nil {
			return cephx.Key{}, fmt.Errorf("keyring %s: %w", p, err)
		}
		return e.Key, nil
	}
	return cephx.Key{}, fmt.Errorf("%w for %s: none of %s exists", ErrNoKeyring, c.name, strings.Join(paths, ", "))
}

func (c *Config) keyringPaths() []string {
	return strings.FieldsFunc(c.Get("keyring"), func(r rune) bool { return strings.ContainsRune(",; \t", r) })
}

func readKeyFile(path string) (cephx.Key, error) {
	p, err := os.ReadFile(path)
	if err != nil {
		return cephx.Key{}, fmt.Errorf("key file: %w", err)
	}
	k, err := cephx.ParseKey(string(p))
	if err != nil {
		return cephx.Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// AuthMethods returns the authentication methods that the client agrees to, in
// order of preference (auth_supported, else auth_client_required). A word that
// names no method known here is an error.
func (c *Config) AuthMethods() ([]uint32, error) {
	name := "auth_supported"
	words := c.List(name)
	if len(words) == 0 {
		name = "auth_client_required"
		words = c.List(name)
	}
	var methods []uint32
	for _, w := range words {
		switch w {
		case "cephx":
			methods = append(methods, cephx.MethodCephx)
		case "none":
			methods = append(methods, cephx.MethodNone)
		default:
			return nil, fmt.Errorf("option %s: authentication method %q is not supported, only cephx and none", name, w)
		}
	}
	return methods, nil
}

// MonModes returns the connection modes for monitors and managers, in order of
// preference.
func (c *Config) MonModes() []msgr2.Mode { return c.modes("ms_mon_client_mode") }

// OSDModes returns the connection modes for OSDs, in order of preference.
func (c *Config) OSDModes() []msgr2.Mode { return c.modes("ms_client_mode") }

func (c *Config) modes(option string) []msgr2.Mode {
	var modes []msgr2.Mode
	for _, w := range c.List(option) {
		switch w {
		case "crc":
			modes = append(modes, msgr2.ModeCRC)
		case "secure":
			modes = append(modes, msgr2.ModeSecure)
		}
	}
	if len(modes) == 0 {
		return []msgr2.Mode{msgr2.ModeSecure}
	}
	return modes
}
