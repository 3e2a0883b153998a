package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// because ends a command with its reason and the errno as the exit code.
func because(err error, what string) error {
	return &cli.UsageError{Code: exitCode(err), Msg: fmt.Sprintf("rbd: %s: %v", what, err), Err: err}
}

// mirrorModes are the words for wire.MirrorMode….
var mirrorModes = [...]string{"disabled", "image", "pool", "init-only"}

// setSiteName applies --site-name, and reports whether that is another name.
func setSiteName(ctx context.Context, c *call) (changed bool, err error) {
	if !c.Has("site-name") {
		return false, nil
	}
	client, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	name := c.String("site-name")
	if have, err := ops.SiteName(ctx, client); err == nil && have == name {
		return false, nil
	}
	if err := ops.SetSiteName(ctx, client, name); err != nil {
		return false, because(err, "failed to set the site name")
	}
	return true, nil
}

// setRemoteNamespace applies --remote-namespace, without which the remote one has
// the same name. While mirroring is enabled it cannot become another one.
func setRemoteNamespace(ctx context.Context, c *call, io *rados.IoCtx) error {
	want := io.Namespace()
	if c.Has("remote-namespace") {
		want = c.String("remote-namespace")
	} else if c.before(ctx, release20) {
		return nil // which do not know of it
	}
	have, err := meta.RemoteNamespace(ctx, io)
	if err == nil && have == want {
		return nil
	}
	if err := meta.SetRemoteNamespace(ctx, io, want); err != nil {
		return failed(err, "rbd: failed to set the remote namespace")
	}
	return nil
}

func mirrorPoolEnable(ctx context.Context, c *call) error {
	s, err := poolSpec(c.Invocation)
	if err != nil {
		return err
	}
	mode := slices.Index(mirrorModes[:], argOf(afterPool(c.Invocation), 0))
	if mode < 1 || mode == int(wire.MirrorModeInitOnly) && c.before(ctx, release20) {
		if c.before(ctx, release20) {
			return invalidf("rbd: must specify 'image' or 'pool' mode.")
		}
		return invalidf("rbd: mirror mode was not specified")
	}
	io, err := c.pool(ctx, s)
	if err != nil {
		return err
	}
	renamed, err := setSiteName(ctx, c)
	if err != nil {
		return err
	}
	if err := setRemoteNamespace(ctx, c, io); err != nil {
		return err
	}
	have, err := meta.Mode(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to retrieve mirror mode")
	}
	if have != uint32(mode) && have != wire.MirrorModeDisabled && have != wire.MirrorModeInitOnly && mode != int(wire.MirrorModeInitOnly) {
		c.printf("note: changing mirroring mode from %s to %s\n", mirrorModes[have], mirrorModes[mode])
	}
	err = ops.EnablePool(ctx, io, uint32(mode))
	switch {
	case errors.Is(err, ops.ErrModeSame):
		if !renamed {
			c.printf("rbd: mirroring is already configured for %s mode\n", mirrorModes[mode])
		}
	case err != nil:
		return logged(err)
	}
	return nil
}

func mirrorPoolDisable(ctx context.Context, c *call) error {
	_, io, err := c.onPool(ctx, poolSpec)
	if err != nil {
		return err
	}
	err = ops.DisablePool(ctx, io)
	if errors.Is(err, ops.ErrModeSame) {
		c.printf("rbd: mirroring is already disabled\n")
		return nil
	}
	if err != nil {
		return logged(err)
	}
	return nil
}

var directions = [...]string{wire.MirrorPeerRX: "rx-only", wire.MirrorPeerTX: "tx-only", wire.MirrorPeerRXTX: "rx-tx"}

func mirrorPoolInfo(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, poolSpec)
	if err != nil {
		return err
	}
	mode, err := meta.Mode(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to retrieve mirror mode")
	}
	word := fmt.Sprintf("unknown (%d)", mode)
	if int(mode) < len(mirrorModes) {
		word = mirrorModes[mode]
	}
	if mode == wire.MirrorModeDisabled {
		if f == nil {
			c.printf("Mode: %s\n", word)
			return nil
		}
		f.OpenObject("mirror")
		f.String("mode", word)
		return f.Flush(c.std.Out)
	}
	site, err := ops.SiteName(ctx, io.Client())
	if err != nil {
		return failed(err, "rbd: failed to retrieve site name")
	}
	uuid, err := meta.UUID(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to retrieve mirror uuid")
	}
	remote, err := meta.RemoteNamespace(ctx, io)
	if err != nil {
		return failed(err, "rbd: failed to retrieve remote namespace")
	}
	identity := !c.before(ctx, release20) // which older releases do not show
	var peers []wire.MirrorPeer
	if io.Namespace() == "" {
		if peers, err = meta.Peers(ctx, io); err != nil {
			return failed(err, "rbd: failed to list mirroring peers")
		}
	}
	if f == nil {
		c.printf("Mode: %s\n", word)
		if io.Namespace() == "" {
			c.printf("Site Name: %s\n", site)
		}
		if identity {
			c.printf("Mirror UUID: %s\nRemote Namespace: %s\n", uuid, remote)
		}
		if io.Namespace() != "" {
			return nil
		}
		return printPeers(ctx, c, io, peers)
	}
	f.OpenObject("mirror")
	f.String("mode", word)
	if io.Namespace() == "" {
		f.String("site_name", site)
	}
	if identity {
		f.String("mirror_uuid", uuid)
		f.String("remote_namespace", remote)
	}
	if io.Namespace() == "" {
		if err := formatPeers(ctx, c, f, io, peers); err != nil {
			return err
		}
	}
	return f.Flush(c.std.Out)
}

