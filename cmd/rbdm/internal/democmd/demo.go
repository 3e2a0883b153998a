// Package democmd is the demo program: two Ceph clusters in memory, an image
// mirrored from one to the other by the real engine, changed, mirrored again by
// delta, failed over and compared byte for byte.
package democmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/mirror"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	poolName  = "rbd"
	imageName = "disk"
	imageSize = 256 << 20
	chunk     = 1 << 20
	// stepLimit is how long one step may take on a slow machine.
	stepLimit = time.Minute
)

// errDiffers is what the demo is there to rule out.
var errDiffers = errors.New("the replica differs from the primary")

// Main runs the demo and returns the exit code.
func Main(ctx context.Context, args []string, std streams.Streams) int {
	if len(args) > 0 {
		fmt.Fprintln(std.Err, "rbdm demo: takes no arguments")
		return 1
	}
	began := time.Now()
	if err := (&demo{std: std}).run(ctx); err != nil {
		fmt.Fprintf(std.Err, "rbdm demo: %v\n", err)
		return 1
	}
	fmt.Fprintf(std.Out, "done in %.1f s: mirrored, changed, mirrored by delta, failed over; every byte equal each time\n", time.Since(began).Seconds())
	return 0
}

// site is one cluster and a client of it.
type site struct {
	cluster *fakecluster.Cluster
	cfg     *conf.Config
	io      *rados.IoCtx
}

type demo struct {
	std  streams.Streams
	a, b *site
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.std.Out, format+"\n", args...) }

func (d *demo) run(ctx context.Context) (err error) {
	for _, name := range []string{"site-a", "site-b"} {
		s, err := startSite(ctx, name)
		if err != nil {
			return fmt.Errorf("start cluster %s: %w", name, err)
		}
		defer s.cluster.Close()
		defer s.io.Client().Close()
		if d.a == nil {
			d.a = s
		} else {
			d.b = s
		}
		d.say("cluster %s is up, monitor at %s", name, s.cluster.MonHost())
	}
	if err := d.peer(ctx); err != nil {
		return fmt.Errorf("make the clusters peers: %w", err)
	}
	d.say("the pools are peers, by a bootstrap token")
	id, err := d.fill(ctx)
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	mctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- mirror.NewDaemon(mirror.Config{Local: d.b.cfg, Version: "demo"}).Run(mctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	return d.story(ctx, id)
}

// story is what the demo shows.
func (d *demo) story(ctx context.Context, id string) error {
	if err := ops.EnableImage(ctx, d.a.io, id); err != nil {
		return fmt.Errorf("enable mirroring: %w", err)
	}
	entry, err := meta.Image(ctx, d.a.io, id)
	if err != nil {
		return err
	}
	if err := d.follow(ctx, id, entry.GlobalID, "first sync"); err != nil {
		return err
	}
	if err := d.write(ctx, 24, 2); err != nil {
		return fmt.Errorf("change the image: %w", err)
	}
	if _, err := ops.Snapshot(ctx, d.a.io, id, rbd.SnapshotOptions{}); err != nil {
		return fmt.Errorf("mirror snapshot: %w", err)
	}
	if err := d.follow(ctx, id, entry.GlobalID, "delta"); err != nil {
		return err
	}
	if err := ops.Demote(ctx, d.a.io, id); err != nil {
		return fmt.Errorf("demote on site-a: %w", err)
	}
	if err := d.follow(ctx, id, entry.GlobalID, "demotion"); err != nil {
		return err
	}
	replica, err := meta.ImageID(ctx, d.b.io, entry.GlobalID)
	if err != nil {
		return err
	}
	if err := ops.Promote(ctx, d.b.io, replica, false); err != nil {
		return fmt.Errorf("promote on site-b: %w", err)
	}
	d.say("failed over: the image is primary on site-b now")
	return nil
}

func startSite(ctx context.Context, name string) (_ *site, err error) {
	c, err := fakecluster.Start(ctx, fakecluster.Name(name), fakecluster.Pools(poolName))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	key, err := c.Key("client.admin")
	if err != nil {
		return nil, err
	}
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	for option, v := range map[string]string{"mon_host": c.MonHost(), "key": key} {
		if err := cfg.Set(conf.LevelOverride, option, v); err != nil {
			return nil, err
		}
	}
	client, err := rados.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	io, err := client.OpenPool(ctx, poolName)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &site{cluster: c, cfg: cfg, io: io}, nil
}

func (d *demo) peer(ctx context.Context) error {
	for i, s := range []*site{d.a, d.b} {
		if err := rbd.PoolInit(ctx, s.io, false); err != nil {
			return err
		}
		if err := ops.EnablePool(ctx, s.io, wire.MirrorModeImage); err != nil {
			return err
		}
		if err := ops.SetSiteName(ctx, s.io.Client(), []string{"site-a", "site-b"}[i]); err != nil {
			return err
		}
	}
	token, err := ops.CreateToken(ctx, d.a.io)
	if err != nil {
		return err
	}
	return ops.ImportToken(ctx, d.b.io, poolName, token, wire.MirrorPeerRXTX)
}

func (d *demo) fill(ctx context.Context) (id string, err error) {
	if id, err = rbd.Create(ctx, d.a.io, imageName, imageSize, rbd.CreateOptions{}); err != nil {
		return "", err
	}
	return id, d.write(ctx, 128, 1)
}

// write puts n chunks of random bytes at random places of the image on site-a.
func (d *demo) write(ctx context.Context, n int, seed uint64) (err error) {
	img, err := rbd.Open(ctx, d.a.io, imageName, rbd.OpenOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close(ctx)) }()
	rnd := rand.New(rand.NewPCG(seed, seed))
	p := make([]byte, chunk)
	for range n {
		for i := 0; i < len(p); i += 8 {
			v := rnd.Uint64()
			for k := range 8 {
				p[i+k] = byte(v >> (8 * k))
			}
		}
		off := rnd.Uint64N(imageSize/chunk) * chunk
		if _, err := img.WriteAt(ctx, p, off); err != nil {
			return err
		}
	}
	d.say("wrote %d MiB to image %s/%s (%d MiB) on site-a", n*chunk>>20, poolName, imageName, imageSize>>20)
	return nil
}

