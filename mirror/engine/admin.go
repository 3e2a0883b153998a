package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/mirror/adminsocket"
	"github.com/rbdm/rbdm/mirror/meta"
)

// verbs are what can be done to a daemon, a pool and an image.
var verbs = []struct{ name, help string }{
	{"status", "get status for"}, {"start", "start"}, {"stop", "stop"}, {"restart", "restart"}, {"flush", "flush"},
}

// AdminCommands returns the commands of the daemon's admin socket as they are now:
// they name the pools and images that there are (src/tools/rbd_mirror/Mirror.cc,
// PoolReplayer.cc and ImageReplayer.cc).
func (d *Daemon) AdminCommands() []adminsocket.Command {
	var out []adminsocket.Command
	add := func(words, help string, run func(context.Context) ([]byte, error)) {
		out = append(out, adminsocket.Command{Words: words, Help: help, Run: run})
	}
	for _, v := range verbs {
		add("rbd mirror "+v.name, v.help+" rbd mirror", func(ctx context.Context) ([]byte, error) { return d.command(ctx, v.name) })
	}
	add("rbd mirror leader release", "release rbd mirror leader", func(context.Context) ([]byte, error) {
		for _, p := range d.all() {
			p.releaseLeader()
		}
		return nil, nil
	})
	for _, p := range d.all() {
		spec := p.name + " " + p.peer.SiteName
		for _, v := range verbs {
			add("rbd mirror "+v.name+" "+spec, v.help+" rbd mirror "+spec, func(ctx context.Context) ([]byte, error) { return p.command(ctx, v.name) })
		}
		add("rbd mirror leader release "+spec, "release rbd mirror leader "+spec, func(context.Context) ([]byte, error) {
			p.releaseLeader()
			return nil, nil
		})
		for _, n := range p.replayed() {
			add("rbd mirror deletion status "+strings.TrimSuffix(n.spec, "/"), "get status for image deleter", func(ctx context.Context) ([]byte, error) {
				return adminsocket.JSON(n.deletions(ctx))
			})
			for _, r := range n.all() {
				image := r.describe()
				for _, v := range verbs {
					add("rbd mirror "+v.name+" "+image, v.help+" rbd mirror "+image, func(context.Context) ([]byte, error) { return r.command(v.name) })
				}
			}
		}
	}
	return out
}

// all returns the pools, by their names.
func (d *Daemon) all() []*Pool {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*Pool
	for _, p := range d.pools {
		out = append(out, p.Pool)
	}
	slices.SortFunc(out, func(a, b *Pool) int { return strings.Compare(a.name+"\x00"+a.peer.UUID, b.name+"\x00"+b.peer.UUID) })
	return out
}

// command carries out a verb for everything.
func (d *Daemon) command(ctx context.Context, verb string) ([]byte, error) {
	if verb == "start" || verb == "stop" || verb == "restart" {
		d.mu.Lock()
		d.held = verb == "stop"
		d.mu.Unlock()
	}
	replayers := []poolReport{}
	for _, p := range d.all() {
		if verb == "status" {
			replayers = append(replayers, p.report(ctx))
		} else if _, err := p.command(ctx, verb); err != nil {
			return nil, err
		}
	}
	if verb != "status" {
		return nil, nil
	}
	return adminsocket.JSON(map[string]any{"pool_replayers": replayers})
}

// poolReport is a pool in the output of status. Its fields are in Ceph's order.
type poolReport struct {
	Peer             string            `json:"peer"`
	Pool             string            `json:"pool,omitempty"`
	InstanceID       string            `json:"instance_id,omitempty"`
	State            string            `json:"state"`
	LeaderInstanceID string            `json:"leader_instance_id,omitempty"`
	Leader           *bool             `json:"leader,omitempty"`
	Instances        []string          `json:"instances,omitempty"`
	Syncs            *throttleReport   `json:"sync_throttler,omitempty"`
	Deletions        *throttleReport   `json:"deletion_throttler,omitempty"`
	Namespaces       []namespaceReport `json:"namespace_replayers"`
}