func printPeers(ctx context.Context, c *call, io *rados.IoCtx, peers []wire.MirrorPeer) error {
	if len(peers) == 0 {
		c.printf("\nPeer Sites: none\n")
		return nil
	}
	c.printf("\nPeer Sites: \n")
	for _, p := range peers {
		c.printf("\nUUID: %s\nName: %s\n", p.UUID, p.SiteName)
		if p.Direction != wire.MirrorPeerRX || p.MirrorUUID != "" {
			c.printf("Mirror UUID: %s\n", p.MirrorUUID)
		}
		c.printf("Direction: %s\nClient: %s\n", directions[min(p.Direction, 2)], p.ClientName)
		if c.Has("all") {
			s, err := ops.PeerSecret(ctx, io, p.UUID)
			if err != nil {
				return failed(err, "rbd: failed to query remote peer attributes")
			}
			if s != (ops.Secret{}) {
				c.printf("Mon Host: %s\nKey: %s\n", s.MonHost, s.Key)
			}
		}
	}
	return nil
}

func formatPeers(ctx context.Context, c *call, f *cli.Formatter, io *rados.IoCtx, peers []wire.MirrorPeer) error {
	f.OpenArray("peers")
	for _, p := range peers {
		f.OpenObject("peer")
		f.String("uuid", p.UUID)
		f.String("direction", directions[min(p.Direction, 2)])
		f.String("site_name", p.SiteName)
		f.String("mirror_uuid", p.MirrorUUID)
		f.String("client_name", p.ClientName)
		if c.Has("all") {
			s, err := ops.PeerSecret(ctx, io, p.UUID)
			if err != nil {
				return failed(err, "rbd: failed to query remote peer attributes")
			}
			if s != (ops.Secret{}) {
				f.String("key", s.Key)
				f.String("mon_host", s.MonHost)
			}
		}
		f.Close()
	}
	f.Close()
	return nil
}

// eachImage runs fn on every mirrored image of a pool or namespace, and returns
// how many it changed and the first failure. An image that is mirrored no more is
// none: a daemon is about to remove it, or has since it was listed.
func eachImage(ctx context.Context, c *call, verb string, fn func(io *rados.IoCtx, id string) (bool, error)) (int, error) {
	_, io, err := c.onPool(ctx, poolSpec)
	if err != nil {
		return 0, err
	}
	if err := requireMirroredPool(ctx, io); err != nil {
		return 0, err
	}
	images, err := meta.Images(ctx, io)
	if err != nil {
		return 0, failed(err, "rbd: failed to list mirrored images")
	}
	changed := 0
	var first error
	for id := range images {
		did, err := fn(io, id)
		if did {
			changed++
		}
		if err != nil && !errors.Is(err, ops.ErrImageDisabled) && !errors.Is(err, rados.ErrNotFound) {
			name, nameErr := rbd.LookupName(ctx, io, id)
			if nameErr != nil {
				name = id
			}
			c.warnf("rbd: failed to %s image %s: %s", verb, name, errnoText(err))
			if first == nil {
				first = &cli.UsageError{Code: exitCode(err), Err: err}
			}
		}
	}
	return changed, first
}

func mirrorPoolPromote(ctx context.Context, c *call) error {
	n, err := eachImage(ctx, c, "promote", func(io *rados.IoCtx, id string) (bool, error) {
		err := ops.Promote(ctx, io, id, c.Has("force"))
		if errors.Is(err, ops.ErrPrimary) {
			return false, nil
		}
		return err == nil, err
	})
	if err == nil || n > 0 || !isUsage(err) {
		c.printf("Promoted %d mirrored images\n", n)
	}
	return err
}

func mirrorPoolDemote(ctx context.Context, c *call) error {
	n, err := eachImage(ctx, c, "demote", func(io *rados.IoCtx, id string) (bool, error) {
		err := ops.Demote(ctx, io, id)
		if errors.Is(err, ops.ErrNotPrimary) {
			return false, nil
		}
		return err == nil, err
	})
	if err == nil || n > 0 || !isUsage(err) {
		c.printf("Demoted %d mirrored images\n", n)
	}
	return err
}

// isUsage reports whether err ended the command before it looked at an image.
func isUsage(err error) bool {
	var usage *cli.UsageError
	return errors.As(err, &usage) && usage.Msg != ""
}

func direction(c *call) (uint8, error) {
	switch c.String("direction") {
	case "", "rx-tx":
		return wire.MirrorPeerRXTX, nil
	case "rx-only":
		return wire.MirrorPeerRX, nil
	}
	return 0, badOption("direction")
}

