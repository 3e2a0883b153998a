package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
)

const exitNotSupported = 95

// errConfig says that the configuration cannot be read: rbd says nothing more then.
var errConfig = errors.New("bad configuration")

// closeTimeout bounds giving the lock and the watch back at the end of a command.
const closeTimeout = 30 * time.Second

// call is one command being carried out. Its connection is made when the command
// first needs it, so that a bad command line is told without one.
type call struct {
	*cli.Invocation
	std streams.Streams

	inv    *conf.Invocation
	cfg    *conf.Config
	client *rados.Client
	// atEnd are lines for stderr that come after all others.
	atEnd []string
}

// handler carries a command out. An error that it returns is printed by Main,
// a *cli.UsageError as it stands.
type handler func(ctx context.Context, c *call) error

func (c *call) close() {
	if c.client != nil {
		c.client.Close()
	}
}

// deprecated says at the end of the command which option is to be used instead.
func (c *call) deprecated(option, instead string) {
	c.atEnd = append(c.atEnd, fmt.Sprintf("rbd: %s is deprecated, use %s", option, instead))
}

// printf writes to stdout.
func (c *call) printf(format string, args ...any) { fmt.Fprintf(c.std.Out, format, args...) }

// warnf writes a line to stderr.
func (c *call) warnf(format string, args ...any) { fmt.Fprintf(c.std.Err, format+"\n", args...) }

// config returns the configuration, reading it at the first call.
func (c *call) config() (*conf.Config, error) {
	if c.cfg == nil {
		cfg, err := c.inv.Load()
		if err != nil {
			return nil, &cli.UsageError{Code: exitCode(err), Msg: fmt.Sprintf("global_init: %v", err), Err: errConfig}
		}
		c.cfg = cfg
		for _, bad := range cfg.Ignored() {
			c.warnf("%s", parseError(bad))
		}
		if _, err := os.Stat(cfg.Get("keyfile")); cfg.Get("keyfile") != "" && errors.Is(err, fs.ErrNotExist) {
			c.warnf("cannot read keyfile: (%d) No such file or directory", exitNoEntry)
		}
	}
	return c.cfg, nil
}

// parseError says that an option of the command line is ignored. Of one that is
// neither true nor false, Ceph names neither the value nor the reason, of features
// no reason.
func parseError(e *conf.SettingError) string {
	switch {
	case errors.Is(e, conf.ErrNotBool):
		return fmt.Sprintf("parse error setting '%s' to ''\n", e.Name)
	case errors.Is(e, conf.ErrNotFeatures):
		return fmt.Sprintf("parse error setting '%s' to '%s'\n", e.Name, e.Value)
	}
	return fmt.Sprintf("parse error setting '%s' to '%s' (%v)\n", e.Name, e.Value, e.Err)
}

// connect returns the connection to the cluster, making it at the first call.
func (c *call) connect(ctx context.Context) (*rados.Client, error) {
	if c.client != nil {
		return c.client, nil
	}
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	client, err := rados.Connect(ctx, cfg, rados.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, &cli.UsageError{Code: exitCode(err), Msg: fmt.Sprintf("rbd: couldn't connect to the cluster!\nrbd: %v", err), Err: err}
	}
	c.client = client
	return client, nil
}

// pool opens the pool and namespace that s names, or the default pool.
func (c *call) pool(ctx context.Context, s spec) (*rados.IoCtx, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	name := s.Pool
	if name == "" {
		if name = c.cfg.Get("rbd_default_pool"); name == "" {
			name = "rbd"
		}
	}
	io, err := client.OpenPool(ctx, name)
	switch {
	case err == nil:
		if err := c.checkNamespace(ctx, io, s.Namespace); err != nil {
			return nil, err
		}
		return io.WithNamespace(s.Namespace), nil
	case s.Pool == "" && errors.Is(err, rados.ErrNotFound):
		return nil, &cli.UsageError{Code: exitNoEntry, Msg: fmt.Sprintf("rbd: error opening default pool '%s'\nEnsure that the default pool has been created or specify an alternate pool name.", name), Err: err}
	}
	return nil, failed(err, "rbd: error opening pool '%s'", name)
}

