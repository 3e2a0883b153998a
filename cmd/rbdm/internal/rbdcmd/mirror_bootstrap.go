package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/msgr2/cephx"
)

// maxToken bounds what is read as a token or key; real ones have hundreds of
// bytes.
const maxToken = 64 << 10

// readKeyFile reads a key in base64.
func readKeyFile(path string) (string, error) {
	text, err := readSmallFile(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return "", invalidf("rbd: failed to open %s", path)
	}
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(text)
	if key == "" {
		return "", nil
	}
	if _, err := cephx.ParseKey(key); err != nil {
		return "", invalidf("rbd: %s: %v", path, err)
	}
	return key, nil
}

// readSmallFile reads a file, or stdin where path is "-" and there is one.
func readSmallFile(path string, stdin io.Reader) (string, error) {
	in := stdin
	if path != "-" || stdin == nil {
		f, err := os.Open(path)
		if err != nil {
			return "", fileError(path, err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return "", fileError(path, err)
	}
	return string(b), nil
}

// fileError says why a file could not be opened, with its errno as the exit code.
func fileError(path string, err error) error {
	code := exitGeneral
	var errno syscall.Errno
	if errors.As(err, &errno) {
		code = int(errno)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.UsageError{Code: exitNoEntry, Msg: fmt.Sprintf("rbd: error opening %s: (2) No such file or directory", path), Err: err}
	}
	return &cli.UsageError{Code: code, Msg: fmt.Sprintf("rbd: error opening %s: %v", path, err), Err: err}
}

func mirrorBootstrapCreate(ctx context.Context, c *call) error {
	pool, _, err := peerPool(ctx, c)
	if err != nil {
		return err
	}
	if _, err := setSiteName(ctx, c); err != nil {
		return err
	}
	token, err := ops.CreateToken(ctx, pool)
	if err != nil {
		return because(err, "failed to create bootstrap peer token")
	}
	c.printf("%s\n", token)
	return nil
}

func mirrorBootstrapImport(ctx context.Context, c *call) error {
	path := c.Arg(1)
	if c.Has("token-path") {
		path = c.String("token-path")
	}
	if path == "" {
		return invalidf("rbd: token path was not specified")
	}
	dir, err := direction(c)
	if err != nil {
		return err
	}
	token, err := readSmallFile(path, c.std.In)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && c.before(ctx, release20) {
			return &cli.UsageError{Code: exitNoEntry, Msg: "rbd: error opening " + path, Err: err}
		}
		return err
	}
	s, err := onlyPool(c.Invocation)
	if err != nil {
		return err
	}
	pool, err := c.pool(ctx, spec{Pool: s.Pool})
	if err != nil {
		return err
	}
	if s.Pool == "" {
		s.Pool = c.cfg.Get("rbd_default_pool")
	}
	if _, err := setSiteName(ctx, c); err != nil {
		return err
	}
	err = ops.ImportToken(ctx, pool, s.Pool, token, dir)
	if errors.Is(err, ops.ErrToken) {
		if c.before(ctx, release20) {
			return invalidf("rbd: failed to import peer bootstrap token")
		}
		return failed(err, "rbd: failed to import peer bootstrap token")
	}
	if err != nil {
		return because(err, "failed to import peer bootstrap token")
	}
	return nil
}
