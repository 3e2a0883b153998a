package meta

import (
	"context"
	"errors"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	page          = 1024
	notifyTimeout = 10 * time.Second
)

// Images returns the mirrored images: global ids by image id.
func Images(ctx context.Context, io *rados.IoCtx) (map[string]string, error) {
	all := map[string]string{}
	after := ""
	for {
		n := 0
		in := denc.AppendU64(denc.AppendString(nil, after), page)
		err := read(ctx, io, Mirroring, wire.MethodMirrorImageList, in, func(r *denc.Reader) {
			for id, gid := range denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).String) {
				all[id] = gid
				after = max(after, id)
				n++
			}
		})
		if err != nil || n < page {
			return all, gone(err)
		}
	}
}

// Image returns an image's entry; rados.ErrNotFound when it is not mirrored.
func Image(ctx context.Context, io *rados.IoCtx, id string) (img wire.MirrorImage, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorImageGet, denc.AppendString(nil, id), img.Decode)
	return img, err
}

// ImageID returns the id of the image with a global id; rados.ErrNotFound without
// one.
func ImageID(ctx context.Context, io *rados.IoCtx, gid string) (id string, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorImageGetImageID, denc.AppendString(nil, gid), func(r *denc.Reader) { id = r.String() })
	return id, err
}

// SetImage makes or changes an image's entry and tells the daemons.
func SetImage(ctx context.Context, io *rados.IoCtx, id string, img wire.MirrorImage) error {
	if err := write(ctx, io, Mirroring, wire.MethodMirrorImageSet, img.Append(denc.AppendString(nil, id))); err != nil {
		return err
	}
	return NotifyImage(ctx, io, id, img.GlobalID, img.State)
}

// RemoveImage removes an image's entry, which must be in state disabling, and
// tells the daemons. A missing one is no error.
func RemoveImage(ctx context.Context, io *rados.IoCtx, id, gid string) error {
	if err := gone(write(ctx, io, Mirroring, wire.MethodMirrorImageRemove, denc.AppendString(nil, id))); err != nil {
		return err
	}
	return NotifyImage(ctx, io, id, gid, wire.MirrorImageDisabled)
}

// NotifyMode tells the daemons that the mode changed.
func NotifyMode(ctx context.Context, io *rados.IoCtx, mode uint32) error {
	return notify(ctx, io, wire.MirroringMessage{Op: wire.MirroringModeUpdated, Mode: mode})
}

// NotifyImage tells the daemons that an image's entry changed.
func NotifyImage(ctx context.Context, io *rados.IoCtx, id, gid string, state uint8) error {
	return notify(ctx, io, wire.MirroringMessage{Op: wire.MirroringImageUpdated, State: uint32(state), ImageID: id, GlobalID: gid})
}

// notify does not insist on answers: the entry is what counts.
func notify(ctx context.Context, io *rados.IoCtx, m wire.MirroringMessage) error {
	_, err := io.Notify(ctx, Mirroring, m.Append(nil), notifyTimeout)
	if errors.Is(err, rados.ErrTimedOut) {
		return nil
	}
	return gone(err)
}
