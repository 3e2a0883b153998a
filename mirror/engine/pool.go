package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	// connectTimeout bounds how long a cluster is tried before it is told that
	// it cannot be reached.
	connectTimeout = 30 * time.Second
	// peerPing is how often the remote pool is told that this site is there.
	peerPing = 30 * time.Second
	// namespacesInterval is how often the namespaces are listed.
	namespacesInterval = 5 * time.Second
	// releasePause is how long others have to take a leadership that was released.
	releasePause = 5 * time.Second
)

// callout is something that an operator should know of a pool.
type callout struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}

// Pool replays one pool from one peer (PoolReplayer in Ceph's sources). It has
// its own connections to both clusters.
type Pool struct {
	cfg  *conf.Config
	id   int64
	name string
	peer wire.MirrorPeer
	log  *slog.Logger
	opts []rados.Option
	// memory is for what a crash must not lose; former is as whom earlier runs of
	// this daemon were connected.
	memory *checkpoint.Store
	former []entity.Addr
	// changed is called when what status returns has changed.
	changed func()

	mu         sync.Mutex
	instance   string
	held       bool // by an operator: no image is replayed
	local      *rados.IoCtx
	leader     *leader
	syncs      semaphore
	namespaces map[string]*Namespace
	trouble    *callout
}

// run replays until ctx ends. A failure is shown, and tried again.
func (p *Pool) run(ctx context.Context) {
	pause := retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retryLast {
			pause = retryFirst
		}
		p.log.Warn("pool replayer stopped", "err", err, "retry", pause)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		pause = min(2*pause, retryLast)
	}
}

func (p *Pool) show(level, text string) {
	p.mu.Lock()
	if level == "" {
		p.trouble = nil
	} else {
		p.trouble = &callout{level, text}
	}
	p.mu.Unlock()
	p.changed()
}

// session connects to both clusters and replays until something breaks.
func (p *Pool) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	local, err := connect(ctx, p.cfg, p.opts)
	if err != nil {
		p.show("error", "unable to connect to local cluster")
		return fmt.Errorf("connect to the local cluster: %w", err)
	}
	fsid, addr := local.FSID().String(), local.Addr().Append(nil)
	defer func() {
		local.Close()
		_ = p.memory.RemoveInstance(fsid, addr) // it ages out
	}()
	if err := p.memory.AddInstance(fsid, addr); err != nil {
		p.log.Warn("a restart after a crash will have to wait for this run's locks", "err", err)
	}
	remoteCfg, err := peerConfig(ctx, local, p.cfg, p.id, p.peer)
	if err != nil {
		p.show("error", "unable to connect to remote cluster")
		return fmt.Errorf("configuration of peer %s: %w", p.peer.SiteName, err)
	}
	remote, err := connect(ctx, remoteCfg, p.opts)
	if err != nil {
		p.show("error", "unable to connect to remote cluster")
		return fmt.Errorf("connect to peer %s: %w", p.peer.SiteName, err)
	}
	defer remote.Close()
	var guards sync.WaitGroup
	defer guards.Wait()
	defer cancel(nil)
	for _, c := range []*rados.Client{local, remote} {
		guards.Go(func() {
			select {
			case <-c.Blocklisted():
				cancel(fmt.Errorf("this client was shut out of cluster %s: %w", c.FSID(), rados.ErrBlocklisted))
			case <-ctx.Done():
			}
		})
	}
	return p.replay(ctx, local, remote)
}

func connect(ctx context.Context, cfg *conf.Config, opts []rados.Option) (*rados.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return rados.Connect(ctx, cfg, opts...)
}