// peerPool opens the pool of a peer command, which must be mirrored.
func peerPool(ctx context.Context, c *call) (*rados.IoCtx, string, error) {
	s, err := onlyPool(c.Invocation)
	if err != nil {
		return nil, "", err
	}
	io, err := c.pool(ctx, spec{Pool: s.Pool})
	if err != nil {
		return nil, "", err
	}
	if s.Pool == "" {
		s.Pool = c.cfg.Get("rbd_default_pool")
	}
	return io, s.Pool, requireMirroredPool(ctx, io)
}

func mirrorPeerAdd(ctx context.Context, c *call) error {
	name := argOf(afterPool(c.Invocation), 0)
	client := c.String("remote-client-name")
	if user, site, ok := strings.Cut(name, "@"); ok {
		if id, isClient := strings.CutPrefix(user, "client."); !isClient || id == "" {
			return invalidf("rbd: invalid spec '%s'", name)
		}
		client, name = user, site
	}
	if c.Has("remote-cluster") {
		name = c.String("remote-cluster")
	}
	if name == "" {
		return invalidf("rbd: remote cluster was not specified")
	}
	if client == "" {
		client = "client.admin"
	}
	dir, err := direction(c)
	if err != nil {
		return err
	}
	io, _, err := peerPool(ctx, c)
	if err != nil {
		return err
	}
	peers, err := meta.Peers(ctx, io)
	if err != nil {
		return because(err, "failed to list mirror peers")
	}
	if slices.ContainsFunc(peers, func(p wire.MirrorPeer) bool { return p.Direction != wire.MirrorPeerTX }) {
		return &cli.UsageError{Code: exitInvalid, Msg: "rbd: multiple RX peers are not currently supported"}
	}
	s := ops.Secret{MonHost: c.String("remote-mon-host")}
	if path := c.String("remote-key-file"); path != "" {
		if s.Key, err = readKeyFile(path); err != nil {
			return err
		}
	}
	uuid, err := ops.AddPeer(ctx, io, wire.MirrorPeer{SiteName: name, ClientName: client, Direction: dir}, s)
	if errors.Is(err, rados.ErrExists) {
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: mirror peer already exists", Err: err}
	}
	if err != nil {
		return because(err, "error adding mirror peer")
	}
	c.printf("%s\n", uuid)
	return nil
}

// validUUID reports whether text is a uuid in its usual form.
func validUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, ch := range text {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (ch == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", ch) {
			return false
		}
	}
	return true
}

func mirrorPeerRemove(ctx context.Context, c *call) error {
	uuid := argOf(afterPool(c.Invocation), 0)
	if uuid == "" {
		return invalidf("rbd: must specify peer uuid")
	}
	if !validUUID(uuid) {
		return invalidf("rbd: invalid uuid '%s'", uuid)
	}
	io, _, err := peerPool(ctx, c)
	if err != nil {
		return err
	}
	if err := ops.RemovePeer(ctx, io, uuid); err != nil {
		return because(err, "error removing mirror peer")
	}
	return nil
}

// peerKeys are what can be set of a peer.
var peerKeys = [...]string{"client", "cluster", "direction", "key-file", "mon-host", "site-name"}

func mirrorPeerSet(ctx context.Context, c *call) error {
	args := afterPool(c.Invocation)
	uuid, key, value := argOf(args, 0), argOf(args, 1), argOf(args, 2)
	if uuid == "" {
		return invalidf("rbd: must specify peer uuid")
	}
	if !validUUID(uuid) {
		return invalidf("rbd: invalid uuid '%s'", uuid)
	}
	if !slices.Contains(peerKeys[:], key) {
		return invalidf("rbd: must specify 'client', 'cluster', 'direction', 'key-file', 'mon-host', 'site-name' key.")
	}
	io, _, err := peerPool(ctx, c)
	if err != nil {
		return err
	}
	switch key {
	case "client":
		err = meta.SetPeerClient(ctx, io, uuid, value)
	case "site-name", "cluster":
		err = meta.SetPeerSite(ctx, io, uuid, value)
	case "direction":
		dir := slices.Index(directions[:], value)
		if dir < 0 {
			return invalidf("rbd: invalid direction")
		}
		err = meta.SetPeerDirection(ctx, io, uuid, uint8(dir))
	case "mon-host", "key-file":
		err = setPeerSecret(ctx, io, uuid, key, value)
	}
	if errors.Is(err, rados.ErrNotFound) {
		return &cli.UsageError{Code: exitNoEntry, Msg: "rbd: mirror peer UUID does not exist", Err: err}
	}
	if err != nil && !isUsage(err) {
		return because(err, "error updating mirror peer")
	}
	return err
}

func setPeerSecret(ctx context.Context, io *rados.IoCtx, uuid, key, value string) error {
	s, err := ops.PeerSecret(ctx, io, uuid)
	if err != nil {
		return err
	}
	if key == "mon-host" {
		s.MonHost = value
	} else if s.Key, err = readKeyFile(value); err != nil {
		return err
	}
	return ops.SetPeerSecret(ctx, io, uuid, s)
}