// follow shows the progress until site-b has the newest mirror snapshot of
// site-a, and compares both images.
func (d *demo) follow(ctx context.Context, id, gid, what string) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	want, err := newest(ctx, d.a.io, id)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := meta.Status(ctx, d.b.io, gid)
		if err == nil && d.std.Terminal {
			fmt.Fprintf(d.std.Err, "\r\x1b[K%s %s", what, bar(status.Local.Description))
		}
		if done, err := d.reached(ctx, gid, want); err != nil {
			return err
		} else if done {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not finish: last status %q: %w", what, status.Local.Description, ctx.Err())
		case <-tick.C:
		}
	}
	if d.std.Terminal {
		fmt.Fprint(d.std.Err, "\r\x1b[K")
	}
	if err := d.compare(ctx, gid); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	d.say("%s: site-b has it, %d MiB compared, equal", what, imageSize>>20)
	return nil
}

// bar draws the percentage of a status description.
func bar(description string) string {
	percent := 0
	if _, rest, ok := strings.Cut(description, `"syncing_percent":`); ok {
		fmt.Sscanf(rest, "%d", &percent)
	}
	n := min(max(percent, 0), 100) * 40 / 100
	return fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", n), strings.Repeat(".", 40-n), percent)
}

func newest(ctx context.Context, io *rados.IoCtx, id string) (uint64, error) {
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer img.Close(ctx)
	s := snapshots.Newest(img)
	if s == nil {
		return 0, fmt.Errorf("image %s has no mirror snapshot", id)
	}
	return s.ID, nil
}

// reached reports whether site-b has a complete copy of a snapshot.
func (d *demo) reached(ctx context.Context, gid string, snap uint64) (bool, error) {
	id, err := meta.ImageID(ctx, d.b.io, gid)
	if errors.Is(err, rados.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	img, err := rbd.OpenByID(ctx, d.b.io, id, rbd.OpenOptions{ReadOnly: true})
	if errors.Is(err, rados.ErrNotFound) {
		return false, nil // it is being made
	}
	if err != nil {
		return false, err
	}
	defer img.Close(ctx)
	s := snapshots.Newest(img)
	return s != nil && s.Namespace.Complete && s.Namespace.PrimarySnapID == snap, nil
}

func (d *demo) compare(ctx context.Context, gid string) error {
	var images [2]*rbd.Image
	for i, s := range []*site{d.a, d.b} {
		id, err := meta.ImageID(ctx, s.io, gid)
		if err != nil {
			return err
		}
		if images[i], err = rbd.OpenByID(ctx, s.io, id, rbd.OpenOptions{ReadOnly: true}); err != nil {
			return err
		}
		defer images[i].Close(ctx)
	}
	if images[0].Size() != images[1].Size() {
		return errDiffers
	}
	pa, pb := make([]byte, 4*chunk), make([]byte, 4*chunk)
	for off := uint64(0); off < images[0].Size(); off += uint64(len(pa)) {
		if _, err := images[0].ReadAt(ctx, pa, off); err != nil {
			return err
		}
		if _, err := images[1].ReadAt(ctx, pb, off); err != nil {
			return err
		}
		if !bytes.Equal(pa, pb) {
			return fmt.Errorf("%w between bytes %d and %d", errDiffers, off, off+uint64(len(pa)))
		}
	}
	return nil
}