type throttleReport struct {
	Max     int `json:"max_parallel_requests"`
	Running int `json:"running_requests"`
	Waiting int `json:"waiting_requests"`
}

type namespaceReport struct {
	Local   string        `json:"local_namespace"`
	Remote  string        `json:"remote_namespace"`
	Images  []imageReport `json:"image_replayers"`
	Deleter struct {
		Status deletionReport `json:"image_deleter_status"`
	} `json:"image_deleter"`
}

type imageReport struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

type deletionReport struct {
	Queue  []string `json:"delete_images_queue"`
	Failed []string `json:"failed_deletes_queue"`
}

func (p *Pool) report(ctx context.Context) poolReport {
	p.mu.Lock()
	local, l, held, trouble, instance, syncs := p.local, p.leader, p.held, p.trouble, p.instance, p.syncs
	p.mu.Unlock()
	rep := poolReport{
		Peer:  fmt.Sprintf("uuid: %s cluster: %s client: %s", p.peer.UUID, p.peer.SiteName, p.peer.ClientName),
		State: "running", Namespaces: []namespaceReport{},
	}
	switch {
	case held:
		rep.State = "stopped (manual)"
	case trouble != nil && trouble.Level == "error":
		rep.State = "error"
	}
	if local == nil {
		return rep
	}
	rep.Pool, rep.InstanceID = p.name, instance
	leads := l.leads()
	rep.Leader, rep.LeaderInstanceID = &leads, l.holder(ctx)
	rep.Instances, _ = meta.ListInstances(ctx, local) // they are only shown
	rep.Syncs = &throttleReport{Max: cap(syncs), Running: len(syncs)}
	rep.Deletions = &throttleReport{Max: 1}
	for _, n := range p.replayed() {
		rep.Namespaces = append(rep.Namespaces, n.report(ctx))
	}
	return rep
}

func (n *Namespace) report(ctx context.Context) namespaceReport {
	rep := namespaceReport{Local: n.local.Namespace(), Remote: n.remote.Namespace(), Images: []imageReport{}}
	for _, r := range n.all() {
		rep.Images = append(rep.Images, r.report())
	}
	rep.Deleter.Status = n.deletions(ctx)
	return rep
}

// deletions names the images in the trash that this daemon has to remove.
func (n *Namespace) deletions(ctx context.Context) deletionReport {
	rep := deletionReport{Queue: []string{}, Failed: []string{}}
	entries, err := mirrorTrash(ctx, n.local)
	if err != nil {
		return rep
	}
	for _, e := range entries {
		rep.Queue = append(rep.Queue, e.ID)
	}
	return rep
}

func (r *imageReplayer) report() imageReport {
	return imageReport{Name: r.describe(), State: r.shownState()}
}

// replayed returns the namespaces that are replayed, by their names.
func (p *Pool) replayed() []*Namespace {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*Namespace
	for _, n := range p.namespaces {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *Namespace) int { return strings.Compare(a.spec, b.spec) })
	return out
}

// command carries out a verb for the pool's images.
func (p *Pool) command(ctx context.Context, verb string) ([]byte, error) {
	if verb == "status" {
		return adminsocket.JSON(p.report(ctx))
	}
	if verb != "flush" {
		p.mu.Lock()
		p.held = verb == "stop"
		for _, n := range p.namespaces {
			n.hold(p.held)
		}
		p.mu.Unlock()
	}
	for _, n := range p.replayed() {
		for _, r := range n.all() {
			if _, err := r.command(verb); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

func (p *Pool) releaseLeader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader != nil {
		p.leader.release()
	}
}

// command carries out a verb for one image.
func (r *imageReplayer) command(verb string) ([]byte, error) {
	switch verb {
	case "status":
		return adminsocket.JSON(r.report())
	case "start":
		r.hold(false)
	case "stop":
		r.hold(true)
	case "restart":
		r.restart()
	case "flush":
		r.poke()
	}
	return nil, nil
}
