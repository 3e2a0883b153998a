// Package engine is the mirroring daemon: what Ceph's rbd-mirror is (src/tools/
// rbd_mirror, releases 16.2 to 20.2), for images in snapshot mode.
//
//	Daemon      finds pools with peers, shows itself in the service map
//	 └ Pool       one pool and one peer: connections to both clusters
//	    └ Namespace  one namespace, replayed by the one daemon that leads it
//	       └ imageReplayer  one image: creates, syncs, prunes, removes the replica
//
// Everything that waits wakes up by a watch: of rbd_mirroring for what is
// mirrored, of an image's header for its snapshots. Timers are a net below that.
// decide says what to do with an image, as a function of the mirror snapshots of
// both sites; copyJob carries a copy out and makes sure, before it calls it
// complete, that both ends of the difference were there when its last byte was
// read.
package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/mgrc"
	"github.com/rbdm/rbdm/rbd/wire"
)

// poolsInterval is how often pools and peers are listed; starting a pool's replay
// waits for it, everything within a pool is told by watches.
const poolsInterval = 2 * time.Second

// Config is what a Daemon needs.
type Config struct {
	// Local is how to reach the local cluster, and as whom.
	Local *conf.Config
	// Version is what to show as ceph_version in the service map, one word.
	Version string
	// Logger is told what happens; nil discards it.
	Logger *slog.Logger
	// Checkpoints remember unfinished copies, and who this daemon was, for the time
	// after a crash; nil remembers nothing.
	Checkpoints *checkpoint.Store
	// Options are for every connection, as a test's dialer.
	Options []rados.Option
}

// Daemon mirrors the pools of one cluster.
type Daemon struct {
	cfg  Config
	log  *slog.Logger
	kick chan struct{}
	// former is as whom earlier runs of this daemon were connected that ended
	// without a farewell. They are dead: their checkpoints could be opened.
	former []entity.Addr

	mu    sync.Mutex
	held  bool // by an operator: no image is replayed
	pools map[poolKey]*runningPool
}

type poolKey struct {
	pool int64
	peer string
}

type runningPool struct {
	*Pool
	stop context.CancelFunc
}

// NewDaemon returns a Daemon, which does nothing until Run.
func NewDaemon(cfg Config) *Daemon {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Daemon{cfg: cfg, log: cfg.Logger, kick: make(chan struct{}, 1), pools: make(map[poolKey]*runningPool)}
}

// Run mirrors until ctx ends, then stops in good order: locks released, statuses
// taken away. It returns an error only if the local cluster cannot be reached at
// the start.
func (d *Daemon) Run(ctx context.Context) error {
	client, err := rados.Connect(ctx, d.cfg.Local, append(d.cfg.Options, rados.WithLogger(d.log))...)
	if err != nil {
		return fmt.Errorf("connect to the local cluster: %w", err)
	}
	defer client.Close()
	d.former = d.earlier(client)
	service, err := d.register(ctx, client)
	if err != nil {
		return fmt.Errorf("register with the manager: %w", err)
	}
	defer service.Close()
	var all sync.WaitGroup
	defer all.Wait()
	defer d.stopAll()
	tick := time.NewTicker(poolsInterval)
	defer tick.Stop()
	for {
		if err := d.findPools(ctx, client, &all); err != nil && ctx.Err() == nil {
			d.log.Warn("find mirrored pools", "err", err)
		}
		d.publish(service)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.kick:
		}
	}
}

func (d *Daemon) register(ctx context.Context, c *rados.Client) (*rados.Service, error) {
	id := strconv.FormatUint(c.GlobalID(), 10)
	m := mgrc.HostMetadata("ceph version "+d.cfg.Version+" (rbdm)", d.cfg.Version, "rbdm")
	maps.Copy(m, map[string]string{"id": d.cfg.Local.Name().ID, "instance_id": id})
	return c.RegisterService(ctx, "rbd-mirror", id, m)
}

// earlier reads as whom this daemon was connected before.
func (d *Daemon) earlier(c *rados.Client) (out []entity.Addr) {
	for _, b := range d.cfg.Checkpoints.Instances(c.FSID().String()) {
		var a entity.Addr
		r := denc.NewReader(b)
		a.Decode(r)
		if r.Err() == nil {
			out = append(out, a)
		}
	}
	return out
}

func (d *Daemon) stopAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pools {
		p.stop()
	}
}

// findPools starts a replayer for every pool and peer to receive from, and stops
// those that are no longer wanted.
func (d *Daemon) findPools(ctx context.Context, c *rados.Client, all *sync.WaitGroup) error {
	pools, err := c.Pools(ctx)
	if err != nil {
		return err
	}
	want := make(map[poolKey]bool)
	for _, pool := range pools {
		io := c.IoCtx(pool.ID)
		mode, err := meta.Mode(ctx, io)
		if err != nil || mode == wire.MirrorModeDisabled {
			continue // not a pool of images, or not one that is mirrored
		}
		peers, err := meta.Peers(ctx, io)
		if err != nil {
			return fmt.Errorf("peers of pool %s: %w", pool.Name, err)
		}
		for _, peer := range peers {
			if peer.Direction == wire.MirrorPeerTX {
				continue
			}
			key := poolKey{pool.ID, peer.UUID + "\x00" + peer.ClientName + "\x00" + peer.SiteName}
			want[key] = true
			d.start(ctx, key, pool, peer, all)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.pools {
		if !want[key] {
			p.stop()
			delete(d.pools, key)
		}
	}
	return nil
}

func (d *Daemon) start(ctx context.Context, key poolKey, pool rados.PoolInfo, peer wire.MirrorPeer, all *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pools[key] != nil {
		return
	}
	pctx, stop := context.WithCancel(ctx)
	p := &Pool{
		cfg: d.cfg.Local, id: pool.ID, name: pool.Name, peer: peer, opts: d.cfg.Options,
		log: d.log.With("pool", pool.Name, "peer", peer.SiteName), changed: d.poke,
		namespaces: make(map[string]*Namespace), memory: d.cfg.Checkpoints, former: d.former, held: d.held,
	}
	d.pools[key] = &runningPool{p, stop}
	all.Go(func() { p.run(pctx) })
}

func (d *Daemon) poke() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// publish shows the pools' state in the service map.
func (d *Daemon) publish(service *rados.Service) {
	d.mu.Lock()
	status := make(map[string]poolStatus)
	for key, p := range d.pools {
		status[strconv.FormatInt(key.pool, 10)] = p.status()
	}
	d.mu.Unlock()
	text, err := json.Marshal(status)
	if err != nil {
		d.log.Warn("status of the service", "err", err)
		return
	}
	service.SetStatus(map[string]string{"json": string(text)})
}
