package rbdcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// statusStates are the words for wire.MirrorStatus….
var statusStates = [...]string{"unknown", "error", "syncing", "starting_replay", "replaying", "stopping_replay", "stopped"}

func stateWord(state uint8) string {
	if int(state) < len(statusStates) {
		return statusStates[state]
	}
	return fmt.Sprintf("unknown (%d)", state)
}

// siteLines is one site's status as it is printed.
type siteLines struct {
	state, description, lastUpdate string
}

func linesOf(s *wire.MirrorSiteStatus) siteLines {
	if s == nil {
		return siteLines{state: "down+unknown", description: "status not found"}
	}
	up := "down+"
	if s.Up {
		up = "up+"
	}
	l := siteLines{state: up + stateWord(s.State), description: s.Description}
	if !s.LastUpdate.IsZero() {
		l.lastUpdate = s.LastUpdate.Std().Local().Format("2006-01-02 15:04:05")
	}
	return l
}

// imageStatus is all that is printed of an image.
type imageStatus struct {
	name, gid string
	local     siteLines
	daemon    *mirrorService
	peers     []peerLines
	snapshots []rbd.Snapshot
	primary   bool
}

type peerLines struct {
	name, mirrorUUID string
	siteLines
}

// newImageStatus puts an image's status together. Peers that have not said
// anything of it are shown too.
func newImageStatus(name, gid string, s wire.MirrorImageStatus, peers []wire.MirrorPeer) imageStatus {
	out := imageStatus{name: name, gid: gid, local: linesOf(nil)}
	if s.LocalValid {
		out.local = linesOf(&s.Local)
	}
	said := make(map[string]bool)
	siteOf := func(uuid string) string {
		for _, p := range peers {
			if p.MirrorUUID == uuid && p.SiteName != "" {
				return p.SiteName
			}
		}
		return uuid
	}
	for i := range s.Remotes {
		r := &s.Remotes[i]
		said[r.MirrorUUID] = true
		out.peers = append(out.peers, peerLines{siteOf(r.MirrorUUID), r.MirrorUUID, linesOf(r)})
	}
	for _, p := range peers {
		if p.MirrorUUID != "" && !said[p.MirrorUUID] {
			out.peers = append(out.peers, peerLines{p.SiteName, p.MirrorUUID, linesOf(nil)})
		}
	}
	return out
}

func (s *imageStatus) plain(c *call) {
	c.printf("%s:\n  global_id:   %s\n  state:       %s\n  description: %s\n", s.name, s.gid, s.local.state, s.local.description)
	if s.daemon != nil {
		c.printf("  service:     %s on %s\n", s.daemon.clientID, s.daemon.hostname)
	}
	c.printf("  last_update: %s\n", s.local.lastUpdate)
	if len(s.peers) > 0 {
		c.printf("  peer_sites:\n")
		for i, p := range s.peers {
			if i > 0 {
				c.printf("\n")
			}
			c.printf("    name: %s\n    state: %s\n    description: %s\n    last_update: %s\n", p.name, p.state, p.description, p.lastUpdate)
		}
	}
	if !s.primary || len(s.snapshots) == 0 {
		return
	}
	c.printf("  snapshots:\n")
	for i := range s.snapshots {
		snap := &s.snapshots[i]
		demoted := ""
		if snapshots.IsDemoted(snap) {
			demoted = "demoted "
		}
		c.printf("    %d %s (%speer_uuids:[%s])\n", snap.ID, snap.Name, demoted, strings.Join(snap.Namespace.PeerUUIDs, ","))
	}
}

func (s *imageStatus) format(f *cli.Formatter) {
	f.OpenObject("image")
	f.String("name", s.name)
	f.String("global_id", s.gid)
	f.String("state", s.local.state)
	f.String("description", s.local.description)
	if s.daemon != nil {
		f.OpenObject("daemon_service")
		f.String("service_id", s.daemon.serviceID)
		f.String("instance_id", s.daemon.instanceID)
		f.String("daemon_id", s.daemon.clientID)
		f.String("hostname", s.daemon.hostname)
		f.Close()
	}
	f.String("last_update", s.local.lastUpdate)
	if len(s.peers) > 0 {
		f.OpenArray("peer_sites")
		for _, p := range s.peers {
			f.OpenObject("peer_site")
			f.String("site_name", p.name)
			f.String("mirror_uuids", p.mirrorUUID)
			f.String("state", p.state)
			f.String("description", p.description)
			f.String("last_update", p.lastUpdate)
			f.Close()
		}
		f.Close()
	}
	if s.primary && len(s.snapshots) > 0 {
		f.OpenArray("snapshots")
		for i := range s.snapshots {
			snap := &s.snapshots[i]
			f.OpenObject("snapshot")
			f.Uint("id", snap.ID)
			f.String("name", snap.Name)
			f.Bool("demoted", snapshots.IsDemoted(snap))
			f.OpenArray("mirror_peer_uuids")
			for _, u := range snap.Namespace.PeerUUIDs {
				f.String("peer_uuid", u)
			}
			f.Close()
			f.Close()
		}
		f.Close()
	}
	f.Close()
}

