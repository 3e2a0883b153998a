package ops

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// peerUser is the user that a bootstrap token logs in as, without "client.".
const peerUser = "rbd-mirror-peer"

// ErrToken: the text is no bootstrap token.
var ErrToken = fmt.Errorf("failed to decode bootstrap token: %w", rados.ErrInvalid)

// Secret is how to reach a peer's cluster, as the config-key store keeps it.
type Secret struct {
	Key     string `json:"key,omitempty"`
	MonHost string `json:"mon_host,omitempty"`
}

func secretKey(pool int64, uuid string) string {
	return fmt.Sprintf("rbd/mirror/peer/%d/%s", pool, uuid)
}

// PeerSecret returns what the config-key store says of a peer; the zero Secret
// when that is nothing.
func PeerSecret(ctx context.Context, io *rados.IoCtx, uuid string) (s Secret, err error) {
	text, err := configKeyGet(ctx, io.Client(), secretKey(io.Pool(), uuid))
	if err != nil || text == "" {
		return s, err
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("config key %s: %w", secretKey(io.Pool(), uuid), err)
	}
	return s, nil
}

// SetPeerSecret stores how to reach a peer's cluster.
func SetPeerSecret(ctx context.Context, io *rados.IoCtx, uuid string, s Secret) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return configKeySet(ctx, io.Client(), secretKey(io.Pool(), uuid), string(text))
}

// AddPeer adds a peer by hand and returns its uuid.
func AddPeer(ctx context.Context, io *rados.IoCtx, p wire.MirrorPeer, s Secret) (string, error) {
	p.UUID = snapshots.NewUUID()
	if err := meta.AddPeer(ctx, io, p); err != nil {
		return "", err
	}
	if s == (Secret{}) {
		return p.UUID, nil
	}
	if err := SetPeerSecret(ctx, io, p.UUID, s); err != nil {
		return "", errors.Join(err, meta.RemovePeer(ctx, io, p.UUID))
	}
	return p.UUID, nil
}

// RemovePeer removes a peer and how to reach it. Mirror snapshots that were kept
// for it alone go with it, but the newest of each image.
func RemovePeer(ctx context.Context, io *rados.IoCtx, uuid string) error {
	if err := configKeyRemove(ctx, io.Client(), secretKey(io.Pool(), uuid)); err != nil {
		return err
	}
	if err := meta.RemovePeer(ctx, io, uuid); err != nil {
		return err
	}
	names, err := rbd.NamespaceList(ctx, io)
	if err != nil {
		return err
	}
	for _, name := range append(names, "") {
		if err := unlinkPeer(ctx, io.WithNamespace(name), uuid); err != nil {
			return fmt.Errorf("mirror snapshots of the removed peer: %w", err)
		}
	}
	return nil
}

