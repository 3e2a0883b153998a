package rbdcmd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// dataHandlers are the commands that move or measure image data.
func dataHandlers() map[string]handler {
	return map[string]handler{
		"export":      exportImage,
		"import":      importImage,
		"diff":        diffImage,
		"disk-usage":  diskUsage,
		"bench":       bench,
		"bench-write": benchWrite,

		"export-diff": exportDiff,
		"import-diff": importDiff,
		"merge-diff":  mergeDiff,
		"copy":        copyImage,
		"deep copy":   deepCopy,
	}
}

// takePath returns the file that is named by --path or the next positional
// argument, and the arguments that follow.
func (c *call) takePath(rest []string) (string, []string, error) {
	path := c.String("path")
	if path == "" && len(rest) > 0 {
		path, rest = rest[0], rest[1:]
	}
	if path == "" {
		return "", nil, invalidf("rbd: path was not specified")
	}
	return path, rest, nil
}

// exportFormat reads --export-format.
func (c *call) exportFormat() (int, error) {
	if !c.Has("export-format") {
		return 1, nil
	}
	n, err := strconv.Atoi(c.String("export-format"))
	if err != nil || n != 1 && n != 2 {
		return 0, badOption("export-format")
	}
	return n, nil
}

// streamProgress is progress of an export or an import, which tells the last
// percent in format 2.
func (c *call) streamProgress(operation string, format int) (rbd.Progress, func(error)) {
	if format == 2 {
		return c.progressToEnd(operation)
	}
	return c.progress(operation)
}

// stdStream is the path that stands for stdin or stdout.
const stdStream = "-"

// createFile opens a new file to write to, or stdout.
func (c *call) createFile(path string) (io.WriteCloser, error) {
	if path == stdStream {
		return nopCloser{c.std.Out}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	return f, osError(err)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// osError returns the errno of a file operation's failure as one of ours, so
// that it becomes the exit code.
func osError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return rados.ErrExists
	case errors.Is(err, fs.ErrNotExist):
		return rados.ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		return rados.ErrAccess
	}
	return sysError(err)
}

