package meta

import (
	"context"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Peers returns the pool's peers.
func Peers(ctx context.Context, io *rados.IoCtx) (peers []wire.MirrorPeer, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorPeerList, nil, func(r *denc.Reader) {
		peers = denc.Slice(r, 6, func(r *denc.Reader) (p wire.MirrorPeer) { p.Decode(r); return p })
	})
	return peers, gone(err)
}

// AddPeer adds a peer. A site name or mirror uuid in use is rados.ErrExists.
func AddPeer(ctx context.Context, io *rados.IoCtx, p wire.MirrorPeer) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorPeerAdd, p.Append(nil))
}

// RemovePeer removes a peer; an unknown one is no error.
func RemovePeer(ctx context.Context, io *rados.IoCtx, uuid string) error {
	return gone(write(ctx, io, Mirroring, wire.MethodMirrorPeerRemove, denc.AppendString(nil, uuid)))
}

// SetPeerClient changes the name a peer is logged in to with.
func SetPeerClient(ctx context.Context, io *rados.IoCtx, uuid, client string) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorPeerSetClient, denc.AppendString(denc.AppendString(nil, uuid), client))
}

// SetPeerSite changes a peer's site name.
func SetPeerSite(ctx context.Context, io *rados.IoCtx, uuid, site string) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorPeerSetCluster, denc.AppendString(denc.AppendString(nil, uuid), site))
}

// SetPeerDirection changes a peer's direction, wire.MirrorPeerRX….
func SetPeerDirection(ctx context.Context, io *rados.IoCtx, uuid string, direction uint8) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorPeerSetDirection, denc.AppendU8(denc.AppendString(nil, uuid), direction))
}

// PingPeer tells a remote pool that our site receives from it: the pool makes, or
// completes, its entry for us.
func PingPeer(ctx context.Context, io *rados.IoCtx, site, mirrorUUID string) error {
	in := denc.AppendString(denc.AppendString(nil, site), mirrorUUID)
	return write(ctx, io, Mirroring, wire.MethodMirrorPeerPing, denc.AppendU8(in, wire.MirrorPeerTX))
}
