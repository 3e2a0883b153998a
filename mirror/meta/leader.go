package meta

import (
	"context"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// ListInstances returns the ids of the daemon instances of a namespace.
func ListInstances(ctx context.Context, io *rados.IoCtx) (ids []string, err error) {
	err = read(ctx, io, Leader, wire.MethodMirrorInstancesList, nil, func(r *denc.Reader) {
		ids = denc.Slice(r, 4, (*denc.Reader).String)
	})
	return ids, gone(err)
}

// AddInstance registers a daemon instance.
func AddInstance(ctx context.Context, io *rados.IoCtx, id string) error {
	return write(ctx, io, Leader, wire.MethodMirrorInstancesAdd, denc.AppendString(nil, id))
}

// RemoveInstance takes a daemon instance out of the list.
func RemoveInstance(ctx context.Context, io *rados.IoCtx, id string) error {
	return gone(write(ctx, io, Leader, wire.MethodMirrorInstancesRemove, denc.AppendString(nil, id)))
}

// ImageMap returns which instance replays which image, by global id.
func ImageMap(ctx context.Context, io *rados.IoCtx) (map[string]wire.MirrorImageMap, error) {
	all := map[string]wire.MirrorImageMap{}
	after := ""
	for {
		n := 0
		in := denc.AppendU64(denc.AppendString(nil, after), page)
		err := read(ctx, io, Leader, wire.MethodMirrorImageMapList, in, func(r *denc.Reader) {
			for gid, m := range denc.Map(r, 8, (*denc.Reader).String, func(r *denc.Reader) (m wire.MirrorImageMap) { m.Decode(r); return m }) {
				all[gid] = m
				after = max(after, gid)
				n++
			}
		})
		if err != nil || n < page {
			return all, gone(err)
		}
	}
}

// UpdateImageMap writes and removes entries in one request.
func UpdateImageMap(ctx context.Context, io *rados.IoCtx, set map[string]wire.MirrorImageMap, remove []string) error {
	op := rados.NewOp()
	for gid, m := range set {
		op.CallWrite(wire.Class, wire.MethodMirrorImageMapUpdate, m.Append(denc.AppendString(nil, gid)))
	}
	for _, gid := range remove {
		op.CallWrite(wire.Class, wire.MethodMirrorImageMapRemove, denc.AppendString(nil, gid))
	}
	if op.Len() == 0 {
		return nil
	}
	return io.Operate(ctx, Leader, op)
}