func mirrorImageStatus(ctx context.Context, c *call) error {
	f, err := c.formatter()
	if err != nil {
		return err
	}
	t, err := mirrorImageArg(ctx, c)
	if err != nil {
		return err
	}
	img, err := rbd.OpenByID(ctx, t.io, t.id, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return failed(err, "rbd: error opening image %s", t.spec.Image)
	}
	defer img.Close(ctx)
	info, err := ops.Info(ctx, img)
	if errors.Is(err, rados.ErrNotFound) {
		return invalidf("rbd: mirroring not enabled on the image")
	}
	if err != nil {
		return failed(err, "rbd: failed to retrieve mirroring state")
	}
	raw, err := meta.Status(ctx, t.io, info.GlobalID)
	if err != nil && !errors.Is(err, rados.ErrNotFound) {
		return failed(err, "rbd: failed to get status for image %s", t.spec.Image)
	}
	peers, err := meta.Peers(ctx, t.io.WithNamespace(""))
	if err != nil {
		return failed(err, "rbd: failed to list mirroring peers")
	}
	s := newImageStatus(img.Name(), info.GlobalID, raw, peers)
	s.snapshots, s.primary = snapshots.Mirror(img), info.Promotion == ops.Primary
	s.snapshots = slices.DeleteFunc(s.snapshots, func(snap rbd.Snapshot) bool { return !snapshots.IsPrimary(&snap) })
	instances, err := meta.Instances(ctx, t.io)
	if err != nil {
		return failed(err, "rbd: failed to get service id for image %s", t.spec.Image)
	}
	if by, ok := instances[t.id]; ok && s.local.state != linesOf(nil).state {
		services, err := mirrorServices(ctx, c, t.io.Pool())
		if err != nil {
			return err
		}
		s.daemon = serviceOf(services, strconv.FormatInt(by.Name.Num, 10))
	}
	if f == nil {
		s.plain(c)
		return nil
	}
	s.format(f)
	return f.Flush(c.std.Out)
}

// health is how well something is.
type health int

const (
	healthOK health = iota
	healthUnknown
	healthWarning
	healthError
)

func (h health) String() string {
	return [...]string{"OK", "UNKNOWN", "WARNING", "ERROR"}[h]
}

// imageHealth is the worst that the images' states say.
func imageHealth(counts map[uint8]int32) health {
	h := healthOK
	for state, n := range counts {
		switch {
		case n <= 0:
		case state == wire.MirrorStatusError:
			h = max(h, healthError)
		case state == wire.MirrorStatusUnknown || state == wire.MirrorStatusStartingReplay:
			h = max(h, healthWarning)
		}
	}
	return h
}

// poolHealth sums the health of daemons and images up.
func poolHealth(daemons, images health) health { return max(daemons, images) }

func mirrorPoolStatus(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, poolSpec)
	if err != nil {
		return err
	}
	if err := requireMirroredPool(ctx, io); err != nil {
		return err
	}
	peers, err := meta.Peers(ctx, io.WithNamespace(""))
	if err != nil {
		return failed(err, "rbd: failed to list mirroring peers")
	}
	counts, err := meta.Summary(ctx, io, peers)
	if err != nil {
		return failed(err, "rbd: failed to get status summary for mirrored images")
	}
	services, err := mirrorServices(ctx, c, io.Pool())
	if err != nil {
		return err
	}
	daemons := servicesHealth(services)
	images := imageHealth(counts)
	states := make([]uint8, 0, len(counts))
	total := int32(0)
	for state, n := range counts {
		states = append(states, state)
		total += n
	}
	slices.Sort(states)
	var list []imageStatus
	if c.Has("verbose") {
		if list, err = poolImages(ctx, io, peers, services); err != nil {
			return failed(err, "rbd: failed to list mirrored images")
		}
	}
	if f == nil {
		c.printf("health: %s\ndaemon health: %s\nimage health: %s\nimages: %d total\n", poolHealth(daemons, images), daemons, images, total)
		for _, state := range states {
			c.printf("    %d %s\n", counts[state], stateWord(state))
		}
		if c.Has("verbose") {
			printServices(c, services)
			c.printf("IMAGES")
			if len(list) > 0 || !c.before(ctx, release20) {
				c.printf("\n")
			}
			if len(list) == 0 && !c.before(ctx, release20) {
				c.printf("  none\n")
			}
			for i := range list {
				if i > 0 {
					c.printf("\n")
				}
				list[i].plain(c)
			}
		}
		return nil
	}
	f.OpenObject("status")
	f.OpenObject("summary")
	f.String("health", poolHealth(daemons, images).String())
	f.String("daemon_health", daemons.String())
	f.String("image_health", images.String())
	f.OpenObject("states")
	for _, state := range states {
		f.Int(stateWord(state), int64(counts[state]))
	}
	f.Close()
	f.Close()
	if c.Has("verbose") {
		formatServices(f, services)
		f.OpenArray("images")
		for i := range list {
			list[i].format(f)
		}
		f.Close()
	}
	f.Close()
	return f.Flush(c.std.Out)
}

// poolImages returns the statuses of all mirrored images, by name.
func poolImages(ctx context.Context, io *rados.IoCtx, peers []wire.MirrorPeer, services []mirrorService) ([]imageStatus, error) {
	images, statuses, err := meta.Statuses(ctx, io)
	if err != nil {
		return nil, err
	}
	instances, err := meta.Instances(ctx, io)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	all, err := rbd.List(ctx, io)
	if err != nil {
		return nil, err
	}
	for _, img := range all {
		names[img.ID] = img.Name
	}
	out := make([]imageStatus, 0, len(images))
	for id, m := range images {
		if names[id] == "" {
			continue
		}
		s := newImageStatus(names[id], m.GlobalID, statuses[id], peers)
		if by, ok := instances[id]; ok {
			s.daemon = serviceOf(services, strconv.FormatInt(by.Name.Num, 10))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b imageStatus) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// requireMirroredPool ends a command about a pool that is not mirrored.
func requireMirroredPool(ctx context.Context, io *rados.IoCtx) error {
	mode, err := meta.Mode(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to retrieve mirror mode")
	}
	if mode == wire.MirrorModeDisabled {
		return invalidf("rbd: mirroring not enabled on the pool")
	}
	return nil
}