// exportImage is `rbd export`.
func exportImage(ctx context.Context, c *call) (err error) {
	s, rest, err := specArg{snap: snapOptional}.take(c.Invocation)
	if err != nil {
		return err
	}
	path, _, err := c.takePath(rest)
	if err != nil {
		return err
	}
	format, err := c.exportFormat()
	if err != nil {
		return err
	}
	img, err := c.image(ctx, s, rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	out, err := c.createFile(path)
	if err != nil {
		return failed(err, "rbd: export error")
	}
	p, done := c.streamProgress("Exporting image", format)
	err = errors.Join(rbd.Export(ctx, img, out, format, p), out.Close())
	done(err)
	if err != nil {
		return failed(err, "rbd: export error")
	}
	return nil
}

// importImage is `rbd import`.
func importImage(ctx context.Context, c *call) error {
	path, rest, err := c.takePath(c.Args)
	if err != nil {
		return err
	}
	format, err := c.exportFormat()
	if err != nil {
		return err
	}
	o, err := c.createOptions()
	if err != nil {
		return err
	}
	c.newFormat()
	sparse, err := c.sparseSize()
	if err != nil {
		return err
	}
	if text := c.String("image-format"); text == "1" {
		c.warnf("rbd: image format 1 is deprecated\nrbd: image creation failed")
		return failed(rados.ErrInvalid, "rbd: import failed")
	}
	if c.Has("image") {
		c.deprecated("--image", "--dest")
	}
	if c.Has("pool") {
		c.deprecated("-p [ --pool ]", "--dest-pool")
	}
	s, err := c.importDestination(path, len(c.Args)-len(rest))
	if err != nil {
		return err
	}
	io, err := c.pool(ctx, s)
	if err != nil {
		return err
	}
	if err := c.importFrom(ctx, io, s.Image, path, format, o, sparse); err != nil {
		return failed(err, "rbd: import failed")
	}
	return nil
}

// importDestination returns the image to make: one of the file's name if none is
// given. The options for the source stand for it as well, as they once did.
func (c *call) importDestination(path string, arg int) (spec, error) {
	s, err := specArg{arg: arg, dest: true, noImage: true}.read(c.Invocation)
	if err != nil {
		return s, err
	}
	if s.Pool == "" {
		s.Pool = c.String("pool")
	}
	if s.Image == "" {
		s.Image = c.String("image")
	}
	if s.Image == "" {
		s.Image = filepath.Base(path)
	}
	return s, nil
}

func (c *call) importFrom(ctx context.Context, pool *rados.IoCtx, name, path string, format int, o rbd.CreateOptions, sparse uint64) error {
	in, size := c.std.In, uint64(0)
	p, done := c.streamProgress("Importing image", format)
	if path != stdStream {
		f, err := os.Open(path)
		if err != nil {
			c.warnf("rbd: error opening %s", path)
			return osError(err)
		}
		defer f.Close()
		if size, err = fileSize(f); err != nil {
			c.warnf("%s", err)
			done(err)
			return errors.Unwrap(err)
		}
		in = f
	}
	err := rbd.Import(ctx, pool, name, in, format, o, rbd.StreamOptions{Size: size, SparseSize: sparse, Progress: p})
	c.warnStream(err)
	done(err)
	return err
}

// warnStream says what is wrong with a stream.
func (c *call) warnStream(err error) {
	var bad *rbd.StreamError
	if errors.As(err, &bad) {
		c.warnf("%s", bad.Text)
	}
}

// sparseSize reads --sparse-size, by default 4 KiB.
func (c *call) sparseSize() (uint64, error) {
	if !c.Has("sparse-size") {
		return 4096, nil
	}
	n, err := cli.ParseSize(c.String("sparse-size"), 1)
	if err != nil {
		return 0, badOption("sparse-size")
	}
	return n, nil
}

// importProblem is a file that cannot be imported: what to say, and the errno.
type importProblem struct {
	text  string
	errno rados.Errno
}

func (p *importProblem) Error() string { return p.text }
func (p *importProblem) Unwrap() error { return p.errno }

// fileSize returns how many bytes there are to import, 0 if that is not known.
func fileSize(f *os.File) (uint64, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return 0, osError(err)
	case info.IsDir():
		return 0, &importProblem{"rbd: cannot import a directory", 21}
	case info.Mode().IsRegular() && info.Size() > 0:
		return uint64(info.Size()), nil
	case info.Mode().IsRegular() || info.Mode()&os.ModeCharDevice != 0:
		return 0, &importProblem{"rbd: unable to get size of file/block device", 25}
	case info.Mode()&os.ModeDevice != 0:
		n, err := f.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		return uint64(n), osError(err)
	}
	return 0, nil // a pipe
}

// diffImage is `rbd diff`.
func diffImage(ctx context.Context, c *call) (err error) {
	s, f, err := c.show(specArg{snap: snapOptional}.read)
	if err != nil {
		return err
	}
	img, err := c.image(ctx, s, rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	o := rbd.DiffOptions{WholeObject: c.Has("whole-object"), IncludeParent: true}
	if name := c.String("from-snap"); name != "" {
		from, ok := img.UserSnapshot(name)
		if !ok {
			return failed(rados.ErrNotFound, "rbd: diff error")
		}
		o.From = from.ID
	}
	var table cli.TextTable
	for _, column := range []string{"Offset", "Length", "Type"} {
		table.Column(column, cli.Left, cli.Left)
	}
	if f != nil {
		f.OpenArray("extents")
	}
	err = img.Diff(ctx, o, func(e rbd.DiffExtent) error {
		if f == nil {
			kind := "zero"
			if e.Exists {
				kind = "data"
			}
			table.Row(strconv.FormatUint(e.Off, 10), strconv.FormatUint(e.Len, 10), kind)
			return nil
		}
		f.OpenObject("extent")
		f.Uint("offset", e.Off)
		f.Uint("length", e.Len)
		f.String("exists", strconv.FormatBool(e.Exists))
		f.Close()
		return nil
	})
	if err != nil {
		return failed(err, "rbd: diff error")
	}
	if f != nil {
		f.Close()
		return f.Flush(c.std.Out)
	}
	if table.Len() > 0 {
		table.Write(c.std.Out)
	}
	return nil
}
