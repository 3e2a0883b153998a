package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	defaultCluster = "ceph"
	// searchPath is where the file is looked for when none is named.
	searchPath = "/etc/ceph/$cluster.conf,$home/.ceph/$cluster.conf,$cluster.conf"
	// maxFile bounds a configuration file, in bytes.
	maxFile = 16 << 20
)

// Load reads the configuration for an invocation. A file that was named and is
// missing gives an error that wraps fs.ErrNotExist, a line that cannot be read
// a *SyntaxError. Without any file the defaults hold. Single values that do not
// fit are noted in Warnings.
func (i *Invocation) Load() (*Config, error) {
	cluster := i.Cluster
	if cluster == "" && i.ConfFile != "" {
		first := splitPaths(i.ConfFile)
		if len(first) > 0 {
			if base, ok := strings.CutSuffix(filepath.Base(first[0]), ".conf"); ok {
				cluster = base
			}
		}
	}
	c := New(cluster, i.Name)
	search := i.ConfFile
	if search == "" {
		search = searchPath
	}
	if err := c.readFirst(splitPaths(c.Expand(search)), i.Explicit); err != nil {
		return nil, err
	}
	i.apply(c)
	return c, nil
}

// apply sets what does not come from a file. Values that do not fit are noted.
func (i *Invocation) apply(c *Config) {
	c.noMonConfig = i.NoMonConfig
	for _, s := range i.Env {
		_ = c.Set(LevelEnv, s.Name, s.Value) // noted as a warning
	}
	for _, s := range i.Settings {
		var bad *SettingError
		if errors.As(c.Set(LevelCommandLine, s.Name, s.Value), &bad) {
			c.ignored = append(c.ignored, bad)
		}
	}
}

// missingFileError says in Ceph's words that no configuration file is where it
// was said to be.
type missingFileError struct {
	search string
	err    error
}

func (e *missingFileError) Error() string {
	return "unable to open config file from search list " + e.search
}

func (e *missingFileError) Unwrap() error { return e.err }

// splitPaths splits a list of files as Ceph does, at commas, semicolons and
// space.
func splitPaths(s string) []string { return splitList(s) }

// readFirst reads the first of paths that exists.
func (c *Config) readFirst(paths []string, explicit bool) error {
	var missing error
	for _, p := range paths {
		text, err := readBounded(p)
		switch {
		case err == nil:
			f, err := Parse(p, text)
			if err != nil {
				return err
			}
			c.useFile(p, f)
			return nil
		case missing == nil:
			missing = err
		}
		if !explicit && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("configuration file: %w", err)
		}
	}
	if explicit {
		return &missingFileError{strings.Join(paths, " "), missing}
	}
	return nil
}

func readBounded(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(p) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return string(p), err
}

// FromText returns the configuration for an invocation with text in place of a
// file. name is for error messages.
func (i *Invocation) FromText(name, text string) (*Config, error) {
	f, err := Parse(name, text)
	if err != nil {
		return nil, err
	}
	c := New(i.Cluster, i.Name)
	c.useFile("", f)
	i.apply(c)
	return c, nil
}
