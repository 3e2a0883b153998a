// Package daemoncmd is the rbd-mirror program: the mirroring daemon with the
// options of Ceph's (src/tools/rbd_mirror/main.cc).
package daemoncmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/pflag"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/mirror/adminsocket"
	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/engine"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

const usage = `usage: rbd-mirror [options...]
options:
  -m monaddress[:port]      connect to specified monitor
  --keyring=<path>          path to keyring for local cluster
  --log-file=<logfile>       file to log debug output
  --debug-rbd-mirror=<log-level>/<memory-level>  set rbd-mirror debug level
  --conf/-c FILE    read configuration from the given configuration file
  --id/-i ID        set ID portion of my name
  --name/-n TYPE.ID set name
  --cluster NAME    set cluster name (default: ceph)
  --setuser USER    set uid to user or uid (and gid to user's gid)
  --setgroup GROUP  set gid to group or gid
  --checkpoints FILE  where to remember unfinished copies
                    (default: /var/lib/ceph/rbdm/CLUSTER-NAME.db; "" for nowhere)
  --version         show version and quit

  -d                run in foreground, log to stderr
  -f                run in foreground, log to usual location

  --debug_ms N      set message debug level (e.g. 1)
`

// flags are the options that only the daemon has.
type flags struct {
	foreground, stderr, version, help bool
	setuser, setgroup                 string
	checkpoints                       string
}

// New returns the program; version is what --version prints, short the word that
// the service map shows.
func New(version, short string) func(ctx context.Context, args []string, std streams.Streams) int {
	return func(ctx context.Context, args []string, std streams.Streams) int {
		err := run(ctx, args, std, version, short)
		if err == nil {
			return 0
		}
		fmt.Fprintf(std.Err, "rbd-mirror: %v\n", err)
		return 1 // as Ceph's daemon, whatever it is
	}
}

func run(ctx context.Context, args []string, std streams.Streams, version, short string) error {
	inv, rest, err := conf.ParseArgs(args, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	if err != nil {
		return err
	}
	f, err := parse(rest)
	switch {
	case err != nil:
		return err
	case f.help:
		fmt.Fprint(std.Out, usage)
		return nil
	case f.version:
		fmt.Fprintln(std.Out, version)
		return nil
	}
	cfg, err := inv.Load()
	if err != nil {
		return err
	}
	if !f.foreground && !f.stderr {
		return detach(args)
	}
	out, err := logTo(cfg, f, std)
	if err != nil {
		return err
	}
	defer out.Close()
	if f.checkpoints == defaultCheckpoints {
		f.checkpoints = filepath.Join("/var/lib/ceph/rbdm", cfg.Cluster()+"-"+cfg.Name().String()+".db")
	}
	made := makeFolder(f.checkpoints)
	// They are options of the configuration too, and read as such before us.
	if err := become(cmp.Or(f.setuser, cfg.Get("setuser")), cmp.Or(f.setgroup, cfg.Get("setgroup")), made); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	memory := openCheckpoints(f.checkpoints, log)
	defer memory.Close()
	for _, w := range cfg.Warnings() {
		log.Warn("configuration", "problem", w)
	}
	d := engine.NewDaemon(engine.Config{Local: cfg, Version: short, Logger: log, Checkpoints: memory})
	ctx, cancel := context.WithCancel(ctx)
	var socket sync.WaitGroup
	defer socket.Wait()
	defer cancel()
	socket.Go(func() { serveAdmin(ctx, adminSocket(cfg), d, version, log) })
	return d.Run(ctx)
}

// adminSocket returns the path of the admin socket; by default it is named after
// the process, as several daemons may run as the same client.
func adminSocket(cfg *conf.Config) string {
	path, from, _ := cfg.Lookup("admin_socket")
	if from == conf.LevelDefault {
		return cfg.Expand("$run_dir/$cluster-$name.$pid.$cctid.asok")
	}
	return path
}

// serveAdmin answers on the admin socket. The daemon works without it.
func serveAdmin(ctx context.Context, path string, d *engine.Daemon, version string, log *slog.Logger) {
	if path == "" {
		return
	}
	commands := func() []adminsocket.Command {
		return append(d.AdminCommands(), adminsocket.Command{Words: "version", Help: "get ceph version", Run: func(context.Context) ([]byte, error) {
			return adminsocket.JSON(map[string]string{"version": version, "release_type": "rbdm"})
		}})
	}
	if err := adminsocket.Serve(ctx, path, commands); err != nil {
		log.Warn("working without an admin socket", "err", err)
	}
}

// defaultCheckpoints stands for the file that is named after cluster and client.
const defaultCheckpoints = "\x00"

// makeFolder makes the folder that path is in, and returns it if it was not there.
// That it cannot be made shows when the file is opened.
func makeFolder(path string) (made string) {
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); path == "" || err == nil || os.MkdirAll(folder, 0o755) != nil {
		return ""
	}
	return folder
}

// openCheckpoints opens the file; without it the daemon works as well, but a crash
// costs time.
func openCheckpoints(path string, log *slog.Logger) *checkpoint.Store {
	if path == "" {
		return nil
	}
	memory, err := checkpoint.Open(path)
	if err != nil {
		log.Warn("working without checkpoints: a crash will cost time", "err", err)
		return nil
	}
	return memory
}

func parse(args []string) (*flags, error) {
	f := &flags{}
	fs := pflag.NewFlagSet("rbd-mirror", pflag.ContinueOnError)
	fs.Usage = func() {}
	fs.BoolVarP(&f.foreground, "foreground", "f", false, "")
	fs.BoolVarP(&f.stderr, "debug-stderr", "d", false, "")
	fs.BoolVarP(&f.version, "version", "v", false, "")
	fs.BoolVarP(&f.help, "help", "h", false, "")
	fs.StringVar(&f.setuser, "setuser", "", "")
	fs.StringVar(&f.setgroup, "setgroup", "", "")
	fs.StringVar(&f.checkpoints, "checkpoints", defaultCheckpoints, "")
	if err := fs.Parse(args); err != nil {
		return nil, fmt.Errorf("%w: see rbd-mirror --help", err)
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: see rbd-mirror --help", fs.Arg(0))
	}
	return f, nil
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// logTo opens where the log goes: stderr for -d and without a log file.
func logTo(cfg *conf.Config, f *flags, std streams.Streams) (io.WriteCloser, error) {
	path := cfg.Get("log_file")
	if f.stderr || path == "" {
		return keepOpen{std.Err}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return file, nil
}