// peerConfig returns how to reach a peer: by what the config-key store says of
// it, else by the configuration file and keyring named after its site.
func peerConfig(ctx context.Context, local *rados.Client, own *conf.Config, pool int64, peer wire.MirrorPeer) (*conf.Config, error) {
	name, err := entity.ParseAuthName(peer.ClientName)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("rbd/mirror/peer/%d/%s", pool, peer.UUID)
	out, _, err := local.MonCommand(ctx, map[string]any{"prefix": "config-key get", "key": key}, nil)
	var secret struct {
		Key     string `json:"key"`
		MonHost string `json:"mon_host"`
	}
	if err == nil {
		if err := json.Unmarshal(out, &secret); err != nil {
			return nil, fmt.Errorf("config key %s: %w", key, err)
		}
	} else if !errors.Is(err, rados.ErrNotFound) {
		return nil, fmt.Errorf("config key %s: %w", key, err)
	}
	if secret.MonHost == "" {
		return (&conf.Invocation{Cluster: peer.SiteName, Name: name}).Load()
	}
	cfg := conf.New(own.Cluster(), name)
	for option, v := range map[string]string{"mon_host": secret.MonHost, "key": secret.Key} {
		if err := cfg.Set(conf.LevelOverride, option, v); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// replay runs the namespaces of a connected pool.
func (p *Pool) replay(ctx context.Context, local, remote *rados.Client) error {
	localIO := local.IoCtx(p.id)
	remoteIO, err := remote.OpenPool(ctx, p.name)
	if err != nil {
		p.show("error", "unable to access remote pool")
		return fmt.Errorf("remote pool %s: %w", p.name, err)
	}
	s, err := p.identify(ctx, localIO, remoteIO)
	if err != nil {
		p.show("error", "unable to query remote mirror uuid")
		return err
	}
	p.mu.Lock()
	p.instance = fmt.Sprint(local.GlobalID())
	p.mu.Unlock()
	p.show("", "")
	ctx, cancel := context.WithCancelCause(ctx)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer cancel(nil)
	pings.Go(func() { cancel(p.ping(ctx, localIO, remoteIO)) })
	l := &leader{io: localIO, log: p.log, kick: make(chan struct{}, 1), former: p.former}
	p.setSession(localIO, l)
	defer p.setSession(nil, nil)
	for {
		err := l.lead(ctx, func(ctx context.Context) error {
			defer p.changed()
			p.changed()
			return p.runNamespaces(ctx, localIO, remoteIO, s)
		})
		if !errors.Is(err, errReleased) {
			return err
		}
		p.log.Info("the leadership was released")
		l.sleep(ctx, releasePause)
	}
}

// ping tells the remote pool now and then that this site is there. It returns the
// first failure.
func (p *Pool) ping(ctx context.Context, local, remote *rados.IoCtx) error {
	tick := time.NewTicker(peerPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if _, err := p.identify(ctx, local, remote); err != nil {
			return err
		}
	}
}

// setSession notes what this pool is connected by.
func (p *Pool) setSession(local *rados.IoCtx, l *leader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.local, p.leader = local, l
}

// identify tells the remote pool of this site and learns who is who.
func (p *Pool) identify(ctx context.Context, local, remote *rados.IoCtx) (s sites, err error) {
	if s.localUUID, err = meta.UUID(ctx, local); err != nil {
		return s, fmt.Errorf("local mirror uuid: %w", err)
	}
	if s.remoteUUID, err = meta.UUID(ctx, remote); err != nil || s.remoteUUID == "" {
		return s, errors.Join(fmt.Errorf("pool %s of the remote cluster is not set up for mirroring", p.name), err)
	}
	site, err := siteName(ctx, local.Client())
	if err != nil {
		return s, err
	}
	if err := meta.PingPeer(ctx, remote, site, s.localUUID); err != nil {
		return s, fmt.Errorf("ping the remote pool: %w", err)
	}
	peers, err := meta.Peers(ctx, remote)
	if err != nil {
		return s, fmt.Errorf("peers of the remote pool: %w", err)
	}
	for _, peer := range peers {
		if peer.MirrorUUID == s.localUUID {
			s.peerUUID = peer.UUID
		}
	}
	return s, nil
}

// siteName returns the local cluster's name as peers know it: the fsid by
// default.
func siteName(ctx context.Context, c *rados.Client) (string, error) {
	out, _, err := c.MonCommand(ctx, map[string]any{"prefix": "config-key get", "key": "rbd/mirror/site_name"}, nil)
	if errors.Is(err, rados.ErrNotFound) || err == nil && len(out) == 0 {
		return c.FSID().String(), nil
	}
	if err != nil {
		return "", fmt.Errorf("site name: %w", err)
	}
	return string(out), nil
}

// runNamespaces starts and stops the replay of namespaces as they are enabled. An
// error of any of them ends them all.
func (p *Pool) runNamespaces(ctx context.Context, local, remote *rados.IoCtx, s sites) error {
	ctx, cancel := context.WithCancelCause(ctx)
	syncs := make(semaphore, max(local.Client().Config().Int("rbd_mirror_concurrent_image_syncs"), 1))
	p.mu.Lock()
	p.syncs = syncs
	p.mu.Unlock()
	running := make(map[string]context.CancelFunc)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	for {
		want, err := mirroredNamespaces(ctx, local)
		if err != nil {
			return fmt.Errorf("namespaces: %w", err)
		}
		for name, stop := range running {
			if _, on := want[name]; !on {
				stop()
				delete(running, name)
			}
		}
		for name, remoteName := range want {
			if running[name] != nil {
				continue
			}
			nctx, stop := context.WithCancel(ctx)
			running[name] = stop
			all.Go(func() {
				defer stop()
				err := p.namespace(nctx, local.WithNamespace(name), remote.WithNamespace(remoteName), s, syncs)
				if nctx.Err() == nil {
					cancel(err)
				}
			})
		}
		t := time.NewTimer(namespacesInterval)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// mirroredNamespaces returns the namespaces that are mirrored, and with which
// remote ones.
func mirroredNamespaces(ctx context.Context, pool *rados.IoCtx) (map[string]string, error) {
	names, err := rbd.NamespaceList(ctx, pool)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for _, name := range append(names, "") {
		io := pool.WithNamespace(name)
		mode, err := meta.Mode(ctx, io)
		if err != nil {
			return nil, err
		}
		if mode != wire.MirrorModeImage && mode != wire.MirrorModePool {
			continue
		}
		if out[name], err = meta.RemoteNamespace(ctx, io); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// namespace replays one namespace.
func (p *Pool) namespace(ctx context.Context, local, remote *rados.IoCtx, s sites, syncs semaphore) error {
	n := newNamespace(local, remote, s, syncs, p.memory, p.log)
	n.spec = p.name + "/"
	if ns := local.Namespace(); ns != "" {
		n.spec += ns + "/"
	}
	p.add(local.Namespace(), n)
	defer p.add(local.Namespace(), nil)
	ctx, cancel := context.WithCancelCause(ctx)
	var shown sync.WaitGroup
	defer shown.Wait()
	defer cancel(nil)
	shown.Go(func() {
		if err := newInstance(local, n.log, n.gids, n.mapKick).run(ctx); err != nil {
			cancel(err)
		}
	})
	return n.run(ctx)
}

// add notes that this daemon replays a namespace; nil, that it no longer does.
func (p *Pool) add(name string, n *Namespace) {
	p.mu.Lock()
	if n == nil {
		delete(p.namespaces, name)
	} else {
		n.hold(p.held)
		p.namespaces[name] = n
	}
	p.mu.Unlock()
	p.changed()
}

// poolStatus is a pool's part of the service daemon's status (src/tools/
// rbd_mirror/ServiceDaemon.cc), which `rbd mirror pool status` reads.
type poolStatus struct {
	Name       string                     `json:"name"`
	Callouts   map[string]callout         `json:"callouts"`
	InstanceID string                     `json:"instance_id,omitempty"`
	Leader     bool                       `json:"leader,omitempty"`
	Namespaces map[string]namespaceStatus `json:"namespaces"`
}

type namespaceStatus struct {
	Local  int `json:"image_local_count"`
	Remote int `json:"image_remote_count"`
}

func (p *Pool) status() poolStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := poolStatus{Name: p.name, Callouts: map[string]callout{}, InstanceID: p.instance, Namespaces: map[string]namespaceStatus{}}
	if p.trouble != nil {
		s.Callouts["1"] = *p.trouble
	}
	s.Leader = p.leader != nil && p.leader.leads()
	for name, n := range p.namespaces {
		local, remote := n.counts()
		s.Namespaces[name] = namespaceStatus{local, remote}
	}
	return s
}