// image opens the image that s names, at its snapshot if it names one.
func (c *call) image(ctx context.Context, s spec, o rbd.OpenOptions) (*rbd.Image, error) {
	io, err := c.pool(ctx, s)
	if err != nil {
		return nil, err
	}
	o.Snapshot = s.Snap
	return openImage(ctx, io, s.Image, o)
}

// imageOrID opens the image that s names or, if that is empty, the one with the id.
func (c *call) imageOrID(ctx context.Context, s spec, id string, o rbd.OpenOptions) (*rbd.Image, error) {
	if id == "" {
		return c.image(ctx, s, o)
	}
	io, err := c.pool(ctx, s)
	if err != nil {
		return nil, err
	}
	o.Snapshot = s.Snap
	img, err := rbd.OpenByID(ctx, io, id, o)
	if err != nil {
		return nil, failed(err, "rbd: error opening image with id %s", id)
	}
	return img, nil
}

func openImage(ctx context.Context, io *rados.IoCtx, name string, o rbd.OpenOptions) (*rbd.Image, error) {
	img, err := rbd.Open(ctx, io, name, o)
	if err == nil {
		return img, nil
	}
	if o.Snapshot != "" && errors.Is(err, rados.ErrNotFound) {
		if _, missing := rbd.LookupID(ctx, io, name); missing == nil {
			return nil, failed(err, "error setting snapshot context")
		}
	}
	return nil, failed(err, "rbd: error opening image %s", name)
}

// closeImage ends the use of an image; a failure to do so is the command's unless
// it failed already.
func closeImage(img *rbd.Image, err *error) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if e := img.Close(ctx); e != nil && *err == nil {
		*err = failed(e, "rbd: error closing image %s", img.Name())
	}
}

// checkNamespace makes sure that the pool has the namespace.
func (c *call) checkNamespace(ctx context.Context, io *rados.IoCtx, name string) error {
	exists, err := rbd.NamespaceExists(ctx, io, name)
	switch {
	case err != nil:
		return failed(err, "rbd: error checking if namespace exists")
	case !exists:
		return &cli.UsageError{Code: exitNoEntry, Msg: fmt.Sprintf("rbd: namespace '%s' does not exist.", name), Err: rados.ErrNotFound}
	}
	return nil
}

// format returns the output format: "" for plain, "json" or "xml".
func (c *call) format() (string, error) {
	f := c.String("format")
	switch f {
	case "", "plain":
		if c.Has("pretty-format") {
			return "", invalidf("rbd: --pretty-format only works when --format is json or xml")
		}
		return "", nil
	case "json", "xml":
		return f, nil
	}
	return "", badOption("format")
}

// formatter returns a Formatter for the format that was asked for, or nil for
// plain output.
func (c *call) formatter() (*cli.Formatter, error) {
	f, err := c.format()
	if f == "" || err != nil {
		return nil, err
	}
	return cli.NewFormatter(f, c.Has("pretty-format")), nil
}

// badOption says that an option's value is not one of its kind.
func badOption(name string) error {
	return &cli.UsageError{Code: exitGeneral, Msg: fmt.Sprintf("rbd: the argument for option '--%s' is invalid", name)}
}

// failed is the usual end of a command: the text, ": ", the error's number and
// words as Ceph prints them, and the number as the exit code.
func failed(err error, format string, args ...any) error {
	var usage *cli.UsageError
	if errors.As(err, &usage) {
		return usage
	}
	return &cli.UsageError{Code: exitCode(err), Msg: fmt.Sprintf(format, args...) + ": " + errnoText(err), Err: err}
}

// exitCode returns the errno that an error comes down to; rbd exits with it.
func exitCode(err error) int {
	var usage *cli.UsageError
	var errno rados.Errno
	switch {
	case errors.As(err, &usage):
		return usage.Code
	case errors.As(err, &errno):
		return int(errno) & 0xff
	case errors.Is(err, context.DeadlineExceeded):
		return int(rados.ErrTimedOut)
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return exitGeneral
}

// errnoText returns "(2) No such file or directory"; an error without a number
// is its own text.
func errnoText(err error) string {
	var errno rados.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	text := errno.Error()
	if errno == rados.ErrBlocklisted {
		text = "cannot send after transport endpoint shutdown"
	}
	return fmt.Sprintf("(%d) %s%s", int(errno), strings.ToUpper(text[:1]), text[1:])
}
