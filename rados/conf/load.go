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
	return c, i.apply(c)
}

// apply sets what does not come from a file.
func (i *Invocation) apply(c *Config) error {
	c.noMonConfig = i.NoMonConfig
	for _, s := range i.Env {
		_ = c.Set(LevelEnv, s.Name, s.Value) // noted as a warning
	}
	for _, s := range i.Settings {
		if err := c.Set(LevelCommandLine, s.Name, s.Value); err != nil {
			return err
		}
	}
	return nil
}

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
		return fmt.Errorf("cannot read the configuration file: %w", missing)
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
	return c, i.apply(c)
}