// unlinkPeer says of all mirror snapshots of a namespace that the peer needs them
// no longer.
func unlinkPeer(ctx context.Context, io *rados.IoCtx, uuid string) error {
	images, err := meta.Images(ctx, io)
	if err != nil {
		return err
	}
	for id := range images {
		m, err := meta.Image(ctx, io, id)
		if errors.Is(err, rados.ErrNotFound) || err == nil && m.Mode != wire.MirrorImageSnapshot {
			continue
		}
		if err != nil {
			return err
		}
		err = with(ctx, io, id, func(img *rbd.Image) error {
			for _, s := range img.Snapshots() {
				if snapshots.IsMirror(&s) && slices.Contains(s.Namespace.PeerUUIDs, uuid) {
					if err := snapshots.Unlink(ctx, img, s.ID, uuid); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, rados.ErrNotFound) {
			return err
		}
	}
	return nil
}

// token is a bootstrap token before base64, its fields in Ceph's order.
type token struct {
	FSID     string `json:"fsid"`
	ClientID string `json:"client_id"`
	Key      string `json:"key"`
	MonHost  string `json:"mon_host"`
}

// CreateToken returns the token by which another cluster becomes a peer of the
// pool. The user that it logs in as is made at the first call.
func CreateToken(ctx context.Context, io *rados.IoCtx) (string, error) {
	t, err := ownToken(ctx, io.Client())
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

func ownToken(ctx context.Context, c *rados.Client) (t token, err error) {
	id, err := configKeyGet(ctx, c, peerClientKey)
	if err != nil {
		return t, err
	}
	if id == "" {
		id = peerUser
	}
	out, _, err := c.MonCommand(ctx, map[string]any{
		"prefix": "auth get-or-create", "entity": "client." + id, "format": "json",
		"caps": []string{"mon", "profile rbd-mirror-peer", "osd", "profile rbd"},
	}, nil)
	if err != nil {
		return t, fmt.Errorf("create user client.%s: %w", id, err)
	}
	var users []struct{ Key string }
	if err := json.Unmarshal(out, &users); err != nil || len(users) != 1 {
		return t, fmt.Errorf("create user client.%s: cannot read the answer %q: %w", id, out, rados.ErrInvalid)
	}
	if err := configKeySet(ctx, c, peerClientKey, id); err != nil {
		return t, err
	}
	hosts, err := monHost(ctx, c)
	return token{FSID: c.FSID().String(), ClientID: id, Key: users[0].Key, MonHost: hosts}, err
}

// monHost returns the addresses of the cluster's monitors as mon_host has them.
func monHost(ctx context.Context, c *rados.Client) (string, error) {
	out, _, err := c.MonCommand(ctx, map[string]any{"prefix": "mon dump", "format": "json"}, nil)
	if err != nil {
		return "", fmt.Errorf("addresses of the monitors: %w", err)
	}
	var dump struct {
		Mons []struct {
			Addrs struct {
				Addrvec []struct {
					Type, Addr string
					Nonce      uint32
				}
			} `json:"public_addrs"`
		}
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		return "", fmt.Errorf("addresses of the monitors: %w", err)
	}
	var mons []string
	for _, m := range dump.Mons {
		var addrs []string
		for _, a := range m.Addrs.Addrvec {
			addrs = append(addrs, fmt.Sprintf("%s:%s/%d", a.Type, a.Addr, a.Nonce))
		}
		text := strings.Join(addrs, ",")
		if len(addrs) > 1 {
			text = "[" + text + "]"
		}
		mons = append(mons, text)
	}
	return strings.Join(mons, ","), nil
}

// parseToken reads a bootstrap token.
func parseToken(text string) (t token, err error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return t, ErrToken
	}
	if json.Unmarshal(raw, &t) != nil || t.FSID == "" || t.ClientID == "" || t.Key == "" || t.MonHost == "" {
		return t, ErrToken
	}
	return t, nil
}

// ImportToken makes the pool of the cluster that made the token a peer of the
// pool, and, when direction is wire.MirrorPeerRXTX, this one a peer of that.
func ImportToken(ctx context.Context, io *rados.IoCtx, pool, text string, direction uint8, opts ...rados.Option) error {
	t, err := parseToken(text)
	if err != nil {
		return err
	}
	if t.FSID == io.Client().FSID().String() {
		return fmt.Errorf("cannot import token for local cluster: %w", rados.ErrInvalid)
	}
	remote, err := connectPeer(ctx, io.Client().Config().Cluster(), t, opts)
	if err != nil {
		return fmt.Errorf("failed to connect to the remote cluster: %w", err)
	}
	defer remote.Close()
	if remote.FSID().String() != t.FSID {
		return fmt.Errorf("the cluster that answers is not the one of the token: %w", rados.ErrInvalid)
	}
	rio, err := remote.OpenPool(ctx, pool)
	if err != nil {
		return fmt.Errorf("open pool %s of the remote cluster: %w", pool, err)
	}
	if err := matchModes(ctx, io, rio); err != nil {
		return err
	}
	remoteSite, err := SiteName(ctx, remote)
	if err != nil {
		return err
	}
	err = meet(ctx, io, wire.MirrorPeer{SiteName: remoteSite, ClientName: "client." + t.ClientID, Direction: direction}, rio, Secret{Key: t.Key, MonHost: t.MonHost})
	if err != nil || direction != wire.MirrorPeerRXTX {
		return err
	}
	own, err := ownToken(ctx, io.Client())
	if err != nil {
		return err
	}
	localSite, err := SiteName(ctx, io.Client())
	if err != nil {
		return err
	}
	back := wire.MirrorPeer{SiteName: localSite, ClientName: "client." + own.ClientID, Direction: wire.MirrorPeerRXTX}
	return meet(ctx, rio, back, io, Secret{Key: own.Key, MonHost: own.MonHost})
}

func connectPeer(ctx context.Context, cluster string, t token, opts []rados.Option) (*rados.Client, error) {
	cfg := conf.New(cluster, entity.AuthName{Type: entity.TypeClient, ID: t.ClientID})
	for option, v := range map[string]string{"mon_host": t.MonHost, "key": t.Key} {
		if err := cfg.Set(conf.LevelOverride, option, v); err != nil {
			return nil, fmt.Errorf("%s of the token: %w", option, errors.Join(err, ErrToken))
		}
	}
	return rados.Connect(ctx, cfg, opts...)
}

// matchModes makes sure that both pools are mirrored. A local one that is not
// follows the remote one; otherwise each may have a mode of its own.
func matchModes(ctx context.Context, local, remote *rados.IoCtx) error {
	theirs, err := meta.Mode(ctx, remote)
	if err != nil {
		return fmt.Errorf("mode of the remote pool: %w", err)
	}
	if theirs == wire.MirrorModeDisabled {
		return fmt.Errorf("mirroring is not enabled for the pool of the remote cluster: %w", rados.Errno(38))
	}
	ours, err := meta.Mode(ctx, local)
	if err != nil {
		return err
	}
	if ours == wire.MirrorModeDisabled {
		return EnablePool(ctx, local, theirs)
	}
	return nil
}

// meet adds peer to the pool at, or completes the entry that there is for it:
// one of its name, or of the mirror uuid of its pool.
func meet(ctx context.Context, at *rados.IoCtx, peer wire.MirrorPeer, of *rados.IoCtx, s Secret) error {
	uuid, err := meta.UUID(ctx, of)
	if err != nil {
		return err
	}
	peers, err := meta.Peers(ctx, at)
	if err != nil {
		return err
	}
	for _, p := range peers {
		if p.SiteName != peer.SiteName && (p.MirrorUUID == "" || p.MirrorUUID != uuid) && p.SiteName != of.Client().FSID().String() {
			continue
		}
		if p.SiteName != peer.SiteName {
			if err := meta.SetPeerSite(ctx, at, p.UUID, peer.SiteName); err != nil {
				return err
			}
		}
		if p.ClientName != peer.ClientName {
			if err := meta.SetPeerClient(ctx, at, p.UUID, peer.ClientName); err != nil {
				return err
			}
		}
		if p.Direction == wire.MirrorPeerTX && peer.Direction != wire.MirrorPeerTX {
			if err := meta.SetPeerDirection(ctx, at, p.UUID, wire.MirrorPeerRXTX); err != nil {
				return err
			}
		}
		return SetPeerSecret(ctx, at, p.UUID, s)
	}
	_, err = AddPeer(ctx, at, peer, s)
	return err
}
